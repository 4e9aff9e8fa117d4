// The elementwise half of attention: what happens to a tile of scores between two matrix products.
#pragma once
#include "core/dtype.h"

namespace ashlar::kernels::attention {

// A tile of q kᵀ: `rows` queries by `width` keys. Row r sees its first `visible(r)` keys. Rows are at least `width` rounded
// up to kRowPadding long; what lies between may be overwritten.
constexpr Dim kRowPadding = 16;

template <class T>
struct ScoreTile {
  T* scores;
  Dim ld, rows, width;
  T scale;
  bool causal;
  Dim offset;  // causal: position of the first query less that of the first key

  Dim visible(Dim row) const {
    if (!causal) return width;
    const Dim keys = offset + row + 1;
    return keys < 0 ? 0 : keys < width ? keys : width;
  }
};

// Online softmax (Milakov and Gimelshein 2018). For each row, with s = scale * scores and m' = max(m, s):
//   scores <- exp(s − m') (0 where hidden),  factor <- exp(m − m'),  sum <- sum * factor + Σ scores,  m <- m'.
// `max` starts as −infinity and `sum` as 0.
void softmax_tile(const ScoreTile<float>& tile, float* max, float* sum, float* factor);
void softmax_tile(const ScoreTile<double>& tile, double* max, double* sum, double* factor);

// Backward: p = exp(s − lse) goes to `scores` and ds = p * (dp − delta) to `dp` (same layout), both 0 where hidden.
void softmax_gradient_tile(const ScoreTile<float>& tile, float* dp, const float* lse, const float* delta);
void softmax_gradient_tile(const ScoreTile<double>& tile, double* dp, const double* lse, const double* delta);

// dots[r] = the sum of a[r] * b[r] over the columns.
void row_dots(const double* a, Dim ld_a, const double* b, Dim ld_b, Dim rows, Dim columns, double* dots);
void row_dots(const float* a, Dim ld_a, const float* b, Dim ld_b, Dim rows, Dim columns, float* dots);
void row_dots(const bfloat16* a, Dim ld_a, const bfloat16* b, Dim ld_b, Dim rows, Dim columns, float* dots);

}  // namespace ashlar::kernels::attention
