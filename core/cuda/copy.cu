// Copies and fills within a device. A row is the merged innermost dimension.
#include "core/cuda/cuda.h"
#include "core/cuda/launch.cuh"
#include "core/strided.h"

namespace ashlar::cuda {
namespace {

// By rows that count packs of N values.
template <int N, class From, class To>
__global__ void copy_rows(StridedRows<2> rows, const From* from, To* to) {
  const Dim from_step = rows.column_steps()[0], to_step = rows.column_steps()[1];
  const auto offsets_of = [&](Dim row) { return rows.row_offsets(row); };
  for_elements(rows.rows(), rows.columns(), offsets_of, [&](const StridedRows<2>::Offsets& offsets, Dim c) {
    const Pack<From, N> values = load<N>(from + (offsets[0] + c * from_step) * N);
    Pack<To, N> converted;
    for (int i = 0; i < N; ++i) converted.value[i] = rounded<To>(values.value[i]);
    store<N>(converted, to + (offsets[1] + c * to_step) * N);
  });
}

// The same where both are contiguous, in packs of N and, at the end, one by one: for weights between f32 and bf16.
template <class From, class To>
constexpr bool kConvertsContiguous = (std::is_same_v<From, float> && std::is_same_v<To, bfloat16>) ||
                                (std::is_same_v<From, bfloat16> && std::is_same_v<To, float>);
template <int N, class From, class To>
__global__ void convert_values(Dim count, const From* from, To* to) {
  const Dim packs = count / N, first = Dim{blockIdx.x} * kThreads + threadIdx.x;
  for (Dim p = first; p < packs; p += Dim{gridDim.x} * kThreads) {
    const Pack<From, N> values = load<N>(from + p * N);
    Pack<To, N> converted;
    for (int i = 0; i < N; ++i) converted.value[i] = rounded<To>(values.value[i]);
    store<N>(converted, to + p * N);
  }
  if (const Dim i = packs * N + first; i < count) to[i] = rounded<To>(from[i]);
}

template <class T>
__global__ void fill_rows(StridedRows<1> rows, T* to, T value) {
  const Dim step = rows.column_steps()[0];
  const auto offset_of = [&](Dim row) { return rows.row_offsets(row)[0]; };
  for_elements(rows.rows(), rows.columns(), offset_of, [&](Dim offset, Dim c) { to[offset + c * step] = value; });
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
  const StridedRows<2> rows(from.shape, {from.stride, to.stride});
  dispatch_all(from.dtype, [&]<class From>() {
    dispatch_all(to.dtype, [&]<class To>() {
      constexpr int N = kWide<From, To>;
      const bool aligned = aligned_for(from.as<From>(), N) && aligned_for(to.as<To>(), N);
      if constexpr (kConvertsContiguous<From, To>) {
        if (aligned && from.contiguous() && to.contiguous()) {
          const unsigned blocks = blocks_for(from.numel(), kThreads * N);
          convert_values<N><<<blocks, kThreads, 0, queue(index)>>>(from.numel(), from.as<From>(), to.as<To>());
          return;
        }
      }
      const auto packs = rows.in_packs(N);
      const auto& parts = aligned && packs ? *packs : rows;
      const RowGrid g = grid_of_rows(parts.rows(), parts.columns());
      if (aligned && packs) copy_rows<N><<<g.grid, g.block, 0, queue(index)>>>(parts, from.as<From>(), to.as<To>());
      else copy_rows<1><<<g.grid, g.block, 0, queue(index)>>>(parts, from.as<From>(), to.as<To>());
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
  const StridedRows<1> rows(to.shape, {to.stride});
  const RowGrid g = grid_of_rows(rows.rows(), rows.columns());
  dispatch_all(to.dtype, [&]<class T>() {
    fill_rows<<<g.grid, g.block, 0, queue(index)>>>(rows, to.as<T>(), convert<T>(value));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::cuda
