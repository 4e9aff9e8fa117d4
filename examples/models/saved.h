// What kind of model lies in a folder: the config.json and model.safetensors that train_vit and train_gpt leave, or
// that Hugging Face publishes for a GPT-2.
#pragma once
#include <filesystem>

#include "core/json.h"
#include "data/image_loader.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"

namespace ashlar {

// What --tokenizer of the programs names, for their --help.
inline constexpr const char* kTokenizerFolder = "folder with vocab.json and merges.txt, encoder.json and vocab.bpe, or tokenizer.json";

// The program whose runs have such a config, "train_vit" or "train_gpt", by a key that only they have; empty for others.
std::string program_of(const Json& config);

// InputError unless the --model of a program is a folder with a config.json and weights, such as `trainer` leaves.
void check_model_folder(const std::filesystem::path& model, const std::string& trainer);

// The file with weights that `option` names. InputError saying what it is and what to give instead for a folder, and for the
// checkpoint of a run.
SafetensorsFile open_weights(const char* option, const std::filesystem::path& path);

// A model.safetensors, with the metadata that Hugging Face transformers before 4.48 does not load it without.
void write_weights(const std::filesystem::path& path, const NamedArrays& weights);

// InputError naming the file of the weights, unless all the logits that they give are finite.
void check_logits(const std::vector<float>& logits, const std::filesystem::path& weights);

// The keys by which Hugging Face transformers knows a GPT-2, and by which it knows that it does not have this one, where
// matrices are structured.
OrderedJson huggingface_config(const GptConfig& config);

// From a config.json with those keys, and ours for the kinds of the weight matrices ("linear"). InputError naming the
// file and the key that is missing, of the wrong type, or of a variant of GPT-2 that this one does not compute; and for the
// config of a ViT.
GptConfig read_gpt_config(const std::filesystem::path& path);

// What a network computes and the shapes of its weights do not tell.
struct Network {
  Dim width, heads, hidden;  // hidden: inside the MLP; 0: 4 width
  BlockSpecs linear;
  std::string gelu;  // erf or tanh
};
// InputError, which begins with `option`, where the config.json of weights that fit tells that they are of a network that
// computes something else: of other heads, another GELU, other orders within its matrices, or a variant of GPT-2 that this one
// is not. Without such a file, or if it is of something else, nothing is checked.
void check_same_network(const std::string& option, const std::filesystem::path& config_file, const Network& network);

// InputError where a vocabulary has more tokens than the embedding of the model in `weights` has rows. It may have fewer: rows
// are often padded to a multiple of 64.
void check_vocabulary(Dim tokens, Dim rows, const std::filesystem::path& weights);

// From the config.json of a run of train_vit and the shapes of its weights; the same errors.
VitConfig read_vit_config(const std::filesystem::path& path, const SafetensorsFile& weights);

// What the data that a ViT was trained on say of its use: how pixels become its input, and what its outputs stand for.
struct VitData {
  data::Normalisation normalisation;
  std::vector<std::string> class_names;
};
// The keys of config.json that keep it: "image_mean" and "image_std" of red, green and blue, of pixels on the scale 0..1, as in
// the image processors of Hugging Face, and "class_names".
OrderedJson vit_data_config(const VitData& data);
// From a config.json with those keys. InputError naming the file and the key that is missing or unfit for so many classes.
VitData read_vit_data(const std::filesystem::path& path, Dim classes);
// How a ViT takes the pixels of `dataset`: as the first config that tells it says, ours or timm's ("pretrained_cfg"), or else by the
// statistics of the training images. What is not there is passed over. With `classes`, tells on stdout where it learned other
// ones than the dataset has.
data::Normalisation normalisation_of(const std::vector<std::filesystem::path>& configs, const data::ImageDataset& dataset, bool classes);

}  // namespace ashlar
