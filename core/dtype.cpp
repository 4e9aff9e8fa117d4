#include "core/dtype.h"

#include <ostream>

namespace ashlar {

std::ostream& operator<<(std::ostream& out, DType dtype) { return out << name_of(dtype); }

}  // namespace ashlar
