// Whether a structured layer's own kernel takes the place of products and passes between them, where either could do the work.
#pragma once
#include <cstdlib>
#include <string_view>

#include "core/error.h"

namespace ashlar::kernels {

// As ASHLAR_FUSED in the environment says, for measurements; otherwise where it `pays` by the caller's count.
inline bool use_fused(bool pays) {
  const char* const set = std::getenv("ASHLAR_FUSED");
  const std::string_view value = set && *set ? set : "auto";
  if (value == "on") return true;
  if (value == "off") return false;
  if (value != "auto") {
    throw InputError(concat("ASHLAR_FUSED is ", value, "; valid: on, off, auto (fused kernels of BLAST and SS1 where they pay)"));
  }
  return pays;
}

}  // namespace ashlar::kernels
