// A kernel slot: the name of an operation on views, with one function per device.
//
//   kernels/gelu/gelu.h    declares   extern const Kernel<void(const Exec&, ConstView x, View y)> gelu_forward;
//   kernels/gelu/gelu.cpp  defines    constinit const Kernel<…> gelu_forward{"gelu_forward", &cpu::gelu_forward,
//                                                                        ASHLAR_CUDA_FN(cuda::gelu_forward)};
//   kernels/gelu/cpu.cpp   computes, and so does   kernels/gelu/cuda.cu
//
// An operation without a CUDA function says nullptr; a test compares that with tests/kernels/coverage.txt.
#pragma once
#include <string_view>

#include "core/view.h"
#include "core/device.h"

// The only preprocessor switch on CUDA: a CPU-only build sees a null pointer.
#if ASHLAR_CUDA
#define ASHLAR_CUDA_FN(function) (&(function))
#else
#define ASHLAR_CUDA_FN(function) nullptr
#endif

namespace ashlar::kernels {

template <class Signature>
class Kernel;

template <class... Args>
class Kernel<void(const Exec&, Args...)> {
 public:
  using Function = void (*)(const Exec&, Args...);
  constexpr Kernel(std::string_view name, Function cpu, Function cuda) noexcept : name_(name), cpu_(cpu), cuda_(cuda) {}

  void operator()(const Exec& exec, Args... args) const {
    const Function function = exec.device.type == DeviceType::cpu ? cpu_ : cuda_;
    if (!function) {
      throw Error(concat(name_, ": no kernel for device ", exec.device, " in this build; use --device cpu"));
    }
    (check_device(exec, args), ...);
    function(exec, args...);
  }
  std::string_view name() const { return name_; }

 private:
  template <class Arg>
  void check_device(const Exec& exec, const Arg& arg) const {
    if constexpr (std::is_convertible_v<const Arg&, ConstView>) {
      ASHLAR_CHECK(!arg || arg.device == exec.device, name_, ": an operand ", arg.shape, " is on ", arg.device,
                   " but the others are on ", exec.device, "; bring it there with to(device)");
    }
  }

  std::string_view name_;
  Function cpu_, cuda_;
};

}  // namespace ashlar::kernels
