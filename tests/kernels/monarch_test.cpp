// What the suite of linear maps does not see: absent outputs, padding, rows inside a wider matrix, errors.
#include "kernels/monarch/monarch.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// Enough rows for two ranges of the sums, more output blocks than input blocks, and padding in the last block of each.
constexpr Dim kRows = 2100, kIn = 31, kOut = 22, kB1 = 4, kB2 = 3, kC = 2, kP = 6, kQ = 11, kHidden = kB1 * kB2 * kC;

struct Operands {
  Array x = randn({kRows, kIn}, DType::f32, 1), r = randn({kB2, kB1 * kC, kQ}, DType::f32, 2),
        l = randn({kB1, kP, kB2 * kC}, DType::f32, 3), bias = randn({kOut}, DType::f32, 4),
        dy = randn({kRows, kOut}, DType::f32, 5);
};

struct Results {
  Array y, h, dx, dr, dl, dbias;
  explicit Results(const Operands& in)
      : y(nan_like(in.dy)), h(Array::full({kRows, kHidden}, NAN)), dx(nan_like(in.x)), dr(nan_like(in.r)),
        dl(nan_like(in.l)), dbias(nan_like(in.bias)) {
    kernels::monarch_forward({}, in.x, in.r, in.l, in.bias, h, y);
    leave_nan_behind(in.r.numel());
    leave_nan_behind(in.l.numel());
    kernels::monarch_backward({}, in.dy, in.x, h, in.r, in.l, dx, dr, dl, dbias);
  }
};

}  // namespace

TEST_CASE("monarch takes different numbers of blocks on its two sides", "[kernels]") {
  const Operands in;
  const Results got(in);
  const auto x = in.x.to_vector<double>(), r = in.r.to_vector<double>(), l = in.l.to_vector<double>(),
             bias = in.bias.to_vector<double>();
  std::vector<double> y(static_cast<std::size_t>(kRows * kOut));
  for (Dim t = 0; t < kRows; ++t) {
    for (Dim o = 0; o < kOut; ++o) {
      double sum = bias[static_cast<std::size_t>(o)];
      for (Dim f = 0; f < kIn; ++f) {
        for (Dim k = 0; k < kC; ++k) {
          const Dim left = o * kB2 * kC + f / kQ * kC + k, right = ((f / kQ * kB1 + o / kP) * kC + k) * kQ + f % kQ;
          sum += l[static_cast<std::size_t>(left)] * r[static_cast<std::size_t>(right)] * x[static_cast<std::size_t>(t * kIn + f)];
        }
      }
      y[static_cast<std::size_t>(t * kOut + o)] = sum;
    }
  }
  CHECK(relative_error(got.y, Array::from(y, {kRows, kOut})) <= tolerance(DType::f32, kIn));
}

// Y is linear in each operand: its derivative in a direction is Y with the direction in place of the operand.
TEST_CASE("monarch's gradients tell how Y moves in any direction", "[kernels]") {
  const Operands in;
  const Results got(in);
  const auto check = [&](const Array& gradient, const Array& direction, const Array& x, const Array& r, const Array& l) {
    Array moved = nan_like(in.dy);
    kernels::monarch_forward({}, x, r, l, {}, {}, moved);
    const double expected = dot(in.dy, moved);
    CHECK(std::abs(dot(gradient, direction) - expected) <= 1e-6 * norm(in.dy) * norm(moved));
  };
  const Array dx = randn(in.x.shape(), DType::f32, 6), dr = randn(in.r.shape(), DType::f32, 7),
              dl = randn(in.l.shape(), DType::f32, 8);
  check(got.dx, dx, dx, in.r, in.l);
  check(got.dr, dr, in.x, dr, in.l);
  check(got.dl, dl, in.x, in.r, dl);
}

TEST_CASE("monarch gives padding exactly zero and does not read it", "[kernels]") {
  Operands in;
  const Results clean(in);
  for (Dim row = kOut; row < kB1 * kP; ++row) {
    for (Dim k = 0; k < kB2 * kC; ++k) {
      REQUIRE(clean.dl.data<float>()[row * kB2 * kC + k] == 0.0f);
      in.l.data<float>()[row * kB2 * kC + k] = NAN;
    }
  }
  for (Dim row = (kB2 - 1) * kB1 * kC; row < kB2 * kB1 * kC; ++row) {
    for (Dim k = kIn - (kB2 - 1) * kQ; k < kQ; ++k) {
      REQUIRE(clean.dr.data<float>()[row * kQ + k] == 0.0f);
      in.r.data<float>()[row * kQ + k] = NAN;
    }
  }
  const Results got(in);
  CHECK(bitwise_equal(got.y, clean.y));
  CHECK(bitwise_equal(got.dx, clean.dx));
  CHECK(bitwise_equal(got.dr, clean.dr));
  CHECK(bitwise_equal(got.dl, clean.dl));
}

TEST_CASE("monarch leaves out absent outputs and changes no bit of the others", "[kernels]") {
  const Operands in;
  const Results all(in);
  for (int mask = 0; mask < 16; ++mask) {
    Array dx = nan_like(in.x), dr = nan_like(in.r), dl = nan_like(in.l), dbias = nan_like(in.bias);
    const auto given = [&](int bit, Array& a) { return mask >> bit & 1 ? View(a) : View{}; };
    kernels::monarch_backward({}, in.dy, in.x, all.h, in.r, in.l, given(0, dx), given(1, dr), given(2, dl), given(3, dbias));
    INFO("outputs given: " << mask);
    CHECK((bitwise_equal(dx, all.dx) || !(mask & 1)));
    CHECK((bitwise_equal(dr, all.dr) || !(mask & 2)));
    CHECK((bitwise_equal(dl, all.dl) || !(mask & 4)));
    CHECK((bitwise_equal(dbias, all.dbias) || !(mask & 8)));
  }
  Array y = nan_like(in.dy), with_zero = nan_like(in.dy);
  kernels::monarch_forward({}, in.x, in.r, in.l, {}, {}, y);
  kernels::monarch_forward({}, in.x, in.r, in.l, Array::zeros({kOut}), {}, with_zero);
  CHECK(bitwise_equal(y, with_zero));
}

TEST_CASE("monarch computes a single row as it does among others", "[kernels]") {
  const Operands in;
  const Results all(in);
  Array y = Array::full({1, kOut}, NAN), h = Array::full({1, kHidden}, NAN);
  kernels::monarch_forward({}, in.x.slice(0, 7, 8), in.r, in.l, in.bias, h, y);
  CHECK(relative_error(y, all.y.slice(0, 7, 8)) <= 1e-6);
  CHECK(relative_error(h, all.h.slice(0, 7, 8)) <= 1e-6);
}

TEST_CASE("monarch works on rows inside a wider matrix and on no rows", "[kernels]") {
  const Operands in;
  const Results plain(in);
  const Array x = widened(in.x), dy = widened(in.dy), y = widened(in.dy), dx = widened(in.x);
  Array h = nan_like(plain.h), dr = nan_like(in.r), dl = nan_like(in.l), dbias = nan_like(in.bias);
  kernels::monarch_forward({}, x, in.r, in.l, in.bias, h, y);
  kernels::monarch_backward({}, dy, x, h, in.r, in.l, dx, dr, dl, dbias);
  CHECK(bitwise_equal(y, plain.y));
  CHECK(bitwise_equal(dx, plain.dx));
  CHECK(bitwise_equal(dr, plain.dr));
  CHECK(bitwise_equal(dl, plain.dl));
  kernels::monarch_backward({}, Array::zeros({0, kOut}), Array::zeros({0, kIn}), {}, in.r, in.l, {}, dr, dl, dbias);
  CHECK(all_equal(dr, 0));
  CHECK(all_equal(dl, 0));
  CHECK(all_equal(dbias, 0));
}

TEST_CASE("monarch refuses operands that do not fit, and names them", "[kernels]") {
  const Operands in;
  Array y = Array::zeros({kRows, kOut}), dl = Array::zeros(in.l.shape());
  const auto forward = [&](const Array& r, const Array& l) { kernels::monarch_forward({}, in.x, r, l, in.bias, {}, y); };
  CHECK_THROWS_WITH(forward(Array::zeros({kB2, 9, kQ}), in.l),
                    "monarch_forward: r (3, 9, 11) must be (b2, b1 c, q) for l (4, 6, 6), (b1, p, b2 c)");
  CHECK_THROWS_WITH(forward(in.r, Array::zeros({kB1, kP, 5})),
                    "monarch_forward: l f32(4, 6, 5) must be f32(4, 6, 6) and contiguous");
  CHECK_THROWS_AS(forward(in.r.to(DType::f64), in.l), InputError);
  CHECK_THROWS_WITH(kernels::monarch_backward({}, in.dy, in.x, {}, in.r, in.l, {}, {}, dl, {}),
                    "monarch_backward: h must be given for the gradient of l");
}
