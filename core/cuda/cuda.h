// The seam between core and CUDA. A build with CUDA links runtime.cpp, copy.cu and graph.cu beside this file, one without
// links absent.cpp: callers need not know which. Everything on a device happens in the order of its one stream.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "core/cuda/stream.h"

namespace ashlar {
class Allocator;
}

namespace ashlar::cuda {

// Why device cuda:`index` cannot be used; empty if it can.
std::string why_unusable(int index);

// Stream-ordered device memory under the caching allocator: a block that was released may be handed out again at once,
// because whatever still uses it comes earlier in the stream.
Allocator& allocator(int index);

// Waits until the device has done all it was given, and reports what went wrong there.
void synchronize(int index);

// Copies by way of pinned memory and returns at once; `from` may be changed or freed then.
void copy_to_device(int index, void* to, const void* from, std::size_t bytes);
// Waits for what was queued before and for the copy.
void copy_to_host(int index, void* to, const void* from, std::size_t bytes);

// A copy to pinned memory of the host that was queued.
class Download {
 public:
  virtual ~Download() = default;
  virtual const void* wait() = 0;  // until it has arrived; the values, valid as long as this object
};
std::unique_ptr<Download> begin_download(int index, const void* from, std::size_t bytes);

// Work that was recorded once and is queued as a whole: a CUDA graph.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};
// Calls `work`: what it queues on the device is recorded instead of done. Arrays that it makes there have memory which
// nothing else uses as long as the recording or they live; each replay writes them anew. Error, and no recording, if work waits
// for the device or brings values from the host. The caller sees to it that
//   - the same work was done before: a library may not be asked meanwhile for the algorithms that it takes;
//   - arrays made before keep an owner throughout: later work of the recording could take their memory, and the next replay
//     would read what that wrote;
//   - what kernels are given from the host by value is right for every replay.
std::unique_ptr<Recording> record(int index, const std::function<void()>& work);

}  // namespace ashlar::cuda
