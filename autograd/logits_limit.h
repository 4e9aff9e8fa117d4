// How much linear_cross_entropy holds at a time.
#pragma once
#include "core/dtype.h"

namespace ashlar::F {

// Bytes of logits on a GPU, where each part of the rows but the first reads and writes the gradient of the weight once more.
// Tests lower it, for parts of a few rows.
inline Dim most_logit_bytes = Dim{2} << 30;

}  // namespace ashlar::F
