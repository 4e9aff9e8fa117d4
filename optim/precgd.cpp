#include "optim/precgd.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {
namespace {

bool has_gram(const Parameter& parameter) { return static_cast<bool>(parameter.info.gram); }

// The values of a parameter with the dimension of its Gram matrices (batch, r, r) last: (batch, …, r).
Array with_columns(const Array& values, const ParamInfo& info, const Shape& gram) {
  if (info.gram_on_rows) return values.reshape({gram[0], gram[1], -1}).transpose(1, 2);
  return values.reshape({gram[0], -1, gram[1]});
}

double root_mean_square(const Array& values) {
  return linalg::frobenius(values) / std::sqrt(static_cast<double>(values.numel()));
}

}  // namespace

const OptimizerKind kPrecGd = kind_of<PrecGd, PrecGdOptions>("precgd");
const OptimizerKind kScaledGd = kind_of<ScaledGd, ScaledGdOptions>("scaled_gd");

PrecGd::PrecGd(const Parameters& parameters, const PrecGdOptions& options, const char* name)
    : MatrixOptimizer(name, parameters, options, &has_gram),
      momentum_(options.momentum),
      damping_(options.damping),
      rms_(options.rms),
      refresh_every_(options.refresh_every) {
  ASHLAR_CHECK(momentum_ >= 0 && momentum_ < 1, name, ": momentum must be in [0, 1), got ", momentum_);
  ASHLAR_CHECK(damping_ >= 0, name, ": damping must not be negative, got ", damping_);
  ASHLAR_CHECK(rms_ >= 0, name, ": rms must not be negative, got ", rms_);
  check_count(name, "refresh_every", refresh_every_);
  for (Slot* slot : matrix_slots()) {
    slot->add_state("momentum_buffer");
    if (rms_ == 0) slot->set_lr_scale(1);  // the Gram matrices have scaled the step already
    slot->add_state("gram_factor", slot->parameter.info.gram().shape(), slot->parameter.tensor.dtype());
  }
}

void PrecGd::refresh(Slot& slot) const {
  const Array gram = slot.parameter.info.gram();
  const auto rank = static_cast<double>(gram.size(2));
  try {
    const auto traces = linalg::traces(gram);
    // Where K is zero, so is the gradient, and any delta will do: of padding, of factors that begin with zeros.
    const Array damped = linalg::damped(gram, [&](Dim k) {
      const double trace = traces[static_cast<std::size_t>(k)];
      return trace == 0 ? 1 : damping_ * trace / rank;
    });
    copy(linalg::cholesky(damped), slot.state.at("gram_factor"));
  } catch (const Error& error) {
    throw Error(concat(name(), ": the Gram matrices of ", slot.parameter.name, " cannot be factored with a damping of ",
                       damping_, "; raise the damping (", error.what(), ")"));
  }
}

void PrecGd::update_all(const std::vector<Update>& updates) {
  // Before any weight moves: the factors of a layer step from the same point.
  for (Slot* slot : matrix_slots()) {
    if (refreshes(*slot, refresh_every_)) refresh(*slot);
  }
  MatrixOptimizer::update_all(updates);
}

void PrecGd::update_matrix(Slot& slot, const Update& update) {
  const ParamInfo& info = slot.parameter.info;
  const Array &factor = slot.state.at("gram_factor"), &buffer = slot.state.at("momentum_buffer");
  const Array gradient = linalg::right_solve(factor, with_columns(update.gradient, info, factor.shape()));
  const Array seen = with_columns(buffer, info, factor.shape());
  kernels::linear_combination(seen.exec(), seen, momentum_, gradient, update.grad_scale, seen);
  const double size = rms_ > 0 ? root_mean_square(buffer) / rms_ : 1;
  move_weight(slot, update, size > 0 ? -update.lr / size : 0, buffer);
}

}  // namespace ashlar::optim
