// Checks of operands; InputError naming the operation.
#pragma once
#include "core/array.h"

namespace ashlar::autograd {

// Tensors or Arrays that all must have values.
template <class... Operands>
void check_defined(std::string_view operation, const Operands&... operands) {
  int number = 0;
  const auto check = [&](bool defined) {
    ++number;
    ASHLAR_CHECK(defined, operation, ": operand ", number, " is undefined; it must be given a value first");
  };
  (check(operands.defined()), ...);
}

// Operands of an operation that does not convert them.
inline void check_same_dtype(std::string_view operation, const Array& a, const Array& b) {
  check_defined(operation, a, b);
  ASHLAR_CHECK(a.dtype() == b.dtype(), operation, ": dtypes ", a.dtype(), " and ", b.dtype(),
               " differ; cast one of them");
}

}  // namespace ashlar::autograd
