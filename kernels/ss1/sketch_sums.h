// The sums of sketches, and of the gradients of what they are made from, on rows in the host's memory.
#pragma once
#include <string_view>

#include "kernels/ss1/signed_sums.h"
#include "kernels/ss1/checks.h"

namespace ashlar::kernels::ss1 {

// A rotated block is two runs of neighbouring values. With several sketches a block is added in as many rotations: it is laid
// out twice in a row then, so that each of them is one run.
class SketchSums {
 public:
  // x -> u, with u_step values from a sketch of a row to its next one. InputError for invalid shifts or signs.
  static SketchSums forward(std::string_view operation, const Sizes& sizes, const ConstView& shift, const ConstView& sign,
                            Dim u_step);
  // du -> dx, the same rotations backwards.
  static SketchSums backward(std::string_view operation, const Sizes& sizes, const ConstView& shift, const ConstView& sign,
                             Dim du_step);

  // For `rows` rows of one floating dtype; steps between rows count elements.
  void operator()(DType dtype, Dim rows, const void* from, Dim from_step, void* to, Dim to_step) const;

 private:
  // The source's blocks in a row: `line` of them without gaps, and the next line `step` values after its beginning. Values
  // from `features` on are padding.
  struct Blocks {
    Dim count, size, line, step, features;
    Dim at(Dim block) const { return block / line * step + block % line * size; }
    Dim there(Dim block) const { return std::clamp<Dim>(features - at(block), 0, size); }
  };
  explicit SketchSums(const Blocks& source, bool twice) : source_(source), twice_(twice) {}
  // `size` values from place `turn` of a source block on, from its beginning again after its end.
  void rotate(std::vector<Run>& runs, Dim block, Dim turn, Dim to, bool negative) const;

  Blocks source_;
  bool twice_;
  SignedSums sums_;
};

}  // namespace ashlar::kernels::ss1
