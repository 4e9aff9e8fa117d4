// Memory for array contents. Freed blocks are kept and handed out again.
//
// Reuse rule (after MLX's buffer cache): the smallest free block that is not smaller than the request and is
// not larger than min(2 * request, request + 2 pages) — or up to 1/8 larger for big requests; otherwise a new
// block. When the system has no more memory, the cache is released and the request tried once more. A host that
// overcommits gives memory until other programs suffer, so there the cache is bounded: see RawMemory::overcommits.
#pragma once
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "core/device.h"
#include "core/error.h"

namespace ashlar {

class OutOfMemory : public Error {
 public:
  using Error::Error;
};

struct MemoryBlock {
  void* data = nullptr;
  std::size_t bytes = 0;  // of the block, at least what was asked for
};

struct MemoryStats {
  std::size_t current = 0;  // bytes in use
  std::size_t peak = 0;     // the most that was in use since reset_peak()
  std::size_t cached = 0;   // bytes free in the cache
};

// Takes memory from the system and gives it back; the cache above it is the same for every device.
struct RawMemory {
  std::function<MemoryBlock(std::size_t bytes)> allocate;  // at least that many; no data when there is none
  std::function<void(MemoryBlock block)> release;
  // Whether it promises more than there is. Then what has been free for longest is given back before more is taken than twice
  // what was in use at the peak: sizes that keep rising (a growing context) would leave a block of each behind.
  bool overcommits = false;
};

class Allocator {
 public:
  // `what` names the memory in errors.
  Allocator(RawMemory raw, std::string what) : raw_(std::move(raw)), what_(std::move(what)) {}
  ~Allocator() { trim(); }
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // 64-byte aligned. OutOfMemory, which tells what is in use, when there is none left.
  MemoryBlock allocate(std::size_t bytes);
  void release(MemoryBlock block) noexcept;
  MemoryStats stats() const;
  void reset_peak();
  void trim();  // gives the cached blocks back to the system

 private:
  // A thread is given a block that it had last, if one of them fits: its caches may still hold it, and other caches don't.
  struct Free {
    std::size_t bytes;
    std::uintptr_t thread;
    void* data;
    std::uint64_t since;  // releases before it
    auto operator<=>(const Free&) const = default;
  };
  MemoryBlock take_cached(std::size_t wanted);
  void trim_for(std::size_t wanted);
  void trim_locked();

  RawMemory raw_;
  std::string what_;
  mutable std::mutex mutex_;
  std::set<Free> free_;
  std::uint64_t releases_ = 0;
  MemoryStats stats_;
};

// The allocator of a device; lives until the process ends.
Allocator& allocator(Device device = {});
// One over another: its blocks are nobody else's until it is destroyed, or trimmed by its owner. It does not trim itself when
// memory ends (the other throws before it would): a recording's replays still write to the blocks that are free in its pool.
std::shared_ptr<Allocator> make_pool(Allocator& parent);

// While alive, arrays that this thread makes on the device lie in the pool, which then lives as long as they do.
class UsePool {
 public:
  UsePool(Device device, std::shared_ptr<Allocator> pool);
  ~UsePool();
  UsePool(const UsePool&) = delete;
  UsePool& operator=(const UsePool&) = delete;
  // The pool that this thread uses on the device; null for the device's own allocator.
  static std::shared_ptr<Allocator> current(Device device);

 private:
  Device device_;
  std::shared_ptr<Allocator> pool_;
  UsePool* outer_;
};

}  // namespace ashlar
