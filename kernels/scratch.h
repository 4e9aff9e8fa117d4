// Scratch memory of kernels that work tile by tile.
#pragma once
#include "core/allocator.h"
#include "core/dtype.h"

namespace ashlar::kernels {

// Memory for one work item, from the caching allocator (and so counted), 64-byte aligned.
template <class T>
class Scratch {
 public:
  explicit Scratch(Dim count) : block_(allocator().allocate(static_cast<std::size_t>(count) * sizeof(T))) {}
  ~Scratch() { allocator().release(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return static_cast<T*>(block_.data); }

 private:
  MemoryBlock block_;
};

}  // namespace ashlar::kernels
