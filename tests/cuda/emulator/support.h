// What the tests of the emulator share.
#pragma once
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/cuda/emulator/address_range.h"
#include "tests/cuda/emulator/include/cuda_runtime.h"
#include "tests/support/errors.h"

namespace ashlar::emulated::testing {

// Values on the device, which the test may look at.
template <class T>
struct Values {
  T* data = nullptr;
  Touching touching;
  explicit Values(std::size_t count) {
    void* memory = nullptr;
    cudaMallocAsync(&memory, count * sizeof(T), nullptr);
    data = static_cast<T*>(memory);
  }
  explicit Values(const std::vector<T>& values) : Values(values.size()) {
    cudaMemcpyAsync(data, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice, nullptr);
  }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  ~Values() { cudaFreeAsync(data, nullptr); }
};

template <class Call>
std::string error_of(const Call& call) {
  return ashlar::test::error_of<Error>(call);
}

}  // namespace ashlar::emulated::testing
