// Matrix products and embedding.
#include "autograd/broadcast.h"
#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/operand.h"
#include "autograd/ops.h"
#include "kernels/embedding/checks.h"
#include "kernels/embedding/embedding.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::F {
namespace {

using autograd::as_operand;
using autograd::check_defined;

struct Matmul : Function<Matmul> {
  static constexpr const char* name = "matmul";
  static Array product(const Array& a, const Array& b, DType dtype) {
    ASHLAR_CHECK(a.ndim() >= 2 && b.ndim() >= 2, "matmul: operands need two dimensions or more; a ", a.shape(), ", b ",
                 b.shape());
    const Shape batch = autograd::broadcast_shape(a.shape().with(-2, 1).with(-1, 1), b.shape().with(-2, 1).with(-1, 1), name);
    Array y = Array::empty(batch.with(-2, a.size(-2)).with(-1, b.size(-1)), dtype, a.device());
    kernels::matmul(a.exec(), a, b, y, {});
    return y;
  }
  static Array forward(Context& ctx, const Array& a, const Array& b) {
    ctx.save(ctx.needs_grad(1) ? a : Array(), ctx.needs_grad(0) ? b : Array());
    ctx.keep(std::tuple(a.shape(), b.shape(), b.dtype()));
    return product(a, b, a.dtype());
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const auto& [a_shape, b_shape, b_dtype] = ctx.kept<std::tuple<Shape, Shape, DType>>();
    std::array<Array, 2> gradients;
    if (ctx.needs_grad(0)) {
      gradients[0] = autograd::sum_to_shape(product(dy, ctx.saved(1).transpose(-2, -1), dy.dtype()), a_shape);
    }
    if (!ctx.needs_grad(1)) return gradients;
    const Array& a = ctx.saved(0);
    // One matrix for a batch: the sum over the batch is a product of all its rows.
    if (b_shape.ndim() == 2) gradients[1] = product(a.as_rows().transpose(0, 1), dy.as_rows(), b_dtype);
    else gradients[1] = autograd::sum_to_shape(product(a.transpose(-2, -1), dy, b_dtype), b_shape);
    return gradients;
  }
};

// What a linear map sees of x (…, in): (R, in).
Array linear_rows(const Array& x, const Array& weight) {
  ASHLAR_CHECK(weight.ndim() == 2 && x.ndim() >= 1 && x.size(-1) == weight.size(1), "linear: last dimension of x ", x.shape(),
               " must equal the second of weight ", weight.shape());
  return x.as_rows();
}

// rows (R, in), weight (out, in) -> (R, out) in the given shape, with what the options add
Array linear_product(const Array& rows, const Array& weight, const Shape& shape, const kernels::MatmulOptions& options) {
  const Array y = Array::empty({rows.size(0), weight.size(0)}, rows.dtype(), rows.device());
  kernels::matmul(rows.exec(), rows, weight.transpose(0, 1), y, options);
  return y.reshape(shape);
}

// The gradients of weight (out, in) and bias, inputs 1 and 2 of an operation, from dy (R, out) and x (R, in).
void weight_gradients(Context& ctx, const Array& dy, const Array& x, std::array<Array, 3>& gradients) {
  const Dim out = dy.size(1);
  gradients[2] = ctx.gradient_like(2, dy, {out});
  if (ctx.needs_grad(1)) {
    Array dweight = ctx.take_pending(1);
    const bool accumulate = dweight.defined();
    if (!accumulate) dweight = ctx.gradient_like(1, x, {out, x.size(1)});
    kernels::matmul(dy.exec(), dy.transpose(0, 1), x, dweight, {.accumulate = accumulate, .row_sums = gradients[2]});
    gradients[1] = dweight;
  } else if (ctx.needs_grad(2)) {
    kernels::sum_to(dy.exec(), dy, gradients[2].reshape({1, out}));
  }
}

// A result that may have been computed before, from this operand.
struct Known {
  Array y = {}, weight = {};
};

// Saved for backward: x (shared with its producer) and the weight as an operand.
struct Linear : Function<Linear> {
  static constexpr const char* name = "linear";
  static Array forward(Context& ctx, const Array& x, const Array& weight, const Array& bias, const Known& known) {
    const Array rows = linear_rows(x, weight), w = known.y.defined() ? known.weight : as_operand(weight, x.dtype());
    ctx.save(ctx.needs_grad(1) ? rows : Array(), w);
    return known.y.defined() ? known.y : linear_product(rows, w, x.shape().with(-1, w.size(0)), {.bias = bias});
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &weight = ctx.saved(1), rows = dy.as_rows();
    std::array<Array, 3> gradients;
    if (ctx.needs_grad(0)) {
      Array dx = ctx.take_pending(0);
      const bool accumulate = dx.defined();
      if (!accumulate) dx = Array::empty(dy.shape().with(-1, weight.size(1)), dy.dtype(), dy.device());
      kernels::matmul(dy.exec(), rows, weight, dx.as_rows(), {.accumulate = accumulate});
      gradients[0] = dx;
    }
    weight_gradients(ctx, rows, x, gradients);
    return gradients;
  }
};

// A linear map of gelu(z), which is known. Saved for backward: z, gelu(z) and the weight.
struct LinearOfGelu : Function<LinearOfGelu> {
  static constexpr const char* name = "linear";
  static Array forward(Context& ctx, const Array& z, const Array& weight, const Array& bias, const Activation& x) {
    const Array rows = linear_rows(x.y, weight), w = as_operand(weight, x.y.dtype());
    ctx.save(ctx.needs_grad(0) ? z.as_contiguous() : z, rows, w);
    ctx.keep(x.kind);
    return linear_product(rows, w, x.y.shape().with(-1, w.size(0)), {.bias = bias});
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const Array &z = ctx.saved(0), &x = ctx.saved(1), &weight = ctx.saved(2), rows = dy.as_rows();
    std::array<Array, 3> gradients;
    if (ctx.needs_grad(0)) {
      gradients[0] = empty_like(z);
      kernels::matmul(dy.exec(), rows, weight, gradients[0].reshape(x.shape()),
                      {.gelu = ctx.kept<kernels::Gelu>(), .gelu_at = z.as_rows()});
    }
    weight_gradients(ctx, rows, x, gradients);
    return gradients;
  }
};

struct Embedding : Function<Embedding> {
  static constexpr const char* name = "embedding";
  static Array forward(Context& ctx, const Array& table, const Array& ids, const DType& dtype) {
    ASHLAR_CHECK(table.ndim() == 2 && ids.dtype() == DType::i32, "embedding: needs a table (V, C) and i32 ids, got ",
                 table.shape(), " and ", ids.dtype(), ids.shape());
    ASHLAR_CHECK(!ctx.needs_grad(0) || table.dtype() == master_dtype(dtype), "embedding: a table that is trained for ", dtype,
                 " must be ", master_dtype(dtype), ", got ", table.dtype());
    Array flat = ids.reshape({-1}).as_contiguous();
    if (flat.device() != table.device()) {
      // The last place where the host sees the ids' values; on a GPU nobody can refuse them.
      if (flat.device().type == DeviceType::cpu) kernels::check_ids("embedding_forward", table.size(0), flat);
      flat = flat.to(table.device());
    }
    Array y = Array::empty({flat.numel(), table.size(1)}, dtype, table.device());
    kernels::embedding_forward(table.exec(), table, flat, y);
    ctx.save(flat);
    ctx.keep(std::pair(table.shape(), table.dtype()));
    std::vector<Dim> sizes(ids.shape().sizes().begin(), ids.shape().sizes().end());
    sizes.push_back(table.size(1));
    return y.reshape(Shape(sizes));
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    const auto& [shape, dtype] = ctx.kept<std::pair<Shape, DType>>();
    const Array& ids = ctx.saved(0);
    Array dtable = ctx.take_pending(0);
    if (!dtable.defined()) dtable = Array::zeros(shape, dtype, dy.device());
    kernels::embedding_backward(dy.exec(), ids, dy.as_rows().as_contiguous(), dtable);
    return {dtable, {}};
  }
};

}  // namespace

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_defined(Matmul::name, a, b);
  return Matmul::apply(a, b);
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_defined(Linear::name, x, weight);
  return Linear::apply(x, weight, bias, Known{});
}

Tensor linear(const Activation& x, const Tensor& weight, const Tensor& bias) {
  check_defined(LinearOfGelu::name, x.y, weight);
  return LinearOfGelu::apply(x.z, weight, bias, x);
}

Activation linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias, kernels::Gelu kind) {
  check_defined(Linear::name, x, weight);
  const bool recording = grad_enabled() && (x.requires_grad() || weight.requires_grad() || bias.requires_grad());
  const Array rows = linear_rows(x.value(), weight.value()), w = as_operand(weight.value(), x.dtype());
  const Shape shape = x.shape().with(-1, weight.size(0));
  kernels::MatmulOptions options{.bias = autograd::as_argument(bias), .gelu = kind};
  Array z;
  if (recording) {
    z = Array::empty(shape, rows.dtype(), rows.device());
    options.pre_activation = z.as_rows();
  }
  const Array y = linear_product(rows, w, shape, options);
  return {recording ? Linear::apply(x, weight, bias, Known{z, w}) : Tensor(), y, kind};
}

Tensor embedding(const Tensor& table, const Tensor& ids, DType dtype) {
  check_defined(Embedding::name, table, ids);
  return Embedding::apply(table, ids, dtype);
}

}  // namespace ashlar::F
