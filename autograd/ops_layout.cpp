// Operations that move or show values differently; their gradients undo the move.
#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/ops.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar::F {
namespace {

using autograd::check_defined;

struct Reshape : Function<Reshape> {
  static constexpr const char* name = "reshape";
  static Array forward(Context& ctx, const Array& x, const Shape& shape) {
    ctx.keep(x.shape());
    return x.reshape(shape);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {dy.reshape(ctx.kept<Shape>())}; }
};

struct Transpose : Function<Transpose> {
  static constexpr const char* name = "transpose";
  static Array forward(Context& ctx, const Array& x, const int& a, const int& b) {
    ctx.keep(std::pair(a, b));
    return x.transpose(a, b);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    const auto [a, b] = ctx.kept<std::pair<int, int>>();
    return {dy.transpose(a, b)};
  }
};

struct Permute : Function<Permute> {
  static constexpr const char* name = "permute";
  static Array forward(Context& ctx, const Array& x, const std::vector<int>& order) {
    Array y = x.permute(order);
    std::vector<int> inverse(order.size());
    for (std::size_t d = 0; d < order.size(); ++d) {
      inverse[static_cast<std::size_t>(normalize_dim(order[d], x.ndim(), name))] = static_cast<int>(d);
    }
    ctx.keep(std::move(inverse));
    return y;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {dy.permute(ctx.kept<std::vector<int>>())}; }
};

struct SliceRange {
  int dim;
  Dim begin, end;
  Shape shape;  // of x
};

struct Slice : Function<Slice> {
  static constexpr const char* name = "slice";
  static Array forward(Context& ctx, const Array& x, const int& dim, const Dim& begin, const Dim& end) {
    ctx.keep(SliceRange{dim, begin, end, x.shape()});
    return x.slice(dim, begin, end);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    const auto& range = ctx.kept<SliceRange>();
    Array dx = Array::zeros(range.shape, dy.dtype(), dy.device());
    kernels::cast(dy.exec(), dy, dx.slice(range.dim, range.begin, range.end));
    return {dx};
  }
};

struct Concat : Function<Concat> {
  static constexpr const char* name = "concat";
  static Array forward(Context& ctx, const Array& a, const Array& b, const int& dim) {
    const int d = normalize_dim(dim, a.ndim(), name);
    ASHLAR_CHECK(a.ndim() == b.ndim() && a.shape().with(d, b.size(d)) == b.shape() && a.dtype() == b.dtype(),
                 "concat: ", a.dtype(), a.shape(), " and ", b.dtype(), b.shape(), " must agree except in dimension ", d);
    Array y = Array::empty(a.shape().with(d, a.size(d) + b.size(d)), a.dtype(), a.device());
    copy(a, y.slice(d, 0, a.size(d)));
    copy(b, y.slice(d, a.size(d), y.size(d)));
    ctx.keep(std::pair(d, a.size(d)));
    return y;
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const auto [dim, split] = ctx.kept<std::pair<int, Dim>>();
    return {dy.slice(dim, 0, split), dy.slice(dim, split, dy.size(dim))};
  }
};

struct Cast : Function<Cast> {
  static constexpr const char* name = "cast";
  static Array convert(const Array& x, DType dtype) {
    Array y = Array::empty(x.shape(), dtype, x.device());
    kernels::cast(x.exec(), x, y);
    return y;
  }
  static Array forward(Context& ctx, const Array& x, const DType& dtype) {
    ctx.keep(x.dtype());
    return convert(x, dtype);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {convert(dy, ctx.kept<DType>())}; }
};

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  check_defined(Reshape::name, x);
  return Reshape::apply(x, shape);
}
Tensor transpose(const Tensor& x, int a, int b) {
  check_defined(Transpose::name, x);
  return Transpose::apply(x, a, b);
}
Tensor permute(const Tensor& x, std::initializer_list<int> order) {
  check_defined(Permute::name, x);
  return Permute::apply(x, std::vector<int>(order));
}
Tensor slice(const Tensor& x, int dim, Dim begin, Dim end) {
  check_defined(Slice::name, x);
  return Slice::apply(x, dim, begin, end);
}

Tensor select(const Tensor& x, int dim, Dim index) {
  check_defined("select", x);
  const int d = normalize_dim(dim, x.value().ndim(), "select");
  ASHLAR_CHECK(0 <= index && index < x.size(d), "select: there is no ", index, " in dimension ", d, " of ", x.shape());
  return reshape(slice(x, d, index, index + 1), x.shape().without(d));
}

Tensor concat(const Tensor& a, const Tensor& b, int dim) {
  check_defined(Concat::name, a, b);
  return Concat::apply(a, b, dim);
}
Tensor cast(const Tensor& x, DType dtype) {
  check_defined(Cast::name, x);
  return x.dtype() == dtype ? x : Cast::apply(x, dtype);
}

}  // namespace ashlar::F
