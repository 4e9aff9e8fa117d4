// What a sketch and its gradient have in common: every value of a row is the sum of some values of another row, with signs.
#pragma once
#include <span>
#include <vector>

#include "core/dtype.h"

namespace ashlar::kernels::ss1 {

// `count` neighbouring values from `from` are added to, or subtracted from, those from `to`.
struct Run {
  Dim from, to, count;
  bool negative;
};

class SignedSums {
 public:
  // The values [begin, end) of a target row are the sums of what these runs have there, in this order, and zero where that is
  // nothing.
  // Targets that are never added are never written.
  void add(Dim begin, Dim end, std::span<const Run> runs);

  // For `rows` rows: target = the sums of the source's values. Both of one floating dtype; positions and steps between rows
  // count elements. bf16 is summed in f32 and rounded once.
  void apply(DType dtype, Dim rows, const void* source, Dim source_step, void* target, Dim target_step) const;

  // Values to which the same sources contribute: target[at + k] = Σ sign source[term.at + k] for k < count.
  struct Segment {
    Dim at, count;
    std::size_t first, last;  // terms
  };
  struct Term {
    Dim at;
    float sign;
  };

 private:
  std::vector<Segment> segments_;
  std::vector<Term> terms_;
};

}  // namespace ashlar::kernels::ss1
