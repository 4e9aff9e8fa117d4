#include "layers/weights.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/text.h"

namespace ashlar {
namespace {

// A parameter or buffer, and its place in the file.
struct Place {
  Array value;
  ForeignTensor foreign;
  std::function<void(const Array&)> check;  // that of a buffer, or none
};

using Ignored = std::function<bool(const std::string&)>;

std::vector<Place> places(const Module& model, const Exchange& exchange, const Ignored& ignored = {}) {
  std::vector<Place> all;
  const auto add = [&](const Array& value, ForeignTensor foreign, std::function<void(const Array&)> check) {
    if (ignored && ignored(foreign.name)) return;
    all.push_back({value, std::move(foreign), std::move(check)});
  };
  for (const Parameter& parameter : model.parameters()) add(parameter.tensor.value(), exchange(parameter), {});
  for (const Buffer& b : model.buffers()) add(b.value, {b.name, b.value.shape()}, b.check);
  return all;
}

Array read(const SafetensorsFile& file, const Place& place) {
  const std::string& name = place.foreign.name;
  Array values = read_finite(file, name);
  try {
    if (place.check) place.check(values);
  } catch (const InputError& error) {
    throw InputError(concat(file.path().string(), ": ", name, ": ", error.what()));
  }
  return values;
}

std::string list_of(const std::vector<std::string>& names, std::string_view title) {
  return names.empty() ? std::string() : concat("; ", title, ": ", join_first(names));
}

}  // namespace

void save_weights(const std::filesystem::path& path, const Module& model) {
  write_safetensors(path, export_weights(model, as_it_is));
}

void load_weights(const std::filesystem::path& path, const Module& model) {
  import_weights(model, SafetensorsFile(path), as_it_is);
}

Array read_finite(const SafetensorsFile& file, const std::string& name) {
  Array values = file.read(name);
  if (!is_floating(values.dtype())) return values;
  dispatch_floating(values.dtype(), "read_finite", [&]<class T>() {
    const T* begin = values.data<T>();
    const auto finite = [](T value) { return std::isfinite(convert<double>(value)); };
    ASHLAR_CHECK(std::all_of(begin, begin + values.numel(), finite), file.path().string(), ": ", name,
                 " has a value that is not finite: the training that it is from diverged, or the file is damaged; take other weights");
  });
  return values;
}

ForeignTensor as_it_is(const Parameter& parameter) { return {parameter.name, parameter.tensor.shape()}; }

Array in_foreign_layout(const Array& value, const ForeignTensor& foreign) {
  return foreign.transposed ? value.transpose(0, 1) : value.reshape(foreign.shape);
}

NamedArrays export_weights(const Module& model, const Exchange& exchange) {
  NamedArrays tensors;
  for (const auto& [value, foreign, check] : places(model, exchange)) {
    tensors.emplace_back(foreign.name, in_foreign_layout(value, foreign));
  }
  return tensors;
}

void check_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange, const Ignored& ignored) {
  std::vector<std::string> missing, unexpected, misshaped, mistyped;
  std::set<std::string> known;
  for (const auto& [value, foreign, check] : places(model, exchange, ignored)) {
    known.insert(foreign.name);
    const auto found = file.entries().find(foreign.name);
    if (found == file.entries().end()) {
      missing.push_back(foreign.name);
    } else if (file.shape(foreign.name) != foreign.shape) {
      misshaped.push_back(concat(foreign.name, " is ", file.shape(foreign.name), " instead of ", foreign.shape));
    } else if (is_floating(file.dtype(foreign.name)) != is_floating(value.dtype())) {
      mistyped.push_back(concat(foreign.name, " is ", found->second.dtype, " instead of ", value.dtype()));
    }
  }
  for (const auto& [name, entry] : file.entries()) {
    if (!known.contains(name) && !(ignored && ignored(name))) unexpected.push_back(name);
  }
  ASHLAR_CHECK(missing.empty() && unexpected.empty() && misshaped.empty() && mistyped.empty(), file.path().string(),
               ": these are not the weights of this model", list_of(missing, "missing"), list_of(unexpected, "unexpected"),
               list_of(misshaped, "of another shape"), list_of(mistyped, "of another dtype"));
}

void import_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange, const Ignored& ignored) {
  check_weights(model, file, exchange, ignored);
  // Everything is read before anything is changed.
  const std::vector<Place> all = places(model, exchange, ignored);
  std::vector<Array> values;
  for (const Place& place : all) values.push_back(read(file, place));
  for (std::size_t i = 0; i < all.size(); ++i) copy(values[i], in_foreign_layout(all[i].value, all[i].foreign));
}

}  // namespace ashlar
