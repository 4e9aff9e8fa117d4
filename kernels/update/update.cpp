#include "kernels/update/update.h"

#include "kernels/update/cpu.h"

namespace ashlar::kernels {

namespace cuda {
void sgd_update(const Exec&, const SgdUpdate&, ConstView dw, View w, View buffer);
void adamw_update(const Exec&, const AdamWUpdate&, ConstView dw, View w, View m, View v);
void sgd_update_all(const Exec&, std::span<const SgdTensor>);
void adamw_update_all(const Exec&, std::span<const AdamWTensor>);
void average_update_all(const Exec&, double decay, std::span<const AverageTensor>);
}  // namespace cuda

constinit const Kernel<void(const Exec&, const SgdUpdate&, ConstView, View, View)> sgd_update{
    "sgd_update", &cpu::sgd_update, ASHLAR_CUDA_FN(cuda::sgd_update)};
constinit const Kernel<void(const Exec&, const AdamWUpdate&, ConstView, View, View, View)> adamw_update{
    "adamw_update", &cpu::adamw_update, ASHLAR_CUDA_FN(cuda::adamw_update)};
constinit const Kernel<void(const Exec&, std::span<const SgdTensor>)> sgd_update_all{
    "sgd_update_all", &cpu::sgd_update_all, ASHLAR_CUDA_FN(cuda::sgd_update_all)};
constinit const Kernel<void(const Exec&, std::span<const AdamWTensor>)> adamw_update_all{
    "adamw_update_all", &cpu::adamw_update_all, ASHLAR_CUDA_FN(cuda::adamw_update_all)};
constinit const Kernel<void(const Exec&, double, std::span<const AverageTensor>)> average_update_all{
    "average_update_all", &cpu::average_update_all, ASHLAR_CUDA_FN(cuda::average_update_all)};

}  // namespace ashlar::kernels
