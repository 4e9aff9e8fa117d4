// A kernel slot: the name of an operation on views, with one function per device.
//
//   kernels/gelu/gelu.h    declares   extern const Kernel<void(const Exec&, ConstView x, View y)> gelu_forward;
//   kernels/gelu/gelu.cpp  defines    ASHLAR_KERNEL(gelu_forward);
//   kernels/gelu/cpu.cpp   computes   cpu::gelu_forward, and   kernels/gelu/cuda.cu   cuda::gelu_forward
//
// A function that is missing is an error of the linker; a test compares the slots with tests/kernels/coverage.txt.
//
// An argument may be a struct with views in it that names them, so that the slot sees them too, and a span of either:
//   void for_each_view(auto&& visit) const { visit(weight), visit(bias); }
#pragma once
#include <span>
#include <string_view>

#include "core/device.h"
#include "core/view.h"

// The only preprocessor switch on CUDA: a CPU-only build sees a null pointer.
#if ASHLAR_CUDA
#define ASHLAR_CUDA_FN(function) (&(function))
#else
#define ASHLAR_CUDA_FN(function) nullptr
#endif

// Within ashlar::kernels: defines a slot that a header declares, and declares its functions, of the same name and signature
// in the namespaces cpu and cuda.
#define ASHLAR_KERNEL(slot)                      \
  namespace cpu {                                \
  decltype(kernels::slot)::Signature slot;       \
  }                                              \
  namespace cuda {                               \
  decltype(kernels::slot)::Signature slot;       \
  }                                              \
  constinit decltype(slot) slot{#slot, &cpu::slot, ASHLAR_CUDA_FN(cuda::slot)}

namespace ashlar::kernels {

template <class Signature>
class Kernel;

template <class... Args>
class Kernel<void(const Exec&, Args...)> {
 public:
  using Signature = void(const Exec&, Args...);
  constexpr Kernel(std::string_view name, Signature* cpu, Signature* cuda) noexcept : name_(name), cpu_(cpu), cuda_(cuda) {}

  void operator()(const Exec& exec, Args... args) const {
    Signature* const function = exec.device.type == DeviceType::cpu ? cpu_ : cuda_;
    if (!function) {
      throw Error(concat(name_, ": no kernel for device ", exec.device,
                         " in this build; cmake --preset cuda makes one for the CPU and for CUDA"));
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
    } else if constexpr (requires(void (&visit)(const ConstView&)) { arg.for_each_view(visit); }) {
      arg.for_each_view([&](const auto& view) { check_device(exec, view); });
    }
  }
  template <class Arg>
  void check_device(const Exec& exec, const std::span<Arg>& args) const {
    for (const auto& arg : args) check_device(exec, arg);
  }

  std::string_view name_;
  Signature *cpu_, *cuda_;
};

}  // namespace ashlar::kernels
