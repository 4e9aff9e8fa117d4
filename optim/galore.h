// GaLore: AdamW in the leading singular directions of the gradient (Zhao et al. 2024, "GaLore: Memory-Efficient LLM
// Training by Gradient Low-Rank Projection").
#pragma once
#include "optim/projected_adamw.h"

namespace ashlar::optim {

// As ProjectedAdamW, with Q the `rank` leading singular vectors of the gradient along its short side. The moments are
// kept when Q changes; each new vector gets the sign that agrees with the one it replaces.
// State: "directions" (batch, short side, rank), in the dtype of the parameter.
class Galore : public ProjectedAdamW {
 public:
  explicit Galore(const Parameters& parameters, const ProjectedOptions& options = {});

 private:
  void refresh(Slot& slot, const Array& gradient) override;
  Array directions(const Slot& slot) override { return slot.state.at("directions"); }
};

}  // namespace ashlar::optim
