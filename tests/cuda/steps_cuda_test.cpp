// Training steps that are recorded as a CUDA graph against the same steps op by op, and what is done between them.
#include "core/allocator.h"
#include "data/image_loader.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "examples/support/step_runner.h"
#include "layers/linear_spec.h"
#include "optim/make_optimizer.h"
#include "optim/weight_average.h"
#include "tests/cuda/support.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;
using ashlar::test::error_of;

namespace {

struct Settings {
  std::string optimizer = "adamw";
  std::int64_t accumulate = 1, steps = 6;
  bool average = false;  // of the weights, which evaluates in between
};

struct Trained {
  std::vector<double> losses, norms, evaluations;
  Arrays weights;
  optim::State state;
  std::vector<std::string> said;
};

support::TrainingTask task_of(Module& model, std::function<support::Batch(std::uint64_t index)> batch,
                              std::function<Tensor(const support::Batch&)> loss) {
  return {.program = "test",
          .model = model,
          .event = {},
          .batch = [=](std::int64_t index) { return batch(static_cast<std::uint64_t>(index)); },
          .loss = std::move(loss),
          .evaluations = {},
          .save_model = {}};
}

Trained train(const support::TrainingTask& task, const Settings& settings, bool recorded) {
  const Parameters parameters = task.model.parameters();
  Trained result;
  const auto optimizer = optim::make_optimizer(parameters, {.name = settings.optimizer});
  optim::WeightAverage average(parameters, 0.5);
  support::StepRunner runner(task, *optimizer, {settings.accumulate, 0.5, recorded},
                             [&](const std::string& text) { result.said.push_back(text); });
  for (std::int64_t step = 0; step < settings.steps; ++step) {
    const double left = static_cast<double>(settings.steps - step);
    const auto lr_factor = [=](const optim::Slot& slot) { return (slot.weight_decay > 0 ? 0.2 : 0.1) * left; };
    const support::StepResult told = runner.run(step, lr_factor);
    result.losses.push_back(told.loss());
    result.norms.push_back(told.clip.norm());
    if (!settings.average) continue;
    average.update(step + 1);
    average.swap();
    const NoGrad no_grad;
    task.model.eval();
    result.evaluations.push_back(task.loss(task.batch(100)).item());
    average.swap();
  }
  for (const optim::State& state : {optimizer->state(), average.state()}) {
    for (const auto& [name, values] : state) result.state[name] = values.to(Device{}).clone();
  }
  for (const Parameter& p : parameters) result.weights.push_back(p.tensor.value().to(Device{}).clone());
  return result;
}

struct Gpt {
  DType dtype = DType::f32;
  Dim width = 32, context = 16;
  bool recompute = false;
  std::uint64_t odd_batch = 1000;  // has a row more
  bool odd_from_there = false;     // and so have those after it
  std::function<void(const support::Batch&)> before_loss = [](const support::Batch&) {};
};

Trained train_gpt(const Gpt& gpt, const Settings& settings, bool recorded, Device device = kGpu) {
  const GptConfig config{.vocab = 97, .context = gpt.context, .width = gpt.width, .depth = 1, .heads = 2, .dropout = 0.1,
                         .checkpoint = gpt.recompute};
  Gpt2 model(Scope::root(gpt.dtype, 3, device), config);
  const auto batch = [&](std::uint64_t index) {
    const Dim rows = index == gpt.odd_batch || (gpt.odd_from_there && index > gpt.odd_batch) ? 3 : 2;
    const Shape shape{rows, gpt.context};
    return support::Batch{{random_ids(shape, 97, 2 * index), random_ids(shape, 97, 2 * index + 1)}, shape.numel()};
  };
  const auto loss = [&](const support::Batch& b) {
    gpt.before_loss(b);
    return model.loss(b.arrays[0], b.arrays[1], b.counted);
  };
  return train(task_of(model, batch, loss), settings, recorded);
}

void check_same_bits(const Trained& got, const Trained& expected) {
  CHECK(got.said == std::vector<std::string>{});
  CHECK(got.losses == expected.losses);
  CHECK(got.norms == expected.norms);
  CHECK(got.evaluations == expected.evaluations);
  for (std::size_t i = 0; i < expected.weights.size(); ++i) CHECK(bitwise_equal(got.weights[i], expected.weights[i]));
  for (const auto& [name, values] : expected.state) {
    INFO(name);
    CHECK(bitwise_equal(got.state.at(name), values));
  }
}

void check_close(const std::vector<double>& got, const std::vector<double>& expected, double tolerance) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(std::abs(got[i] - expected[i]) <= tolerance * expected[i]);
}

void check_close(const Trained& got, const Trained& expected, double tolerance) {
  CHECK(got.said.empty());
  check_close(got.losses, expected.losses, tolerance);
  check_close(got.norms, expected.norms, tolerance);
  check_close(got.evaluations, expected.evaluations, tolerance);
  // Averages of the gradients are in it; the losses alone would hardly tell of wrong ones.
  for (const auto& [name, values] : expected.state) {
    INFO(name);
    CHECK(difference(got.state.at(name), values) <= tolerance);
  }
}

}  // namespace

TEST_CASE("recorded steps are the steps op by op, dropout, schedule and optimizer included", "[cuda][training]") {
  if (!has_gpu()) return;
  // The update of the last works on the host too: it follows the recording.
  for (const std::string& optimizer : amount<std::vector<std::string>>({"adamw", "sgd", "muon", "soap"}, {"adamw", "soap"})) {
    for (const std::int64_t accumulate : {1, 2}) {
      for (const bool odd : {false, true}) {
        INFO(optimizer << ", accumulate " << accumulate << (odd ? ", with an odd batch" : ""));
        const Gpt gpt{.odd_batch = odd ? 3u : 1000u};
        const Settings settings{.optimizer = optimizer, .accumulate = accumulate};
        const Trained recorded = train_gpt(gpt, settings, true);
        check_same_bits(recorded, train_gpt(gpt, settings, false));
      }
    }
  }
}

TEST_CASE("a step of another shape runs op by op first, also where it is the second of all", "[cuda][training]") {
  if (!has_gpu()) return;
  // Of a context that no other test has: the choice of algorithms for it is not known.
  const Gpt gpt{.context = 13, .odd_batch = 1};
  const Trained recorded = train_gpt(gpt, {}, true);
  check_same_bits(recorded, train_gpt(gpt, {}, false));
}

TEST_CASE("a single step of another shape leaves the recording, unless memory runs out", "[cuda][training]") {
  if (!has_gpu()) return;
  const Settings settings{.steps = 8};
  const Trained expected = train_gpt({.odd_batch = 4}, settings, false);
  for (const bool short_of_memory : {false, true}) {
    INFO((short_of_memory ? "short of memory" : "memory for both"));
    std::vector<Dim> rows;  // of the losses that the host asked for: those of replays are not among them
    const auto watch = [&](const support::Batch& b) {
      rows.push_back(b.arrays[0].size(0));
      if (short_of_memory && rows == std::vector<Dim>{2, 2, 3}) throw OutOfMemory("the first time");
    };
    check_same_bits(train_gpt({.odd_batch = 4, .before_loss = watch}, settings, true), expected);
    CHECK(rows == (short_of_memory ? std::vector<Dim>{2, 2, 3, 3, 2, 2} : std::vector<Dim>{2, 2, 3}));
  }
}

TEST_CASE("a shape that stays is recorded in place of the one before", "[cuda][training]") {
  if (!has_gpu()) return;
  std::vector<Dim> rows;
  const auto watch = [&](const support::Batch& b) { rows.push_back(b.arrays[0].size(0)); };
  const Gpt gpt{.odd_batch = 3, .odd_from_there = true, .before_loss = watch};
  const Trained recorded = train_gpt(gpt, {}, true);
  CHECK(rows == std::vector<Dim>{2, 2, 3, 3});
  check_same_bits(recorded, train_gpt(gpt, {}, false));
}

TEST_CASE("steps are recorded in bf16 too, with attention on tensor cores or by cuDNN", "[cuda][training]") {
  if (!has_gpu()) return;
  const Gpt gpt{.dtype = DType::bf16, .width = 64, .context = 128};
  const Settings settings{.steps = amount(6, 3)};
  const Trained expected = train_gpt(gpt, settings, false);
  check_same_bits(train_gpt(gpt, settings, true), expected);
  const AnyOrder any_order;
  check_close(train_gpt(gpt, settings, true), expected, 2e-2);
}

TEST_CASE("steps that recompute activations are recorded", "[cuda][training]") {
  if (!has_gpu()) return;
  const Trained kept = train_gpt({}, {}, false);
  check_same_bits(train_gpt({.recompute = true}, {}, false), kept);
  check_same_bits(train_gpt({.recompute = true}, {}, true), kept);
}

TEST_CASE("weights give way to their average between replays, and come back", "[cuda][training]") {
  if (!has_gpu()) return;
  const Trained got = train_gpt({}, {.average = true}, true);
  check_same_bits(got, train_gpt({}, {.average = true}, false));
  check_close(got, train_gpt({}, {.average = true}, false, Device{}), 1e-3);
}

TEST_CASE("steps on mixed images are recorded, and are those of the CPU", "[cuda][training]") {
  if (!has_gpu()) return;
  const data::ImageLoader loader(data::procedural_images(1, 20, 10).train, 4, 2, {.mixup = 0.8, .cutmix = 1}, {});
  const auto trained = [&](Device device, bool recorded) {
    VitConfig config{.patch = 8, .width = 32, .depth = 1, .heads = 2, .drop_path = 0.2};
    Vit model(Scope::root(DType::f32, 3, device), config);
    const auto batch = [&](std::uint64_t index) {
      const data::ImageBatch mixed = loader.at(static_cast<std::int64_t>(index));
      return support::Batch{{mixed.images, mixed.labels, mixed.other_labels, mixed.weight}, mixed.size()};
    };
    const auto loss = [&](const support::Batch& b) {
      return F::cross_entropy(model(b.arrays[0]), {b.arrays[1], b.arrays[2], b.arrays[3], 0.1, b.counted});
    };
    return train(task_of(model, batch, loss), {}, recorded);
  };
  const Trained got = trained(kGpu, true);
  check_same_bits(got, trained(kGpu, false));
  check_close(got, trained(Device{}, false), 1e-3);
}

TEST_CASE("a step that is not finite is told when the next one has begun, by the numbers of its time", "[cuda]") {
  if (!has_gpu()) return;
  constexpr std::int64_t kBad = 3;
  for (const bool recorded : {false, true}) {
    INFO((recorded ? "recorded" : "op by op"));
    Vit model(Scope::root(DType::f32, 3, kGpu), {.image = 8, .width = 8, .depth = 1, .heads = 2});
    const auto batch = [](std::uint64_t index) {
      const Array images = randn({2, 3, 8, 8}, DType::f32, index);
      return support::Batch{{index == kBad ? nan_like(images) : images, random_ids({2}, 10, index)}, 2};
    };
    const auto loss = [&](const support::Batch& b) {
      return F::cross_entropy(model(b.arrays[0]), {.target = b.arrays[1], .counted = b.counted});
    };
    const support::TrainingTask task = task_of(model, batch, loss);
    const auto optimizer = optim::make_optimizer(model.parameters(), {});
    support::StepRunner runner(task, *optimizer, {.max_norm = 1, .record = recorded},
                               [](const std::string& text) { FAIL(text); });
    support::StepResult last;
    for (std::int64_t step = 0; step <= kBad + 1; ++step) {
      const support::StepResult result = runner.run(step, [](const optim::Slot&) { return 1.0; });
      INFO("step " << step);
      const std::string error = error_of<Error>([&] { if (step > 0) last.check(); });
      if (step <= kBad) CHECK(error == "");
      else CHECK_THAT(error, says("step 4: the loss is ") && says("nan; the largest gradient is that of "));
      last = result;
    }
  }
}
