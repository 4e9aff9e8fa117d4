// Operations on each element, and reductions.
#include "autograd/broadcast.h"
#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/ops.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::F {
namespace {

using autograd::broadcast_shape;
using autograd::check_defined;
using autograd::check_same_dtype;
using autograd::reuse;
using autograd::sum_to_shape;

Array scaled(const Array& x, double alpha) {
  Array y = empty_like(x);
  kernels::scale(x.exec(), x, alpha, y);
  return y;
}

// kernel(a, b, y) on what both broadcast to.
Array broadcast(const char* name, const auto& kernel, const Array& a, const Array& b) {
  const Shape shape = broadcast_shape(a.shape(), b.shape(), name);
  Array y = Array::empty(shape, a.dtype(), a.device());
  kernel(a.exec(), a.expand(shape), b.expand(shape), y);
  return y;
}

// y = a + beta b
template <class Op, int beta>
struct Sum : Function<Op> {
  static Array forward(Context& ctx, const Array& a, const Array& b) {
    check_defined(Op::name, a, b);
    if (b.dtype() != master_dtype(a.dtype())) check_same_dtype(Op::name, a, b);
    ctx.keep(std::tuple(a.shape(), b.shape(), b.dtype()));
    const auto sum = [](const Exec& exec, const Array& left, const Array& right, const Array& y) {
      kernels::linear_combination(exec, left, 1, right, beta, y);
    };
    return broadcast(Op::name, sum, a, b);
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const auto& [a, b, b_dtype] = ctx.kept<std::tuple<Shape, Shape, DType>>();
    std::array<Array, 2> gradients;
    if (ctx.needs_grad(0)) gradients[0] = sum_to_shape(dy, a);
    if (ctx.needs_grad(1)) gradients[1] = sum_to_shape(dy, b, b_dtype);
    if (beta != 1 && gradients[1].defined()) gradients[1] = scaled(gradients[1], beta);
    return gradients;
  }
};
struct Add : Sum<Add, 1> {
  static constexpr const char* name = "add";
};
struct Sub : Sum<Sub, -1> {
  static constexpr const char* name = "sub";
};

struct Mul : Function<Mul> {
  static constexpr const char* name = "mul";
  static Array product(const Array& a, const Array& b) { return broadcast(name, kernels::multiply, a, b); }
  static Array forward(Context& ctx, const Array& a, const Array& b) {
    check_same_dtype(name, a, b);
    ctx.save(ctx.needs_grad(1) ? a : Array(), ctx.needs_grad(0) ? b : Array());
    ctx.keep(std::pair(a.shape(), b.shape()));
    return product(a, b);
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const auto& [a, b] = ctx.kept<std::pair<Shape, Shape>>();
    std::array<Array, 2> gradients;
    if (ctx.needs_grad(0)) gradients[0] = sum_to_shape(product(dy, ctx.saved(1)), a);
    if (ctx.needs_grad(1)) gradients[1] = sum_to_shape(product(dy, ctx.saved(0)), b);
    return gradients;
  }
};

// y = a / b: da = dy / b, db = -dy y / b. Saved for backward: b and y.
struct Div : Function<Div> {
  static constexpr const char* name = "div";
  static Array quotient(const Array& a, const Array& b) { return broadcast(name, kernels::divide, a, b); }
  static Array forward(Context& ctx, const Array& a, const Array& b) {
    check_same_dtype(name, a, b);
    Array y = quotient(a, b);
    ctx.save(b, ctx.needs_grad(1) ? y : Array());
    ctx.keep(a.shape());
    return y;
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const Array &b = ctx.saved(0), &y = ctx.saved(1), da = quotient(dy, b);
    std::array<Array, 2> gradients;
    if (ctx.needs_grad(0)) gradients[0] = sum_to_shape(da, ctx.kept<Shape>());
    if (ctx.needs_grad(1)) gradients[1] = scaled(sum_to_shape(broadcast(name, kernels::multiply, da, y), b.shape()), -1);
    return gradients;
  }
};

struct Scale : Function<Scale> {
  static constexpr const char* name = "scale";
  static Array forward(Context& ctx, const Array& x, const double& alpha) {
    check_defined(name, x);
    ctx.keep(alpha);
    return scaled(x, alpha);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    Array dx = reuse(dy);
    kernels::scale(dy.exec(), dy, ctx.kept<double>(), dx);
    return {dx};
  }
};

// y = alpha x + beta
struct Affine : Function<Affine> {
  static constexpr const char* name = "affine";
  static Array forward(Context& ctx, const Array& x, const double& alpha, const double& beta) {
    check_defined(name, x);
    Array y = empty_like(x);
    kernels::affine(x.exec(), x, alpha, beta, y);
    ctx.keep(alpha);
    return y;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return Scale::backward(ctx, dy); }
};

struct Expand : Function<Expand> {
  static constexpr const char* name = "expand";
  static Array forward(Context& ctx, const Array& x, const Shape& shape) {
    check_defined(name, x);
    ctx.keep(x.shape());
    return x.expand(shape);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {sum_to_shape(dy, ctx.kept<Shape>())}; }
};

// Sum over all dimensions in which `shape`, of x's number of dimensions, has size 1.
struct SumTo : Function<SumTo> {
  static constexpr const char* name = "sum";
  static Array forward(Context& ctx, const Array& x, const Shape& shape) {
    ctx.keep(x.shape());
    return sum_to_shape(x, shape);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {dy.expand(ctx.kept<Shape>())}; }
};

struct Mean : Function<Mean> {
  static constexpr const char* name = "mean";
  static Array forward(Context& ctx, const Array& x, const int& dim) {
    const double share = 1.0 / static_cast<double>(x.size(dim));
    ctx.keep(std::pair(x.shape(), share));
    const Shape shape = x.shape().with(dim, 1);
    // Rounded to bf16 once: the sum is not.
    const Array total = Array::empty(shape, master_dtype(x.dtype()), x.device()), y = Array::empty(shape, x.dtype(), x.device());
    kernels::sum_to(x.exec(), x, total);
    kernels::scale(x.exec(), total, share, y);
    return y;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    const auto& [shape, share] = ctx.kept<std::pair<Shape, double>>();
    return {scaled(dy, share).expand(shape)};
  }
};

struct GeluOp : Function<GeluOp> {
  static constexpr const char* name = "gelu";
  static Array forward(Context& ctx, const Array& z, const Activation& known) {
    if (ctx.recording()) ctx.save(z.as_contiguous());
    ctx.keep(known.kind);
    return known.y;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    Array dx = reuse(dy);
    kernels::gelu_backward(dy.exec(), ctx.saved(0), dy.as_contiguous(), ctx.kept<kernels::Gelu>(), dx);
    return {dx};
  }
};

// Dropout and DropPath: the mask depends on nothing but its key and stream, so backward is the same call.
template <class Op, auto& kernel>
struct Drop : Function<Op> {
  static Array apply_mask(const Array& input, const kernels::DropMask& mask) {
    const Array x = input.as_contiguous();
    Array y = empty_like(x);
    kernel(x.exec(), x, mask, y);
    return y;
  }
  static Array forward(Context& ctx, const Array& x, const kernels::DropMask& mask) {
    check_defined(Op::name, x);
    ctx.keep(mask);
    return apply_mask(x, mask);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    return {apply_mask(dy, ctx.kept<kernels::DropMask>())};
  }
};
struct Dropout : Drop<Dropout, kernels::dropout> {
  static constexpr const char* name = "dropout";
};
struct DropPath : Drop<DropPath, kernels::drop_path> {
  static constexpr const char* name = "drop_path";
};

}  // namespace

Tensor add(const Tensor& a, const Tensor& b) { return Add::apply(a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return Sub::apply(a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return Mul::apply(a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return Div::apply(a, b); }
Tensor scale(const Tensor& x, double alpha) { return Scale::apply(x, alpha); }
Tensor affine(const Tensor& x, double alpha, double beta) { return Affine::apply(x, alpha, beta); }
Tensor expand(const Tensor& x, const Shape& shape) { return Expand::apply(x, shape); }
Tensor gelu(const Tensor& x, kernels::Gelu kind) { return gelu(activate(x, kind)); }
Tensor gelu(const Activation& x) { return GeluOp::apply(x.z, x); }

Activation activate(const Tensor& z, kernels::Gelu kind) {
  check_defined("gelu", z);
  const Array x = z.value().as_contiguous(), y = empty_like(x);
  kernels::gelu_forward(x.exec(), x, kind, y);
  return {z, y, kind};
}
Activation reshape(const Activation& x, const Shape& shape) {
  return {x.z.defined() ? reshape(x.z, shape) : Tensor(), x.y.reshape(shape), x.kind};
}

Tensor dropout(const Tensor& x, const kernels::DropMask& mask) {
  return mask.p == 0 ? x : Dropout::apply(x, mask);
}
Tensor drop_path(const Tensor& x, const kernels::DropMask& mask) {
  return mask.p == 0 ? x : DropPath::apply(x, mask);
}

Tensor sum(const Tensor& x) {
  check_defined("sum", x);
  const std::vector<Dim> ones(static_cast<std::size_t>(x.value().ndim()), 1);
  return reshape(SumTo::apply(x, Shape(ones)), {});
}

Tensor sum(const Tensor& x, int dim) {
  check_defined("sum", x);
  const int d = normalize_dim(dim, x.value().ndim(), "sum");
  return reshape(SumTo::apply(x, x.shape().with(d, 1)), x.shape().without(d));
}

Tensor mean(const Tensor& x, int dim) {
  check_defined("mean", x);
  const int d = normalize_dim(dim, x.value().ndim(), "mean");
  return reshape(Mean::apply(x, d), x.shape().without(d));
}

}  // namespace ashlar::F
