// MatrixOptimizer: what the optimizers share that treat a weight matrix as a matrix. The hidden matrices, each a batch
// of matrices if it has batch_dims, get the optimizer's own update; embeddings, the first and the last matrix of a
// model, couplings, norms and biases get AdamW with a learning rate of its own.
#pragma once
#include "optim/adamw.h"

namespace ashlar::optim {

struct MatrixOptions : OptimizerOptions {
  double adamw_lr = 1e-3;  // of the parameters that are not hidden matrices
  AdamSettings adam{0.9, 0.95, 1e-10};

  template <class F>
  void each_setting(const F& f) {
    OptimizerOptions::each_setting(f);
    f("adamw_lr", adamw_lr);
    adam.each_setting(f);
  }
};

// A parameter as the batch of matrices that it is: (batch, rows, columns), where the batch are its batch_dims and the columns
// all dimensions behind that of the rows.
Shape matrix_shape(const Parameter& parameter);
// The gradient times grad_scale, as that batch.
Array matrix_gradient(const Slot& slot, const Update& update);
// w <- (1 - lr weight_decay) w + factor direction; the direction has the shape of the weight or its matrix_shape.
void move_weight(const Slot& slot, const Update& update, double factor, const Array& direction);

// InputError unless a setting that counts something is at least 1.
void check_count(std::string_view optimizer, std::string_view key, Dim value);

// A hidden matrix: of Role::matrix, ParamInfo::hidden, with at least two rows and columns.
bool is_hidden_matrix(const Parameter& parameter);

class MatrixOptimizer : public Optimizer {
 protected:
  // `treats` tells which parameters get update_matrix(); the others get AdamW.
  MatrixOptimizer(std::string_view name, const Parameters& parameters, const MatrixOptions& options,
                  const std::function<bool(const Parameter&)>& treats = &is_hidden_matrix);

  const std::string& name() const { return name_; }  // what errors call it
  const AdamSettings& adam() const { return adam_; }
  // The slots that get update_matrix(): to add their state.
  const std::vector<Slot*>& matrix_slots() const { return matrices_; }
  virtual void update_matrix(Slot& slot, const Update& update) = 0;
  // All of them in one step, for optimizers that can update several at once. An Error names the optimizer and the parameter.
  struct MatrixUpdate {
    Slot& slot;
    const Update& update;
  };
  virtual void update_matrices(const std::vector<MatrixUpdate>& matrices);
  void update_all(const std::vector<Update>& updates) override;
  // Those of AdamW, for the parameters that get it.
  StepNumbers numbers_of(Slot& slot, double lr) const override;
  // Whether this update of a matrix is one in which it finds anew what is costly: its first one, and then every `every`
  // updates, the matrices taking turns so that the work is spread evenly over the steps.
  bool refreshes(Slot& slot, Dim every);

 private:
  bool is_matrix(const Slot& slot) const;

  std::string name_;
  AdamSettings adam_;
  std::vector<Slot*> matrices_;
};

}  // namespace ashlar::optim
