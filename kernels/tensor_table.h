// Many tensors in one launch of a GPU: the blocks of the grid are dealt out to the tensors in order.
#pragma once
#include "core/rounding.h"

namespace ashlar::kernels {

constexpr Dim kTensorChunk = 4096;  // elements that a block takes

constexpr Dim tensor_chunks(Dim count) { return ceil_div(count, kTensorChunk); }

// Up to kItems tensors, small enough to be the parameter of a kernel.
template <class Item, int kItems>
struct TensorTable {
  int count = 0;
  Dim first[kItems + 1] = {};  // the first block of each tensor, then the number of blocks
  Item item[kItems] = {};

  constexpr bool full() const { return count == kItems; }
  constexpr Dim blocks() const { return first[count]; }
  // Empty tensors take no block.
  constexpr void add(const Item& next, Dim elements) {
    item[count] = next;
    first[count + 1] = first[count] + tensor_chunks(elements);
    ++count;
  }
  // The tensor that a block works on: the last whose first block is not after it.
  constexpr int find(Dim block) const {
    int low = 0, high = count;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= block) low = middle;
      else high = middle;
    }
    return low;
  }
};

}  // namespace ashlar::kernels
