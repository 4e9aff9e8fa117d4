#include "examples/models/exchange.h"

#include <set>

namespace ashlar {
namespace {

// Every parameter and buffer with its place in the file.
std::vector<std::pair<Array, ForeignTensor>> places(const Module& model, const Exchange& exchange) {
  std::vector<std::pair<Array, ForeignTensor>> all;
  for (const Parameter& parameter : model.parameters()) all.emplace_back(parameter.tensor.value(), exchange(parameter));
  for (const auto& [name, value] : model.buffers()) all.emplace_back(value, ForeignTensor{name, value.shape()});
  return all;
}

std::string list_of(const std::vector<std::string>& names, std::string_view title) {
  if (names.empty()) return {};
  constexpr std::size_t kShown = 8;
  std::string text = concat("; ", title, ": ");
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i) text += (i ? ", " : "") + names[i];
  if (names.size() > kShown) text += concat(", … (", names.size(), " in all)");
  return text;
}

}  // namespace

Array in_foreign_layout(const Array& value, const ForeignTensor& foreign) {
  return foreign.transposed ? value.transpose(0, 1) : value.reshape(foreign.shape);
}

NamedArrays export_weights(const Module& model, const Exchange& exchange) {
  NamedArrays tensors;
  for (const auto& [value, foreign] : places(model, exchange)) {
    tensors.emplace_back(foreign.name, in_foreign_layout(value, foreign));
  }
  return tensors;
}

void check_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange,
                   const std::function<bool(const std::string&)>& ignored) {
  std::vector<std::string> missing, unexpected, misshaped, mistyped;
  std::set<std::string> known;
  for (const auto& [value, foreign] : places(model, exchange)) {
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

void import_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange,
                    const std::function<bool(const std::string&)>& ignored) {
  check_weights(model, file, exchange, ignored);
  // Everything is read before anything is changed.
  const auto all = places(model, exchange);
  std::vector<Array> values;
  for (const auto& [value, foreign] : all) values.push_back(file.read(foreign.name));
  for (std::size_t i = 0; i < all.size(); ++i) copy(values[i], in_foreign_layout(all[i].first, all[i].second));
}

}  // namespace ashlar
