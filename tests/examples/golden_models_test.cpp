// A ViT and a GPT-2 against PyTorch: logits, loss, every gradient, and the losses of 20 AdamW steps
// (tests/golden/README.md says how the files were made).
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "examples/models/gpt2.h"
#include "examples/models/saved.h"
#include "examples/models/vit.h"
#include "optim/adamw.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

const std::filesystem::path kGolden = std::filesystem::path(ASHLAR_SOURCE_DIR) / "tests" / "golden";
const VitConfig kVit{.image = 16, .patch = 4, .channels = 3, .classes = 10, .width = 32, .depth = 2, .heads = 2};
const GptConfig kGpt{.vocab = 97, .context = 16, .width = 32, .depth = 2, .heads = 2};

// Of logits and losses; the weights of the files are f32, their expected values are computed from them in f64.
const std::pair<DType, double> kTolerances[] = {{DType::f32, 1e-5}, {DType::f64, 1e-12}};

// Loss, gradients and 20 AdamW steps, as the golden script runs them. `loss` records the loss of the golden batch.
template <class Loss>
void check_training(const Module& model, const SafetensorsFile& expected, const Exchange& exchange, double tolerance,
                    const Loss& loss) {
  const Tensor first = loss();
  REQUIRE(relative_error(first.value().reshape({1}), expected.read("loss")) <= tolerance);
  first.backward();
  for (const Parameter& parameter : model.parameters()) {
    const ForeignTensor foreign = exchange(parameter);
    INFO(foreign.name);
    const Array gradient = in_foreign_layout(parameter.tensor.grad(), foreign);
    REQUIRE(relative_error(gradient, expected.read("gradients/" + foreign.name)) <= 10 * tolerance);
  }
  optim::AdamWOptions options;
  options.lr = 1e-3;
  optim::AdamW optimizer(model.parameters(), options);
  const auto losses = expected.read("losses_f64").to_vector<double>();
  for (std::size_t step = 1; step <= 20; ++step) {
    optimizer.step();
    optimizer.zero_grad();
    const Tensor value = loss();
    INFO("step " << step);
    REQUIRE(value.item() == Approx(losses[step]).epsilon(10 * tolerance));
    value.backward();
  }
}

// The gradients of the logits (rows, classes), plain and with label smoothing.
void check_smoothing(const SafetensorsFile& expected, const Shape& shape) {
  const Array logits = expected.read("logits").reshape(shape), targets = expected.read("targets").to(DType::i32).reshape({shape[0]});
  for (const auto& [smoothing, prefix] : {std::pair(0.0, ""), std::pair(0.1, "smoothed_")}) {
    INFO("smoothing " << smoothing);
    const Tensor x = Tensor::leaf(logits);
    const Tensor loss = F::cross_entropy(x, {.target = targets, .smoothing = smoothing});
    REQUIRE(relative_error(loss.value().reshape({1}), expected.read(concat(prefix, "loss"))) <= 1e-13);
    loss.backward();
    REQUIRE(relative_error(x.grad(), expected.read(concat(prefix, "dlogits")).reshape(shape)) <= 1e-13);
  }
}

}  // namespace

TEST_CASE("a two-layer ViT equals PyTorch's") {
  const SafetensorsFile weights(kGolden / "vit" / "model.safetensors"), expected(kGolden / "vit" / "expected.safetensors");
  check_smoothing(expected, {4, 10});
  for (const auto& [dtype, tolerance] : kTolerances) {
    INFO(dtype);
    Vit model(Scope::root(dtype), kVit);
    import_weights(model, weights, model.timm());
    const Tensor images = expected.read("images");
    const Array targets = expected.read("targets").to(DType::i32);
    REQUIRE(relative_error(model(images).value(), expected.read("logits")) <= tolerance);
    const Tensor smoothed = F::cross_entropy(model(images), {.target = targets, .smoothing = 0.1});
    REQUIRE(relative_error(smoothed.value().reshape({1}), expected.read("smoothed_loss")) <= tolerance);
    check_training(model, expected, model.timm(), tolerance,
                   [&] { return F::cross_entropy(model(images), {.target = targets}); });
  }
}

TEST_CASE("a two-layer GPT-2 equals PyTorch's") {
  const SafetensorsFile weights(kGolden / "gpt2" / "model.safetensors"), expected(kGolden / "gpt2" / "expected.safetensors");
  check_smoothing(expected, {64, 97});
  for (const auto& [dtype, tolerance] : kTolerances) {
    INFO(dtype);
    Gpt2 model(Scope::root(dtype), kGpt);
    model.load(weights);
    const Tensor tokens = expected.read("tokens").to(DType::i32);
    const Array targets = expected.read("targets").to(DType::i32);
    REQUIRE(relative_error(model.logits(tokens).value(), expected.read("logits")) <= tolerance);
    check_training(model, expected, Gpt2::huggingface(), tolerance, [&] { return model.loss(tokens, targets); });
  }
}

TEST_CASE("bf16 activations stay near the f32 results") {
  const SafetensorsFile weights(kGolden / "gpt2" / "model.safetensors"), expected(kGolden / "gpt2" / "expected.safetensors");
  Gpt2 model(Scope::root(DType::bf16), kGpt);
  model.load(weights);
  const Tensor loss = model.loss(expected.read("tokens").to(DType::i32), expected.read("targets").to(DType::i32));
  REQUIRE(relative_error(loss.value().reshape({1}), expected.read("loss")) <= 1e-2);
  loss.backward();
  for (const Parameter& parameter : model.parameters()) {
    INFO(parameter.name);
    REQUIRE(parameter.tensor.grad().dtype() == DType::f32);
    const ForeignTensor foreign = Gpt2::huggingface()(parameter);
    const Array gradient = in_foreign_layout(parameter.tensor.grad(), foreign);
    REQUIRE(relative_error(gradient, expected.read("gradients/" + foreign.name)) <= 0.1);
  }
}

TEST_CASE("blocks that are computed again in backward give the same loss and gradients") {
  GptConfig config = kGpt;
  config.dropout = 0.2;
  const auto losses_and_gradients = [&](bool again) {
    config.checkpoint = again;
    Gpt2 model(Scope::root(DType::f32, 4), config);
    model.train(3);
    const Tensor loss = model.loss(random_ids({2, 9}, 97, 1), random_ids({2, 9}, 97, 2));
    loss.backward();
    std::vector<Array> arrays{loss.value()};
    for (const Parameter& parameter : model.parameters()) arrays.push_back(parameter.tensor.grad());
    return arrays;
  };
  const auto got = losses_and_gradients(true), expected = losses_and_gradients(false);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    REQUIRE(bitwise_equal(got[i], expected[i]));
  }
}

TEST_CASE("weights written in the names of other libraries are read back, and a wrong file is refused whole") {
  GptConfig config{.vocab = 11, .context = 8, .width = 8, .depth = 1, .heads = 2};
  config.linear.fc1 = "blast:blocks=2,rank=3";
  Gpt2 model(Scope::root(DType::f32, 1), config), other(Scope::root(DType::f32, 2), config);
  const test::TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  write_safetensors(path, export_weights(model, Gpt2::huggingface()));
  const SafetensorsFile file(path);
  other.load(file);
  for (std::size_t i = 0; i < model.parameters().size(); ++i) {
    REQUIRE(bitwise_equal(model.parameters()[i].tensor.value(), other.parameters()[i].tensor.value()));
  }
  Gpt2 dense(Scope::root(DType::f32, 3), {.vocab = 12, .context = 8, .width = 8, .depth = 1, .heads = 2});
  const Array before = dense.parameters()[0].tensor.value().clone();
  REQUIRE_THROWS_WITH(dense.load(file), says("missing: h.0.mlp.c_fc.weight") && says("unexpected: h.0.mlp.c_fc.S") &&
                                            says("wte.weight is (11, 8) instead of (12, 8)"));
  REQUIRE(bitwise_equal(dense.parameters()[0].tensor.value(), before));

  // Whole numbers are no weights, whatever their bits; any floating dtype is.
  NamedArrays tensors = export_weights(model, Gpt2::huggingface());
  const Array weights = std::exchange(tensors[0].second, tensors[0].second.to(DType::i32));
  write_safetensors(path, tensors);
  REQUIRE_THROWS_WITH(other.load(SafetensorsFile(path)), says("of another dtype: wte.weight is I32 instead of f32"));
  tensors[0].second = weights.to(DType::f64);
  write_safetensors(path, tensors);
  other.load(SafetensorsFile(path));

  // The head is the token embedding: one that is stored again must have its values.
  tensors.emplace_back("lm_head.weight", tensors[0].second);
  write_safetensors(path, tensors);
  other.load(SafetensorsFile(path));
  tensors.back().second = Array::zeros(weights.shape(), DType::f64);
  write_safetensors(path, tensors);
  REQUIRE_THROWS_WITH(other.load(SafetensorsFile(path)), says("lm_head.weight differs from wte.weight"));
}

TEST_CASE("a GPT-2 with a smaller context than given weights has their first positions, and with a larger one none") {
  GptConfig config{.vocab = 11, .context = 8, .width = 8, .depth = 1, .heads = 2};
  const Gpt2 model(Scope::root(DType::f32, 1), config);
  const test::TemporaryFolder folder;
  const std::string prefix = GENERATE("", "transformer.");
  write_safetensors(folder / "model.safetensors", export_weights(model, Gpt2::huggingface(prefix)));
  const SafetensorsFile file(folder / "model.safetensors");
  REQUIRE(Gpt2::positions_in(file) == 8);
  config.context = 5;
  Gpt2 shorter(Scope::root(DType::f32, 2), config);
  shorter.load(file);
  const Array tokens = random_ids({2, 5}, 11, 1);
  REQUIRE(bitwise_equal(shorter.logits(tokens).value(), model.logits(tokens).value()));

  config.context = 9;
  Gpt2 longer(Scope::root(DType::f32, 3), config);
  const Array before = longer.parameters()[0].tensor.value().clone();
  REQUIRE_THROWS_WITH(longer.load(file), says("model.safetensors: has 8 positions, and the model a context of 9; give --context 8 or less"));
  REQUIRE(bitwise_equal(longer.parameters()[0].tensor.value(), before));
  // Weights of another width are refused with all that is wrong.
  config.width = 16;
  for (const Dim context : {5, 9}) {
    config.context = context;
    Gpt2 wider(Scope::root(DType::f32, 4), config);
    REQUIRE_THROWS_WITH(wider.load(file), says("wpe.weight is (8, 8) instead of (") && says("wte.weight is (11, 8) instead of (11, 16)"));
  }
}

TEST_CASE("tables of SS1 with values that no kernel can use are refused when they are read") {
  const GptConfig config{.vocab = 11, .context = 8, .width = 8, .depth = 1, .heads = 2, .linear = BlockSpecs::everywhere("ss1:reduction=2")};
  Gpt2 model(Scope::root(DType::f32, 1), config);
  const test::TemporaryFolder folder;
  const auto path = folder / "model.safetensors";
  const Array before = model.parameters()[0].tensor.value().clone();
  for (const auto& [table, value] : {std::pair("shift", 4), {"shift", -1}, {"sign", 0}}) {
    NamedArrays tensors = export_weights(model, Gpt2::huggingface());
    for (auto& [name, values] : tensors) {
      values = name == concat("h.0.mlp.c_fc.", table) ? Array::full(values.shape(), value, DType::i32) : values.clone();
    }
    fill(tensors[0].second, 1);
    write_safetensors(path, tensors);
    INFO(table << " " << value);
    REQUIRE_THROWS_WITH(model.load(SafetensorsFile(path)), says(concat("h.0.mlp.c_fc.", table)) && says("model.safetensors") &&
                                                               says(concat("the table has ", table, " ", value)));
    REQUIRE(bitwise_equal(model.parameters()[0].tensor.value(), before));
  }
}

TEST_CASE("a config of Hugging Face whose model would compute something else is refused by key and value") {
  const test::TemporaryFolder folder;
  const auto read = [&](const std::string& keys) {
    Json config{{"vocab_size", 97}, {"n_positions", 16}, {"n_embd", 32}, {"n_head", 2}, {"n_layer", 2}};
    config.update(parse_json("{" + keys + "}", "a test"));
    return read_gpt_config(folder.write("config.json", config.dump()));
  };
  REQUIRE(read("").hidden == 0);
  REQUIRE(read(R"("n_inner": 64)").hidden == 64);
  read(R"("n_inner": null, "activation_function": "gelu_pytorch_tanh", "layer_norm_epsilon": 1e-05,
          "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false, "reorder_and_upcast_attn": true,
          "tie_word_embeddings": true)");
  read_gpt_config(kGolden / "gpt2" / "config.json");
  const std::pair<const char*, const char*> refused[] = {
      {R"("activation_function": "relu")", "key 'activation_function': 'relu' is not possible; use gelu_new"},
      {R"("activation_function": "gelu")", "key 'activation_function': 'gelu' is not possible; use gelu_new"},
      {R"("layer_norm_epsilon": 1e-6)", "key 'layer_norm_epsilon': 1e-06 is not possible; use 1e-05"},
      {R"("scale_attn_weights": false)", "key 'scale_attn_weights': false is not possible; use true"},
      {R"("scale_attn_by_inverse_layer_idx": true)",
       "key 'scale_attn_by_inverse_layer_idx': true is not possible; use false"},
      {R"("tie_word_embeddings": false)", "key 'tie_word_embeddings': false is not possible; use true"},
      {R"("n_inner": "64")", "key 'n_inner': needs a whole number, got \"64\""},
      {R"("n_positions": 1000000000000)", "key 'n_positions': 1000000000000 is not possible; use 1 to 2147483647"},
      {R"("n_head": -2)", "key 'n_head': -2 is not possible"},
      {R"("linear": "dense")", "key 'linear': needs an object, got \"dense\""},
      {R"("linear": {"qkv": 5})", "key 'linear.qkv': needs a text, got 5"},
  };
  for (const auto& [keys, message] : refused) {
    CAPTURE(keys);
    REQUIRE_THROWS_WITH(read(keys), says((folder / "config.json").string() + ": " + message));
  }
}

TEST_CASE("a ViT has the formula of GELU that its config names") {
  VitConfig config = kVit;
  const Vit exact(Scope::root(DType::f64, 1), config);
  config.gelu = kernels::Gelu::tanh;
  const Vit tanh(Scope::root(DType::f64, 1), config);
  const Tensor images = randn({2, 3, 16, 16}, DType::f32, 2);
  const double difference = relative_error(tanh(images).value(), exact(images).value());
  REQUIRE(difference > 1e-9);
  REQUIRE(difference < 1e-2);

  const test::TemporaryFolder folder;
  write_safetensors(folder / "model.safetensors", export_weights(tanh, tanh.timm()));
  const SafetensorsFile weights(folder / "model.safetensors");
  const auto read_back = [&](const std::string& gelu) {
    const auto config_file = folder.write("config.json", R"({"patch": 4, "width": 32, "depth": 2, "heads": 2)" + gelu + "}");
    return read_vit_config(config_file, weights).gelu;
  };
  REQUIRE(read_back("") == kernels::Gelu::erf);
  REQUIRE(read_back(R"(, "gelu": "tanh")") == kernels::Gelu::tanh);
  REQUIRE_THROWS_WITH(read_back(R"(, "gelu": "relu")"), says("gelu 'relu' is unknown; valid: erf, tanh"));
}
