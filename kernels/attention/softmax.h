// The elementwise half of attention: what happens to a tile of scores between two matrix products.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels::attention {

// A tile of scale * q kᵀ: `rows` queries by `width` keys. Row r sees its first `visible(r)` keys. Rows are at least
// `width` rounded up to kRowPadding long; what lies between may be overwritten.
constexpr Dim kRowPadding = 16;

template <class T>
struct ScoreTile {
  T* scores;
  Dim ld, rows, width;
  bool causal;
  Dim offset;  // causal: position of the first query less that of the first key

  Dim visible(Dim row) const {
    if (!causal) return width;
    const Dim keys = offset + row + 1;
    return keys < 0 ? 0 : keys < width ? keys : width;
  }
};

// Online softmax (Milakov and Gimelshein 2018). For each row, with m' = max(m, scores):
//   scores <- exp(scores − m') (0 where hidden),  factor <- exp(m − m'),  sum <- sum * factor + Σ scores,  m <- m'.
// `max` starts as −infinity and `sum` as 0.
void softmax_tile(const ScoreTile<float>& tile, float* max, float* sum, float* factor);
void softmax_tile(const ScoreTile<double>& tile, double* max, double* sum, double* factor);

// Backward: p = exp(scores − lse) goes to `scores` and ds = p * (dp − delta) to `dp` (same layout), both 0 where hidden.
void softmax_gradient_tile(const ScoreTile<float>& tile, float* dp, const float* lse, const float* delta);
void softmax_gradient_tile(const ScoreTile<double>& tile, double* dp, const double* lse, const double* delta);

}  // namespace ashlar::kernels::attention
