// The trained models that `compress` takes, ViT and GPT-2: what it needs to know of each to read, judge, calibrate and write it.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/json.h"
#include "core/safetensors.h"
#include "data/tokenizer.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "examples/support/evaluate.h"
#include "examples/support/run_folder.h"

namespace ashlar::support {

// What `compress --help` explains.
struct CompressionOptions {
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
  Dim calibration_samples = 0;  // images or windows of the data to calibrate with
  // The loss of batch `index`, of so many samples, of them.
  std::function<std::function<Tensor(const Model&, Dim index)>(Dim batch)> calibration_loss;
};

// InputError naming the file of config, weights, data or vocabulary that is missing or unfit.
Subject<Vit> vit_subject(const CompressionOptions& options, const SafetensorsFile& weights);
Subject<Gpt2> gpt_subject(const CompressionOptions& options);

// Of the matrices that are written, where those that are read have the specs `old`.
BlockSpecs new_specs(const CompressionOptions& options, BlockSpecs old);

}  // namespace ashlar::support
