#include "kernels/ss1/composed.h"

#include "core/array.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"
#include "kernels/ss1/checks.h"
#include "kernels/ss1/ss1.h"
#include "kernels/views.h"

namespace ashlar::kernels::ss1 {
namespace {

// Calls body(h, first output, outputs) for all classes.
template <class Body>
void for_classes(Dim sketches, Dim outputs, Body&& body) {
  const Side side = classes_of(sketches, outputs);
  for (Dim h = 0; h < sketches; ++h) body(h, side.begin(h), side.count(h));
}

// Sketch h of u (H, R, G B).
template <class AnyView>
AnyView sketch_of(const AnyView& u, Dim h) {
  return strided(u, h * u.step(0), {u.size(1), u.size(2)}, {u.step(1), 1});
}

template <class AnyView>
AnyView columns_of(const AnyView& rows, Dim begin, Dim count) {
  return strided(rows, begin, {rows.size(0), count}, {rows.step(0), 1});
}

}  // namespace

void compose_forward(const Exec& exec, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                     View y) {
  Array own;
  if (!u) u = own = Array::empty({shift.size(0), x.size(0), z.size(1)}, x.dtype, exec.device);
  ss1_sketch(exec, x, shift, sign, u);
  for_classes(shift.size(0), z.size(0), [&](Dim h, Dim begin, Dim count) {
    matmul(exec, sketch_of(u, h), transposed(rows_of(z, begin, count)), columns_of(y, begin, count),
           {.bias = rows_of(bias, begin, count)});
  });
}

void parameter_gradients(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, View dz,
                         View dbias) {
  const bool with_product = dz && shift.size(0) == 1;  // which sums whole rows of dy
  if (dz) {
    Array again;
    if (!u) {
      again = Array::empty({shift.size(0), dy.size(0), dz.size(1)}, dy.dtype, exec.device);
      ss1_sketch(exec, x, shift, sign, again);
      u = again;
    }
    for_classes(u.size(0), dz.size(0), [&](Dim h, Dim begin, Dim count) {
      matmul(exec, transposed(columns_of(dy, begin, count)), sketch_of(u, h), rows_of(dz, begin, count),
             {.row_sums = with_product ? dbias : View{}});
    });
  }
  if (dbias && !with_product) sum_to(exec, dy, as_row(dbias));
}

void compose_backward(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView shift, ConstView sign, ConstView z,
                      View dx, View dz, View dbias) {
  if (dx) {
    const Array du = Array::empty({shift.size(0), dy.size(0), z.size(1)}, dy.dtype, exec.device);
    for_classes(shift.size(0), z.size(0), [&](Dim h, Dim begin, Dim count) {
      matmul(exec, columns_of(dy, begin, count), rows_of(z, begin, count), sketch_of(View(du), h), {});
    });
    ss1_sketch_backward(exec, du, shift, sign, dx);
  }
  parameter_gradients(exec, dy, x, u, shift, sign, dz, dbias);
}

}  // namespace ashlar::kernels::ss1
