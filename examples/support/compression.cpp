#include "examples/support/compression.h"

#include "data/image_loader.h"
#include "data/locate.h"
#include "examples/models/saved.h"
#include "examples/support/option_values.h"
#include "examples/support/training_options.h"

namespace ashlar::support {
namespace {

constexpr std::uint64_t kCalibrationSeed = 1;  // of the order in which samples are taken

// Makes models of such a config with the matrices that are asked for.
template <class Model, class Config>
auto maker(const CompressionOptions& s, Config config) {
  return [config, scope = s.scope()](const BlockSpecs& specs) mutable {
    config.linear = specs;
    return std::make_unique<Model>(scope, config);
  };
}

// What the config of a run tells the program that trains on: not where that run lay and what it began with.
OrderedJson config_to_train_on(const std::filesystem::path& file) {
  OrderedJson config = read_json(file);
  for (const char* key : {"out", "init_from", "new_head"}) config.erase(key);
  return config;
}

// Images of one size; where all are for training, without those that train_vit kept for validation when it trained on the same,
// or would have.
data::ImageDataset images_of_run(const std::filesystem::path& path, Dim size, const std::filesystem::path& config_file) {
  data::ImageDataset dataset = data::load_images(path, size);
  if (dataset.test.size() + dataset.valid.size() > 0) return dataset;
  const JsonObject config(read_json(config_file), config_file.string());
  const double fraction = data::held_out_fraction(dataset, config.number("valid_fraction", 0));
  const std::int64_t seed = config.integer("seed", 1);
  return data::hold_out(std::move(dataset), fraction, static_cast<std::uint64_t>(seed));
}

// What train_gpt needs to know of a model that may be one of Hugging Face's, whose config has keys that it does not know, and
// does not say what to train it on.
OrderedJson gpt_config_json(const CompressionOptions& s, const std::filesystem::path& file, GptConfig config) {
  config.linear = new_specs(s, config.linear);
  OrderedJson json = config_to_train_on(file);
  if (!json.contains("width")) {  // not one of ours
    json = OrderedJson::object();
    if (!s.data.empty()) check_utf8(json["data"] = std::filesystem::absolute(s.data).string(), "--data");
  }
  json.update(huggingface_config(config));
  json["width"] = config.width;
  json["depth"] = config.depth;
  json["heads"] = config.heads;
  json["hidden"] = config.hidden;
  json["context"] = config.context;
  json["tokenizer"] = "";  // that beside the weights, wherever they are moved to
  return json;
}

}  // namespace

BlockSpecs new_specs(const CompressionOptions& s, BlockSpecs old) {
  if (s.layer_at.empty()) return BlockSpecs::everywhere(s.layer);
  for (const std::string& place : parse_places(s.layer_at)) old.at(place) = s.layer;
  return old;
}

Subject<Vit> vit_subject(const CompressionOptions& s, const SafetensorsFile& weights) {
  const std::filesystem::path config_file = s.in.parent_path() / "config.json";
  const VitConfig config = read_vit_config(config_file, weights);
  Subject<Vit> subject{
      .make = maker<Vit>(s, config),
      .specs = config.linear,
      .load = [](Vit& model, const SafetensorsFile& file) { import_weights(model, file, model.timm()); },
      .save = [](const Vit& model) { return export_weights(model, model.timm()); },
      .train_on = "train_vit",
      .config = config_to_train_on(config_file),
      .tokenizer = {},
      .split = "test",
      .evaluate = {},
      .calibration_samples = 0,
      .calibration_loss = {}};
  if (!s.data.empty()) {
    const data::ImageDataset dataset = images_of_run(s.data, config.image, config_file);
    const bool has_test = dataset.test.size() > 0;
    if (!has_test) subject.split = "valid";
    const data::ImageEvaluation images(has_test ? dataset.test : dataset.valid, s.batch,
                                       normalisation_of({config_file}, dataset, true));
    subject.evaluate = [images](const Vit& model, const EvalProgress& progress) { return evaluate(model, images, progress); };
  }
  if (!s.calibrate.empty()) {
    const data::ImageDataset dataset = images_of_run(s.calibrate, config.image, config_file);
    subject.calibration_samples = dataset.train.size();
    const bool tell_classes = s.calibrate != s.data;  // else they have been told
    subject.calibration_loss = [train = dataset.train, seen = normalisation_of({config_file}, dataset, tell_classes)](Dim batch) {
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

Subject<Gpt2> gpt_subject(const CompressionOptions& s) {
  const std::filesystem::path folder = s.in.parent_path(), vocabulary = s.tokenizer.empty() ? folder : s.tokenizer;
  const GptConfig config = read_gpt_config(folder / "config.json");
  const bool needs_vocabulary = !s.data.empty() || !s.calibrate.empty();
  const bool has_vocabulary = needs_vocabulary || data::Tokenizer::is_in(vocabulary);
  ASHLAR_CHECK(has_vocabulary || !data::Tokenizer::is_in(s.out), "--out ", s.out.string(), " holds a vocabulary and ",
               vocabulary.string(), " none, so that it would seem the new model's; give --tokenizer DIR, or another --out");
  Subject<Gpt2> subject{
      .make = maker<Gpt2>(s, config),
      .specs = config.linear,
      .load = [](Gpt2& model, const SafetensorsFile& file) { model.load(file); },
      .save = [](const Gpt2& model) { return export_weights(model, Gpt2::huggingface()); },
      .train_on = has_vocabulary ? "train_gpt" : "train_gpt --tokenizer DIR",
      .config = gpt_config_json(s, folder / "config.json", config),
      .tokenizer = {},
      .split = "valid",
      .evaluate = {},
      .calibration_samples = 0,
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
    subject.calibration_samples = static_cast<Dim>(data::TokenLoader(tokens, 1, config.context, kCalibrationSeed).steps_per_epoch());
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

}  // namespace ashlar::support
