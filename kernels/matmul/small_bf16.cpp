#include "kernels/matmul/small_bf16.h"

#include "kernels/matmul/parts.h"
#include "kernels/small_gemm/pair_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels::products {
namespace {

// Multiplies one product of a batch after the other on one thread.
class Multiplier {
 public:
  explicit Multiplier(const Problem& p)
      : p_(p),
        pairs_(ceil_div(p.k(), 2)),
        vectors_(ceil_div(p.n(), kPairLanes)),
        a_width_(by_rows(p.a) ? 0 : round_up(p.m(), kPairLanes)),
        packed_(pairs_ * (vectors_ * kPairLanes + a_width_)) {}

  // Rows [begin, end) of a product.
  void operator()(Dim batch, Dim begin, Dim end) {
    pack(batch);
    multiply(batch, begin, end);
  }

 private:
  void pack(Dim batch) {
    a_ = p_.a.as<bfloat16>() + batch_offset(p_.a, batch);
    const bfloat16* const b = p_.b.as<bfloat16>() + batch_offset(p_.b, batch);
    for_panels([&](Dim column, Dim vectors) {
      pack_pairs(b + column, p_.b.step(-2), p_.k(), p_.n() - column, vectors * kPairLanes, packed_.data() + pairs_ * column);
    });
    if (a_width_ > 0) pack_pairs(a_, p_.a.step(-1), p_.k(), p_.m(), a_width_, packed_a());
  }

  void multiply(Dim batch, Dim begin, Dim end) const {
    const Dim y_offset = batch_offset(p_.y, batch) + begin * p_.y.step(-2);
    if (p_.y.dtype == DType::f32) multiply(batch, begin, end, p_.y.as<float>() + y_offset);
    else multiply(batch, begin, end, p_.y.as<bfloat16>() + y_offset);
  }
  template <class Y>
  void multiply(Dim batch, Dim begin, Dim end, Y* y) const {
    const float* const bias = bias_of(p_, batch);
    for_panels([&](Dim column, Dim vectors) {
      const PairGemm product{.m = end - begin,
                             .n = std::min(p_.n() - column, vectors * kPairLanes),
                             .k = p_.k(),
                             .lda = a_width_ > 0 ? a_width_ : p_.a.step(-2),
                             .ldb = vectors * kPairLanes,
                             .ldc = p_.y.step(-2),
                             .accumulate = p_.options.accumulate,
                             .bias = bias ? bias + column : nullptr};
      const Pair* const b = packed_.data() + pairs_ * column;
      if (a_width_ > 0) product(packed_a() + begin, b, y + column);
      else product(a_ + begin * p_.a.step(-2), b, y + column);
    });
  }

  // body(first column, vectors) for panels of nearly equal width: the columns of b that are multiplied at once lie side by side.
  template <class Body>
  void for_panels(const Body& body) const {
    constexpr Dim kMostVectors = 4;
    const Dim panels = ceil_div(vectors_, kMostVectors);
    for (Dim i = 0; i < panels; ++i) {
      const Dim begin = vectors_ * i / panels, end = vectors_ * (i + 1) / panels;
      body(begin * kPairLanes, end - begin);
    }
  }
  Pair* packed_a() const { return packed_.data() + pairs_ * vectors_ * kPairLanes; }

  const Problem& p_;
  Dim pairs_, vectors_;
  Dim a_width_;           // of a row of pairs, where a is packed
  Scratch<Pair> packed_;  // b, panel by panel (pairs, vectors, kPairLanes); a (pairs, a_width)
  const bfloat16* a_ = nullptr;
};

}  // namespace

bool is_small_bf16(const Problem& p) {
  // With many columns of a, packing it costs more than the library's second pass.
  const bool columns = by_columns(p.a) && p.m() <= 128;
  return can_pack_pairs(p) && (by_rows(p.a) || columns);
}

void matmul_small_bf16(const Problem& p) {
  multiply_in_parts(p, [&] { return Multiplier(p); });
}

}  // namespace ashlar::kernels::products
