// Table lookup on CUDA. For the gradient a warp owns one row of the table and walks the batch in order, so that rows that
// share an id are added in the order of N, without atomics; every warp reads all ids. Where no order is asked for, every
// row of dy is added where it belongs, by atomics.
#include <limits>

#include "core/determinism.h"
#include "kernels/device.cuh"
#include "kernels/embedding/checks.h"
#include "kernels/embedding/embedding.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

// An id outside the table, which the host cannot see, makes a row of NaN instead of a stray read.
template <class T, class Y>
__global__ void lookup(Dim rows, Dim columns, Dim vocabulary, const T* table, Dim ld_table, const std::int32_t* ids,
                       Dim id_step, Y* y, Dim ld_y) {
  using A = accumulate_t<Y>;
  for (Dim n = blockIdx.x; n < rows; n += gridDim.x) {
    const Dim id = ids[n * id_step];
    const bool known = id >= 0 && id < vocabulary;
    for (Dim c = threadIdx.x; c < columns; c += kThreads) {
      y[n * ld_y + c] = known ? convert<Y>(table[id * ld_table + c]) : convert<Y>(std::numeric_limits<A>::quiet_NaN());
    }
  }
}

// A warp adds the columns [slab, slab + 4 · 32) of all rows of dy with id `v` to row v of the table.
constexpr int kColumnsPerLane = 4, kSlab = kColumnsPerLane * kWarp, kWarps = kThreads / kWarp;

template <class T>
__global__ void accumulate(Dim rows, Dim columns, Dim vocabulary, const std::int32_t* ids, Dim id_step, const T* dy,
                           Dim ld_dy, accumulate_t<T>* dtable, Dim ld_table) {
  using A = accumulate_t<T>;
  const Dim v = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  if (v >= vocabulary) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim first = Dim{blockIdx.y} * kSlab + lane;
  A sum[kColumnsPerLane];
  bool touched = false;
  for (int k = 0; k < kColumnsPerLane; ++k) {
    const Dim c = first + k * kWarp;
    sum[k] = c < columns ? dtable[v * ld_table + c] : A{0};
  }
  for (Dim begin = 0; begin < rows; begin += kWarp) {
    const bool mine = begin + lane < rows && ids[(begin + lane) * id_step] == v;
    for (unsigned found = __ballot_sync(kAllLanes, mine); found; found &= found - 1) {
      const Dim n = begin + __ffs(static_cast<int>(found)) - 1;
      touched = true;
      for (int k = 0; k < kColumnsPerLane; ++k) {
        const Dim c = first + k * kWarp;
        if (c < columns) sum[k] += convert<A>(dy[n * ld_dy + c]);
      }
    }
  }
  if (!touched) return;
  for (int k = 0; k < kColumnsPerLane; ++k) {
    const Dim c = first + k * kWarp;
    if (c < columns) dtable[v * ld_table + c] = sum[k];
  }
}

// A block takes a row of dy at a time. Rows of ids outside the table go nowhere, as above.
template <class T>
__global__ void add_in_any_order(Dim rows, Dim columns, Dim vocabulary, const std::int32_t* ids, Dim id_step, const T* dy,
                                 Dim ld_dy, accumulate_t<T>* dtable, Dim ld_table) {
  for (Dim n = blockIdx.x; n < rows; n += gridDim.x) {
    const Dim id = ids[n * id_step];
    if (id < 0 || id >= vocabulary) continue;
    for (Dim c = threadIdx.x; c < columns; c += kThreads) {
      atomicAdd(dtable + id * ld_table + c, convert<accumulate_t<T>>(dy[n * ld_dy + c]));
    }
  }
}

}  // namespace

void embedding_forward(const Exec& exec, ConstView table, ConstView ids, View y) {
  check_embedding("embedding_forward", table, ids, y);
  if (y.numel() == 0) return;
  dispatch_floating(table.dtype, "embedding_forward", [&]<class T>() {
    dispatch_floating(y.dtype, "embedding_forward", [&]<class Y>() {
      lookup<<<blocks_for(y.size(0), 1), kThreads, 0, queue(exec)>>>(y.size(0), y.size(1), table.size(0), table.as<T>(),
                                                                     table.step(0), ids.as<std::int32_t>(), ids.step(0),
                                                                     y.as<Y>(), y.step(0));
    });
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void embedding_backward(const Exec& exec, ConstView ids, ConstView dy, View dtable) {
  check_embedding("embedding_backward", dtable, ids, dy);
  check_embedding_gradient(dy, dtable);
  if (dy.numel() == 0) return;
  const dim3 grid(blocks_for(dtable.size(0), kWarps), blocks_for(dy.size(1), kSlab));
  dispatch_floating(dy.dtype, "embedding_backward", [&]<class T>() {
    const auto launch = [&](auto* kernel, const dim3& blocks) {
      kernel<<<blocks, kThreads, 0, queue(exec)>>>(dy.size(0), dy.size(1), dtable.size(0), ids.as<std::int32_t>(),
                                                   ids.step(0), dy.as<T>(), dy.step(0), dtable.as<accumulate_t<T>>(),
                                                   dtable.step(0));
    };
    if (deterministic()) launch(accumulate<T>, grid);
    else launch(add_in_any_order<T>, blocks_for(dy.size(0), 1));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
