// Matrix products by oneDNN, small ones by kernels of our own. What the library does not take (a layout without a unit stride,
// bf16 on a processor without bf16 instructions) is brought into a form that it does; f64, which it does not know, is a plain
// loop.
#include <vector>

#include "core/array.h"
#include "core/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/cpu.h"
#include "kernels/matmul/library.h"
#include "kernels/matmul/problem.h"
#include "kernels/matmul/small_bf16.h"
#include "kernels/matmul/small_f32.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace products;

// A plain loop, for gradient checks.
void matmul_f64(const Problem& p) {
  const Dim m = p.m(), n = p.n(), k = p.k();
  const Dim batches = batch_shape(p.y).numel();
  parallel_for(batches * m, std::max<Dim>(1, 10000 / std::max<Dim>(1, n * k)), [&](Dim begin, Dim end) {
    std::vector<double> row(static_cast<std::size_t>(n));
    for (Dim item = begin; item < end; ++item) {
      const Dim batch = item / m, i = item % m;
      const double* a = p.a.as<double>() + batch_offset(p.a, batch) + i * p.a.step(-2);
      const double* b = p.b.as<double>() + batch_offset(p.b, batch);
      double* y = p.y.as<double>() + batch_offset(p.y, batch) + i * p.y.step(-2);
      for (Dim j = 0; j < n; ++j) {
        double start = p.options.bias ? p.options.bias.as<double>()[j * p.options.bias.step(0)] : 0.0;
        if (p.options.accumulate) start += y[j * p.y.step(-1)];
        row[static_cast<std::size_t>(j)] = start;
      }
      for (Dim l = 0; l < k; ++l) {
        const double factor = a[l * p.a.step(-1)];
        const double* b_row = b + l * p.b.step(-2);
        for (Dim j = 0; j < n; ++j) row[static_cast<std::size_t>(j)] += factor * b_row[j * p.b.step(-1)];
      }
      for (Dim j = 0; j < n; ++j) y[j * p.y.step(-1)] = row[static_cast<std::size_t>(j)];
    }
  });
}

// A copy in `dtype` that keeps stride 0 for repeated batches, so that only distinct values are converted, and columns without
// gaps, so that they are read in their order.
Array converted(const Exec& exec, const ConstView& v, DType dtype) {
  if (v.step(-1) != 1 && v.step(-2) == 1) return converted(exec, transposed(v), dtype).transpose(-2, -1);
  ConstView distinct = v;
  for (int d = 0; d < v.shape.ndim(); ++d) {
    if (v.step(d) == 0) distinct.shape = distinct.shape.with(d, 1);
  }
  Array result = Array::empty(distinct.shape, dtype);
  cast(exec, distinct, result);
  return result.expand(v.shape);
}

// Multiplies what is too small for the library, and says whether it did.
bool multiply_small(const Problem& p) {
  if (is_small_f32(p)) matmul_small_f32(p);
  else if (is_small_bf16(p)) matmul_small_bf16(p);
  else return false;
  return true;
}

void matmul_library(const Exec& exec, Problem p) {
  // The library writes rows. A y with unit stride along its columns is the product of the transposed operands.
  if (p.y.step(-1) != 1 && p.n() != 1 && p.y.step(-2) == 1 && !p.options.bias) {
    p = {transposed(p.b), transposed(p.a), transposed(p.y), p.options};
  }
  if (multiply_small(p)) return;
  const bool bf16 = p.a.dtype == DType::bf16 || p.b.dtype == DType::bf16;
  const DType operand = bf16 && library_multiplies_bf16() ? DType::bf16 : DType::f32;
  Array a, b, y;
  if (p.a.dtype != operand || !takes_operand(p.a)) p.a = a = converted(exec, p.a, operand);
  if (p.b.dtype != operand || !takes_operand(p.b)) p.b = b = converted(exec, p.b, operand);
  const View target = p.y;
  const bool direct = (p.y.dtype == DType::f32 || operand == DType::bf16) && takes_result(p.y);
  if (!direct) {
    y = Array::empty(target.shape, DType::f32);
    if (p.options.accumulate) cast(exec, target, y);
    p.y = y;
  }
  run_library(p);
  if (!direct) cast(exec, y, target);
}

void multiply(const Exec& exec, const Problem& p) {
  if (p.y.numel() == 0) return;
  if (p.options.gelu) return product_then_gelu(exec, p);
  if (p.y.dtype == DType::f64) return matmul_f64(p);
  if (p.k() == 0) return empty_sum(exec, p.y, p.options);
  matmul_library(exec, p);
}

}  // namespace

void matmul(const Exec& exec, ConstView a, ConstView b, View y, MatmulOptions options) {
  const Problem p = check(a, b, y, options);
  if (options.row_sums) sum_rows(exec, a, options.row_sums);
  multiply(exec, p);
}

void matmul_blocks(const Exec& exec, ConstView a, ConstView b, View y, ConstView bias) {
  if (!bias || y.size(0) == 1) {
    return matmul(exec, a, b, y, {.bias = bias ? strided(bias, 0, {y.size(2)}, {1}) : ConstView{}});
  }
  Problem problem = check(a, b, y, {});
  problem.options.bias = bias;
  if (y.numel() > 0 && multiply_small(problem)) return;
  problem.options.bias = {};  // the library adds one bias for all of a batch
  multiply(exec, problem);
  linear_combination(exec, y, 1, strided(bias, 0, y.shape, {bias.step(0), 0, 1}), 1, y);
}

}  // namespace ashlar::kernels::cpu
