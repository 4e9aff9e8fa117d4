// The options that train_vit and train_gpt share.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "examples/models/saved.h"
#include "examples/support/options.h"
#include "examples/support/run_folder.h"
#include "examples/support/system.h"
#include "layers/transformer.h"

namespace ashlar::support {

// The values here are defaults; a program changes those it wants to before add_training_options().
struct TrainingOptions {
  std::filesystem::path data, out = "runs/run";
  std::filesystem::path init_from;  // model.safetensors whose weights a new run begins with; empty: random ones
  BlockSpecs linear;
  std::string optimizer = "adamw";
  std::int64_t batch = 128;
  std::optional<double> epochs;  // at most one of epochs and steps is set
  std::optional<std::int64_t> steps;
  std::optional<double> minutes;
  std::string device = "cpu", dtype = "f32";
  int threads = 0;  // after parsing never 0
  bool allow_nondeterministic = false;  // GPU kernels may add in any order
  std::uint64_t seed = 1;
  std::int64_t accumulate = 1;  // batches, each a part of `batch`, whose gradients make one step
  double warmup = 0.05, final_lr = 0;  // shares: of the run, of the peak learning rate
  std::string decay = "cosine";
  double clip = 1;  // of the global gradient norm; 0: none
  // The optimizer's settings by name, "lr" and "weight_decay" among them; after parsing exactly those of `optimizer`
  // have a value.
  std::map<std::string, std::optional<double>> optim;
  std::string groups;  // parameters with settings of their own (optim/param_groups.h)
  bool lr_scale = false;  // multiply learning rates by what suits each factor (ParamInfo::lr_scale)
  double ema = 0;      // decay of the average of the weights that is evaluated and saved; 0: the weights themselves
  std::int64_t eval_every = 0, checkpoint_every = 0;  // 0: at the end only
  double checkpoint_minutes = 10;                      // 0: only by checkpoint_every and at the end
  std::int64_t log_every = 10;
  bool resume = false, overwrite = false;  // not both
  bool save = true;  // weights and checkpoints
  bool keep_best = false;  // leave the weights of the best evaluation, not the last
  bool cuda_graph = true;

  RunStart start() const {
    return resume ? RunStart::resume : overwrite ? RunStart::overwrite : RunStart::fresh;
  }
  std::int64_t batch_part() const { return batch / accumulate; }
  DType compute_dtype() const { return parse_dtype(dtype); }
  // The config.json beside --init-from, where a new run begins with such weights and it is one of `program`; else empty.
  std::filesystem::path config_of_weights(const std::string& program) const;

  // Whether the config of the run in --out says this, as a command does that is given again with --resume.
  bool began_with(const char* key, const Json& value) const;

  // Without --data, what was downloaded, if anything was. The config tells where it lies, wherever a program is started, or that
  // there was none: who resumes or repeats that run must not get other data.
  void find_data(const Options& options, const std::function<std::optional<std::filesystem::path>()>& downloaded);

  // Shorthands, resolved into `linear`: --layer SPEC sets all four places, --layer-at LIST restricts it to these. What
  // is said of one place (linear.qkv) at the same level, config or flags, wins.
  std::string layer, layer_at;
};

// What neither a flag nor a config says of a network is as in the weights that the run begins with.
template <class T>
void take_over(const Options& options, const std::string& option, T& ours, const T& its) {
  if (!options.given(option)) ours = its;
}
// The same of the weight matrices; InputError where other kinds are asked for than those weights have.
void take_over_linear(const Options& options, TrainingOptions& values, BlockSpecs its);

// Threads and determinism of the process, and the line that says what `program` runs on.
void apply_to_process(const TrainingOptions& values, const std::string& program);

// InputError where the weights that a run begins with, or those that it goes on from, are another network's of the same shapes.
void check_begin(const TrainingOptions& values, const Network& network);

// "qkv,fc1": places of a block where a weight matrix stands, for --layer-at.
std::vector<std::string> parse_places(const std::string& list);

// `data` says what --data holds. With --resume and no --config, the config of the run in --out is read.
void add_training_options(Options& options, TrainingOptions& values, const std::string& data);

}  // namespace ashlar::support
