// Copies and fills within a device. A row is the merged innermost dimension; blocks take rows, threads take columns.
#include "core/copy_plan.h"
#include "core/cuda/check.cuh"
#include "core/cuda/cuda.h"

namespace ashlar::cuda {
namespace {

constexpr int kThreads = 256;

// Grid of blocks for rows of columns: (columns, rows), within the limits of the hardware; kernels stride over the rest.
dim3 grid_of(Dim rows, Dim columns) {
  const Dim across = std::min<Dim>((columns + kThreads - 1) / kThreads, 1 << 16);
  return {static_cast<unsigned>(across), static_cast<unsigned>(std::min<Dim>(rows, 1 << 15))};
}

template <class From, class To>
__global__ void copy_rows(CopyPlan plan, Dim rows, const From* from, To* to) {
  const Dim columns = plan.columns(), from_step = plan.from[plan.ndim - 1], to_step = plan.to[plan.ndim - 1];
  for (Dim row = blockIdx.y; row < rows; row += gridDim.y) {
    const CopyPlan::Offsets offsets = plan.row_offsets(row);
    for (Dim c = Dim{blockIdx.x} * kThreads + threadIdx.x; c < columns; c += Dim{gridDim.x} * kThreads) {
      to[offsets.to + c * to_step] = convert<To>(from[offsets.from + c * from_step]);
    }
  }
}

template <class T>
__global__ void fill_rows(CopyPlan plan, Dim rows, T* to, T value) {
  const Dim columns = plan.columns(), step = plan.to[plan.ndim - 1];
  for (Dim row = blockIdx.y; row < rows; row += gridDim.y) {
    const Dim begin = plan.row_offsets(row).to;
    for (Dim c = Dim{blockIdx.x} * kThreads + threadIdx.x; c < columns; c += Dim{gridDim.x} * kThreads) {
      to[begin + c * step] = value;
    }
  }
}

cudaStream_t queue(int index) { return static_cast<cudaStream_t>(stream(index)); }

}  // namespace

void copy(int index, const ConstView& from, const View& to) {
  if (from.numel() == 0) return;
  if (from.dtype == to.dtype && from.contiguous() && to.contiguous()) {
    const auto bytes = static_cast<std::size_t>(from.numel()) * size_of(from.dtype);
    ASHLAR_CUDA_CHECK(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, queue(index)));
    return;
  }
  const CopyPlan plan = plan_copy(from, to);
  const Dim rows = plan.rows();
  dispatch_all(from.dtype, [&]<class From>() {
    dispatch_all(to.dtype, [&]<class To>() {
      copy_rows<<<grid_of(rows, plan.columns()), kThreads, 0, queue(index)>>>(plan, rows, from.as<From>(), to.as<To>());
    });
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void fill(int index, const View& to, double value) {
  if (to.numel() == 0) return;
  const bool zero_bits = value == 0 && !std::signbit(value);
  if (zero_bits && to.contiguous()) {
    const auto bytes = static_cast<std::size_t>(to.numel()) * size_of(to.dtype);
    ASHLAR_CUDA_CHECK(cudaMemsetAsync(to.data, 0, bytes, queue(index)));
    return;
  }
  const CopyPlan plan = plan_copy(to, to);
  const Dim rows = plan.rows();
  dispatch_all(to.dtype, [&]<class T>() {
    fill_rows<<<grid_of(rows, plan.columns()), kThreads, 0, queue(index)>>>(plan, rows, to.as<T>(), convert<T>(value));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::cuda
