// Other structures as BLAST factors: a low-rank, a dense and a Monarch matrix and sums of Kronecker products are the same
// matrices there, to rounding.
#include "kernels/linalg/linalg.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kBlocks = 3, kP = 4, kQ = 5, kIn = kBlocks * kQ, kOut = kBlocks * kP;

// A BLAST matrix with these factors: u (blocks, p, r), v (blocks, q, r), s (blocks, blocks, r).
Array blast_matrix(const Array& u, const Array& v, const Array& s) {
  const std::string spec = concat("blast:blocks=", u.size(0), ",rank=", u.size(2));
  Linear layer(Scope::root(DType::f64), v.size(0) * v.size(1), u.size(0) * u.size(1), spec, {.bias = false});
  const Parameters parameters = layer.map().parameters();
  copy(u, parameters[0].tensor.value());
  copy(v, parameters[1].tensor.value());
  copy(s, parameters[2].tensor.value());
  return layer.map().to_dense();
}

// Blocks with factors of their own: block (i, j) is left(i, j) right(i, j), (p, c) (c, q). It has the slot (i + j) mod
// blocks of the rank to itself in its row and in its column of blocks.
template <class Left, class Right>
Array block_low_rank(Dim c, Left&& left, Right&& right) {
  const Array u = Array::zeros({kBlocks, kP, kBlocks * c}, DType::f64);
  const Array v = Array::zeros({kBlocks, kQ, kBlocks * c}, DType::f64);
  const Array s = Array::zeros({kBlocks, kBlocks, kBlocks * c}, DType::f64);
  for (Dim i = 0; i < kBlocks; ++i) {
    for (Dim j = 0; j < kBlocks; ++j) {
      const Dim slot = (i + j) % kBlocks * c;
      copy(left(i, j), u.select(0, i).slice(1, slot, slot + c));
      copy(right(i, j).transpose(0, 1), v.select(0, j).slice(1, slot, slot + c));
      copy(Array::full({c}, 1, DType::f64), s.select(0, i).select(0, j).slice(0, slot, slot + c));
    }
  }
  return blast_matrix(u, v, s);
}

}  // namespace

TEST_CASE("a low-rank matrix is BLAST with couplings of one, to 1e-12") {
  Linear layer(Scope::root(DType::f64, 1), kIn, kOut, "low_rank:rank=6", {.bias = false});
  const Array u = layer.map().parameters()[0].tensor.value(), v = layer.map().parameters()[1].tensor.value();
  const Array blast = blast_matrix(u.reshape({kBlocks, kP, 6}), v.reshape({kBlocks, kQ, 6}),
                                   Array::full({kBlocks, kBlocks, 6}, 1, DType::f64));
  REQUIRE(relative_error(blast, layer.map().to_dense()) <= 1e-12);
}

TEST_CASE("any dense matrix is BLAST with blocks of full rank, to 1e-12") {
  const Array dense = randn({kOut, kIn}, DType::f64, 2);
  const Array identity = Array::zeros({kP, kP}, DType::f64);
  for (Dim k = 0; k < kP; ++k) identity.data<double>()[k * kP + k] = 1;
  const Array blast = block_low_rank(
      kP, [&](Dim, Dim) { return identity; },
      [&](Dim i, Dim j) { return dense.slice(0, i * kP, i * kP + kP).slice(1, j * kQ, j * kQ + kQ); });
  REQUIRE(relative_error(blast, dense) <= 1e-12);
}

TEST_CASE("a Monarch matrix is BLAST with a slot of the rank for each block of a row, to 1e-12") {
  const Dim c = 2;
  for (const bool interleaved : {false, true}) {
    const std::string spec = concat("monarch:blocks=3,rank=6", interleaved ? ",interleaved=1" : "");
    Linear layer(Scope::root(DType::f64, 3), kIn, kOut, spec, {.bias = false});
    const Array r = layer.map().parameters()[0].tensor.value(), l = layer.map().parameters()[1].tensor.value();
    const Array blast = block_low_rank(
        c, [&](Dim i, Dim j) { return l.select(0, i).slice(1, j * c, j * c + c); },
        [&](Dim i, Dim j) {
          const Array all = r.select(0, j);
          return interleaved ? all.reshape({c, kBlocks, kQ}).select(1, i) : all.slice(0, i * c, i * c + c);
        });
    // Output i of block k is number k p + i in BLAST and, in the paper's order, i blocks + k.
    const Array ordered = interleaved ? blast.reshape({kBlocks, kP, kIn}).transpose(0, 1).reshape({kOut, kIn}) : blast;
    REQUIRE(relative_error(ordered, layer.map().to_dense()) <= 1e-12);
  }
}

TEST_CASE("a sum of Kronecker products is BLAST with equal factors in all blocks, to 1e-12") {
  // sum_t a_t ⊗ b_t: the singular vectors of b_t, in a part of the rank of its own, coupled by the entries of a_t.
  constexpr Dim kTerms = 2, kRank = kTerms * kP;
  const Array u = Array::empty({kBlocks, kP, kRank}, DType::f64), v = Array::empty({kBlocks, kQ, kRank}, DType::f64);
  const Array s = Array::empty({kBlocks, kBlocks, kRank}, DType::f64), expected = Array::zeros({kOut, kIn}, DType::f64);
  for (Dim t = 0; t < kTerms; ++t) {
    const auto key = static_cast<std::uint64_t>(4 + 2 * t);
    const Array a = randn({kBlocks, kBlocks}, DType::f64, key), b = randn({kP, kQ}, DType::f64, key + 1);
    const linalg::Svd svd = linalg::svd(b);
    const Array scaled = svd.u.clone();
    for (Dim row = 0; row < kP; ++row) {
      for (Dim k = 0; k < kP; ++k) scaled.data<double>()[row * kP + k] *= svd.s.data<double>()[k];
    }
    const auto part = [t](const Array& factors) { return factors.slice(2, t * kP, (t + 1) * kP); };
    copy(scaled.reshape({1, kP, kP}).expand({kBlocks, kP, kP}), part(u));
    copy(svd.vt.transpose(0, 1).reshape({1, kQ, kP}).expand({kBlocks, kQ, kP}), part(v));
    copy(a.reshape({kBlocks, kBlocks, 1}).expand({kBlocks, kBlocks, kP}), part(s));
    for (Dim row = 0; row < kOut; ++row) {
      for (Dim column = 0; column < kIn; ++column) {
        expected.data<double>()[row * kIn + column] += a.data<double>()[row / kP * kBlocks + column / kQ] *
                                                       b.data<double>()[row % kP * kQ + column % kQ];
      }
    }
  }
  REQUIRE(relative_error(blast_matrix(u, v, s), expected) <= 1e-12);
}
