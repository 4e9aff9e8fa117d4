// Matrix products by oneDNN, small ones and f64, which it does not know, by kernels of our own. What they do not take (a layout
// without a unit stride, bf16 on a processor without bf16 instructions) is brought into a form that they do.
#include "core/array.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/forms.h"
#include "kernels/matmul/library.h"
#include "kernels/matmul/parts.h"
#include "kernels/matmul/problem.h"
#include "kernels/matmul/small_bf16.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace products;

void matmul_f64(const Exec& exec, const Problem& given) {
  Problem p = by_rows_of_y(given);
  Array a, b, y;
  if (!by_rows(p.a) && !by_columns(p.a)) p.a = a = copied(exec, p.a, DType::f64);
  if (!by_rows(p.b)) p.b = b = copied(exec, p.b, DType::f64);
  const View target = p.y;
  if (!by_rows(ConstView(p.y))) y = redirect(exec, p, DType::f64);
  const Dim columns = std::min(p.n(), std::max<Dim>((Dim{1} << 15) / p.k() / 24, 1) * 24);  // whose part of b stays in the cache
  multiply_in_parts(p, [&] {
    return [&](Dim batch, Dim begin, Dim end) {
      for (Dim column = 0; column < p.n(); column += columns) {
        multiply_part<double>(p, batch, begin, end, column, std::min(columns, p.n() - column));
      }
    };
  });
  if (y.defined()) cast(exec, y, target);
}

// Products that are too small for the library to be fast, those of blocks, of a tile of rows at a time: f32, rows of b and y
// without gaps between elements, a by rows or by columns. By sizes and layout alone.
bool is_small_f32(const Problem& p) {
  constexpr Dim kMostValues = Dim{1} << 13;  // of b
  const bool f32 = p.a.dtype == DType::f32 && p.b.dtype == DType::f32 && p.y.dtype == DType::f32;
  const bool rows = by_rows(p.b) && by_rows(ConstView(p.y)) && (by_rows(p.a) || by_columns(p.a));
  return f32 && rows && p.m() >= 16 && p.k() > 0 && p.k() <= SmallGemm<float>::kRun && p.k() * p.n() <= kMostValues;
}

// An element of the result has the same bits for any number of threads.
void matmul_small_f32(const Problem& p) {
  multiply_in_parts(p, [&] {
    return [&](Dim batch, Dim begin, Dim end) { multiply_part<float>(p, batch, begin, end, 0, p.n()); };
  });
}

// Multiplies what is too small for the library, and says whether it did.
bool multiply_small(const Problem& p) {
  if (is_small_f32(p)) matmul_small_f32(p);
  else if (is_small_bf16(p)) matmul_small_bf16(p);
  else return false;
  return true;
}

void matmul_library(const Exec& exec, const Problem& given) {
  Problem p = by_rows_of_y(given);
  if (multiply_small(p)) return;
  const ConstView biases = has_biases(p) ? std::exchange(p.options.bias, {}) : ConstView{};  // the library adds one to all
  const bool bf16 = p.a.dtype == DType::bf16 || p.b.dtype == DType::bf16;
  const DType operand = bf16 && multiplies_bf16(Device{}) ? DType::bf16 : DType::f32;
  Array a, b, y;
  if (p.a.dtype != operand || !takes_operand(p.a)) p.a = a = converted(exec, p.a, operand);
  if (p.b.dtype != operand || !takes_operand(p.b)) p.b = b = converted(exec, p.b, operand);
  const View target = p.y;
  const bool takes_dtype = p.y.dtype == DType::f32 || operand == DType::bf16;
  if (!takes_dtype || !takes_result(p.y)) y = redirect(exec, p, DType::f32);
  run_library(p);
  if (y.defined()) cast(exec, y, target);
  if (biases) linear_combination(exec, target, 1, bias_rows(biases, target), 1, target);
}

void multiply(const Exec& exec, const Problem& p) {
  if (p.y.numel() == 0) return;
  if (p.options.gelu) return product_then_gelu(exec, p);
  if (p.k() == 0) return empty_sum(exec, p.y, p.options);
  if (p.y.dtype == DType::f64) return matmul_f64(exec, p);
  matmul_library(exec, p);
}

}  // namespace

void matmul(const Exec& exec, ConstView a, ConstView b, View y, MatmulOptions options) {
  Problem p = check(a, b, y, options);
  if (p.options.row_sums) sum_rows(exec, p.a, std::exchange(p.options.row_sums, {}));
  multiply(exec, p);
}

}  // namespace ashlar::kernels::cpu
