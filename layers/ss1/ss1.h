// SS1, the sketch structured transform (Desai et al. 2024): every weight is used `reduction` = c times in its row of W,
// in places that a hash names. x, padded with zeros, is cut into chunks of B features, G groups of c chunks each; the
// c chunks of a group are rotated, signed and added up before the product:
//   u_h[g B + k] = sum_{i < c} sign_hgi x[(g c + i) B + (k + shift_hgi) mod B]     (H, rows, G B)
//   y_h = u_h Z_hᵀ + b_h                                    for H classes of ceil(out / H) neighbouring outputs
//   dZ_h = dy_hᵀ u_h     du_h = dy_h Z_h     dx[(g c + i) B + (k + shift_hgi) mod B] = sum_h sign_hgi du_h[g B + k]
// All three products are c times smaller than the dense ones.
//
// The hash of the released kernels is shift = VEC (R3 + R2 tile + R1 (g + 1) + R0 (i + 1)) mod B without signs. Its part
// that depends on (tile, g) rotates a whole group and so only renames the weights of a row; what is left is
// shift_i = VEC R0 i mod B, the same for all outputs, with their R0 = 45007 and VEC = 8, or 1 where B is no multiple of 8.
// That is the default, with H = 1: a block of 32 has four rotations, one of 8 only that by 0. All outputs then see the same
// in / c numbers, and W has at most that rank. classes=H instead draws shifts and signs at random for every class; with
// H >= c, W has full rank, for H n additions a row.
//
// Saved for backward: u instead of x, H in / c numbers a row, which is also less to read again than x; where H > c, x, of
// which the sketches are made again. The tables are buffers of the module: they go into checkpoints and come back from
// them, whatever seed drew them; their shape and that of Z give B.
// At initialisation var Z = std², which makes every entry of W ± a number of that variance.
#pragma once
#include "layers/linear_spec.h"

namespace ashlar {

class Ss1Linear final : public LinearMap {
 public:
  struct Structure {
    Dim reduction, block;  // c and B
    Dim classes = 0;       // H of the random tables; 0: the released hash
  };
  Ss1Linear(const Scope& scope, Dim in, Dim out, const Structure& structure, const LinearOptions& options);
  Array to_dense() const override;
  LinearCost cost(Dim rows) const override;
  std::string spec() const override;

 protected:
  // The mean of the entries of W that share a weight, with their signs: the least-squares solution, also with row weights. With
  // input moments the Z of each class is refitted.
  void fit(const Array& dense, const ProjectionOptions& options) override;
  Tensor forward(const Tensor& x, const Tensor& bias) const override;

 private:
  Dim groups() const { return shift_.size(1); }
  Dim width() const { return groups() * structure_.block; }
  // Calls body(row, column of W, index into Z, sign) for every entry of W.
  template <class Body>
  void for_entries(Body&& body) const;

  Structure structure_;
  Array shift_, sign_;  // (H, G, c) i32
  Tensor z_;            // (out, G B)
};

std::unique_ptr<LinearMap> make_ss1(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                    const LinearOptions& options);

}  // namespace ashlar
