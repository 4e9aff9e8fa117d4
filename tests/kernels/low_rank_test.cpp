#include "kernels/low_rank/low_rank.h"

#include "kernels/blast/blast.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

// BLAST with one block and s = 1 is the same matrix, and is itself tested against the dense one.
TEST_CASE("low_rank equals blast with one block and no coupling", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rows : {1, 70}) {
      for (const Dim rank : {1, 9, 40}) {
        const Dim n = 300, m = 37;
        const DType master = master_dtype(dtype);
        const Array x = randn({rows, n}, dtype, 1), dy = randn({rows, m}, dtype, 2);
        const Array u = randn({m, rank}, master, 3), v = randn({n, rank}, master, 4);
        const Array bias = randn({m}, master, 5), ones = Array::full({1, 1, rank}, 1, master);
        const Array y = nan_like(dy), dx = nan_like(x), du = nan_like(u), dv = nan_like(v), dbias = nan_like(bias);
        const Array z = Array::full({rows, rank}, NAN, dtype);
        kernels::low_rank_forward({}, x, u, v, bias, z, y);
        kernels::low_rank_backward({}, dy, x, z, u, v, dx, du, dv, dbias);

        const Array u3 = u.reshape({1, m, rank}), v3 = v.reshape({1, n, rank});
        const Array y3 = nan_like(dy), dx3 = nan_like(x), du3 = nan_like(u3), dv3 = nan_like(v3), dbias3 = nan_like(bias);
        kernels::blast_forward({}, x, u3, v3, ones, bias, {}, y3);
        kernels::blast_backward({}, dy, x, {}, u3, v3, ones, dx3, du3, dv3, {}, dbias3);
        INFO(dtype << " rows " << rows << " rank " << rank);
        const double tolerance = dtype == DType::f64 ? 1e-14 : 1e-6;
        CHECK(relative_error(y, y3) <= tolerance);
        CHECK(relative_error(dx, dx3) <= tolerance);
        CHECK(relative_error(du.reshape(u3.shape()), du3) <= tolerance);
        CHECK(relative_error(dv.reshape(v3.shape()), dv3) <= tolerance);
        CHECK(relative_error(dbias, dbias3) <= tolerance);
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
