#include "kernels/small_gemm/small_gemm.h"

#include <algorithm>
#include <type_traits>

#include "core/rounding.h"
#include "kernels/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/small_gemm/small_gemm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ashlar::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Rows of accumulators beside 1, 2 or 3 vectors of columns: enough independent sums to cover the latency of the
// multiply-add, few enough to stay in registers (32 vectors in AVX-512 and Arm64, 16 elsewhere).
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64;
constexpr int max_rows(int vectors) {
  if (kManyRegisters) return 8;
  return vectors == 3 ? 4 : vectors == 2 ? 6 : 8;
}

// How the columns end: with a whole vector, or with some lanes of one. Half of them or fewer are given a vector of half the
// width, which processors that take two passes for a whole one do in a single pass.
enum class Tail { none, half, wide };

// A product over some columns of B and a run of k, with op(A) as two strides: op(A)[r, i] = a[r * a_row + i * a_step].
template <class T>
struct Product {
  const T* a;
  Dim a_row, a_step;
  const T* b;
  Dim ldb;
  T* c;
  Dim ldc, m, k;
  bool accumulate;
  const T* bias;  // of these columns, or null
  bool prefetch;
};

// The first `count` values at p in a vector, zeros after them; and back. Neither touches memory past them (Highway's
// own masked loads and stores do so where the processor has no masks).
template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load_first(D d, const T* p, std::size_t count) {
#if HWY_TARGET <= HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN T lanes[hn::MaxLanes(D())] = {};
  for (std::size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return hn::Load(d, lanes);
#endif
}
template <class D, class T = hn::TFromD<D>>
HWY_INLINE void store_first(D d, hn::Vec<D> v, T* p, std::size_t count) {
#if HWY_TARGET <= HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#else
  HWY_ALIGN T lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  for (std::size_t i = 0; i < count; ++i) p[i] = lanes[i];
#endif
}

// Fetches `count` values into the first-level cache.
template <class T>
HWY_INLINE void prefetch(const T* from, Dim count) {
  for (Dim i = 0; i < count; i += 64 / static_cast<Dim>(sizeof(T))) hwy::Prefetch(from + i);
}

// One tile of C: kRows rows by kVectors vectors; the last of them holds `last` columns unless kTail is none. Rows that lie
// far apart no processor foresees. They are fetched by hand: C and the next tile's A at the start and, where A is
// transposed, the next rows of A and B on the way.
template <int kRows, int kVectors, Tail kTail, class T>
HWY_INLINE void multiply_tile(const Product<T>& g, Dim row, std::size_t last) {
  using D = hn::ScalableTag<T>;
  using Half = hn::CappedTag<T, std::max<std::size_t>(hn::MaxLanes(D()) / 2, 1)>;
  const D d;
  const std::conditional_t<kTail == Tail::half, Half, D> d_tail;
  constexpr int kWhole = kTail == Tail::none ? kVectors : kVectors - 1;
  using V = hn::Vec<D>;
  using VTail = hn::Vec<std::remove_const_t<decltype(d_tail)>>;
  constexpr Dim kMostOfRow = 256 / sizeof(T), kAhead = 12;
  const Dim lanes = static_cast<Dim>(hn::Lanes(d));
  const T* HWY_RESTRICT a = g.a + row * g.a_row;
  const T* HWY_RESTRICT b = g.b;
  T* HWY_RESTRICT c = g.c + row * g.ldc;
  const bool transposed = g.a_step != 1;
  for (int r = 0; g.prefetch && r < kRows; ++r) {
    prefetch(c + r * g.ldc, kVectors * lanes);
    if (!transposed) prefetch(a + (kRows + r) * g.a_row, std::min(g.k, kMostOfRow));
  }

  V sum[kRows][std::max(kWhole, 1)];
  VTail tail[kRows];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kWhole; ++v) sum[r][v] = hn::Zero(d);
    if constexpr (kTail != Tail::none) tail[r] = hn::Zero(d_tail);
  }
  for (Dim i = 0; i < g.k; ++i) {
    if (g.prefetch && transposed) {
      prefetch(a + kAhead * g.a_step, kRows);
      prefetch(b + kAhead * g.ldb, kVectors * lanes);
    }
    V bv[std::max(kWhole, 1)];
    VTail b_tail;
    for (int v = 0; v < kWhole; ++v) bv[v] = hn::LoadU(d, b + v * lanes);
    if constexpr (kTail != Tail::none) b_tail = load_first(d_tail, b + kWhole * lanes, last);
    for (int r = 0; r < kRows; ++r) {
      const T value = a[r * g.a_row];
      for (int v = 0; v < kWhole; ++v) sum[r][v] = hn::MulAdd(hn::Set(d, value), bv[v], sum[r][v]);
      if constexpr (kTail != Tail::none) tail[r] = hn::MulAdd(hn::Set(d_tail, value), b_tail, tail[r]);
    }
    a += g.a_step;
    b += g.ldb;
  }
  // Loops without branches: only those are unrolled, and only unrolled ones keep the sums in registers.
  const auto add_rows = [&](const T* from, Dim step) HWY_ATTR {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kWhole; ++v) sum[r][v] = hn::Add(sum[r][v], hn::LoadU(d, from + r * step + v * lanes));
      if constexpr (kTail != Tail::none) {
        tail[r] = hn::Add(tail[r], load_first(d_tail, from + r * step + kWhole * lanes, last));
      }
    }
  };
  if (g.accumulate) add_rows(c, g.ldc);
  if (g.bias) add_rows(g.bias, 0);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kWhole; ++v) hn::StoreU(sum[r][v], d, c + r * g.ldc + v * lanes);
    if constexpr (kTail != Tail::none) store_first(d_tail, tail[r], c + r * g.ldc + kWhole * lanes, last);
  }
}

// All rows in tiles of kRows, what is left in tiles of 4, 2 and 1.
template <int kRows, int kVectors, Tail kTail, class T>
void multiply_rows(const Product<T>& g, Dim row, std::size_t last) {
  for (; row + kRows <= g.m; row += kRows) multiply_tile<kRows, kVectors, kTail>(g, row, last);
  if constexpr (kRows > 1) {
    if (row < g.m) multiply_rows<(kRows > 4 ? 4 : kRows / 2), kVectors, kTail>(g, row, last);
  }
}

template <int kVectors, class T>
void multiply_columns(const Product<T>& g, Dim columns) {
  const Dim lanes = static_cast<Dim>(hn::Lanes(hn::ScalableTag<T>())), last = columns - (kVectors - 1) * lanes;
  constexpr int kRows = max_rows(kVectors);
  const auto count = static_cast<std::size_t>(last);
  if (last == lanes) multiply_rows<kRows, kVectors, Tail::none>(g, 0, count);
  else if (2 * last <= lanes) multiply_rows<kRows, kVectors, Tail::half>(g, 0, count);
  else multiply_rows<kRows, kVectors, Tail::wide>(g, 0, count);
}

// Vectors of the next block of columns: three, but four as 2 + 2 rather than 3 + 1.
template <class T>
Dim next_block(Dim columns_left) {
  const Dim lanes = static_cast<Dim>(hn::Lanes(hn::ScalableTag<T>()));
  const Dim vectors = ceil_div(columns_left, lanes);
  return vectors == 4 ? 2 : std::min<Dim>(vectors, 3);
}

template <class T>
void multiply(const SmallGemm<T>& g, const T* a, const T* b, T* c) {
  const Dim lanes = static_cast<Dim>(hn::Lanes(hn::ScalableTag<T>()));
  for (Dim column = 0; column < g.n;) {
    const Dim vectors = next_block<T>(g.n - column);
    const Dim columns = std::min(g.n - column, vectors * lanes);
    // Runs of k that let a block of B stay in the first-level cache.
    for (Dim k = 0; k == 0 || k < g.k; k += g.kRun) {
      const Dim a_row = g.trans_a ? 1 : g.lda, a_step = g.trans_a ? g.lda : 1;
      const Product<T> run{a + k * a_step, a_row, a_step, b + column + k * g.ldb,    g.ldb,
                           c + column,     g.ldc, g.m,    std::min(g.kRun, g.k - k), g.accumulate || k > 0,
                           k == 0 && g.bias ? g.bias + column : nullptr, g.prefetch};
      if (vectors == 3) multiply_columns<3>(run, columns);
      else if (vectors == 2) multiply_columns<2>(run, columns);
      else multiply_columns<1>(run, columns);
    }
    column += columns;
  }
}

void multiply_f32(const SmallGemm<float>& g, const float* a, const float* b, float* c) { multiply(g, a, b, c); }
void multiply_f64(const SmallGemm<double>& g, const double* a, const double* b, double* c) { multiply(g, a, b, c); }

#if HWY_TARGET == HWY_SCALAR
HWY_INLINE Dim transpose_blocks(const float*, Dim, Dim, Dim, float*, Dim) { return 0; }
#else
// Transposes the whole blocks of 4 or 8 rows and returns how many rows those are. The rows come in as 128-bit
// quarters, four columns at a time; two interleavings transpose each quarter.
HWY_INLINE Dim transpose_blocks(const float* from, Dim rows, Dim columns, Dim ld_from, float* to, Dim ld_to) {
  const hn::CappedTag<float, 8> d;
  constexpr Dim kRows = static_cast<Dim>(hn::MaxLanes(d));
  const auto load = [&](const float* row) HWY_ATTR {
    if constexpr (kRows == 8) {
      const hn::Half<decltype(d)> half;
      return hn::Combine(d, hn::LoadU(half, row + 4 * ld_from), hn::LoadU(half, row));
    } else {
      return hn::LoadU(d, row);
    }
  };
  Dim r = 0;
  for (; r + kRows <= rows; r += kRows) {
    Dim c = 0;
    for (; c + 4 <= columns; c += 4) {
      const float* at = from + r * ld_from + c;
      const auto r0 = load(at), r1 = load(at + ld_from), r2 = load(at + 2 * ld_from), r3 = load(at + 3 * ld_from);
      const auto even_low = hn::InterleaveLower(d, r0, r2), odd_low = hn::InterleaveLower(d, r1, r3);
      const auto even_high = hn::InterleaveUpper(d, r0, r2), odd_high = hn::InterleaveUpper(d, r1, r3);
      float* out = to + c * ld_to + r;
      hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, out);
      hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, out + ld_to);
      hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, out + 2 * ld_to);
      hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, out + 3 * ld_to);
    }
    for (; c < columns; ++c) {
      for (Dim i = r; i < r + kRows; ++i) to[c * ld_to + i] = from[i * ld_from + c];
    }
  }
  return r;
}
#endif

void transpose_f32(const float* from, Dim rows, Dim columns, Dim ld_from, float* to, Dim ld_to) {
  for (Dim r = transpose_blocks(from, rows, columns, ld_from, to, ld_to); r < rows; ++r) {
    for (Dim c = 0; c < columns; ++c) to[c * ld_to + r] = from[r * ld_from + c];
  }
}

}  // namespace ashlar::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ashlar::kernels {

HWY_EXPORT(multiply_f32);
HWY_EXPORT(multiply_f64);
HWY_EXPORT(transpose_f32);

template <>
void SmallGemm<float>::operator()(const float* a, const float* b, float* c) const {
  ASHLAR_DISPATCH(multiply_f32)(*this, a, b, c);
}
template <>
void SmallGemm<double>::operator()(const double* a, const double* b, double* c) const {
  ASHLAR_DISPATCH(multiply_f64)(*this, a, b, c);
}

void pack_transposed(const float* from, Dim rows, Dim columns, Dim ld_from, float* to, Dim ld_to) {
  ASHLAR_DISPATCH(transpose_f32)(from, rows, columns, ld_from, to, ld_to);
}
void pack_transposed(const double* from, Dim rows, Dim columns, Dim ld_from, double* to, Dim ld_to) {
  for (Dim r = 0; r < rows; ++r) {
    for (Dim c = 0; c < columns; ++c) to[c * ld_to + r] = from[r * ld_from + c];
  }
}

}  // namespace ashlar::kernels
#endif
