#include "layers/convert.h"

#include <cmath>
#include <set>

#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

// What does not make up the matrix of a linear map: norms, embeddings, the biases of the maps, buffers of other modules.
std::map<std::string, Array> plain_values(const Module& model) {
  std::set<std::string> of_maps;
  for (const auto& [path, map] : linear_maps(model)) {
    for (const Parameter& p : map->parameters()) {
      if (p.info.role != Role::bias) of_maps.insert(p.name);
    }
    for (const Buffer& buffer : map->buffers()) of_maps.insert(buffer.name);
  }
  std::map<std::string, Array> plain;
  for (const Parameter& p : model.parameters()) {
    if (!of_maps.contains(p.name)) plain.emplace(p.name, p.tensor.value());
  }
  for (const Buffer& buffer : model.buffers()) {
    if (!of_maps.contains(buffer.name)) plain.emplace(buffer.name, buffer.value);
  }
  return plain;
}

template <class Old, class New>
void check_same_keys(const std::map<std::string, Old>& from, const std::map<std::string, New>& to, const char* what) {
  for (const auto& [key, value] : from) ASHLAR_CHECK(to.contains(key), "convert: the new model has no ", what, " ", key);
  for (const auto& [key, value] : to) ASHLAR_CHECK(from.contains(key), "convert: the old model has no ", what, " ", key);
}

void copy_all(const LinearMap& from, const LinearMap& to) {
  const Parameters parameters = from.parameters();
  for (std::size_t i = 0; const Parameter& p : to.parameters()) copy(parameters[i++].tensor.value(), p.tensor.value());
  const auto buffers = from.buffers();
  for (std::size_t i = 0; const Buffer& buffer : to.buffers()) copy(buffers[i++].value, buffer.value);
}

}  // namespace

std::vector<Projection> convert(const Module& from, Module& to, const ProjectionDone& done,
                                const std::function<ProjectionOptions(const std::string& path)>& options) {
  const auto old_maps = linear_maps(from);
  const auto new_maps = linear_maps(to);
  check_same_keys(old_maps, new_maps, "linear map");
  const auto old_values = plain_values(from), new_values = plain_values(to);
  check_same_keys(old_values, new_values, "parameter");
  const auto check_same_shape = [](const std::string& name, const Shape& shape, const Shape& new_shape) {
    ASHLAR_CHECK(shape == new_shape, "convert: ", name, " is ", shape, " in the old model and ", new_shape, " in the new one");
  };
  for (const auto& [path, map] : old_maps) {
    const LinearMap& other = *new_maps.at(path);
    check_same_shape(path, {map->out_features(), map->in_features()}, {other.out_features(), other.in_features()});
  }
  for (const auto& [name, value] : old_values) check_same_shape(name, value.shape(), new_values.at(name).shape());
  for (const auto& [name, value] : old_values) copy(value, new_values.at(name));
  std::vector<Projection> projections;
  for (const auto& [path, map] : new_maps) {
    const LinearMap& old = *old_maps.at(path);
    const Array dense = old.to_dense();
    Projection projection{.path = path, .old_spec = old.spec(), .new_spec = map->spec(),
                          .norm = linalg::frobenius(dense.to(DType::f64))};
    if (projection.old_spec == projection.new_spec) {
      ASHLAR_CHECK(std::isfinite(projection.norm), "convert ", path, ": the matrix has a value that is not finite");
      copy_all(old, *map);
    } else {
      const ProjectionOptions own = options ? options(path) : ProjectionOptions();
      projection.error = map->project(dense, own);
      projection.weighted_error = own.weighted() ? projection_error(map->to_dense(), dense, own) : projection.error;
    }
    projections.push_back(projection);
    if (done) done(projections.back(), projections.size() - 1, new_maps.size());
  }
  return projections;
}

double total_error(const std::vector<Projection>& projections) {
  double error = 0, norm = 0;
  for (const Projection& p : projections) {
    error += p.error * p.error * p.norm * p.norm;
    norm += p.norm * p.norm;
  }
  return norm > 0 ? std::sqrt(error / norm) : 0;
}

}  // namespace ashlar
