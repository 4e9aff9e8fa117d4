// The checker itself: wrong backwards of softmax-like and norm-like operations and of products must be caught.
#include <algorithm>

#include "autograd/function.h"
#include "tests/support/catch.h"
#include "tests/support/gradcheck.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

enum class Fault { none, scaled, sign, dropped, transposed, zero, nan };

Array changed(const Array& gradient, Fault fault) {
  auto values = gradient.to_vector<double>();
  const auto columns = static_cast<std::size_t>(gradient.size(-1)), rows = values.size() / columns;
  std::vector<double> result = values;
  const auto largest = static_cast<std::size_t>(
      std::ranges::max_element(values, {}, [](double v) { return std::abs(v); }) - values.begin());
  for (std::size_t i = 0; i < values.size(); ++i) {
    switch (fault) {
      case Fault::none: break;
      case Fault::scaled: result[i] = 3 * values[i]; break;
      case Fault::sign: result[i] = -values[i]; break;
      case Fault::dropped: if (i == largest) result[i] = 0; break;
      case Fault::transposed: result[i] = values[i % columns * rows + i / columns]; break;
      case Fault::zero: result[i] = 0; break;
      case Fault::nan: result[i] = std::nan(""); break;
    }
  }
  return Array::from(result, gradient.shape());
}

struct Spoil : Function<Spoil> {
  static constexpr const char* name = "spoil";
  static Array forward(Context& ctx, const Array& x, const Fault& fault) {
    ctx.keep(fault);
    return x.clone();
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {changed(dy, ctx.kept<Fault>())}; }
};

// Right only for gradients that lie row by row without gaps.
struct Dense : Function<Dense> {
  static constexpr const char* name = "dense";
  static Array forward(Context&, const Array& x) { return x.clone(); }
  static std::array<Array, 1> backward(Context&, const Array& dy) {
    return {dy.contiguous() ? dy : Array::zeros(dy.shape(), dy.dtype())};
  }
};

// A correct operation with its first gradient spoiled.
TensorFunction spoiled(const TensorFunction& inner, Fault fault) {
  return [inner, fault](const std::vector<Tensor>& t) {
    std::vector<Tensor> inputs = t;
    inputs[0] = Spoil::apply(t[0], fault);
    return inner(inputs);
  };
}

void check_all_faults(const TensorFunction& inner, const std::vector<Array>& inputs) {
  REQUIRE(gradcheck(spoiled(inner, Fault::none), inputs).error <= kGradcheckTolerance);
  for (const Fault fault : {Fault::scaled, Fault::sign, Fault::dropped, Fault::transposed, Fault::zero, Fault::nan}) {
    INFO("fault " << static_cast<int>(fault));
    REQUIRE_FALSE(gradcheck(spoiled(inner, fault), inputs).error <= kGradcheckTolerance);
  }
}

}  // namespace

TEST_CASE("the gradient check rejects every kind of wrong backward") {
  SECTION("cross-entropy") {
    const Array ids = random_ids({5}, 4, 1);
    check_all_faults([=](const auto& t) { return F::cross_entropy(t[0], {.target = ids}); }, {randn({5, 4}, DType::f64, 2)});
  }
  SECTION("layer_norm") {
    check_all_faults([](const auto& t) { return F::layer_norm(t[0], t[1], t[2], 1e-5); },
                     {randn({3, 5}, DType::f64, 3), randn({5}, DType::f64, 4), randn({5}, DType::f64, 5)});
  }
  SECTION("matmul") {
    check_all_faults([](const auto& t) { return F::matmul(t[0], t[1]); },
                     {randn({3, 4}, DType::f64, 6), randn({4, 2}, DType::f64, 7)});
  }
  SECTION("attention") {
    check_all_faults([](const auto& t) { return F::scaled_dot_product_attention(t[0], t[1], t[2], true); },
                     {randn({1, 2, 5, 3}, DType::f64, 8), randn({1, 2, 5, 3}, DType::f64, 9), randn({1, 2, 5, 3}, DType::f64, 10)});
  }
  SECTION("a gradient that strides of 0 repeat") {
    REQUIRE_FALSE(gradcheck([](const auto& t) { return Dense::apply(t[0]); }, {randn({3, 4}, DType::f64, 11)}).error <=
                  kGradcheckTolerance);
  }
}
