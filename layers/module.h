// Modules and the scopes that they are built in.
//
// A Scope says where a module lives: its dotted path, device, dtype, seed. A module made in a scope is a child of the
// module that gave the scope — by construction, there is nothing to register. Random numbers are keyed by
// (seed, path): changing one layer leaves every other weight as it was.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "autograd/parameter.h"
#include "layers/init.h"

namespace ashlar {

class Module;

class Scope {
 public:
  // `dtype` is that of activations (f32, bf16; f64 for gradient checks); parameters are kept in master_dtype(dtype).
  static Scope root(DType dtype = DType::f32, std::uint64_t seed = 0, Device device = {});

  const std::string& path() const { return path_; }
  DType dtype() const { return dtype_; }
  DType master() const { return master_dtype(dtype_); }
  std::uint64_t seed() const { return seed_; }
  Device device() const { return device_; }
  // The same, but for parameters that are loaded next: they begin as zeros and not as the random numbers of the seed.
  Scope for_loading() const;
  bool draws() const { return draws_; }
  // `name` below this path.
  std::string below(std::string_view name) const;
  // The last name of the path.
  std::string_view name() const;

 private:
  friend class Module;
  std::string path_;
  DType dtype_ = DType::f32;
  std::uint64_t seed_ = 0;
  Device device_;
  bool draws_ = true;
  Module* parent_ = nullptr;
};

// What belongs to a checkpoint but is not trained.
struct Buffer {
  std::string name;
  Array value;
  // InputError where values from a file cannot be those of the buffer; without it all can.
  std::function<void(const Array& values)> check;
};

class Module {
 public:
  explicit Module(const Scope& scope);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  // Its parent, if that still lives, forgets it, and its name is free again.
  virtual ~Module();

  // All parameters of this module and those below it, with dotted names, in the order they were made.
  Parameters parameters() const;
  // All buffers of this module and those below it, with dotted names.
  std::vector<Buffer> buffers() const;
  // Calls visitor for this module and every one below it.
  void visit(const std::function<void(Module&)>& visitor);
  void visit(const std::function<void(const Module&)>& visitor) const;

  // Training mode, at a step: dropout masks are a function of (seed, path, step). `step_offset` (1) i64 on the module's device, if
  // given, is added to the step when a mask is drawn; it must live until then.
  void train(std::uint64_t step, const Array& step_offset = {});
  void eval();
  // For inference alone: where the device multiplies the dtype of activations, matrices and embeddings are kept in it, so that
  // no call converts them, and nothing is trained or kept for a backward; saved weights would be the converted ones.
  void freeze();
  bool training() const { return training_; }
  std::uint64_t step() const { return step_; }
  const Array& step_offset() const { return step_offset_; }
  const Scope& scope() const { return scope_; }

 protected:
  // The scope of a child. InputError for a name that is empty, has a dot or is taken.
  Scope sub(std::string_view name);
  Tensor param(std::string_view name, const Shape& shape, const Init& init, const ParamInfo& info);
  Array buffer(std::string_view name, Array value, std::function<void(const Array&)> check = {});

 private:
  std::string described() const;  // for errors
  void check_free(std::string_view name) const;
  void claim(std::string_view name);
  void forget(const Module& child);

  Scope scope_;
  std::vector<std::string> names_;
  Parameters own_;
  std::vector<Buffer> own_buffers_;
  std::vector<Module*> children_;
  bool training_ = false;
  std::uint64_t step_ = 0;
  Array step_offset_;
};

// Modules named "0", "1", …
template <class M>
class ModuleList : public Module {
 public:
  using Module::Module;
  template <class... Args>
  M& add(Args&&... args) {
    items_.push_back(std::make_unique<M>(sub(std::to_string(items_.size())), std::forward<Args>(args)...));
    return *items_.back();
  }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::unique_ptr<M>> items_;
};

}  // namespace ashlar
