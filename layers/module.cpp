#include "layers/module.h"

#include <algorithm>

#include "core/random.h"
#include "kernels/matmul/matmul.h"

namespace ashlar {

Scope Scope::root(DType dtype, std::uint64_t seed, Device device) {
  ASHLAR_CHECK(is_floating(dtype), "scope: activations need a floating dtype, got ", dtype);
  Scope scope;
  scope.dtype_ = dtype;
  scope.seed_ = seed;
  scope.device_ = device;
  return scope;
}

Scope Scope::for_loading() const {
  Scope scope = *this;
  scope.draws_ = false;
  return scope;
}

std::string Scope::below(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

std::string_view Scope::name() const { return std::string_view(path_).substr(path_.rfind('.') + 1); }

// The name is taken when the module is there: one that could not be made leaves it free.
Module::Module(const Scope& scope) : scope_(scope) {
  if (!scope.parent_) return;
  scope.parent_->claim(scope.name());
  scope.parent_->children_.push_back(this);
}

Module::~Module() {
  if (scope_.parent_) scope_.parent_->forget(*this);
  for (Module* child : children_) child->scope_.parent_ = nullptr;
}

void Module::forget(const Module& child) {
  std::erase(children_, &child);
  std::erase(names_, child.scope_.name());
}

std::string Module::described() const { return scope_.path().empty() ? "the root module" : "module " + scope_.path(); }

void Module::check_free(std::string_view name) const {
  ASHLAR_CHECK(!name.empty() && name.find('.') == std::string_view::npos, described(), ": the name '", name,
               "' must not be empty or contain a dot");
  ASHLAR_CHECK(std::ranges::find(names_, name) == names_.end(), described(), ": the name '", name, "' is taken");
}

void Module::claim(std::string_view name) {
  check_free(name);
  names_.emplace_back(name);
}

Scope Module::sub(std::string_view name) {
  check_free(name);
  Scope scope = scope_;
  scope.path_ = scope_.below(name);
  scope.parent_ = this;
  return scope;
}

Tensor Module::param(std::string_view name, const Shape& shape, const Init& init, const ParamInfo& info) {
  claim(name);
  const std::string path = scope_.below(name);
  Array value = scope_.draws() ? Array::empty(shape, scope_.master()) : Array::zeros(shape, scope_.master());
  // Drawn on the host: every device begins with the same weights.
  if (scope_.draws()) init(value, key_of(scope_.seed(), path));
  own_.push_back({path, Tensor::leaf(value.to(scope_.device())), info});
  return own_.back().tensor;
}

Array Module::buffer(std::string_view name, Array value, std::function<void(const Array&)> check) {
  claim(name);
  own_buffers_.push_back({scope_.below(name), value.to(scope_.device()), std::move(check)});
  return own_buffers_.back().value;
}

Parameters Module::parameters() const {
  Parameters all = own_;
  for (const Module* child : children_) {
    for (Parameter& parameter : child->parameters()) all.push_back(std::move(parameter));
  }
  return all;
}

std::vector<Buffer> Module::buffers() const {
  std::vector<Buffer> all = own_buffers_;
  for (const Module* child : children_) {
    for (Buffer& buffer : child->buffers()) all.push_back(std::move(buffer));
  }
  return all;
}

void Module::visit(const std::function<void(Module&)>& visitor) {
  visitor(*this);
  for (Module* child : children_) child->visit(visitor);
}

void Module::visit(const std::function<void(const Module&)>& visitor) const {
  visitor(*this);
  for (const Module* child : children_) child->visit(visitor);
}

void Module::train(std::uint64_t step, const Array& step_offset) {
  visit([&](Module& module) {
    module.training_ = true;
    module.step_ = step;
    module.step_offset_ = step_offset;
  });
}

void Module::eval() {
  visit([](Module& module) { module.training_ = false; });
}

void Module::freeze() {
  eval();
  const bool convert = kernels::multiplies_bf16(scope_.device());
  visit([&](Module& module) {
    for (const Parameter& parameter : module.own_) {
      Tensor::Impl& impl = *parameter.tensor.impl();
      const bool weights = parameter.info.role == Role::matrix || parameter.info.role == Role::embedding;
      if (weights && convert) impl.value = impl.value.to(scope_.dtype());
      impl.requires_grad = false;
      impl.grad = {};
    }
  });
}

}  // namespace ashlar
