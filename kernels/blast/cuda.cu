// BLAST on CUDA: the products of the factors as batches, all full blocks of a side in one call; the coupling between them.
#include "kernels/blast/cuda.h"

#include "core/array.h"
#include "kernels/blast/hidden.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::blast {
namespace {

// Values of the rank on both sides of the coupling, (R, blocks, r) each: A and C; transposed, dC and dA. Without s they are
// the same.
template <class AnyView>
struct Coupled {
  AnyView before, after;
};

// A and C in what is kept for the backward.
template <class AnyView>
Coupled<AnyView> in_kept(const Sizes& sizes, const AnyView& kept, bool has_s) {
  if (!has_s) return {kept, kept};
  const Dim a_blocks = sizes.in.blocks, c_blocks = sizes.out.blocks, rank = sizes.rank;
  const Dim row = (a_blocks + c_blocks) * rank;
  return {strided(kept, 0, {sizes.rows, a_blocks, rank}, {row, rank, 1}),
          strided(kept, a_blocks * rank, {sizes.rows, c_blocks, rank}, {row, rank, 1})};
}

// Fills A and C from x by v or, transposed, dC and dA from dy by u. The fused kernel does without `before`.
void fill(const Exec& exec, const Sizes& sizes, const ConstView& features, const ConstView& factor, const ConstView& s,
          bool transposed, const Coupled<View>& values) {
  const Side &from = transposed ? sizes.out : sizes.in, &to = transposed ? sizes.in : sizes.out;
  const Dim rank = sizes.rank, row = sizes.in.blocks * rank;
  const CouplingSteps steps{to.blocks, from.blocks, transposed ? rank : row, transposed ? row : rank};
  if (s && fuses(exec, features, factor, to.blocks)) {
    coupled_product(exec, features, factor, s, steps, values.before, values.after);
    return;
  }
  to_rank(exec, from, features, factor, values.before);
  if (s) couple(exec, values.before, s, steps, values.after);
}

struct OwnCoupled : Coupled<View> {
  Array memory;
};

// The same in memory of its own, of `before` only if that is needed.
OwnCoupled coupled(const Exec& exec, const Sizes& sizes, const ConstView& features, const ConstView& factor,
                   const ConstView& s, bool transposed, bool needs_before) {
  const Side &from = transposed ? sizes.out : sizes.in, &to = transposed ? sizes.in : sizes.out;
  const bool has_before = needs_before || !s || !fuses(exec, features, factor, to.blocks);
  const Dim before = has_before ? from.blocks : 0, after = s ? to.blocks : 0;
  OwnCoupled values;
  values.memory = Array::empty({sizes.rows, before + after, sizes.rank}, features.dtype, exec.device);
  if (before > 0) values.before = values.memory.slice(1, 0, before);
  values.after = s ? View(values.memory.slice(1, before, before + after)) : values.before;
  fill(exec, sizes, features, factor, s, transposed, values);
  return values;
}

}  // namespace
}  // namespace ashlar::kernels::blast

namespace ashlar::kernels::cuda {

using namespace blast;

void blast_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView s, ConstView bias, View kept,
                   View y) {
  const Sizes sizes = check("blast_forward", x, y, u, v, s, bias, kept);
  if (y.numel() == 0) return;
  if (kept) {
    const Coupled<View> values = in_kept(sizes, kept, static_cast<bool>(s));
    fill(exec, sizes, x, v, s, false, values);
    from_rank(exec, sizes.out, values.after, transposed(u), bias, y);
  } else {
    from_rank(exec, sizes.out, coupled(exec, sizes, x, v, s, false, false).after, transposed(u), bias, y);
  }
}

void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView kept, ConstView u, ConstView v, ConstView s,
                    View dx, View du, View dv, View ds, View dbias) {
  constexpr std::string_view operation = "blast_backward";
  const Sizes sizes = check(operation, x, dy, u, v, s, dbias, kept);
  check_gradients(operation, x, u, v, s, dx, du, dv, ds);
  if (dbias && (!du || sizes.rows == 0)) sum_to(exec, dy, as_row(dbias));
  if (sizes.rows == 0) return clear({du, dv, ds});
  OwnCoupled own, from_dy;
  if (!kept && (du || ds)) own = coupled(exec, sizes, x, v, s, false, static_cast<bool>(ds));
  const Coupled<ConstView> from_x =
      kept ? in_kept(sizes, kept, static_cast<bool>(s)) : Coupled<ConstView>{own.before, own.after};
  if (ds || dv || dx) from_dy = coupled(exec, sizes, dy, u, s, true, static_cast<bool>(ds));
  if (ds) couple_gradient(exec, from_x.before, from_dy.before, ds);
  if (du && sizes.out.padded()) fill(du, 0);
  if (du) factor_gradient(exec, sizes.out, dy, from_x.after, false, du, dbias);
  if (dv && sizes.in.padded()) fill(dv, 0);
  if (dv) factor_gradient(exec, sizes.in, x, from_dy.after, false, dv, {});
  if (dx) from_rank(exec, sizes.in, from_dy.after, transposed(v), {}, dx);
}

}  // namespace ashlar::kernels::cuda
