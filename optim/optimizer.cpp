#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/text.h"

namespace ashlar::optim {
namespace {

// `*` in the pattern matches any text: on a mismatch the latest star takes one character more.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == std::string_view::npos;
}

void check_rate(const char* what, const Parameter& parameter, double value) {
  ASHLAR_CHECK(std::isfinite(value) && value >= 0, "optimizer: ", what, " of ", parameter.name,
               " must be finite and not negative, got ", value);
}

Slot make_slot(const Parameter& parameter, const OptimizerOptions& options, double lr) {
  const Array& weight = parameter.tensor.value();
  ASHLAR_CHECK(weight.dtype() == DType::f32 || weight.dtype() == DType::f64, "optimizer: parameter ", parameter.name,
               " is ", weight.dtype(), "; keep master weights in f32 or f64");
  ASHLAR_CHECK(weight.contiguous(), "optimizer: parameter ", parameter.name, " ", weight.shape(),
               " is not contiguous; make the parameter from as_contiguous()");
  Slot slot{parameter, lr, options.decayed.count(parameter.info.role) ? options.weight_decay : 0, {}};
  for (const GroupRule& rule : options.groups) {
    if (!rule.match(parameter)) continue;
    slot.lr *= rule.lr_factor;
    slot.weight_decay = rule.weight_decay.value_or(slot.weight_decay);
    slot.decay = rule.decay;
    break;
  }
  check_rate("lr", parameter, slot.lr);
  check_rate("weight_decay", parameter, slot.weight_decay);
  if (options.lr_scale) slot.set_lr_scale(parameter.info.lr_scale);
  slot.add_state("step", {1}, DType::i64);
  return slot;
}

}  // namespace

std::function<bool(const Parameter&)> name_is(std::string pattern) {
  return [pattern = std::move(pattern)](const Parameter& parameter) { return matches(pattern, parameter.name); };
}

void Slot::set_lr_scale(double scale) {
  weight_decay *= lr_scale / scale;
  lr_scale = scale;
}

void Slot::add_state(const std::string& key) {
  state[key] = Array::zeros(parameter.tensor.shape(), parameter.tensor.dtype(), parameter.tensor.device());
}

void Slot::add_state(const std::string& key, const Shape& shape, DType dtype) {
  state[key] = Array::zeros(shape, dtype, is_floating(dtype) ? parameter.tensor.device() : Device{});
}

void check_state(std::string_view owner, const State& from, const State& to) {
  std::vector<std::string> missing, unexpected, mis_shaped;
  for (const auto& [key, values] : to) {
    const auto given = from.find(key);
    if (given == from.end()) {
      missing.push_back(key);
    } else if (given->second.shape() != values.shape() || given->second.dtype() != values.dtype()) {
      mis_shaped.push_back(concat(key, " (", given->second.dtype(), " ", given->second.shape(), " instead of ",
                                  values.dtype(), " ", values.shape(), ")"));
    }
  }
  for (const auto& [key, values] : from) {
    if (!to.count(key)) unexpected.push_back(key);
  }
  std::string problems;
  const auto report = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) problems += concat(problems.empty() ? "" : "; ", what, ": ", join_first(names));
  };
  report("missing", missing);
  report("unexpected", unexpected);
  report("of another shape", mis_shaped);
  ASHLAR_CHECK(problems.empty(), owner, ": the state is of another model or ", owner, "; ", problems);
}

void copy_state(std::string_view owner, const State& from, const State& to) {
  check_state(owner, from, to);
  for (const auto& [key, values] : to) copy(from.at(key), values);
}

Dim& Slot::steps() { return *state.at("step").data<Dim>(); }

Optimizer::Optimizer(const Parameters& parameters, const OptimizerOptions& options,
                     const std::function<double(const Parameter&)>& lr) {
  ASHLAR_CHECK(!parameters.empty(), "optimizer: no parameters given");
  for (const GroupRule& rule : options.groups) {
    ASHLAR_CHECK(rule.text.empty() || std::ranges::any_of(parameters, rule.match), "groups: '", rule.text,
                 "' fits no parameter");
  }
  std::set<std::string> names;
  std::map<const Tensor::Impl*, std::string> owners;
  for (const Parameter& parameter : parameters) {
    ASHLAR_CHECK(parameter.tensor.defined(), "optimizer: parameter ", parameter.name, " has no tensor");
    ASHLAR_CHECK(names.insert(parameter.name).second, "optimizer: parameter ", parameter.name, " is given twice");
    const auto [owner, fresh] = owners.emplace(parameter.tensor.impl().get(), parameter.name);
    ASHLAR_CHECK(fresh, "optimizer: parameters ", owner->second, " and ", parameter.name,
                 " are the same tensor; give a tied weight once");
    slots_.push_back(make_slot(parameter, options, lr ? lr(parameter) : options.lr));
  }
  numbers_ = Array::zeros({static_cast<Dim>(slots_.size()), std::tuple_size_v<StepNumbers>}, DType::f64,
                          slots_.front().parameter.tensor.device());
}

void Optimizer::step(double lr_factor, double grad_scale) {
  step([lr_factor](const Slot&) { return lr_factor; }, grad_scale);
}

void Optimizer::step(const LrFactor& lr_factor, double grad_scale) {
  ASHLAR_CHECK(std::isfinite(grad_scale), "optimizer: grad_scale ", grad_scale,
               " must be finite; check the gradient norm before the step");
  const std::vector<double> rates = learning_rates(lr_factor);
  std::vector<Update> updates = updates_from_gradients(grad_scale);
  for (std::size_t i = 0; i < slots_.size(); ++i) updates[i].lr = rates[i];
  count_step(rates, [&] { update_all(updates); });
}

void Optimizer::record_step() {
  ASHLAR_CHECK(can_record(), "optimizer: its steps work on the host too and cannot be recorded");
  update_all(updates_from_gradients(1));
}

void Optimizer::begin_replay(const LrFactor& lr_factor) {
  count_step(learning_rates(lr_factor), [] {});
}

std::vector<double> Optimizer::learning_rates(const LrFactor& lr_factor) const {
  std::vector<double> rates;
  for (const Slot& slot : slots_) {
    const double factor = lr_factor(slot);
    ASHLAR_CHECK(std::isfinite(factor), "optimizer: lr_factor ", factor, " of ", slot.parameter.name, " must be finite");
    rates.push_back(slot.lr * slot.lr_scale * factor);
  }
  return rates;
}

std::vector<Update> Optimizer::updates_from_gradients(double grad_scale) const {
  std::vector<Update> updates;
  std::vector<std::string> missing;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Tensor& tensor = slots_[i].parameter.tensor;
    Update update{{}, grad_scale, std::numeric_limits<double>::quiet_NaN(), numbers_.select(0, static_cast<Dim>(i))};
    if (tensor.grad().defined()) update.gradient = tensor.grad().as_contiguous();
    else missing.push_back(slots_[i].parameter.name);
    updates.push_back(std::move(update));
  }
  if (!missing.empty()) {
    throw Error(concat("optimizer: no gradient reached ", join_first(missing),
                       "; run backward() through them first, or give the optimizer only what is trained"));
  }
  return updates;
}

void Optimizer::count_step(const std::vector<double>& learning_rates, const std::function<void()>& update) {
  for (Slot& slot : slots_) ++slot.steps();
  try {
    const Array numbers = Array::zeros(numbers_.shape(), DType::f64);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      std::ranges::copy(numbers_of(slots_[i], learning_rates[i]), numbers.data<double>() + i * std::tuple_size_v<StepNumbers>);
    }
    copy(numbers, numbers_);
    update();
  } catch (...) {
    for (Slot& slot : slots_) --slot.steps();  // what was due in this step is due again
    throw;
  }
}

void Optimizer::zero_grad() {
  for (const Slot& slot : slots_) slot.parameter.tensor.zero_grad();
}

State Optimizer::state() const {
  State all;
  for (const Slot& slot : slots_) {
    for (const auto& [key, values] : slot.state) all[slot.parameter.name + "/" + key] = values;
  }
  return all;
}

std::size_t Optimizer::state_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [key, values] : state()) bytes += static_cast<std::size_t>(values.numel()) * size_of(values.dtype());
  return bytes;
}

}  // namespace ashlar::optim
