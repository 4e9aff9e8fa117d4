#include "examples/models/saved.h"

#include <cmath>

namespace ashlar {
namespace {

class Config {
 public:
  explicit Config(const std::filesystem::path& path) : path_(path.string()), json_(read_json(path)) {}

  Dim integer(const char* key) const {
    ASHLAR_CHECK(json_.contains(key) && json_[key].is_number_integer(), path_, ": key '", key,
                 "' is missing or not a whole number; this is not the config.json of such a model");
    return json_[key].get<Dim>();
  }
  Dim integer_or(const char* key, Dim otherwise) const {
    return json_.contains(key) && json_[key].is_number_integer() ? json_[key].get<Dim>() : otherwise;
  }
  bool flag_or(const char* key, bool otherwise) const {
    return json_.contains(key) && json_[key].is_boolean() ? json_[key].get<bool>() : otherwise;
  }
  std::string text_or(const char* key, const char* otherwise) const {
    return json_.contains(key) && json_[key].is_string() ? json_[key].get<std::string>() : otherwise;
  }
  BlockSpecs specs() const {
    BlockSpecs specs;
    if (!json_.contains("linear")) return specs;
    for (const std::string_view place : BlockSpecs::kPlaces) {
      specs.at(place) = json_["linear"].value(std::string(place), specs.at(place));
    }
    return specs;
  }

 private:
  std::string path_;
  Json json_;
};

const std::vector<Dim>& shape_of(const SafetensorsFile& file, const std::string& name, std::size_t ndim) {
  const auto found = file.entries().find(name);
  ASHLAR_CHECK(found != file.entries().end() && found->second.shape.size() == ndim, file.path().string(), ": has no ", name,
               " of ", ndim, " dimensions; these are not the weights of a ViT");
  return found->second.shape;
}

}  // namespace

OrderedJson huggingface_config(const GptConfig& c) {
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"vocab_size", c.vocab},
          {"n_positions", c.context},
          {"n_embd", c.width},
          {"n_layer", c.depth},
          {"n_head", c.heads},
          {"n_inner", c.hidden ? c.hidden : 4 * c.width},
          {"activation_function", "gelu_new"},
          {"layer_norm_epsilon", 1e-5},
          {"tie_word_embeddings", true}};
}

GptConfig read_gpt_config(const std::filesystem::path& path) {
  const Config config(path);
  return {.vocab = config.integer("vocab_size"),
          .context = config.integer("n_positions"),
          .width = config.integer("n_embd"),
          .depth = config.integer("n_layer"),
          .heads = config.integer("n_head"),
          .hidden = config.integer_or("n_inner", 0),
          .linear = config.specs()};
}

VitConfig read_vit_config(const std::filesystem::path& path, const SafetensorsFile& weights) {
  const Config config(path);
  VitConfig result{.patch = config.integer("patch"),
                   .width = config.integer("width"),
                   .depth = config.integer("depth"),
                   .heads = config.integer("heads"),
                   .hidden = config.integer_or("hidden", 0),
                   .class_token = config.flag_or("class_token", true),
                   .linear = config.specs(),
                   .gelu = gelu_named(config.text_or("gelu", "erf"))};
  result.channels = shape_of(weights, "patch_embed.proj.weight", 4)[1];
  result.classes = shape_of(weights, "head.weight", 2)[0];
  const Dim tokens = shape_of(weights, "pos_embed", 3)[1] - result.class_token;
  const auto grid = static_cast<Dim>(std::lround(std::sqrt(static_cast<double>(tokens))));
  ASHLAR_CHECK(grid * grid == tokens, weights.path().string(), ": ", tokens, " positions are not those of a square image");
  result.image = grid * result.patch;
  return result;
}

}  // namespace ashlar
