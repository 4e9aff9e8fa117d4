// What cuBLASLt is asked for, and what becomes of its answers.
#include "kernels/matmul/cublaslt.h"

#include <cuda_runtime.h>
#include <unistd.h>

#include <cstdio>

#include "kernels/block_diagonal/block_diagonal.h"
#include "kernels/views.h"
#include "tests/cuda/support.h"
#include "tests/support/environment.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;
using namespace ashlar::kernels::products;
using kernels::Gelu;

namespace {

// A linear layer of the programs, R rows from `in` to `out` features, forward and backward.
struct Linear {
  Array x, w, y, z, dy, dx, dw, bias, dbias, in_z;
  Linear(Dim rows, Dim in, Dim out, Device device) {
    const auto bf16 = [&](const Shape& shape, std::uint64_t key) { return randn(shape, DType::bf16, key).to(device); };
    x = bf16({rows, in}, 1), w = bf16({out, in}, 2), y = bf16({rows, out}, 3), z = bf16({rows, out}, 4);
    dy = bf16({rows, out}, 5), dx = bf16({rows, in}, 6), in_z = bf16({rows, in}, 7);
    dw = Array::zeros({out, in}, DType::f32, device), bias = Array::zeros({out}, DType::f32, device), dbias = bias.clone();
  }
  Problem forward() const { return check(x, w.transpose(0, 1), y, {.bias = bias}); }
  Problem forward_gelu() const {
    return check(x, w.transpose(0, 1), y, {.bias = bias, .gelu = Gelu::tanh, .pre_activation = z});
  }
  Problem input_gradient() const { return check(dy, w, dx, {.gelu = Gelu::tanh, .gelu_at = in_z}); }
  Problem weight_gradient() const { return check(dy.transpose(0, 1), x, dw, {.row_sums = dbias}); }
  // Of six blocks of the features, as BLAST and block-diagonal layers have them.
  Problem block_gradient() const {
    const auto blocks = [](const Array& a) { return a.reshape({a.size(0), 6, a.size(1) / 6}).transpose(0, 1); };
    const Dim out = y.size(1) / 6, in = x.size(1) / 6;
    Problem p = check(blocks(dy).transpose(1, 2), blocks(x), Array::zeros({6, out, in}, DType::f32, x.device()), {});
    p.options.row_sums = dbias.reshape({6, out});
    return p;
  }
};

// What is written to stderr meanwhile.
template <class Work>
std::string stderr_of(const Work& work) {
  std::FILE* const file = std::tmpfile();
  std::fflush(stderr);
  const int before = ::dup(STDERR_FILENO);
  ::dup2(::fileno(file), STDERR_FILENO);
  work();
  std::fflush(stderr);
  ::dup2(before, STDERR_FILENO);
  ::close(before);
  std::string text(static_cast<std::size_t>(std::ftell(file)), '\0');
  std::rewind(file);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

}  // namespace

// A combination that the library does not know is taken apart. One that it calls invalid is, too, but then the mistake is ours.
TEST_CASE("what the products of the programs end in is valid", "[cuda]") {
  if (!has_gpu()) return;
  const Linear layer(1024, 768, 768, kGpu);
  for (const Problem& p : {layer.forward(), layer.forward_gelu(), layer.input_gradient(), layer.weight_gradient(),
                           layer.block_gradient()}) {
    const Call call = call_of(layer.x.exec(), p);
    INFO(describe(call) << ": " << cublasLtGetStatusName(plan_for(call).status));
    CHECK((plan_for(call).found() || plan_for(call).status == CUBLAS_STATUS_NOT_SUPPORTED));
  }
}

TEST_CASE("products end as ASHLAR_EPILOGUES says, with the same results", "[cuda]") {
  if (!has_gpu()) return;
  const std::string allowed = GENERATE("all", "bias", "none");
  const EnvironmentVariable set("ASHLAR_EPILOGUES", allowed);
  INFO(allowed);
  const Linear layer(70, 96, 192, kGpu);
  const Exec gpu = layer.x.exec();
  const auto epilogue = [&](const Problem& p) { return call_of(gpu, p).epilogue(); };
  CHECK(epilogue(layer.forward()) == (allowed == "none" ? CUBLASLT_EPILOGUE_DEFAULT : CUBLASLT_EPILOGUE_BIAS));
  CHECK(epilogue(layer.weight_gradient()) == (allowed == "none" ? CUBLASLT_EPILOGUE_DEFAULT : CUBLASLT_EPILOGUE_BGRADB));
  CHECK(epilogue(layer.block_gradient()) == (allowed == "none" ? CUBLASLT_EPILOGUE_DEFAULT : CUBLASLT_EPILOGUE_BGRADB));
  int capability = 0;
  cudaDeviceGetAttribute(&capability, cudaDevAttrComputeCapabilityMajor, kGpu.index);
  const bool gelu = allowed == "all" && capability == 9;
  CHECK(call_of(gpu, layer.forward_gelu()).gelu == gelu);
  CHECK(call_of(gpu, layer.forward_gelu()).pre_activation == (gelu ? View(layer.z).data : nullptr));
  CHECK(call_of(gpu, layer.input_gradient()).derivative == gelu);

  const Linear host(70, 96, 192, Device{});
  const Array blocks = randn({6, 32, 16}, DType::f32, 8);
  same_on_gpu({host.x, host.w, host.bias, host.dy, host.in_z, blocks},
              {nan_like(host.y), nan_like(host.y), nan_like(host.z), nan_like(host.dx), nan_like(host.dw), nan_like(host.dbias),
               nan_like(host.dx), nan_like(blocks), nan_like(host.dbias)},
              gpu_tolerance(DType::bf16), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                const Array w = in[1].transpose(0, 1);
                kernels::matmul(exec, in[0], w, out[0], {.bias = in[2]});
                kernels::matmul(exec, in[0], w, out[1], {.bias = in[2], .gelu = Gelu::tanh, .pre_activation = out[2]});
                kernels::matmul(exec, in[3], in[1], out[3], {.gelu = Gelu::tanh, .gelu_at = in[4]});
                kernels::matmul(exec, in[3].transpose(0, 1), in[0], out[4], {.row_sums = out[5]});
                kernels::block_diagonal_backward(exec, in[3], in[0], in[5], false, out[6], out[7], out[8]);
              });
}

TEST_CASE("calls that differ in anything have plans of their own", "[cuda]") {
  if (!has_gpu()) return;
  const Linear layer(16, 96, 192, kGpu);
  Call call = call_of(layer.x.exec(), layer.block_gradient());
  call.row_sums = nullptr, call.bias = true;
  const auto with = [&](const auto& change) {
    Call changed = call;
    change(changed);
    return changed;
  };
  const std::vector<Call> calls{call,
                                with([](Call& c) { c.a.by_rows = !c.a.by_rows; }),
                                with([](Call& c) { c.a_alignment /= 2; }),
                                with([](Call& c) { c.b_alignment /= 2; }),
                                with([](Call& c) { c.y_alignment /= 2; }),
                                with([](Call& c) { c.a_step *= 2; }),
                                with([](Call& c) { c.b_step *= 2; }),
                                with([](Call& c) { c.y_step *= 2; }),
                                with([](Call& c) { c.vector_step = c.n; }),
                                with([](Call& c) { c.ld_y *= 2; }),
                                with([](Call& c) { c.accumulate = true; })};
  for (std::size_t i = 0; i < calls.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      INFO("calls " << i << " and " << j);
      CHECK(&plan_for(calls[i]) != &plan_for(calls[j]));
    }
  }
}

TEST_CASE("how operands lie is told to the library, and what it does not take is not asked of it", "[cuda]") {
  if (!has_gpu()) return;
  const Linear layer(16, 32, 48, kGpu);
  const Exec gpu = layer.x.exec();
  CHECK(call_of(gpu, layer.forward()).a_alignment == 256);
  // The second matrix begins at an odd address.
  const Array odd = Array::zeros({2 * 16 * 32 + 1}, DType::bf16, kGpu), y = Array::zeros({2, 16, 48}, DType::bf16, kGpu);
  const ConstView pair = kernels::strided(ConstView(odd), 0, {2, 16, 32}, {16 * 32 + 1, 32, 1});
  CHECK(call_of(gpu, check(pair, layer.w.transpose(0, 1), y, {})).a_alignment == 2);
  const Array kept = Array::zeros({16 * 48 + 1}, DType::bf16, kGpu).slice(0, 1, 16 * 48 + 1).reshape({16, 48});
  Problem gelu = layer.forward_gelu();
  gelu.options.pre_activation = kept;
  CHECK(!call_of(gpu, gelu).gelu);
  Problem sums = layer.weight_gradient();
  CHECK(call_of(gpu, sums).row_sums != nullptr);
  sums.options.row_sums = Array::zeros({49}, DType::f32, kGpu).slice(0, 1, 49);
  CHECK(call_of(gpu, sums).row_sums == nullptr);
}

TEST_CASE("other epilogues are refused", "[cuda]") {
  if (!has_gpu()) return;
  const EnvironmentVariable set("ASHLAR_EPILOGUES", "gelu");
  const Linear layer(2, 16, 16, kGpu);
  const std::string text = error_of([&] { call_of(layer.x.exec(), layer.forward()); });
  CHECK(contains(text, "ASHLAR_EPILOGUES is gelu; valid: all, bias, none ("));
}

TEST_CASE("with ASHLAR_CUDA_LOG each plan is told once, found or not", "[cuda]") {
  if (!has_gpu()) return;
  const EnvironmentVariable set("ASHLAR_CUDA_LOG", "1");
  const Linear layer(37, 48, 56, kGpu);  // a shape of its own, for which there is no plan yet
  const auto product = [&] { kernels::matmul(layer.x.exec(), layer.dy, layer.w, layer.dx, {}); };
  const std::string text = stderr_of(product);
  CHECK(contains(text, "cuda: cuBLASLt: a bf16(37, 56) by rows of 56, b (56, 48) by rows of 48, y bf16, batch 1, "
                       "epilogue none: CUBLAS_STATUS_SUCCESS: algorithm "));
  for (const char* part : {" tile ", " stages ", " split-K ", " reduction ", " workspace ", " waves "}) {
    CHECK(contains(text, part));
  }
  CHECK(stderr_of(product).empty());

  // The emulator has none that ends in a bias in f64.
  const Array x = randn({37, 48}, DType::f64, 1).to(kGpu), y = randn({37, 37}, DType::f64, 2).to(kGpu);
  Call call = call_of(x.exec(), check(x, x.transpose(0, 1), y, {}));
  call.bias = true;
  const std::string answer = stderr_of([&] { plan_for(call); });
  CHECK(contains(answer, concat("epilogue BIAS: ", cublasLtGetStatusName(plan_for(call).status))));
}
