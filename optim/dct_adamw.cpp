#include "optim/dct_adamw.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

// The places of the `count` largest values, rising.
std::vector<Dim> places_of_largest(const std::vector<double>& values, Dim count) {
  std::vector<Dim> places(values.size());
  std::iota(places.begin(), places.end(), Dim{0});
  std::ranges::stable_sort(places, [&](Dim a, Dim b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  places.resize(static_cast<std::size_t>(count));
  std::ranges::sort(places);
  return places;
}

// The columns of moments (rows, rank) that belonged to `before` in the order of `now`; zeros for new ones.
void rearrange(const Array& moments, const std::vector<Dim>& before, const std::vector<Dim>& now) {
  const Array old = moments.clone();
  fill(moments, 0);
  for (std::size_t i = 0; i < now.size(); ++i) {
    const auto found = std::ranges::find(before, now[i]);
    if (found != before.end()) copy(old.select(1, found - before.begin()), moments.select(1, static_cast<Dim>(i)));
  }
}

}  // namespace

const OptimizerKind kDctAdamW = kind_of<DctAdamW, DctOptions>("dct_adamw");

Array dct_basis(Dim n) {
  const auto size = static_cast<double>(n);
  std::vector<double> values;
  for (Dim i = 0; i < n; ++i) {
    for (Dim j = 0; j < n; ++j) {
      const double angle = static_cast<double>(i) * (2 * static_cast<double>(j) + 1) * std::numbers::pi / (2 * size);
      values.push_back(std::sqrt((i == 0 ? 1 : 2) / size) * std::cos(angle));
    }
  }
  return Array::from(values, {n, n});
}

DctAdamW::DctAdamW(const Parameters& parameters, const DctOptions& options)
    : ProjectedAdamW("dct_adamw", parameters, options) {
  for (Slot* slot : matrix_slots()) {
    slot->add_state("indices", {tall_shape(slot->parameter)[0], rank()}, DType::i64);
  }
  if (options.error_feedback) feed_errors_back();
}

const Array& DctAdamW::basis(const Array& like, Dim n) {
  Array& basis = bases_[{like.dtype(), n}];
  if (!basis.defined()) basis = dct_basis(n).to(like.dtype()).to(like.device());
  return basis;
}

void DctAdamW::refresh(Slot& slot, const Array& gradient) {
  const Array parts = linalg::product(gradient, basis(gradient, gradient.size(2)).transpose(0, 1));
  kernels::multiply(parts.exec(), parts, parts, parts);
  const Array sizes = Array::empty({parts.size(0), 1, parts.size(2)}, parts.dtype(), parts.device());
  kernels::sum_to(parts.exec(), parts, sizes);
  for (Dim k = 0; k < gradient.size(0); ++k) {
    const Array indices = slot.state.at("indices").select(0, k);
    const auto before = indices.to_vector<Dim>();
    const auto now = places_of_largest(sizes.select(0, k).to_vector<double>(), rank());
    for (const char* key : {"exp_avg", "exp_avg_sq"}) rearrange(slot.state.at(key).select(0, k), before, now);
    copy(Array::from(now, indices.shape()), indices);
  }
}

Array DctAdamW::directions(const Slot& slot) {
  const Array& indices = slot.state.at("indices");
  const Array& cosines = basis(slot.state.at("exp_avg"), tall_shape(slot.parameter)[2]);
  const Array rows = Array::empty({indices.numel(), cosines.size(1)}, cosines.dtype(), cosines.device());
  kernels::embedding_forward(rows.exec(), cosines, indices.reshape({-1}).to(DType::i32).to(rows.device()), rows);
  return rows.reshape({indices.size(0), rank(), -1}).transpose(1, 2);
}

}  // namespace ashlar::optim
