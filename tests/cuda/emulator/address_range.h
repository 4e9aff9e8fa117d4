// Memory from one range of addresses, which takes memory only where it is touched.
#pragma once
#include <cstddef>
#include <map>
#include <mutex>

namespace ashlar::emulated {

class AddressRange {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 36;

  // Closed: whoever touches it ends with a segmentation fault.
  AddressRange();
  ~AddressRange();
  AddressRange(const AddressRange&) = delete;
  AddressRange& operator=(const AddressRange&) = delete;

  unsigned char* begin() const { return begin_; }
  // What was given back is taken again as it is. Null when there is none.
  void* take(std::size_t bytes);
  void give_back(void* data);

  // These nest.
  void open();
  void close();

 private:
  void allow(std::size_t from, std::size_t to, int access) const;

  unsigned char* begin_;
  std::mutex mutex_;
  int opened_ = 0;
  std::size_t used_ = 0;
  std::map<void*, std::size_t> blocks_;
  std::multimap<std::size_t, void*> free_;
};

// Memory of the device. Open, unless ASHLAR_EMULATED_CLOSED is set: then only Touching opens it. Never destroyed: arrays held
// by static objects may outlive any static object of ours.
AddressRange& device_range();

// While one lives the memory of the device may be touched: by the device's work, that is. To the host that of a GPU is closed.
class Touching {
 public:
  Touching() { device_range().open(); }
  ~Touching() { device_range().close(); }
  Touching(const Touching&) = delete;
  Touching& operator=(const Touching&) = delete;
};

}  // namespace ashlar::emulated
