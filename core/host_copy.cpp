#include "core/host_copy.h"

namespace ashlar {

HostCopy::HostCopy(const Array& values) : dtype_(values.dtype()), count_(values.numel()) {
  const Device device = values.device();
  if (device.type == DeviceType::cpu) {
    arrived_ = values.to_vector<double>();
    return;
  }
  const Array packed = values.as_contiguous();
  download_ = cuda::begin_download(device.index, ConstView(packed).data,
                                   static_cast<std::size_t>(count_) * size_of(dtype_));
}

std::vector<double> HostCopy::values() const {
  if (!download_) return arrived_;
  std::vector<double> result(static_cast<std::size_t>(count_));
  const void* const data = download_->wait();
  dispatch_all(dtype_, [&]<class T>() {
    const T* const from = static_cast<const T*>(data);
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = convert<double>(from[i]);
  });
  return result;
}

}  // namespace ashlar
