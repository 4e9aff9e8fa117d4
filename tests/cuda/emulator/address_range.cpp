#include "tests/cuda/emulator/address_range.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>

#include "core/error.h"

namespace ashlar::emulated {

AddressRange::AddressRange() {
  void* const at = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw Error("emulator: the system refuses the address space of a device");
  begin_ = static_cast<unsigned char*>(at);
}

AddressRange::~AddressRange() { munmap(begin_, kBytes); }

void* AddressRange::take(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  void* data = nullptr;
  if (const auto same = free_.find(bytes); same != free_.end()) {
    data = same->second;
    free_.erase(same);
  } else {
    if (bytes > kBytes - used_) return nullptr;
    data = begin_ + used_;
    if (opened_ > 0) allow(used_, used_ + bytes, PROT_READ | PROT_WRITE);
    used_ += bytes;
  }
  blocks_[data] = bytes;
  return data;
}

void AddressRange::give_back(void* data) {
  const std::lock_guard lock(mutex_);
  const auto block = blocks_.find(data);
  free_.emplace(block->second, data);
  blocks_.erase(block);
}

void AddressRange::open() {
  const std::lock_guard lock(mutex_);
  if (opened_++ == 0) allow(0, used_, PROT_READ | PROT_WRITE);
}

void AddressRange::close() {
  const std::lock_guard lock(mutex_);
  if (--opened_ == 0) allow(0, used_, PROT_NONE);
}

// Whole pages, the first and the last with what else they hold.
void AddressRange::allow(std::size_t from, std::size_t to, int access) const {
  static const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  from -= from % page;
  if (mprotect(begin_ + from, to - from, access) != 0) throw Error("emulator: the system refuses to open or close a range");
}

AddressRange& device_range() {
  static AddressRange* const own = [] {
    auto* const range = new AddressRange;
    if (!std::getenv("ASHLAR_EMULATED_CLOSED")) range->open();
    return range;
  }();
  return *own;
}

}  // namespace ashlar::emulated
