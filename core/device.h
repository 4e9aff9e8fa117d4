// Where values live and where kernels run.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace ashlar {

enum class DeviceType : std::uint8_t { cpu, cuda };

struct Device {
  DeviceType type = DeviceType::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;

  // "cpu", "cuda" or "cuda:N"; InputError otherwise, or if this build or machine has no such device.
  static Device parse(std::string_view text);
  std::string name() const;
};
inline void append(std::string& text, const Device& device) { text += device.name(); }

// What a kernel runs on: a device, which has one stream.
struct Exec {
  Device device;
};

}  // namespace ashlar
