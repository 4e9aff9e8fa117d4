// Values on their way to the host.
#pragma once
#include "core/array.h"
#include "core/cuda/cuda.h"

namespace ashlar {

// A copy of an array's values as they are when what was queued before is done. A GPU is not waited for until they are
// asked for, and the array may be changed or freed at once.
class HostCopy {
 public:
  HostCopy() = default;  // of nothing
  explicit HostCopy(const Array& values);
  std::vector<double> values() const;  // row-major

 private:
  std::vector<double> arrived_;               // on the CPU they are there
  std::shared_ptr<cuda::Download> download_;  // of count_ values of dtype_
  DType dtype_ = DType::f64;
  Dim count_ = 0;
};

}  // namespace ashlar
