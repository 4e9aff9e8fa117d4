// Gradients of autograd functions against central finite differences, in f64, with a random cotangent.
#pragma once
#include <vector>

#include "autograd/ops.h"
#include "tests/support/compare.h"

namespace ashlar::test {

using TensorFunction = std::function<Tensor(const std::vector<Tensor>&)>;

inline Array r(const Shape& shape, std::uint64_t key) { return randn(shape, DType::f64, key); }

// Random values of 0.5 and more, to divide by and to take logarithms and roots of.
inline Array positive(const Shape& shape, std::uint64_t key) {
  std::vector<double> values = randn(shape, DType::f64, key).to_vector<double>();
  for (double& v : values) v = 0.5 + std::abs(v);
  return Array::from(values, shape);
}

struct GradcheckResult {
  double error = 0;  // the largest relative error over the inputs; NaN or infinite when something is wrong
  std::size_t worst = 0;
};

// The gradients of leaves made from `inputs`, where differentiate(f(leaves)) runs backward.
template <class Differentiate>
std::vector<Array> gradients(const TensorFunction& f, const std::vector<Array>& inputs, const Differentiate& differentiate) {
  std::vector<Tensor> leaves;
  for (const Array& input : inputs) leaves.push_back(Tensor::leaf(input));
  differentiate(f(leaves));
  std::vector<Array> result;
  for (const Tensor& leaf : leaves) result.push_back(leaf.grad());
  return result;
}

// f maps leaves made from `inputs` (f64) to a tensor. A gradient that is zero everywhere counts as wrong: give inputs
// on which f depends.
inline GradcheckResult gradcheck(const TensorFunction& f, const std::vector<Array>& inputs) {
  Array cotangent;
  const auto got = gradients(f, inputs, [&](const Tensor& y) {
    cotangent = randn(y.shape(), DType::f64, 4242);
    y.backward(cotangent);
  });
  // A sum hands on one value that strides of 0 repeat; it must count as if it were written out.
  const auto repeated = gradients(f, inputs, [](const Tensor& y) { F::sum(y).backward(); });
  const auto written = gradients(f, inputs, [](const Tensor& y) { y.backward(Array::full(y.shape(), 1, DType::f64)); });
  GradcheckResult result;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Array expected = finite_difference(inputs[i], cotangent, [&](const Array& changed) {
      std::vector<Tensor> constants(inputs.begin(), inputs.end());
      constants[i] = Tensor(changed);
      return f(constants).value();
    });
    const double difference = norm(F::sub(repeated[i], written[i]).value()) / norm(got[i]);
    const double error = relative_error(got[i], expected) + difference;  // NaN if either is
    if (!(error <= result.error)) result = {error, i};
    if (std::isnan(error)) break;  // the next comparison would forget it
  }
  return result;
}

constexpr double kGradcheckTolerance = 1e-6;

}  // namespace ashlar::test

// Checks all inputs of a TensorFunction and says which is wrong.
#define REQUIRE_GRADIENTS(function, ...)                                                          \
  do {                                                                                            \
    const auto gradcheck_result = ::ashlar::test::gradcheck(function, std::vector<Array>{__VA_ARGS__}); \
    INFO("input " << gradcheck_result.worst);                                                     \
    REQUIRE(gradcheck_result.error <= ::ashlar::test::kGradcheckTolerance);                       \
  } while (false)
