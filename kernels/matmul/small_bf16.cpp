#include "kernels/matmul/small_bf16.h"

#include "kernels/matmul/library.h"
#include "kernels/matmul/parts.h"
#include "kernels/scratch.h"
#include "kernels/small_gemm/pair_gemm.h"

namespace ashlar::kernels::products {
namespace {

// Multiplies one product of a batch after the other on one thread.
class Multiplier {
 public:
  explicit Multiplier(const Problem& p)
      : p_(p), b_(packed_pairs(p.k(), p.n())), a_(by_rows(p.a) ? 0 : p.m() * whole_lines(p.k())), amx_(has_amx()) {}

  // Rows [begin, end) of a product.
  void operator()(Dim batch, Dim begin, Dim end) {
    pack_pairs(p_.b.as<bfloat16>() + batch_offset(p_.b, batch), p_.b.step(-2), p_.k(), p_.n(), b_.data());
    if (p_.y.dtype == DType::f32) multiply(batch, begin, end, p_.y.as<float>());
    else multiply(batch, begin, end, p_.y.as<bfloat16>());
  }

 private:
  template <class Y>
  void multiply(Dim batch, Dim begin, Dim end, Y* y) const {
    const bfloat16* a = p_.a.as<bfloat16>() + batch_offset(p_.a, batch);
    PairGemm product{.m = end - begin,
                     .n = p_.n(),
                     .k = p_.k(),
                     .strip = strip_pairs(p_.k()),
                     .ldc = p_.y.step(-2),
                     .accumulate = p_.options.accumulate,
                     .bias = bias_of<float>(p_, batch)};
    if (by_rows(p_.a)) {
      product.lda = p_.a.step(-2);
      a += begin * product.lda;
    } else {
      product.lda = whole_lines(p_.k());
      round_transposed(a + begin, p_.a.step(-1), a_.data(), product.lda, p_.k(), product.m);
      a = a_.data();
    }
    product(a, b_.data(), y + batch_offset(p_.y, batch) + begin * product.ldc);
  }

  const Problem& p_;
  Scratch<Pair> b_;
  Scratch<bfloat16> a_;  // (rows, whole_lines(k)), where a is not given by rows
  UseAmx amx_;
};

}  // namespace

bool is_small_bf16(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 16;  // of b, which each thread packs for itself: what stays in the second-level cache
  if (!multiplies_bf16(Device{}) || p.a.dtype != DType::bf16 || p.b.dtype != DType::bf16) return false;
  if (!by_rows(p.b) || !by_rows(ConstView(p.y)) || p.k() == 0 || p.k() > 1024 || p.k() * p.n() > kMostValues) return false;
  // The library uses AMX too: only many rows make up for the packing of b, which for a batch each thread does for its own.
  if (has_amx()) return by_rows(p.a) && p.m() >= (batch_shape(p.y).numel() > 1 ? 64 : 512);
  // With many columns of a, packing it costs more than the library's second pass.
  return by_rows(p.a) || (by_columns(p.a) && p.m() <= 128);
}

void matmul_small_bf16(const Problem& p) {
  multiply_in_parts(p, [&] { return Multiplier(p); }, has_amx() ? 64 : 48);
}

}  // namespace ashlar::kernels::products
