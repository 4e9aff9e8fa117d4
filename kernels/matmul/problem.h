// A checked product with all batch dimensions spelt out, and ways to see it differently.
#pragma once
#include "core/array.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/checks.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views.h"

namespace ashlar::kernels::products {

// One product: batch shape, M, N, K, and where the operands lie.
struct Problem {
  ConstView a, b;  // (batch…, M, K), (batch…, K, N)
  View y;          // (batch…, M, N)
  MatmulOptions options;
  Dim m() const { return y.size(-2); }
  Dim n() const { return y.size(-1); }
  Dim k() const { return a.size(-1); }
  int batch_dims() const { return y.shape.ndim() - 2; }
};

inline Shape batch_shape(const ConstView& v) {
  return Shape(v.shape.sizes().first(static_cast<std::size_t>(v.shape.ndim() - 2)));
}

// Elements from the first product of a batch to another, in row-major order of the batch shape.
inline Dim batch_offset(const ConstView& v, Dim batch) {
  Dim offset = 0;
  for (int d = v.shape.ndim() - 3; d >= 0; --d) {
    offset += batch % v.size(d) * v.step(d);
    batch /= v.size(d);
  }
  return offset;
}

// Whether the values of a row, or of a column, of each matrix lie side by side.
inline bool by_rows(const ConstView& v) { return v.step(-1) == 1 || v.size(-1) == 1; }
inline bool by_columns(const ConstView& v) { return v.step(-2) == 1 || v.size(-2) == 1; }

// Whether each of several products has a bias of its own.
inline bool has_biases(const Problem& p) { return p.options.bias.shape.ndim() > 1 && p.options.bias.size(0) > 1; }

// The bias of one product of a batch. Null if there is none.
template <class T>
const T* bias_of(const Problem& p, Dim batch) {
  const ConstView& bias = p.options.bias;
  if (!bias) return nullptr;
  return bias.as<T>() + (bias.shape.ndim() > 1 ? batch * bias.step(0) : 0);
}

// The bias as what is added to y, which may have lost a batch dimension of 1.
inline ConstView bias_rows(const ConstView& bias, const View& y) {
  ConstView rows = bias;
  rows.shape = y.shape;
  rows.stride = {};
  rows.stride[static_cast<std::size_t>(y.shape.ndim() - 1)] = 1;
  if (bias.shape.ndim() > 1 && y.shape.ndim() > 2) rows.stride[0] = bias.step(0);
  return rows;
}

// The view with leading dimensions of stride 0 added, and batch sizes of 1 repeated, so that it has y's batch shape.
inline ConstView broadcast_batch(const ConstView& v, const View& y) {
  const int added = y.shape.ndim() - v.shape.ndim();
  ConstView result = v;
  result.shape = y.shape.with(-2, v.size(-2)).with(-1, v.size(-1));
  for (int d = 0; d < y.shape.ndim(); ++d) {
    const bool repeated = d < added || (d < y.shape.ndim() - 2 && v.size(d - added) == 1);
    result.stride[static_cast<std::size_t>(d)] = repeated ? 0 : v.step(d - added);
  }
  return result;
}

inline Problem check(const ConstView& a, const ConstView& b, const View& y, const MatmulOptions& options) {
  check_product(a, b, y, options);
  return {broadcast_batch(a, y), broadcast_batch(b, y), y, options};
}

inline Problem select(const Problem& p, int dim, Dim index) {
  using kernels::select;
  Problem part{select(p.a, dim, index), select(p.b, dim, index), select(p.y, dim, index), p.options};
  // Where each product has its own, there is one batch dimension.
  if (part.options.bias.shape.ndim() == 3) part.options.bias = select(select(part.options.bias, 0, index), 0, 0);
  if (part.options.row_sums.shape.ndim() == 2) part.options.row_sums = select(part.options.row_sums, 0, index);
  return part;
}

// The sums of a's rows as a pass of their own: a (…, M, K), sums (…, M), at most one batch dimension.
inline void sum_rows(const Exec& exec, const ConstView& a, const View& sums) {
  const bool batched = a.shape.ndim() > 2;
  const View columns = batched ? strided(sums, 0, {a.size(0), 1, a.size(1)}, {sums.step(0), 0, 1})
                               : strided(sums, 0, {1, a.size(0)}, {0, 1});
  sum_to(exec, transposed(a), columns);
}

// GELU, or the factor of its derivative, as a pass of its own over the product.
inline void product_then_gelu(const Exec& exec, const Problem& p) {
  if (p.options.gelu_at) {
    matmul(exec, p.a, p.b, p.y, {});
    return gelu_backward(exec, p.options.gelu_at, p.y, *p.options.gelu, p.y);
  }
  const View z = p.options.pre_activation ? p.options.pre_activation : p.y;
  matmul(exec, p.a, p.b, z, {.bias = p.options.bias});
  gelu_forward(exec, z, *p.options.gelu, p.y);
}

// y = bias or 0, or y += bias: the product over no values.
inline void empty_sum(const Exec& exec, const View& y, const MatmulOptions& options) {
  if (!options.bias) {
    if (!options.accumulate) fill(y, 0);
    return;
  }
  const ConstView bias = bias_rows(options.bias, y);
  if (options.accumulate) linear_combination(exec, bias, 1.0, y, 1.0, y);
  else cast(exec, bias, y);
}

}  // namespace ashlar::kernels::products
