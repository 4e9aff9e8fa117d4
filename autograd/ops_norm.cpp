// Layer normalisation, alone and with the residual sum before it.
//
// One kernel computes both the sum and its norm, but the engine's operations have one result: the values come first, and
// the operations that are recorded take theirs from them.
#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/ops.h"
#include "kernels/layer_norm/layer_norm.h"

namespace ashlar::F {
namespace {

// x (R, C): what is normalised.
struct Norm {
  Array x, y, mean, rstd;
};

// The norm of x, or of x + branch where branch is defined.
Norm norm_of(const Array& input, const Array& branch, const Array& weight, const Array& bias, double eps) {
  ASHLAR_CHECK(weight.shape() == Shape({input.size(-1)}) && bias.shape() == weight.shape(), "layer_norm: weight ",
               weight.shape(), " and bias ", bias.shape(), " must have the last dimension of x ", input.shape());
  const Array x = input.as_rows().as_contiguous();
  const Array y = empty_like(x), mean = Array::empty({x.size(0)}, master_dtype(x.dtype()), x.device());
  const Array rstd = empty_like(mean);
  Array added, sum;
  if (branch.defined()) {
    ASHLAR_CHECK(branch.shape() == input.shape() && branch.dtype() == input.dtype(), "add_layer_norm: branch ",
                 branch.dtype(), branch.shape(), " must be like x ", input.dtype(), input.shape(),
                 "; cast or expand it first");
    added = branch.as_rows().as_contiguous();
    sum = empty_like(x);
  }
  kernels::layer_norm_forward(x.exec(), x, added, weight, bias, eps, sum, y, mean, rstd);
  return {sum.defined() ? sum : x, y, mean, rstd};
}

// x + branch, where the norm of it has been computed with it.
struct ResidualSum : Function<ResidualSum> {
  static constexpr const char* name = "add";
  static Array forward(Context&, const Array& x, const Array&, const Norm& norm) { return norm.x.reshape(x.shape()); }
  static std::array<Array, 2> backward(Context&, const Array& dy) { return {dy, dy}; }
};

// Saved for backward: x, and two numbers a row.
struct LayerNormOp : Function<LayerNormOp> {
  static constexpr const char* name = "layer_norm";
  static Array forward(Context& ctx, const Array& x, const Array& weight, const Array&, const Norm& norm) {
    ctx.save(norm.x, weight, norm.mean, norm.rstd);
    return norm.y.reshape(x.shape());
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &weight = ctx.saved(1);
    const Array rows = dy.as_rows().as_contiguous();
    // A residual connection's gradient, if it came first, is added in the same pass over memory.
    Array dx, dweight, dbias;
    Array residual;
    if (ctx.needs_grad(0)) {
      residual = ctx.take_pending(0);
      dx = residual.defined() ? residual : Array::empty(dy.shape(), x.dtype(), x.device());
    }
    if (ctx.needs_grad(1)) dweight = empty_like(weight);
    if (ctx.needs_grad(2)) dbias = empty_like(weight);
    const auto as_rows = [&](const Array& a) { return a.defined() ? a.reshape(x.shape()) : Array(); };
    kernels::layer_norm_backward(dy.exec(), rows, x, weight, ctx.saved(2), ctx.saved(3), as_rows(residual), as_rows(dx),
                                 dweight, dbias);
    return {dx, dweight, dbias};
  }
};

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  autograd::check_defined(LayerNormOp::name, x, weight, bias);
  return LayerNormOp::apply(x, weight, bias, norm_of(x.value(), {}, weight.value(), bias.value(), eps));
}

ResidualNorm add_layer_norm(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias, double eps) {
  autograd::check_defined("add_layer_norm", x, branch, weight, bias);
  const Norm norm = norm_of(x.value(), branch.value(), weight.value(), bias.value(), eps);
  const Tensor sum = ResidualSum::apply(x, branch, norm);
  return {sum, LayerNormOp::apply(sum, weight, bias, norm)};
}

}  // namespace ashlar::F
