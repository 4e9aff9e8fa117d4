// A step of several batches.
#include "examples/support/step_runner.h"

#include "autograd/ops.h"
#include "optim/sgd.h"
#include "tests/examples/small_net.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

namespace {

struct Outcome {
  double loss;
  std::vector<Array> weights;
};

// One step on 12 rows, of which `left_out` at the end have no target, in `parts` batches.
Outcome step_in_parts(std::int64_t parts, Dim left_out) {
  SmallNet net(Scope::root(DType::f64, 1));
  const Array x = randn({12, 5}, DType::f64, 2);
  std::vector<std::int32_t> targets(12, 3);
  for (std::size_t row = 0; row < 12; ++row) {
    targets[row] = static_cast<Dim>(row) < 12 - left_out ? static_cast<std::int32_t>(row % 4) : -1;
  }
  const Array ids = Array::from(targets, {12});
  const TrainingTask task{
      .program = "a test",
      .model = net,
      .event = {},
      .batch =
          [&](std::int64_t index) {
            const Dim rows = 12 / parts, first = index * rows;
            return Batch{{x.slice(0, first, first + rows), ids.slice(0, first, first + rows)},
                         std::clamp<Dim>(12 - left_out - first, 0, rows)};
          },
      .loss =
          [&](const Batch& b) {
            return F::cross_entropy(net.fc(Tensor(b.arrays[0])), {.target = b.arrays[1], .counted = b.counted});
          },
      .evaluations = {},
      .save_model = {},
  };
  optim::Sgd sgd(net.parameters());
  StepRunner runner(task, sgd, {.accumulate = parts}, [](const std::string&) {});
  const StepResult result = runner.run(0, [](const optim::Slot&) { return 1.0; });
  Outcome outcome{result.loss(), {}};
  for (const Parameter& p : net.parameters()) outcome.weights.push_back(p.tensor.value().clone());
  return outcome;
}

}  // namespace

TEST_CASE("a step in parts is the step of one batch, also where they count different numbers of targets") {
  for (const Dim left_out : {0, 1, 3, 7}) {
    INFO(left_out << " rows without a target");
    const Outcome whole = step_in_parts(1, left_out), parts = step_in_parts(3, left_out);
    CHECK(std::abs(parts.loss - whole.loss) <= 1e-14 * whole.loss);
    REQUIRE(whole.weights.size() == 2);
    for (std::size_t i = 0; i < whole.weights.size(); ++i) CHECK(relative_error(parts.weights[i], whole.weights[i]) <= 1e-14);
  }
}
