// Sizes of a block-diagonal call; checked alike on every device.
#pragma once
#include "kernels/checks.h"
#include "kernels/side.h"

namespace ashlar::kernels::block_diagonal {

// Sizes of a call, from checked views.
struct Sizes {
  Dim rows, features;  // of x
  Side in, out;        // with a shuffle all blocks are full: padding may come to stand in any of them
  bool shuffle;
};

inline Sizes check(std::string_view operation, const ConstView& x, const ConstView& y, const ConstView& w,
                   const ConstView& bias, bool shuffle) {
  check_inputs_and_outputs(operation, x, y);
  ASHLAR_CHECK(w.shape.ndim() == 3 && w.size(0) >= 1, operation, ": w ", w.shape, " must be (blocks, p, q)");
  const Dim n = x.size(1), m = y.size(1), blocks = w.size(0), p = ceil_div(m, blocks), q = ceil_div(n, blocks);
  check_weights(operation, "w", w, {blocks, p, q}, x.dtype);
  check_contiguous(operation, "bias", bias, {m}, master_dtype(x.dtype));
  return {x.size(0), n, {shuffle ? blocks * q : n, blocks, q}, {m, blocks, p}, shuffle};
}

inline void check_gradients(const ConstView& x, const ConstView& w, const ConstView& dx, const ConstView& dw) {
  constexpr std::string_view operation = "block_diagonal_backward";
  check_input_gradient(operation, x, dx);
  check_contiguous(operation, "dw", dw, w.shape, master_dtype(x.dtype));
}

// The place in x, seen as (b, q) and transposed, of feature `at` of the shuffled channels; beyond x it is padding.
constexpr Dim shuffled_place(Dim at, Dim blocks, Dim length) { return at % blocks * length + at / blocks; }

}  // namespace ashlar::kernels::block_diagonal
