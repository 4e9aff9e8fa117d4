// Functions of one value, and softmax.
#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/ops.h"
#include "kernels/softmax/softmax.h"
#include "kernels/unary/unary.h"

namespace ashlar::F {
namespace {

using autograd::reuse;
using kernels::Unary;

// Saved for backward: x, or of relu y, which what comes next most likely saves too.
template <Unary kind>
struct Pointwise : Function<Pointwise<kind>> {
  static constexpr const char* name = kernels::name_of(kind);
  static Array forward(Context& ctx, const Array& input) {
    autograd::check_defined(name, input);
    const Array x = input.as_contiguous();
    Array y = empty_like(x);
    kernels::unary_forward(x.exec(), x, kind, y);
    ctx.save(kind == Unary::relu ? y : x);
    return y;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    Array dx = reuse(dy);
    kernels::unary_backward(dy.exec(), ctx.saved(0), dy.as_contiguous(), kind, dx);
    return {dx};
  }
};

// Over the last dimension. Saved for backward: y.
struct Softmax : Function<Softmax> {
  static constexpr const char* name = "softmax";
  static Array rows_of(const Array& a) { return a.as_rows().as_contiguous(); }
  static Array forward(Context& ctx, const Array& x) {
    const Array rows = rows_of(x), y = empty_like(rows);
    kernels::softmax_forward(x.exec(), rows, y);
    ctx.save(y);
    return y.reshape(x.shape());
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    const Array& y = ctx.saved(0);
    const Array rows = rows_of(dy), dx = empty_like(rows);
    kernels::softmax_backward(dy.exec(), y, rows, dx);
    return {dx.reshape(dy.shape())};
  }
};

}  // namespace

Tensor relu(const Tensor& x) { return Pointwise<Unary::relu>::apply(x); }
Tensor sigmoid(const Tensor& x) { return Pointwise<Unary::sigmoid>::apply(x); }
Tensor silu(const Tensor& x) { return Pointwise<Unary::silu>::apply(x); }
Tensor tanh(const Tensor& x) { return Pointwise<Unary::tanh>::apply(x); }
Tensor exp(const Tensor& x) { return Pointwise<Unary::exp>::apply(x); }
Tensor log(const Tensor& x) { return Pointwise<Unary::log>::apply(x); }
Tensor sqrt(const Tensor& x) { return Pointwise<Unary::sqrt>::apply(x); }

Tensor softmax(const Tensor& x, int dim) {
  autograd::check_defined("softmax", x);
  const int last = x.value().ndim() - 1, d = normalize_dim(dim, last + 1, "softmax");
  return d == last ? Softmax::apply(x) : transpose(Softmax::apply(transpose(x, d, last)), d, last);
}

}  // namespace ashlar::F
