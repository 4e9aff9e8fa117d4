// Block-diagonal products on CUDA: a batch of products for all full blocks. Shuffled channels are gathered into a copy.
#include "core/array.h"
#include "kernels/block_diagonal/checks.h"
#include "kernels/blocks/products.h"
#include "kernels/device.cuh"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace block_diagonal;

// to (R, columns)[t, at] = from (R, limit)[t, place of at], 0 where the place is beyond.
template <class T>
__global__ void gather_channels(Dim rows, Dim columns, Dim blocks, Dim length, const T* from, Dim ld_from, Dim limit, T* to,
                                Dim ld_to) {
  for_elements(rows, columns, [&](Dim row, Dim at) {
    const Dim place = shuffled_place(at, blocks, length);
    to[row * ld_to + at] = place < limit ? from[row * ld_from + place] : convert<T>(0.0f);
  });
}

void gather(const Exec& exec, Dim blocks, Dim length, const ConstView& from, const View& to) {
  const Dim rows = to.size(0), columns = to.size(1);
  if (rows * columns == 0) return;
  const auto g = grid_of_rows(rows, columns);
  dispatch_floating(to.dtype, "block_diagonal", [&]<class T>() {
    gather_channels<<<g.grid, g.block, 0, queue(exec)>>>(rows, columns, blocks, length, from.as<T>(), from.step(0),
                                                         from.size(1), to.as<T>(), to.step(0));
  });
  ASHLAR_CUDA_CHECK_LAUNCH();
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
  multiply_blocks(exec, p.in, p.out, channels_of(exec, p, x).view, transposed(w), bias, y);
}

void block_diagonal_backward(const Exec& exec, ConstView dy, ConstView x, ConstView w, bool shuffle, View dx, View dw,
                             View dbias) {
  const Sizes p = check("block_diagonal_backward", x, dy, w, dbias, shuffle);
  check_gradients(x, w, dx, dw);
  if (dbias && (!dw || p.rows == 0)) sum_to(exec, dy, as_row(dbias));
  if (p.rows == 0) return clear({dw});
  if (dw && (p.out.padded() || p.in.padded())) fill(dw, 0);
  if (dw) block_gradients(exec, p.in, p.out, channels_of(exec, p, x).view, dy, false, dw, dbias);
  if (!dx) return;
  if (!p.shuffle) return multiply_blocks(exec, p.out, p.in, dy, w, {}, dx);
  const Array d_channels = Array::empty({p.rows, p.in.size}, x.dtype, exec.device);
  multiply_blocks(exec, p.out, p.in, dy, w, {}, d_channels);
  gather(exec, p.in.length, p.in.blocks, d_channels, dx);  // the shuffle of (q, b) undoes that of (b, q)
}

}  // namespace ashlar::kernels::cuda
