// How LinearMap::project() approximates a dense matrix W by Ŵ.
#pragma once
#include "core/array.h"

namespace ashlar {

// The finders of factors where there is no closed form (layers/blast/factorize.h).
enum class Factorizer : std::uint8_t { precgd, als };
Factorizer parse_factorizer(std::string_view name);  // InputError for a name that is not one of these

struct ProjectionOptions {
  // What the error is weighed by, at most one of the two; undefined: ‖W - Ŵ‖² in the Frobenius norm.
  // (in, in), positive semidefinite: Xᵀ X / rows for the inputs X of the map. The error is that of its outputs,
  // ‖X (W - Ŵ)ᵀ‖² / rows = trace((W - Ŵ) input_moments (W - Ŵ)ᵀ).
  Array input_moments = {};
  // (out), not negative: sum_i row_weights_i ‖w_i - ŵ_i‖² over the rows of W, with their Fisher information for weights.
  Array row_weights = {};
  Factorizer factorizer = Factorizer::precgd;

  bool weighted() const { return input_moments.defined() || row_weights.defined(); }
};

// The error of `approximation` relative to `dense` in the norm of the options: the root of the weighed squares of their
// difference over those of `dense`, and 0 where both are 0.
double projection_error(const Array& approximation, const Array& dense, const ProjectionOptions& options = {});

}  // namespace ashlar
