// Devices, and values on their way between them and the host.
#include <cuda_runtime.h>

#include "core/host_copy.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/cuda/support.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("the first device beyond those that are there is named, with how many there are", "[cuda]") {
  if (!has_gpu()) return;
  int count = 0;
  cudaGetDeviceCount(&count);
  CHECK(ashlar::test::contains(cuda::why_unusable(count), concat("this machine has ", count, " GPU")));
}

TEST_CASE("operands of two devices are refused", "[cuda]") {
  if (!has_gpu()) return;
  const Array here = randn({2}, DType::f32, 1), there = here.to(kGpu);
  CHECK_THROWS_AS(kernels::multiply(there.exec(), here, there, there), InputError);
}

TEST_CASE("downloads of any size, one after the other", "[cuda]") {
  if (!has_gpu()) return;
  for (const Dim count : {3, 5000, 10, 20000}) {
    const HostCopy values{Array::full({count}, 2, DType::f64, kGpu)};
    CHECK(values.values() == std::vector<double>(static_cast<std::size_t>(count), 2));
  }
}

TEST_CASE("more values on their way to the device than there are buffers for", "[cuda]") {
  if (!has_gpu()) return;
  Arrays sent;
  for (int i = 0; i < 40; ++i) sent.push_back(Array::full({10}, i).to(kGpu));
  for (std::size_t i = 0; i < sent.size(); ++i) CHECK(all_equal(sent[i], static_cast<double>(i)));
}
