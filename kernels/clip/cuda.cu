// Clipping on CUDA: one block computes the factor, which stays on the device; then dozens of gradients in a launch.
#include "kernels/clip/checks.h"
#include "kernels/device.cuh"
#include "kernels/tensor_table.h"

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
  Dim count;
  A* values;
};
template <class A>
using GradientTable = TensorTable<Gradient<A>, 64>;

template <class A>
__global__ void scale_chunks(const __grid_constant__ GradientTable<A> table, const double* factor) {
  if (*factor == 1) return;
  const auto scale = static_cast<A>(*factor);
  const int tensor = table.find(blockIdx.x);
  const Gradient<A>& gradient = table.item[tensor];
  const Dim begin = (blockIdx.x - table.first[tensor]) * kTensorChunk, end = min(begin + kTensorChunk, gradient.count);
  for (Dim i = begin + threadIdx.x; i < end; i += kThreads) gradient.values[i] *= scale;
}

template <class A>
void launch(const Exec& exec, GradientTable<A>& table, const double* factor) {
  if (table.blocks() > 0) {
    scale_chunks<<<static_cast<unsigned>(table.blocks()), kThreads, 0, queue(exec)>>>(table, factor);
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  table = {};
}

template <class A>
void scale_all(const Exec& exec, std::span<const View> gradients, const double* factor) {
  GradientTable<A> table;
  for (const View& gradient : gradients) {
    if (gradient.dtype != dtype_of<A>()) continue;
    if (table.full()) launch(exec, table, factor);
    table.add({gradient.numel(), gradient.as<A>()}, gradient.numel());
  }
  launch(exec, table, factor);
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
