// Optimizer: turns the gradients of parameters into updates. Here is what every optimizer shares: which learning rate
// and weight decay a parameter gets, the checks on its gradient, named state for checkpoints.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "autograd/parameter.h"
#include "optim/schedule.h"

namespace ashlar::optim {

// Settings for some of the parameters; of several rules that match a parameter the first is used.
struct GroupRule {
  std::function<bool(const Parameter&)> match;
  std::optional<double> weight_decay = {};  // holds whatever the role
  double lr_factor = 1;                     // multiplies the learning rate
  std::optional<Decay> decay = {};          // of the schedule, see Slot
  std::string text = {};                    // how the user wrote it; a rule with a text must fit some parameter
};
// `pattern` is a whole name in which * stands for any text: "blocks.*.mlp.*".
std::function<bool(const Parameter&)> name_is(std::string pattern);

// Which parameters are treated otherwise than the rest.
struct ParameterOptions {
  // The roles that are decayed. Couplings and norms scale what the matrices do and biases shift it: drawing them to
  // zero does not regularise. Some GPT-2 recipes add Role::embedding.
  std::set<Role> decayed = {Role::matrix};
  std::vector<GroupRule> groups = {};
  // Multiply the learning rates by ParamInfo::lr_scale, a rule for steps of Adam's size: optimizers whose steps have
  // another size keep their plain rates, and say so (optim/README.md).
  bool lr_scale = false;
};

struct OptimizerOptions : ParameterOptions {
  double lr = 1e-3;
  double weight_decay = 0;

  // f(name, value) for every setting that configs and command lines can give (optimizer_kind.h).
  template <class F>
  void each_setting(const F& f) {
    f("lr", lr);
    f("weight_decay", weight_decay);
  }
};

// Values by name, as in a checkpoint.
using State = std::map<std::string, Array>;
// Names, shapes and dtypes must be the same: otherwise one InputError of `owner` lists all that is missing, unexpected
// or of another shape.
void check_state(std::string_view owner, const State& from, const State& to);
// Copies `from` into the arrays of `to`, after check_state().
void copy_state(std::string_view owner, const State& from, const State& to);

// A parameter with its settings and the state that an optimizer keeps for it.
struct Slot {
  Parameter parameter;
  double lr = 0, weight_decay = 0;
  State state;  // by short name: "exp_avg"
  std::optional<Decay> decay = {};  // its own schedule, for the caller that computes the lr_factor of a step
  double lr_scale = 1;              // multiplies lr

  // Leaves what decays the weight in a step, lr weight_decay, as it is.
  void set_lr_scale(double scale);
  // Adds a state of zeros, of the parameter's shape and dtype if none are given: values beside the parameter, counts and
  // indices on the host.
  void add_state(const std::string& key);
  void add_state(const std::string& key, const Shape& shape, DType dtype);
  Dim& steps();  // updates so far: the state "step"
};

// What changes from step to step in the update of a parameter, where kernels read it from the device's memory.
using StepNumbers = std::array<double, 3>;

// What one step brings to the update of a parameter.
struct Update {
  Array gradient;  // contiguous, in the weight's dtype, before grad_scale
  double grad_scale = 1;
  double lr = 0;  // with lr_scale and the schedule; not a number while a step is recorded
  Array numbers;  // numbers_of() this step, on the device
};

class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  // Updates every parameter from its gradient. `lr_factor` (of the schedule) multiplies every learning rate,
  // `grad_scale` every gradient (the clip factor over the number of accumulated batches, optim/clip.h).
  // A missing gradient is an Error that names the parameter, and then nothing has changed. After an Error of update_all(), of
  // an optimizer that decomposes matrices which are not finite, some parameters may have been updated, but no step is counted.
  void step(double lr_factor = 1, double grad_scale = 1);
  // The same with a factor for each parameter.
  using LrFactor = std::function<double(const Slot&)>;
  void step(const LrFactor& lr_factor, double grad_scale);
  void zero_grad();

  // A step whose work on the device is recorded (core/cuda/cuda.h) and replayed, with a grad_scale of 1: record_step() is
  // called once, within the recording, and begin_replay() before each replay. Only for optimizers that can_record(): the others
  // work on the host between their kernels.
  virtual bool can_record() const { return false; }
  void record_step();
  void begin_replay(const LrFactor& lr_factor);

  // "<parameter>/step", "<parameter>/exp_avg", ...: arrays that share their values with the optimizer. Save or clone
  // them before the next step.
  State state() const;
  void check_state(const State& state) const { ashlar::optim::check_state("optimizer", state, this->state()); }
  void load_state(const State& state) { copy_state("optimizer", state, this->state()); }
  std::size_t state_bytes() const;

  // The parameters with what they are given, for reports.
  const std::vector<Slot>& slots() const { return slots_; }

 protected:
  // `lr`: the learning rate of a parameter, before its group; options.lr if not given.
  Optimizer(const Parameters& parameters, const OptimizerOptions& options,
            const std::function<double(const Parameter&)>& lr = {});
  std::vector<Slot>& own_slots() { return slots_; }

  // One update of all parameters; updates[i] belongs to own_slots()[i].
  virtual void update_all(const std::vector<Update>& updates) = 0;
  // Of the update that slot.steps() counts. An optimizer that can_record() puts all that changes into these numbers and does
  // not use Update::lr.
  virtual StepNumbers numbers_of(Slot&, double lr) const { return {lr}; }

 private:
  std::vector<double> learning_rates(const LrFactor& lr_factor) const;
  std::vector<Update> updates_from_gradients(double grad_scale) const;
  // Counts a step, brings its numbers to the device and calls `update`; where one of these fails, no step is counted.
  void count_step(const std::vector<double>& learning_rates, const std::function<void()>& update);

  std::vector<Slot> slots_;
  Array numbers_;  // StepNumbers of every slot, on the device
};

}  // namespace ashlar::optim
