// How an operation joins the graph.
//
//   struct Scale : Function<Scale> {
//     static constexpr const char* name = "scale";
//     static Array forward(Context& ctx, const Array& x, const double& alpha) { ctx.keep(alpha); … }
//     static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {…}; }
//   };
//   Tensor y = Scale::apply(x, 2.0);
//
// Every Array argument of forward is an input of the graph (pass Tensors to apply); the other arguments are options.
// backward returns one gradient for each Array argument, in order; an undefined Array for those that need none.
// Values are Arrays on both sides, so an operation cannot record graph by accident.
#pragma once
#include <any>
#include <array>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "autograd/tensor.h"

namespace ashlar {

// What forward leaves for backward.
class Context {
 public:
  // False when no backward will follow: nothing needs to be computed for it.
  bool recording() const { return recording_; }
  // Whether input `i` (counting Array arguments) will be asked for a gradient; none is without recording.
  bool needs_grad(std::size_t i) const { return i < needs_.size() && needs_[i]; }
  // In backward: new memory for the gradient of input `i`, in its dtype, with the device and shape of an array, or another shape;
  // undefined if it needs none.
  Array gradient_like(std::size_t i, const Array& like) const { return gradient_like(i, like, like.shape()); }
  Array gradient_like(std::size_t i, const Array& like, const Shape& shape) const {
    return needs_grad(i) ? Array::empty(shape, *needs_[i], like.device()) : Array();
  }

  template <class... Arrays>
  void save(const Arrays&... arrays) {
    if (recording_) (push(arrays), ...);
  }
  // Error if the array was changed in place since it was saved.
  const Array& saved(std::size_t i) const;
  template <class T>
  void keep(T value) {
    if (recording_) kept_ = std::move(value);
  }
  template <class T>
  const T& kept() const {
    const T* const value = std::any_cast<T>(&kept_);
    if (!value) throw Error(concat(name_, ": backward asks for a value that forward did not keep"));
    return *value;
  }

  // In backward: the gradient that input `i` has received so far (from its other consumers or, for a leaf, from
  // earlier backwards), if its memory may be reused: add this operation's contribution in place and return it as the
  // gradient. Undefined if there is none. Saves a pass over memory wherever an operation can accumulate.
  Array take_pending(std::size_t i) { return pending_ ? pending_(i) : Array(); }

 private:
  friend class autograd::Node;
  void push(const Array& array) { saved_.emplace_back(array, array.defined() ? array.storage()->version : 0); }

  const char* name_ = "";
  bool recording_ = false;
  std::vector<std::optional<DType>> needs_;  // of the inputs that need a gradient, its dtype
  std::vector<std::pair<Array, std::uint64_t>> saved_;
  std::any kept_;
  std::function<Array(std::size_t)> pending_;
};

namespace autograd {

// An operation that was recorded: what it saved, and where its inputs came from.
class Node {
 public:
  // Records once an input needs a gradient, or in any case.
  explicit Node(const char* name, bool recording = false);
  virtual ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Gradients of the inputs; one entry for each. The engine keeps no handle of dy.
  virtual std::vector<Array> backward(Array dy) = 0;

  // An input of the operation: the node that made it, or the leaf it is, or neither when it needs no gradient. Its gradient
  // has its shape and dtype.
  struct Input {
    std::shared_ptr<Node> node;
    std::shared_ptr<Tensor::Impl> leaf;
    Shape shape;
    DType dtype = DType::f32;
  };
  // Before forward, for each input in order; without effect where ops record nothing.
  void add_input(const Tensor& tensor);
  const std::vector<Input>& inputs() const { return inputs_; }
  const char* name() const { return name_; }
  // Nodes are numbered in the order of their making, so a consumer has a higher number than what it consumes.
  std::uint64_t sequence() const { return sequence_; }
  Context context;

  void set_pending(std::function<Array(std::size_t)> pending) { context.pending_ = std::move(pending); }
  void release();  // drops saved values; a second backward is then an error
  bool released() const { return released_; }

 private:
  const char* name_;
  std::uint64_t sequence_;
  std::vector<Input> inputs_;
  bool released_ = false;
};

// The result of an operation, with its place in the graph if it was recorded.
Tensor make_result(Array value, std::shared_ptr<Node> producer);

template <class Op>
class FunctionNode final : public Node {
 public:
  FunctionNode() : Node(Op::name) {}
  std::vector<Array> backward(Array dy) override {
    auto gradients = Op::backward(context, dy);
    return {std::make_move_iterator(gradients.begin()), std::make_move_iterator(gradients.end())};
  }
};

template <class Forward>
struct ForwardTraits;
template <class... Args>
struct ForwardTraits<Array (*)(Context&, Args...)> {
  static constexpr std::size_t arrays = (std::size_t{0} + ... + std::size_t{std::is_same_v<Args, const Array&>});
};

// For backward: the memory of a gradient that nobody else reads, for a result of the same layout; otherwise new memory.
inline Array reuse(const Array& dy) {
  if (dy.owns_alone()) return dy;
  return empty_like(dy);
}

inline const Array& as_argument(const Tensor& tensor) {
  static const Array undefined;
  return tensor.defined() ? tensor.value() : undefined;
}
template <class T>
const T& as_argument(const T& option) {
  return option;
}

// Calls visit with those of the arguments that are Tensors.
template <class Visit, class... Args>
void for_tensors(const Visit& visit, const Args&... args) {
  const auto only_tensors = [&]<class Arg>(const Arg& arg) {
    if constexpr (std::is_same_v<Arg, Tensor>) visit(arg);
  };
  (only_tensors(args), ...);
}

}  // namespace autograd

template <class Op>
struct Function {
  template <class... Args>
  static Tensor apply(const Args&... args) {
    using Gradients = decltype(Op::backward(std::declval<Context&>(), std::declval<const Array&>()));
    constexpr std::size_t arrays = autograd::ForwardTraits<decltype(&Op::forward)>::arrays;
    static_assert(std::tuple_size_v<Gradients> == arrays, "backward must return one gradient per Array argument");
    static_assert((std::size_t{0} + ... + std::size_t{std::is_same_v<Args, Tensor>}) == arrays,
                  "apply takes one Tensor per Array argument of forward");
    auto node = std::make_shared<autograd::FunctionNode<Op>>();
    autograd::for_tensors([&](const Tensor& input) { node->add_input(input); }, args...);
    Array value = Op::forward(node->context, autograd::as_argument(args)...);
    return autograd::make_result(std::move(value), std::move(node));
  }
};

// An operation without a backward: throws when an input requires a gradient, instead of losing it silently.
template <class Op>
struct NoBackward {
  template <class... Args>
  static Tensor apply(const Args&... args) {
    const auto check = [](const Tensor& input) {
      ASHLAR_CHECK(!(grad_enabled() && input.requires_grad()), Op::name, ": has no backward, and an input requires a gradient; ",
                   "call it under NoGrad or detach() the input if that is meant");
    };
    autograd::for_tensors(check, args...);
    Context context;
    return Tensor(Op::forward(context, autograd::as_argument(args)...));
  }
};

}  // namespace ashlar
