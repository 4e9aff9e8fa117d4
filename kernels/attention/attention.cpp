#include "kernels/attention/attention.h"

#include "kernels/attention/cpu.h"

namespace ashlar::kernels {

namespace cuda {
void attention_forward(const Exec& exec, ConstView q, ConstView k, ConstView v, double scale, bool causal, View o,
                       View lse);
void attention_backward(const Exec& exec, ConstView d_o, ConstView q, ConstView k, ConstView v, ConstView o, ConstView lse,
                        double scale, bool causal, View dq, View dk, View dv);
}  // namespace cuda

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, double, bool, View, View)> attention_forward{
    "attention_forward", &cpu::attention_forward, ASHLAR_CUDA_FN(cuda::attention_forward)};

constinit const Kernel<void(const Exec&, ConstView, ConstView, ConstView, ConstView, ConstView, ConstView, double, bool,
                            View, View, View)>
    attention_backward{"attention_backward", &cpu::attention_backward, ASHLAR_CUDA_FN(cuda::attention_backward)};

}  // namespace ashlar::kernels
