#include "core/copy_plan.h"

namespace ashlar {

CopyPlan plan_copy(const ConstView& from, const ConstView& to) {
  CopyPlan plan;
  for (int d = 0; d < from.shape.ndim(); ++d) {
    const Dim size = from.size(d);
    if (size == 1) continue;
    if (plan.ndim > 0) {
      const auto last = static_cast<std::size_t>(plan.ndim - 1);
      if (plan.from[last] == from.step(d) * size && plan.to[last] == to.step(d) * size) {
        plan.size[last] *= size;
        plan.from[last] = from.step(d);
        plan.to[last] = to.step(d);
        continue;
      }
    }
    const auto next = static_cast<std::size_t>(plan.ndim++);
    plan.size[next] = size;
    plan.from[next] = from.step(d);
    plan.to[next] = to.step(d);
  }
  if (plan.ndim == 0) {
    plan.ndim = 1;
    plan.size[0] = plan.from[0] = plan.to[0] = 1;
  }
  return plan;
}

std::optional<CopyPlan> CopyPlan::in_packs(Dim n) const {
  CopyPlan packs = *this;
  const auto inner = static_cast<std::size_t>(ndim - 1);
  if (from[inner] != 1 || to[inner] != 1 || size[inner] % n != 0) return {};
  packs.size[inner] /= n;
  for (std::size_t d = 0; d < inner; ++d) {
    if (from[d] % n != 0 || to[d] % n != 0) return {};
    packs.from[d] /= n;
    packs.to[d] /= n;
  }
  return packs;
}

}  // namespace ashlar
