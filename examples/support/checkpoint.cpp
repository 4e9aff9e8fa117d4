#include "examples/support/checkpoint.h"

#include <limits>

#include "core/safetensors.h"
#include "core/text.h"
#include "layers/weights.h"

namespace ashlar::support {
namespace {

constexpr std::string_view kOptimizer = "optimizer/", kAverage = "average/";

// Text that gives the same number back.
std::string exact(double value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

// A number of the metadata, at least 0 and not infinite.
template <class T>
T number(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.metadata().find(key);
  ASHLAR_CHECK(found != file.metadata().end(), file.path().string(), ": is not a checkpoint of a run (no '", key,
               "' in its metadata)");
  const std::string& text = found->second;
  const auto value = parse_number<T>(text);
  ASHLAR_CHECK(value && *value >= 0 && *value <= std::numeric_limits<T>::max(), file.path().string(),
               ": is not a checkpoint of a run ('", key, "' in its metadata is '", text, "')");
  return *value;
}

bool is_no_weight(const std::string& name) { return name.starts_with(kOptimizer) || name.starts_with(kAverage); }

// What stands under a prefix, without it.
optim::State state_under(const SafetensorsFile& file, std::string_view prefix) {
  optim::State values;
  for (const auto& [name, entry] : file.entries()) {
    if (name.starts_with(prefix)) values.emplace(name.substr(prefix.size()), file.read(name));
  }
  return values;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Module& model, const optim::Optimizer& optimizer,
                     const optim::WeightAverage* average, const RunState& state) {
  NamedArrays tensors = export_weights(model, as_it_is);
  for (const auto& [name, value] : optimizer.state()) tensors.emplace_back(std::string(kOptimizer) + name, value);
  const optim::State averages = average ? average->state() : optim::State();
  for (const auto& [name, value] : averages) tensors.emplace_back(std::string(kAverage) + name, value);
  make_writable_folder(path.parent_path());
  write_safetensors(path, tensors, {{"step", std::to_string(state.step)}, {"elapsed", exact(state.elapsed)},
                                    {"step_seconds", exact(state.step_seconds)}});
}

RunState load_checkpoint(const std::filesystem::path& path, const Module& model, optim::Optimizer& optimizer,
                         optim::WeightAverage* average) {
  const SafetensorsFile file(path);
  const RunState state{number<std::int64_t>(file, "step"), number<double>(file, "elapsed"), number<double>(file, "step_seconds")};
  const optim::State state_values = state_under(file, kOptimizer), averages = state_under(file, kAverage);
  ASHLAR_CHECK(average || averages.empty(), path.string(), ": has an average of the weights; resume it with --ema");
  ASHLAR_CHECK(!average || !averages.empty(), path.string(), ": has no average of the weights; resume it without --ema");
  // All is checked before any of it changes; the weights first, whose names the user knows.
  check_weights(model, file, as_it_is, is_no_weight);
  try {
    optimizer.check_state(state_values);
  } catch (const InputError& error) {
    throw InputError(concat(path.string(), ": ", error.what(), "; resume with the --optimizer that the run began with"));
  }
  if (average) average->check_state(averages);
  import_weights(model, file, as_it_is, is_no_weight);
  optimizer.load_state(state_values);
  if (average) average->load_state(averages);
  return state;
}

}  // namespace ashlar::support
