// What is known of the memory that is watched.
#ifdef ASHLAR_EMULATED_WATCH

#include "tests/cuda/emulator/watched_memory.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/error.h"
#include "tests/cuda/emulator/address_range.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated::watch {
namespace {

// A mapping that takes memory only where it is touched, and is zero there.
template <class T>
T* reserve(std::size_t count) {
  void* const at = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) throw Error("emulator: the system refuses the address space that watching takes");
  return static_cast<T*>(at);
}

// What says how much of each granule may be touched, from that of `data` on; null for memory of the host.
std::uint16_t* allowed_of(const void* data) {
  const auto at = static_cast<std::size_t>(static_cast<const unsigned char*>(data) - device_range().begin());
  return at < AddressRange::kBytes ? shadow().allowed + at / kGranule : nullptr;
}

}  // namespace

Shadow::Shadow() : cells(reserve<Cell>(AddressRange::kBytes)), allowed(reserve<std::uint16_t>(AddressRange::kBytes / kGranule)) {}

void allow(const void* data, std::size_t bytes) {
  std::uint16_t* granule = allowed_of(data);
  for (std::size_t done = 0; granule && done < bytes; done += kGranule) {
    *granule++ = static_cast<std::uint16_t>(std::min(kGranule, bytes - done));
  }
}
void forbid(const void* data, std::size_t bytes) {
  if (std::uint16_t* const granule = allowed_of(data)) std::fill_n(granule, (bytes + kGranule - 1) / kGranule, std::uint16_t{0});
}

}  // namespace ashlar::emulated::watch

#endif
