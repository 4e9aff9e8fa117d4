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
  const std::int64_t* stream_offset;
  explicit Draws(const DropMask& mask)
      : key(mask.key), stream(mask.stream), stream_offset(mask.stream_offset ? mask.stream_offset.as<std::int64_t>() : nullptr) {}
  __device__ Random random() const {
    return Random(key, stream + (stream_offset ? static_cast<std::uint64_t>(*stream_offset) : 0));
  }
};

// kWhole: four values are moved at once.
template <bool kWhole, class T>
__global__ void dropout_blocks(Dim count, Draws draws, std::uint32_t threshold, accumulate_t<T> scale, const T* x, T* y) {
  using A = accumulate_t<T>;
  const Random random = draws.random();
  for (Dim block = Dim{blockIdx.x} * kThreads + threadIdx.x; block * 4 < count; block += Dim{gridDim.x} * kThreads) {
    const auto words = random.block(static_cast<std::uint64_t>(block));
    const auto dropped = [&](int k, T value) {
      return rounded<T>((words[static_cast<std::size_t>(k)] >> 8) >= threshold ? convert<A>(value) * scale : A{0});
    };
    const Dim first = block * 4;
    if constexpr (kWhole) {
      const Pack<T, 4> values = load<4>(x + first);
      Pack<T, 4> result;
      for (int k = 0; k < 4; ++k) result.value[k] = dropped(k, values.value[k]);
      store<4>(result, y + first);
    } else {
      for (int k = 0; k < 4 && first + k < count; ++k) y[first + k] = dropped(k, x[first + k]);
    }
  }
}

// A block of the grid is a sample (y) and a part of it (x), whose values are moved N at once.
template <int N, class T>
__global__ void drop_samples(Dim samples, Dim size, Draws draws, std::uint32_t threshold, accumulate_t<T> scale,
                             const T* x, T* y) {
  using A = accumulate_t<T>;
  const Random random = draws.random();
  for (Dim s = blockIdx.y; s < samples; s += gridDim.y) {
    const bool kept = (random.bits(static_cast<std::uint64_t>(s)) >> 8) >= threshold;
    for (Dim i = (Dim{blockIdx.x} * kThreads + threadIdx.x) * N; i < size; i += Dim{gridDim.x} * kThreads * N) {
      Pack<T, N> result{};
      if (kept) {
        const Pack<T, N> values = load<N>(x + s * size + i);
        for (int k = 0; k < N; ++k) result.value[k] = rounded<T>(convert<A>(values.value[k]) * scale);
      }
      store<N>(result, y + s * size + i);
    }
  }
}

}  // namespace

void dropout(const Exec& exec, ConstView x, DropMask mask, View y) {
  drop::check("dropout", x, mask, y);
  const Dim count = x.numel();
  if (count == 0) return;
  dispatch_floating(x.dtype, "dropout", [&]<class T>() {
    const auto run = [&](auto* kernel) {
      kernel<<<blocks_for(count, 4 * kThreads), kThreads, 0, queue(exec)>>>(
          count, Draws(mask), drop::threshold_of(mask), static_cast<accumulate_t<T>>(1 / (1 - mask.p)), x.as<T>(), y.as<T>());
    };
    const bool whole = count % 4 == 0 && aligned_for(x.as<T>(), 4) && aligned_for(y.as<T>(), 4);
    run(whole ? dropout_blocks<true, T> : dropout_blocks<false, T>);
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void drop_path(const Exec& exec, ConstView x, DropMask mask, View y) {
  drop::check("drop_path", x, mask, y);
  ASHLAR_CHECK(x.shape.ndim() >= 1, "drop_path: needs a dimension of samples, got a scalar");
  if (x.numel() == 0) return;
  const Dim samples = x.size(0), size = x.numel() / samples;
  dispatch_floating(x.dtype, "drop_path", [&]<class T>() {
    const auto run = [&](auto* kernel, Dim at_once) {
      const dim3 grid(blocks_for(size, kThreads * at_once, 1 << 12), blocks_for(samples, 1, 1 << 15));
      kernel<<<grid, kThreads, 0, queue(exec)>>>(samples, size, Draws(mask), drop::threshold_of(mask),
                                                 static_cast<accumulate_t<T>>(1 / (1 - mask.p)), x.as<T>(), y.as<T>());
    };
    constexpr int N = kWide<T>;
    if (size % N == 0 && aligned_for(x.as<T>(), N) && aligned_for(y.as<T>(), N)) run(drop_samples<N, T>, N);
    else run(drop_samples<1, T>, 1);
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
