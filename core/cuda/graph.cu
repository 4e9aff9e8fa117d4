// Recorded work: stream capture into a CUDA graph, with memory of its own.
#include <utility>

#include "core/allocator.h"
#include "core/cuda/check.cuh"
#include "core/cuda/cuda.h"

namespace ashlar::cuda {
namespace {

// Ends the recording of a stream whatever happens in between.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    // Relaxed: memory may be taken meanwhile, on another stream.
    ASHLAR_CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  }
  ~Capture() {
    if (!stream_) return;
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(stream_, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();  // that of the abandoned recording, which the next call would be blamed for
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraphExec_t end() {
    cudaGraph_t graph = nullptr;
    const cudaStream_t stream = std::exchange(stream_, nullptr);
    ASHLAR_CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    cudaGraphExec_t ready = nullptr;
    cudaError_t status = cudaGraphInstantiate(&ready, graph, 0);
    cudaGraphDestroy(graph);
    ASHLAR_CUDA_CHECK(status);
    // Now, where work that cannot be recorded is done op by op: the first launch would fail for want of memory too late.
    status = cudaGraphUpload(ready, stream);
    if (status != cudaSuccess) cudaGraphExecDestroy(ready);
    ASHLAR_CUDA_CHECK(status);
    return ready;
  }

 private:
  cudaStream_t stream_;
};

class GraphRecording final : public Recording {
 public:
  GraphRecording(int index, std::shared_ptr<Allocator> pool, cudaGraphExec_t graph)
      : index_(index), stream_(static_cast<cudaStream_t>(stream(index))), pool_(std::move(pool)), graph_(graph) {}
  ~GraphRecording() override {
    // The memory may be used for something else only when the last replay is done.
    cudaStreamSynchronize(stream_);
    cudaGraphExecDestroy(graph_);
    pool_->trim();  // arrays of the recording that still live keep the pool, but need only their own blocks of it
    cudaGetLastError();  // a destructor has nobody to tell; a broken device says so again
  }

  void replay() override { ASHLAR_CUDA_CHECK(cudaGraphLaunch(graph_, static_cast<cudaStream_t>(stream(index_)))); }

 private:
  int index_;
  cudaStream_t stream_;  // kept for the destructor: stream() may throw
  std::shared_ptr<Allocator> pool_;
  cudaGraphExec_t graph_;
};

}  // namespace

std::unique_ptr<Recording> record(int index, const std::function<void()>& work) {
  const Device device{DeviceType::cuda, index};
  // While the stream is recorded, memory is given back to the driver on another stream (runtime.cpp), which does not wait for
  // kernels that were queued before: they have to be done.
  synchronize(index);
  std::shared_ptr<Allocator> pool = make_pool(allocator(index));
  Capture capture(static_cast<cudaStream_t>(stream(index)));
  {
    const UsePool use(device, pool);
    work();
  }
  return std::make_unique<GraphRecording>(index, std::move(pool), capture.end());
}

}  // namespace ashlar::cuda
