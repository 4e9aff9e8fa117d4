#include "kernels/low_rank/low_rank.h"

#include "kernels/low_rank/cpu.h"

namespace ashlar::kernels {

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, View, View)> low_rank_forward{
    "low_rank_forward", &cpu::low_rank_forward, nullptr};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View, View)>
    low_rank_backward{"low_rank_backward", &cpu::low_rank_backward, nullptr};

}  // namespace ashlar::kernels
