#include "kernels/reduce/reduce.h"

namespace ashlar::kernels {
namespace cpu {
void sum_to(const Exec&, ConstView x, View y);
void sum_of_squares(const Exec&, ConstView x, View y);
}  // namespace cpu

constinit const Kernel<void(const Exec&, ConstView x, View y)> sum_to{"sum_to", &cpu::sum_to, nullptr};
constinit const Kernel<void(const Exec&, ConstView x, View y)> sum_of_squares{
    "sum_of_squares", &cpu::sum_of_squares, nullptr};

}  // namespace ashlar::kernels
