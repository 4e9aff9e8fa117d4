#include "core/device.h"

#include "core/cuda/cuda.h"
#include "core/error.h"
#include "core/text.h"

namespace ashlar {

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  Device device{DeviceType::cuda, 0};
  const std::string_view number = text.starts_with("cuda:") ? text.substr(5) : "0";
  device.index = parse_number<int>(number).value_or(-1);
  if (device.index >= 0 && (text == "cuda" || text.starts_with("cuda:"))) {
    const std::string reason = cuda::why_unusable(device.index);
    if (!reason.empty()) throw InputError(concat("device '", text, "': ", reason, "; use --device cpu"));
    return device;
  }
  throw InputError(concat("device '", text, "' is unknown; use cpu, cuda or cuda:N"));
}

std::string Device::name() const {
  return type == DeviceType::cpu ? std::string("cpu") : "cuda:" + std::to_string(index);
}

}  // namespace ashlar
