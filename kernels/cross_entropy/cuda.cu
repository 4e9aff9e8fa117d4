// Softmax cross-entropy on CUDA: a block for each row, which is read once for the loss and once for the gradient; the
// gradient may overwrite the logits.
#include <limits>
#include <numbers>

#include "kernels/cross_entropy/checks.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/device.cuh"
#include "kernels/ptx.cuh"
#include "kernels/vectors.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// A multiprocessor has registers for two such blocks, with kAtOnce vectors on the way for every thread: one row's loads go on
// while the other's threads wait for each other. Of more rows at a time the L2 cache would not keep what the gradient reads
// again.
constexpr int kMostThreads = 512, kAtOnce = 4;

struct TargetRows {
  const std::int32_t *target, *other;
  const float* weight;
  Dim target_step, other_step, weight_step;
  double smoothing;
};

// exp(x - max) of logits of type T; those of bf16 are worth no more than the hardware's own exponential. The difference comes
// first: x log2 e - max log2 e, an instruction less, overflows for logits that are finite, and loses the digits of large ones.
template <class T>
__device__ accumulate_t<T> exponential(accumulate_t<T> x, accumulate_t<T> max) {
  if constexpr (std::is_same_v<T, bfloat16>) return ptx::exp2_approximate((x - max) * std::numbers::log2e_v<float>);
  else return exp(x - max);
}

// Maximum of a row and, relative to it, the sum of exponentials (online softmax, Milakov and Gimelshein 2018).
template <class T>
struct Softmax {
  using A = accumulate_t<T>;
  A max = std::numeric_limits<A>::lowest(), sum = 0;  // finite: logits may be -inf

  template <int N>
  __device__ void add(const Pack<T, N>& logits) {
    A largest = convert<A>(logits.value[0]);
    for (int i = 1; i < N; ++i) largest = fmax(largest, convert<A>(logits.value[i]));
    if (largest > max) {
      sum *= exponential<T>(max, largest);
      max = largest;
    }
    for (int i = 0; i < N; ++i) sum += exponential<T>(convert<A>(logits.value[i]), max);
  }
  // The row's, from those of the threads.
  __device__ void combine(A* shared) {
    const A own = max;
    max = block_max(own, shared);
    sum = block_sum(sum * exponential<T>(own, max), shared);
  }
};

// body(pack, first class) for all logits of a row, in packs of kPack and, at its end, of one. kAtOnce packs are loaded
// before the first of them is used.
template <int kPack, class T, class Body>
__device__ void for_packs(const T* row, int classes, const Body& body) {
  const int packs = classes / kPack, threads = static_cast<int>(blockDim.x);
  for (int first = static_cast<int>(threadIdx.x); first < packs; first += kAtOnce * threads) {
    Pack<T, kPack> pack[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int p = first + i * threads;
      pack[i] = load<kPack>(row + (p < packs ? p : first) * kPack);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (const int p = first + i * threads; p < packs) body(pack[i], p * kPack);
    }
  }
  for (int c = packs * kPack + static_cast<int>(threadIdx.x); c < classes; c += threads) body(load<1>(row + c), c);
}

template <int kPack, class T, class G>
__global__ void __launch_bounds__(kMostThreads, sizeof(T) < 8 ? 2 : 1)
    rows_of_logits(Dim rows, int classes, const T* logits, Dim ld, TargetRows targets, double gradient_scale,
                   accumulate_t<T>* losses, Dim loss_step, G* dlogits, Dim ld_d) {
  using A = accumulate_t<T>;
  __shared__ A shared[kWarp];
  for (Dim row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const x = logits + row * ld;
    G* const dx = dlogits ? dlogits + row * ld_d : nullptr;
    const std::int32_t target = targets.target[row * targets.target_step];
    if (target == -1) {
      if (threadIdx.x == 0) losses[row * loss_step] = 0;
      for (int c = static_cast<int>(threadIdx.x); dx && c < classes; c += static_cast<int>(blockDim.x)) dx[c] = convert<G>(A{0});
      continue;
    }
    // The target distribution: `hard` at target, `hard_other` at other, `soft` everywhere.
    const std::int32_t other = targets.other ? targets.other[row * targets.other_step] : target;
    const A weight = targets.weight ? static_cast<A>(targets.weight[row * targets.weight_step]) : A{1};
    const A rest = static_cast<A>(1 - targets.smoothing), hard = rest * weight, hard_other = rest * (1 - weight);
    const A soft = static_cast<A>(targets.smoothing / static_cast<double>(classes));
    // A class outside the logits, which the host cannot see, makes the loss NaN instead of a stray read.
    const bool known = target >= 0 && target < classes && other >= 0 && other < classes;
    // Read before the barriers, behind which other threads may overwrite them.
    const A x_target = known ? convert<A>(x[target]) : std::numeric_limits<A>::quiet_NaN();
    const A x_other = known ? convert<A>(x[other]) : x_target;

    Softmax<T> softmax;
    A sum = 0;
    for_packs<kPack>(x, classes, [&]<int N>(const Pack<T, N>& pack, int) {
      softmax.add(pack);
      for (int i = 0; soft != 0 && i < N; ++i) sum += convert<A>(pack.value[i]);
    });
    softmax.combine(shared);
    if (soft != 0) sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
      // A term of weight 0 is left out: its logit may be -inf. The hard and soft weights add up to 1.
      A loss = known ? log(softmax.sum) : std::numeric_limits<A>::quiet_NaN();
      if (hard != 0) loss -= hard * (x_target - softmax.max);
      if (hard_other != 0) loss -= hard_other * (x_other - softmax.max);
      if (soft != 0) loss -= static_cast<A>(targets.smoothing) * (sum / static_cast<A>(classes) - softmax.max);
      losses[row * loss_step] = loss;
    }
    if (!dx) continue;
    const A scale = static_cast<A>(gradient_scale), per_sum = 1 / softmax.sum;
    for_packs<kPack>(x, classes, [&]<int N>(const Pack<T, N>& pack, int first) {
      // Unscaled: of a product and a difference the compiler makes one operation, which rounds only once. Probabilities that
      // cancel would leave what the product's rounding was.
      A gradient[N];
      for (int i = 0; i < N; ++i) {
        gradient[i] = per_sum * exponential<T>(convert<A>(pack.value[i]), softmax.max) - soft;
      }
      const auto subtract = [&](std::int32_t c, A share) {
        if (c < first || c >= first + N) return;  // of most packs: they are not to compare every class
        for (int i = 0; i < N; ++i) {
          if (first + i == c) gradient[i] -= share;
        }
      };
      subtract(target, hard);
      subtract(other, hard_other);
      Pack<G, N> result;
      for (int i = 0; i < N; ++i) result.value[i] = rounded<G>(scale * gradient[i]);
      store<N>(result, dx + first);
    });
  }
}

}  // namespace

void cross_entropy(const Exec& exec, ConstView logits, CrossEntropyTargets targets, double gradient_scale, View losses,
                   View dlogits) {
  check_cross_entropy(logits, targets, losses, dlogits);
  const Dim rows = logits.size(0), classes = logits.size(1);
  if (rows == 0) return;
  const auto step = [](const ConstView& v) { return v ? v.step(0) : Dim{0}; };
  const TargetRows by_row{targets.target.as<std::int32_t>(), targets.other.as<std::int32_t>(), targets.weight.as<float>(),
                          step(targets.target),              step(targets.other),              step(targets.weight),
                          targets.smoothing};
  const unsigned threads = classes >= 4096 ? kMostThreads : classes >= 512 ? kThreads : kWarp;
  const auto run = [&]<int kPack, class T, class G>() {
    rows_of_logits<kPack, T, G><<<blocks_for(rows, 1), threads, 0, queue(exec)>>>(
        rows, static_cast<int>(classes), logits.as<T>(), logits.step(0), by_row, gradient_scale, losses.as<accumulate_t<T>>(),
        losses.step(0), dlogits.as<G>(), step(dlogits));
    ASHLAR_CUDA_CHECK_LAUNCH();
  };
  if (dlogits && dlogits.dtype != logits.dtype) return run.template operator()<1, float, bfloat16>();
  const bool wide = rows_aligned(logits) && rows_aligned(dlogits);
  dispatch_floating(logits.dtype, "cross_entropy", [&]<class T>() {
    if (wide) run.template operator()<kWide<T>, T, T>();
    else run.template operator()<1, T, T>();
  });
}

}  // namespace ashlar::kernels::cuda
