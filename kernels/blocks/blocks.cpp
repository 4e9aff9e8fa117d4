#include "kernels/blocks/blocks.h"

#include "core/parallel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/small_gemm/pairs.h"
#include "kernels/small_gemm/small_gemm.h"

namespace ashlar::kernels {
namespace {

// to (columns, ld_to) = the transpose of `from` (rows, columns), rounded where `to` is bf16.
void transpose_strip(const float* from, Dim rows, Dim columns, float* to, Dim ld_to) {
  pack_transposed(from, rows, columns, columns, to, ld_to);
}
template <class From>
void transpose_strip(const From* from, Dim rows, Dim columns, bfloat16* to, Dim ld_to) {
  round_transposed(from, columns, to, ld_to, rows, columns);
}

// to (blocks, columns, rows) = the transposes of from (blocks, rows, columns), both contiguous.
template <class From, class To>
void transpose_blocks(const ConstView& from, const View& to) {
  constexpr Dim kStrip = 64, kWorthAThread = Dim{1} << 15;  // rows; values
  const Dim rows = from.size(-2), columns = from.size(-1), block = rows * columns, strips = ceil_div(rows, kStrip);
  if (from.numel() == 0) return;
  parallel_for(from.numel() / block * strips, ceil_div(kWorthAThread, kStrip * columns), [&](Dim begin, Dim end) {
    for (Dim item = begin; item < end; ++item) {
      const Dim row = item % strips * kStrip, first = item / strips * block;
      transpose_strip(from.as<From>() + first + row * columns, std::min(kStrip, rows - row), columns,
                      to.as<To>() + first + row, rows);
    }
  });
}

// The same of any dtypes, by vectors for those of training in f32 and in bf16.
void transpose(const Exec& exec, const ConstView& from, const View& to) {
  const bool rounds = to.dtype == DType::bf16 && multiplies_bf16(exec.device);
  if (from.dtype == DType::f32 && to.dtype == DType::f32) transpose_blocks<float, float>(from, to);
  else if (from.dtype == DType::f32 && rounds) transpose_blocks<float, bfloat16>(from, to);
  else if (from.dtype == DType::bf16 && rounds) transpose_blocks<bfloat16, bfloat16>(from, to);
  else cast(exec, transposed(from), to);
}

}  // namespace

Operand Operand::transposed(const Exec& exec, const ConstView& weights, DType dtype, Dim rows) {
  if (!weights || (weights.dtype == dtype && rows < 256)) {
    return Operand(exec, weights ? kernels::transposed(weights) : weights, dtype);
  }
  Operand operand;
  operand.converted_ = Array::empty(kernels::transposed(weights).shape, dtype);
  operand.view_ = operand.converted_;
  transpose(exec, weights, operand.converted_);
  return operand;
}

}  // namespace ashlar::kernels
