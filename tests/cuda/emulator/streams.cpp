// Streams, events and graphs. A stream does its work as late as it may: when somebody waits for it. So the host is always
// ahead, and what it reads or changes too early shows. While a stream captures, it records the work instead.
#include "tests/cuda/emulator/streams.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "tests/cuda/emulator/address_range.h"

using Work = std::vector<std::function<void()>>;

struct CUgraph_st {
  Work work;
};
struct CUgraphExec_st {
  Work work;
};
struct CUstream_st {
  std::deque<std::function<void()>> pending;
  unsigned long long done = 0;          // before what is pending
  std::unique_ptr<CUgraph_st> capture;  // what is recorded while it captures
  bool invalidated = false;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  unsigned long long capture_id = 0;
};
struct CUevent_st {
  cudaStream_t stream = nullptr;
  unsigned long long position = 0;  // what the stream has done when the event occurs
  bool captured = false;
};

namespace ashlar::emulated {
namespace {

std::vector<cudaStream_t>& streams() {
  static std::vector<cudaStream_t> all;
  return all;
}

// Until the stream has done as much as `position`.
void advance(cudaStream_t stream, unsigned long long position) {
  if (!stream || stream->done >= position) return;
  const Touching touching;
  while (stream->done < position) {
    const std::function<void()> work = std::move(stream->pending.front());
    stream->pending.pop_front();
    ++stream->done;
    work();
  }
}

// Streams that capture in any mode but the relaxed one.
std::vector<cudaStream_t>& strict_captures() {
  static std::vector<cudaStream_t> streams;
  return streams;
}

}  // namespace

void finish(cudaStream_t stream) {
  if (stream) advance(stream, stream->done + stream->pending.size());
}

cudaError_t refuse_in_capture(cudaStream_t stream) {
  stream->invalidated = true;
  return result(cudaErrorStreamCaptureUnsupported);
}
bool capturing(cudaStream_t stream) { return stream && stream->capture; }

bool refused_anywhere() {
  for (cudaStream_t stream : strict_captures()) refuse_in_capture(stream);
  return !strict_captures().empty();
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  if (!stream) {
    const Touching touching;
    work();
    return cudaSuccess;
  }
  if (!stream->capture) {
    stream->pending.push_back(std::move(work));
    return cudaSuccess;
  }
  if (stream->invalidated) return cudaErrorStreamCaptureInvalidated;
  stream->capture->work.push_back(std::move(work));
  return cudaSuccess;
}

bool captures() { return std::ranges::any_of(streams(), capturing); }

}  // namespace ashlar::emulated

using namespace ashlar::emulated;

cudaError_t cudaDeviceSynchronize() {
  if (refused_anywhere()) return cudaErrorStreamCaptureUnsupported;
  for (cudaStream_t stream : streams()) finish(stream);
  check_memory();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = streams().emplace_back(new CUstream_st);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  finish(stream);
  std::erase(streams(), stream);
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (capturing(stream)) return refuse_in_capture(stream);
  finish(stream);
  check_memory();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {stream, stream ? stream->done + stream->pending.size() : 0, capturing(stream)};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event->captured && capturing(event->stream)) return refuse_in_capture(event->stream);
  advance(event->stream, event->position);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  static unsigned long long captures = 0;
  if (!stream || stream->capture) return result(cudaErrorIllegalState);
  stream->capture = std::make_unique<CUgraph_st>();
  stream->invalidated = false;
  stream->mode = mode;
  stream->capture_id = ++captures;
  if (mode != cudaStreamCaptureModeRelaxed) strict_captures().push_back(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  if (!capturing(stream)) return result(cudaErrorIllegalState);
  std::erase(strict_captures(), stream);
  std::unique_ptr<CUgraph_st> captured = std::move(stream->capture);
  if (stream->invalidated) return result(cudaErrorStreamCaptureInvalidated);
  *graph = captured.release();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = !capturing(stream)     ? cudaStreamCaptureStatusNone
            : stream->invalidated ? cudaStreamCaptureStatusInvalidated
                                  : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id) {
  if (id && capturing(stream)) *id = stream->capture_id;
  return cudaStreamIsCapturing(stream, status);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiate(executable, graph, flags);
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) {
  return capturing(stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  return result(enqueue(stream, [work = executable->work] {
    for (const auto& step : work) step();
  }));
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
