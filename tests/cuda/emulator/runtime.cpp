// The CUDA runtime on memory of the host: its device, memory, copies and errors. streams.cpp has the rest.
#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "core/error.h"
#include "tests/cuda/emulator/include/cuda_runtime.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/streams.h"

namespace ashlar::emulated {
namespace {

constexpr int kMultiprocessors = 132, kMajor = 9;

thread_local cudaError_t last_error = cudaSuccess;

// Never destroyed: arrays held by static objects may outlive any static object of ours.
GuardedMemory& memory() {
  static auto* const own = new GuardedMemory("device memory", device_range());
  return *own;
}
GuardedMemory& pinned() {
  static AddressRange* const range = [] {
    auto* const opened = new AddressRange;
    opened->open();
    return opened;
  }();
  static auto* const own = new GuardedMemory("pinned memory", *range);
  return *own;
}

// Dynamic shared memory that a kernel may have: 48 KiB less its static arrays, which are taken to be 1 KiB, until it asks
// for more; the limit that it is told is 48 KiB. A launch does not know its kernel's address: it is held against the largest
// limit of all.
constexpr int kStaticShared = 1 << 10, kSharedUnasked = (48 << 10) - kStaticShared;
std::map<const void*, int>& shared_limits() {
  static std::map<const void*, int> limits;
  return limits;
}
int largest_shared_limit() {
  int largest = kSharedUnasked;
  for (const auto& [kernel, bytes] : shared_limits()) largest = std::max(largest, bytes);
  return largest;
}

}  // namespace

void report(cudaError_t status) {
  if (status != cudaSuccess) last_error = status;
}
cudaError_t result(cudaError_t status) {
  report(status);
  return status;
}

bool on_device(const void* data, std::size_t bytes) { return memory().holds(data, bytes); }
void check_memory() {
  memory().check();
  pinned().check();
}

cudaError_t check_launch(dim3 grid, dim3 block, std::size_t shared) {
  const bool grid_fits =
      grid.x > 0 && grid.x < 1u << 31 && grid.y > 0 && grid.y < 1u << 16 && grid.z > 0 && grid.z < 1u << 16;
  const bool block_fits = block.x > 0 && block.y > 0 && block.z > 0 && block.z <= 64 && block.x <= 1024 && block.y <= 1024 &&
                          block.x * block.y * block.z <= 1024;
  if (!grid_fits || !block_fits) return cudaErrorInvalidConfiguration;
  return shared <= static_cast<std::size_t>(largest_shared_limit()) ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t get_shared_limits(const void* kernel, cudaFuncAttributes* attributes) {
  const auto asked = shared_limits().find(kernel);
  *attributes = {asked == shared_limits().end() ? kSharedUnasked + kStaticShared : asked->second, kStaticShared};
  return cudaSuccess;
}
cudaError_t set_shared_limit(const void* kernel, int bytes) {
  if (static_cast<std::size_t>(bytes) > kSharedLimit) return result(cudaErrorInvalidValue);
  shared_limits()[kernel] = bytes;
  return cudaSuccess;
}

}  // namespace ashlar::emulated

using namespace ashlar::emulated;

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidMemcpyDirection: return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
  }
  return "unknown";
}
const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }
cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) return result(cudaErrorInvalidDevice);
  *properties = {"emulated", kMajor, 0, kMultiprocessors};
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device != 0) return result(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = static_cast<int>(kSharedLimit); break;
    case cudaDevAttrComputeCapabilityMajor: *value = kMajor; break;
    case cudaDevAttrMultiProcessorCount: *value = kMultiprocessors; break;
    case cudaDevAttrMemoryPoolsSupported: *value = 1; break;
  }
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) { return result(device == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t stream) {
  if (capturing(stream)) return refuse_in_capture(stream);
  *data = memory().allocate(bytes);
  return result(*data ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t stream) {
  if (capturing(stream)) return refuse_in_capture(stream);
  if (!memory().begins(data)) return result(cudaErrorInvalidValue);
  return result(enqueue(stream, [data] {
    if (!memory().release(data)) throw ashlar::Error("emulator: device memory was given back twice");
  }));
}
cudaError_t cudaMallocHost(void** data, std::size_t bytes) {
  if (refused_anywhere()) return cudaErrorStreamCaptureUnsupported;
  *data = pinned().allocate(bytes);
  return result(*data ? cudaSuccess : cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* data) {
  if (refused_anywhere()) return cudaErrorStreamCaptureUnsupported;
  return result(pinned().release(data) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (bytes == 0) return cudaSuccess;
  const auto fits = [&](const void* data, bool device) {
    return device ? memory().holds(data, bytes) : !memory().touches(data);
  };
  if (!fits(to, to_device) || !fits(from, from_device)) return result(cudaErrorInvalidMemcpyDirection);
  // Ordinary memory of the host has been read, or written, when the call returns.
  if (kind == cudaMemcpyHostToDevice && !pinned().holds(from, bytes)) {
    const auto* const data = static_cast<const unsigned char*>(from);
    return result(enqueue(stream, [to, values = std::vector(data, data + bytes)] {
      std::memcpy(to, values.data(), values.size());
    }));
  }
  const cudaError_t status = enqueue(stream, [=] { std::memmove(to, from, bytes); });
  if (kind == cudaMemcpyDeviceToHost && !pinned().holds(to, bytes) && !capturing(stream)) finish(stream);
  return result(status);
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes > 0 && !memory().holds(to, bytes)) return result(cudaErrorInvalidValue);
  return result(enqueue(stream, [=] { std::memset(to, value, bytes); }));
}
