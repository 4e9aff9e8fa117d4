// BLAST with one block and no coupling: a matrix of low rank.
#include "kernels/blast/blast.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

// With s = 1 it is the same matrix, and is itself tested against the dense one.
TEST_CASE("blast without coupling equals that by ones", "[kernels]") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rows : {1, 70}) {
      for (const Dim rank : {1, 9, 40}) {
        const Dim n = 300, m = 37;
        const DType master = master_dtype(dtype);
        const Array x = randn({rows, n}, dtype, 1), dy = randn({rows, m}, dtype, 2);
        const Array u = randn({1, m, rank}, master, 3), v = randn({1, n, rank}, master, 4);
        const Array bias = randn({m}, master, 5), ones = Array::full({1, 1, rank}, 1, master);
        const auto results = [&](const Array& s, const Array& kept) {
          const std::vector<Array> got{nan_like(dy), nan_like(x), nan_like(u), nan_like(v), nan_like(bias)};
          kernels::blast_forward({}, x, u, v, s, bias, kept.defined() ? View(kept) : View{}, got[0]);
          kernels::blast_backward({}, dy, x, kept, u, v, s, got[1], got[2], got[3], {}, got[4]);
          return got;
        };
        const std::vector<Array> expected = results(ones, {});
        for (const Array& kept : {Array::full({rows, 1, rank}, NAN, dtype), Array()}) {
          const std::vector<Array> got = results({}, kept);
          for (std::size_t i = 0; i < got.size(); ++i) {
            INFO(dtype << " rows " << rows << " rank " << rank << (kept.defined() ? " A kept" : "") << " result " << i);
            CHECK(relative_error(got[i], expected[i]) <= (dtype == DType::f64 ? 1e-14 : 1e-6));
          }
        }
      }
    }
  }
}

TEST_CASE("blast without coupling refuses what does not fit", "[kernels]") {
  const Array x = Array::zeros({3, 8}), u = Array::zeros({1, 6, 2}), v = Array::zeros({1, 8, 2}), y = Array::zeros({3, 6});
  CHECK_THROWS_WITH(kernels::blast_forward({}, x, u, Array::zeros({1, 8, 3}), {}, {}, {}, y),
                    "blast_forward: u (1, 6, 2) and v (1, 8, 3) must have the same rank, at least 1");
  CHECK_THROWS_WITH(kernels::blast_forward({}, x, u.reshape({6, 2}), v, {}, {}, {}, y),
                    "blast_forward: u must be (blocks, features, r), got (6, 2)");
  CHECK_THROWS_WITH(kernels::blast_forward({}, x, u.reshape({2, 3, 2}), v, {}, {}, {}, y),
                    "blast_forward: without s, u (2, 3, 2) and v (1, 8, 2) must have one block");
  CHECK_THROWS_WITH(kernels::blast_forward({}, x, u, v, {}, {}, Array::zeros({3, 1, 16}), y),
                    "blast_forward: kept f32(3, 1, 16) must be f32(3, 1, 2) and contiguous");
  CHECK_THROWS_WITH(kernels::blast_backward({}, y, x, {}, u, v, {}, {}, {}, {}, Array::zeros({1, 1, 2}), {}),
                    "blast_backward: ds (1, 1, 2) is given without s; leave it absent too");
}
