#include "tests/cuda/emulator/memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated {
namespace {

constexpr std::size_t kGuard = 256, kStaticLimit = std::size_t{48} << 10;
constexpr std::uintptr_t kAlignment = 128;        // of shared memory
constexpr int kPoison = 0xff, kGuardByte = 0xa5;  // 0xff…: NaN in every floating type

// Poison, and a guard behind it.
void prepare(unsigned char* at, std::size_t bytes) {
  std::memset(at, kPoison, bytes);
  std::memset(at + bytes, kGuardByte, kGuard);
}
bool intact(const unsigned char* guard) {
  return std::all_of(guard, guard + kGuard, [](unsigned char byte) { return byte == kGuardByte; });
}

}  // namespace

void GuardedMemory::check_block(const unsigned char* at, std::size_t bytes) const {
  if (!intact(at + bytes)) throw Error(concat("emulator: written beyond ", bytes, " bytes of ", name_));
  if (!intact(at - kGuard)) throw Error(concat("emulator: written before ", bytes, " bytes of ", name_));
}

void* GuardedMemory::allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + kGuard - 1) / kGuard * kGuard;
  auto* const raw = static_cast<unsigned char*>(range_.take(rounded + 2 * kGuard));
  if (!raw) return nullptr;
  const Touching touching;
  watch::allow(raw + kGuard, bytes);
  std::memset(raw, kGuardByte, kGuard);
  prepare(raw + kGuard, bytes);
  const std::lock_guard lock(mutex_);
  blocks_[raw + kGuard] = bytes;
  return raw + kGuard;
}

bool GuardedMemory::release(void* data) {
  const Touching touching;
  const std::lock_guard lock(mutex_);
  const auto block = blocks_.find(static_cast<unsigned char*>(data));
  if (block == blocks_.end()) return false;
  check_block(block->first, block->second);
  watch::forbid(data, block->second);
  blocks_.erase(block);
  range_.give_back(static_cast<unsigned char*>(data) - kGuard);
  return true;
}

bool GuardedMemory::begins(const void* data) const {
  const std::lock_guard lock(mutex_);
  return blocks_.contains(static_cast<const unsigned char*>(data));
}

void GuardedMemory::check() const {
  const Touching touching;
  const std::lock_guard lock(mutex_);
  for (const auto& [at, bytes] : blocks_) check_block(at, bytes);
}

// How many of the bytes are in the allocation of the first.
std::size_t GuardedMemory::there(const void* data, std::size_t bytes) const {
  const auto* const at = static_cast<const unsigned char*>(data);
  const std::lock_guard lock(mutex_);
  auto block = blocks_.upper_bound(at);
  if (block == blocks_.begin()) return 0;
  --block;
  const unsigned char* const end = block->first + block->second;
  return at >= end ? 0 : std::min(bytes, static_cast<std::size_t>(end - at));
}

unsigned char* SharedMemory::aligned(std::vector<unsigned char>& memory) {
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  return memory.data() + (kAlignment - address % kAlignment) % kAlignment;
}

void SharedMemory::begin_block(std::size_t dynamic_bytes) {
  variables_.clear();
  dynamic_bytes_ = dynamic_bytes;
  dynamic_.resize(std::max(dynamic_.size(), dynamic_bytes + 2 * kGuard));
  static_.resize(2 * kStaticLimit + 2 * kGuard);
  prepare(dynamic(), dynamic_bytes);
  watch::begin_block({dynamic(), dynamic_bytes}, {aligned(static_), 2 * kStaticLimit});
}

void* SharedMemory::variable(const char* name, std::size_t bytes) {
  std::size_t used = 0;
  for (const Variable& variable : variables_) {
    if (std::strcmp(variable.name, name) == 0) {
      if (variable.bytes != bytes) throw Error(concat("two shared variables have the name ", name));
      return variable.at;
    }
    used += (variable.bytes + 15) / 16 * 16 + kGuard;
  }
  if (used + bytes + kGuard > 2 * kStaticLimit) throw Error(concat("too many bytes of shared variables with ", name));
  const Variable& added = variables_.emplace_back(Variable{name, bytes, aligned(static_) + used});
  prepare(added.at, bytes);
  return added.at;
}

void SharedMemory::check() {
  if (!intact(dynamic() + dynamic_bytes_)) throw Error("written beyond the dynamic shared memory");
  for (const Variable& variable : variables_) {
    if (!intact(variable.at + variable.bytes)) throw Error(concat("written beyond the shared variable ", variable.name));
  }
}

}  // namespace ashlar::emulated
