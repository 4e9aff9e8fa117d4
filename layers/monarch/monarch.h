// Monarch (Dao et al. 2022) for rectangular matrices: W is N x N blocks (p, q), each a product L_ij R_ji of rank
// c = rank / N, given by two block-diagonal matrices with rank N hidden features between them. Block i takes the
// outputs i p … i p + p - 1 and block j the inputs j q … j q + q - 1, both contiguous:
//   a_j = x_j R_jᵀ       (rows, N c)   R_j stacks R_ji (c, q) over the output blocks i
//   h_i = [a_ji]_j       (rows, N c)   the features of all input blocks for output block i
//   y_i = h_i L_iᵀ + b_i (rows, p)     L_i puts L_ij (p, c) side by side over the input blocks j
//   dL_i = dy_iᵀ h_i     dh_i = dy_i L_i     da_ji = dh_ij     dR_j = da_jᵀ x_j     dx_j = da_j R_j
// p = ceil(out / N), q = ceil(in / N): the last blocks are as if x and y were padded with zeros.
// interleaved=1 has the order of the paper and its released code, for exchanging weights: output block i is every N-th
// output, i, i + N, …, and row k of R_j belongs to output block k mod N. It costs a copy of y more than the other.
// Saved for backward: x (shared with its producer) and h, rank N numbers a row: computing it again would cost up to two
// fifths of the backward.
// At initialisation var R = blocks / in (1/q without padding), var L = in std² / rank, so that the entries of W have variance
// std².
#pragma once
#include "core/rounding.h"
#include "layers/linear_spec.h"

namespace ashlar {

class MonarchLinear final : public LinearMap {
 public:
  struct Structure {
    Dim blocks, rank;  // N and N c: the parameters are those of low_rank with this rank
    bool interleaved = false;
  };
  MonarchLinear(const Scope& scope, Dim in, Dim out, const Structure& structure, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override;

 protected:
  // Truncated SVD of every block: the best approximation, since the blocks have no factors in common, also with row
  // weights. With input moments the SVDs take the inputs of each block by themselves, and then L_i is refitted to all of them.
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim block_rows() const { return ceil_div(out_features(), structure_.blocks); }    // p
  Dim block_columns() const { return ceil_div(in_features(), structure_.blocks); }  // q
  Dim block_rank() const { return structure_.rank / structure_.blocks; }            // c
  // Gram matrices (N, N c, N c) of the other factor (ParamInfo::gram), block-diagonal: a change of L_ij is measured by
  // R_ji R_jiᵀ, one of R_ji by L_ijᵀ L_ij, without what the padding adds to them.
  Array left_gram() const;
  Array right_gram() const;
  // Views of the outputs of block i and of block (i, j): of W padded to (N p, N q), as (p, N q) and (p, q), and of the factors,
  // as (p, c) and (c, q).
  Array dense_rows(const Array& padded, Dim i) const;
  Array dense_block(const Array& padded, Dim i, Dim j) const;
  Array left_block(const Array& l, Dim i, Dim j) const;
  Array right_block(const Array& r, Dim i, Dim j) const;

  Structure structure_;
  Tensor r_;  // (N, N c, q)
  Tensor l_;  // (N, p, N c)
};

std::unique_ptr<LinearMap> make_monarch(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                        const LinearOptions& options);

}  // namespace ashlar
