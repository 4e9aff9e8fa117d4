// Checks that every device makes.
#pragma once
#include "kernels/checks.h"
#include "kernels/matmul/matmul.h"

namespace ashlar::kernels::products {

inline void check_gelu(const ConstView& a, const View& y, const MatmulOptions& options) {
  const View& z = options.pre_activation;
  const ConstView& at = options.gelu_at;
  if (!options.gelu) {
    ASHLAR_CHECK(!z, "matmul: a pre_activation ", z.shape, " is given without gelu");
    ASHLAR_CHECK(!at, "matmul: gelu_at ", at.shape, " is given without gelu");
    return;
  }
  ASHLAR_CHECK(y.shape.ndim() == 2 && y.dtype == a.dtype && y.contiguous() && !options.accumulate,
               "matmul: with gelu, y ", y.dtype, y.shape, " must be one matrix, contiguous, of a's dtype ", a.dtype,
               " and not accumulated; take gelu_forward of the product otherwise");
  const auto check_like_y = [&](const char* what, const ConstView& v) {
    ASHLAR_CHECK(!v || (v.shape == y.shape && v.dtype == y.dtype && v.contiguous()), "matmul: ", what, " ", v.dtype, v.shape,
                 " must be contiguous and like y ", y.dtype, y.shape);
  };
  check_like_y("pre_activation", z);
  check_like_y("gelu_at", at);
  ASHLAR_CHECK(!at || (!z && !options.bias), "matmul: gelu_at ", at.shape, " excludes a bias and a pre_activation");
}

// A vector, or one for each product of a batch: those of a block matrix lie further apart than they are long.
inline void check_vectors(std::string_view name, const ConstView& v, const Shape& shape, DType dtype) {
  if (!v) return;
  ASHLAR_CHECK(v.shape == shape && v.dtype == dtype, "matmul: ", name, " ", v.dtype, v.shape, " must be ", dtype, shape);
  ASHLAR_CHECK(v.size(-1) <= 1 || v.step(-1) == 1, "matmul: ", name, " ", dtype, shape,
               " must have contiguous rows; copy with as_contiguous() first");
}

inline void check_bias(const View& y, const ConstView& bias) {
  const bool of_each = y.shape.ndim() == 3 && bias.shape.ndim() == 3;
  check_vectors("bias", bias, of_each ? y.shape.with(1, 1) : Shape{y.size(-1)}, master_dtype(y.dtype));
}

inline void check_row_sums(const ConstView& a, const View& y, const MatmulOptions& options) {
  const View& sums = options.row_sums;
  ASHLAR_CHECK(!sums || (y.shape.ndim() <= 3 && !options.bias && !options.gelu), "matmul: row_sums ", sums.shape,
               " are those of a product with one batch dimension at most, without bias or gelu; y is ", y.shape);
  check_vectors("row_sums", sums, y.shape.without(y.shape.ndim() - 1), master_dtype(a.dtype));
}

inline void check_product(const ConstView& a, const ConstView& b, const View& y, const MatmulOptions& options) {
  const auto shapes = [&] { return concat("a ", a.dtype, a.shape, ", b ", b.dtype, b.shape, ", y ", y.dtype, y.shape); };
  ASHLAR_CHECK(a.shape.ndim() >= 2 && b.shape.ndim() >= 2 && y.shape.ndim() >= 2,
               "matmul: operands need two dimensions or more; ", shapes());
  ASHLAR_CHECK(a.size(-1) == b.size(-2), "matmul: last dimension of a must equal the last but one of b; ", shapes());
  ASHLAR_CHECK(y.size(-2) == a.size(-2) && y.size(-1) == b.size(-1), "matmul: y must be (…, M, N); ", shapes());
  for (const ConstView* operand : {&a, &b}) {
    const int added = y.shape.ndim() - operand->shape.ndim();
    ASHLAR_CHECK(added >= 0, "matmul: y has too few dimensions; ", shapes());
    for (int d = 0; d < operand->shape.ndim() - 2; ++d) {
      ASHLAR_CHECK(operand->size(d) == y.size(d + added) || operand->size(d) == 1,
                   "matmul: batch dimensions do not match; ", shapes());
    }
  }
  const bool f64 = y.dtype == DType::f64;
  for (const DType dtype : {a.dtype, b.dtype, y.dtype}) {
    ASHLAR_CHECK(is_floating(dtype) && (dtype == DType::f64) == f64,
                 "matmul: operands must be all f64, or each f32 or bf16; ", shapes());
  }
  check_bias(y, options.bias);
  check_gelu(a, y, options);
  check_row_sums(a, y, options);
}

}  // namespace ashlar::kernels::products
