// Devices, streams, memory and copies between host and device, by the CUDA runtime.
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/cuda/check.cuh"
#include "core/cuda/cuda.h"

namespace ashlar::cuda {
namespace {

// Pinned buffers by turns: one is filled by the host while the device reads from the others.
class Staging {
 public:
  void copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto* target = static_cast<std::byte*>(to);
    const auto* source = static_cast<const std::byte*>(from);
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t part = std::min(kBytes, bytes - done);
      Buffer& buffer = buffers_[next_++ % buffers_.size()];
      prepare(buffer, part);
      std::memcpy(buffer.data, source + done, part);
      ASHLAR_CUDA_CHECK(cudaMemcpyAsync(target + done, buffer.data, part, cudaMemcpyHostToDevice, stream));
      ASHLAR_CUDA_CHECK(cudaEventRecord(buffer.read, stream));
      done += part;
    }
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{8} << 20;
  struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
    cudaEvent_t read = nullptr;  // the device has read it
  };

  // Waits until the device has read the buffer's last content, and makes it large enough.
  static void prepare(Buffer& buffer, std::size_t bytes) {
    if (!buffer.read) ASHLAR_CUDA_CHECK(cudaEventCreateWithFlags(&buffer.read, cudaEventDisableTiming));
    ASHLAR_CUDA_CHECK(cudaEventSynchronize(buffer.read));
    if (buffer.bytes >= bytes) return;
    if (buffer.data) ASHLAR_CUDA_CHECK(cudaFreeHost(buffer.data));
    buffer = {nullptr, 0, buffer.read};
    ASHLAR_CUDA_CHECK(cudaMallocHost(&buffer.data, bytes));
    buffer.bytes = bytes;
  }

  std::mutex mutex_;
  std::array<Buffer, 4> buffers_;
  std::size_t next_ = 0;
};

// What a device has. Never destroyed: arrays held by static objects may outlive any static object of ours.
struct DeviceState {
  cudaStream_t stream = nullptr;
  std::unique_ptr<Allocator> allocator;
  Staging staging;
};

std::unique_ptr<DeviceState> make_state(int index) {
  const std::string reason = why_unusable(index);
  if (!reason.empty()) throw InputError(concat("device cuda:", index, ": ", reason));
  auto state = std::make_unique<DeviceState>();
  int current = 0;  // the thread's device, which stream() keeps track of
  ASHLAR_CUDA_CHECK(cudaGetDevice(&current));
  ASHLAR_CUDA_CHECK(cudaSetDevice(index));
  ASHLAR_CUDA_CHECK(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking));
  ASHLAR_CUDA_CHECK(cudaSetDevice(current));
  const cudaStream_t stream = state->stream;
  // The memory is that of the stream's device.
  const RawMemory memory{[stream](std::size_t bytes) -> void* {
                           void* data = nullptr;
                           const cudaError_t status = cudaMallocAsync(&data, bytes, stream);
                           if (status == cudaErrorMemoryAllocation) {
                             cudaGetLastError();  // clears it: the caller tries again after trimming
                             return nullptr;
                           }
                           ASHLAR_CUDA_CHECK(status);
                           return data;
                         },
                         // Errors are dropped: release() must not throw, and memory of a broken device is lost anyway.
                         [stream](void* data, std::size_t) { cudaFreeAsync(data, stream); }};
  state->allocator.reset(make_caching_allocator(memory, concat("memory of cuda:", index)));
  return state;
}

DeviceState& state_of(int index) {
  static std::mutex mutex;
  static auto* const states = new std::map<int, std::unique_ptr<DeviceState>>;
  const std::lock_guard lock(mutex);
  std::unique_ptr<DeviceState>& state = (*states)[index];
  if (!state) state = make_state(index);
  return *state;
}

}  // namespace

std::string why_unusable(int index) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaGetLastError();
    return concat("this build has CUDA, but this machine has no GPU that it can use (",
                  status == cudaSuccess ? "no device" : cudaGetErrorString(status), ")");
  }
  if (index >= count) return concat("this machine has ", count, count == 1 ? " GPU, cuda:0" : " GPUs, numbered from cuda:0");
  cudaDeviceProp properties{};
  ASHLAR_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  if (properties.major < 8) {
    return concat(properties.name, " has compute capability ", properties.major, ".", properties.minor,
                  "; the kernels need 8.0 or newer");
  }
  return {};
}

Allocator& allocator(int index) { return *state_of(index).allocator; }

void* stream(int index) {
  // Both lookups are on the way of every launch: the thread remembers the last device.
  static thread_local int current = -1;
  static thread_local cudaStream_t last = nullptr;
  if (current != index) {
    last = state_of(index).stream;
    ASHLAR_CUDA_CHECK(cudaSetDevice(index));
    current = index;
  }
  return last;
}

void synchronize(int index) { ASHLAR_CUDA_CHECK(cudaStreamSynchronize(static_cast<cudaStream_t>(stream(index)))); }

void copy_to_device(int index, void* to, const void* from, std::size_t bytes) {
  const auto queue = static_cast<cudaStream_t>(stream(index));
  state_of(index).staging.copy(queue, to, from, bytes);
}

void copy_to_host(int index, void* to, const void* from, std::size_t bytes) {
  const auto queue = static_cast<cudaStream_t>(stream(index));
  ASHLAR_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, queue));
  ASHLAR_CUDA_CHECK(cudaStreamSynchronize(queue));
}

}  // namespace ashlar::cuda
