// compress: projects the weight matrices of a trained model onto another structure, layer by layer.
#include <cstdio>

#include "core/files.h"
#include "core/parallel.h"
#include "core/safetensors.h"
#include "data/image_loader.h"
#include "data/locate.h"
#include "examples/models/saved.h"
#include "examples/support/evaluate.h"
#include "examples/support/program.h"
#include "examples/support/run_folder.h"
#include "examples/support/training_options.h"
#include "layers/convert.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  std::filesystem::path in, out, data, tokenizer;
  std::string layer, layer_at;
  std::int64_t batch = 64, eval_windows = 0;
  int threads = 0;
};

// A model with what is needed to judge it and to write it.
template <class Model>
struct Subject {
  std::function<std::unique_ptr<Model>(const BlockSpecs&)> make;  // with random weights
  BlockSpecs specs;                                               // of the file
  std::function<void(Model&, const SafetensorsFile&)> load;
  std::function<NamedArrays(const Model&)> save;
  std::function<EvalEvent(const Model&)> evaluate;  // empty without data
};

Subject<Vit> vit_subject(const Settings& s, const SafetensorsFile& weights) {
  const VitConfig config = read_vit_config(s.in.parent_path() / "config.json", weights);
  Subject<Vit> subject{
      .make =
          [config](const BlockSpecs& specs) {
            VitConfig own = config;
            own.linear = specs;
            return std::make_unique<Vit>(Scope::root(), own);
          },
      .specs = config.linear,
      .load = [](Vit& model, const SafetensorsFile& file) { import_weights(model, file, model.timm()); },
      .save = [](const Vit& model) { return export_weights(model, model.timm()); },
      .evaluate = {}};
  if (s.data.empty()) return subject;
  const data::ImageDataset dataset = data::load_images(s.data);
  const data::ImageEvaluation test(dataset.test, s.batch, data::channel_statistics(dataset.train));
  subject.evaluate = [test](const Vit& model) { return evaluate(model, test, 0); };
  return subject;
}

Subject<Gpt2> gpt_subject(const Settings& s) {
  const std::filesystem::path folder = s.in.parent_path();
  const GptConfig config = read_gpt_config(folder / "config.json");
  Subject<Gpt2> subject{
      .make =
          [config](const BlockSpecs& specs) {
            GptConfig own = config;
            own.linear = specs;
            return std::make_unique<Gpt2>(Scope::root(), own);
          },
      .specs = config.linear,
      .load = [](Gpt2& model, const SafetensorsFile& file) { model.load(file); },
      .save = [](const Gpt2& model) { return export_weights(model, Gpt2::huggingface()); },
      .evaluate = {}};
  if (s.data.empty()) return subject;
  const data::Tokenizer tokenizer = data::Tokenizer::load(s.tokenizer.empty() ? folder : s.tokenizer);
  const TextSplit split = validation_split(data::load_text(s.data), tokenizer, std::max<Dim>(1, s.batch / 8), config.context,
                                           s.eval_windows);
  subject.evaluate = [split](const Gpt2& model) { return evaluate(model, split, 0); };
  return subject;
}

template <class Model>
void judge(const char* when, const Subject<Model>& subject, Model& model) {
  const ModelCost cost = cost_of(model);
  std::printf("%s: %lld parameters, %lld in the weight matrices (%.1f %% of dense)", when,
              static_cast<long long>(cost.parameters), static_cast<long long>(cost.linear_parameters),
              100 * static_cast<double>(cost.linear_parameters) / static_cast<double>(cost.dense_linear_parameters));
  if (subject.evaluate) {
    model.eval();
    const NoGrad no_grad;
    std::printf("; %s", describe(subject.evaluate(model)).c_str());
  }
  std::printf("\n");
  std::fflush(stdout);
}

template <class Model>
void compress(const Settings& s, const SafetensorsFile& weights, const Subject<Model>& subject) {
  BlockSpecs specs = subject.specs;
  if (s.layer_at.empty()) {
    for (const std::string_view place : BlockSpecs::kPlaces) specs.at(place) = s.layer;
  } else {
    for (const std::string& place : parse_places(s.layer_at)) specs.at(place) = s.layer;
  }
  const auto old_model = subject.make(subject.specs), new_model = subject.make(specs);
  subject.load(*old_model, weights);
  judge("before", subject, *old_model);
  const auto projections = convert(*old_model, *new_model, [](const Projection& p, std::size_t index, std::size_t count) {
    if (p.old_spec == p.new_spec) return;
    std::printf("[%*zu/%zu] %-24s %s -> %s: relative error %.4f\n", static_cast<int>(std::to_string(count).size()), index + 1,
                count, p.path.c_str(), p.old_spec.c_str(), p.new_spec.c_str(), p.error);
    std::fflush(stdout);
  });
  std::printf("all matrices together: relative error %.4f\n", total_error(projections));
  judge("after", subject, *new_model);

  OrderedJson config = read_json(s.in.parent_path() / "config.json");
  for (const std::string_view place : BlockSpecs::kPlaces) config["linear"][std::string(place)] = specs.at(place);
  const RunFolder out{s.out};
  make_writable_folder(s.out);
  for (const char* name : {"encoder.json", "vocab.bpe"}) {
    const auto source = (s.tokenizer.empty() ? s.in.parent_path() : s.tokenizer) / name;
    if (std::filesystem::exists(source)) write_file(s.out / name, read_file(source));
  }
  write_safetensors(out.model(), subject.save(*new_model));
  write_json(out.config(), config);
  std::printf("written to %s; train on with --config %s --init-from %s\n", s.out.string().c_str(),
              out.config().string().c_str(), out.model().string().c_str());
}

void run(int argc, char** argv) {
  Settings s;
  Options options("compress", "Projects the weight matrices of a trained model onto another structure, or back to dense.");
  options.add("in", s.in, "model.safetensors of a run, or of a GPT-2 of Hugging Face, beside its config.json").value_name("FILE");
  options.add("layer", s.layer, "kind of the new weight matrices: low_rank:rank=96, blast:blocks=6,ratio=0.5, dense, …")
      .value_name("SPEC");
  options.add("layer_at", s.layer_at, "restrict --layer to these places, e.g. qkv,fc1,fc2").value_name("LIST");
  options.add("out", s.out, "folder for config.json and model.safetensors").value_name("DIR");
  options.add("data", s.data, "folder with the data to evaluate on before and after").value_name("DIR");
  options.add("tokenizer", s.tokenizer, "folder with encoder.json and vocab.bpe, if not beside the model").value_name("DIR");
  options.add("batch", s.batch, "samples evaluated at a time").at_least(1);
  options.add("eval_windows", s.eval_windows, "evaluate a GPT-2 on the first N windows only; 0: on all").at_least(0);
  options.add("threads", s.threads, "threads; 0: one for each core").at_least(0).at_most(4096);
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(!s.in.empty() && !s.layer.empty() && !s.out.empty(), "compress: --in FILE, --layer SPEC and --out DIR are needed");
  ASHLAR_CHECK(!std::filesystem::exists(s.out) || !std::filesystem::equivalent(s.out, s.in.parent_path() / "."),
               "compress: --out ", s.out.string(), " is the folder of --in; give another one");
  if (s.threads) set_num_threads(s.threads);
  const SafetensorsFile weights(s.in);
  if (weights.contains("patch_embed.proj.weight")) compress(s, weights, vit_subject(s, weights));
  else compress(s, weights, gpt_subject(s));
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
