#include "kernels/clip/clip.h"

#include "kernels/reduce/reduce.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::ClipRule;

namespace {

// Clips copies of `gradients`; their norm together is `norm`.
std::vector<Array> clipped(const std::vector<Array>& gradients, const ClipRule& rule) {
  std::vector<Array> result;
  for (const Array& gradient : gradients) result.push_back(gradient.clone());
  const Array squares = Array::empty({static_cast<Dim>(result.size())}, DType::f64);
  kernels::sums_of_squares(Exec{}, std::vector<ConstView>(result.begin(), result.end()), squares);
  kernels::clip_gradients(Exec{}, std::vector<View>(result.begin(), result.end()), squares, rule);
  return result;
}

}  // namespace

TEST_CASE("gradients above the norm come down to it together, others stay as they are", "[clip]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const std::vector<Array> gradients{randn({7, 5}, dtype, 1), randn({4099}, dtype, 2), randn({0}, dtype, 3)};
    double sum = 0;
    for (const Array& gradient : gradients) {
      for (const double value : gradient.to_vector<double>()) sum += value * value;
    }
    const double norm = std::sqrt(sum);
    for (const double accumulated : {1.0, 3.0}) {
      for (const double share : {0.0, 0.25, 0.999, 1.5}) {
        CAPTURE(name_of(dtype), accumulated, share);
        const double max_norm = share * norm / accumulated;
        const double factor = (share > 0 && share < 1 ? share : 1) / accumulated;
        const auto result = clipped(gradients, {max_norm, accumulated});
        for (std::size_t i = 0; i < 2; ++i) {
          const auto before = gradients[i].to_vector<double>(), after = result[i].to_vector<double>();
          for (std::size_t k = 0; k < before.size(); ++k) {
            CHECK(std::abs(after[k] - factor * before[k]) <= 1e-6 * std::abs(before[k]));
          }
          if (factor == 1) CHECK(bitwise_equal(result[i], gradients[i]));
        }
      }
    }
  }
}

TEST_CASE("clip_gradients names what is wrong with its input", "[clip]") {
  const Array gradient = randn({6, 4}, DType::f32, 1), squares = Array::full({1}, 2, DType::f64);
  const auto clip = [](const Array& g, const Array& s, const ClipRule& rule) {
    const std::vector<View> views{g};
    kernels::clip_gradients(Exec{}, views, s, rule);
  };
  CHECK_THROWS_AS(clip(gradient.transpose(0, 1), squares, {1, 1}), InputError);
  CHECK_THROWS_AS(clip(gradient.to(DType::bf16), squares, {1, 1}), InputError);
  CHECK_THROWS_AS(clip(gradient, squares.to(DType::f32), {1, 1}), InputError);
  CHECK_THROWS_AS(clip(gradient, squares, {-1, 1}), InputError);
  CHECK_THROWS_AS(clip(gradient, squares, {1, 0}), InputError);
}
