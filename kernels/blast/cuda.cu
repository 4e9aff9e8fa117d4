// BLAST on CUDA: the products of the factors as batches, all full blocks of a side in one call; the coupling between them.
#include "kernels/blast/cuda.h"

#include "core/array.h"
#include "core/cuda/cuda.h"
#include "kernels/blast/shapes.h"
#include "kernels/blocks/views.h"
#include "kernels/matmul/cuda.h"

namespace ashlar::kernels::cuda {
void sum_to(const Exec& exec, ConstView x, View y);
}

namespace ashlar::kernels::blast {
namespace {

// Values of the rank for every block of a side: (R, blocks, r), contiguous, in x's dtype.
Array rank_values(const Shapes& shapes, const Side& side, DType dtype, Device device) {
  return Array::empty({shapes.rows, side.blocks, shapes.rank}, dtype, device);
}
// The blocks of a run in it, as (count, R, r).
template <class AnyView>
AnyView rank_blocks(const AnyView& values, const BlockRun& run) {
  const Dim blocks = values.size(1), rank = values.size(2);
  return strided(values, run.first * rank, {run.count, values.size(0), rank}, {rank, blocks * rank, 1});
}

// to_i = from_i factor_i: features of a side to the rank.
void to_rank(const Exec& exec, const Side& side, const ConstView& from, const ConstView& factor, const View& to) {
  for (const BlockRun& run : runs_of(side)) {
    cuda::matmul_blocks(exec, block_columns(from, side, run, run.inputs),
                        block_weights(factor, run, run.inputs, factor.size(2)), rank_blocks(to, run), {});
  }
}

// to_i = from_i factor_iᵀ + bias_i: back to the features.
void from_rank(const Exec& exec, const Side& side, const ConstView& from, const ConstView& factor, const ConstView& bias,
               const View& to) {
  for (const BlockRun& run : runs_of(side)) {
    cuda::matmul_blocks(exec, rank_blocks(from, run), transposed(block_weights(factor, run, run.inputs, factor.size(2))),
                        block_columns(to, side, run, run.inputs), block_bias(bias, side, run, run.inputs));
  }
}

// gradient_i = features_iᵀ values_i, zeros in the padding.
void factor_gradient(const Exec& exec, const Side& side, const ConstView& features, const ConstView& values,
                     const View& gradient) {
  if (side.blocks * side.length > side.size || values.size(0) == 0) ashlar::cuda::fill(exec.device.index, gradient, 0);
  if (values.size(0) == 0) return;
  for (const BlockRun& run : runs_of(side)) {
    cuda::matmul_blocks(exec, transposed(block_columns(features, side, run, run.inputs)), rank_blocks(values, run),
                        block_weights(gradient, run, run.inputs, gradient.size(2)), {});
  }
}

// The values of the rank on both sides of the coupling; without s they are the same.
struct Coupled {
  Array before, after;
};

// From x by v: A and C; transposed, from dy by u: dC and dA. What the fused kernel need not write is left out unless
// `keep_before`.
Coupled coupled(const Exec& exec, const Shapes& shapes, const ConstView& features, const ConstView& factor,
                const ConstView& s, bool transposed, bool keep_before) {
  const Side &from = transposed ? shapes.out : shapes.in, &to = transposed ? shapes.in : shapes.out;
  const Dim rank = shapes.rank, row = shapes.in.blocks * rank;
  const CouplingSteps steps{to.blocks, from.blocks, transposed ? rank : row, transposed ? row : rank};
  const bool fused = s && can_fuse(features, factor);
  Coupled result;
  if (!fused || keep_before) result.before = rank_values(shapes, from, features.dtype, exec.device);
  if (s) result.after = rank_values(shapes, to, features.dtype, exec.device);
  if (fused) {
    coupled_product(exec, features, factor, s, steps, keep_before ? View(result.before) : View(), result.after);
    return result;
  }
  to_rank(exec, from, features, factor, result.before);
  if (s) couple(exec, result.before, s, steps, result.after);
  else result.after = result.before;
  return result;
}

}  // namespace

void cuda_forward(std::string_view operation, const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s,
                  ConstView bias, View y) {
  const Shapes shapes = check_shapes(operation, x, y, u, v, s, bias, {});
  if (y.numel() == 0) return;
  from_rank(exec, shapes.out, coupled(exec, shapes, x, v, s, false, false).after, u, bias, y);
}

void cuda_backward(std::string_view operation, const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView v,
                   ConstView s, View dx, View du, View dv, View ds, View dbias) {
  const Shapes shapes = check_shapes(operation, x, dy, u, v, s, dbias, {});
  check_gradients(operation, x, u, v, s, dx, du, dv, ds);
  if (dbias) {
    const Dim m = dbias.size(0);
    cuda::sum_to(exec, dy, View{dbias.data, dbias.dtype, Shape{1, m}, {m, 1}, dbias.device});
  }
  if (shapes.rows == 0) {
    for (const View& gradient : {du, dv, ds}) {
      if (gradient) ashlar::cuda::fill(exec.device.index, gradient, 0);
    }
    return;
  }
  if (!du && !dv && !ds && !dx) return;
  Coupled from_x, from_dy;
  if (du || ds) from_x = coupled(exec, shapes, x, v, s, false, static_cast<bool>(ds));
  if (ds || dv || dx) from_dy = coupled(exec, shapes, dy, u, s, true, static_cast<bool>(ds));
  if (ds) couple_gradient(exec, from_x.before, from_dy.before, ds);
  if (du) factor_gradient(exec, shapes.out, dy, from_x.after, du);
  if (dv) factor_gradient(exec, shapes.in, x, from_dy.after, dv);
  if (dx) from_rank(exec, shapes.in, from_dy.after, v, {}, dx);
}

}  // namespace ashlar::kernels::blast

namespace ashlar::kernels::cuda {

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View a, View y) {
  ASHLAR_CHECK(s, "blast_forward: s must be given");
  ASHLAR_CHECK(!a, "blast_forward: a is not kept on CUDA, where the coupling is fused with its product; leave it out");
  blast::cuda_forward("blast_forward", exec, x, u, v, s, bias, y);
}

void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView, ConstView u, ConstView v, ConstView s, View dx,
                    View du, View dv, View ds, View dbias) {
  ASHLAR_CHECK(s, "blast_backward: s must be given");
  blast::cuda_backward("blast_backward", exec, dy, x, u, v, s, dx, du, dv, ds, dbias);
}

}  // namespace ashlar::kernels::cuda
