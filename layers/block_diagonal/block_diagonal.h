// Block-diagonal: W has `blocks` blocks B_i (p, q) on its diagonal and is zero elsewhere.
//   y_i = x_i B_iᵀ + b_i      dx_i = dy_i B_i      dB_i = dy_iᵀ x_i
// p = ceil(out / blocks), q = ceil(in / blocks): the last blocks are as if x and y were padded with zeros.
// With shuffle=1 the blocks take the channels of x shuffled, so that stacked layers mix all features (Zhang et al. 2018,
// ShuffleNet): feature g q + c of the padded x becomes feature c blocks + g. W is then the block-diagonal matrix times that
// permutation.
// Saved for backward: x (shared with its producer); there is nothing to recompute.
// At initialisation var B = in std² / q: outputs vary as those of a dense matrix of that std.
#pragma once
#include "core/rounding.h"
#include "layers/linear_spec.h"

namespace ashlar {

class BlockDiagonalLinear final : public LinearMap {
 public:
  BlockDiagonalLinear(const Scope& scope, Dim in, Dim out, Dim blocks, bool shuffle, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override;

 protected:
  // Takes the entries of the blocks and drops all others, which is the best approximation, also with row weights. With input
  // moments each block is refitted by least squares to the whole rows of W: as inputs correlate, its own inputs make up for a part
  // of those outside it.
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim block_rows() const { return ceil_div(out_features(), blocks_); }    // p
  Dim block_columns() const { return ceil_div(in_features(), blocks_); }  // q
  // Calls body(row, column of W, index into B) for every entry of W that a block holds.
  template <class Body>
  void for_entries(Body&& body) const;

  Dim blocks_;
  bool shuffle_;
  Tensor b_;  // (blocks, p, q)
};

std::unique_ptr<LinearMap> make_block_diagonal(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                               const LinearOptions& options);

}  // namespace ashlar
