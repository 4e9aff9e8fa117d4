// compress: projects the weight matrices of a trained model onto another structure, layer by layer.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/files.h"
#include "core/parallel.h"
#include "core/rounding.h"
#include "core/safetensors.h"
#include "data/image_loader.h"
#include "data/locate.h"
#include "examples/models/saved.h"
#include "examples/support/child.h"
#include "examples/support/evaluate.h"
#include "examples/support/format.h"
#include "examples/support/option_values.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/run_folder.h"
#include "examples/support/training_options.h"
#include "layers/calibrate.h"
#include "layers/convert.h"
#include "layers/linear_spec.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

constexpr std::uint64_t kCalibrationSeed = 1;  // of the order in which samples are taken

struct Settings {
  std::filesystem::path in, out, data, tokenizer, calibrate;
  std::string layer, layer_at, weighting = "activation", factorize = "precgd";
  std::int64_t batch = 64, eval_windows = 0, samples = 256;
  std::string device = "cpu";
  int threads = 0;
  bool overwrite = false;

  RunStart start() const { return overwrite ? RunStart::overwrite : RunStart::fresh; }
  Scope scope() const { return Scope::root(DType::f32, 0, Device::parse(device)).for_loading(); }
};

// A model with what is needed to judge it and to write it.
template <class Model>
struct Subject {
  std::function<std::unique_ptr<Model>(const BlockSpecs&)> make;  // with random weights
  BlockSpecs specs;                                               // of the file
  std::function<void(Model&, const SafetensorsFile&)> load;
  std::function<NamedArrays(const Model&)> save;
  std::string train_on;                             // the program that trains on, and what it has to be told besides
  OrderedJson config;                               // for it, without "linear"
  std::optional<data::Tokenizer> tokenizer;         // of a text model, if there is one
  std::string split;                                // of the data that it is judged by
  std::function<Score(const Model&, const EvalProgress&)> evaluate;  // empty without data
  // The loss of batch `index`, of so many samples, of the data to calibrate with.
  std::function<std::function<Tensor(const Model&, Dim index)>(Dim batch)> calibration_loss;
};

// Of the matrices that are written, where those that are read have the specs `old`.
BlockSpecs new_specs(const Settings& s, BlockSpecs old) {
  if (s.layer_at.empty()) return BlockSpecs::everywhere(s.layer);
  for (const std::string& place : parse_places(s.layer_at)) old.at(place) = s.layer;
  return old;
}

// What the config of a run tells the program that trains on: not where that run lay and what it began with.
OrderedJson config_to_train_on(const std::filesystem::path& file) {
  OrderedJson config = read_json(file);
  for (const char* key : {"out", "init_from", "new_head"}) config.erase(key);
  return config;
}

Subject<Vit> vit_subject(const Settings& s, const SafetensorsFile& weights) {
  const std::filesystem::path config_file = s.in.parent_path() / "config.json";
  const VitConfig config = read_vit_config(config_file, weights);
  Subject<Vit> subject{
      .make =
          [config, scope = s.scope()](const BlockSpecs& specs) {
            VitConfig own = config;
            own.linear = specs;
            return std::make_unique<Vit>(scope, own);
          },
      .specs = config.linear,
      .load = [](Vit& model, const SafetensorsFile& file) { import_weights(model, file, model.timm()); },
      .save = [](const Vit& model) { return export_weights(model, model.timm()); },
      .train_on = "train_vit",
      .config = config_to_train_on(config_file),
      .tokenizer = {},
      .split = "test",
      .evaluate = {},
      .calibration_loss = {}};
  if (!s.data.empty()) {
    const data::ImageDataset dataset = data::load_images(s.data, config.image);
    const data::ImageEvaluation test(dataset.test, s.batch, normalisation_of(config_file, dataset, true));
    subject.evaluate = [test](const Vit& model, const EvalProgress& progress) { return evaluate(model, test, progress); };
  }
  if (!s.calibrate.empty()) {
    const data::ImageDataset dataset = data::load_images(s.calibrate, config.image);
    const bool tell_classes = s.calibrate != s.data;  // else they have been told
    subject.calibration_loss = [train = dataset.train, seen = normalisation_of(config_file, dataset, tell_classes)](Dim batch) {
      const data::Augmentation none{.crop_padding = 0, .flip = false};
      const data::ImageLoader loader(train, batch, kCalibrationSeed, none, seen);
      return [loader](const Vit& model, Dim index) {
        const data::ImageBatch samples = loader.at(index);
        return F::cross_entropy(model(samples.images), {.target = samples.labels});
      };
    };
  }
  return subject;
}

// What train_gpt needs to know of a model that may be one of Hugging Face's, whose config has keys that it does not know, and
// does not say what to train it on.
OrderedJson gpt_config_json(const Settings& s, const std::filesystem::path& file, GptConfig config, bool has_vocabulary) {
  config.linear = new_specs(s, config.linear);
  OrderedJson json = config_to_train_on(file);
  const auto set_path = [&json](const char* key, const std::filesystem::path& path, const char* flag) {
    const std::string text = std::filesystem::absolute(path).string();
    check_utf8(text, flag);
    json[key] = text;
  };
  if (!json.contains("width")) {  // not one of ours
    json = OrderedJson::object();
    if (!s.data.empty()) set_path("data", s.data, "--data");
  }
  json.update(huggingface_config(config));
  json["width"] = config.width;
  json["depth"] = config.depth;
  json["heads"] = config.heads;
  json["hidden"] = config.hidden;
  json["context"] = config.context;
  if (has_vocabulary) set_path("tokenizer", s.out, "--out");
  return json;
}

Subject<Gpt2> gpt_subject(const Settings& s) {
  const std::filesystem::path folder = s.in.parent_path(), vocabulary = s.tokenizer.empty() ? folder : s.tokenizer;
  const GptConfig config = read_gpt_config(folder / "config.json");
  const bool needs_vocabulary = !s.data.empty() || !s.calibrate.empty();
  const bool has_vocabulary = needs_vocabulary || data::Tokenizer::is_in(vocabulary);
  ASHLAR_CHECK(has_vocabulary || !data::Tokenizer::is_in(s.out), "--out ", s.out.string(), " holds a vocabulary and ",
               vocabulary.string(), " none, so that it would seem the new model's; give --tokenizer DIR, or another --out");
  Subject<Gpt2> subject{
      .make =
          [config, scope = s.scope()](const BlockSpecs& specs) {
            GptConfig own = config;
            own.linear = specs;
            return std::make_unique<Gpt2>(scope, own);
          },
      .specs = config.linear,
      .load = [](Gpt2& model, const SafetensorsFile& file) { model.load(file); },
      .save = [](const Gpt2& model) { return export_weights(model, Gpt2::huggingface()); },
      .train_on = has_vocabulary ? "train_gpt" : "train_gpt --tokenizer DIR",
      .config = gpt_config_json(s, folder / "config.json", config, has_vocabulary),
      .tokenizer = {},
      .split = "valid",
      .evaluate = {},
      .calibration_loss = {}};
  if (!has_vocabulary) return subject;
  subject.tokenizer = data::Tokenizer::load(vocabulary);
  const data::Tokenizer& tokenizer = *subject.tokenizer;
  check_vocabulary(tokenizer.vocab_size(), config.vocab, s.in);
  if (!s.data.empty()) {
    const TextSplit split = text_split(data::load_text(s.data).valid, tokenizer, std::max<Dim>(1, s.batch / 8), config.context,
                                       s.eval_windows);
    subject.evaluate = [split](const Gpt2& model, const EvalProgress& progress) { return evaluate(model, split, progress); };
  }
  if (!s.calibrate.empty()) {
    const auto tokens = tokenizer.encode(data::load_text(s.calibrate).train);
    subject.calibration_loss = [tokens, context = config.context](Dim batch) {
      const data::TokenLoader loader(tokens, batch, context, kCalibrationSeed);
      return [loader](const Gpt2& model, Dim index) {
        const data::TokenBatch samples = loader.at(index);
        return model.loss(samples.inputs, samples.targets);
      };
    };
  }
  return subject;
}

std::string fixed(double value) { return printed("%.4f", value); }

template <class Model>
void judge(const char* when, const Subject<Model>& subject, Model& model) {
  const ModelCost cost = cost_of(model);
  const double share = static_cast<double>(cost.linear_parameters) / static_cast<double>(cost.dense_linear_parameters);
  ItemProgress progress;
  std::string result;
  if (subject.evaluate) {
    model.eval();
    const NoGrad no_grad;
    const auto told = [&](Dim done, Dim count) { progress.update(done, count, "evaluating"); };
    result = concat("; ", subject.split, " ", describe(subject.evaluate(model, told)));
  }
  progress.message(concat(when, ": ", cost.parameters, " parameters, ", cost.linear_parameters, " in the weight matrices (",
                          printed("%.1f", 100 * share), " % of dense)", result));
}

// The maps that change, all of them to --layer.
std::set<std::string> changing_maps(Module& old_model, Module& new_model) {
  const auto old_maps = linear_maps(old_model);
  std::set<std::string> paths;
  for (const auto& [path, map] : linear_maps(new_model)) {
    if (old_maps.at(path)->spec() != map->spec()) paths.insert(path);
  }
  return paths;
}

template <class Model>
Calibration calibrate(const Settings& s, const Subject<Model>& subject, Model& model, const std::set<std::string>& paths) {
  const bool fisher = s.weighting == "fisher";
  // The Fisher information is made of the gradients of single samples.
  const Dim batch = fisher ? 1 : std::min<Dim>(s.batch, s.samples), count = ceil_div(s.samples, batch);
  const auto loss = subject.calibration_loss(batch);
  ItemProgress progress;
  const auto sample = [&](Dim index) {
    progress.update(index, count, "calibrating");
    return loss(model, index);
  };
  model.eval();
  const Calibration result =
      fisher ? calibrate_fisher(model, paths, count, sample) : calibrate_activations(model, paths, count, sample);
  progress.message(
      concat("calibrated by the ", fisher ? "Fisher information of " : "inputs of ", count * batch, " samples"));
  return result;
}

template <class Model>
void compress(const Settings& s, const SafetensorsFile& weights, const Subject<Model>& subject) {
  BlockSpecs specs = new_specs(s, subject.specs);
  const auto old_model = subject.make(subject.specs), new_model = subject.make(specs);
  std::set<std::string> weighed;
  if (!s.calibrate.empty()) {
    weighed = changing_maps(*old_model, *new_model);
    ASHLAR_CHECK(!weighed.empty(), "--calibrate: all matrices are ", s.layer, " already; leave it out");
  }
  subject.load(*old_model, weights);
  judge("before", subject, *old_model);
  const Calibration calibration = weighed.empty() ? Calibration() : calibrate(s, subject, *old_model, weighed);
  const Factorizer factorizer = parse_factorizer(s.factorize);
  const auto options = [&](const std::string& path) {
    ProjectionOptions own = calibration.contains(path) ? calibration.at(path) : ProjectionOptions();
    own.factorizer = factorizer;
    return own;
  };
  std::vector<Projection> projections;
  {
    ItemProgress progress;
    projections = convert(*old_model, *new_model, [&](const Projection& p, std::size_t index, std::size_t count) {
      if (p.old_spec != p.new_spec) {
        const std::string of_outputs = weighed.contains(p.path) ? concat(", weighed ", fixed(p.weighted_error)) : "";
        progress.message(concat(p.path, "  ", p.old_spec, " -> ", p.new_spec, ": relative error ", fixed(p.error),
                                of_outputs));
      }
      progress.update(static_cast<std::int64_t>(index) + 1, static_cast<std::int64_t>(count), p.path);
    }, options);
  }
  std::printf("all matrices together: relative error %s\n", fixed(total_error(projections)).c_str());
  judge("after", subject, *new_model);

  OrderedJson config = subject.config;
  for (const std::string_view place : BlockSpecs::kPlaces) config["linear"][std::string(place)] = specs.at(place);
  const RunFolder out{s.out};
  const FolderLock lock = out.hold(s.start());
  const std::filesystem::path new_weights = s.out / "new.safetensors";  // what is there stays until this is written
  write_weights(new_weights, subject.save(*new_model));
  out.begin(s.start(), config);
  if (subject.tokenizer) subject.tokenizer->save(s.out);
  std::filesystem::rename(new_weights, out.model());
  std::printf("written to %s; train on, with a lower --lr than at first: %s --config %s --init-from %s --out %s\n",
              s.out.string().c_str(), subject.train_on.c_str(), shell_word(out.config().string()).c_str(),
              shell_word(out.model().string()).c_str(),
              shell_word((s.out / ".." / (out.name() + "-trained")).lexically_normal().string()).c_str());
}

void run(int argc, char** argv) {
  Settings s;
  Options options("compress", "Projects the weight matrices of a trained model onto another structure, or back to dense. The "
                              "device evaluates and calibrates; the projections are LAPACK's, on the CPU.");
  options.add("in", s.in, "model.safetensors of a run, or of a GPT-2 of Hugging Face, beside its config.json").value_name("FILE");
  options.add("layer", s.layer,
              "kind of the new weight matrices, such as blast:blocks=6,ratio=0.5; kinds and their keys: " + linear_kinds())
      .value_name("SPEC");
  options.add("layer_at", s.layer_at, "restrict --layer to these places, e.g. qkv,fc1,fc2").value_name("LIST");
  options.add("out", s.out, "folder for config.json and model.safetensors").value_name("DIR");
  options.add("overwrite", s.overwrite, "replace the run or the model that --out holds").flag_only();
  options.add("factorize", s.factorize, "how BLAST factors are found: preconditioned descent or alternating least squares")
      .choices({"precgd", "als"});
  options.add("calibrate", s.calibrate, "such data, whose train split tells which errors matter")
      .value_name("DIR");
  options.add("weighting", s.weighting, "what --calibrate learns: the inputs of each matrix, or the Fisher information of its rows")
      .choices({"activation", "fisher"});
  options.add("samples", s.samples, "images or text windows that --calibrate looks at, rounded up to whole batches").at_least(1);
  options.add("data", s.data, "data to evaluate on before and after, as --data of train_vit or train_gpt takes them; images are scaled and "
                              "cropped to the model's size")
      .value_name("DIR");
  options.add("tokenizer", s.tokenizer, concat(kTokenizerFolder, "; default: those beside --in")).value_name("DIR");
  options.add("batch", s.batch, "images at a time; of a text, windows to calibrate with, and an eighth as many to evaluate").at_least(1);
  options.add("eval_windows", s.eval_windows, "evaluate a GPT-2 on the first N windows only; 0: on all").at_least(0);
  add_device_option(options, s.device);
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(!s.in.empty() && !s.layer.empty() && !s.out.empty(), "--in FILE, --layer SPEC and --out DIR are needed");
  const auto given = [&](const char* option) { return options.source(option) != Source::default_value; };
  if (given("layer_at")) parse_places(s.layer_at);  // before anything is read, and an empty list too
  ASHLAR_CHECK(!s.calibrate.empty() || !(given("weighting") || given("samples")), "--weighting and --samples need --calibrate DIR");
  ASHLAR_CHECK(!s.data.empty() || !given("eval_windows"), "--eval-windows needs --data DIR");
  ASHLAR_CHECK(!s.data.empty() || !s.calibrate.empty() || !given("batch"), "--batch needs --data DIR or --calibrate DIR");
  ASHLAR_CHECK(s.layer.starts_with("blast") || !given("factorize"), "--factorize is how BLAST is found, and --layer is ", s.layer);
  const SafetensorsFile weights = open_weights("--in", s.in);
  const bool vit = weights.contains("patch_embed.proj.weight");
  ASHLAR_CHECK(!vit || !(given("tokenizer") || given("eval_windows")), "--tokenizer and --eval-windows are for a GPT-2, and ",
               s.in.string(), " is a ViT");
  std::error_code not_there;  // then they are not the same
  ASHLAR_CHECK(!std::filesystem::equivalent(s.out, s.in.parent_path() / ".", not_there), "--out ", s.out.string(),
               " is the folder of --in; give another one");
  RunFolder{s.out}.check(s.start());
  set_num_threads(s.threads);
  std::printf("%s\n", startup_line("compress", s.device, s.threads, "f32").c_str());
  if (vit) compress(s, weights, vit_subject(s, weights));
  else compress(s, weights, gpt_subject(s));
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
