// What the suite of linear maps does not see: absent outputs, padding, rows inside a wider matrix, errors.
#include "kernels/block_diagonal/block_diagonal.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kRows = 2100, kIn = 31, kOut = 22, kBlocks = 4, kP = 6, kQ = 8;  // two ranges of the sums; padding

struct Operands {
  Array x = randn({kRows, kIn}, DType::f32, 1), w = randn({kBlocks, kP, kQ}, DType::f32, 2),
        bias = randn({kOut}, DType::f32, 3), dy = randn({kRows, kOut}, DType::f32, 4);
};

struct Results {
  Array y, dx, dw, dbias;
  Results(const Operands& in, bool shuffle)
      : y(nan_like(in.dy)), dx(nan_like(in.x)), dw(nan_like(in.w)), dbias(nan_like(in.bias)) {
    kernels::block_diagonal_forward({}, in.x, in.w, in.bias, shuffle, y);
    leave_nan_behind(in.w.numel());
    kernels::block_diagonal_backward({}, in.dy, in.x, in.w, shuffle, dx, dw, dbias);
  }
};

}  // namespace

TEST_CASE("block_diagonal gives padding exactly zero and does not read it", "[kernels]") {
  Operands in;
  const Results clean(in, false);
  for (Dim row = 0; row < kBlocks * kP; ++row) {
    const Dim columns = row >= 3 * kP ? kIn - 3 * kQ : kQ;
    for (Dim k = 0; k < kQ; ++k) {
      if (row < kOut && k < columns) continue;
      REQUIRE(clean.dw.data<float>()[row * kQ + k] == 0.0f);
      in.w.data<float>()[row * kQ + k] = NAN;
    }
  }
  const Results got(in, false);
  CHECK(bitwise_equal(got.y, clean.y));
  CHECK(bitwise_equal(got.dx, clean.dx));
  CHECK(bitwise_equal(got.dw, clean.dw));
}

TEST_CASE("block_diagonal leaves out absent outputs and changes no bit of the others", "[kernels]") {
  const Operands in;
  for (const bool shuffle : {false, true}) {
    const Results all(in, shuffle);
    for (int mask = 0; mask < 8; ++mask) {
      Array dx = nan_like(in.x), dw = nan_like(in.w), dbias = nan_like(in.bias);
      const auto given = [&](int bit, Array& a) { return mask >> bit & 1 ? View(a) : View{}; };
      kernels::block_diagonal_backward({}, in.dy, in.x, in.w, shuffle, given(0, dx), given(1, dw), given(2, dbias));
      INFO("outputs given: " << mask);
      CHECK((bitwise_equal(dx, all.dx) || !(mask & 1)));
      CHECK((bitwise_equal(dw, all.dw) || !(mask & 2)));
      CHECK((bitwise_equal(dbias, all.dbias) || !(mask & 4)));
    }
    Array y = nan_like(in.dy), with_zero = nan_like(in.dy);
    kernels::block_diagonal_forward({}, in.x, in.w, {}, shuffle, y);
    kernels::block_diagonal_forward({}, in.x, in.w, Array::zeros({kOut}), shuffle, with_zero);
    CHECK(bitwise_equal(y, with_zero));
  }
}

TEST_CASE("block_diagonal computes a single row as it does among others", "[kernels]") {
  const Operands in;
  const Results all(in, true);
  Array y = nan_like(in.dy.slice(0, 0, 1));
  kernels::block_diagonal_forward({}, in.x.slice(0, 7, 8), in.w, in.bias, true, y);
  CHECK(relative_error(y, all.y.slice(0, 7, 8)) <= 1e-6);
}

// Where the blocks divide their length, many rows are shuffled in another way than a few.
TEST_CASE("block_diagonal takes shuffled channels as it does plain ones that come shuffled", "[kernels]") {
  const Dim rows = GENERATE(1, 100, 700), blocks = GENERATE(2, 4), run = GENERATE(1, 2, 5, 12), padding = GENERATE(0, 1);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16), master = master_dtype(dtype);
  const Dim q = blocks * run, n = blocks * q - padding, p = 6, m = blocks * p - 1;
  INFO(rows << " rows, " << blocks << " blocks of " << q << ", " << padding << " less, in " << dtype);
  const auto shuffled = [&](const Array& x) {  // padded, then seen as (groups, channels) and transposed
    const Array padded = Array::zeros({rows, blocks * q}, dtype);
    copy(x, padded.slice(1, 0, n));
    return padded.reshape({rows, blocks, q}).transpose(1, 2).as_contiguous().reshape({rows, blocks * q});
  };
  const Array x = randn({rows, n}, dtype, 1), w = randn({blocks, p, q}, master, 2), bias = randn({m}, master, 3);
  const Array dy = randn({rows, m}, dtype, 4), plain_x = shuffled(x);
  const Array y = nan_like(dy), dx = nan_like(x), dw = nan_like(w), dbias = nan_like(bias);
  const Array plain_y = nan_like(dy), plain_dx = nan_like(plain_x), plain_dw = nan_like(w), plain_dbias = nan_like(bias);
  kernels::block_diagonal_forward({}, x, w, bias, true, y);
  kernels::block_diagonal_forward({}, plain_x, w, bias, false, plain_y);
  CHECK(relative_error(y, plain_y) <= tolerance(dtype, q));
  leave_nan_behind(w.numel());
  kernels::block_diagonal_backward({}, dy, x, w, true, dx, dw, dbias);
  kernels::block_diagonal_backward({}, dy, plain_x, w, false, plain_dx, plain_dw, plain_dbias);
  CHECK(relative_error(shuffled(dx).slice(1, 0, n), plain_dx.slice(1, 0, n)) <= tolerance(dtype, p));
  CHECK(relative_error(dw, plain_dw) <= tolerance(master, rows));
  CHECK(bitwise_equal(dbias, plain_dbias));
}

TEST_CASE("block_diagonal works on rows inside a wider matrix and on no rows", "[kernels]") {
  const Operands in;
  for (const bool shuffle : {false, true}) {
    const Results plain(in, shuffle);
    const Array x = widened(in.x), dy = widened(in.dy), y = widened(in.dy), dx = widened(in.x);
    Array dw = nan_like(in.w), dbias = nan_like(in.bias);
    kernels::block_diagonal_forward({}, x, in.w, in.bias, shuffle, y);
    kernels::block_diagonal_backward({}, dy, x, in.w, shuffle, dx, dw, dbias);
    CHECK(bitwise_equal(y, plain.y));
    CHECK(bitwise_equal(dx, plain.dx));
    CHECK(bitwise_equal(dw, plain.dw));
    kernels::block_diagonal_backward({}, Array::zeros({0, kOut}), Array::zeros({0, kIn}), in.w, shuffle, {}, dw, dbias);
    CHECK(all_equal(dw, 0));
    CHECK(all_equal(dbias, 0));
  }
}

TEST_CASE("block_diagonal refuses operands that do not fit, and names them", "[kernels]") {
  const Operands in;
  Array y = Array::zeros({kRows, kOut});
  const auto forward = [&](const Array& x, const Array& w) { kernels::block_diagonal_forward({}, x, w, in.bias, false, y); };
  CHECK_THROWS_WITH(forward(in.x, Array::zeros({4, 6, 7})),
                    "block_diagonal_forward: w f32(4, 6, 7) must be f32(4, 6, 8) and contiguous");
  CHECK_THROWS_AS(forward(in.x.to(DType::bf16), in.w), InputError);
  CHECK_THROWS_WITH(forward(in.x.slice(0, 0, 3), in.w), concat("block_diagonal_forward: x ", Shape{3, kIn}, " and y ", y.shape(),
                                                               " must have as many rows"));
  CHECK_THROWS_WITH(kernels::block_diagonal_backward({}, in.dy, in.x, in.w, false, Array::zeros({3, kIn}), {}, {}),
                    concat("block_diagonal_backward: dx ", Shape{3, kIn}, " must have the shape of x ", in.x.shape()));
  CHECK_THROWS_AS(forward(in.x, in.w.to(DType::f64)), InputError);
}
