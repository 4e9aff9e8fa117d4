// Devices, streams, memory and copies between host and device, by the CUDA runtime.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/allocator.h"
#include "core/cuda/check.cuh"
#include "core/cuda/cuda.h"

namespace ashlar::cuda {
namespace {

// Pinned memory that the device copies from or to.
struct Pinned {
  void* data = nullptr;
  std::size_t bytes = 0;
  cudaEvent_t copied = nullptr;  // the latest copy is done

  // To at least `wanted` bytes; what was in it is lost.
  void grow(std::size_t wanted) {
    if (!copied) ASHLAR_CUDA_CHECK(cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
    if (bytes >= wanted) return;
    if (data) ASHLAR_CUDA_CHECK(cudaFreeHost(data));
    data = nullptr;
    bytes = 0;
    ASHLAR_CUDA_CHECK(cudaMallocHost(&data, wanted));
    bytes = wanted;
  }
};

// Pinned buffers by turns: one is filled by the host while the device reads from the others. There are more of them than a
// step has inputs: the host waits for a copy to free its buffer, and a copy waits for the step before.
class Staging {
 public:
  void copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto* target = static_cast<std::byte*>(to);
    const auto* source = static_cast<const std::byte*>(from);
    for (std::size_t done = 0; done < bytes;) {
      const std::size_t part = std::min(kBytes, bytes - done);
      Pinned& buffer = buffers_[next_++ % buffers_.size()];
      if (buffer.copied) ASHLAR_CUDA_CHECK(cudaEventSynchronize(buffer.copied));
      // A buffer that turns up for inputs of different sizes must not be made anew each time.
      buffer.grow(part <= kSmall ? kSmall : kBytes);
      std::memcpy(buffer.data, source + done, part);
      ASHLAR_CUDA_CHECK(cudaMemcpyAsync(target + done, buffer.data, part, cudaMemcpyHostToDevice, stream));
      ASHLAR_CUDA_CHECK(cudaEventRecord(buffer.copied, stream));
      done += part;
    }
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{4} << 20, kSmall = std::size_t{64} << 10;

  std::mutex mutex_;
  std::array<Pinned, 16> buffers_;
  std::size_t next_ = 0;
};

// Pinned buffers for copies to the host, kept for the next copy: making one takes longer than a step may wait.
class DownloadBuffers {
 public:
  Pinned take(std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    const auto fits = std::ranges::find_if(free_, [&](const Pinned& buffer) { return buffer.bytes >= bytes; });
    if (fits != free_.end()) {
      const Pinned buffer = *fits;
      free_.erase(fits);
      return buffer;
    }
    Pinned buffer;
    buffer.grow(std::max<std::size_t>(bytes, 4096));
    return buffer;
  }
  void give_back(const Pinned& buffer) {
    const std::lock_guard lock(mutex_);
    free_.push_back(buffer);
  }

 private:
  std::mutex mutex_;
  std::vector<Pinned> free_;
};

class PinnedDownload final : public Download {
 public:
  PinnedDownload(DownloadBuffers& buffers, cudaStream_t stream, const void* from, std::size_t bytes)
      : buffers_(buffers), buffer_(buffers.take(bytes)) {
    ASHLAR_CUDA_CHECK(cudaMemcpyAsync(buffer_.data, from, bytes, cudaMemcpyDeviceToHost, stream));
    ASHLAR_CUDA_CHECK(cudaEventRecord(buffer_.copied, stream));
  }
  // The buffer may be filled anew at once: a later copy comes later in the stream.
  ~PinnedDownload() override { buffers_.give_back(buffer_); }

  const void* wait() override {
    ASHLAR_CUDA_CHECK(cudaEventSynchronize(buffer_.copied));
    return buffer_.data;
  }

 private:
  DownloadBuffers& buffers_;
  Pinned buffer_;
};

// An error of the stream is left to the call that follows.
bool is_recorded(cudaStream_t stream) noexcept {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(stream, &status);
  return status != cudaStreamCaptureStatusNone;
}

// What a device has. Never destroyed: arrays held by static objects may outlive any static object of ours.
struct DeviceState {
  cudaStream_t stream = nullptr;
  // Takes and gives back memory while the stream above is recorded: a graph would own what it allocates.
  cudaStream_t memory_stream = nullptr;
  std::unique_ptr<Allocator> allocator;
  Staging staging;
  DownloadBuffers download_buffers;
};

// The thread's device. It stays what it was made last: since CUDA 12 cudaSetDevice makes a context on its device, also where
// that is only restored.
thread_local int current_device = -1;
void make_current(int index) {
  if (current_device == index) return;
  ASHLAR_CUDA_CHECK(cudaSetDevice(index));
  current_device = index;
}

std::unique_ptr<DeviceState> make_state(int index) {
  const std::string reason = why_unusable(index);
  if (!reason.empty()) throw InputError(concat("device cuda:", index, ": ", reason));
  auto state = std::make_unique<DeviceState>();
  make_current(index);
  ASHLAR_CUDA_CHECK(cudaStreamCreateWithFlags(&state->stream, cudaStreamNonBlocking));
  ASHLAR_CUDA_CHECK(cudaStreamCreateWithFlags(&state->memory_stream, cudaStreamNonBlocking));
  const cudaStream_t stream = state->stream, memory_stream = state->memory_stream;
  // The memory is that of the stream's device.
  const RawMemory memory{[=](std::size_t bytes) -> MemoryBlock {
                           const bool recorded = is_recorded(stream);
                           const cudaStream_t queue = recorded ? memory_stream : stream;
                           void* data = nullptr;
                           cudaError_t status = cudaMallocAsync(&data, bytes, queue);
                           if (status == cudaErrorMemoryAllocation) {
                             // What was given back before is free for another size only when the stream has come to it.
                             cudaGetLastError();
                             ASHLAR_CUDA_CHECK(cudaStreamSynchronize(queue));
                             status = cudaMallocAsync(&data, bytes, queue);
                           }
                           if (status == cudaErrorMemoryAllocation) {
                             cudaGetLastError();
                             return {};
                           }
                           ASHLAR_CUDA_CHECK(status);
                           if (recorded) ASHLAR_CUDA_CHECK(cudaStreamSynchronize(memory_stream));
                           return {data, bytes};
                         },
                         // Errors are dropped: release() must not throw, and memory of a broken device is lost anyway.
                         [=](MemoryBlock block) {
                           cudaFreeAsync(block.data, is_recorded(stream) ? memory_stream : stream);
                           cudaGetLastError();
                         }};
  state->allocator = std::make_unique<Allocator>(memory, concat("memory of cuda:", index));
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
  int has_pools = 0;
  ASHLAR_CUDA_CHECK(cudaDeviceGetAttribute(&has_pools, cudaDevAttrMemoryPoolsSupported, index));
  if (!has_pools) return concat(properties.name, " has no stream-ordered allocation here; a newer driver may");
  return {};
}

Allocator& allocator(int index) {
  DeviceState& state = state_of(index);
  make_current(index);  // a thread without a device would get the first one by allocating
  return *state.allocator;
}

void* stream(int index) {
  // On the way of every launch: the thread remembers the last stream.
  static thread_local int of = -1;
  static thread_local cudaStream_t last = nullptr;
  if (of != index) {
    last = state_of(index).stream;
    of = index;
  }
  make_current(index);  // another device's state may have been made in between
  return last;
}

void synchronize(int index) { ASHLAR_CUDA_CHECK(cudaStreamSynchronize(static_cast<cudaStream_t>(stream(index)))); }

namespace {

// The device's stream, for work that cannot be recorded: Error that says why.
cudaStream_t unrecorded_stream(int index, const char* why) {
  const auto queue = static_cast<cudaStream_t>(stream(index));
  if (is_recorded(queue)) throw Error(concat("cuda: recorded work brings values ", why));
  return queue;
}

}  // namespace

void copy_to_device(int index, void* to, const void* from, std::size_t bytes) {
  const cudaStream_t queue = unrecorded_stream(
      index, "from the host, which would be the same in every replay; bring them to the device before");
  state_of(index).staging.copy(queue, to, from, bytes);
}

void copy_to_host(int index, void* to, const void* from, std::size_t bytes) {
  const cudaStream_t queue =
      unrecorded_stream(index, "to the host, which waits for what has not been done yet; read them after the replay");
  ASHLAR_CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, queue));
  ASHLAR_CUDA_CHECK(cudaStreamSynchronize(queue));
}

std::unique_ptr<Download> begin_download(int index, const void* from, std::size_t bytes) {
  const cudaStream_t queue = unrecorded_stream(
      index, "to the host, whose memory another download may have when it is replayed; bring them there afterwards");
  return std::make_unique<PinnedDownload>(state_of(index).download_buffers, queue, from, bytes);
}

}  // namespace ashlar::cuda
