// Statistics of a model at work, from samples of its data: what the errors of projections are weighted by.
#pragma once
#include <map>
#include <set>

#include "layers/linear_map.h"

namespace ashlar {

// By the path of the linear map.
using Calibration = std::map<std::string, ProjectionOptions>;

// input_moments, Xᵀ X / rows, of the linear maps at `paths`, for all inputs X that they see while `run` is called once
// for each sample. InputError if one of them is not used, or without samples.
Calibration calibrate_activations(Module& model, const std::set<std::string>& paths, Dim samples,
                                  const std::function<void(Dim sample)>& run);

// row_weights, the empirical Fisher information of each row of the dense maps at `paths`: the sum over the row of the
// mean over the samples of (dL/dW)² (Hsu et al. 2022). `loss` is that of one sample. Gradients are zero before and after.
// InputError for a map that is not dense, or without samples.
Calibration calibrate_fisher(Module& model, const std::set<std::string>& paths, Dim samples,
                             const std::function<Tensor(Dim sample)>& loss);

}  // namespace ashlar
