#include "kernels/attention/attention.h"

#include <cmath>
#include <vector>

#include "core/array.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

using Values = std::vector<double>;

struct Case {
  Dim batch, heads, length, depth;
  bool causal;
  double scale() const { return 1 / std::sqrt(static_cast<double>(depth)); }
  Dim rows() const { return batch * heads * length; }
};
std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << "B " << c.batch << " H " << c.heads << " T " << c.length << " D " << c.depth << " causal " << c.causal;
}

// q, k, v as slices of a packed (B, T, 3, H, D) array, or any three such arrays (outputs too).
struct Packed {
  Array base;
  Array part(int which) const { return base.select(2, which).transpose(1, 2); }
  static Packed random(const Case& c, DType dtype, std::uint64_t stream, double scale = 1) {
    const Array values = randn({c.batch, c.length, 3, c.heads, c.depth}, DType::f64, stream);
    kernels::scale({}, values, scale, values);
    return {values.to(dtype)};
  }
};

// Naive attention in f64 on contiguous (B, H, T, D) values, with the gradients for the cotangent g.
struct Reference {
  Values o, lse, dq, dk, dv;
};
Reference reference(const Case& c, const Values& q, const Values& k, const Values& v, const Values& g) {
  const auto rows = static_cast<std::size_t>(c.rows());
  const auto T = static_cast<std::size_t>(c.length), D = static_cast<std::size_t>(c.depth);
  Reference out{Values(rows * D), Values(rows), Values(rows * D), Values(rows * D), Values(rows * D)};
  Values p(T), dp(T);
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t first = row / T * T, seen = c.causal ? row % T + 1 : T;
    double highest = -INFINITY, sum = 0;
    for (std::size_t s = 0; s < seen; ++s) {
      p[s] = 0;
      for (std::size_t d = 0; d < D; ++d) p[s] += c.scale() * q[row * D + d] * k[(first + s) * D + d];
      highest = std::max(highest, p[s]);
    }
    for (std::size_t s = 0; s < seen; ++s) sum += std::exp(p[s] - highest);
    out.lse[row] = highest + std::log(sum);
    double delta = 0;
    for (std::size_t s = 0; s < seen; ++s) {
      p[s] = std::exp(p[s] - out.lse[row]);
      dp[s] = 0;
      for (std::size_t d = 0; d < D; ++d) {
        out.o[row * D + d] += p[s] * v[(first + s) * D + d];
        dp[s] += g[row * D + d] * v[(first + s) * D + d];
        out.dv[(first + s) * D + d] += p[s] * g[row * D + d];
      }
      delta += p[s] * dp[s];
    }
    for (std::size_t s = 0; s < seen; ++s) {
      const double ds = c.scale() * p[s] * (dp[s] - delta);
      for (std::size_t d = 0; d < D; ++d) {
        out.dq[row * D + d] += ds * k[(first + s) * D + d];
        out.dk[(first + s) * D + d] += ds * q[row * D + d];
      }
    }
  }
  return out;
}

double relative_error(const Values& got, const Values& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return std::sqrt(difference) / (std::sqrt(size) + 1e-9 * std::sqrt(static_cast<double>(got.size())));
}

double tolerance_of(DType dtype) { return dtype == DType::f64 ? 1e-12 : dtype == DType::f32 ? 2e-6 : 1e-2; }

struct Gradients {
  Array o, lse;
  Packed d_packed;
};
Gradients run(const Case& c, const Packed& in, const Array& g) {
  const DType dtype = in.base.dtype();
  Gradients out{Array::empty({c.batch, c.heads, c.length, c.depth}, dtype),
                Array::empty({c.batch, c.heads, c.length}, master_dtype(dtype)),
                {Array::full(in.base.shape(), NAN, dtype)}};
  kernels::attention_forward({}, in.part(0), in.part(1), in.part(2), c.scale(), c.causal, out.o, out.lse);
  kernels::attention_backward({}, g, in.part(0), in.part(1), in.part(2), out.o, out.lse, c.scale(), c.causal,
                              out.d_packed.part(0), out.d_packed.part(1), out.d_packed.part(2));
  return out;
}

void check_against_reference(const Case& c, DType dtype, double spread = 1) {
  const Packed in = Packed::random(c, dtype, 1, spread);
  const Array g = randn({c.batch, c.length, c.heads, c.depth}, dtype, 2).transpose(1, 2);
  const Gradients got = run(c, in, g);
  const auto values = [](const Array& a) { return a.to_vector<double>(); };
  const Reference expected =
      reference(c, values(in.part(0)), values(in.part(1)), values(in.part(2)), values(g));
  INFO(c << " " << dtype);
  const double tol = tolerance_of(dtype) * std::max(1.0, spread);
  CHECK(relative_error(values(got.o), expected.o) <= tol);
  CHECK(relative_error(values(got.lse), expected.lse) <= tol);
  CHECK(relative_error(values(got.d_packed.part(2)), expected.dv) <= tol);
  // One visible position has no gradient towards q and k beyond rounding; with two, dS is a small difference of
  // numbers that went through o in bf16.
  if (c.length > 1) {
    const double loose = dtype == DType::bf16 && c.length == 2 ? 4 * tol : tol;
    CHECK(relative_error(values(got.d_packed.part(0)), expected.dq) <= loose);
    CHECK(relative_error(values(got.d_packed.part(1)), expected.dk) <= loose);
  }
}

}  // namespace

TEST_CASE("attention equals the naive formula forward and backward", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const bool causal : {false, true}) {
      for (const Dim depth : {1, 5, 64}) {
        for (const Dim length : {1, 2, 7, 64, 65, 129, 257}) {
          check_against_reference({2, 2, length, depth, causal}, dtype);
        }
      }
    }
  }
}

TEST_CASE("attention over more keys than one panel rescales what it has summed", "[kernels]") {
  for (const bool causal : {false, true}) {
    check_against_reference({1, 1, 1100, 8, causal}, DType::f64);
    check_against_reference({1, 1, 1100, 8, causal}, DType::f32, 4);
    check_against_reference({1, 1, 1100, 8, causal}, DType::bf16);
  }
}

TEST_CASE("attention of the last queries only is those rows of all of it", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const bool causal : {false, true}) {
      for (const auto& [length, queries] : {std::pair<Dim, Dim>{7, 1}, {65, 1}, {65, 3}, {200, 130}, {1100, 1}, {1100, 600}}) {
        const Case c = length < 1000 ? Case{2, 3, length, 20, causal} : Case{1, 1, length, 20, causal};
        INFO(c << " queries " << queries << " " << dtype);
        const Packed in = Packed::random(c, dtype, 1);
        const auto values = [](const Array& a) { return a.to_vector<double>(); };
        const Values none(static_cast<std::size_t>(c.rows() * c.depth));
        const Reference all = reference(c, values(in.part(0)), values(in.part(1)), values(in.part(2)), none);
        const auto last = [&, first = length - queries](const Values& expected, const Shape& shape) {
          return values(Array::from(expected, shape).slice(2, first, c.length));
        };
        const Array o = Array::full({c.batch, queries, c.heads, c.depth}, NAN, dtype).transpose(1, 2);
        const Array lse = Array::full({c.batch, c.heads, queries}, NAN, master_dtype(dtype));
        kernels::attention_forward({}, in.part(0).slice(2, length - queries, length), in.part(1), in.part(2), c.scale(),
                                   causal, o, lse);
        CHECK(relative_error(values(o), last(all.o, {c.batch, c.heads, length, c.depth})) <= tolerance_of(dtype));
        CHECK(relative_error(values(lse), last(all.lse, {c.batch, c.heads, length})) <= tolerance_of(dtype));
      }
    }
  }
}

TEST_CASE("attention survives scores in the thousands", "[kernels]") {
  const Case c{1, 2, 70, 16, true};
  const Packed in = Packed::random(c, DType::f32, 1, 50);
  const Array g = randn({1, 2, 70, 16}, DType::f32, 2);
  const Gradients got = run(c, in, g);
  const Reference expected = reference(c, in.part(0).to_vector<double>(), in.part(1).to_vector<double>(),
                                       in.part(2).to_vector<double>(), g.to_vector<double>());
  CHECK(relative_error(got.o.to_vector<double>(), expected.o) <= 1e-3);
  CHECK(relative_error(got.lse.to_vector<double>(), expected.lse) <= 1e-6);
  CHECK(relative_error(got.d_packed.part(2).to_vector<double>(), expected.dv) <= 1e-3);
}

TEST_CASE("attention passes NaN in a key on to the rows that see it, and to no others", "[kernels]") {
  const Case c{1, 1, 9, 4, true};
  const Packed in = Packed::random(c, DType::f32, 1);
  in.base.data<float>()[5 * 3 * 4 + 4] = NAN;  // (T, 3, D): the first value of the sixth key
  Array o = Array::empty({1, 1, 9, 4});
  kernels::attention_forward({}, in.part(0), in.part(1), in.part(2), c.scale(), true, o, {});
  const auto values = o.to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(std::isnan(values[i]) == (i / 4 >= 5));
}

TEST_CASE("attention's gradient matches finite differences", "[kernels]") {
  for (const bool causal : {false, true}) {
    const Case c{1, 2, 67, 3, causal};
    const Packed in = Packed::random(c, DType::f64, 1), direction = Packed::random(c, DType::f64, 2);
    const Array g = randn({1, 2, 67, 3}, DType::f64, 3);
    const Gradients got = run(c, in, g);
    const auto loss = [&](double step) {
      Packed moved{in.base.clone()};
      for (Dim i = 0; i < moved.base.numel(); ++i) moved.base.data<double>()[i] += step * direction.base.data<double>()[i];
      Array o = Array::empty(g.shape(), DType::f64);
      kernels::attention_forward({}, moved.part(0), moved.part(1), moved.part(2), c.scale(), causal, o, {});
      double sum = 0;
      for (Dim i = 0; i < o.numel(); ++i) sum += o.data<double>()[i] * g.data<double>()[i];
      return sum;
    };
    double analytic = 0;
    for (Dim i = 0; i < in.base.numel(); ++i) {
      analytic += got.d_packed.base.data<double>()[i] * direction.base.data<double>()[i];
    }
    const double h = 1e-4;
    const double numeric = (8 * (loss(h) - loss(-h)) - (loss(2 * h) - loss(-2 * h))) / (12 * h);
    CHECK(std::abs(numeric - analytic) <= 1e-9 * std::abs(analytic));
  }
}

TEST_CASE("attention gives the same bits for any number of threads", "[kernels]") {
  // 6 heads fill two threads, 1 head and 3 are cut into tiles; of 1100 keys the first tiles see one panel only.
  for (const Case c : {Case{2, 3, 200, 16, true}, Case{1, 1, 1100, 8, true}, Case{1, 3, 200, 8, false}}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Packed in = Packed::random(c, dtype, 1);
      const Array g = randn({c.batch, c.heads, c.length, c.depth}, dtype, 2);
      const auto with_threads = [&](int count) {
        const ThreadCount threads(count);
        return run(c, in, g);
      };
      const Gradients one = with_threads(1);
      for (const int count : {2, 3, 5}) {
        INFO(c << " threads " << count);
        const Gradients many = with_threads(count);
        CHECK(bitwise_equal(one.o, many.o));
        CHECK(bitwise_equal(one.lse, many.lse));
        CHECK(bitwise_equal(one.d_packed.base, many.d_packed.base));
      }
    }
  }
}

TEST_CASE("attention refuses shapes and dtypes that do not fit, and names them", "[kernels]") {
  const Array q = Array::zeros({1, 2, 3, 4}), longer = Array::zeros({1, 2, 5, 4}), half = q.to(DType::bf16);
  Array o = Array::zeros({1, 2, 3, 4});
  const auto forward = [&](const Array& k, const Array& v, const View& lse) {
    kernels::attention_forward({}, q, k, v, 1.0, false, o, lse);
  };
  CHECK_THROWS_WITH(forward(Array::zeros({1, 2, 2, 4}), q, {}),
                    "attention_forward: k (1, 2, 2, 4) must have the shape of q (1, 2, 3, 4) or more positions");
  CHECK_THROWS_AS(forward(Array::zeros({1, 3, 3, 4}), Array::zeros({1, 3, 3, 4}), {}), InputError);
  CHECK_THROWS_WITH(forward(longer, q, {}), "attention_forward: v (1, 2, 3, 4) must have the shape of k (1, 2, 5, 4)");
  CHECK_THROWS_WITH(forward(q, half, {}), "attention_forward: v is bf16 but q is f32");
  CHECK_THROWS_AS(forward(q, q, Array::zeros({1, 2, 4})), InputError);
  // Gradients are those of as many queries as keys.
  const Array lse = Array::zeros({1, 2, 3});
  CHECK_THROWS_WITH(kernels::attention_backward({}, o, q, longer, longer, o, lse, 1.0, true, o, longer, longer),
                    "attention_backward: k (1, 2, 5, 4) must have the shape of q (1, 2, 3, 4)");
  CHECK_THROWS_AS(forward(Array::zeros({1, 2, 4, 3}).transpose(2, 3), q, {}), InputError);
}
