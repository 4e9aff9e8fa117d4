// The training loop that the programs share: steps, gradient accumulation, clipping, schedule, evaluation, metrics,
// checkpoints, resuming, stopping.
#pragma once
#include <functional>

#include "autograd/tensor.h"
#include "examples/support/metrics.h"
#include "examples/support/run_folder.h"
#include "examples/support/training_options.h"
#include "layers/module.h"

namespace ashlar::support {

// What a model reads in a training step: arrays in an order that its task knows, of the same shapes every time or
// undefined, and the targets among them that count.
struct Batch {
  std::vector<Array> arrays;
  Dim counted = 0;
};

// Held-out data that a model is judged by. Called without gradients, with the model in eval mode.
struct Evaluation {
  std::string split;
  std::function<Score(const EvalProgress& progress)> run;
};

// What is trained, seen from the loop.
struct TrainingTask {
  std::string program;
  Module& model;
  Unit unit = Unit::sample;
  ModelEvent event;
  std::int64_t units_per_step = 0;  // samples or tokens
  double steps_per_epoch = 0;
  // Batch `index`, on the host; step s consists of the batches s * accumulate … (s + 1) * accumulate - 1.
  std::function<Batch(std::int64_t index)> batch;
  // Records its mean loss.
  std::function<Tensor(const Batch& batch)> loss;
  std::vector<Evaluation> evaluations;  // the first every --eval-every steps, all at the end
  // Writes what the model needs beside its weights, when a new run begins; may be empty.
  std::function<void(const RunFolder& folder)> save_vocabulary = {};
  // Writes the weights of the model, and reads them again, for --keep-best.
  std::function<void(const RunFolder& folder)> save_model, load_model = {};
};

// `macs` and `dense_macs` are those of a sample or token.
ModelEvent model_event(const Module& model, std::int64_t macs, std::int64_t dense_macs, const TrainingOptions& options);

// InputError unless the model can be trained by the optimizer with its settings, for programs to tell before they read data,
// which may take minutes. The model may be one block of the whole one, to whose parameters --groups are left.
void check_optimizer(const Module& model, const TrainingOptions& options);

// Runs to the end and leaves config.json, metrics.jsonl, checkpoint/, model.safetensors and report.html in options.out,
// which no other run may enter meanwhile. Nothing of an earlier run is touched before everything given is known to be good.
// A loss or gradient that is not finite ends the run with a Divergence that names the step and the gradient, before anything
// of that step is saved. A GPU is one step ahead of what is reported.
void train(const TrainingTask& task, const TrainingOptions& options, const OrderedJson& resolved_config);

}  // namespace ashlar::support
