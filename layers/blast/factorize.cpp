#include "layers/blast/factorize.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "layers/init.h"

namespace ashlar {
namespace {

using linalg::product;

Array combine(const Array& a, double alpha, const Array& b, double beta) {
  Array y = Array::empty(a.shape(), DType::f64);
  kernels::linear_combination(a.exec(), a, alpha, b, beta, y);
  return y;
}

Array hadamard(const Array& a, const Array& b) {
  Array y = Array::empty(a.shape(), DType::f64);
  kernels::multiply(a.exec(), a, b.expand(a.shape()), y);
  return y;
}

Array with_damping(const Array& gram, double delta) {
  Array damped = gram.clone();
  for (Dim k = 0; k < gram.size(0); ++k) damped.data<double>()[k * (gram.size(0) + 1)] += delta;
  return damped;
}

// The factors of the other side, each scaled by its coupling, stacked: Vs for a row of blocks, Us for a column.
// factors (blocks, size, r), couplings (blocks, r) -> (blocks size, r)
Array scaled_stack(const Array& factors, const Array& couplings) {
  const Dim blocks = factors.size(0), rank = factors.size(2);
  return hadamard(factors, couplings.reshape({blocks, 1, rank})).reshape({blocks * factors.size(1), rank});
}

// One step on a left factor: factor (p, r), target (p, N), stack (N, r).
void step_factor(const Array& factor, const Array& target, const Array& stack, double eta, double delta) {
  const Array gram = product(stack.transpose(0, 1), stack);
  const Array gradient = combine(product(factor, gram), 1.0, product(target, stack), -1.0);
  const Array step = linalg::solve_positive(with_damping(gram, delta), gradient.transpose(0, 1));  // (r, p)
  copy(combine(factor, 1.0, step.transpose(0, 1), -eta), factor);
}

void step_coupling(const Array& s, const Array& u, const Array& v, const Array& block, double eta, double delta) {
  const Dim rank = s.size(0);
  const Array h = hadamard(product(u.transpose(0, 1), u), product(v.transpose(0, 1), v));
  const Array av = product(block, v);  // (p, r)
  Array gradient = product(h, s.reshape({rank, 1}));
  for (Dim k = 0; k < rank; ++k) {
    double along = 0;
    for (Dim row = 0; row < u.size(0); ++row) along += u.data<double>()[row * rank + k] * av.data<double>()[row * rank + k];
    gradient.data<double>()[k] -= along;
  }
  const Array step = linalg::solve_positive(with_damping(h, delta), gradient).reshape({rank});
  copy(combine(s, 1.0, step, -eta), s);
}

}  // namespace

Array blast_to_dense(const BlastFactors& factors) {
  const Dim out_blocks = factors.u.size(0), in_blocks = factors.v.size(0);
  const Dim p = factors.u.size(1), q = factors.v.size(1);
  Array dense = Array::empty({out_blocks * p, in_blocks * q}, DType::f64);
  for (Dim i = 0; i < out_blocks; ++i) {
    const Array stack = scaled_stack(factors.v, factors.s.select(0, i));
    copy(product(factors.u.select(0, i), stack.transpose(0, 1)), dense.slice(0, i * p, (i + 1) * p));
  }
  return dense;
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
  const auto damping = [&] {
    return options.damping * linalg::frobenius(combine(target, 1.0, blast_to_dense(f), -1.0)) + 1e-14;
  };
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const double done = options.iterations > 1 ? static_cast<double>(iteration) / (options.iterations - 1) : 0.0;
    const double eta = options.eta_first + (options.eta_last - options.eta_first) * done;
    double delta = damping();
    for (Dim i = 0; i < out_blocks; ++i) {
      step_factor(f.u.select(0, i), target.slice(0, i * p, (i + 1) * p), scaled_stack(f.v, f.s.select(0, i)), eta, delta);
    }
    delta = damping();
    for (Dim j = 0; j < in_blocks; ++j) {
      step_factor(f.v.select(0, j), target.slice(1, j * q, (j + 1) * q).transpose(0, 1),
                  scaled_stack(f.u, f.s.select(1, j)), eta, delta);
    }
    delta = damping();
    for (Dim i = 0; i < out_blocks; ++i) {
      for (Dim j = 0; j < in_blocks; ++j) {
        step_coupling(f.s.select(0, i).select(0, j), f.u.select(0, i), f.v.select(0, j),
                      target.slice(0, i * p, (i + 1) * p).slice(1, j * q, (j + 1) * q), eta, delta);
      }
    }
  }
  kernels::scale(f.s.exec(), f.s, size, f.s);
  return f;
}

}  // namespace ashlar
