// compress: projects the weight matrices of a trained model onto another structure, layer by layer.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "core/rounding.h"
#include "core/safetensors.h"
#include "examples/models/saved.h"
#include "examples/support/child.h"
#include "examples/support/compression.h"
#include "examples/support/format.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/training_options.h"
#include "layers/calibrate.h"
#include "layers/convert.h"
#include "layers/linear_spec.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

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
Calibration calibrate(const CompressionOptions& s, const Subject<Model>& subject, Model& model, const std::set<std::string>& paths) {
  const bool fisher = s.weighting == "fisher";
  // The Fisher information is made of the gradients of single samples.
  const Dim all = subject.calibration_samples, batch = fisher ? 1 : std::min<Dim>({s.batch, s.samples, all});
  const Dim count = std::min(ceil_div(s.samples, batch), all / batch);  // none twice
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

// Leaves the model in --out and says how to train it on.
template <class Model>
void write(const CompressionOptions& s, const Subject<Model>& subject, BlockSpecs specs, const Model& model) {
  OrderedJson config = subject.config;
  for (const std::string_view place : BlockSpecs::kPlaces) config["linear"][std::string(place)] = specs.at(place);
  const RunFolder out{s.out};
  const FolderLock lock = out.hold(s.start());
  const std::filesystem::path new_weights = s.out / "new.safetensors";  // what is there stays until this is written
  write_weights(new_weights, subject.save(model));
  out.begin(s.start(), config);
  if (subject.tokenizer) subject.tokenizer->save(s.out);
  std::filesystem::rename(new_weights, out.model());
  // A tenth of the first one is mostly a good rate to begin with.
  const auto first_lr = config.find("lr");
  const bool known = first_lr != config.end() && first_lr->is_number();
  const std::string lr = known ? concat(" --lr ", first_lr->template get<double>() / 10) : "";
  const char* data = config.contains("data") ? "" : " --data DIR";  // else it would be made up
  std::printf("written to %s; train on%s: %s%s --config %s%s --init-from %s --out %s\n", s.out.string().c_str(),
              known ? "" : ", with a lower --lr than at first", subject.train_on.c_str(), data, shell_word(out.config().string()).c_str(),
              lr.c_str(), shell_word(out.model().string()).c_str(),
              shell_word((s.out / ".." / (out.name() + "-trained")).lexically_normal().string()).c_str());
}

template <class Model>
void compress(const CompressionOptions& s, const SafetensorsFile& weights, const Subject<Model>& subject) {
  BlockSpecs specs = new_specs(s, subject.specs);
  const auto old_model = subject.make(subject.specs), new_model = subject.make(specs);
  std::set<std::string> changing;
  if (!s.calibrate.empty()) {
    changing = changing_maps(*old_model, *new_model);
    ASHLAR_CHECK(!changing.empty(), "--calibrate: all matrices are ", s.layer, " already; leave it out");
  }
  subject.load(*old_model, weights);
  judge("before", subject, *old_model);
  const Calibration calibration = changing.empty() ? Calibration() : calibrate(s, subject, *old_model, changing);
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
        const std::string of_outputs = calibration.contains(p.path) ? concat(", weighted ", fixed(p.weighted_error)) : "";
        progress.message(concat(p.path, "  ", p.old_spec, " -> ", p.new_spec, ": relative error ", fixed(p.error),
                                of_outputs));
      }
      progress.update(static_cast<std::int64_t>(index) + 1, static_cast<std::int64_t>(count), p.path);
    }, options);
  }
  std::printf("all matrices together: relative error %s\n", fixed(total_error(projections)).c_str());
  judge("after", subject, *new_model);

  write(s, subject, specs, *new_model);
}

void run(int argc, char** argv) {
  CompressionOptions s;
  Options options("compress", "Projects the weight matrices of a trained model onto another structure, or back to dense. The "
                              "device evaluates and calibrates; the projections are LAPACK's, on the CPU.");
  options.add("in", s.in, "model.safetensors of a run, or of a GPT-2 of Hugging Face, beside its config.json").value_name("FILE");
  options.add("layer", s.layer,
              "kind of the new weight matrices, such as blast:blocks=6,ratio=0.5; kinds and their keys: " + linear_kinds())
      .value_name("SPEC");
  options.add("layer_at", s.layer_at, "restrict --layer to these places, e.g. qkv,fc1,fc2").value_name("LIST");
  options.add("out", s.out, "folder for config.json and model.safetensors").value_name("DIR");
  options.add("overwrite", s.overwrite, "replace the run or the model that --out holds").flag_only();
  options.add("data", s.data, "data to evaluate on before and after, as for --data of train_vit or train_gpt; images are scaled and "
                              "cropped to the model's size")
      .value_name("DIR");
  options.add("factorize", s.factorize, "how BLAST factors are found: preconditioned descent or alternating least squares")
      .choices({"precgd", "als"});
  options.add("calibrate", s.calibrate, "data of the same kinds, whose train split tells which errors matter").value_name("DIR");
  options.add("weighting", s.weighting, "what --calibrate learns: the inputs of each matrix, or the Fisher information of its rows")
      .choices({"activation", "fisher"});
  options.add("samples", s.samples, "images or windows of text that --calibrate looks at, in whole batches and none twice").at_least(1);
  options.add("tokenizer", s.tokenizer, concat(kTokenizerFolder, "; default: those beside --in")).value_name("DIR");
  options.add("batch", s.batch, "images at a time, or windows of text in calibration; text is evaluated with an eighth as many")
      .at_least(1);
  options.add("eval_windows", s.eval_windows, "evaluate a GPT-2 only on the first N windows; 0: on all").at_least(0);
  add_device_option(options, s.device);
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(!s.in.empty() && !s.layer.empty() && !s.out.empty(), "--in FILE, --layer SPEC and --out DIR are needed");
  if (options.given("layer_at")) parse_places(s.layer_at);  // before anything is read, and an empty list too
  ASHLAR_CHECK(!s.calibrate.empty() || !(options.given("weighting") || options.given("samples")), "--weighting and --samples need --calibrate DIR");
  ASHLAR_CHECK(!s.data.empty() || !options.given("eval_windows"), "--eval-windows needs --data DIR");
  ASHLAR_CHECK(!s.data.empty() || !s.calibrate.empty() || !options.given("batch"), "--batch needs --data DIR or --calibrate DIR");
  ASHLAR_CHECK(s.layer.starts_with("blast") || !options.given("factorize"), "--factorize is how BLAST is found, and --layer is ", s.layer);
  const SafetensorsFile weights = open_weights("--in", s.in);
  const bool vit = weights.contains("patch_embed.proj.weight");
  ASHLAR_CHECK(!vit || !(options.given("tokenizer") || options.given("eval_windows")), "--tokenizer and --eval-windows are for a GPT-2, and ",
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
