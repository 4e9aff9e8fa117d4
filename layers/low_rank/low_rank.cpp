#include "layers/low_rank/low_rank.h"

#include <algorithm>
#include <cmath>

#include "autograd/function.h"
#include "kernels/linalg/linalg.h"
#include "kernels/low_rank/low_rank.h"

namespace ashlar {
namespace {

struct LowRankOp : Function<LowRankOp> {
  static constexpr const char* name = "low_rank_linear";
  static Array forward(Context& ctx, const Array& x, const Array& u, const Array& v, const Array& bias) {
    const Array rows = x.as_contiguous();
    Array y = Array::empty({x.size(0), u.size(0)}, x.dtype(), x.device()), z;
    if (ctx.recording()) z = Array::empty({x.size(0), u.size(1)}, x.dtype(), x.device());
    kernels::low_rank_forward(x.exec(), rows, u, v, bias, z.defined() ? View(z) : View{}, y);
    ctx.save(rows, z, u, v);
    return y;
  }
  static std::array<Array, 4> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &z = ctx.saved(1), &u = ctx.saved(2), &v = ctx.saved(3);
    Array dx, du, dv, dbias;
    if (ctx.needs_grad(0)) dx = empty_like(x);
    if (ctx.needs_grad(1)) du = empty_like(u);
    if (ctx.needs_grad(2)) dv = empty_like(v);
    if (ctx.needs_grad(3)) dbias = Array::empty({u.size(0)}, u.dtype(), u.device());
    kernels::low_rank_backward(dy.exec(), dy.as_contiguous(), x, z, u, v, dx, du, dv, dbias);
    return {dx, du, dv, dbias};
  }
};

// What a step on the one factor is measured by: ‖dU Vᵀ‖² = trace(dU (VᵀV) dUᵀ), and likewise for V.
Array gram_of(const Tensor& other) {
  const Shape& shape = other.shape();
  return linalg::gram(other.value().reshape({1, shape[0], shape[1]}));
}

}  // namespace

LowRankLinear::LowRankLinear(const Scope& scope, Dim in, Dim out, Dim rank, const LinearOptions& options)
    : LinearMap(scope, in, out, options), rank_(rank) {
  ASHLAR_CHECK(rank >= 1 && rank <= std::min(in, out), "layer 'low_rank:rank=", rank, "' for ", scope.path(), " (", in,
               " -> ", out, "): rank must be from 1 to ", std::min(in, out));
  const auto columns = static_cast<double>(in), width = static_cast<double>(rank);
  // var V = 1/in and var U = in std²/rank: a product of variance std², with stages of equal size.
  u_ = param("U", {out, rank}, init::normal(std() * std::sqrt(columns / width)),
             {.role = Role::matrix, .fan_in = rank, .fan_out = out, .hidden = options.hidden, .lr_scale = lr_scale(rank, 2),
              .gram = [this] { return gram_of(v_); }});
  v_ = param("V", {in, rank}, init::normal(1.0 / std::sqrt(columns)),
             {.role = Role::matrix, .fan_in = in, .fan_out = rank, .hidden = options.hidden, .lr_scale = lr_scale(in, 2),
              .gram = [this] { return gram_of(u_); }});
}

Tensor LowRankLinear::forward(const Tensor& x, const Tensor& bias) const { return LowRankOp::apply(x, u_, v_, bias); }

Array LowRankLinear::to_dense() const {
  const Array u = u_.value().to(Device{}).to(DType::f64), v = v_.value().to(Device{}).to(DType::f64);
  return linalg::product(u, v.transpose(0, 1)).to(scope().master());
}

double LowRankLinear::project(const Array& dense) {
  check_dense(dense);
  const linalg::Svd svd = linalg::svd(dense);
  const Array u = svd.u.slice(1, 0, rank_).clone(), v = svd.vt.slice(0, 0, rank_).transpose(0, 1).clone();
  for (Dim k = 0; k < rank_; ++k) {
    const double root = std::sqrt(svd.s.data<double>()[k]);
    for (Dim row = 0; row < out_features(); ++row) u.data<double>()[row * rank_ + k] *= root;
    for (Dim row = 0; row < in_features(); ++row) v.data<double>()[row * rank_ + k] *= root;
  }
  copy(u, u_.value());
  copy(v, v_.value());
  return relative_frobenius_error(to_dense(), dense);
}

LinearCost LowRankLinear::cost(Dim rows) const {
  const Dim params = rank_ * (in_features() + out_features());
  return {params, rows * params, rows * params, rows * params, rows * rank_};
}

std::unique_ptr<LinearMap> make_low_rank(const Scope& scope, Dim in, Dim out, LinearSpec& spec,
                                         const LinearOptions& options) {
  const Dim rank = spec.has("ratio") ? rank_for_ratio(spec, spec.ratio(), in, out, in + out) : spec.integer("rank");
  spec.finish();
  return std::make_unique<LowRankLinear>(scope, in, out, rank, options);
}

}  // namespace ashlar
