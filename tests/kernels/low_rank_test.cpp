#include "kernels/low_rank/low_rank.h"

#include <cmath>
#include <cstring>

#include "core/array.h"
#include "core/random.h"
#include "kernels/blast/blast.h"
#include "tests/support/catch.h"

using namespace ashlar;

namespace {

Array random_array(const Shape& shape, DType dtype, std::uint64_t stream) {
  const Random random(5, stream);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.normal(i);
  return Array::from(values, shape).to(dtype);
}

double relative_difference(const Array& a, const Array& b) {
  const auto left = a.to_vector<double>(), right = b.to_vector<double>();
  double difference = 0, size = 1e-30;
  for (std::size_t i = 0; i < left.size(); ++i) {
    difference += (left[i] - right[i]) * (left[i] - right[i]);
    size += right[i] * right[i];
  }
  return std::sqrt(difference / size);
}

}  // namespace

// BLAST with one block and s = 1 is the same matrix, and is itself tested against the dense one.
TEST_CASE("low_rank equals blast with one block and no coupling", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rows : {1, 70}) {
      for (const Dim rank : {1, 9, 40}) {
        const Dim n = 300, m = 37;
        const DType master = master_dtype(dtype);
        const Array x = random_array({rows, n}, dtype, 1), dy = random_array({rows, m}, dtype, 2);
        const Array u = random_array({m, rank}, master, 3), v = random_array({n, rank}, master, 4);
        const Array bias = random_array({m}, master, 5), ones = Array::full({1, 1, rank}, 1, master);
        const auto like = [](const Array& a) { return Array::full(a.shape(), NAN, a.dtype()); };
        Array y = like(dy), dx = like(x), du = like(u), dv = like(v), dbias = like(bias);
        const Array z = Array::full({rows, rank}, NAN, dtype);
        kernels::low_rank_forward({}, x, u, v, bias, z, y);
        kernels::low_rank_backward({}, dy, x, z, u, v, dx, du, dv, dbias);

        const Array u3 = u.reshape({1, m, rank}), v3 = v.reshape({1, n, rank});
        Array y3 = like(dy), dx3 = like(x), du3 = like(u3), dv3 = like(v3), dbias3 = like(bias);
        kernels::blast_forward({}, x, u3, v3, ones, bias, {}, y3);
        kernels::blast_backward({}, dy, x, {}, u3, v3, ones, dx3, du3, dv3, {}, dbias3);
        INFO(dtype << " rows " << rows << " rank " << rank);
        const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
        CHECK(relative_difference(y, y3) <= tolerance);
        CHECK(relative_difference(dx, dx3) <= tolerance);
        CHECK(relative_difference(du, du3) <= tolerance);
        CHECK(relative_difference(dv, dv3) <= tolerance);
        CHECK(relative_difference(dbias, dbias3) <= tolerance);
      }
    }
  }
}

TEST_CASE("low_rank names itself in errors", "[kernels]") {
  const Array x = Array::zeros({3, 8}), u = Array::zeros({6, 2}), v = Array::zeros({8, 3});
  Array y = Array::zeros({3, 6});
  CHECK_THROWS_WITH(kernels::low_rank_forward({}, x, u, v, {}, {}, y),
                    "low_rank_forward: u (1, 6, 2) and v (1, 8, 3) must have the same rank, at least 1");
  CHECK_THROWS_AS(kernels::low_rank_forward({}, x, u.reshape({1, 6, 2}), v, {}, {}, y), InputError);
}
