#include "examples/support/checkpoint.h"

#include "core/safetensors.h"
#include "examples/models/vit.h"
#include "optim/adamw.h"
#include "optim/sgd.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;
using ashlar::test::contains;
using ashlar::test::error_of;
using ashlar::test::TemporaryFolder;

namespace {

struct Trained {
  explicit Trained(std::uint64_t seed, Dim width = 16)
      : model(Scope::root(DType::f32, seed), {.image = 8, .width = width, .depth = 1, .heads = 2}) {}
  void step(optim::Optimizer& optimizer) {
    const Array images = randn({3, 3, 8, 8}, DType::f32, 5), labels = random_ids({3}, 10, 6);
    F::cross_entropy(model(images), {.target = labels}).backward();
    optimizer.step();
    optimizer.zero_grad();
  }
  std::vector<Array> weights() const {
    std::vector<Array> values;
    for (const Parameter& p : model.parameters()) values.push_back(p.tensor.value().clone());
    return values;
  }
  Vit model;
};

bool same(const std::vector<Array>& a, const std::vector<Array>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), bitwise_equal);
}

}  // namespace

TEST_CASE("a checkpoint brings back the weights, the optimizer's state and the place in the run") {
  const TemporaryFolder folder;
  const auto path = folder / "run/checkpoint/state.safetensors";
  Trained a(1), b(2);
  optim::AdamW of_a(a.model.parameters()), of_b(b.model.parameters());
  a.step(of_a);
  save_checkpoint(path, a.model, of_a, nullptr, {.step = 7, .elapsed = 0.1});
  const RunState state = load_checkpoint(path, b.model, of_b, nullptr);
  CHECK((state.step == 7 && state.elapsed == 0.1));
  CHECK(same(a.weights(), b.weights()));
  a.step(of_a);
  b.step(of_b);
  CHECK(same(a.weights(), b.weights()));
}

TEST_CASE("a checkpoint that does not fit changes nothing") {
  const TemporaryFolder folder;
  const auto path = folder / "state.safetensors";
  Trained a(1), b(2), wide(2, 32);
  optim::AdamW of_a(a.model.parameters()), of_wide(wide.model.parameters());
  save_checkpoint(path, a.model, of_a, nullptr, {});
  const auto before = b.weights(), wide_before = wide.weights();
  optim::Sgd other(b.model.parameters());
  CHECK(contains(error_of([&] { load_checkpoint(path, b.model, other, nullptr); }), "of another model or optimizer"));
  CHECK(same(b.weights(), before));
  CHECK_FALSE(error_of([&] { load_checkpoint(path, wide.model, of_wide, nullptr); }).empty());
  CHECK(same(wide.weights(), wide_before));

  const SafetensorsFile file(path);
  NamedArrays tensors;
  for (const auto& [name, entry] : file.entries()) tensors.emplace_back(name, file.read(name));
  optim::AdamW of_b(b.model.parameters());
  const auto error_with = [&](const std::string& key, const std::string& value) {
    Metadata metadata = file.metadata();
    metadata[key] = value;
    write_safetensors(folder / "other.safetensors", tensors, metadata);
    return error_of([&] { load_checkpoint(folder / "other.safetensors", b.model, of_b, nullptr); });
  };
  optim::WeightAverage average(b.model.parameters(), 0.5);
  CHECK(contains(error_of([&] { load_checkpoint(path, b.model, of_b, &average); }), "has no average of the weights; resume it without --ema"));
  for (const char* key : {"step", "elapsed", "step_seconds"}) {
    for (const char* value : {"7abc", "nan", "inf", "-1", "", "1e400", "99999999999999999999x"}) {
      CAPTURE(key, value);
      CHECK(contains(error_with(key, value), concat("'", key, "' in its metadata is '", value, "'")));
    }
  }
  CHECK(contains(error_with("step", "1e300"), "'step' in its metadata"));
  write_safetensors(folder / "other.safetensors", tensors);
  CHECK(contains(error_of([&] { load_checkpoint(folder / "other.safetensors", b.model, of_b, nullptr); }), "is not a checkpoint of a run"));
  CHECK(same(b.weights(), before));
  CHECK(error_with("step", "7").empty());
}
