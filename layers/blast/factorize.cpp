#include "layers/blast/factorize.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"
#include "layers/blast/gram.h"
#include "layers/init.h"

namespace ashlar {
namespace {

using linalg::product;

Array combine(const Array& a, double alpha, const Array& b, double beta) {
  Array y = Array::empty(a.shape(), DType::f64);
  kernels::linear_combination(a.exec(), a, alpha, b, beta, y);
  return y;
}

Array multiplied(const Array& a, const Array& b, const Shape& shape) {
  Array y = Array::empty(shape, DType::f64);
  kernels::multiply(a.exec(), a.expand(shape), b.expand(shape), y);
  return y;
}

// gradient (gram + delta I)⁻¹, for each matrix of the batch.
Array preconditioned(const Array& gradient, const Array& gram, double delta) {
  return linalg::right_solve(linalg::cholesky(linalg::damped(gram, [=](Dim) { return delta; })), gradient);
}

// The factors of the other side, each scaled by its coupling, stacked: [F_o diag(s_bo)]_o for each block b.
// others (other_blocks, size, r), couplings (blocks, other_blocks, r) -> (blocks, other_blocks size, r)
Array scaled_stacks(const Array& others, const Array& couplings) {
  const Dim blocks = couplings.size(0), other_blocks = others.size(0), size = others.size(1), rank = others.size(2);
  return multiplied(others, couplings.reshape({blocks, other_blocks, 1, rank}), {blocks, other_blocks, size, rank})
      .reshape({blocks, other_blocks * size, rank});
}

// One step on the factors of one side: factors (blocks, size, r), targets (blocks, size, other_blocks other_size),
// others and couplings as for scaled_stacks.
void step_factors(const Array& factors, const Array& targets, const Array& others, const Array& couplings, double eta,
                  double delta) {
  const Array gram = blast_factor_gram(others, couplings);
  const Array gradient =
      combine(product(factors, gram), 1.0, product(targets, scaled_stacks(others, couplings)), -1.0);
  copy(combine(factors, 1.0, preconditioned(gradient, gram, delta), -eta), factors);
}

// One step on the couplings; targets (out_blocks, in_blocks, p, q).
void step_couplings(const BlastFactors& f, const Array& targets, double eta, double delta) {
  const Dim out_blocks = f.u.size(0), in_blocks = f.v.size(0), p = f.u.size(1), rank = f.u.size(2);
  const Array gram = blast_coupling_gram(f.u, f.v).reshape({out_blocks * in_blocks, rank, rank});
  // diag(U_iᵀ A_ij V_j)
  const Array along = multiplied(product(targets, f.v), f.u.reshape({out_blocks, 1, p, rank}),
                                 {out_blocks, in_blocks, p, rank});
  const Array diagonals = Array::empty({out_blocks, in_blocks, 1, rank}, DType::f64);
  kernels::sum_to(along.exec(), along, diagonals);
  const Array s = f.s.reshape({out_blocks * in_blocks, 1, rank});
  const Array gradient = combine(product(s, gram), 1.0, diagonals.reshape(s.shape()), -1.0);
  copy(combine(s, 1.0, preconditioned(gradient, gram, delta), -eta), s);
}

}  // namespace

Array blast_to_dense(const BlastFactors& factors) {
  const Dim rows = factors.u.size(0) * factors.u.size(1), columns = factors.v.size(0) * factors.v.size(1);
  return product(factors.u, scaled_stacks(factors.v, factors.s).transpose(1, 2)).reshape({rows, columns});
}

BlastFactors factorize_blast(const Array& dense, Dim out_blocks, Dim in_blocks, Dim rank,
                             const FactorizeOptions& options) {
  const Dim p = dense.size(0) / out_blocks, q = dense.size(1) / in_blocks;
  BlastFactors f{Array::empty({out_blocks, p, rank}, DType::f64), Array::empty({in_blocks, q, rank}, DType::f64),
                 Array::empty({out_blocks, in_blocks, rank}, DType::f64)};
  const double small = 0.001 / std::sqrt(static_cast<double>(rank));
  init::normal(small)(f.u, options.seed);
  init::normal(small)(f.v, options.seed + 1);
  init::normal(1.0)(f.s, options.seed + 2);

  // The target is brought to unit variance; the couplings take the scale back at the end.
  const double size = linalg::frobenius(dense) / std::sqrt(static_cast<double>(dense.numel()));
  if (size == 0) {
    copy(Array::zeros(f.s.shape(), DType::f64), f.s);
    return f;
  }
  Array target = Array::empty(dense.shape(), DType::f64);
  kernels::scale(dense.exec(), dense, 1.0 / size, target);
  const Array by_row = target.reshape({out_blocks, p, in_blocks * q});
  const Array by_column = target.reshape({out_blocks * p, in_blocks, q}).permute({1, 2, 0});
  const Array by_block = target.reshape({out_blocks, p, in_blocks, q}).permute({0, 2, 1, 3});
  const auto damping = [&] {
    return options.damping * linalg::frobenius(combine(target, 1.0, blast_to_dense(f), -1.0)) + 1e-14;
  };
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const double done = options.iterations > 1 ? static_cast<double>(iteration) / (options.iterations - 1) : 0.0;
    const double eta = options.eta_first + (options.eta_last - options.eta_first) * done;
    step_factors(f.u, by_row, f.v, f.s, eta, damping());
    step_factors(f.v, by_column, f.u, f.s.transpose(0, 1), eta, damping());
    step_couplings(f, by_block, eta, damping());
  }
  kernels::scale(f.s.exec(), f.s, size, f.s);
  return f;
}

}  // namespace ashlar
