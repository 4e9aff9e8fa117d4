// Table lookup on CUDA. For the gradient a warp owns one row of the table and walks the batch in order, so that rows that
// share an id are added in the order of N; it reads ids until it has met its own as often as they were counted before.
// Where no order is asked for, every row of dy is added where it belongs, by atomics.
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

// counts (V), zeros before: how often each id of the table occurs.
__global__ void count_ids(Dim rows, Dim vocabulary, const std::int32_t* ids, Dim id_step, std::int32_t* counts) {
  for (Dim n = Dim{blockIdx.x} * kThreads + threadIdx.x; n < rows; n += Dim{gridDim.x} * kThreads) {
    const Dim id = ids[n * id_step];
    if (id >= 0 && id < vocabulary) atomicAdd(counts + id, 1);
  }
}

// A warp adds the columns [slab, slab + 4 · 32) of all rows of dy with id `v` to row v of the table. Groups of 32 ids are
// read four at once, and so are the rows that are found in a group: a frequent id waits for few reads.
constexpr int kColumnsPerLane = 4, kSlab = kColumnsPerLane * kWarp, kWarps = kThreads / kWarp, kAtOnce = 4;

template <class T>
__global__ void accumulate(Dim rows, Dim columns, Dim vocabulary, const std::int32_t* ids, Dim id_step,
                           const std::int32_t* counts, const T* dy, Dim ld_dy, accumulate_t<T>* dtable, Dim ld_table) {
  using A = accumulate_t<T>;
  const Dim v = Dim{blockIdx.x} * kWarps + threadIdx.x / kWarp;
  int left = v < vocabulary ? counts[v] : 0;
  if (left == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Dim first = Dim{blockIdx.y} * kSlab + lane;
  A sum[kColumnsPerLane];
  for (int k = 0; k < kColumnsPerLane; ++k) {
    const Dim c = first + k * kWarp;
    sum[k] = c < columns ? dtable[v * ld_table + c] : A{0};
  }
  for (Dim begin = 0; left > 0; begin += kAtOnce * kWarp) {
    unsigned found[kAtOnce];
#pragma unroll
    for (int group = 0; group < kAtOnce; ++group) {
      const Dim n = begin + group * kWarp + lane;
      found[group] = __ballot_sync(kAllLanes, n < rows && ids[n * id_step] == v);
    }
    for (int group = 0; group < kAtOnce; ++group) {
      while (found[group]) {
        A value[kAtOnce][kColumnsPerLane] = {};
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) {
          if (!found[group]) break;
          const Dim n = begin + group * kWarp + __ffs(static_cast<int>(found[group])) - 1;
          found[group] &= found[group] - 1;
          --left;
          for (int k = 0; k < kColumnsPerLane; ++k) {
            const Dim c = first + k * kWarp;
            if (c < columns) value[i][k] = convert<A>(dy[n * ld_dy + c]);
          }
        }
        for (int i = 0; i < kAtOnce; ++i) {
          for (int k = 0; k < kColumnsPerLane; ++k) sum[k] += value[i][k];
        }
      }
    }
  }
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
  const Dim rows = dy.size(0), columns = dy.size(1), vocabulary = dtable.size(0);
  const auto* const numbers = ids.as<std::int32_t>();
  Array counts;
  if (deterministic()) {
    counts = Array::zeros({vocabulary}, DType::i32, exec.device);
    count_ids<<<blocks_for(rows, kThreads, 1024), kThreads, 0, queue(exec)>>>(rows, vocabulary, numbers, ids.step(0),
                                                                            View(counts).as<std::int32_t>());
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  dispatch_floating(dy.dtype, "embedding_backward", [&]<class T>() {
    using A = accumulate_t<T>;
    if (deterministic()) {
      const dim3 grid(blocks_for(vocabulary, kWarps), blocks_for(columns, kSlab));
      accumulate<T><<<grid, kThreads, 0, queue(exec)>>>(rows, columns, vocabulary, numbers, ids.step(0),
                                                        View(counts).as<std::int32_t>(), dy.as<T>(), dy.step(0),
                                                        dtable.as<A>(), dtable.step(0));
    } else {
      add_in_any_order<T><<<blocks_for(rows, 1), kThreads, 0, queue(exec)>>>(
          rows, columns, vocabulary, numbers, ids.step(0), dy.as<T>(), dy.step(0), dtable.as<A>(), dtable.step(0));
    }
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
