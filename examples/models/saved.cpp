#include "examples/models/saved.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/text.h"
#include "layers/linear_spec.h"

namespace ashlar {
namespace {

// Sizes, ids and positions are 32-bit numbers.
Dim size(const JsonObject& config, const char* key, Dim least) {
  constexpr Dim kMost = std::numeric_limits<std::int32_t>::max();
  const Dim value = config.integer(key);
  ASHLAR_CHECK(value >= least && value <= kMost, config.where(key), value, " is not possible; use ", least, " to ", kMost);
  return value;
}

// 0 where the width inside the MLP is the usual one.
Dim hidden_size(const JsonObject& config, const char* key) { return config.has(key) ? size(config, key, 0) : 0; }

BlockSpecs specs_of(const JsonObject& config) {
  const JsonObject linear = config.object("linear");
  BlockSpecs specs;
  for (const std::string_view place : BlockSpecs::kPlaces) {
    specs.at(place) = linear.text(std::string(place), specs.at(place));
  }
  return specs;
}

// Variants that Hugging Face's GPT-2 has and this one has not. reorder_and_upcast_attn only rounds differently.
void check_variant(const JsonObject& config) {
  const std::string activation = config.text("activation_function", "gelu_new");
  ASHLAR_CHECK(activation == "gelu_new" || activation == "gelu_pytorch_tanh", config.where("activation_function"), "'",
               activation, "' is not possible; use gelu_new or gelu_pytorch_tanh");
  const double eps = config.number("layer_norm_epsilon", kGptEps);
  ASHLAR_CHECK(eps == kGptEps, config.where("layer_norm_epsilon"), eps, " is not possible; use ", kGptEps);
  constexpr std::pair<const char*, bool> kFlags[] = {
      {"scale_attn_weights", true}, {"scale_attn_by_inverse_layer_idx", false}, {"tie_word_embeddings", true}};
  for (const auto& [key, needed] : kFlags) {
    ASHLAR_CHECK(config.flag(key, needed) == needed, config.where(key), needed ? "false" : "true", " is not possible; use ",
                 needed ? "true" : "false");
  }
}

const std::vector<Dim>& shape_of(const SafetensorsFile& file, const std::string& name, std::size_t ndim) {
  const auto found = file.entries().find(name);
  ASHLAR_CHECK(found != file.entries().end() && found->second.shape.size() == ndim, file.path().string(), ": has no ", name,
               " of ", ndim, " dimensions; these are not the weights of a ViT");
  return found->second.shape;
}

}  // namespace

std::string program_of(const Json& config) {
  return config.contains("patch") ? "train_vit" : config.contains("context") || config.contains("n_positions") ? "train_gpt" : "";
}

void check_model_folder(const std::filesystem::path& model, const std::string& trainer) {
  ASHLAR_CHECK(!model.empty(), "--model DIR is needed, the --out of ", trainer);
  std::error_code not_there;
  ASHLAR_CHECK(!std::filesystem::is_regular_file(model, not_there), "--model ", model.string(), " is a file; give its folder, ",
               model.has_parent_path() ? model.parent_path().string() : ".");
  ASHLAR_CHECK(std::filesystem::exists(model / "config.json", not_there), "--model ", model.string(),
               ": there is no config.json; give a folder that has one, such as the --out of ", trainer);
  ASHLAR_CHECK(std::filesystem::exists(model / "model.safetensors", not_there), "--model ", model.string(),
               ": there are no weights, model.safetensors; a run of ", trainer, " leaves them when it ends");
}

SafetensorsFile open_weights(const char* option, const std::filesystem::path& path) {
  constexpr const char* kModel = "model.safetensors";
  std::error_code not_there;  // which opening it tells
  ASHLAR_CHECK(!std::filesystem::is_directory(path, not_there), option, ' ', path.string(),
               " is a folder; give the file with its weights, ", (path / kModel).string());
  SafetensorsFile file(path);
  ASHLAR_CHECK(!file.metadata().contains("elapsed"), option, ' ', path.string(), " is the checkpoint of a run; give ",
               (path.parent_path() / ".." / kModel).lexically_normal().string());
  return file;
}

void write_weights(const std::filesystem::path& path, const NamedArrays& weights) {
  write_safetensors(path, weights, {{"format", "pt"}});
}

void check_logits(const std::vector<float>& logits, const std::filesystem::path& weights) {
  ASHLAR_CHECK(std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }), weights.string(),
               ": these weights give logits that are not finite; the file is damaged, or its training diverged");
}

OrderedJson huggingface_config(const GptConfig& c) {
  // Without them transformers takes those of GPT-2's own vocabulary.
  const OrderedJson end_of_text = c.end_of_text ? OrderedJson(*c.end_of_text) : OrderedJson(nullptr);
  // With structured matrices it must refuse the model, whose missing weights it would draw at random.
  const bool dense = c.linear == BlockSpecs{};
  return {{"model_type", dense ? "gpt2" : "ashlar_gpt2"},
          {"architectures", {dense ? "GPT2LMHeadModel" : "AshlarGPT2"}},
          {"vocab_size", c.vocab},
          {"n_positions", c.context},
          {"n_embd", c.width},
          {"n_layer", c.depth},
          {"n_head", c.heads},
          {"n_inner", c.hidden ? c.hidden : 4 * c.width},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", kGptEps},
          {"tie_word_embeddings", true},
          {"bos_token_id", end_of_text},
          {"eos_token_id", end_of_text}};
}

GptConfig read_gpt_config(const std::filesystem::path& path) {
  const Json json = read_json(path);
  ASHLAR_CHECK(!json.is_object() || program_of(json) != "train_vit", path.string(),
               ": belongs to a ViT, a model of train_vit; give a GPT-2, such as train_gpt leaves, or use classify");
  const JsonObject config(json, path.string());
  check_variant(config);
  return {.vocab = size(config, "vocab_size", 1),
          .context = size(config, "n_positions", 1),
          .width = size(config, "n_embd", 1),
          .depth = size(config, "n_layer", 0),
          .heads = size(config, "n_head", 1),
          .hidden = hidden_size(config, "n_inner"),
          .linear = specs_of(config),
          .end_of_text = config.has("eos_token_id") ? std::optional(config.integer("eos_token_id")) : std::nullopt};
}

void check_same_network(const std::string& option, const std::filesystem::path& config_file, const Network& network) {
  std::error_code not_there;
  if (!std::filesystem::exists(config_file, not_there)) return;
  const Json json = read_json(config_file);
  if (!json.is_object() || program_of(json).empty()) return;
  const JsonObject config(json, config_file.string());
  const bool gpt = program_of(json) == "train_gpt";
  if (gpt) check_variant(config);
  const auto check = [&](const std::string& what, const std::string& its, const std::string& ours) {
    ASHLAR_CHECK(its == ours, option, ": by ", config_file.string(), " these are weights of a network with ", what, ' ', its,
                 ", and not ", ours, ", of the same shapes; give --", what, ' ', its, ", or all of it with --config");
  };
  check("heads", std::to_string(config.integer(gpt ? "n_head" : "heads")), std::to_string(network.heads));
  if (!gpt) check("gelu", config.text("gelu", "erf"), network.gelu);
  const Dim width = network.width, hidden = network.hidden ? network.hidden : 4 * width;
  const auto check_map = [&](const std::string& place, Dim in, Dim out, const std::string& its, const std::string& ours) {
    const auto written_out = [&](const std::string& spec) {
      return make_linear_map(Scope::root().for_loading(), in, out, spec, {})->spec();
    };
    check("linear." + place, written_out(its), written_out(ours));
  };
  const BlockSpecs its = specs_of(config), &ours = network.linear;
  check_map("qkv", width, 3 * width, its.qkv, ours.qkv);
  check_map("proj", width, width, its.proj, ours.proj);
  check_map("fc1", width, hidden, its.fc1, ours.fc1);
  check_map("fc2", hidden, width, its.fc2, ours.fc2);
}

void check_vocabulary(Dim tokens, Dim rows, const std::filesystem::path& weights) {
  ASHLAR_CHECK(rows >= tokens, weights.string(), ": the embedding has ", rows, " rows and the vocabulary ", tokens,
               " tokens; give the folder of the model's own as --tokenizer");
}

VitConfig read_vit_config(const std::filesystem::path& path, const SafetensorsFile& weights) {
  const Json json = read_json(path);
  ASHLAR_CHECK(!json.is_object() || program_of(json) != "train_gpt", path.string(),
               ": belongs to a GPT-2, a model of train_gpt; give a ViT, such as train_vit leaves, or use generate");
  const JsonObject config(json, path.string());
  VitConfig result{.patch = size(config, "patch", 1),
                   .width = size(config, "width", 1),
                   .depth = size(config, "depth", 0),
                   .heads = size(config, "heads", 1),
                   .hidden = hidden_size(config, "hidden"),
                   .class_token = config.flag("class_token", true),
                   .linear = specs_of(config),
                   .gelu = gelu_named(config.text("gelu", "erf"))};
  result.channels = shape_of(weights, "patch_embed.proj.weight", 4)[1];
  result.classes = shape_of(weights, "head.weight", 2)[0];
  const Dim tokens = shape_of(weights, "pos_embed", 3)[1] - result.class_token;
  ASHLAR_CHECK(tokens >= 1, weights.path().string(), ": pos_embed has no positions of image patches");
  const auto grid = static_cast<Dim>(std::lround(std::sqrt(static_cast<double>(tokens))));
  ASHLAR_CHECK(grid * grid == tokens, weights.path().string(), ": ", tokens, " positions are not those of a square image");
  result.image = grid * result.patch;
  return result;
}

OrderedJson vit_data_config(const VitData& data) {
  return {{"image_mean", data.normalisation.mean}, {"image_std", data.normalisation.std}, {"class_names", data.class_names}};
}

namespace {

// By the keys of ours, or those that timm has in the "pretrained_cfg" of its config.json.
data::Normalisation read_normalisation(const JsonObject& config, const char* mean, const char* std) {
  const auto channels = [&](const char* key) {
    const std::vector<double> numbers = config.numbers(key);
    std::array<float, 3> result{};
    ASHLAR_CHECK(numbers.size() == result.size(), config.where(key), "needs 3 numbers, of red, green and blue, got ", numbers.size());
    std::ranges::transform(numbers, result.begin(), [](double number) { return static_cast<float>(number); });
    return result;
  };
  return {channels(mean), channels(std)};
}

}  // namespace

VitData read_vit_data(const std::filesystem::path& path, Dim classes) {
  const JsonObject config(read_json(path), path.string());
  for (const char* key : {"image_mean", "image_std", "class_names"}) {
    ASHLAR_CHECK(config.has(key), config.where(key), "is missing, and images cannot be classified without it; train_vit --resume adds "
                 "it to a run, and --init-from FILE --steps 0 makes a run with it of other weights");
  }
  const VitData data{read_normalisation(config, "image_mean", "image_std"), config.texts("class_names")};
  ASHLAR_CHECK(static_cast<Dim>(data.class_names.size()) == classes, config.where("class_names"), "has ", data.class_names.size(),
               " names, and the weights are for ", classes, " classes");
  return data;
}

data::Normalisation normalisation_of(const std::vector<std::filesystem::path>& configs, const data::ImageDataset& dataset, bool classes) {
  for (const std::filesystem::path& file : configs) {
    std::error_code not_there;
    if (!std::filesystem::exists(file, not_there)) continue;
    const JsonObject config(read_json(file), file.string()), of_timm = config.object("pretrained_cfg");
    const std::vector<std::string> names = config.has("class_names") ? config.texts("class_names") : dataset.class_names;
    if (classes && names != dataset.class_names) {
      std::printf("note: these weights were trained to tell %s apart, the data has %s\n", join_first(names).c_str(),
                  join_first(dataset.class_names).c_str());
    }
    if (config.has("image_mean")) return read_normalisation(config, "image_mean", "image_std");
    if (of_timm.has("mean")) return read_normalisation(of_timm, "mean", "std");
  }
  return data::channel_statistics(dataset.train);
}

}  // namespace ashlar
