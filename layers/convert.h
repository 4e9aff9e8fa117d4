// From one structure of the weights to another: a model's matrices projected onto those of a second model that has the
// same shape but other specs.
#pragma once
#include "layers/linear_map.h"

namespace ashlar {

struct Projection {
  std::string path;                // of the linear map
  std::string old_spec, new_spec;
  double error = 0;                // relative, in the Frobenius norm; 0 for a copy
  double weighted_error = 0;       // the same in the norm of the options
  double norm = 0;                 // ‖W‖ of the old one
};

// Sets the parameters of `to`: each linear map is the projection of the one of the same path in `from`, or where the spec is
// the same its copy, tables included; everything else is copied by name. `done` is called after each map, with its place
// among all. InputError if a path, name or shape of one model has no counterpart in the other; a matrix with a value that is
// not finite is an InputError naming its path. `from` is only read. `options` says how to project the map at a path.
using ProjectionDone = std::function<void(const Projection& projection, std::size_t index, std::size_t count)>;
std::vector<Projection> convert(const Module& from, Module& to, const ProjectionDone& done = {},
                                const std::function<ProjectionOptions(const std::string& path)>& options = {});

// ‖all errors‖ / ‖all matrices‖ over a model.
double total_error(const std::vector<Projection>& projections);

}  // namespace ashlar
