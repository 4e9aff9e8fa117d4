// Block-diagonal products on CUDA: a batch of products for all full blocks. Shuffled channels are gathered into a copy.
#include "core/array.h"
#include "kernels/block_diagonal/checks.h"
#include "kernels/blocks/views.h"
#include "kernels/device.cuh"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace block_diagonal;

// to (R, columns)[t, at] = from (R, limit)[t, place of at], 0 where the place is beyond.
template <class T>
__global__ void gather_channels(Dim rows, Dim columns, Dim blocks, Dim length, const T* from, Dim ld_from, Dim limit, T* to,
                                Dim ld_to) {
  for (Dim row = blockIdx.y; row < rows; row += gridDim.y) {
    for (Dim at = Dim{blockIdx.x} * kThreads + threadIdx.x; at < columns; at += Dim{gridDim.x} * kThreads) {
      const Dim place = shuffled_place(at, blocks, length);
      to[row * ld_to + at] = place < limit ? from[row * ld_from + place] : convert<T>(0.0f);
    }
  }
}

void gather(const Exec& exec, Dim blocks, Dim length, const ConstView& from, const View& to) {
  const Dim rows = to.size(0), columns = to.size(1);
  if (rows * columns == 0) return;
  const dim3 grid(blocks_for(columns, kThreads, 1 << 12), blocks_for(rows, 1, 1 << 15));
  dispatch_floating(to.dtype, "block_diagonal", [&]<class T>() {
    gather_channels<<<grid, kThreads, 0, queue(exec)>>>(rows, columns, blocks, length, from.as<T>(), from.step(0),
                                                        from.size(1), to.as<T>(), to.step(0));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
}

// Blocks of w (b, p, q) as (count, outputs, inputs), without the padding.
template <class AnyView>
AnyView weights(const AnyView& w, const BlockRun& run) {
  return block_weights(w, run, run.outputs, run.inputs);
}

// x, or its channels as the blocks take them (R, b q).
struct Channels {
  Array copy;
  ConstView view;
};
Channels channels_of(const Exec& exec, const Sizes& p, const ConstView& x) {
  if (!p.shuffle) return {{}, x};
  Channels channels;
  channels.copy = Array::empty({p.rows, p.in.size}, x.dtype, exec.device);
  gather(exec, p.in.blocks, p.in.length, x, channels.copy);
  channels.view = channels.copy;
  return channels;
}

}  // namespace

void block_diagonal_forward(const Exec& exec, ConstView x, ConstView w, ConstView bias, bool shuffle, View y) {
  const Sizes p = check("block_diagonal_forward", x, y, w, bias, shuffle);
  if (y.numel() == 0) return;
  const Channels channels = channels_of(exec, p, x);
  for (const BlockRun& run : runs_of(p.in, p.out)) {
    matmul(exec, block_columns(channels.view, p.in, run, run.inputs), transposed(weights(w, run)),
           block_columns(y, p.out, run, run.outputs), {.bias = block_bias(bias, p.out, run, run.outputs)});
  }
}

void block_diagonal_backward(const Exec& exec, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias) {
  const Sizes p = check("block_diagonal_backward", x, dy, w, dbias, shuffle);
  check_gradients(x, w, dx, dw);
  const int device = exec.device.index;
  if (dbias && (!dw || p.rows == 0)) sum_to(exec, dy, as_row(dbias));
  const bool padded = p.out.size < p.out.blocks * p.out.length || p.in.size < p.in.blocks * p.in.length;
  if (dw && (padded || p.rows == 0)) ashlar::cuda::fill(device, dw, 0);
  if (p.rows == 0) return;
  const Channels channels = dw ? channels_of(exec, p, x) : Channels{};
  const Array d_channels = dx && p.shuffle ? Array::empty({p.rows, p.in.size}, x.dtype, exec.device) : Array();
  const View to = d_channels.defined() ? View(d_channels) : dx;
  for (const BlockRun& run : runs_of(p.in, p.out)) {
    const ConstView dy_blocks = block_columns(dy, p.out, run, run.outputs);
    if (dw) {
      matmul(exec, transposed(dy_blocks), block_columns(channels.view, p.in, run, run.inputs), weights(dw, run),
             {.row_sums = block_values(dbias, p.out, run, run.outputs)});
    }
    if (dx) matmul(exec, dy_blocks, weights(w, run), block_columns(to, p.in, run, run.inputs), {});
  }
  // The shuffle of (q, b) undoes that of (b, q).
  if (d_channels.defined()) gather(exec, p.in.length, p.in.blocks, d_channels, dx);
}

}  // namespace ashlar::kernels::cuda
