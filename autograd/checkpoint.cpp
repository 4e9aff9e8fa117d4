#include "autograd/checkpoint.h"

#include "autograd/function.h"

namespace ashlar {
namespace {

class CheckpointNode final : public autograd::Node {
 public:
  explicit CheckpointNode(std::function<Tensor(const Tensor&)> body) : Node("checkpoint", true), body_(std::move(body)) {}

  std::vector<Array> backward(Array dy) override {
    const Array& value = context.saved(0);
    const Tensor x = context.needs_grad(0) ? Tensor::leaf(value) : Tensor(value);
    const EnableGrad enable;
    const Tensor y = body_(x);
    // Parameters inside receive their gradients here, if there are any; x's is handed on.
    if (y.requires_grad()) y.backward(std::move(dy));
    body_ = nullptr;  // and what it holds: not before, as a pass that failed may be tried again
    if (context.needs_grad(0) && !x.grad().defined()) return {Array::zeros(value.shape(), value.dtype(), value.device())};
    return {x.grad()};
  }

 private:
  std::function<Tensor(const Tensor&)> body_;
};

}  // namespace

Tensor checkpoint(const std::function<Tensor(const Tensor&)>& body, const Tensor& x) {
  if (!grad_enabled()) return body(x);
  auto node = std::make_shared<CheckpointNode>(body);
  node->add_input(x);
  node->context.save(x.value());
  Array value;
  {
    const NoGrad no_grad;
    value = body(x.detach()).value();
  }
  return autograd::make_result(std::move(value), std::move(node));
}

}  // namespace ashlar
