#include "optim/soap.h"

#include "kernels/linalg/linalg.h"
#include "optim/make_optimizer.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

Array identities(const Shape& shape, DType dtype) {
  return linalg::damped(Array::zeros(shape, dtype), [](Dim) { return 1.0; });
}

SoapOptions like_adamw(const AdamWOptions& adamw) {
  SoapOptions options;
  options.lr = options.adamw_lr = adamw.lr;
  options.weight_decay = adamw.weight_decay;
  options.adam = adamw.adam;
  return options;
}

void train(Optimizer& optimizer, const Parameters& parameters, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t step = begin; step < end; ++step) {
    set_gradients(parameters, step);
    optimizer.step(1, 0.5);
  }
}

}  // namespace

TEST_CASE("SOAP without a side to precondition is AdamW") {
  const Parameters a = make_parameters(DType::f64), b = make_parameters(DType::f64);
  const AdamWOptions options;
  AdamW adamw(a, options);
  SoapOptions soap_options = like_adamw(options);
  soap_options.max_precond_dim = 1;
  Soap soap(b, soap_options);
  train(adamw, a, 0, 5);
  train(soap, b, 0, 5);
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(relative_error(b[i].tensor.value(), a[i].tensor.value()) <= 1e-14);
  }
}

TEST_CASE("SOAP with identity bases is AdamW") {
  const Parameters a{make_parameter("w", {3, 5, 4}, Role::matrix, DType::f64)};
  const Parameters b{make_parameter("w", {3, 5, 4}, Role::matrix, DType::f64)};
  const AdamWOptions options;
  AdamW adamw(a, options);
  SoapOptions soap_options = like_adamw(options);
  soap_options.refresh_every = 100;
  Soap soap(b, soap_options);
  const Array start = b[0].tensor.value().clone();
  train(soap, b, 0, 1);
  REQUIRE(bitwise_equal(b[0].tensor.value(), start));  // the first step looks for the bases
  for (const char* key : {"w/left_basis", "w/right_basis"}) {
    const Array basis = soap.state().at(key);
    REQUIRE(relative_error(linalg::gram(basis), identities(basis.shape(), DType::f64)) <= 1e-13);
    copy(identities(basis.shape(), DType::f64), basis);
  }
  train(adamw, a, 1, 6);
  train(soap, b, 1, 6);
  REQUIRE(relative_error(b[0].tensor.value(), a[0].tensor.value()) <= 1e-14);
}

TEST_CASE("SOAP does not see a rotation of its matrices: the weights of a rotated problem are rotated") {
  const Array left = linalg::orthonormal_columns(randn({1, 5, 5}, DType::f64, 1));
  const Array right = linalg::orthonormal_columns(randn({1, 5, 5}, DType::f64, 2));
  const auto rotated = [&](const Array& x) {
    return linalg::product(linalg::product(left, x.reshape({1, 5, 5})), right).reshape({5, 5});
  };
  const Parameters a{make_parameter("w", {5, 5}, Role::matrix, DType::f64)};
  const Parameters b{{"w", Tensor::leaf(rotated(a[0].tensor.value())), {}}};
  SoapOptions options;
  options.refresh_every = 2;
  Soap plain(a, options), turned(b, options);
  for (std::uint64_t step = 0; step < 8; ++step) {
    set_gradients(a, step);
    b[0].tensor.set_grad(rotated(a[0].tensor.grad()));
    plain.step();
    turned.step();
  }
  REQUIRE(relative_error(b[0].tensor.value(), rotated(a[0].tensor.value())) <= 1e-9);
}

TEST_CASE("SOAP keeps state for the sides up to its limit, of each block for itself") {
  SoapOptions options;
  options.max_precond_dim = 5;
  const Parameters parameters = make_parameters();
  const Soap soap(parameters, options);
  const State state = soap.state();
  REQUIRE(state.count("blocks.0.fc.weight/left_basis") == 0);  // 7 rows
  REQUIRE(state.at("blocks.0.fc.weight/right_basis").shape() == Shape{1, 5, 5});
  REQUIRE(state.at("blocks.0.fc.U/left_average").shape() == Shape{3, 5, 5});
  REQUIRE(state.at("blocks.0.fc.U/right_average").shape() == Shape{3, 4, 4});
  REQUIRE(state.count("wte.weight/left_basis") == 0);
  REQUIRE(slot_of(soap, "blocks.0.fc.weight").lr == options.lr);
  // Without such a side a matrix gets AdamW, at its learning rate.
  options.max_precond_dim = 4;
  const Soap thin(parameters, options);
  REQUIRE(slot_of(thin, "blocks.0.fc.weight").lr == options.adamw_lr);
  REQUIRE(slot_of(thin, "blocks.0.fc.U").lr == options.lr);
}

TEST_CASE("SOAP refuses settings that mean nothing") {
  const Parameters parameters = make_parameters();
  SoapOptions options;
  options.refresh_every = 0;
  REQUIRE_THROWS_WITH(Soap(parameters, options), says("soap: refresh_every must be at least 1"));
  options.refresh_every = 1;
  options.max_precond_dim = 0;
  REQUIRE_THROWS_WITH(Soap(parameters, options), says("soap: max_precond_dim must be at least 1"));
}

TEST_CASE("a matrix that cannot be decomposed is named") {
  for (const std::string name : {"soap", "shampoo", "galore"}) {
    const Parameters parameters = make_parameters();
    const auto optimizer = make_optimizer(parameters, {.name = name, .settings = name == "galore" ? Settings{{"rank", 2}} : Settings{}});
    set_gradients(parameters, 0);
    for (const Parameter& p : parameters) {
      if (p.name == "blocks.0.fc.U") p.tensor.set_grad(Array::full(p.tensor.shape(), std::nan("")));
    }
    const std::string message = message_of<Error>([&] { optimizer->step(); });
    REQUIRE_THAT(message, says(name + ": blocks.0.fc.U: "));
    REQUIRE_THAT(message, says("a value is not finite"));
  }
}
