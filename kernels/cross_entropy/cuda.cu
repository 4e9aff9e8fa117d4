// Softmax cross-entropy on CUDA: a block for each row, which is read once for the loss and once for the gradient; the
// gradient may overwrite the logits.
#include <limits>
#include <numbers>

#include "kernels/cross_entropy/checks.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/device.cuh"
#include "kernels/ptx.cuh"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

constexpr int kMostThreads = 1024;

struct TargetRows {
  const std::int32_t *target, *other;
  const float* weight;
  Dim target_step, other_step, weight_step;
  double smoothing;
};

// Of differences of logits of type T; those of bf16 are worth no more than the hardware's own exponential.
template <class T>
__device__ accumulate_t<T> exponential(accumulate_t<T> x) {
  constexpr float kLog2E = std::numbers::log2e_v<float>;
  if constexpr (std::is_same_v<T, bfloat16>) return ptx::exp2_approximate(x * kLog2E);
  else return exp(x);
}

// Maximum of a row and, relative to it, the sum of exponentials (online softmax, Milakov and Gimelshein 2018).
template <class T>
struct Softmax {
  using A = accumulate_t<T>;
  A max = std::numeric_limits<A>::lowest(), sum = 0;

  template <int N>
  __device__ void add(const Pack<T, N>& logits) {
    A largest = convert<A>(logits.value[0]);
    for (int i = 1; i < N; ++i) largest = fmax(largest, convert<A>(logits.value[i]));
    if (largest > max) {
      sum *= exponential<T>(max - largest);
      max = largest;
    }
    for (int i = 0; i < N; ++i) sum += exponential<T>(convert<A>(logits.value[i]) - max);
  }
  // The row's, from those of the threads.
  __device__ void combine(A* shared) {
    const A own = max;
    max = block_max(own, shared);
    sum = block_sum(sum * exponential<T>(own - max), shared);
  }
};

// body(pack, first class) for all logits of a row, in packs of kWide and, at its end, of one.
template <int kWide, class T, class Body>
__device__ void for_packs(const T* row, Dim classes, const Body& body) {
  const Dim packs = classes / kWide;
  for (Dim p = threadIdx.x; p < packs; p += blockDim.x) body(load<kWide>(row + p * kWide), p * kWide);
  for (Dim c = packs * kWide + threadIdx.x; c < classes; c += blockDim.x) body(load<1>(row + c), c);
}

template <int kWide, class T, class G>
__global__ void __launch_bounds__(kMostThreads)
    rows_of_logits(Dim rows, Dim classes, const T* logits, Dim ld, TargetRows targets, double gradient_scale,
                   accumulate_t<T>* losses, Dim loss_step, G* dlogits, Dim ld_d) {
  using A = accumulate_t<T>;
  __shared__ A shared[kWarp];
  for (Dim row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const x = logits + row * ld;
    G* const dx = dlogits ? dlogits + row * ld_d : nullptr;
    const Dim target = targets.target[row * targets.target_step];
    if (target == -1) {
      if (threadIdx.x == 0) losses[row * loss_step] = 0;
      for (Dim c = threadIdx.x; dx && c < classes; c += blockDim.x) dx[c] = convert<G>(A{0});
      continue;
    }
    // The target distribution: `hard` at target, `hard_other` at other, `soft` everywhere.
    const Dim other = targets.other ? targets.other[row * targets.other_step] : target;
    const A weight = targets.weight ? static_cast<A>(targets.weight[row * targets.weight_step]) : A{1};
    const A rest = static_cast<A>(1 - targets.smoothing), hard = rest * weight, hard_other = rest * (1 - weight);
    const A soft = static_cast<A>(targets.smoothing / static_cast<double>(classes));
    // A class outside the logits, which the host cannot see, makes the loss NaN instead of a stray read.
    const bool known = target >= 0 && target < classes && other >= 0 && other < classes;

    Softmax<T> softmax;
    A sum = 0;
    for_packs<kWide>(x, classes, [&]<int N>(const Pack<T, N>& pack, Dim) {
      softmax.add(pack);
      for (int i = 0; soft != 0 && i < N; ++i) sum += convert<A>(pack.value[i]);
    });
    softmax.combine(shared);
    if (soft != 0) sum = block_sum(sum, shared);
    if (threadIdx.x == 0) {
      // A term of weight 0 is left out: its logit may be -inf. The hard and soft weights add up to 1.
      A loss = log(softmax.sum);
      if (!known) loss = std::numeric_limits<A>::quiet_NaN();
      if (known && hard != 0) loss -= hard * (convert<A>(x[target]) - softmax.max);
      if (known && hard_other != 0) loss -= hard_other * (convert<A>(x[other]) - softmax.max);
      if (soft != 0) loss -= soft * sum - static_cast<A>(targets.smoothing) * softmax.max;
      losses[row * loss_step] = loss;
    }
    if (!dx) continue;
    __syncthreads();  // the loss has read its logits
    const A scale = static_cast<A>(gradient_scale), per_sum = scale / softmax.sum;
    for_packs<kWide>(x, classes, [&]<int N>(const Pack<T, N>& pack, Dim first) {
      Pack<G, N> gradient;
      for (int i = 0; i < N; ++i) {
        const Dim c = first + i;
        A share = soft;
        if (c == target) share += hard;
        if (c == other) share += hard_other;
        gradient.value[i] =
            rounded<G>(per_sum * exponential<T>(convert<A>(pack.value[i]) - softmax.max) - scale * share);
      }
      store<N>(gradient, dx + first);
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
  dispatch_floating(logits.dtype, "cross_entropy", [&]<class T>() {
    const auto run = [&](auto* kernel, auto* gradient) {
      kernel<<<blocks_for(rows, 1), threads, 0, queue(exec)>>>(
          rows, classes, logits.as<T>(), logits.step(0), by_row, gradient_scale, losses.as<accumulate_t<T>>(),
          losses.step(0), gradient, dlogits ? dlogits.step(0) : Dim{0});
    };
    constexpr int kWide = static_cast<int>(16 / sizeof(T));
    const auto in_packs = [](const ConstView& v) {
      return !v || (v.step(0) % kWide == 0 && aligned_for(v.as<T>(), kWide));
    };
    if (dlogits && dlogits.dtype != logits.dtype) run(rows_of_logits<1, T, OtherGradient<T>>, dlogits.as<OtherGradient<T>>());
    else if (in_packs(logits) && in_packs(dlogits)) run(rows_of_logits<kWide, T, T>, dlogits.as<T>());
    else run(rows_of_logits<1, T, T>, dlogits.as<T>());
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
