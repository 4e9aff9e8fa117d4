// Parameters with given gradients, for the tests of the optimizers.
#pragma once
#include "optim/optimizer.h"
#include "kernels/linalg/linalg.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

namespace ashlar::test {

// A leaf with normal values that are a function of the name; with three dimensions a batch of matrices.
inline Parameter make_parameter(const std::string& name, const Shape& shape, Role role = Role::matrix,
                                DType dtype = DType::f32) {
  return {name, Tensor::leaf(randn(shape, dtype, key_of(7, name))), {.role = role, .batch_dims = shape.ndim() == 3 ? 1 : 0}};
}

// Gives every parameter a gradient that is a function of its name and the step.
inline void set_gradients(const Parameters& parameters, std::uint64_t step) {
  for (const Parameter& p : parameters) {
    p.tensor.set_grad(randn(p.tensor.shape(), p.tensor.dtype(), key_of(100 + step, p.name)));
  }
}

// A small model: a matrix, a batch of factors with their Gram matrices, a coupling, a bias, a norm and an embedding.
inline Parameters make_parameters(DType dtype = DType::f32) {
  Parameters parameters{make_parameter("blocks.0.fc.weight", {7, 5}, Role::matrix, dtype),
                        make_parameter("blocks.0.fc.U", {3, 5, 4}, Role::matrix, dtype),
                        make_parameter("blocks.0.fc.S", {3, 5, 4}, Role::coupling, dtype),
                        make_parameter("blocks.0.fc.bias", {7}, Role::bias, dtype),
                        make_parameter("norm.weight", {1}, Role::norm, dtype),
                        make_parameter("wte.weight", {301, 67}, Role::embedding, dtype)};
  const Tensor coupling = parameters[2].tensor;
  parameters[1].info.gram = [coupling] { return linalg::gram(coupling.value()); };
  return parameters;
}

inline const optim::Slot& slot_of(const optim::Optimizer& optimizer, const std::string& name) {
  for (const optim::Slot& slot : optimizer.slots()) {
    if (slot.parameter.name == name) return slot;
  }
  throw Error("no slot " + name);
}

// The text of the error that f() throws.
template <class Failure, class F>
std::string message_of(const F& f) {
  try {
    f();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "(nothing was thrown)";
}

}  // namespace ashlar::test
