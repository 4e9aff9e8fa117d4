#include "kernels/matmul/matmul.h"

namespace ashlar::kernels {

namespace cpu {
void matmul(const Exec&, ConstView a, ConstView b, View y, MatmulOptions options);
}

constinit const Kernel<void(const Exec&, ConstView, ConstView, View, MatmulOptions)> matmul{"matmul", &cpu::matmul,
                                                                                           nullptr};

}  // namespace ashlar::kernels
