#include "layers/low_rank/low_rank.h"

#include <algorithm>
#include <cmath>

#include "autograd/function.h"
#include "autograd/operand.h"
#include "kernels/blast/blast.h"
#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

// A factor (features, r) as the only block of one of BLAST's, (1, features, r); what is undefined stays so.
Array as_block(const Array& factor) {
  return factor.defined() ? factor.reshape({1, factor.size(0), factor.size(1)}) : factor;
}

using autograd::as_operand;

struct LowRankOp : Function<LowRankOp> {
  static constexpr const char* name = "low_rank_linear";
  static Array forward(Context& ctx, const Array& x, const Array& u, const Array& v, const Array& bias) {
    const Array rows = x.as_contiguous(), left = as_operand(u, x.dtype()), right = as_operand(v, x.dtype());
    Array y = Array::empty({x.size(0), u.size(0)}, x.dtype(), x.device()), z;
    if (ctx.recording()) z = Array::empty({x.size(0), 1, u.size(1)}, x.dtype(), x.device());
    kernels::blast_forward(x.exec(), rows, as_block(left), as_block(right), {}, bias, z, y);
    ctx.save(rows, z, left, right);
    return y;
  }
  static std::array<Array, 4> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &z = ctx.saved(1), &u = ctx.saved(2), &v = ctx.saved(3);
    const Array dx = ctx.gradient_like(0, x), du = ctx.gradient_like(1, u), dv = ctx.gradient_like(2, v);
    const Array dbias = ctx.gradient_like(3, u, {dy.size(1)});
    kernels::blast_backward(dy.exec(), dy.as_contiguous(), x, z, as_block(u), as_block(v), {}, dx, as_block(du),
                            as_block(dv), {}, dbias);
    return {dx, du, dv, dbias};
  }
};

// What a step on the one factor is measured by: ‖dU Vᵀ‖² = trace(dU (VᵀV) dUᵀ), and likewise for V.
Array gram_of(const Tensor& other) { return linalg::gram(as_block(other.value())); }

}  // namespace

LowRankLinear::LowRankLinear(const Scope& scope, Dim in, Dim out, Dim rank, const LinearOptions& options)
    : LinearMap(scope, in, out, options), rank_(rank) {
  check_size("rank", rank, std::min(in, out));
  const auto columns = static_cast<double>(in), width = static_cast<double>(rank);
  // var V = 1/in and var U = in std²/rank: a product of variance std², with stages of equal size.
  u_ = param("U", {out, rank}, factor_init(std() * std::sqrt(columns / width), rank),
             {.role = Role::matrix, .fan_in = rank, .fan_out = out, .hidden = options.hidden, .lr_scale = lr_scale(rank, 2),
              .gram = [this] { return gram_of(v_); }});
  v_ = param("V", {in, rank}, factor_init(1.0 / std::sqrt(columns), in),
             {.role = Role::matrix, .fan_in = in, .fan_out = rank, .hidden = options.hidden, .lr_scale = lr_scale(in, 2),
              .gram = [this] { return gram_of(u_); }});
}

Tensor LowRankLinear::forward(const Tensor& x, const Tensor& bias) const { return LowRankOp::apply(x, u_, v_, bias); }

Array LowRankLinear::to_dense() const {
  return linalg::product(on_host(u_), on_host(v_).transpose(0, 1)).to(scope().master());
}

void LowRankLinear::fit(const Array& dense, const ProjectionOptions& options) {
  const auto [u, v] = nearest_of_rank(dense, weighted_matrix(dense, options), options, rank_);
  copy(u, u_.value());
  copy(v, v_.value());
}

LinearCost LowRankLinear::cost(Dim rows) const {
  const Dim params = rank_ * (in_features() + out_features());
  return {params, rows * params, rows * params, rows * params, rows * rank_};
}

std::unique_ptr<LinearMap> make_low_rank(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                         const LinearOptions& options) {
  const bool by_ratio = spec.one_of("rank", "ratio") == "ratio";
  const Dim rank = by_ratio ? rank_for_ratio(spec, spec.ratio(), in, out, in + out) : spec.integer("rank");
  return std::make_unique<LowRankLinear>(scope, in, out, rank, options);
}

}  // namespace ashlar
