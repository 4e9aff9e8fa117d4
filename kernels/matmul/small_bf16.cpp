#include "kernels/matmul/small_bf16.h"

#include "kernels/matmul/pairs-inl.h"
#include "kernels/matmul/parts.h"
#include "kernels/small_gemm/tile.h"

#if defined(__x86_64__)

namespace ashlar::kernels::products {
namespace {

constexpr Dim kMostVectors = 4;

// Some columns of one product: a in pairs along K, at any two steps, and b packed.
struct Panel {
  const bfloat16* a;  // of the first row
  Dim row_step, pair_step;
  Dim inner;          // values of a row of a: K, or rounded up to pairs
  const Pair* b;      // (pairs, vectors, kLanes)
  const float* bias;  // or null
  Dim y_step;
  bool accumulate;
  std::uint16_t last;  // columns of the last vector, as bits
};

}  // namespace
}  // namespace ashlar::kernels::products

HWY_PUSH_ATTRIBUTES(ASHLAR_BF16_TARGET)

namespace ashlar::kernels::products {
namespace {

// The pair at `a`; of the last one of an odd K only the first value exists.
template <bool kWhole>
HWY_INLINE int pair_at(const bfloat16* a) {
  Pair pair = 0;
  std::memcpy(&pair, a, kWhole ? sizeof(Pair) : sizeof(bfloat16));
  return static_cast<int>(pair);
}

// Sums of kRows rows: kVectors vectors, and half of one after them where kHalf says so. A last vector of eight columns or
// fewer is such a half, for which processors that take two passes for a whole one need only one.
template <int kRows, int kVectors, bool kHalf>
struct Sums {
  __m512 whole[kRows][std::max(kVectors, 1)];
  __m256 half[kRows];

  HWY_INLINE void clear() {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) whole[r][v] = _mm512_setzero_ps();
      if constexpr (kHalf) half[r] = _mm256_setzero_ps();
    }
  }
  template <bool kWholePair>
  HWY_INLINE void add_pair(const bfloat16* a, Dim row_step, const Pair* b) {
    __m512i columns[std::max(kVectors, 1)];
    __m256i last;
    for (int v = 0; v < kVectors; ++v) columns[v] = _mm512_loadu_si512(b + v * kLanes);
    if constexpr (kHalf) last = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b + kVectors * kLanes));
    for (int r = 0; r < kRows; ++r) {
      const __m512i row = _mm512_set1_epi32(pair_at<kWholePair>(a + r * row_step));
      for (int v = 0; v < kVectors; ++v) whole[r][v] = add_products(whole[r][v], row, columns[v]);
      if constexpr (kHalf) half[r] = add_products(half[r], _mm512_castsi512_si256(row), last);
    }
  }
  template <class Y>
  HWY_INLINE void finish_rows(const Panel& p, Y* y) const {
    constexpr int kFull = kHalf ? kVectors : kVectors - 1;
    for (int v = 0; v < kVectors; ++v) {
      const auto mask = static_cast<__mmask16>(v < kFull ? 0xffff : p.last);
      const __m512 bias = p.bias ? _mm512_maskz_loadu_ps(mask, p.bias + v * kLanes) : _mm512_setzero_ps();
      for (int r = 0; r < kRows; ++r) {
        finish(p.accumulate, _mm512_add_ps(whole[r][v], bias), mask, y + r * p.y_step + v * kLanes);
      }
    }
    if constexpr (kHalf) {
      const auto mask = static_cast<__mmask8>(p.last);
      const __m256 bias = p.bias ? _mm256_maskz_loadu_ps(mask, p.bias + kVectors * kLanes) : _mm256_setzero_ps();
      for (int r = 0; r < kRows; ++r) {
        finish(p.accumulate, _mm256_add_ps(half[r], bias), mask, y + r * p.y_step + kVectors * kLanes);
      }
    }
  }
};

// The rows lie far apart, so that no processor foresees them: those of y and the next ones of a are fetched by hand.
template <int kRows, int kVectors, bool kHalf, class Y>
HWY_INLINE void multiply_rows(const Panel& p, const bfloat16* a, Y* y) {
  constexpr Dim kColumns = (kVectors + kHalf) * kLanes, kLine = 64 / sizeof(Y);
  for (int r = 0; r < kRows; ++r) {
    for (Dim column = 0; column < kColumns; column += kLine) hwy::Prefetch(y + r * p.y_step + column);
    hwy::Prefetch(a + (kRows + r) * p.row_step);
    hwy::Prefetch(a + (kRows + r) * p.row_step + 32);
  }
  Sums<kRows, kVectors, kHalf> sums;
  sums.clear();
  const Pair* b = p.b;
  for (Dim k = 0; k < p.inner / 2; ++k, a += p.pair_step, b += kColumns) {
    sums.template add_pair<true>(a, p.row_step, b);
  }
  if (p.inner % 2 != 0) sums.template add_pair<false>(a, p.row_step, b);
  sums.finish_rows(p, y);
}

// As many rows at a time as their accumulators, 24 or fewer, leave registers for the operands.
template <int kVectors, bool kHalf, class Y>
void multiply_panel(const Panel& p, Dim rows, Y* y) {
  constexpr int kWidth = kVectors + kHalf, kRows = kWidth == 1 ? 16 : 24 / kWidth;
  Dim r = 0;
  for (; r + kRows <= rows; r += kRows) multiply_rows<kRows, kVectors, kHalf>(p, p.a + r * p.row_step, y + r * p.y_step);
  for (; r + 4 <= rows; r += 4) multiply_rows<4, kVectors, kHalf>(p, p.a + r * p.row_step, y + r * p.y_step);
  for (; r < rows; ++r) multiply_rows<1, kVectors, kHalf>(p, p.a + r * p.row_step, y + r * p.y_step);
}

template <int kWidth, class Y>
void multiply_panel(const Panel& p, Dim rows, Y* y) {
  if (p.last < 1 << 8) multiply_panel<kWidth - 1, true>(p, rows, y);
  else multiply_panel<kWidth, false>(p, rows, y);
}

template <class Y>
void multiply_panel(const Panel& p, Dim vectors, Dim rows, Y* y) {
  if (vectors == 4) multiply_panel<4>(p, rows, y);
  else if (vectors == 3) multiply_panel<3>(p, rows, y);
  else if (vectors == 2) multiply_panel<2>(p, rows, y);
  else multiply_panel<1>(p, rows, y);
}

void multiply_panel(const Panel& p, Dim vectors, Dim rows, float* y) { multiply_panel<float>(p, vectors, rows, y); }
void multiply_panel(const Panel& p, Dim vectors, Dim rows, bfloat16* y) { multiply_panel<bfloat16>(p, vectors, rows, y); }

}  // namespace
}  // namespace ashlar::kernels::products

HWY_POP_ATTRIBUTES

namespace ashlar::kernels::products {
namespace {

// Multiplies one product of a batch after the other on one thread.
class Multiplier {
 public:
  explicit Multiplier(const Problem& p)
      : p_(p),
        pairs_(ceil_div(p.k(), 2)),
        vectors_(ceil_div(p.n(), kLanes)),
        a_width_(by_rows(p.a) ? 0 : round_up(p.m(), kLanes)),
        packed_(pairs_ * (vectors_ * kLanes + a_width_)) {}

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
      pack_pairs(b + column, p_.b.step(-2), p_.k(), p_.n() - column, vectors * kLanes, packed_.data() + pairs_ * column);
    });
    if (a_width_ > 0) pack_pairs(a_, p_.a.step(-1), p_.k(), p_.m(), a_width_, packed_a());
  }

  void multiply(Dim batch, Dim begin, Dim end) const {
    const Dim y_offset = batch_offset(p_.y, batch) + begin * p_.y.step(-2);
    const float* const bias = bias_of(p_, batch);
    for_panels([&](Dim column, Dim vectors) {
      const Dim columns = std::min(p_.n() - column, vectors * kLanes), in_last = columns - (vectors - 1) * kLanes;
      Panel panel{.a = a_ + begin * p_.a.step(-2),
                  .row_step = p_.a.step(-2),
                  .pair_step = 2,
                  .inner = p_.k(),
                  .b = packed_.data() + pairs_ * column,
                  .bias = bias ? bias + column : nullptr,
                  .y_step = p_.y.step(-2),
                  .accumulate = p_.options.accumulate,
                  .last = static_cast<std::uint16_t>((1u << in_last) - 1)};
      if (a_width_ > 0) {
        panel.a = reinterpret_cast<const bfloat16*>(packed_a() + begin);
        panel.row_step = 2;
        panel.pair_step = 2 * a_width_;
        panel.inner = 2 * pairs_;
      }
      if (p_.y.dtype == DType::f32) multiply_panel(panel, vectors, end - begin, p_.y.as<float>() + y_offset + column);
      else multiply_panel(panel, vectors, end - begin, p_.y.as<bfloat16>() + y_offset + column);
    });
  }

  // body(first column, vectors) for panels of nearly equal width.
  template <class Body>
  void for_panels(const Body& body) const {
    const Dim panels = ceil_div(vectors_, kMostVectors);
    for (Dim i = 0; i < panels; ++i) {
      const Dim begin = vectors_ * i / panels, end = vectors_ * (i + 1) / panels;
      body(begin * kLanes, end - begin);
    }
  }
  Pair* packed_a() const { return packed_.data() + pairs_ * vectors_ * kLanes; }

  const Problem& p_;
  Dim pairs_, vectors_;
  Dim a_width_;           // of a row of pairs, where a is packed
  Scratch<Pair> packed_;  // b, panel by panel (pairs, vectors, kLanes); a (pairs, a_width)
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

#else

namespace ashlar::kernels::products {
bool is_small_bf16(const Problem&) { return false; }
void matmul_small_bf16(const Problem&) {}
}  // namespace ashlar::kernels::products

#endif
