#include "kernels/blast/blast.h"

#include <cmath>
#include <vector>

#include "core/array.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

using Values = std::vector<double>;

struct Case {
  Dim rows, n, m, b1, b2, rank;
  Dim p() const { return (m + b1 - 1) / b1; }
  Dim q() const { return (n + b2 - 1) / b2; }
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "R " << c.rows << " n " << c.n << " m " << c.m << " b1 " << c.b1 << " b2 " << c.b2 << " r " << c.rank;
}

struct Operands {
  Array x, u, v, s, bias, dy;
  Operands(const Case& c, DType dtype)
      : x(randn({c.rows, c.n}, dtype, 1)),
        u(randn({c.b1, c.p(), c.rank}, master_dtype(dtype), 2)),
        v(randn({c.b2, c.q(), c.rank}, master_dtype(dtype), 3)),
        s(randn({c.b1, c.b2, c.rank}, master_dtype(dtype), 4)),
        bias(randn({c.m}, master_dtype(dtype), 5)),
        dy(randn({c.rows, c.m}, dtype, 6)) {}
};

struct Results {
  Array y, dx, du, dv, ds, dbias;
};

// Room for what the backward reads instead of computing it again.
Array kept_of(const Operands& in) {
  const Shape shape = kernels::blast_kept_shape({}, in.x.size(0), in.u.size(0), in.v.size(0), in.v.size(2));
  return Array::full(shape, NAN, in.x.dtype());
}

// Outputs start as NaN: what a kernel leaves out shows.
Results run(const Operands& in, bool keeps = true) {
  Results out{nan_like(in.dy), nan_like(in.x), nan_like(in.u), nan_like(in.v), nan_like(in.s), nan_like(in.bias)};
  const Array kept = kept_of(in);
  kernels::blast_forward({}, in.x, in.u, in.v, in.s, in.bias, keeps ? View(kept) : View{}, out.y);
  kernels::blast_backward({}, in.dy, in.x, keeps ? ConstView(kept) : ConstView{}, in.u, in.v, in.s, out.dx, out.du, out.dv,
                          out.ds, out.dbias);
  return out;
}

struct Expected {
  Values y, dx, du, dv, ds, dbias;
};

// By the dense matrix, in f64.
Expected reference(const Case& c, const Operands& in) {
  const Values x = in.x.to_vector<double>(), u = in.u.to_vector<double>(), v = in.v.to_vector<double>(),
               s = in.s.to_vector<double>(), bias = in.bias.to_vector<double>(), dy = in.dy.to_vector<double>();
  const auto at = [](Dim i) { return static_cast<std::size_t>(i); };
  Expected out{Values(dy.size()), Values(x.size()), Values(u.size()), Values(v.size()), Values(s.size()), Values(bias.size())};
  for (Dim o = 0; o < c.m; ++o) {
    const Dim i = o / c.p();
    for (Dim t = 0; t < c.rows; ++t) {
      out.y[at(t * c.m + o)] += bias[at(o)];
      out.dbias[at(o)] += dy[at(t * c.m + o)];
    }
    for (Dim f = 0; f < c.n; ++f) {
      const Dim j = f / c.q();
      double w = 0, dw = 0;
      for (Dim k = 0; k < c.rank; ++k) {
        w += u[at(o * c.rank + k)] * s[at((i * c.b2 + j) * c.rank + k)] * v[at(f * c.rank + k)];
      }
      for (Dim t = 0; t < c.rows; ++t) {
        out.y[at(t * c.m + o)] += w * x[at(t * c.n + f)];
        out.dx[at(t * c.n + f)] += w * dy[at(t * c.m + o)];
        dw += dy[at(t * c.m + o)] * x[at(t * c.n + f)];
      }
      for (Dim k = 0; k < c.rank; ++k) {
        const std::size_t uk = at(o * c.rank + k), vk = at(f * c.rank + k), sk = at((i * c.b2 + j) * c.rank + k);
        out.du[uk] += dw * s[sk] * v[vk];
        out.dv[vk] += dw * s[sk] * u[uk];
        out.ds[sk] += dw * u[uk] * v[vk];
      }
    }
  }
  return out;
}

double relative_error(const Array& got, const Values& expected) {
  const Values values = got.to_vector<double>();
  double difference = 0, size = 1e-30;
  for (std::size_t i = 0; i < values.size(); ++i) {
    difference += (values[i] - expected[i]) * (values[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference / size);
}

void check_against_reference(const Case& c, DType dtype, bool keep_a) {
  const Operands in(c, dtype);
  const Results got = run(in, keep_a);
  const Expected expected = reference(c, in);
  INFO(c << " " << dtype << (keep_a ? " A kept" : " A computed again"));
  const double exact = dtype == DType::f64 ? 1e-13 : 3e-6;
  // In bf16 the factors and the hidden features are rounded too, to within 2^-9 each.
  const double rounded = dtype == DType::bf16 ? 1e-2 : exact;
  CHECK(relative_error(got.y, expected.y) <= rounded);
  CHECK(relative_error(got.dx, expected.dx) <= rounded);
  CHECK(relative_error(got.du, expected.du) <= rounded);
  CHECK(relative_error(got.dv, expected.dv) <= rounded);
  CHECK(relative_error(got.ds, expected.ds) <= rounded);
  CHECK(relative_error(got.dbias, expected.dbias) <= exact);
}

}  // namespace

TEST_CASE("blast equals the dense matrix forward and backward", "[kernels]") {
  const std::vector<Case> cases{
      {1, 1, 1, 1, 1, 1},        {1, 12, 8, 2, 3, 5},      {3, 24, 24, 4, 4, 7},     {65, 48, 96, 3, 6, 24},
      {130, 96, 32, 16, 16, 40}, {33, 5, 7, 3, 4, 9},      {70, 31, 29, 4, 3, 13},   {66, 5, 5, 4, 4, 8},
      {64, 300, 20, 1, 1, 100},  {2100, 24, 16, 2, 4, 17}, {67, 560, 40, 5, 2, 30},   {35, 20, 300, 3, 2, 12},
  };
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Case& c : cases) {
      for (const bool keep_a : {true, false}) check_against_reference(c, dtype, keep_a);
    }
  }
}

TEST_CASE("blast takes ranks that are no multiple of a vector", "[kernels]") {
  for (const Dim rank : {Dim{200}, Dim{211}, Dim{353}}) check_against_reference({70, 64, 48, 16, 16, rank}, DType::f32, true);
  check_against_reference({70, 64, 48, 16, 16, 113}, DType::f64, false);
}

TEST_CASE("blast gives padding of the factors exactly zero and never reads it", "[kernels]") {
  const Case c{20, 31, 29, 4, 3, 8};  // p = 8 (3 rows of padding), q = 11 (2 rows)
  Operands in(c, DType::f32);
  const Results clean = run(in);
  const auto pad = [&](Array& factor, Dim size) {
    for (Dim i = size * c.rank; i < factor.numel(); ++i) factor.data<float>()[i] = NAN;
  };
  pad(in.u, c.m);
  pad(in.v, c.n);
  const Results got = run(in);
  CHECK(bitwise_equal(got.y, clean.y));
  CHECK(bitwise_equal(got.dx, clean.dx));
  CHECK(bitwise_equal(got.ds, clean.ds));
  CHECK(bitwise_equal(got.du, clean.du));
  CHECK(bitwise_equal(got.dv, clean.dv));
  for (Dim i = c.m * c.rank; i < got.du.numel(); ++i) REQUIRE(got.du.data<float>()[i] == 0.0f);
  for (Dim i = c.n * c.rank; i < got.dv.numel(); ++i) REQUIRE(got.dv.data<float>()[i] == 0.0f);
}

TEST_CASE("blast's gradients match finite differences", "[kernels]") {
  const Case c{9, 14, 11, 3, 2, 6};
  const Operands in(c, DType::f64);
  const Results got = run(in);
  struct Direction {
    Array Operands::*operand;
    const Array* gradient;
  };
  for (const Direction& d : {Direction{&Operands::x, &got.dx}, {&Operands::u, &got.du}, {&Operands::v, &got.dv},
                             {&Operands::s, &got.ds}, {&Operands::bias, &got.dbias}}) {
    const Array direction = randn((in.*d.operand).shape(), DType::f64, 9);
    const auto loss = [&](double step) {
      Operands moved = in;
      moved.*d.operand = (in.*d.operand).clone();
      for (Dim i = 0; i < direction.numel(); ++i) (moved.*d.operand).data<double>()[i] += step * direction.data<double>()[i];
      Array y = Array::empty(in.dy.shape(), DType::f64);
      kernels::blast_forward({}, moved.x, moved.u, moved.v, moved.s, moved.bias, {}, y);
      return dot(y, in.dy);
    };
    const double analytic = dot(*d.gradient, direction), h = 1e-3;
    const double numeric = (loss(h) - loss(-h)) / (2 * h);  // exact but for rounding: the loss is linear in each operand
    CHECK(std::abs(numeric - analytic) <= 1e-9 * (1 + std::abs(analytic)));
  }
}

TEST_CASE("blast leaves out absent outputs and changes no bit of the others", "[kernels]") {
  const Case c{80, 24, 36, 3, 2, 20};
  const Operands in(c, DType::f32);
  const Results all = run(in);
  const Array kept = kept_of(in);
  kernels::blast_forward({}, in.x, in.u, in.v, in.s, in.bias, kept, Array::empty({c.rows, c.m}));
  for (int mask = 0; mask < 32; ++mask) {
    Results some = all;
    for (Array* a : {&some.dx, &some.du, &some.dv, &some.ds, &some.dbias}) *a = Array::full(a->shape(), NAN, a->dtype());
    const auto given = [&](int bit, Array& a) { return mask >> bit & 1 ? View(a) : View{}; };
    kernels::blast_backward({}, in.dy, in.x, kept, in.u, in.v, in.s, given(0, some.dx), given(1, some.du), given(2, some.dv),
                            given(3, some.ds), given(4, some.dbias));
    INFO("outputs given: " << mask);
    CHECK((bitwise_equal(some.dx, all.dx) || !(mask & 1)));
    CHECK((bitwise_equal(some.du, all.du) || !(mask & 2)));
    CHECK((bitwise_equal(some.dv, all.dv) || !(mask & 4)));
    CHECK((bitwise_equal(some.ds, all.ds) || !(mask & 8)));
    CHECK((bitwise_equal(some.dbias, all.dbias) || !(mask & 16)));
  }
  Array y = Array::full(in.dy.shape(), NAN), zero = Array::zeros({c.m});
  Array with_zero = y.clone();
  kernels::blast_forward({}, in.x, in.u, in.v, in.s, {}, {}, y);
  kernels::blast_forward({}, in.x, in.u, in.v, in.s, zero, {}, with_zero);
  CHECK(bitwise_equal(y, with_zero));
}

TEST_CASE("blast keeps A wherever it lies and changes no bit of y", "[kernels]") {
  const Case c{80, 24, 36, 3, 4, 20};
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Operands in(c, dtype);
    const Dim apart = kernels::blast_padded_rank(c.rank), values = c.rows * c.b2 * apart;
    const Array room = Array::full({values + 1}, NAN, dtype), y = Array::full({c.rows, c.m}, NAN, dtype), with_a = y.clone();
    kernels::blast_forward({}, in.x, in.u, in.v, in.s, in.bias, {}, y);
    const auto kept_from = [&](Dim first) {
      const Array kept = room.slice(0, first, first + values).reshape({c.rows, c.b2, apart});
      kernels::blast_forward({}, in.x, in.u, in.v, in.s, in.bias, kept, with_a);
      CHECK(bitwise_equal(y, with_a));
      return kept.slice(2, 0, c.rank).as_contiguous().clone();
    };
    INFO(dtype);
    const Array a = kept_from(0);
    CHECK(relative_error(a, a) == 0);  // nothing is left out: that would be NaN
    CHECK(bitwise_equal(a, kept_from(1)));       // which is not where a cache line begins
    const Array wide = Array::empty({c.rows, c.b2, apart + 16}, dtype);
    const std::string error =
        error_of<Error>([&] { kernels::blast_forward({}, in.x, in.u, in.v, in.s, in.bias, wide, with_a); });
    CHECK(contains(error, concat("kept ", dtype, wide.shape(), " must be ", dtype, Shape{c.rows, c.b2, apart})));
  }
}

TEST_CASE("blast gives the same bits for any number of threads", "[kernels]") {
  for (const Case& c : {Case{2100, 48, 36, 3, 6, 25}, Case{90, 48, 36, 16, 16, 25}, Case{2, 48, 36, 3, 3, 25}}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Operands in(c, dtype);
      const auto with_threads = [&](int count) {
        const ThreadCount threads(count);
        return run(in);
      };
      const Results one = with_threads(1);
      for (const int count : {2, 3}) {
        INFO(c << " threads " << count);
        const Results many = with_threads(count);
        CHECK(bitwise_equal(one.y, many.y));
        CHECK(bitwise_equal(one.dx, many.dx));
        CHECK(bitwise_equal(one.du, many.du));
        CHECK(bitwise_equal(one.dv, many.dv));
        CHECK(bitwise_equal(one.ds, many.ds));
        CHECK(bitwise_equal(one.dbias, many.dbias));
      }
    }
  }
}

TEST_CASE("blast works on rows inside a wider matrix and on no rows", "[kernels]") {
  const Case c{10, 24, 12, 2, 2, 8};
  Operands in(c, DType::f32);
  const Results plain = run(in);
  const Array x = widened(in.x), dy = widened(in.dy), y = widened(in.dy), dx = widened(in.x);
  kernels::blast_forward({}, x, in.u, in.v, in.s, in.bias, {}, y);
  kernels::blast_backward({}, dy, x, {}, in.u, in.v, in.s, dx, {}, {}, {}, {});
  CHECK(bitwise_equal(y, plain.y));
  CHECK(bitwise_equal(dx, plain.dx));

  const Operands none(Case{0, 24, 12, 2, 2, 8}, DType::f32);
  const Results empty = run(none);
  for (const Array& a : {empty.du, empty.dv, empty.ds, empty.dbias}) {
    for (const double value : a.to_vector<double>()) REQUIRE(value == 0);
  }
}

TEST_CASE("blast refuses factors that do not fit, and names them", "[kernels]") {
  const Operands in(Case{4, 24, 12, 2, 2, 8}, DType::f32);
  Array y = Array::zeros({4, 12});
  const auto forward = [&](const Array& u, const Array& v, const Array& s) {
    kernels::blast_forward({}, in.x, u, v, s, in.bias, {}, y);
  };
  CHECK_THROWS_WITH(forward(Array::zeros({2, 7, 8}), in.v, in.s),
                    "blast_forward: u (2, 7, 8) must be (b1, ceil(m / b1), r) for y (4, 12)");
  CHECK_THROWS_WITH(forward(in.u, in.v, Array::zeros({2, 2, 9})),
                    "blast_forward: s (2, 2, 9) must be (2, 2, 8) for u (2, 6, 8) and v (2, 12, 8)");
  CHECK_THROWS_AS(forward(in.u, in.v.to(DType::bf16), in.s), InputError);
  CHECK_THROWS_AS(forward(in.u, Array::zeros({2, 12, 9}), in.s), InputError);
}
