// train_vit: trains a vision transformer on CIFAR, a folder of images, or images that it draws itself.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/safetensors.h"
#include "core/text.h"
#include "data/image_loader.h"
#include "data/locate.h"
#include "data/prefetch.h"
#include "data/resize.h"
#include "examples/models/saved.h"
#include "examples/support/evaluate.h"
#include "examples/support/format.h"
#include "examples/support/option_values.h"
#include "examples/support/program.h"
#include "examples/support/trainer.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  TrainingOptions training;
  VitConfig vit;
  data::Augmentation augmentation;
  Dim image = 0;
  double valid_fraction = 0;
  double label_smoothing = 0.1;
  std::string gelu = "erf";
  bool new_head = false;
};

void add_options(Options& options, Settings& s) {
  s.training.out = "runs/vit";
  add_training_options(options, s.training, "folder with CIFAR-10 or CIFAR-100 (binary), or images in CLASS/, or in train/CLASS/ "
                       "and optionally test/CLASS/ and val/CLASS/; with neither a tenth is held out for validation");
  options.group("Model");
  options.add("width", s.vit.width, "width of the residual stream").at_least(1);
  options.add("depth", s.vit.depth, "number of blocks").at_least(0);
  options.add("heads", s.vit.heads, "attention heads").at_least(1);
  options.add("image", s.image,
              "side in pixels that images are scaled and cropped to; 0: they are square and of one size, and stay as they are")
      .at_least(0)
      .at_most(data::kLongestSide);
  options.add("patch", s.vit.patch, "side of a patch in pixels").at_least(1);
  options.add("hidden", s.vit.hidden, "width inside the MLP; 0: four times the width").at_least(0);
  options.add("class_token", s.vit.class_token, "read the class from a token of its own instead of the mean");
  options.add("gelu", s.gelu, "formula of GELU; a GPU computes that with tanh inside products")
      .choices({"erf", "tanh"})
      .value_name("NAME");
  options.add("new_head", s.new_head, "put a new classifier after the blocks of --init-from, for other classes");
  options.add("dropout", s.vit.dropout, "dropout on the branches").at_least(0).at_most(0.99);
  options.add("drop_path", s.vit.drop_path, "chance that a branch of the last block is dropped, rising to it from 0 in the first")
      .at_least(0)
      .at_most(0.99);
  options.group("Images");
  options.add("valid_fraction", s.valid_fraction,
              "share of the training images of each class, chosen by --seed, that is held out for validation: --eval-every and "
              "--keep-best judge by it, and the test images are left for the end; 0: none, or a tenth if there are no other images")
      .at_least(0)
      .at_most(0.99);
  options.group("Augmentation");
  options.add("crop_padding", s.augmentation.crop_padding,
              "random crops after padding by N pixels, at most the side of an image; 0: none")
      .at_least(0);
  options.add("flip", s.augmentation.flip, "flip a random half of the images left to right");
  options.add("mixup", s.augmentation.mixup, "alpha of mixup; 0: none").at_least(0);
  options.add("cutmix", s.augmentation.cutmix, "alpha of CutMix; 0: none").at_least(0);
  options.add("label_smoothing", s.label_smoothing, "share of the target spread over all classes").at_least(0).at_most(1);
  options.group("");
}

void take_over_network(const Options& options, Settings& s) {
  const std::filesystem::path file = s.training.config_of_weights(options.program());
  if (file.empty()) return;
  const VitConfig its = read_vit_config(file, open_weights("--init-from", s.training.init_from));
  take_over(options, "width", s.vit.width, its.width);
  take_over(options, "depth", s.vit.depth, its.depth);
  take_over(options, "heads", s.vit.heads, its.heads);
  take_over(options, "patch", s.vit.patch, its.patch);
  take_over(options, "hidden", s.vit.hidden, its.hidden);
  take_over(options, "image", s.image, its.image);
  take_over(options, "class_token", s.vit.class_token, its.class_token);
  take_over(options, "gelu", s.gelu, name_of(its.gelu));
  take_over_linear(options, s.training, its.linear);
}

void load(const Vit& model, const Settings& s) {
  const SafetensorsFile file = open_weights("--init-from", s.training.init_from);
  const auto is_head = [](const std::string& name) { return name.starts_with("head."); };
  const auto head = file.entries().find("head.weight");
  if (!s.new_head && head != file.entries().end() && head->second.shape.size() == 2) {
    ASHLAR_CHECK(head->second.shape[0] == s.vit.classes, "--init-from ", file.path().string(), " tells ", head->second.shape[0],
                 " classes apart, and the data have ", s.vit.classes, "; give --new-head, or the data that it was trained on");
  }
  const auto positions = file.entries().find("pos_embed");
  if (positions != file.entries().end() && positions->second.shape.size() == 3) {
    const Dim theirs = positions->second.shape[1] - s.vit.class_token, ours = s.vit.image / s.vit.patch;
    const auto side = static_cast<Dim>(std::lround(std::sqrt(static_cast<double>(theirs))));
    ASHLAR_CHECK(theirs == ours * ours || side * side != theirs, "--init-from ", file.path().string(), ": these weights have positions of ",
                 side, "x", side, " patches, and images of ", s.vit.image, " pixels have ", ours, "x", ours, "; give --image ",
                 side * s.vit.patch);
  }
  import_weights(model, file, model.timm(), s.new_head ? is_head : std::function<bool(const std::string&)>());
}

// A resumed run must not be judged by images that it has learned from.
void check_holdout(const Options& options, const Settings& s) {
  if (!s.training.resume) return;
  const auto check = [&](const char* option, const auto& value) {
    ASHLAR_CHECK(!options.given(option) || s.training.began_with(option, value), "--resume and ",
                 options.where(option), " ", value, ", with which the run did not begin, exclude each other: its "
                 "images would be divided in another way; leave it out");
  };
  check("valid_fraction", s.valid_fraction);
  if (s.valid_fraction > 0) check("seed", s.training.seed);
}

// What the outputs of a resumed run stand for does not change.
void check_classes(const TrainingOptions& t, const std::vector<std::string>& names) {
  if (!t.resume) return;
  const RunFolder run{t.out};
  const JsonObject config(read_json(run.config()), run.config().string());
  const std::vector<std::string> before = config.has("class_names") ? config.texts("class_names") : names;
  ASHLAR_CHECK(before == names, "--resume: the run in ", t.out.string(), " tells ", join_first(before), " apart, and --data ",
               t.data.string(), " has ", join_first(names), "; give the data that it began with, or begin a new run with "
               "--new-head --init-from ", run.model().string());
}

data::ImageDataset find_data(Settings& s) {
  constexpr std::uint64_t kSeed = 1;  // runs of all seeds learn and are tested on the same
  const std::filesystem::path& given = s.training.data;
  data::ImageDataset dataset =
      given.empty() ? data::resized(data::procedural_images(kSeed), s.image) : data::load_images(given, s.image);
  s.valid_fraction = data::held_out_fraction(dataset, s.valid_fraction);
  dataset = data::hold_out(std::move(dataset), s.valid_fraction, s.training.seed);
  const Dim valid = dataset.valid.size(), test = dataset.test.size();
  std::printf("data: %s, %lld training%s%s images, %s\n", dataset.description.c_str(),
              static_cast<long long>(dataset.train.size()),
              valid > 0 ? concat(test > 0 ? ", " : " and ", valid, " validation").c_str() : "",
              test > 0 ? concat(" and ", test, " test").c_str() : "",
              counted(std::ssize(dataset.class_names), "class", "classes").c_str());
  for (const std::string& name : dataset.class_names) check_utf8(name, concat("--data ", given.string(), ": class"));
  const Shape& shape = dataset.train.images.shape();
  ASHLAR_CHECK(shape[2] == shape[3], "--data ", given.string(), ": images must be square, these have ", shape[3], "x",
               shape[2], " pixels; --image N makes them so");
  return dataset;
}

// What cannot be built or trained is told by one of its blocks, before data are read.
void check_settings(const Settings& s) {
  VitConfig small = s.vit;
  small.image = s.image > 0 ? s.image : small.patch;
  small.classes = 1;
  small.depth = std::min<Dim>(small.depth, 1);
  check_optimizer(Vit(Scope::root(s.training.compute_dtype(), s.training.seed), small), s.training);
}

void run(int argc, char** argv) {
  Settings s;
  Options options("train_vit", "Trains a vision transformer on images and leaves the run in --out.");
  add_options(options, s);
  options.then([&] {
    ASHLAR_CHECK(!s.new_head || !s.training.init_from.empty(), "--new-head needs --init-from; a new model has no other");
    check_holdout(options, s);
  });
  options.ignored_keys(vit_data_config({}));
  if (!options.parse(argc, argv)) return;
  take_over_network(options, s);
  s.training.find_data(options, data::downloaded_images);
  const TrainingOptions& t = s.training;
  RunFolder{t.out}.check(t.start());
  apply_to_process(t, options.program());
  s.vit.linear = t.linear;
  s.vit.gelu = gelu_named(s.gelu);
  check_settings(s);

  const data::ImageDataset dataset = find_data(s);
  check_classes(t, dataset.class_names);
  s.vit.image = dataset.train.images.size(2);
  s.vit.classes = static_cast<Dim>(dataset.class_names.size());

  Vit model(Scope::root(t.compute_dtype(), t.seed, Device::parse(t.device)), s.vit);
  if (!t.resume && !t.init_from.empty()) load(model, s);
  check_begin(t, {s.vit.width, s.vit.heads, s.vit.hidden, s.vit.linear, s.gelu});
  const std::filesystem::path of_weights = t.resume              ? RunFolder{t.out}.config()
                                           : t.init_from.empty() ? std::filesystem::path()
                                                                 : t.init_from.parent_path() / "config.json";
  const data::Normalisation normalisation =
      normalisation_of({of_weights, options.config_file()}, dataset, !s.new_head && !of_weights.empty());
  data::Prefetch batches(data::ImageLoader(dataset.train, t.batch_part(), t.seed, s.augmentation, normalisation));
  std::vector<Evaluation> evaluations;
  const auto add_evaluation = [&](const std::string& split, const data::ImageSplit& images) {
    evaluations.push_back({split, [&model, all = data::ImageEvaluation(images, t.batch_part(), normalisation)](
                                      const EvalProgress& progress) { return evaluate(model, all, progress); }});
  };
  if (dataset.valid.size() > 0) add_evaluation("valid", dataset.valid);
  if (dataset.test.size() > 0) add_evaluation("test", dataset.test);

  const TrainingTask task{
      .program = "train_vit",
      .model = model,
      .unit = Unit::sample,
      .event = model_event(model, model.macs_per_sample(), model.macs_per_sample(true), t),
      .units_per_step = t.batch,
      .steps_per_epoch = batches.loader().steps_per_epoch() / static_cast<double>(t.accumulate),
      .batch =
          [&](std::int64_t index) {
            const data::ImageBatch batch = batches.at(index);
            const Array images = batch.images.to(t.compute_dtype());  // narrow before they travel to a GPU
            return Batch{{images, batch.labels, batch.other_labels, batch.weight}, batch.size()};
          },
      .loss =
          [&](const Batch& batch) {
            const auto& [images, labels, other, weight] = std::tie(batch.arrays[0], batch.arrays[1], batch.arrays[2], batch.arrays[3]);
            return F::cross_entropy(model(images), {labels, other, weight, s.label_smoothing, batch.counted});
          },
      .evaluations = evaluations,
      .save_model =
          [&](const RunFolder& folder) { write_weights(folder.model(), export_weights(model, model.timm())); },
      .load_model = [&](const RunFolder& folder) { import_weights(model, SafetensorsFile(folder.model()), model.timm()); },
  };
  OrderedJson config = options.resolved();
  config.update(vit_data_config({normalisation, dataset.class_names}));
  train(task, t, config);
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
