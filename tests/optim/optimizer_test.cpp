#include "optim/optimizer.h"

#include "optim/adamw.h"
#include "optim/make_optimizer.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

void train(Optimizer& optimizer, const Parameters& parameters, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t step = begin; step < end; ++step) {
    set_gradients(parameters, step);
    optimizer.step(1.0 / static_cast<double>(step + 1), 0.5);
    optimizer.zero_grad();
  }
}

bool same_weights(const Parameters& a, const Parameters& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) same = bitwise_equal(a[i].tensor.value(), b[i].tensor.value());
  return same;
}

// With intervals and ranks that matter in a few steps on small matrices.
OptimizerConfig small_config(const std::string& name) {
  OptimizerConfig config{.name = name};
  for (const auto& [key, value] : default_settings(name)) {
    if (key == "refresh_every") config.settings[key] = 3;
    if (key == "rank") config.settings[key] = 2;
  }
  return config;
}

State clone(const State& state) {
  State copy;
  for (const auto& [key, values] : state) copy[key] = values.clone();
  return copy;
}

}  // namespace

TEST_CASE("only matrices are decayed by default") {
  const Parameters parameters = make_parameters();
  SgdOptions options;
  options.weight_decay = 0.1;
  const Sgd sgd(parameters, options);
  for (const Slot& slot : sgd.slots()) {
    REQUIRE(slot.weight_decay == (slot.parameter.info.role == Role::matrix ? 0.1 : 0.0));
  }
  options.decayed = {Role::matrix, Role::embedding};
  REQUIRE(slot_of(Sgd(parameters, options), "wte.weight").weight_decay == 0.1);
}

TEST_CASE("the first matching group rule sets learning rate and decay") {
  const Parameters parameters = make_parameters();
  AdamWOptions options;
  options.lr = 1;
  options.weight_decay = 0.1;
  const auto is_matrix = [](const Parameter& p) { return p.info.role == Role::matrix; };
  options.groups = {{.match = name_is("blocks.*.U"), .lr_factor = 2},
                    {.match = is_matrix, .weight_decay = 0.3, .lr_factor = 3},
                    {.match = name_is("*weight"), .weight_decay = 0.4},
                    {.match = name_is("blocks"), .weight_decay = 9, .lr_factor = 9}};
  const AdamW adamw(parameters, options);
  const auto check = [&](const char* name, double lr, double weight_decay) {
    INFO(name);
    REQUIRE(slot_of(adamw, name).lr == lr);
    REQUIRE(slot_of(adamw, name).weight_decay == weight_decay);
  };
  check("blocks.0.fc.U", 2, 0.1);
  check("blocks.0.fc.weight", 3, 0.3);
  check("norm.weight", 1, 0.4);  // a rule's decay holds whatever the role
  check("blocks.0.fc.bias", 1, 0);
}

TEST_CASE("name patterns") {
  const auto matches = [](const std::string& pattern, const std::string& name) {
    return name_is(pattern)(make_parameter(name, {1}));
  };
  REQUIRE(matches("a.b", "a.b"));
  REQUIRE_FALSE(matches("a.b", "a.b.c"));
  REQUIRE_FALSE(matches("a.b.c", "a.b"));
  REQUIRE(matches("*", "a"));
  REQUIRE(matches("a*", "a"));
  REQUIRE(matches("*.weight", "h.0.weight.weight"));
  REQUIRE(matches("h.*.mlp.*.weight", "h.11.mlp.c_fc.weight"));
  REQUIRE_FALSE(matches("h.*.mlp.*.weight", "h.11.attn.c_fc.weight"));
  REQUIRE(matches("*ab*ab", "abcabab"));
  REQUIRE_FALSE(matches("", "a"));
}

TEST_CASE("learning rate and schedule multiply") {
  const Parameters parameters{make_parameter("w", {5})};
  SgdOptions options;
  options.lr = 0.5;
  options.momentum = options.weight_decay = 0;
  Sgd sgd(parameters, options);
  set_gradients(parameters, 0);
  auto w = parameters[0].tensor.value().to_vector<double>();
  const auto g = parameters[0].tensor.grad().to_vector<double>();
  for (std::size_t i = 0; i < w.size(); ++i) w[i] -= 0.5 * 0.25 * 0.125 * g[i];
  sgd.step(0.25, 0.125);
  REQUIRE(relative_error(parameters[0].tensor.value(), Array::from(w, {5})) <= 1e-6);
}

TEST_CASE("resuming from the state continues bit for bit") {
  for (const std::string& name : optimizer_names()) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      INFO(name << " " << dtype);
      const Parameters whole = make_parameters(dtype), half = make_parameters(dtype);
      const auto straight = make_optimizer(whole, small_config(name));
      train(*straight, whole, 0, 10);
      const auto first = make_optimizer(half, small_config(name));
      train(*first, half, 0, 5);
      const State saved = clone(first->state());
      const auto second = make_optimizer(half, small_config(name));
      second->load_state(saved);
      train(*second, half, 5, 10);
      REQUIRE(same_weights(half, whole));
      for (const auto& [key, values] : straight->state()) REQUIRE(bitwise_equal(second->state().at(key), values));

      // Without the state the result differs: the test can fail.
      const Parameters forgetful = make_parameters(dtype);
      train(*make_optimizer(forgetful, small_config(name)), forgetful, 0, 5);
      train(*make_optimizer(forgetful, small_config(name)), forgetful, 5, 10);
      REQUIRE_FALSE(same_weights(forgetful, whole));
    }
  }
}

TEST_CASE("grad_scale multiplies the gradient of every optimizer") {
  for (const std::string& name : optimizer_names()) {
    INFO(name);
    const auto run = [&](double larger) {
      const Parameters parameters = make_parameters();
      const auto optimizer = make_optimizer(parameters, small_config(name));
      for (std::uint64_t step = 0; step < 5; ++step) {
        set_gradients(parameters, step);
        for (const Parameter& p : parameters) {
          const Array gradient = p.tensor.grad();
          for (Dim i = 0; i < gradient.numel(); ++i) gradient.data<float>()[i] *= static_cast<float>(larger);
        }
        optimizer->step(1, 1 / larger);
      }
      return parameters;
    };
    REQUIRE(same_weights(run(4), run(1)));
  }
}

TEST_CASE("training does not depend on the number of threads") {
  // With more than one thread takes alone: a batch of factors, and a vector.
  const Array partners = randn({4, 200, 160}, DType::f32, 1);
  for (const std::string& name : optimizer_names()) {
    INFO(name);
    const auto run = [&](int threads) {
      const ThreadCount count(threads);
      Parameters parameters = make_parameters();
      parameters.push_back(make_parameter("blocks.1.fc.U", {4, 96, 160}));
      parameters.back().info.gram = [partners] { return linalg::gram(partners); };
      parameters.push_back(make_parameter("blocks.1.fc.bias", {50000}, Role::bias));
      train(*make_optimizer(parameters, small_config(name)), parameters, 0, 4);
      return parameters;
    };
    REQUIRE(same_weights(run(1), run(2)));
  }
}

TEST_CASE("a step that is recorded and replayed is the step") {
  for (const std::string& name : optimizer_names()) {
    INFO(name);
    const Parameters by_step = make_parameters(), by_replay = make_parameters();
    const auto stepping = make_optimizer(by_step, {.name = name}), replaying = make_optimizer(by_replay, {.name = name});
    if (!replaying->can_record()) {
      REQUIRE_THROWS_WITH(replaying->record_step(), says("cannot be recorded"));
      continue;
    }
    const auto lr_factor = [](const Slot& slot) { return slot.weight_decay > 0 ? 0.5 : 0.25; };
    for (std::uint64_t step = 0; step < 4; ++step) {
      set_gradients(by_step, step);
      set_gradients(by_replay, step);
      stepping->step(lr_factor, 1);
      // On the CPU nothing is recorded: the step is taken.
      replaying->begin_replay(lr_factor);
      replaying->record_step();
    }
    REQUIRE(same_weights(by_replay, by_step));
    for (const auto& [key, values] : stepping->state()) REQUIRE(bitwise_equal(replaying->state().at(key), values));
  }
}

TEST_CASE("a step whose numbers cannot be had is not counted") {
  struct Numberless final : Optimizer {
    explicit Numberless(const Parameters& parameters) : Optimizer(parameters, {}) {}
    void update_all(const std::vector<Update>&) override { updated = true; }
    StepNumbers numbers_of(Slot&, double) const override { throw Error("no numbers"); }
    bool can_record() const override { return true; }
    bool updated = false;
  };
  const Parameters parameters = make_parameters();
  Numberless optimizer(parameters);
  set_gradients(parameters, 1);
  REQUIRE_THROWS_WITH(optimizer.step(), "no numbers");
  REQUIRE_THROWS_WITH(optimizer.begin_replay([](const Slot&) { return 1.0; }), "no numbers");
  REQUIRE_FALSE(optimizer.updated);
  for (Slot slot : optimizer.slots()) REQUIRE(slot.steps() == 0);
}

TEST_CASE("state is named after the parameters and counted") {
  const Parameters parameters = make_parameters();
  const AdamW adamw(parameters);
  Dim elements = 0;
  for (const Parameter& p : parameters) elements += p.tensor.value().numel();
  REQUIRE(adamw.state_bytes() == static_cast<std::size_t>(elements) * 8 + parameters.size() * 8);
  const State state = adamw.state();
  REQUIRE(state.size() == 3 * parameters.size());
  REQUIRE(state.at("blocks.0.fc.U/exp_avg").shape() == Shape{3, 5, 4});
  REQUIRE(state.at("blocks.0.fc.U/exp_avg_sq").shape() == Shape{3, 5, 4});
  REQUIRE(state.at("norm.weight/step").dtype() == DType::i64);
}

TEST_CASE("state of another model is refused as a whole") {
  const Parameters parameters = make_parameters();
  AdamW adamw(parameters);
  train(adamw, parameters, 0, 3);
  const State before = clone(adamw.state());
  State other = clone(before);
  other.erase("norm.weight/exp_avg");
  other["extra/exp_avg"] = Array::zeros({2});
  other["blocks.0.fc.bias/exp_avg"] = Array::zeros({8});
  other["wte.weight/step"] = Array::zeros({1});
  const std::string message = message_of<InputError>([&] { adamw.load_state(other); });
  REQUIRE_THAT(message, says("missing: norm.weight/exp_avg"));
  REQUIRE_THAT(message, says("unexpected: extra/exp_avg"));
  REQUIRE_THAT(message, says("of another shape: blocks.0.fc.bias/exp_avg (f32 (8) instead of f32 (7))"));
  REQUIRE_THAT(message, says("wte.weight/step (f32 (1) instead of i64 (1))"));
  for (const auto& [key, values] : before) REQUIRE(bitwise_equal(adamw.state().at(key), values));
}

TEST_CASE("a parameter without a gradient is an error, and nothing has changed") {
  const Parameters parameters = make_parameters(), untouched = make_parameters();
  AdamW strict(parameters);
  set_gradients(parameters, 0);
  parameters[2].tensor.zero_grad();
  REQUIRE_THAT(message_of<Error>([&] { strict.step(); }), says("no gradient reached blocks.0.fc.S"));
  REQUIRE(same_weights(parameters, untouched));
  REQUIRE(strict.state().at("norm.weight/step").item() == 0);
}

TEST_CASE("gradients may be strided or of another dtype") {
  const Parameters a{make_parameter("w", {7, 5})}, b{make_parameter("w", {7, 5})}, c{make_parameter("w", {7, 5})};
  const Array gradient = randn({7, 5}, DType::bf16, 3);
  a[0].tensor.set_grad(gradient.to(DType::f32));
  b[0].tensor.set_grad(gradient.to(DType::f32).transpose(0, 1).clone().transpose(0, 1));
  c[0].tensor.set_grad(gradient);
  REQUIRE_FALSE(b[0].tensor.grad().contiguous());
  for (const Parameters& p : {a, b, c}) AdamW(p).step();
  REQUIRE(same_weights(a, b));
  REQUIRE(same_weights(a, c));
}

TEST_CASE("parameters that cannot be optimized are refused") {
  const Parameter w = make_parameter("w", {3});
  REQUIRE_THAT(message_of<InputError>([&] { AdamW({w, make_parameter("w", {4})}); }), says("w is given twice"));
  REQUIRE_THAT(message_of<InputError>([&] { AdamW({w, {"tied", w.tensor, {}}}); }), says("w and tied are the same"));
  REQUIRE_THAT(message_of<InputError>([&] { AdamW({{"lost", Tensor(), {}}}); }), says("lost has no tensor"));
  REQUIRE_THAT(message_of<InputError>([&] { AdamW({make_parameter("b", {3}, Role::matrix, DType::bf16)}); }),
               says("keep master weights in f32 or f64"));
  REQUIRE_THAT(message_of<InputError>([&] {
                 AdamW({{"t", Tensor::leaf(randn({3, 4}, DType::f32, 1).transpose(0, 1)), {}}});
               }),
               says("not contiguous"));
  REQUIRE_THROWS_AS(AdamW({}), InputError);
}

TEST_CASE("settings by name reach the optimizer") {
  const Parameters by_name{make_parameter("w", {11})}, by_type{make_parameter("w", {11})};
  SgdOptions options;
  options.lr = 0.3;
  options.momentum = 0.7;
  options.nesterov = true;
  Sgd sgd(by_type, options);
  const auto named = make_optimizer(
      by_name, {.name = "sgd", .settings = {{"lr", 0.3}, {"momentum", 0.7}, {"nesterov", 1}}});
  train(sgd, by_type, 0, 3);
  train(*named, by_name, 0, 3);
  REQUIRE(same_weights(by_name, by_type));
  REQUIRE(default_settings("adamw").at("beta2") == 0.999);
}
