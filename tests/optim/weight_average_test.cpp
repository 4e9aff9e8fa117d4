#include "optim/weight_average.h"

#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

namespace {

Parameters one(double value) { return {{"w", Tensor::leaf(Array::full({3}, value, DType::f64)), {}}}; }

double first(const Array& a) { return a.to_vector<double>()[0]; }

}  // namespace

TEST_CASE("the average forgets the first weights soon and follows with its decay later") {
  const Parameters parameters = one(1);
  WeightAverage average(parameters, 0.9);
  copy(Array::full({3}, 2, DType::f64), parameters[0].tensor.value());
  average.update(1);
  const double after_one = 2.0 / 11 * 1 + 9.0 / 11 * 2;
  REQUIRE(std::abs(first(average.state().at("w")) - after_one) <= 1e-15);
  average.update(1000);
  REQUIRE(std::abs(first(average.state().at("w")) - (0.9 * after_one + 0.1 * 2)) <= 1e-15);
}

TEST_CASE("swapping shows the average in the weights, and swapping again the weights") {
  const Parameters parameters = one(1);
  WeightAverage average(parameters, 0.5);
  copy(Array::full({3}, 4, DType::f64), parameters[0].tensor.value());
  average.swap();
  REQUIRE(all_equal(parameters[0].tensor.value(), 1));
  average.swap();
  REQUIRE(all_equal(parameters[0].tensor.value(), 4));
  REQUIRE(all_equal(average.state().at("w"), 1));
}

TEST_CASE("the average is loaded as a whole or not at all") {
  WeightAverage average(one(1), 0.5);
  average.load_state({{"w", Array::full({3}, 7, DType::f64)}});
  REQUIRE(all_equal(average.state().at("w"), 7));
  const std::string message =
      message_of<InputError>([&] { average.load_state({{"v", Array::full({3}, 8, DType::f64)}}); });
  REQUIRE_THAT(message, says("missing: w; unexpected: v"));
  REQUIRE(all_equal(average.state().at("w"), 7));
  for (const double decay : {-0.1, 1.0, std::nan("")}) REQUIRE_THROWS_AS(WeightAverage(one(1), decay), InputError);
}
