// MatrixOptimizer: what the optimizers share that treat a weight matrix as a matrix. The hidden matrices, each a batch
// of matrices if it has batch_dims, get the optimizer's own update; embeddings, the first and the last matrix of a
// model, couplings, norms and biases get AdamW with a learning rate of its own.
#pragma once
#include "optim/adamw.h"
#include "optim/optimizer_kind.h"

namespace ashlar::optim {

struct MatrixOptions : OptimizerOptions {
  double adamw_lr = 3e-4;  // of the parameters that are not hidden matrices
  AdamSettings adam{0.9, 0.95, 1e-10};
};

// The settings that these options stand for, and back (optimizer_kind.h).
Settings matrix_settings(const MatrixOptions& options);
MatrixOptions matrix_options(const OptimizerOptions& shared, const Settings& settings);

// A parameter as the batch of matrices that it is: (batch, rows, columns).
Shape matrix_shape(const Parameter& parameter);

class MatrixOptimizer : public Optimizer {
 protected:
  MatrixOptimizer(std::string_view name, const Parameters& parameters, const MatrixOptions& options);

  // A hidden matrix: of Role::matrix, ParamInfo::hidden, with at least two rows and columns.
  static bool is_matrix(const Parameter& parameter);
  virtual void update_matrix(Slot& slot, const Update& update) = 0;

 private:
  void update(Slot& slot, const Update& update) final;
  AdamSettings adam_;
};

}  // namespace ashlar::optim
