// train_vit: trains a vision transformer on CIFAR, a folder of images, or images that it draws itself.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/determinism.h"
#include "core/safetensors.h"
#include "data/image_loader.h"
#include "data/locate.h"
#include "data/prefetch.h"
#include "examples/models/saved.h"
#include "examples/support/evaluate.h"
#include "examples/support/program.h"
#include "examples/support/system.h"
#include "examples/support/trainer.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  TrainingOptions training;
  VitConfig vit;
  data::Augmentation augmentation;
  double label_smoothing = 0.1;
  std::string gelu = "erf";
};

void add_options(Options& options, Settings& s) {
  s.training.out = "runs/vit";
  add_training_options(options, s.training, "folder with CIFAR-10 or CIFAR-100 (binary), or images in train/CLASS/ and test/CLASS/");
  options.group("Model");
  options.add("width", s.vit.width, "width of the residual stream").at_least(1);
  options.add("depth", s.vit.depth, "number of blocks").at_least(0);
  options.add("heads", s.vit.heads, "attention heads").at_least(1);
  options.add("patch", s.vit.patch, "side of a patch in pixels").at_least(1);
  options.add("hidden", s.vit.hidden, "width inside the MLP; 0: four times the width").at_least(0);
  options.add("class_token", s.vit.class_token, "read the class from a token of its own instead of the mean");
  options.add("gelu", s.gelu, "formula of GELU; a GPU computes that with tanh inside products")
      .choices({"erf", "tanh"})
      .value_name("NAME");
  options.add("dropout", s.vit.dropout, "dropout on the branches").at_least(0).at_most(0.99);
  options.add("drop_path", s.vit.drop_path, "chance to drop a branch of the last block, growing from 0 in the first").at_least(0).at_most(0.99);
  options.group("Augmentation");
  options.add("crop_padding", s.augmentation.crop_padding, "random crops after padding by N pixels, at most a side; 0: none")
      .at_least(0);
  options.add("flip", s.augmentation.flip, "flip half of the images, drawn anew each time, left to right");
  options.add("mixup", s.augmentation.mixup, "alpha of mixup; 0: none").at_least(0);
  options.add("cutmix", s.augmentation.cutmix, "alpha of CutMix; 0: none").at_least(0);
  options.add("label_smoothing", s.label_smoothing, "share of the target spread over all classes").at_least(0).at_most(1);
  options.group("");
}

data::ImageDataset find_data(const std::filesystem::path& given) {
  constexpr std::uint64_t kSeed = 1;  // runs of all seeds learn and are tested on the same
  return given.empty() ? data::procedural_images(kSeed) : data::load_images(given);
}

void run(int argc, char** argv) {
  Settings s;
  Options options("train_vit", "Trains a vision transformer on images and leaves the run in --out.");
  add_options(options, s);
  if (!options.parse(argc, argv)) return;
  s.training.find_data(options, data::downloaded_images);
  const TrainingOptions& t = s.training;
  RunFolder{t.out}.check(t.start());
  set_num_threads(t.threads);
  set_deterministic(!t.allow_nondeterministic);
  std::printf("%s\n", startup_line("train_vit", t.device, t.threads, t.dtype).c_str());

  const data::ImageDataset dataset = find_data(t.data);
  std::printf("data: %s, %lld training and %lld test images, %zu classes\n", dataset.description.c_str(),
              static_cast<long long>(dataset.train.size()), static_cast<long long>(dataset.test.size()),
              dataset.class_names.size());
  const Shape& shape = dataset.train.images.shape();
  ASHLAR_CHECK(shape[2] == shape[3], "--data ", t.data.string(), ": images must be square, these have ", shape[3], "x",
               shape[2], " pixels");
  s.vit.image = shape[2];
  s.vit.classes = static_cast<Dim>(dataset.class_names.size());
  s.vit.linear = t.linear;
  s.vit.gelu = gelu_named(s.gelu);

  Vit model(Scope::root(t.compute_dtype(), t.seed, Device::parse(t.device)), s.vit);
  if (!t.resume && !t.init_from.empty()) import_weights(model, open_weights("--init-from", t.init_from), model.timm());
  check_begin(t, {s.vit.width, s.vit.heads, s.vit.hidden, s.vit.linear, s.gelu});
  const data::Normalisation normalisation = data::channel_statistics(dataset.train);
  data::Prefetch batches(data::ImageLoader(dataset.train, t.batch_part(), t.seed, s.augmentation, normalisation));
  const data::ImageEvaluation test(dataset.test, t.batch_part(), normalisation);

  const ModelCost cost = cost_of(model);
  const TrainingTask task{
      .program = "train_vit",
      .model = model,
      .unit = Unit::sample,
      .event = {cost.parameters, cost.linear_parameters, cost.dense_linear_parameters, model.macs_per_sample(),
                model.macs_per_sample(true), t.device, t.dtype, t.threads},
      .units_per_step = t.batch,
      .steps_per_epoch = batches.loader().steps_per_epoch() / static_cast<double>(t.accumulate),
      .batch =
          [&](std::int64_t index) {
            const data::ImageBatch batch = batches.at(index);
            return Batch{{batch.images, batch.labels, batch.other_labels, batch.weight}, batch.size()};
          },
      .loss =
          [&](const Batch& batch) {
            const auto& [images, labels, other, weight] = std::tie(batch.arrays[0], batch.arrays[1], batch.arrays[2], batch.arrays[3]);
            return F::cross_entropy(model(images), {labels, other, weight, s.label_smoothing, batch.counted});
          },
      .evaluations =
          {{"test", [&](std::int64_t step, const EvalProgress& progress) { return evaluate(model, test, step, progress); }}},
      .save_model =
          [&](const RunFolder& folder) { write_weights(folder.model(), export_weights(model, model.timm())); },
  };
  train(task, t, options.resolved());
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
