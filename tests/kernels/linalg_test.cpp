#include "kernels/linalg/linalg.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

extern "C" {
void openblas_set_num_threads(int count);
int openblas_get_num_threads();
}

using namespace ashlar;
using namespace ashlar::test;

namespace {

double roundoff(DType dtype) { return dtype == DType::f64 ? 1e-13 : 2e-6; }

Array identities(Dim batch, Dim n, DType dtype) {
  return linalg::damped(Array::zeros({batch, n, n}, dtype), [](Dim) { return 1.0; });
}

// Symmetric positive definite: aᵀ a of a tall a.
Array positive(Dim batch, Dim n, DType dtype) { return linalg::gram(randn({batch, n + 4, n}, dtype, 1)); }

}  // namespace

TEST_CASE("eigh: the vectors are orthonormal, the values rise and both give the matrix back") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  const Array a = positive(3, 7, dtype);
  const linalg::Eigen eigen = linalg::eigh(a);
  REQUIRE(eigen.values.dtype() == dtype);
  REQUIRE(relative_error(linalg::gram(eigen.vectors), identities(3, 7, dtype)) <= roundoff(dtype));
  Array scaled = eigen.vectors.clone();
  for (Dim k = 0; k < 3; ++k) {
    for (Dim i = 0; i < 7; ++i) {
      const double value = eigen.values.select(0, k).select(0, i).item();
      if (i > 0) REQUIRE(value >= eigen.values.select(0, k).select(0, i - 1).item());
      const Array column = eigen.vectors.select(0, k).slice(1, i, i + 1);
      const Array factor = Array::full({1, 1}, value, dtype);
      copy(linalg::product(column, factor), scaled.select(0, k).slice(1, i, i + 1));
    }
  }
  REQUIRE(relative_error(linalg::product(scaled, eigen.vectors.transpose(1, 2)), a) <= roundoff(dtype));
}

TEST_CASE("orthonormal_columns: Qᵀ a is triangular and Q orthonormal") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  const Array a = randn({2, 6, 6}, dtype, 2), q = linalg::orthonormal_columns(a);
  REQUIRE(relative_error(linalg::gram(q), identities(2, 6, dtype)) <= roundoff(dtype));
  const auto r = linalg::product(q.transpose(1, 2), a).to_vector<double>();
  double below = 0, all = 0;
  for (std::size_t i = 0; i < r.size(); ++i) {
    if (i / 6 % 6 > i % 6) below += r[i] * r[i];
    all += r[i] * r[i];
  }
  REQUIRE(std::sqrt(below / all) <= roundoff(dtype));
}

TEST_CASE("right_solve undoes a product, and damping is added to each matrix of the batch") {
  const DType dtype = GENERATE(DType::f32, DType::f64);
  const Array a = positive(3, 5, dtype), x = randn({3, 4, 5}, dtype, 3);
  const Array damped = linalg::damped(a, [](Dim k) { return static_cast<double>(k); });
  REQUIRE(bitwise_equal(damped.select(0, 0), a.select(0, 0)));
  const auto before = linalg::traces(a), after = linalg::traces(damped);
  for (std::size_t k = 0; k < 3; ++k) REQUIRE(std::abs(after[k] - before[k] - 5.0 * static_cast<double>(k)) <= 1e-4);
  const Array solved = linalg::right_solve(linalg::cholesky(damped), linalg::product(x, damped));
  REQUIRE(relative_error(solved, x) <= 100 * roundoff(dtype));
}

TEST_CASE("small decompositions take no threads of the library, which would be beside OpenMP's") {
  openblas_set_num_threads(2);
  linalg::cholesky(Array::from(std::vector<double>{4, 1, 1, 3}, {1, 2, 2}));
  CHECK(openblas_get_num_threads() == 1);
  openblas_set_num_threads(2);
  linalg::svd(randn({9, 5}, DType::f64, 1));
  CHECK(openblas_get_num_threads() == 1);
}

TEST_CASE("decompositions refuse what they cannot do") {
  const Array negative = linalg::damped(Array::zeros({2, 3, 3}), [](Dim k) { return k == 1 ? -1.0 : 1.0; });
  REQUIRE_THROWS_WITH(linalg::cholesky(negative), says("matrix 1 of (2, 3, 3) is not positive definite; add to its diagonal with damped()"));
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const Array broken = Array::full({1, 3, 3}, bad);
    REQUIRE_THROWS_WITH(linalg::cholesky(broken), says("not finite"));
    REQUIRE_THROWS_WITH(linalg::eigh(broken), says("not finite"));
    REQUIRE_THROWS_WITH(linalg::orthonormal_columns(broken), says("not finite"));
    REQUIRE_THROWS_WITH(linalg::svd(broken.select(0, 0)), says("not finite"));
  }
  REQUIRE_THROWS_WITH(linalg::svd(Array::zeros({2, 3, 4})), "svd: needs one matrix (M, N), got (2, 3, 4)");
  REQUIRE_THROWS_AS(linalg::eigh(Array::zeros({2, 3, 4})), InputError);
  REQUIRE_THROWS_AS(linalg::eigh(Array::zeros({2, 3, 3}, DType::bf16)), InputError);
}
