// Monarch on CUDA, without passes that shuffle: the product of R writes the hidden features where L reads them, c columns
// for a pair of blocks, and the backward writes dA where R's products read it.
#include "core/array.h"
#include "core/cuda/cuda.h"
#include "kernels/block_views.h"
#include "kernels/matmul/cuda.h"
#include "kernels/monarch/problem.h"

namespace ashlar::kernels::cuda {

void sum_to(const Exec& exec, ConstView x, View y);

namespace {

using namespace monarch;

// Of block j of a side with `blocks` blocks: columns for the blocks first … first + count of the other side, c each, in
// hidden features (R, blocks, others, c): (count, R, c).
template <class AnyView>
AnyView pair_columns(const AnyView& hidden, Dim block, Dim others, const BlockRun& run, Dim c) {
  return matrices(hidden, run.count, hidden.size(0), c, {(block * others + run.first) * c, c, hidden.step(0), 1});
}

// H (R, b1, b2, c) = X_j R_jiᵀ
void hidden_features(const Exec& exec, const Problem& p, const ConstView& x, const ConstView& r, const View& h) {
  const Dim b1 = p.out.blocks, b2 = p.in.blocks, q = p.in.length, c = p.rank;
  for (Dim i = 0; i < b1; ++i) {
    for (const BlockRun& run : runs_of(p.in)) {
      const ConstView r_i = matrices(r, run.count, c, run.features, {(run.first * b1 + i) * c * q, b1 * c * q, q, 1});
      matmul_blocks(exec, column_blocks(x, run, q), transposed_matrices(r_i), pair_columns(h, i, b2, run, c), {});
    }
  }
}

// dA (R, b2, b1, c) = dY_i L_ij
void hidden_gradients(const Exec& exec, const Problem& p, const ConstView& dy, const ConstView& l, const View& da) {
  const Dim b1 = p.out.blocks, b2 = p.in.blocks, length = p.out.length, c = p.rank;
  for (Dim j = 0; j < b2; ++j) {
    for (const BlockRun& run : runs_of(p.out)) {
      const ConstView l_j =
          matrices(l, run.count, run.features, c, {run.first * length * b2 * c + j * c, length * b2 * c, b2 * c, 1});
      matmul_blocks(exec, column_blocks(dy, run, length), l_j, pair_columns(da, j, b1, run, c), {});
    }
  }
}

// The hidden features of the blocks of a run: (count, R, width).
ConstView hidden_blocks(const ConstView& hidden, const BlockRun& run, Dim width) {
  return column_blocks(hidden, {run.first, run.count, width}, width);
}

}  // namespace

void monarch_forward(const Exec& exec, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y) {
  const Problem p = check("monarch_forward", x, y, h, r, l, bias);
  if (y.numel() == 0) return;
  const Array own = h ? Array() : Array::empty({p.rows, p.h.size}, x.dtype, exec.device);
  const View hidden = h ? h : View(own);
  hidden_features(exec, p, x, r, hidden);
  for (const BlockRun& run : runs_of(p.out)) {
    matmul_blocks(exec, hidden_blocks(hidden, run, p.h.length), transposed_matrices(factor_blocks(l, run)),
                  column_blocks(y, run, p.out.length), bias_blocks(bias, run, p.out.length));
  }
}

void monarch_backward(const Exec& exec, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias) {
  const Problem p = check("monarch_backward", x, dy, h, r, l, dbias);
  check_gradients(p, x, h, r, l, dx, dr, dl);
  const int device = exec.device.index;
  if (dbias) sum_to(exec, dy, View{dbias.data, dbias.dtype, Shape{1, p.out.size}, {p.out.size, 1}, dbias.device});
  if (dr && (p.rows == 0 || p.in.size < p.in.blocks * p.in.length)) ashlar::cuda::fill(device, dr, 0);
  if (dl && (p.rows == 0 || p.out.size < p.out.blocks * p.out.length)) ashlar::cuda::fill(device, dl, 0);
  if (p.rows == 0) return;
  if (dl) {
    for (const BlockRun& run : runs_of(p.out)) {
      matmul_blocks(exec, transposed_matrices(column_blocks(dy, run, p.out.length)), hidden_blocks(h, run, p.h.length),
                    factor_blocks(dl, run), {});
    }
  }
  if (!dr && !dx) return;
  const Array da = Array::empty({p.rows, p.a.size}, x.dtype, exec.device);
  hidden_gradients(exec, p, dy, l, da);
  for (const BlockRun& run : runs_of(p.in)) {
    const Dim width = p.a.length, q = p.in.length;
    const ConstView da_blocks = hidden_blocks(da, run, width);
    // R_j (b1 c, q) without the padding of q: (count, b1 c, features)
    const auto of_run = [&](const auto& factor) {
      return matrices(factor, run.count, width, run.features, {run.first * width * q, width * q, q, 1});
    };
    if (dr) matmul_blocks(exec, transposed_matrices(da_blocks), column_blocks(x, run, q), of_run(dr), {});
    if (dx) matmul_blocks(exec, da_blocks, of_run(r), column_blocks(dx, run, q), {});
  }
}

}  // namespace ashlar::kernels::cuda
