// Monarch on CUDA, without passes that shuffle: the product of R writes the hidden features where L reads them, c columns
// for a pair of blocks, and the backward writes dA where R's products read it. A call does all such products that read the same
// block of x or dy, as a batch, so that those after the first may find it in the cache.
#include "core/array.h"
#include "kernels/blocks/blocks.h"
#include "kernels/blocks/products.h"
#include "kernels/matmul/matmul.h"
#include "kernels/monarch/checks.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace monarch;

// Features of block `block` of a side, once for each of `others` blocks: (others, R, features).
ConstView repeated_block(const ConstView& rows, const Side& side, Dim block, Dim others) {
  return strided(rows, block * side.length, {others, rows.size(0), side.count(block)}, {0, rows.step(0), 1});
}

// In hidden features (R, others, blocks, c) the columns of block `block`: (others, R, c).
View pair_columns(const View& hidden, Dim block, Dim blocks, Dim others, Dim c) {
  return strided(hidden, block * c, {others, hidden.size(0), c}, {blocks * c, hidden.step(0), 1});
}

// H (R, b1, b2, c) = X_j R_jiᵀ
void hidden_features(const Exec& exec, const Sizes& p, const ConstView& x, const ConstView& r, const View& h) {
  const Dim b1 = p.out.blocks, b2 = p.in.blocks, q = p.in.length, c = p.rank;
  for (Dim j = 0; j < b2; ++j) {
    const ConstView r_j = strided(r, j * b1 * c * q, {b1, c, p.in.count(j)}, {c * q, q, 1});
    matmul(exec, repeated_block(x, p.in, j, b1), transposed(r_j), pair_columns(h, j, b2, b1, c), {});
  }
}

// dA (R, b2, b1, c) = dY_i L_ij
void hidden_gradients(const Exec& exec, const Sizes& p, const ConstView& dy, const ConstView& l, const View& da) {
  const Dim b1 = p.out.blocks, b2 = p.in.blocks, length = p.out.length, c = p.rank;
  for (Dim i = 0; i < b1; ++i) {
    const ConstView l_i = strided(l, i * length * b2 * c, {b2, p.out.count(i), c}, {c, b2 * c, 1});
    matmul(exec, repeated_block(dy, p.out, i, b2), l_i, pair_columns(da, i, b1, b2, c), {});
  }
}

}  // namespace

void monarch_forward(const Exec& exec, ConstView x, ConstView r, ConstView l, ConstView bias, View h, View y) {
  const Sizes p = check("monarch_forward", x, y, h, r, l, bias);
  if (y.numel() == 0) return;
  const Array own = h ? Array() : Array::empty({p.rows, p.h.size}, x.dtype, exec.device);
  const View hidden = h ? h : View(own);
  hidden_features(exec, p, x, Operand(exec, r, x.dtype).view(), hidden);
  multiply_blocks(exec, p.h, p.out, hidden, transposed(l), bias, y);
}

void monarch_backward(const Exec& exec, ConstView dy, ConstView x, ConstView h, ConstView r, ConstView l, View dx, View dr,
                      View dl, View dbias) {
  const Sizes p = check("monarch_backward", x, dy, h, r, l, dbias);
  check_gradients(p, x, h, r, l, dx, dr, dl);
  if (dbias && (!dl || p.rows == 0)) sum_to(exec, dy, as_row(dbias));
  if (p.rows == 0) return clear({dr, dl});
  if (dl && p.out.padded()) fill(dl, 0);
  if (dl) block_gradients(exec, p.h, p.out, h, dy, false, dl, dbias);
  if (!dr && !dx) return;
  const Array da = Array::empty({p.rows, p.a.size}, x.dtype, exec.device);
  hidden_gradients(exec, p, dy, Operand(exec, l, x.dtype).view(), da);
  if (dr && p.in.padded()) fill(dr, 0);
  if (dr) block_gradients(exec, p.in, p.a, x, da, false, dr, {});
  if (dx) multiply_blocks(exec, p.a, p.in, da, r, {}, dx);
}

}  // namespace ashlar::kernels::cuda
