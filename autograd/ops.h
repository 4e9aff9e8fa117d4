// Differentiable operations. Shapes in comments; "…" is any number of leading dimensions, kept.
#pragma once
#include <initializer_list>

#include "autograd/tensor.h"
#include "kernels/dropout/dropout.h"
#include "kernels/gelu/gelu.h"

namespace ashlar::F {

// ---- layout
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor permute(const Tensor& x, std::initializer_list<int> order);
Tensor transpose(const Tensor& x, int a, int b);
Tensor slice(const Tensor& x, int dim, Dim begin, Dim end);
Tensor select(const Tensor& x, int dim, Dim index);  // drops the dimension
Tensor expand(const Tensor& x, const Shape& shape);
Tensor concat(const Tensor& a, const Tensor& b, int dim);
Tensor cast(const Tensor& x, DType dtype);

// ---- element by element; shapes broadcast as in NumPy
Tensor add(const Tensor& a, const Tensor& b);  // b in the dtype of a or its master dtype
Tensor sub(const Tensor& a, const Tensor& b);  // the same
Tensor mul(const Tensor& a, const Tensor& b);
Tensor div(const Tensor& a, const Tensor& b);
Tensor scale(const Tensor& x, double alpha);
Tensor affine(const Tensor& x, double alpha, double beta);  // alpha x + beta
Tensor relu(const Tensor& x);
Tensor sigmoid(const Tensor& x);
Tensor silu(const Tensor& x);  // x sigmoid(x)
Tensor tanh(const Tensor& x);
Tensor exp(const Tensor& x);
Tensor log(const Tensor& x);
Tensor sqrt(const Tensor& x);
Tensor gelu(const Tensor& x, kernels::Gelu kind = kernels::Gelu::erf);
Tensor dropout(const Tensor& x, const kernels::DropMask& mask);
Tensor drop_path(const Tensor& x, const kernels::DropMask& mask);  // one decision for each index of dimension 0

// ---- reductions
Tensor sum(const Tensor& x);               // ()
Tensor sum(const Tensor& x, int dim);      // without the dimension
Tensor mean(const Tensor& x, int dim);     // without the dimension
Tensor softmax(const Tensor& x, int dim);  // of x's shape; sums over the dimension are 1

// ---- products
// (…, M, K) (…, K, N) -> (…, M, N) in a's dtype, batch dimensions broadcast
Tensor matmul(const Tensor& a, const Tensor& b);
// x (…, in), weight (out, in), bias (out) or undefined -> (…, out) = x weightᵀ + bias, in x's dtype
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
// GELU between two products, either of which may compute it: the first its value, the second its derivative.
struct Activation {
  Tensor z;  // what GELU is taken of, and where gradients go; undefined if there will be none
  Array y;   // gelu(z)
  kernels::Gelu kind = kernels::Gelu::erf;
};
Activation activate(const Tensor& z, kernels::Gelu kind);
Activation reshape(const Activation& x, const Shape& shape);
Tensor gelu(const Activation& x);
// activate(linear(x, weight, bias)), in one pass over memory where the device can
Activation linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias, kernels::Gelu kind);
// linear(gelu(x), weight, bias); backward multiplies with gelu' in its product where the device can
Tensor linear(const Activation& x, const Tensor& weight, const Tensor& bias = {});

// ---- transformer pieces
Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps);  // over the last dimension
// x + branch and the layer norm of it, to the bit what add and layer_norm give, in one pass over memory; one shape and
// dtype, no broadcasting.
struct ResidualNorm {
  Tensor sum, y;
};
ResidualNorm add_layer_norm(const Tensor& x, const Tensor& branch, const Tensor& weight, const Tensor& bias, double eps);
// q, k, v (B, H, T, D) -> (B, H, T, D); scale 1/sqrt(D)
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal);
// qkv (B, T, 3 H D), as one projection makes it -> (B, T, H D)
Tensor multi_head_attention(const Tensor& qkv, Dim heads, bool causal);
// Keys and values (B, H, K, D) of a sequence's first K positions, which a decoder keeps.
struct KeysValues {
  Array keys, values;
};
// The same, causal, where qkv is that of the last T of K positions: `cache` has the keys and values of those before, and is
// given those of qkv. It keeps no gradient: call it under NoGrad.
Tensor cached_attention(const Tensor& qkv, Dim heads, const KeysValues& cache);
// table (V, C), ids (…) i32 -> (…, C) in `dtype`. Ids in host memory are checked and brought to the table's device.
Tensor embedding(const Tensor& table, const Tensor& ids, DType dtype);

// ---- losses: mean over the rows whose target is not -1. Targets in host memory are checked and brought to the logits' device.
struct Targets {
  Array target;      // (R) i32
  Array other = {};  // (R) i32: the second target of mixup and cutmix, or undefined
  Array weight = {};  // (R) f32: of the first of two targets, or undefined: 1
  double smoothing = 0;
  Dim counted = -1;  // rows whose target is not -1; -1: counted here, which waits for a GPU that holds the targets
};
Tensor cross_entropy(const Tensor& logits, const Targets& targets);  // logits (R, V)
// cross_entropy(linear(x, weight), targets) without ever holding all logits: rows go in chunks, and each chunk's
// gradients are formed while its logits are at hand. x (R, C), weight (V, C). On a GPU, where each chunk but the first reads and
// writes the gradient of the weight once more, the logits of a chunk take at most `most_logit_bytes`.
Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Targets& targets, Dim most_logit_bytes = Dim{2} << 30);

}  // namespace ashlar::F

namespace ashlar {
inline Tensor operator+(const Tensor& a, const Tensor& b) { return F::add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return F::sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return F::mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return F::div(a, b); }
inline Tensor operator-(const Tensor& a) { return F::scale(a, -1); }
inline Tensor operator*(const Tensor& a, double alpha) { return F::scale(a, alpha); }
inline Tensor operator*(double alpha, const Tensor& a) { return F::scale(a, alpha); }
inline Tensor operator/(const Tensor& a, double alpha) { return F::scale(a, 1 / alpha); }
inline Tensor operator+(const Tensor& a, double beta) { return F::affine(a, 1, beta); }
inline Tensor operator+(double beta, const Tensor& a) { return F::affine(a, 1, beta); }
inline Tensor operator-(const Tensor& a, double beta) { return F::affine(a, 1, -beta); }
inline Tensor operator-(double beta, const Tensor& a) { return F::affine(a, -1, beta); }
}  // namespace ashlar
