// What is told of a run on a GPU: its checkpoint, read there and by the CPU, and its evaluations.
#include "data/bpe_trainer.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "examples/support/checkpoint.h"
#include "examples/support/evaluate.h"
#include "examples/support/step_runner.h"
#include "layers/linear_spec.h"
#include "optim/make_optimizer.h"
#include "tests/cuda/support.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// A run of a small GPT-2 with an average of its weights.
class Run {
 public:
  Run(Device device, DType dtype, const std::string& optimizer)
      : model_(Scope::root(dtype, 3, device), gpt()),
        optimizer_(optim::make_optimizer(model_.parameters(), {.name = optimizer})),
        average_(model_.parameters(), 0.5),
        task_{.program = "test",
              .model = model_,
              .event = {},
              .batch =
                  [](std::int64_t index) {
                    const auto key = static_cast<std::uint64_t>(2 * index);
                    return support::Batch{{random_ids({2, 16}, 97, key), random_ids({2, 16}, 97, key + 1)}, 32};
                  },
              .loss = [this](const support::Batch& b) { return model_.loss(b.arrays[0], b.arrays[1], b.counted); },
              .evaluations = {},
              .save_model = {}},
        runner_(task_, *optimizer_, {.max_norm = 0.5}, [](const std::string& text) { FAIL(text); }) {}

  void steps(std::int64_t first, std::int64_t last) {
    for (std::int64_t step = first; step < last; ++step) {
      runner_.run(step, [](const optim::Slot&) { return 1.0; });
      average_.update(step + 1);
    }
  }
  void save(const std::filesystem::path& path, std::int64_t step) const {
    support::save_checkpoint(path, model_, *optimizer_, &average_, {step, 0});
  }
  std::int64_t load(const std::filesystem::path& path) {
    return support::load_checkpoint(path, model_, *optimizer_, &average_).step;
  }
  // Weights, their average and the optimizer's state.
  std::vector<std::pair<std::string, Array>> values() const {
    std::vector<std::pair<std::string, Array>> result;
    const auto add = [&](const std::string& kind, const std::string& name, const Array& a) {
      result.emplace_back(kind + name, a.to(Device{}).clone());
    };
    for (const Parameter& p : model_.parameters()) add("weight ", p.name, p.tensor.value());
    for (const auto& [name, a] : average_.state()) add("average ", name, a);
    for (const auto& [name, a] : optimizer_->state()) add("state ", name, a);
    return result;
  }

 private:
  static GptConfig gpt() {
    GptConfig config{.vocab = 97, .context = 16, .width = 32, .depth = 1, .heads = 2, .dropout = 0.1};
    config.linear.fc1 = "blast:blocks=2,rank=8";
    return config;
  }

  Gpt2 model_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  optim::WeightAverage average_;
  support::TrainingTask task_;
  support::StepRunner runner_;
};

void check_same_bits(const Run& got, const Run& expected) {
  const auto of_got = got.values(), of_expected = expected.values();
  REQUIRE(of_got.size() == of_expected.size());
  for (std::size_t i = 0; i < of_expected.size(); ++i) {
    INFO(of_expected[i].first);
    CHECK(of_got[i].first == of_expected[i].first);
    CHECK(bitwise_equal(of_got[i].second, of_expected[i].second));
  }
}

}  // namespace

TEST_CASE("a checkpoint of a GPU goes on there as if nothing had happened, and the CPU reads the same bits", "[cuda][training]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const char* optimizer : {"adamw", "muon"}) {
      INFO(dtype << " " << optimizer);
      const TemporaryFolder folder;
      Run run(kGpu, dtype, optimizer), resumed(kGpu, dtype, optimizer), on_cpu(Device{}, dtype, optimizer);
      run.steps(0, 3);
      run.save(folder / "state.safetensors", 3);
      CHECK(resumed.load(folder / "state.safetensors") == 3);
      CHECK(on_cpu.load(folder / "state.safetensors") == 3);
      check_same_bits(resumed, run);
      check_same_bits(on_cpu, run);
      on_cpu.save(folder / "from_cpu.safetensors", 3);
      run.steps(3, 6);
      resumed.load(folder / "from_cpu.safetensors");
      resumed.steps(3, 6);
      check_same_bits(resumed, run);
    }
  }
}

TEST_CASE("evaluations on a GPU say what those of the CPU say", "[cuda]") {
  if (!has_gpu()) return;
  data::TextDataset text;
  text.valid = "one two three\nfour five\nsix seven eight nine\n";
  const data::Tokenizer tokenizer = data::train_bpe(text.valid, 262);
  const support::TextSplit windows = support::text_split(text.valid, tokenizer, 3, 5);  // the last one is not full
  const data::ImageEvaluation images(data::procedural_images(1, 10, 10).test, 4, {});   // nor is the last batch
  for (const DType dtype : {DType::f32, DType::bf16}) {
    INFO(dtype);
    const auto scores = [&](Device device) {
      const NoGrad no_grad;
      const Scope scope = Scope::root(dtype, 3, device);
      Gpt2 gpt(scope, {.vocab = tokenizer.vocab_size(), .context = 5, .width = 32, .depth = 1, .heads = 2, .dropout = 0.1});
      Vit vit(scope, {.patch = 8, .width = 32, .depth = 1, .heads = 2, .drop_path = 0.2});
      gpt.eval();
      vit.eval();
      return std::array{support::evaluate(gpt, windows), support::evaluate(vit, images)};
    };
    const auto got = scores(kGpu), expected = scores(Device{});
    const double tolerance = dtype == DType::f32 ? 1e-5 : 1e-2;
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i].loss - expected[i].loss) <= tolerance * expected[i].loss);
    CHECK(std::abs(*got[0].word_perplexity - *expected[0].word_perplexity) <= 10 * tolerance * *expected[0].word_perplexity);
    if (dtype == DType::f32) CHECK(got[1].accuracy == expected[1].accuracy);
  }
}
