// Table lookup on CUDA. For the gradient a block owns one row of the table and looks for its id through the batch, so that
// rows that share an id are added in the order of N; it reads ids until it has met its own as often as they were counted
// before. Where no order is asked for, every row of dy is added where it belongs, by atomics.
#include <algorithm>
#include <limits>

#include "core/array.h"
#include "core/determinism.h"
#include "kernels/device.cuh"
#include "kernels/embedding/checks.h"
#include "kernels/embedding/embedding.h"
#include "kernels/vectors.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;

constexpr int kColumns = 4;  // neighbouring ones of a thread, where rows are in such vectors

// An id outside the table, which the host cannot see, makes a row of NaN instead of a stray read.
template <int N, class T, class Y>
__global__ void lookup(Dim rows, Dim columns, Dim vocabulary, const T* table, Dim ld_table, const std::int32_t* ids,
                       Dim id_step, Y* y, Dim ld_y) {
  using A = accumulate_t<Y>;
  for (Dim n = blockIdx.x; n < rows; n += gridDim.x) {
    const Dim id = ids[n * id_step];
    const bool known = id >= 0 && id < vocabulary;
    for (Dim c = Dim{threadIdx.x} * N; c < columns; c += kThreads * N) {
      Pack<T, N> values{};
      if (known) values = load<N>(table + id * ld_table + c);
      Pack<Y, N> result;
      for (int i = 0; i < N; ++i) {
        result.value[i] = known ? convert<Y>(values.value[i]) : convert<Y>(std::numeric_limits<A>::quiet_NaN());
      }
      store<N>(result, y + n * ld_y + c);
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

// A piece of the ids is looked through by all threads at once, a group of 32 a warp; of its rows that are found there is room
// for those of two pieces.
constexpr int kWarps = kThreads / kWarp, kTurns = kWarp / kWarps, kPiece = kTurns * kThreads, kList = 2 * kPiece;

// A block adds N columns a thread of all rows of dy with id `v` to row v of the table, as many rows at once as 128 bytes hold:
// a frequent id waits for few reads.
template <int N, class T>
__global__ void __launch_bounds__(kThreads)
    accumulate(Dim rows, Dim columns, const std::int32_t* ids, Dim id_step, const std::int32_t* counts, const T* dy, Dim ld_dy,
               accumulate_t<T>* dtable, Dim ld_table) {
  using A = accumulate_t<T>;
  constexpr int kAtOnce = std::min(16, static_cast<int>(128 / (N * sizeof(T))));
  __shared__ unsigned found[2][kWarp];  // of the groups of a piece and of the next
  __shared__ int list[kList];
  const Dim v = blockIdx.x;
  int left = counts[v], listed = 0;
  if (left == 0) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const Dim c = (Dim{blockIdx.y} * kThreads + threadIdx.x) * N;
  Pack<A, N> sum{};
  if (c < columns) sum = load<N>(dtable + v * ld_table + c);
  for (Dim begin = 0; left > 0; begin += kPiece) {
    unsigned* const groups = found[begin / kPiece % 2];
    unsigned own[kTurns];
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const Dim n = begin + turn * kThreads + threadIdx.x;
      own[turn] = __ballot_sync(kAllLanes, n < rows && ids[n * id_step] == v);
      if (lane == 0) groups[turn * kWarps + warp] = own[turn];
    }
    __syncthreads();
    const int in_group = __popc(groups[lane]);
    if (__ballot_sync(kAllLanes, in_group > 0) == 0) continue;
    int until = in_group;  // how many were found up to the end of the group that is this lane's
    for (int step = 1; step < kWarp; step *= 2) {
      const int before = __shfl_up_sync(kAllLanes, until, step);
      if (lane >= step) until += before;
    }
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int first = listed + __shfl_sync(kAllLanes, until - in_group, turn * kWarps + warp);
      const unsigned self = 1u << lane;
      if (own[turn] & self) {
        list[first + __popc(own[turn] & (self - 1))] = static_cast<int>(begin + turn * kThreads + threadIdx.x);
      }
    }
    const int in_piece = __shfl_sync(kAllLanes, until, kWarp - 1);
    listed += in_piece, left -= in_piece;
    if (left > 0 && listed <= kList - kPiece) continue;
    __syncthreads();
    for (int i = 0; c < columns && i < listed; i += kAtOnce) {
      Pack<T, N> value[kAtOnce];  // behind the last row that one again: conditions would make the loads wait for each other
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) value[k] = load<N>(dy + list[min(i + k, listed - 1)] * ld_dy + c);
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) {
        for (int column = 0; column < N && i + k < listed; ++column) sum.value[column] += convert<A>(value[k].value[column]);
      }
    }
    listed = 0;  // the list is written again behind the next piece's barrier
  }
  if (c < columns) store<N>(sum, dtable + v * ld_table + c);
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
      const Dim rows = y.size(0), columns = y.size(1);
      const bool vectors = rows_in_vectors(table, kColumns) && rows_in_vectors(y, kColumns);
      const auto run = [&](auto* kernel) {
        kernel<<<blocks_for(rows, 1), kThreads, 0, queue(exec)>>>(rows, columns, table.size(0), table.as<T>(), table.step(0),
                                                                  ids.as<std::int32_t>(), ids.step(0), y.as<Y>(), y.step(0));
      };
      run(vectors ? lookup<kColumns, T, Y> : lookup<1, T, Y>);
    });
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

void embedding_backward(const Exec& exec, ConstView ids, ConstView dy, View dtable) {
  check_embedding("embedding_backward", dtable, ids, dy);
  check_embedding_gradient(dy, dtable);
  if (dy.numel() == 0 || dtable.numel() == 0) return;
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
      const bool vectors = rows_in_vectors(dy, kColumns) && rows_in_vectors(dtable, kColumns);
      const dim3 grid(static_cast<unsigned>(vocabulary), blocks_for(columns, kThreads * (vectors ? kColumns : 1)));
      const auto run = [&](auto* kernel) {
        kernel<<<grid, kThreads, 0, queue(exec)>>>(rows, columns, numbers, ids.step(0), View(counts).as<std::int32_t>(),
                                                   dy.as<T>(), dy.step(0), dtable.as<A>(), dtable.step(0));
      };
      run(vectors ? accumulate<kColumns, T> : accumulate<1, T>);
    } else {
      add_in_any_order<T><<<blocks_for(rows, 1), kThreads, 0, queue(exec)>>>(
          rows, columns, vocabulary, numbers, ids.step(0), dy.as<T>(), dy.step(0), dtable.as<A>(), dtable.step(0));
    }
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

}  // namespace ashlar::kernels::cuda
