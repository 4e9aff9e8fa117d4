// What CUDA C++ gives the threads of a kernel: their place in the grid, vectors, barriers, exchange within a warp.
#pragma once
#include <atomic>
#include <array>
#include <atomic>
#include <cstddef>

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __launch_bounds__(...)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_count = 1, unsigned y_count = 1, unsigned z_count = 1) : x(x_count), y(y_count), z(z_count) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// Of the thread that runs; several blocks may run at once, each by a thread of the host.
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 gridDim, blockDim;

template <class T>
constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, T b) {
  return a < b ? b : a;
}
// CUDA's drop a NaN.
inline float min(float a, float b) { return __builtin_fminf(a, b); }
inline double min(double a, double b) { return __builtin_fmin(a, b); }
inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
inline double max(double a, double b) { return __builtin_fmax(a, b); }
inline float __uint_as_float(unsigned bits) { return __builtin_bit_cast(float, bits); }
inline int __popc(unsigned value) { return __builtin_popcount(value); }

namespace ashlar::emulated {

constexpr int kLanes = 32;
constexpr std::size_t kSharedLimit = std::size_t{227} << 10;  // of a block, with compute capability 9.0

void block_barrier();

// What a warp does together: each lane gives `own`, and when all have come `combine` sees those of all lanes. A lane
// goes on after that.
using AllLanes = std::array<void*, kLanes>;
void warp_collective(const char* operation, unsigned lanes, void* own, void (*combine)(const AllLanes& all));

// value of lane `from(lane)`
template <class T>
T exchange(const char* operation, unsigned lanes, T value, int from) {
  struct Lane {
    T value;
    int from;
    T result;
  } own{value, from, value};
  warp_collective(operation, lanes, &own, [](const AllLanes& all) {
    for (void* const lane : all) {
      Lane& to = *static_cast<Lane*>(lane);
      to.result = static_cast<Lane*>(all[static_cast<std::size_t>(to.from)])->value;
    }
  });
  return own.result;
}

int lane();  // of the thread that runs

// Copies by the running thread. They arrive at once, or not before it waits for them: either may happen.
void issue_copy(void* to, const void* from, std::size_t bytes, bool there);
void commit_copies();
void wait_for_copies(int groups);

}  // namespace ashlar::emulated

inline void __syncthreads() { ashlar::emulated::block_barrier(); }
inline void __syncwarp(unsigned lanes = 0xffffffffu) {
  ashlar::emulated::warp_collective("__syncwarp", lanes, nullptr, [](const ashlar::emulated::AllLanes&) {});
}
template <class T>
T __shfl_xor_sync(unsigned lanes, T value, int mask) {
  return ashlar::emulated::exchange("__shfl_xor_sync", lanes, value, ashlar::emulated::lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned lanes, T value, int from) {
  return ashlar::emulated::exchange("__shfl_sync", lanes, value, from % ashlar::emulated::kLanes);
}
template <class T>
T __shfl_up_sync(unsigned lanes, T value, unsigned step) {
  const int own = ashlar::emulated::lane(), from = own - static_cast<int>(step);
  return ashlar::emulated::exchange("__shfl_up_sync", lanes, value, from < 0 ? own : from);
}
inline unsigned __ballot_sync(unsigned lanes, bool predicate) {
  struct Lane {
    bool predicate;
    unsigned result;
  } own{predicate, 0};
  ashlar::emulated::warp_collective("__ballot_sync", lanes, &own, [](const ashlar::emulated::AllLanes& all) {
    unsigned votes = 0;
    for (std::size_t lane = 0; lane < all.size(); ++lane) {
      votes |= static_cast<unsigned>(static_cast<Lane*>(all[lane])->predicate) << lane;
    }
    for (void* const lane : all) static_cast<Lane*>(lane)->result = votes;
  });
  return own.result;
}
template <class T>
T atomicAdd(T* to, T value) {
  return std::atomic_ref<T>(*to).fetch_add(value);
}
