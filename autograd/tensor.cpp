#include "autograd/tensor.h"

#include <atomic>
#include <queue>
#include <unordered_map>

#include "autograd/function.h"
#include "kernels/elementwise/elementwise.h"

namespace ashlar {
namespace {

thread_local bool recording_enabled = true;

const Array kUndefined;

void accumulate(Array& sum, Array gradient) {
  if (!sum.defined()) {
    sum = std::move(gradient);
  } else if (sum.owns_alone()) {
    kernels::linear_combination(sum.exec(), sum, 1.0, gradient, 1.0, sum);
  } else if (gradient.owns_alone()) {
    kernels::linear_combination(sum.exec(), sum, 1.0, gradient, 1.0, gradient);
    sum = std::move(gradient);
  } else {
    Array total = empty_like(sum);
    kernels::linear_combination(sum.exec(), sum, 1.0, gradient, 1.0, total);
    sum = std::move(total);
  }
}

// Adds to the gradient of a leaf. A leaf is the only owner of its gradient, which clipping changes in place, while an
// operation may hand one array to several inputs, or what it received.
void add_to_leaf(Tensor::Impl& leaf, Array gradient) {
  if (!leaf.grad.defined() && !gradient.owns_alone()) gradient = gradient.clone();
  accumulate(leaf.grad, std::move(gradient));
}

}  // namespace

bool grad_enabled() { return recording_enabled; }
GradMode::GradMode(bool enabled) : previous_(std::exchange(recording_enabled, enabled)) {}
GradMode::~GradMode() { recording_enabled = previous_; }

Tensor::Tensor(Array value) : impl_(std::make_shared<Impl>()) { impl_->value = std::move(value); }

Tensor Tensor::leaf(Array value) {
  ASHLAR_CHECK(is_floating(value.dtype()), "leaf: only floating values have gradients, got ", value.dtype());
  Tensor tensor(std::move(value));
  tensor.impl_->requires_grad = true;
  return tensor;
}

const Array& Tensor::value() const {
  ASHLAR_CHECK(impl_, "tensor: undefined; give it a value first");
  return impl_->value;
}
const Array& Tensor::grad() const { return impl_ ? impl_->grad : kUndefined; }
void Tensor::set_grad(const Array& grad) const {
  const Array& like = value();
  ASHLAR_CHECK(grad.shape() == like.shape() && grad.device() == like.device(), "set_grad: a gradient ", grad.shape(), " on ",
               grad.device(), " must be ", like.shape(), " on ", like.device(), " like the value");
  impl_->grad = grad.to(like.dtype());
}
void Tensor::zero_grad() const {
  if (impl_) impl_->grad = Array();
}

const Array& Context::saved(std::size_t i) const {
  if (i >= saved_.size()) {
    throw Error(concat(name_, ": backward asks for saved array ", i, ", but forward saved ", saved_.size()));
  }
  const auto& [array, version] = saved_[i];
  if (array.defined() && array.storage()->version != version) {
    throw Error(concat(name_, ": a value saved for backward, shape ", array.shape(),
                       ", was changed in place after forward; run backward before updating it"));
  }
  return array;
}

namespace autograd {
namespace {
std::atomic<std::uint64_t> next_sequence{1};
}

Node::Node(const char* name, bool recording) : name_(name), sequence_(next_sequence++) {
  context.name_ = name;
  context.recording_ = recording;
}

// A long chain must not be destroyed by recursion: each node's inputs are moved to one worklist.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed;
  const auto take = [&](Node& node) {
    for (Input& input : node.inputs_) {
      if (input.node && input.node.use_count() == 1) doomed.push_back(std::move(input.node));
      input.node.reset();
    }
  };
  take(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    take(*node);
  }
}

void Node::add_input(const Tensor& tensor) {
  if (!grad_enabled()) return;
  const bool needed = tensor.requires_grad();
  context.needs_.push_back(needed ? std::optional(tensor.dtype()) : std::nullopt);
  if (needed) {
    const auto& producer = tensor.impl()->producer;
    inputs_.push_back({producer, producer ? nullptr : tensor.impl(), tensor.shape(), tensor.dtype()});
    context.recording_ = true;
  } else {
    inputs_.emplace_back();
  }
}

void Node::release() {
  context.saved_.clear();
  context.kept_.reset();
  context.pending_ = nullptr;
  released_ = true;
}

Tensor make_result(Array value, std::shared_ptr<Node> producer) {
  Tensor result(std::move(value));
  if (!producer->context.recording()) return result;
  result.impl()->requires_grad = true;
  result.impl()->producer = std::move(producer);
  return result;
}

}  // namespace autograd

void Tensor::backward() const {
  ASHLAR_CHECK(value().numel() == 1, "backward: the loss must have one element, shape is ", shape(),
               "; give a cotangent for others");
  backward(Array::full(shape(), 1.0, dtype(), device()));
}

void Tensor::backward(Array cotangent) const {
  using autograd::Node;
  ASHLAR_CHECK(requires_grad(), "backward: the tensor does not depend on anything that requires a gradient");
  ASHLAR_CHECK(cotangent.defined(), "backward: the cotangent is undefined; give one, or none at all for a loss");
  ASHLAR_CHECK(cotangent.shape() == shape() && cotangent.dtype() == dtype() && cotangent.device() == device(),
               "backward: cotangent ", cotangent.dtype(), cotangent.shape(), " on ", cotangent.device(),
               " must match the tensor's ", dtype(), shape(), " on ", device());
  const NoGrad no_grad;
  if (!impl_->producer) {
    add_to_leaf(*impl_, std::move(cotangent));
    return;
  }
  const auto earlier = [](const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) {
    return a->sequence() < b->sequence();
  };
  // The highest number first: all consumers of a node are done before it runs.
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, decltype(earlier)> ready(earlier);
  std::unordered_map<const Node*, Array> pending;
  ready.push(impl_->producer);
  pending.emplace(impl_->producer.get(), std::move(cotangent));

  while (!ready.empty()) {
    const std::shared_ptr<Node> node = ready.top();
    ready.pop();
    ASHLAR_CHECK(!node->released(), node->name(),
                 ": backward was already run through this operation and its saved values are gone; run forward again");
    Array dy = std::move(pending.extract(node.get()).mapped());
    const auto& inputs = node->inputs();
    node->set_pending([&](std::size_t i) {
      if (inputs[i].leaf) {
        Array& grad = inputs[i].leaf->grad;
        return grad.owns_alone() ? std::exchange(grad, Array()) : Array();
      }
      if (!inputs[i].node) return Array();
      const auto found = pending.find(inputs[i].node.get());
      if (found == pending.end() || !found->second.owns_alone()) return Array();
      return std::exchange(found->second, Array());
    });
    std::vector<Array> gradients = node->backward(std::move(dy));
    node->release();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Node::Input& input = inputs[i];
      if (!input.node && !input.leaf) continue;
      Array& gradient = gradients[i];
      if (!gradient.defined()) {
        throw Error(concat(node->name(), ": backward returned no gradient for input ", i, ", which requires one"));
      }
      if (gradient.shape() != input.shape || gradient.dtype() != input.dtype) {
        throw Error(concat(node->name(), ": backward returned a gradient ", gradient.dtype(), gradient.shape(), " for input ", i,
                           ", which is ", input.dtype, input.shape));
      }
      if (input.leaf) {
        add_to_leaf(*input.leaf, std::move(gradient));
        continue;
      }
      const auto [slot, fresh] = pending.try_emplace(input.node.get());
      if (fresh) ready.push(input.node);
      accumulate(slot->second, std::move(gradient));
    }
  }
}

}  // namespace ashlar
