#include "kernels/elementwise/elementwise.h"

namespace ashlar::kernels {
namespace cpu {
void linear_combination(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y);
void multiply(const Exec&, ConstView a, ConstView b, View y);
void scale(const Exec&, ConstView x, double alpha, View y);
void cast(const Exec&, ConstView x, View y);
void fill(const Exec&, View y, double value);
}  // namespace cpu

constinit const Kernel<void(const Exec&, ConstView a, double alpha, ConstView b, double beta, View y)>
    linear_combination{"linear_combination", &cpu::linear_combination, nullptr};
constinit const Kernel<void(const Exec&, ConstView a, ConstView b, View y)> multiply{
    "multiply", &cpu::multiply, nullptr};
constinit const Kernel<void(const Exec&, ConstView x, double alpha, View y)> scale{"scale", &cpu::scale, nullptr};
constinit const Kernel<void(const Exec&, ConstView x, View y)> cast{"cast", &cpu::cast, nullptr};
constinit const Kernel<void(const Exec&, View y, double value)> fill{"fill", &cpu::fill, nullptr};

}  // namespace ashlar::kernels
