// Clipping on CUDA: one block computes the factor, which stays on the device; then many gradients in a launch.
#include "core/array.h"
#include "kernels/clip/checks.h"
#include "kernels/tensor_update.cuh"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

__global__ void clip_factor(Dim count, const double* squares, ClipRule rule, double* factor) {
  __shared__ double shared[kWarp];
  double sum = 0;
  for (Dim i = threadIdx.x; i < count; i += kThreads) sum += squares[i];
  const double total = block_sum(sum, shared);
  if (threadIdx.x == 0) *factor = rule.factor(sqrt(total) / rule.accumulated);
}

template <class A>
struct Gradient {
  static constexpr int kWide = device::kWide<A>;
  Dim count;
  A* values;
  const double* factor;

  bool aligned(int n) const { return aligned_for(values, n); }

  template <int N>
  __device__ void update(Dim i) const {
    const auto scale = static_cast<A>(*factor);
    if (scale == 1) return;
    auto pack = load<N>(values + i);
    for (int k = 0; k < N; ++k) pack.value[k] *= scale;
    store<N>(pack, values + i);
  }
};

template <class A>
void scale_all(const Exec& exec, std::span<const View> gradients, const double* factor) {
  update_tensors(exec, gradients, [](const View& gradient) { return gradient.dtype == dtype_of<A>(); },
                 [=](const View& gradient) { return Gradient<A>{gradient.numel(), gradient.as<A>(), factor}; });
}

}  // namespace

void clip_gradients(const Exec& exec, std::span<const View> gradients, ConstView squares, ClipRule rule) {
  clipping::check(gradients, squares, rule);
  const Array factor = Array::empty({1}, DType::f64, exec.device);
  double* const value = View(factor).as<double>();
  clip_factor<<<1, kThreads, 0, queue(exec)>>>(squares.numel(), squares.as<double>(), rule, value);
  ASHLAR_CUDA_CHECK_LAUNCH();
  scale_all<float>(exec, gradients, value);
  scale_all<double>(exec, gradients, value);
}

}  // namespace ashlar::kernels::cuda
