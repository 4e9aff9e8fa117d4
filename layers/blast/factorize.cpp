#include "layers/blast/factorize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"
#include "layers/blast/anderson.h"
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

// Moves `factors` (batch, rows, r) against their gradient; gram (batch, r, r).
using Step = std::function<void(const Array& factors, const Array& gradient, const Array& gram)>;

void move(const Array& factors, const Array& direction, double eta) { copy(combine(factors, 1.0, direction, -eta), factors); }

// eta gradient (gram + delta I)⁻¹. Rounding leaves a singular Gram matrix with small negative eigenvalues: a floor
// relative to its size keeps it definite.
void preconditioned_step(const Array& factors, const Array& gradient, const Array& gram, double eta, double delta,
                         double relative_delta) {
  const auto traces = linalg::traces(gram);
  const auto rank = static_cast<double>(gram.size(2));
  const Array damped = linalg::damped(
      gram, [&](Dim k) { return delta + relative_delta * traces[static_cast<std::size_t>(k)] / rank + 1e-30; });
  move(factors, linalg::right_solve(linalg::cholesky(damped), gradient), eta);
}

// eta gradient / (largest eigenvalue of gram).
void plain_step(const Array& factors, const Array& gradient, const Array& gram, double eta) {
  const Array values = linalg::eigh(gram).values, direction = gradient.clone();
  const Dim rank = gram.size(2), size = direction.numel() / gram.size(0);
  for (Dim i = 0; i < direction.numel(); ++i) {
    direction.data<double>()[i] /= std::max(values.data<double>()[i / size * rank + rank - 1], 1e-30);
  }
  move(factors, direction, eta);
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
void step_factors(const Array& factors, const Array& targets, const Array& others, const Array& couplings, const Step& step) {
  const Array gram = blast_factor_gram(others, couplings);
  step(factors, combine(product(factors, gram), 1.0, product(targets, scaled_stacks(others, couplings)), -1.0), gram);
}

// One step on the couplings; targets (out_blocks, in_blocks, p, q).
void step_couplings(const BlastFactors& f, const Array& targets, const Step& step) {
  const Dim out_blocks = f.u.size(0), in_blocks = f.v.size(0), p = f.u.size(1), rank = f.u.size(2);
  const Array gram = blast_coupling_gram(f.u, f.v).reshape({out_blocks * in_blocks, rank, rank});
  // diag(U_iᵀ A_ij V_j)
  const Array along = multiplied(product(targets, f.v), f.u.reshape({out_blocks, 1, p, rank}),
                                 {out_blocks, in_blocks, p, rank});
  const Array diagonals = Array::empty({out_blocks, in_blocks, 1, rank}, DType::f64);
  kernels::sum_to(along.exec(), along, diagonals);
  const Array s = f.s.reshape({out_blocks * in_blocks, 1, rank});
  step(s, combine(product(s, gram), 1.0, diagonals.reshape(s.shape()), -1.0), gram);
}

// A in the layouts that the steps read, brought to unit variance.
struct Target {
  Target(const Array& dense, Dim out_blocks, Dim in_blocks)
      : scale(linalg::frobenius(dense) / std::sqrt(static_cast<double>(dense.numel()))) {
    const Dim p = dense.size(0) / out_blocks, q = dense.size(1) / in_blocks;
    whole = Array::empty(dense.shape(), DType::f64);
    kernels::scale(dense.exec(), dense, scale > 0 ? 1.0 / scale : 0, whole);
    by_row = whole.reshape({out_blocks, p, in_blocks * q});
    by_column = whole.reshape({out_blocks * p, in_blocks, q}).permute({1, 2, 0});
    by_block = whole.reshape({out_blocks, p, in_blocks, q}).permute({0, 2, 1, 3});
  }
  double distance(const BlastFactors& f) const {
    return linalg::frobenius(combine(whole, 1.0, blast_to_dense(f), -1.0));
  }
  double error(const BlastFactors& f) const { return distance(f) / std::sqrt(static_cast<double>(whole.numel())); }

  double scale;
  Array whole, by_row, by_column, by_block;
};

// The three steps in turn, each from the freshest factors.
void sweep(const BlastFactors& f, const Target& target, const Step& step) {
  step_factors(f.u, target.by_row, f.v, f.s, step);
  step_factors(f.v, target.by_column, f.u, f.s.transpose(0, 1), step);
  step_couplings(f, target.by_block, step);
}

void descend(const BlastFactors& f, const Target& target, const FactorizeOptions& options) {
  constexpr double kFirstEta = 1, kLastEta = 0.01;
  for (int iteration = 0; iteration < options.iterations; ++iteration) {
    const double done = options.iterations > 1 ? static_cast<double>(iteration) / (options.iterations - 1) : 0.0;
    const double eta = kFirstEta + (kLastEta - kFirstEta) * done;
    sweep(f, target, [&](const Array& factors, const Array& gradient, const Array& gram) {
      if (options.descent == FactorizeOptions::Descent::plain) plain_step(factors, gradient, gram, eta);
      else preconditioned_step(factors, gradient, gram, eta, options.damping * target.distance(f), 1e-13);
    });
    if (options.observe) options.observe(target.error(f));
  }
}

// Divides the columns of `factors` (blocks, size, r) by their norms, which `scales` (blocks, r) receives; 1 for zeros.
void normalise_columns(const Array& factors, std::vector<double>& scales) {
  const Dim blocks = factors.size(0), size = factors.size(1), rank = factors.size(2);
  double* values = factors.data<double>();
  scales.assign(static_cast<std::size_t>(blocks * rank), 0);
  const auto scale_of = [&](Dim i) -> double& {
    return scales[static_cast<std::size_t>(i / (size * rank) * rank + i % rank)];
  };
  for (Dim i = 0; i < factors.numel(); ++i) scale_of(i) += values[i] * values[i];
  for (double& scale : scales) scale = scale > 0 ? std::sqrt(scale) : 1;
  for (Dim i = 0; i < factors.numel(); ++i) values[i] /= scale_of(i);
}

// The same matrix with columns of U and V of norm 1: of the many equal choices one, so that sweeps can be compared.
void normalise(const BlastFactors& f) {
  std::vector<double> left, right;
  normalise_columns(f.u, left);
  normalise_columns(f.v, right);
  const Dim in_blocks = f.v.size(0), rank = f.s.size(2);
  for (Dim i = 0; i < f.s.numel(); ++i) {
    const Dim row = i / (in_blocks * rank), column = i / rank % in_blocks, k = i % rank;
    f.s.data<double>()[i] *=
        left[static_cast<std::size_t>(row * rank + k)] * right[static_cast<std::size_t>(column * rank + k)];
  }
}

std::vector<double> packed(const BlastFactors& f) {
  std::vector<double> values;
  for (const Array* part : {&f.u, &f.v, &f.s}) {
    values.insert(values.end(), part->data<double>(), part->data<double>() + part->numel());
  }
  return values;
}

void unpack(const std::vector<double>& values, const BlastFactors& f) {
  const double* from = values.data();
  for (const Array* part : {&f.u, &f.v, &f.s}) {
    std::copy_n(from, part->numel(), part->data<double>());
    from += part->numel();
  }
}

// Accelerated sweeps, until they are exact or a series of them brings next to nothing.
void alternate(const BlastFactors& f, const Target& target, const FactorizeOptions& options) {
  constexpr int kSeries = 20;
  constexpr double kLeastGain = 1e-3;  // of a series
  Anderson anderson(10);
  normalise(f);
  double error = target.error(f), before = error;
  std::vector<double> x = packed(f);
  for (int count = 1; count <= options.sweeps && error > 1e-15; ++count) {
    sweep(f, target, [](const Array& factors, const Array& gradient, const Array& gram) {
      preconditioned_step(factors, gradient, gram, 1, 0, 1e-7);
    });
    normalise(f);
    std::vector<double> next = packed(f);
    const std::vector<double> further = anderson.next(x, next);
    unpack(further, f);
    const double extrapolated = target.error(f);
    if (extrapolated < error) {
      error = extrapolated;
      x = further;
    } else {
      anderson.forget();
      unpack(next, f);
      error = target.error(f);
      x = std::move(next);
    }
    if (options.observe) options.observe(error);
    if (count % kSeries != 0) continue;
    if (error > (1 - kLeastGain) * before) break;
    before = error;
  }
}

BlastFactors start(const Shape& dense, Dim out_blocks, Dim in_blocks, Dim rank, std::uint64_t seed) {
  const BlastFactors f{Array::empty({out_blocks, dense[0] / out_blocks, rank}, DType::f64),
                       Array::empty({in_blocks, dense[1] / in_blocks, rank}, DType::f64),
                       Array::empty({out_blocks, in_blocks, rank}, DType::f64)};
  const double small = 0.001 / std::sqrt(static_cast<double>(rank));
  Array u = f.u, v = f.v, s = f.s;
  init::normal(small)(u, seed);
  init::normal(small)(v, seed + 1);
  init::normal(1.0)(s, seed + 2);
  return f;
}

}  // namespace

FactorizeOptions factorize_options(Factorizer method, Dim size, Dim rank) {
  constexpr Dim kSmall = 1 << 16;
  FactorizeOptions options;
  if (size * rank <= kSmall) {
    options.attempts = 8;
    options.sweeps = 1000;
  }
  if (method == Factorizer::als) {
    options.descent = FactorizeOptions::Descent::none;
    options.sweeps = std::max(options.sweeps, 500);
  }
  return options;
}

Array blast_to_dense(const BlastFactors& factors) {
  const Dim rows = factors.u.size(0) * factors.u.size(1), columns = factors.v.size(0) * factors.v.size(1);
  return product(factors.u, scaled_stacks(factors.v, factors.s).transpose(1, 2)).reshape({rows, columns});
}

void undo_weighting(const BlastFactors& f, const Array& dense, const Array& input_moments) {
  const auto rows_of = [](const Array& factors) { return factors.reshape({-1, factors.size(2)}); };
  if (input_moments.defined()) {
    // Moments within a block do not change the best V, only how much its error weighs.
    fill(f.v, 0);
    refit(rows_of(f.v), scaled_stacks(f.u, f.s.transpose(0, 1)).transpose(1, 2), dense.transpose(0, 1), {});
  }
  refit(rows_of(f.u), scaled_stacks(f.v, f.s).transpose(1, 2), dense, input_moments);
}

BlastFactors factorize_blast(const Array& dense, Dim out_blocks, Dim in_blocks, Dim rank,
                             const FactorizeOptions& options) {
  const Target target(dense, out_blocks, in_blocks);
  BlastFactors best;
  double least = std::numeric_limits<double>::infinity();
  for (int attempt = 0; attempt < options.attempts && least > FactorizeOptions::kExact; ++attempt) {
    const std::uint64_t seed = options.seed + 3 * static_cast<std::uint64_t>(attempt);
    const BlastFactors f = start(dense.shape(), out_blocks, in_blocks, rank, seed);
    if (target.scale > 0) {
      if (options.descent != FactorizeOptions::Descent::none) descend(f, target, options);
      alternate(f, target, options);
    }
    const double error = target.scale > 0 ? target.error(f) : 0;
    if (error < least) {
      least = error;
      best = f;
    }
  }
  // The couplings take back the size of the matrix.
  kernels::scale(best.s.exec(), best.s, target.scale, best.s);
  return best;
}

}  // namespace ashlar
