#include "examples/support/training_options.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <set>

#include "core/determinism.h"
#include "core/parallel.h"
#include "core/text.h"
#include "examples/models/saved.h"
#include "examples/support/setting_help.h"
#include "layers/linear_spec.h"
#include "optim/make_optimizer.h"
#include "optim/param_groups.h"

namespace ashlar::support {
namespace {

const std::vector<std::string> kPlaces(BlockSpecs::kPlaces.begin(), BlockSpecs::kPlaces.end());

void resolve_layer(const Options& options, TrainingOptions& values) {
  const Source layer = options.source("layer"), layer_at = options.source("layer_at");
  const auto set = [&](const std::string& spec, const std::vector<std::string>& places, Source source) {
    for (const auto& place : places) {
      if (source > options.source("linear." + place)) values.linear.at(place) = spec;
    }
  };
  ASHLAR_CHECK(!values.layer.empty() || values.layer_at.empty(), options.where("layer_at"), " needs --layer");
  // A --layer on the command line is not restricted by a layer_at of the config. An empty list there is refused.
  const bool everywhere = layer_at != Source::flag && (values.layer_at.empty() || layer_at < layer);
  const auto places = everywhere ? kPlaces : parse_places(values.layer_at);
  // Where a --layer of the command line is restricted, that of the config holds for the other places.
  const Json *configured = options.configured("layer"), *configured_at = options.configured("layer_at");
  if (layer == Source::flag && configured && configured->is_string()) {
    const bool restricted = configured_at && configured_at->is_string() && *configured_at != "";
    set(configured->get<std::string>(), restricted ? parse_places(configured_at->get<std::string>()) : kPlaces, Source::config);
  }
  set(values.layer, places, layer);
}

void resolve_length(const Options& options, TrainingOptions& values) {
  const Source epochs = options.source("epochs"), steps = options.source("steps");
  if (!values.epochs && !values.steps && !values.minutes) values.epochs = 1;
  if (!values.epochs || !values.steps) return;
  ASHLAR_CHECK(epochs != steps, options.where("epochs"), " and ", options.where("steps"),
               " exclude each other; give one of them, on the command line if both stand in configs");
  if (epochs < steps) values.epochs.reset();
  else values.steps.reset();
}

// lr and weight_decay are so common that they have options of their own; the others are under optim.
std::string setting_option(const std::string& key) {
  return key == "lr" || key == "weight_decay" ? key : "optim." + key;
}

// What a config says of its optimizer's settings is not meant for another one that a flag chooses.
void resolve_optimizer(const Options& options, TrainingOptions& values) {
  const Json* configured = options.configured("optimizer");
  const bool named = configured && configured->is_string();
  const std::string meant_for = named ? configured->get<std::string>() : TrainingOptions{}.optimizer;
  const optim::Settings defaults = optim::default_settings(values.optimizer);
  for (auto& [key, value] : values.optim) {
    if (options.source(setting_option(key)) == Source::config && meant_for != values.optimizer) value.reset();
    const auto own = defaults.find(key);
    if (own != defaults.end() && !value) value = own->second;
    if (own != defaults.end() || !value) continue;
    std::vector<std::string> valid;
    for (const auto& [name, unused] : defaults) valid.push_back(setting_option(name));
    throw InputError(concat(options.where(setting_option(key)), ": ", values.optimizer, " has no such setting; it has ",
                            join(valid)));
  }
}

void add_file_options(Options& options, TrainingOptions& values, const std::string& data) {
  options.group("Data and files");
  options.add("data", values.data, data + "; default: what data/download.sh fetched, else made up")
      .value_name("DIR");
  options.add("out", values.out, "folder for config, metrics, weights, checkpoint and report").value_name("DIR");
  options.add("resume", values.resume, "continue from the checkpoint in --out").flag_only();
  options.add("overwrite", values.overwrite, "replace the run that --out holds").flag_only();
  options.add("save", values.save, "leave weights and a checkpoint").flag_only();
  options.add("init_from", values.init_from, "start from the weights of this model.safetensors instead of random ones")
      .value_name("FILE");
}

void add_matrix_options(Options& options, TrainingOptions& values) {
  options.group("Weight matrices");
  options.add("layer", values.layer,
              "kind of the weight matrices of all blocks, such as blast:blocks=6,rank=192; kinds and their keys: " + linear_kinds())
      .value_name("SPEC")
      .shorthand();
  options.add("layer_at", values.layer_at, "restrict --layer to these places, e.g. qkv,fc1,fc2")
      .value_name("LIST")
      .shorthand();
  for (const auto& place : kPlaces) {
    options.add("linear." + place, values.linear.at(place), "kind of the " + place + " matrices").value_name("SPEC");
  }
}

void add_loop_options(Options& options, TrainingOptions& values) {
  options.group("Training");
  options.add("optimizer", values.optimizer, "optimizer").choices(optim::optimizer_names()).value_name("NAME");
  options.add("lr", values.optim["lr"], setting_help("lr")).at_least(0);
  options.add("batch", values.batch, "samples or sequences a step").at_least(1);
  options.add("accumulate", values.accumulate, "split a step into N batches: less memory, the same gradient").at_least(1);
  options.add("epochs", values.epochs, "length of the run in passes over the data, e.g. 0.5; 1 if no length is given")
      .more_than(0)
      .at_most(1e9);
  options.add("steps", values.steps, "length of the run in steps; 0: only evaluate").at_least(0);
  options.add("minutes", values.minutes,
              "stop after this wall time, over which the schedule is stretched, or at --epochs or --steps if that is sooner")
      .more_than(0)
      .at_most(1e9);
  options.add("decay", values.decay, "learning rate after the warm-up").choices({"cosine", "linear", "constant"}).value_name("NAME");
  options.add("warmup", values.warmup, "share of the run over which the learning rate rises").at_least(0).at_most(0.99);
  options.add("final_lr", values.final_lr, "learning rate at the end, as a share of the peak").at_least(0).at_most(1);
  options.add("clip", values.clip, "largest global norm of the gradients; 0: no clipping").at_least(0);
  options.add("weight_decay", values.optim["weight_decay"], setting_help("weight_decay")).at_least(0);
  options.add("groups", values.groups, "parameters with settings of their own, e.g. \"role=norm,lr=0.5; name=*.bias,decay=constant\"");
  options.add("lr_scale", values.lr_scale, "give each factor of a structured matrix the learning rate that suits its fan-in (muP)");
  options.add("ema", values.ema,
              "evaluate and save an exponential moving average of the weights with this decay, e.g. 0.999; 0: the weights themselves")
      .at_least(0)
      .at_most(0.999999);
  options.add("seed", values.seed, "seed of weights, batches and dropout");
  options.add("eval_every", values.eval_every, "evaluate every N steps and at the end; 0: only at the end").at_least(0);
  options.add("keep_best", values.keep_best,
              "leave the weights with the lowest loss of all evaluations of --eval-every and the end, instead of the last");
  options.add("checkpoint_every", values.checkpoint_every, "save every N steps too; 0: by --checkpoint-minutes alone").at_least(0);
  options.add("checkpoint_minutes", values.checkpoint_minutes, "save this long after the last checkpoint; 0: never for that reason")
      .at_least(0);
  options.add("log_every", values.log_every, "write a line to metrics.jsonl every N steps").at_least(1);
}

// Those that have no option by now.
void add_optimizer_settings(Options& options, TrainingOptions& values) {
  options.group("Settings of the optimizers that have them (optim/README.md)");
  std::set<std::string> keys;
  for (const std::string& name : optim::optimizer_names()) {
    for (const auto& [key, value] : optim::default_settings(name)) keys.insert(key);
  }
  for (const std::string& key : keys) {
    if (!values.optim.contains(key)) options.add("optim." + key, values.optim[key], setting_help(key));
  }
}

void add_machine_options(Options& options, TrainingOptions& values) {
  options.group("Machine");
  add_device_option(options, values.device);
  options.add("cuda_graph", values.cuda_graph, "on a GPU, record the step once and replay it; steps of another shape run as they are");
  add_dtype_option(options, values.dtype);
  add_threads_option(options, values.threads);
  options.add("allow_nondeterministic", values.allow_nondeterministic,
              "on a GPU, let sums take any order where that is faster: a run no longer repeats bit for bit; no effect on the CPU");
}

// Options that exclude or need each other.
void check_together(const Options& options, const TrainingOptions& values) {
  ASHLAR_CHECK(!values.resume || !values.overwrite, "--resume and --overwrite exclude each other; give one of them");
  ASHLAR_CHECK(values.save || !values.resume, "--no-save leaves no checkpoint and --resume goes on from one; give one of them");
  ASHLAR_CHECK(values.save || values.checkpoint_every == 0, "--no-save leaves no checkpoint and ",
               options.where("checkpoint_every"), " asks for them; give --checkpoint-every 0, or leave --no-save out");
  ASHLAR_CHECK(values.save || !values.keep_best, "--no-save leaves no weights and ", options.where("keep_best"),
               " asks for the best; give --no-keep-best, or leave --no-save out");
  ASHLAR_CHECK(!values.keep_best || values.eval_every > 0, options.where("keep_best"),
               " chooses among evaluations, and there is one, at the end; give --eval-every N too");
  ASHLAR_CHECK(!values.resume || !values.keep_best || values.began_with("keep_best", true), "--resume and ",
               options.where("keep_best"), ", with which the run did not begin, exclude each other: which of its weights were "
               "the best is not known; give one of them");
  ASHLAR_CHECK(!values.resume || options.source("init_from") != Source::flag ||
                   values.began_with("init_from", values.init_from.string()),
               "--resume and --init-from ", values.init_from.string(),
               ", with which the run did not begin, exclude each other; give one of them");
  ASHLAR_CHECK(!values.overwrite || !RunFolder{values.out}.replaces(values.init_from), "--init-from ",
               values.init_from.string(), " is a file that --overwrite would remove; give another --out");
  ASHLAR_CHECK(values.batch % values.accumulate == 0, options.where("accumulate"), " ", values.accumulate, " must divide ",
               options.where("batch"), " ", values.batch);
}

}  // namespace

std::filesystem::path TrainingOptions::config_of_weights(const std::string& program) const {
  if (resume || init_from.empty()) return {};
  const std::filesystem::path file = init_from.parent_path() / "config.json";
  std::error_code not_there;
  if (!std::filesystem::exists(file, not_there)) return {};
  const Json config = read_json(file);
  return config.is_object() && program_of(config) == program ? file : std::filesystem::path();
}

bool TrainingOptions::began_with(const char* key, const Json& value) const {
  const std::filesystem::path file = RunFolder{out}.config();
  if (!std::filesystem::exists(file)) return false;
  const Json config = read_json(file);
  return config.contains(key) && config[key] == value;
}

void take_over_linear(const Options& options, TrainingOptions& values, BlockSpecs its) {
  const auto kind_of = [](const std::string& spec) { return spec.substr(0, spec.find(':')); };
  for (const std::string& place : kPlaces) {
    std::string& ours = values.linear.at(place);
    if (!options.given("layer")) take_over(options, "linear." + place, ours, its.at(place));
    ASHLAR_CHECK(kind_of(ours) == kind_of(its.at(place)), "--init-from ", values.init_from.string(), ": the ", place,
                 " matrices of these weights are ", its.at(place), ", and not ", ours, "; project them with compress, or begin "
                 "without --init-from");
  }
}

void apply_to_process(const TrainingOptions& values, const std::string& program) {
  set_num_threads(values.threads);
  set_deterministic(!values.allow_nondeterministic);
  std::printf("%s\n", startup_line(program, values.device, values.threads, values.dtype).c_str());
}

void check_begin(const TrainingOptions& values, const Network& network) {
  if (values.resume) check_same_network("--resume", RunFolder{values.out}.config(), network);
  else if (!values.init_from.empty())
    check_same_network("--init-from " + values.init_from.string(), values.init_from.parent_path() / "config.json", network);
}

std::vector<std::string> parse_places(const std::string& list) {
  const std::vector<std::string> places = split(list, ',');
  ASHLAR_CHECK(!places.empty(), "--layer-at: names no place; valid: ", join(kPlaces));
  for (const std::string& place : places) {
    ASHLAR_CHECK(std::ranges::find(kPlaces, place) != kPlaces.end(), "--layer-at: '", place, "' is unknown; ",
                 did_you_mean(place, kPlaces), "Valid: ", join(kPlaces));
  }
  return places;
}

void TrainingOptions::find_data(const Options& options,
                                const std::function<std::optional<std::filesystem::path>()>& downloaded) {
  if (data.empty() && !resume && options.source("data") != Source::config) data = downloaded().value_or("");
  if (!data.empty()) data = std::filesystem::absolute(data);
}

void add_training_options(Options& options, TrainingOptions& values, const std::string& data) {
  add_file_options(options, values, data);
  add_matrix_options(options, values);
  add_loop_options(options, values);
  add_optimizer_settings(options, values);
  add_machine_options(options, values);
  options.group("");

  options.config_base([&values]() -> std::filesystem::path {
    const auto path = values.out / "config.json";
    return values.resume && std::filesystem::exists(path) ? path : std::filesystem::path();
  });
  options.config_check([&options](const Json& config, const std::string& file) {
    const std::string program = program_of(config);
    ASHLAR_CHECK(program.empty() || program == options.program(), file, ": belongs to a run of ", program, "; run that, or give ",
                 options.program(), " a run or a config of its own");
  });
  options.then([&options, &values] {
    check_together(options, values);
    resolve_layer(options, values);
    resolve_length(options, values);
    resolve_optimizer(options, values);
    optim::parse_groups(values.groups);
  });
}

}  // namespace ashlar::support
