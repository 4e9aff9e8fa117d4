// How translated sources start kernels: `kernel<T><<<grid, block, shared, stream>>>(a, b)` becomes
// `Launch("kernel<T>", grid, block, shared, stream, [](const auto&... argument) { kernel<T>(argument...); })(a, b)`.
#pragma once
#include <functional>

namespace ashlar::emulated {

// Leaves `work` to the stream, which does it when somebody waits for it, or records it if it captures a graph. The stream
// null, which only the tests of the emulator use, does it now.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> work);

// Whether any stream captures a graph.
bool captures();

// What a launch can be refused for, before anything runs.
cudaError_t check_launch(dim3 grid, dim3 block, std::size_t shared);
// Calls `thread` for every thread of every block.
void run_grid(const char* kernel, dim3 grid, dim3 block, std::size_t shared, const std::function<void()>& thread);

// Keeps an error for cudaGetLastError.
void report(cudaError_t status);
// Whether all bytes are in one allocation of the device.
bool on_device(const void* data, std::size_t bytes);
// Throws Error if something was written beyond the end of an allocation of the device or of pinned memory, or before it.
void check_memory();

// Shared memory of the block that runs.
unsigned char* dynamic_shared();
void* static_shared(const char* name, std::size_t bytes);
template <class Array>
Array& shared(const char* name) {
  return *static_cast<Array*>(static_shared(name, sizeof(Array)));
}

template <class Body>
class Launch {
 public:
  Launch(const char* kernel, dim3 grid, dim3 block, std::size_t shared, cudaStream_t stream, Body body)
      : kernel_(kernel), grid_(grid), block_(block), shared_(shared), stream_(stream), body_(body) {}

  // The arguments are those of the time of the launch, whenever the kernel runs.
  template <class... Args>
  void operator()(Args... args) const {
    const bool known = (known_to_device(args) && ...);
    const cudaError_t status = known ? check_launch(grid_, block_, shared_) : cudaErrorInvalidValue;
    report(status != cudaSuccess ? status : enqueue(stream_, [self = *this, args...] {
      run_grid(self.kernel_, self.grid_, self.block_, self.shared_, [&] { self.body_(args...); });
    }));
  }

 private:
  template <class Arg>
  static bool known_to_device(const Arg& arg) {
    if constexpr (std::is_pointer_v<Arg>) return !arg || on_device(arg, 1);
    else return true;
  }

  const char* kernel_;
  dim3 grid_, block_;
  std::size_t shared_;
  cudaStream_t stream_;
  Body body_;
};

}  // namespace ashlar::emulated
