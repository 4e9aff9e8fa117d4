// How LinearMap::project() approximates a dense matrix W by Ŵ, and what the fits of the structures share.
#pragma once
#include "core/array.h"

namespace ashlar {

// How factors are found where there is no closed form (layers/blast/factorize.h).
enum class Factorizer : std::uint8_t { precgd, als };
Factorizer parse_factorizer(std::string_view name);  // InputError for a name that is not one of these

struct ProjectionOptions {
  // What the error is weighted by, at most one of the two; undefined: ‖W - Ŵ‖² in the Frobenius norm.
  // (in, in), positive semidefinite: Xᵀ X / rows for the inputs X of the map. The error is that of its outputs,
  // ‖X (W - Ŵ)ᵀ‖² / rows = trace((W - Ŵ) input_moments (W - Ŵ)ᵀ).
  Array input_moments = {};
  // (out), not negative: sum_i row_weights_i ‖w_i - ŵ_i‖² over the rows of W, with their Fisher information for weights.
  Array row_weights = {};
  Factorizer factorizer = Factorizer::precgd;

  bool weighted() const { return input_moments.defined() || row_weights.defined(); }
};

// The matrix (out, in) whose plain error is the weighted one of `dense`: diag(row_weights)^½ W, W C with C Cᵀ = input_moments,
// or W itself. With `in_blocks` blocks of ceil(in / in_blocks) columns each block has a C of its own, as if the inputs of one
// had nothing to do with those of another.
Array weighted_matrix(const Array& dense, const ProjectionOptions& options, Dim in_blocks = 1);

// The product U Vᵀ of a rank that is nearest to `dense` where errors are weighted like that: by a truncated SVD of `scaled`, the
// weighted matrix or a block of it (Eckart and Young). Columns of U and V have the same norm: gradients of equal size.
struct LowRankFactors {
  Array u, v;  // (out, rank), (in, rank), f64
};
LowRankFactors nearest_of_rank(const Array& dense, const Array& scaled, const ProjectionOptions& options, Dim rank);

// Input moments M for refit(): M + kInputNoise trace(M) / in I, as if the inputs had that noise. Without it large weights that
// cancel each other would serve directions in which inputs hardly ever differ.
constexpr double kInputNoise = 1e-3;
Array with_noise(const Array& input_moments);

// Moves Z (rows, k) to where the error of Z A is the smallest: to the nearest such place, so that what no input tells stays as
// it is. A (groups, k, in) has a matrix for each group of ceil(rows / groups) rows of W, `dense` (rows, in); Z may have more rows.
//   Z += (W - Z A) M Aᵀ (A M Aᵀ)⁺      M: input_moments, or the identity if undefined
void refit(const Array& z, const Array& a, const Array& dense, const Array& input_moments);

// The error of `approximation` relative to `dense` in the norm of the options: the root of the weighted squares of their
// difference over those of `dense`, and 0 where both are 0.
double projection_error(const Array& approximation, const Array& dense, const ProjectionOptions& options = {});

}  // namespace ashlar
