// On CUDA the sums of squares stay on the device, and a second launch scales all rows.
#include "core/array.h"
#include "kernels/device.cuh"
#include "kernels/normalize/checks.h"
#include "kernels/normalize/normalize.h"
#include "kernels/normalize/rows.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace normalize;

// (N) f64
Array squares_of_rows(const Exec& exec, const ConstView& x) {
  std::vector<ConstView> rows;
  for (Dim k = 0; k < x.size(0); ++k) rows.push_back(row_of(x, k));
  const Array squares = Array::empty({x.size(0)}, DType::f64, exec.device);
  sums_of_squares(exec, rows, squares);
  return squares;
}

template <class X, class Y>
__global__ void scale_rows(Dim rows, Dim columns, const X* x, const double* squares, const double* target, double eps,
                           Y* y) {
  using A = accumulate_t<Y>;
  for (Dim row = blockIdx.y; row < rows; row += gridDim.y) {
    const auto factor = static_cast<A>(row_factor(sqrt(squares[row]), target ? sqrt(target[row]) : 1, eps));
    for (Dim c = Dim{blockIdx.x} * kThreads + threadIdx.x; c < columns; c += Dim{gridDim.x} * kThreads) {
      y[row * columns + c] = convert<Y>(convert<A>(x[row * columns + c]) * factor);
    }
  }
}

template <class X, class Y>
void launch(const Exec& exec, const ConstView& x, const ConstView& target, double eps, const View& y) {
  const Array squares = squares_of_rows(exec, x), targets = target ? squares_of_rows(exec, target) : Array();
  const ConstView of_x = squares, of_target = targets;
  const dim3 grid(blocks_for(x.size(1), 4 * kThreads, 1024), blocks_for(x.size(0), 1, 1 << 15));
  scale_rows<<<grid, kThreads, 0, queue(exec)>>>(x.size(0), x.size(1), x.as<X>(), of_x.as<double>(),
                                                 of_target.as<double>(), eps, y.as<Y>());
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace

void normalize_rows(const Exec& exec, ConstView x, ConstView target, double eps, View y) {
  check(x, target, y);
  if (y.numel() == 0) return;
  if (y.dtype == DType::f64) return launch<double, double>(exec, x, target, eps, y);
  dispatch_f32_bf16(x.dtype, [&]<class X>() {
    dispatch_f32_bf16(y.dtype, [&]<class Y>() { launch<X, Y>(exec, x, target, eps, y); });
  });
}

}  // namespace ashlar::kernels::cuda
