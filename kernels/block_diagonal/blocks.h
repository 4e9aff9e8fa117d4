// The blocks of a block-diagonal matrix as operands of small products on tiles of rows, one block at a time. Monarch is
// two such matrices.
#pragma once
#include "core/parallel.h"
#include "core/view.h"
#include "kernels/small_gemm/small_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels {

// Block i, W_i (out.length, in.length), takes in.count(i) features to out.count(i); the rest of it is padding, which
// is not read.
template <class C>
struct Blocks {
  const C* weight = nullptr;
  Side in, out;
  Dim size() const { return out.length * in.length; }
  const C* at(Dim i) const { return weight + i * size(); }
};

// y (out.count) = W_i x + bias for a single row x. W is read in place: packing it would cost more than the product.
template <class C>
void multiply_row(const Blocks<C>& w, Dim i, const C* x, const C* bias, C* y) {
  const Dim count = w.out.count(i);
  if (bias) std::copy_n(bias, count, y);
  else std::fill_n(y, count, C{0});
  const SmallGemm<C> product{.m = count, .n = 1, .k = w.in.count(i), .lda = w.in.length, .ldb = 1, .ldc = 1,
                             .accumulate = true};
  product(w.at(i), x, y);
}

// dW_i += dy_iᵀ x_i over the rows of a tile.
template <class C>
void add_gradient(const Blocks<C>& w, Dim i, Dim rows, const C* dy, Dim ld_dy, const C* x, Dim ld_x, C* dw) {
  const SmallGemm<C> product{.m = w.out.count(i), .n = w.in.count(i), .k = rows, .lda = ld_dy, .ldb = ld_x,
                             .ldc = w.in.length, .trans_a = true, .accumulate = true};
  product(dy, x, dw + i * w.size());
}

// All blocks, packed once for many tiles.
template <class C>
class PackedBlocks {
 public:
  enum Direction { forward, backward };  // to the outputs: x_i W_iᵀ; back to the inputs: dy_i W_i
  // Packs nothing unless `wanted`.
  PackedBlocks(const Blocks<C>& w, Direction direction, bool wanted)
      : from_(direction == forward ? w.in : w.out),
        to_(direction == forward ? w.out : w.in),
        size_(from_.length * round_up(to_.length, vector_lanes<C>())),
        storage_(wanted ? from_.blocks * size_ : 0),
        data_(storage_.take(0)) {
    if (!wanted) return;
    parallel_items(from_.blocks, [&](Dim i) {
      pack_panels(w.at(i), w.in.length, from_.count(i), to_.count(i), direction == forward, data_ + i * size_);
    });
  }
  void multiply(Dim i, Dim rows, const C* from, Dim ld_from, C* to, Dim ld_to, const C* bias = nullptr) const {
    const SmallGemm<C> product{.m = rows, .n = to_.count(i), .k = from_.count(i), .lda = ld_from, .ldc = ld_to,
                               .packed_b = true, .bias = bias};
    product(from, data_ + i * size_, to);
  }

 private:
  Side from_, to_;
  Dim size_;
  Scratch<C> storage_;
  C* data_;
};

}  // namespace ashlar::kernels
