#include "core/device.h"

#include "core/error.h"

namespace ashlar {

Device Device::parse(std::string_view text) {
  if (text == "cpu") return {};
  if (text == "cuda" || text.starts_with("cuda:")) {
    throw InputError(concat("device '", text, "': this build has no CUDA; use --device cpu"));
  }
  throw InputError(concat("device '", text, "' is unknown; use cpu, cuda or cuda:N"));
}

std::string Device::name() const {
  return type == DeviceType::cpu ? std::string("cpu") : "cuda:" + std::to_string(index);
}

}  // namespace ashlar
