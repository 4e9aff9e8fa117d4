// Tensor: an Array with its place in the graph of computations.
//
// Copies of a Tensor share everything. Ops (autograd/ops.h) record themselves when an input requires a gradient;
// backward() fills grad() of the leaves.
#pragma once
#include <memory>

#include "core/array.h"

namespace ashlar {

namespace autograd {
class Node;
}

class Tensor {
 public:
  Tensor() = default;          // undefined
  Tensor(Array value);         // a constant
  static Tensor leaf(Array value);  // requires a gradient: a parameter, or an input under test

  bool defined() const { return impl_ != nullptr; }
  const Array& value() const;
  bool requires_grad() const { return impl_ && impl_->requires_grad; }
  // Of a leaf: the sum of the gradients that reached it since zero_grad(); undefined before the first. Nothing
  // else shares its memory, unless set_grad() gave it.
  const Array& grad() const;
  void set_grad(const Array& grad) const;  // converted to the value's dtype
  void zero_grad() const;

  const Shape& shape() const { return value().shape(); }
  Dim size(int dim) const { return value().size(dim); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }
  double item() const { return value().item(); }
  Tensor detach() const { return Tensor(value()); }

  // Differentiates a tensor of one element. The graph is released on the way: a second call is an error.
  void backward() const;
  // With dL/d(this) given, of this tensor's shape. After an error of an operation the gradients are of no use.
  void backward(Array cotangent) const;

  // For the engine and for ops.
  struct Impl {
    Array value, grad;
    bool requires_grad = false;
    std::shared_ptr<autograd::Node> producer;  // null for leaves and constants
  };
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

// Whether ops on this thread record.
bool grad_enabled();
// Sets it while alive.
class GradMode {
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};
// Also inside a NoGrad: checkpointing recomputes during backward.
struct EnableGrad : GradMode {
  EnableGrad() : GradMode(true) {}
};

}  // namespace ashlar
