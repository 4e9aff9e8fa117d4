// Dropout on CUDA: the definition of core/random.h as it is, a Philox block of four numbers a thread.
#include "core/random.h"
#include "kernels/device.cuh"
#include "kernels/dropout/checks.h"
#include "kernels/dropout/dropout.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// The numbers of a mask; where its stream ends is read when the kernel runs.
struct Draws {
  std::uint64_t key, stream;
  const std::int64_t* later;
  explicit Draws(const DropMask& mask)
      : key(mask.key), stream(mask.stream), later(mask.later ? mask.later.as<std::int64_t>() : nullptr) {}
  __device__ Random random() const { return Random(key, stream + (later ? static_cast<std::uint64_t>(*later) : 0)); }
};

template <class T>
__global__ void dropout_blocks(Dim count, Draws draws, std::uint32_t threshold, accumulate_t<T> scale, const T* x, T* y) {
  using A = accumulate_t<T>;
  const Random random = draws.random();
  for (Dim block = Dim{blockIdx.x} * kThreads + threadIdx.x; block * 4 < count; block += Dim{gridDim.x} * kThreads) {
    const auto words = random.block(static_cast<std::uint64_t>(block));
    for (Dim k = 0; k < 4; ++k) {
      const Dim i = block * 4 + k;
      if (i >= count) break;
      y[i] = convert<T>((words[static_cast<std::size_t>(k)] >> 8) >= threshold ? convert<A>(x[i]) * scale : A{0});
    }
  }
}

// A block of the grid is a sample (y) and a part of it (x).
template <class T>
__global__ void drop_samples(Dim samples, Dim size, Draws draws, std::uint32_t threshold, accumulate_t<T> scale,
                             const T* x, T* y) {
  using A = accumulate_t<T>;
  const Random random = draws.random();
  for (Dim s = blockIdx.y; s < samples; s += gridDim.y) {
    const bool kept = (random.bits(static_cast<std::uint64_t>(s)) >> 8) >= threshold;
    for (Dim i = Dim{blockIdx.x} * kThreads + threadIdx.x; i < size; i += Dim{gridDim.x} * kThreads) {
      y[s * size + i] = convert<T>(kept ? convert<A>(x[s * size + i]) * scale : A{0});
    }
  }
}

}  // namespace

void dropout(const Exec& exec, ConstView x, DropMask mask, View y) {
  drop::check("dropout", x, mask, y);
  const Dim count = x.numel();
  if (count == 0) return;
  dispatch_floating(x.dtype, "dropout", [&]<class T>() {
    dropout_blocks<<<blocks_for(count, 4 * kThreads), kThreads, 0, queue(exec)>>>(
        count, Draws(mask), drop::threshold_of(mask), static_cast<accumulate_t<T>>(1 / (1 - mask.p)), x.as<T>(), y.as<T>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void drop_path(const Exec& exec, ConstView x, DropMask mask, View y) {
  drop::check("drop_path", x, mask, y);
  ASHLAR_CHECK(x.shape.ndim() >= 1, "drop_path: needs a dimension of samples, got a scalar");
  if (x.numel() == 0) return;
  const Dim samples = x.size(0), size = x.numel() / samples;
  const dim3 grid(blocks_for(size, kThreads, 1 << 12), blocks_for(samples, 1, 1 << 15));
  dispatch_floating(x.dtype, "drop_path", [&]<class T>() {
    drop_samples<<<grid, kThreads, 0, queue(exec)>>>(samples, size, Draws(mask), drop::threshold_of(mask),
                                                     static_cast<accumulate_t<T>>(1 / (1 - mask.p)), x.as<T>(), y.as<T>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
