#include "kernels/update/update.h"

#include "kernels/update/cpu.h"

namespace ashlar::kernels {

constinit const Kernel<void(const Exec&, const SgdUpdate&, ConstView, View, View)> sgd_update{
    "sgd_update", &cpu::sgd_update, nullptr};
constinit const Kernel<void(const Exec&, const AdamWUpdate&, ConstView, View, View, View)> adamw_update{
    "adamw_update", &cpu::adamw_update, nullptr};

}  // namespace ashlar::kernels
