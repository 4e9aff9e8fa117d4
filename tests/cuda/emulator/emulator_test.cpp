// The emulator itself: that it runs and records as a GPU would, and that it sees what it says it sees.
#include <cublasLt.h>
#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <cstring>
#include <numbers>
#include <vector>

#include "kernels/ptx.cuh"
#include "tests/cuda/emulator/support.h"
#include "tests/cuda/emulator/watch.h"
#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::emulated::testing;
using ashlar::test::contains;

namespace {

struct Stream {
  cudaStream_t own = nullptr;
  Stream() { cudaStreamCreateWithFlags(&own, cudaStreamNonBlocking); }
  ~Stream() { cudaStreamDestroy(own); }
};

template <class Body>
auto launch(unsigned threads, std::size_t shared, cudaStream_t stream, Body body) {
  return emulated::Launch("a kernel", dim3(1), dim3(threads), shared, stream, body);
}

}  // namespace

TEST_CASE("threads meet at barriers and exchange within a warp", "[emulator]") {
  const Values<int> sums(64);
  launch(64, 64 * sizeof(int), nullptr, [](int* to) {
    auto* const own = reinterpret_cast<int*>(emulated::dynamic_shared());
    own[threadIdx.x] = static_cast<int>(threadIdx.x);
    __syncthreads();
    int sum = own[63 - threadIdx.x];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(~0u, sum, step);
    to[threadIdx.x] = sum;
  })(sums.data);
  CHECK(sums.data[0] == 1520);  // Σ 32 … 63
  CHECK(sums.data[63] == 496);  // Σ 0 … 31
}

TEST_CASE("a barrier that some threads never reach is an error", "[emulator]") {
  const auto error_in = [](unsigned threads, auto body) { return error_of([&] { launch(threads, 0, nullptr, body)(); }); };
  const std::string of_block = error_in(64, [] { if (threadIdx.x < 40) __syncthreads(); });
  CHECK(contains(of_block, "a kernel"));
  CHECK(contains(of_block, "40 of 64 threads"));
  CHECK(contains(error_in(32, [] { if (threadIdx.x != 3) __syncwarp(); }), "31 lanes of warp 0 wait in __syncwarp"));
  CHECK(contains(error_in(32, [] {
                   if (threadIdx.x < 16) __syncwarp();
                   else __ballot_sync(~0u, true);
                 }),
                 "meet in"));
}

TEST_CASE("a missing barrier shows in one of the orders of the threads", "[emulator]") {
  if (emulated::watch::kOn) return;  // refused as such
  const Values<float> seen(64);
  bool missed = false;
  for (int run = 0; run < 4; ++run) {
    launch(64, 64 * sizeof(float), nullptr, [](float* to) {
      auto* const own = reinterpret_cast<float*>(emulated::dynamic_shared());
      own[threadIdx.x] = 1;
      to[threadIdx.x] = own[(threadIdx.x + 63) % 64];
    })(seen.data);
    missed |= std::isnan(seen.data[40]);
  }
  CHECK(missed);
}

TEST_CASE("memory is NaN until it is written, and its ends are watched", "[emulator]") {
  if (emulated::watch::kOn) return;  // refused as such
  const Values<float> seen(2);
  CHECK(std::isnan(seen.data[0]));
  launch(1, 16, nullptr, [](float* to) { *to = *reinterpret_cast<float*>(emulated::dynamic_shared()); })(seen.data + 1);
  CHECK(std::isnan(seen.data[1]));
  const auto beyond_dynamic = launch(1, 16, nullptr, [] { emulated::dynamic_shared()[16] = 0; });
  CHECK(contains(error_of([&] { beyond_dynamic(); }), "beyond the dynamic shared memory"));
  const auto beyond_static = launch(1, 0, nullptr, [] { *(emulated::shared<float[4]>("four") + 4) = 0; });
  CHECK(contains(error_of([&] { beyond_static(); }), "beyond the shared variable four"));
  launch(1, 0, nullptr, [](float* to) { to[2] = 0; })(seen.data);
  CHECK(contains(error_of([] { cudaDeviceSynchronize(); }), "beyond 8 bytes"));
  std::memset(seen.data + 2, 0xa5, sizeof(float));
}

TEST_CASE("asynchronous copies arrive at any time until they are waited for", "[emulator]") {
  if (emulated::watch::kOn) return;  // refused as such
  const Values<bfloat16> from(std::vector<bfloat16>(8, bfloat16(1.0f)));
  const Values<float> seen(2);
  int early = 0, late = 0;
  for (int run = 0; run < 4; ++run) {
    launch(1, 32, nullptr, [](const bfloat16* source, float* to) {
      auto* const tile = reinterpret_cast<bfloat16*>(emulated::dynamic_shared());
      kernels::ptx::copy_async(tile, source, true);
      kernels::ptx::commit_copies();
      kernels::ptx::wait_for_copies<1>();
      to[0] = static_cast<float>(tile[7]);
      kernels::ptx::wait_for_copies<0>();
      to[1] = static_cast<float>(tile[7]);
    })(from.data, seen.data);
    early += seen.data[0] == 1;
    late += std::isnan(seen.data[0]);
    CHECK(seen.data[1] == 1);
  }
  CHECK(early > 0);
  CHECK(late > 0);
}

TEST_CASE("whoever touches closed memory ends", "[emulator]") {
  emulated::AddressRange range;
  auto* const data = static_cast<volatile unsigned char*>(range.take(64));
  const auto signal_of_reader = [&] {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGSEGV, SIG_DFL);
      ::_exit(*data);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  };
  CHECK(signal_of_reader() == SIGSEGV);
  range.open();
  CHECK(signal_of_reader() == 0);
  range.close();
  CHECK(signal_of_reader() == SIGSEGV);
}

TEST_CASE("pointers of the wrong side and impossible launches are refused", "[emulator]") {
  const Values<float> there(4);
  std::vector<float> here(4, 1.0f);
  CHECK(cudaMemcpyAsync(there.data, here.data(), 16, cudaMemcpyHostToDevice, nullptr) == cudaSuccess);
  CHECK(cudaMemcpyAsync(there.data, here.data(), 20, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidMemcpyDirection);
  CHECK(cudaMemcpyAsync(there.data, here.data(), 16, cudaMemcpyDeviceToDevice, nullptr) == cudaErrorInvalidMemcpyDirection);
  CHECK(cudaMemcpyAsync(here.data(), there.data, 16, cudaMemcpyHostToDevice, nullptr) == cudaErrorInvalidMemcpyDirection);
  cudaGetLastError();
  launch(32, 0, nullptr, [](float* to) { *to = 0; })(here.data());
  CHECK(cudaGetLastError() == cudaErrorInvalidValue);
  CHECK(here[0] == 1);
  launch(2048, 0, nullptr, [] {})();
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
}

TEST_CASE("the host is ahead of a stream until it waits", "[emulator]") {
  const Stream stream;
  const Values<float> total(std::vector<float>{1});
  const auto add = launch(1, 0, stream.own, [](float* to, float value) { *to += value; });
  void* memory = nullptr;
  REQUIRE(cudaMallocHost(&memory, sizeof(float)) == cudaSuccess);
  auto* const pinned = static_cast<float*>(memory);
  CHECK(std::isnan(*pinned));
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  *pinned = 2;
  add(total.data, 1.0f);
  cudaEventRecord(event, stream.own);
  cudaMemcpyAsync(total.data, pinned, sizeof(float), cudaMemcpyHostToDevice, stream.own);
  add(total.data, 1.0f);
  CHECK(total.data[0] == 1);
  cudaEventSynchronize(event);
  CHECK(total.data[0] == 2);  // what came before the event
  *pinned = 5;                // too early: the copy reads it later
  cudaStreamSynchronize(stream.own);
  CHECK(total.data[0] == 6);

  float ordinary = 7;  // has been read when the call returns, and written
  cudaMemcpyAsync(total.data, &ordinary, sizeof(float), cudaMemcpyHostToDevice, stream.own);
  ordinary = 8;
  CHECK(total.data[0] == 6);
  cudaMemcpyAsync(&ordinary, total.data, sizeof(float), cudaMemcpyDeviceToHost, stream.own);
  CHECK(ordinary == 7);
  cudaEventDestroy(event);
  CHECK(cudaFreeHost(memory) == cudaSuccess);
}

TEST_CASE("a captured graph runs when it is launched, with the arguments of the capture", "[emulator]") {
  const Stream stream;
  const Values<float> total(std::vector<float>{0});
  const auto add = launch(1, 0, stream.own, [](float* to, float value) { *to += value; });
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamBeginCapture(stream.own, cudaStreamCaptureModeGlobal) == cudaSuccess);
  float value = 2;
  add(total.data, value);
  value = 5;
  add(total.data, value);
  CHECK(total.data[0] == 0);
  REQUIRE(cudaStreamEndCapture(stream.own, &graph) == cudaSuccess);
  cudaGraphExec_t executable = nullptr;
  REQUIRE(cudaGraphInstantiate(&executable, graph) == cudaSuccess);
  cudaGraphDestroy(graph);
  cudaGraphLaunch(executable, stream.own);
  cudaGraphLaunch(executable, stream.own);
  CHECK(cudaStreamSynchronize(stream.own) == cudaSuccess);
  CHECK(total.data[0] == 14);
  cudaGraphExecDestroy(executable);
}

TEST_CASE("what a capturing stream refuses ends the capture", "[emulator]") {
  const Stream stream, other;
  void* memory = nullptr;
  cudaEvent_t event = nullptr;
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  const std::vector<std::function<cudaError_t()>> refused{
      [&] { return cudaStreamSynchronize(stream.own); }, [&] { return cudaDeviceSynchronize(); },
      [&] { return cudaMallocAsync(&memory, 4, stream.own); }, [&] { return cudaMallocHost(&memory, 4); },
      [&] { return cudaEventRecord(event, stream.own), cudaEventSynchronize(event); }};
  for (const auto& call : refused) {
    cudaGraph_t graph = nullptr;
    REQUIRE(cudaStreamBeginCapture(stream.own, cudaStreamCaptureModeGlobal) == cudaSuccess);
    CHECK(cudaMallocAsync(&memory, 4, other.own) == cudaSuccess);
    CHECK(cudaFreeAsync(memory, other.own) == cudaSuccess);
    cudaStreamCaptureStatus status{};
    cudaStreamIsCapturing(stream.own, &status);
    CHECK(status == cudaStreamCaptureStatusActive);
    CHECK(call() == cudaErrorStreamCaptureUnsupported);
    CHECK(cudaStreamEndCapture(stream.own, &graph) == cudaErrorStreamCaptureInvalidated);
    CHECK(cudaMallocAsync(&memory, 4, stream.own) == cudaSuccess);
    CHECK(cudaFreeAsync(memory, stream.own) == cudaSuccess);
  }
  cudaEventDestroy(event);
  cudaGetLastError();  // leaves none to the tests that follow
}

TEST_CASE("the epilogues of products", "[emulator]") {
  // D (8, 1) = A (8, 1) B (1, 1), bias (8), aux (8, 1)
  const Values<float> a(std::vector<float>{-2, -1, -0.5f, 0, 0.5f, 1, 2, 3}), b(std::vector<float>{0.5f}),
      bias(std::vector<float>(8, 0.25f)), aux(8), d(8);
  const auto run = [&](cublasLtEpilogue_t epilogue) {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
      REQUIRE(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value) == CUBLAS_STATUS_SUCCESS);
    };
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.data);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.data);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{8});
    cublasLtMatrixLayout_t column = nullptr, one = nullptr;
    cublasLtMatrixLayoutCreate(&column, CUDA_R_32F, 8, 1, 8);
    cublasLtMatrixLayoutCreate(&one, CUDA_R_32F, 1, 1, 1);
    const float alpha = 1, beta = 0;
    const cublasStatus_t status = cublasLtMatmul(nullptr, product, &alpha, a.data, column, b.data, one, &beta, d.data,
                                                 column, d.data, column, nullptr, nullptr, 0, nullptr);
    CHECK(status == CUBLAS_STATUS_SUCCESS);
    cublasLtMatrixLayoutDestroy(one);
    cublasLtMatrixLayoutDestroy(column);
    cublasLtMatmulDescDestroy(product);
  };
  const auto gelu = [](double x) {
    return x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * std::pow(x, 3))));
  };
  const auto near = [](double got, double expected) { return std::abs(got - expected) <= 1e-6; };
  run(CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  for (int i = 0; i < 8; ++i) {
    const double x = 0.5 * static_cast<double>(a.data[i]) + 0.25;
    CHECK(near(aux.data[i], x));
    CHECK(near(d.data[i], gelu(x)));
  }
  run(CUBLASLT_EPILOGUE_DGELU);
  for (int i = 0; i < 8; ++i) {
    const double x = aux.data[i], step = 1e-5, slope = (gelu(x + step) - gelu(x - step)) / (2 * step);
    CHECK(near(d.data[i], 0.5 * static_cast<double>(a.data[i]) * slope));
  }
  CHECK(contains(error_of([&] { run(static_cast<cublasLtEpilogue_t>(256)); }), "epilogue 256"));
}
