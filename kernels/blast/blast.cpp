#include "kernels/blast/blast.h"

#include "kernels/blast/cpu.h"

namespace ashlar::kernels {

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, View, View)> blast_forward{
    "blast_forward", &cpu::blast_forward, nullptr};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView, View, View, View,
                            View, View)>
    blast_backward{"blast_backward", &cpu::blast_backward, nullptr};

}  // namespace ashlar::kernels
