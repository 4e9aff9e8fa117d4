// How to walk N operands of one shape and any strides: rows of a common innermost dimension.
#pragma once
#include <algorithm>
#include <numeric>
#include <optional>

#include "core/view.h"

namespace ashlar {

template <std::size_t N>
class StridedRows {
 public:
  using Strides = std::array<Dim, kMaxDims>;
  using Offsets = std::array<Dim, N>;  // elements, one an operand

  // Dimensions are ordered by the strides of the last operand (the result), and neighbours merge where every
  // operand allows it: contiguous operands become one row; (B, T, C) + (T, C) becomes B rows of T·C values.
  StridedRows(const Shape& shape, const std::array<Strides, N>& strides) {
    std::array<std::size_t, kMaxDims> order{};
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto dims = static_cast<std::size_t>(shape.ndim());
    const Strides& result = strides[N - 1];
    std::stable_sort(order.begin(), order.begin() + shape.ndim(),
                     [&](std::size_t a, std::size_t b) { return result[a] > result[b]; });
    for (std::size_t k = 0; k < dims; ++k) {
      const Dim size = shape[static_cast<int>(order[k])];
      if (size != 1) append(size, order[k], strides);
    }
    if (ndim_ == 0) {  // one element
      ndim_ = 1;
      size_[0] = 1;
      step_[0].fill(1);
    }
    columns_ = size_[ndim_ - 1];
    column_step_ = step_[ndim_ - 1];
    rows_ = 1;
    for (std::size_t d = 0; d + 1 < ndim_; ++d) rows_ *= size_[d];
  }

  constexpr Dim rows() const { return rows_; }
  constexpr Dim columns() const { return columns_; }
  constexpr const Offsets& column_steps() const { return column_step_; }
  // Where row `row` begins in each operand.
  constexpr Offsets row_offsets(Dim row) const {
    Offsets offsets{};
    for (std::size_t d = ndim_ - 1; d-- > 0;) {
      const Dim rest = d > 0 ? row / size_[d] : 0, index = row - rest * size_[d];
      row = rest;
      for (std::size_t o = 0; o < N; ++o) offsets[o] += index * step_[d][o];
    }
    return offsets;
  }

  // The same in packs of n neighbours, if all operands consist of such: columns and offsets count packs then.
  std::optional<StridedRows> in_packs(Dim n) const {
    if (columns_ % n != 0 || !std::ranges::all_of(column_step_, [](Dim step) { return step == 1; })) return {};
    StridedRows packs = *this;
    packs.columns_ = packs.size_[ndim_ - 1] = columns_ / n;
    for (std::size_t d = 0; d + 1 < ndim_; ++d) {
      for (Dim& step : packs.step_[d]) {
        if (step % n != 0) return {};
        step /= n;
      }
    }
    return packs;
  }

 private:
  void append(Dim size, std::size_t dim, const std::array<Strides, N>& strides) {
    Offsets step{};
    for (std::size_t o = 0; o < N; ++o) step[o] = strides[o][dim];
    bool merges = ndim_ > 0;
    for (std::size_t o = 0; merges && o < N; ++o) merges = step_[ndim_ - 1][o] == step[o] * size;
    if (!merges) ++ndim_;
    size_[ndim_ - 1] = merges ? size_[ndim_ - 1] * size : size;
    step_[ndim_ - 1] = step;
  }

  std::size_t ndim_ = 0;
  std::array<Dim, kMaxDims> size_{};
  std::array<Offsets, kMaxDims> step_{};
  Dim rows_ = 0, columns_ = 0;
  Offsets column_step_{};
};

}  // namespace ashlar
