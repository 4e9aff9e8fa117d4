#include "kernels/attention/attention.h"

#include "kernels/attention/cpu.h"

namespace ashlar::kernels {

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, double, bool, View, View)> attention_forward{
    "attention_forward", &cpu::attention_forward, nullptr};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView, double, bool,
                            View, View, View)>
    attention_backward{"attention_backward", &cpu::attention_backward, nullptr};

}  // namespace ashlar::kernels
