#include "optim/galore.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

double inner_product(const Array& a, const Array& b) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace

const OptimizerKind kGalore = kind_of<Galore, ProjectedOptions>("galore");

Galore::Galore(const Parameters& parameters, const ProjectedOptions& options)
    : ProjectedAdamW("galore", parameters, options) {
  for (Slot* slot : matrix_slots()) {
    const Shape tall = tall_shape(slot->parameter);
    slot->add_state("directions", {tall[0], tall[2], rank()}, slot->parameter.tensor.dtype());
  }
}

void Galore::refresh(Slot& slot, const Array& gradient) {
  const Array& all = slot.state.at("directions");
  const Array on_host = all.to(Device{}).clone();  // where the decomposition is
  for (Dim k = 0; k < gradient.size(0); ++k) {
    const Array fresh = linalg::svd(gradient.select(0, k)).vt;
    for (Dim i = 0; i < rank(); ++i) {
      const Array vector = fresh.select(0, i), replaced = on_host.select(0, k).select(1, i);
      kernels::scale(vector.exec(), vector, inner_product(vector, replaced) < 0 ? -1 : 1, vector);
      copy(vector, replaced);
    }
  }
  copy(on_host, all);
}

}  // namespace ashlar::optim
