// The training loop.
#include "examples/support/trainer.h"

#include <signal.h>

#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "core/files.h"
#include "tests/examples/small_net.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

// Trains for two steps; `during` is called within the evaluation. What metrics.jsonl has then.
std::string metrics_of(const std::filesystem::path& out, const char* start, const std::function<void()>& during) {
  TrainingOptions values;
  Options options("train", "Trains.");
  add_training_options(options, values, "the data");
  std::vector<const char*> arguments{"train", "--steps", "2", "--out", out.c_str()};
  if (*start) arguments.push_back(start);
  REQUIRE(options.parse(static_cast<int>(arguments.size()), arguments.data()));

  SmallNet net(Scope::root(DType::f32, 1));
  const TrainingTask task{
      .program = "train",
      .model = net,
      .event = {},
      .units_per_step = 8,
      .steps_per_epoch = 1,
      .batch = [](std::int64_t index) {
        const auto seed = static_cast<std::uint64_t>(index);
        return Batch{{randn({8, 5}, DType::f32, seed), random_ids({8}, 4, seed)}, 8};
      },
      .loss = [&](const Batch& b) { return F::cross_entropy(net.fc(Tensor(b.arrays[0])), {.target = b.arrays[1]}); },
      .evaluate =
          [&](std::int64_t step, const EvalProgress& progress) {
            progress(0, 2);
            during();
            progress(1, 2);
            return EvalEvent{.step = step, .split = "test", .loss = 1, .accuracy = {}, .perplexity = {}, .word_perplexity = {}};
          },
      .save_model = [](const RunFolder&) {},
  };
  train(task, values, options.resolved());
  return read_file(out / "metrics.jsonl");
}

}  // namespace

TEST_CASE("a signal ends an evaluation, and the run can be resumed for it") {
  const TemporaryFolder folder;
  const auto out = folder / "run";
  const std::string stopped = metrics_of(out, "", [] { ::raise(SIGTERM); });
  CHECK_FALSE(contains(stopped, "\"eval\""));
  CHECK(contains(stopped, "\"stopped_by\":\"signal\""));
  CHECK(std::filesystem::exists(RunFolder{out}.checkpoint()));
  const std::string resumed = metrics_of(out, "--resume", [] {});
  CHECK(contains(resumed, "\"eval\",\"step\":2"));
  CHECK(contains(resumed, "\"stopped_by\":\"steps\""));
}
