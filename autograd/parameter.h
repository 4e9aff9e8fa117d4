// A trainable tensor with its name and what optimizers must know of it.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace ashlar {

// What a parameter is. Matrices are decayed and preconditioned, couplings preconditioned by PrecGD; the others are treated element
// by element.
enum class Role : std::uint8_t { matrix, coupling, bias, norm, embedding };

struct ParamInfo {
  Role role = Role::matrix;
  Dim fan_in = 0, fan_out = 0;
  int batch_dims = 0;       // leading dimensions that count matrices: a factor (blocks, p, rank) has 1
  bool hidden = true;       // false: the first or last matrix of a model, which embeds or classifies
  // Structure-aware multiplier of the learning rate for steps of Adam's size, relative to a dense matrix.
  // Optimizers use it when ParameterOptions::lr_scale says so.
  double lr_scale = 1.0;
  // Of a factor of a weight matrix W that is linear in it: the Gram matrix K (batch, r, r) of the other factors, from
  // their values at the time of the call. A change D of this parameter, seen as (batch, rows, r), changes W by
  //   ‖dW‖² = sum over the batch of trace(D K Dᵀ),
  // or, where gram_on_rows is set, with D seen as (batch, r, columns), of trace(Dᵀ K D). Padding, which takes no part in
  // W, is left out. The function is good for as long as the layer lives; a parameter that is no such factor has none.
  std::function<Array()> gram = {};
  bool gram_on_rows = false;
};

struct Parameter {
  std::string name;  // dotted path, as in checkpoints
  Tensor tensor;     // a leaf; its grad() is undefined until a backward reaches it
  ParamInfo info;
};

using Parameters = std::vector<Parameter>;

}  // namespace ashlar
