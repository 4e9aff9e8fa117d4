// On the CPU a row's norm is at hand when the row is scaled: sums and products are those of reduce and elementwise.
#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/normalize/checks.h"
#include "kernels/normalize/normalize.h"
#include "kernels/normalize/rows.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::kernels::cpu {
namespace {

double norm(const Exec& exec, const ConstView& row) {
  double squares = 0;
  sums_of_squares(exec, {&row, 1}, View{&squares, DType::f64, {1}, {1}});
  return std::sqrt(squares);
}

}  // namespace

void normalize_rows(const Exec& exec, ConstView x, ConstView target, double eps, View y) {
  using namespace normalize;
  check(x, target, y);
  for (Dim k = 0; k < x.size(0); ++k) {
    const ConstView row = row_of(x, k);
    scale(exec, row, row_factor(norm(exec, row), target ? norm(exec, row_of(target, k)) : 1, eps), row_of(y, k));
  }
}

}  // namespace ashlar::kernels::cpu
