// BLAST (Lee, Kwon, Qu, Kim 2024): W is out_blocks x in_blocks blocks; block (i, j) is U_i diag(S_ij) V_jᵀ.
// Left factors are shared along a block row, right factors along a block column.
//   a_j = x_j V_j        c_i = sum_j S_ij * a_j        y_i = c_i U_iᵀ + b_i
//   dc_i = dy_i U_i      da_j = sum_i S_ij * dc_i      dx_j = da_j V_jᵀ
//   dU_i = dy_iᵀ c_i     dS_ij = sum over rows of dc_i * a_j     dV_j = x_jᵀ da_j
// i < out_blocks, j < in_blocks; p = ceil(out / out_blocks), q = ceil(in / in_blocks): a ragged last block is treated as
// if x and y were padded with zeros. Saved for backward: x (shared with its producer) and, on the CPU, a where q is at least
// 24, since computing it again is cheaper for shorter blocks; on a GPU a and c.
// At initialisation var V = in_blocks / in (1/q without padding), E S² = 1/in_blocks, var U = in std² / rank, so that the
// entries of W have variance std².
#pragma once
#include "core/rounding.h"
#include "layers/linear_spec.h"

namespace ashlar {

class BlastLinear final : public LinearMap {
 public:
  struct Structure {
    Dim out_blocks, in_blocks, rank;
  };
  BlastLinear(const Scope& scope, Dim in, Dim out, const Structure& structure, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override;

 protected:
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim block_rows() const { return ceil_div(out_features(), structure_.out_blocks); }     // p
  Dim block_columns() const { return ceil_div(in_features(), structure_.in_blocks); }  // q

  Structure structure_;
  Tensor u_;  // (out_blocks, p, rank)
  Tensor v_;  // (in_blocks, q, rank)
  Tensor s_;  // (out_blocks, in_blocks, rank)
};

std::unique_ptr<LinearMap> make_blast(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                      const LinearOptions& options);

}  // namespace ashlar
