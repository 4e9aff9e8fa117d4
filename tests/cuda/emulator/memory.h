// Memory of a device, of the host and of a block: NaN until it is written, with bytes at its ends that nobody may change.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <vector>

#include "tests/cuda/emulator/address_range.h"

namespace ashlar::emulated {

// Of the device, or pinned memory of the host.
class GuardedMemory {
 public:
  GuardedMemory(const char* name, AddressRange& range) : name_(name), range_(range) {}

  void* allocate(std::size_t bytes);  // null when there is none
  bool release(void* data);           // false if it is not the beginning of an allocation
  bool begins(const void* data) const;
  // Whether the bytes are all of one allocation, and whether the first of them is.
  bool holds(const void* data, std::size_t bytes) const { return there(data, bytes) == bytes; }
  bool touches(const void* data) const { return there(data, 1) > 0; }
  // Throws Error if the end of an allocation was written to.
  void check() const;

 private:
  std::size_t there(const void* data, std::size_t bytes) const;

  void check_block(const unsigned char* at, std::size_t bytes) const;

  const char* name_;
  AddressRange& range_;
  mutable std::mutex mutex_;
  std::map<const unsigned char*, std::size_t> blocks_;  // bytes by address
};

// Of the block that a multiprocessor runs.
class SharedMemory {
 public:
  void begin_block(std::size_t dynamic_bytes);
  unsigned char* dynamic() { return aligned(dynamic_); }
  // The same for all threads of the block.
  void* variable(const char* name, std::size_t bytes);
  // Throws Error if something was written beyond.
  void check();

 private:
  struct Variable {
    const char* name;
    std::size_t bytes;
    unsigned char* at;
  };
  static unsigned char* aligned(std::vector<unsigned char>& memory);

  std::vector<unsigned char> dynamic_, static_;
  std::size_t dynamic_bytes_ = 0;
  std::vector<Variable> variables_;
};

}  // namespace ashlar::emulated
