// Matrix products over arbitrary strides and batches.
#pragma once
#include <optional>

#include "kernels/gelu/gelu.h"
#include "kernels/kernel.h"

namespace ashlar::kernels {

struct MatmulOptions {
  // (N), contiguous, added to every row or, for y (B, M, N), (B, 1, N) of contiguous rows, one for each product; master dtype.
  ConstView bias = {};
  bool accumulate = false;  // y += a b instead of y = a b
  // y = gelu(a b + bias), for one product of two matrices with a and y of one dtype, y contiguous and not accumulated.
  // `pre_activation`, like y, then receives a b + bias, which GELU's backward reads; it may be absent.
  std::optional<Gelu> gelu = {};
  View pre_activation = {};
  // With this z, like y, which `gelu` was taken of: y = (a b) gelu'(z) instead, without bias. Where y is a layer's input in
  // backward, its gradient goes on to z.
  ConstView gelu_at = {};
  // (M) or, for y (B, M, N), (B, M); master dtype, rows contiguous: receives the sums of a's rows, without bias or gelu. With a
  // transposed gradient as a they are the gradient of a bias, which costs a GPU nothing beside that of the weight.
  View row_sums = {};

  void for_each_view(auto&& visit) const { visit(bias), visit(pre_activation), visit(gelu_at), visit(row_sums); }
};

// y = a b (+ bias), or its GELU, or times GELU's derivative. Where the device has no product that ends so, that is a pass of
// its own over the rounded product.
//   a (…, M, K)   b (…, K, N)   y (…, M, N): up to four batch dimensions; a batch size of 1 or a stride of 0 in a or b
// is repeated. Any strides (a transposed view is a transposed operand; no copy is made where the library takes it).
// Dtypes: all f64; or a and b each f32 or bf16 (products of bf16 accumulate in f32) and y f32 or bf16.
extern const Kernel<void(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options)> matmul;

// Whether the device has instructions for products of bf16. Elsewhere matmul converts them, which costs time. The CPU's library is
// asked once: a later limit_isa() does not change the answer.
bool multiplies_bf16(Device device);

}  // namespace ashlar::kernels
