#include "kernels/dropout/dropout.h"

namespace ashlar::kernels {
namespace cpu {
void dropout(const Exec&, ConstView x, DropMask mask, View y);
void drop_path(const Exec&, ConstView x, DropMask mask, View y);
}  // namespace cpu

constinit const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> dropout{
    "dropout", &cpu::dropout, nullptr};
constinit const Kernel<void(const Exec&, ConstView x, DropMask mask, View y)> drop_path{
    "drop_path", &cpu::drop_path, nullptr};

}  // namespace ashlar::kernels
