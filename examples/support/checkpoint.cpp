#include "examples/support/checkpoint.h"

#include <charconv>

#include "core/safetensors.h"
#include "examples/models/exchange.h"

namespace ashlar::support {
namespace {

constexpr std::string_view kOptimizer = "optimizer/";

// Text that gives the same number back.
std::string exact(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

double number(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  double value = 0;
  ASHLAR_CHECK(found != file.metadata().end() &&
                   std::from_chars(found->second.data(), found->second.data() + found->second.size(), value).ec == std::errc(),
               file.path().string(), ": is not a checkpoint of a run (no '", key, "' in its metadata)");
  return value;
}

// Our own names and layouts.
ForeignTensor as_it_is(const Parameter& parameter) { return {parameter.name, parameter.tensor.shape()}; }
bool belongs_to_optimizer(const std::string& name) { return name.starts_with(kOptimizer); }

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Module& model, const optim::Optimizer& optimizer,
                     const RunState& state) {
  NamedArrays tensors = export_weights(model, as_it_is);
  for (const auto& [name, value] : optimizer.state()) tensors.emplace_back(std::string(kOptimizer) + name, value);
  make_writable_folder(path.parent_path());
  write_safetensors(path, tensors, {{"step", std::to_string(state.step)}, {"elapsed", exact(state.elapsed)},
                                    {"progress", exact(state.progress)}});
}

RunState load_checkpoint(const std::filesystem::path& path, const Module& model, optim::Optimizer& optimizer) {
  ASHLAR_CHECK(std::filesystem::exists(path), "--resume: there is no checkpoint at ", path.string());
  const SafetensorsFile file(path);
  const RunState state{static_cast<std::int64_t>(number(file, "step")), number(file, "elapsed"), number(file, "progress")};
  optim::State values;
  for (const auto& [name, entry] : file.entries()) {
    if (belongs_to_optimizer(name)) values.emplace(name.substr(kOptimizer.size()), file.read(name));
  }
  // Both are checked before either changes; the weights first, whose names the user knows.
  check_weights(model, file, as_it_is, belongs_to_optimizer);
  optimizer.check_state(values);
  import_weights(model, file, as_it_is, belongs_to_optimizer);
  optimizer.load_state(values);
  return state;
}

}  // namespace ashlar::support
