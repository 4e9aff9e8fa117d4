#include "examples/support/system.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <algorithm>
#include <limits>

#include "core/array.h"
#include "core/parallel.h"
#include "examples/support/bench.h"
#include "examples/support/format.h"
#include "kernels/isa.h"
#include "kernels/matmul/matmul.h"
#include "layers/init.h"

namespace ashlar::support {

extern const char* const kGitRevision;  // written by revision.cmake at build time

namespace {

std::string widest_instruction_set() {
#if defined(__x86_64__)
  // clang 14 does not know AMX by name. CPUID leaf 7: EDX, bit 22, says that it multiplies bf16.
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 22 & 1)) return "AMX";
  if (__builtin_cpu_supports("avx512bf16")) return "AVX512-BF16";
  if (__builtin_cpu_supports("avx512f")) return "AVX-512";
  if (__builtin_cpu_supports("avx2")) return "AVX2";
  if (__builtin_cpu_supports("avx")) return "AVX";
  return "SSE";
#elif defined(__aarch64__)
  return "NEON";
#else
  return "scalar";
#endif
}

}  // namespace

std::string instruction_set() {
  const std::string_view limit = kernels::isa_limit();
  return limit == "native" ? widest_instruction_set() : concat(widest_instruction_set(), " limited to ", limit);
}

std::string git_revision() { return kGitRevision; }

std::string build_description() {
  std::string text = ASHLAR_BUILD_TYPE;
#if defined(__clang__)
  text += ", clang++ " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
          std::to_string(__clang_patchlevel__);
#else
  text += ", g++ " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
          std::to_string(__GNUC_PATCHLEVEL__);
#endif
  return text + ", " + git_revision();
}

void add_device_option(Options& options, std::string& device) {
  options.add("device", device, "cpu, cuda or cuda:N").value_name("NAME");
  options.then([&device] { Device::parse(device); });
}

void add_dtype_option(Options& options, std::string& dtype) {
  options.add("dtype", dtype, "activations and matrix operands").choices({"f32", "bf16", "float32", "bfloat16"}).value_name("NAME");
  options.then([&dtype] {
    if (dtype == "float32") dtype = "f32";
    if (dtype == "bfloat16") dtype = "bf16";
  });
}

void add_threads_option(Options& options, int& threads) {
  options.add("threads", threads, "threads; 0: one for each core").at_least(0).at_most(4096);
  options.then([&threads] {
    if (threads == 0) threads = num_threads();
  });
}

DType parse_dtype(const std::string& dtype) { return dtype == "bf16" ? DType::bf16 : DType::f32; }

double measured_matmul_rate(const Device& device, DType dtype) {
  // Random values, as in training: of equal ones a GPU draws less power and multiplies faster. A million, made on the host in
  // some 20 ms, fill the matrix block below block.
  Array values = Array::empty({Dim{1} << 20});
  init::normal(1.0)(values, /*key=*/1);
  values = values.to(dtype).to(device);
  // A product of less than a millisecond measures how it is started, and keeps no GPU warm.
  for (Dim size = 1024;; size *= 2) {
    const Dim rows = values.numel() / size;
    const Array a = values.reshape({1, rows, size}).expand({size / rows, rows, size}).reshape({size, size});
    const Array b = a.clone(), y = empty_like(a);
    double best = std::numeric_limits<double>::infinity(), spent = 0;
    for (int run = 0; run < 3 || (run < 8 && spent < 100); ++run) {
      const auto start = now_on(device);
      kernels::matmul(a.exec(), a, b, y, {});
      const double took = milliseconds_since(start, device);
      best = std::min(best, took);
      spent += took;
    }
    if (best >= 1 || size == 8192) return 2e3 * static_cast<double>(size * size * size) / best;
  }
}

std::string startup_line(const std::string& program, const std::string& device, int threads, const std::string& dtype) {
  return program + ": " + device + ", " + counted(threads, "thread") + ", " + dtype + ", " + instruction_set() + ", " + build_description();
}

}  // namespace ashlar::support
