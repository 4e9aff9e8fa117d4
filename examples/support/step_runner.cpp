#include "examples/support/step_runner.h"

#include <cmath>
#include <utility>

#include "core/allocator.h"

namespace ashlar::support {
namespace {

// What a recording holds for, and the choice of algorithms: the shapes of the batches and what counts in them.
std::vector<Dim> kind_of(const std::vector<Batch>& batches) {
  std::vector<Dim> kind;
  for (const Batch& batch : batches) {
    kind.push_back(batch.counted);
    for (const Array& array : batch.arrays) {
      kind.push_back(array.defined() ? array.ndim() : -1);
      if (!array.defined()) continue;
      kind.push_back(static_cast<Dim>(array.dtype()));
      for (int i = 0; i < array.ndim(); ++i) kind.push_back(array.size(i));
    }
  }
  return kind;
}

// The mean loss of batch b by what counts in it: the mean of these over the batches is that of one large batch.
Tensor by_count(const Tensor& loss, const std::vector<Batch>& batches, std::size_t b) {
  Dim total = 0;
  for (const Batch& batch : batches) total += batch.counted;
  const Dim own = batches[b].counted * static_cast<Dim>(batches.size());
  return own == total ? loss : loss * (static_cast<double>(own) / static_cast<double>(total));
}

}  // namespace

double StepResult::loss() const {
  double sum = 0;
  for (const HostCopy& loss : losses) sum += loss.values().front() / static_cast<double>(losses.size());
  return sum;
}

void StepResult::check() const {
  if (std::isfinite(loss()) && std::isfinite(clip.norm())) return;
  throw Divergence(concat("step ", step, ": the loss is ", loss(), " and the gradient norm ", clip.norm(),
                          "; the largest gradient is that of ", clip.largest().name,
                          "; lower --lr, or raise --warmup"));
}

StepRunner::StepRunner(const TrainingTask& task, optim::Optimizer& optimizer, const Settings& settings,
                       std::function<void(const std::string&)> say)
    : task_(task),
      parameters_(task.model.parameters()),
      optimizer_(optimizer),
      settings_(settings),
      device_(task.model.scope().device()),
      record_(settings.record && device_.type == DeviceType::cuda),
      say_(std::move(say)) {}

StepResult StepRunner::run(std::int64_t step, const optim::Optimizer::LrFactor& lr_factor) {
  const std::int64_t first = step * settings_.accumulate;
  std::vector<Batch> batches;
  for (std::int64_t index = first; index < first + settings_.accumulate; ++index) batches.push_back(task_.batch(index));
  if (!record_) return run_eagerly(step, batches, lr_factor);
  const std::vector<Dim> kind = kind_of(batches);
  const bool again = std::exchange(previous_, kind) == kind;
  if ((recording_ && kind == kind_of(inputs_)) || (again && record(batches))) return replay(step, batches, lr_factor);
  return run_eagerly(step, batches, lr_factor);
}

StepResult StepRunner::run_eagerly(std::int64_t step, const std::vector<Batch>& batches,
                                   const optim::Optimizer::LrFactor& lr_factor) {
  StepResult result;
  try {
    result = gradients_of(step, batches);
  } catch (const OutOfMemory&) {
    if (!recording_) throw;
    forget_recording();
    result = gradients_of(step, batches);
  }
  if (device_.type == DeviceType::cpu) result.check();
  update(result, lr_factor);
  return result;
}

StepResult StepRunner::gradients_of(std::int64_t step, const std::vector<Batch>& batches) {
  StepResult result{step + 1, {}, {}};
  for (std::size_t b = 0; b < batches.size(); ++b) {
    task_.model.train(static_cast<std::uint64_t>(step * settings_.accumulate) + b);
    const Tensor loss = by_count(task_.loss(batches[b]), batches, b);
    loss.backward();
    result.losses.emplace_back(loss.value());
  }
  result.clip = optim::clip_grad_norm(parameters_, settings_.max_norm, static_cast<int>(settings_.accumulate));
  return result;
}

void StepRunner::update(const StepResult& result, const optim::Optimizer::LrFactor& lr_factor) {
  try {
    optimizer_.step(lr_factor, result.clip.scale);
  } catch (const Error&) {
    result.check();  // matrices that are not finite cannot be decomposed: told as what it is
    throw;
  }
  optimizer_.zero_grad();
}

StepResult StepRunner::replay(std::int64_t step, const std::vector<Batch>& batches,
                              const optim::Optimizer::LrFactor& lr_factor) {
  for (std::size_t b = 0; b < batches.size(); ++b) {
    for (std::size_t i = 0; i < batches[b].arrays.size(); ++i) {
      if (batches[b].arrays[i].defined()) copy(batches[b].arrays[i], inputs_[b].arrays[i]);
    }
  }
  fill(first_, static_cast<double>(step * settings_.accumulate));
  if (optimizer_.can_record()) optimizer_.begin_replay(lr_factor);
  recording_->replay();
  StepResult result{step + 1, {losses_.begin(), losses_.end()}, clip_};
  result.clip.fetch();
  if (!optimizer_.can_record()) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      if (gradients_[i].defined()) parameters_[i].tensor.set_grad(gradients_[i]);
    }
    update(result, lr_factor);
  }
  return result;
}

bool StepRunner::record(const std::vector<Batch>& batches) {
  forget_recording();
  inputs_ = batches;
  for (Batch& batch : inputs_) {
    for (Array& array : batch.arrays) array = array.to(device_);
  }
  first_ = Array::zeros({1}, DType::i64, device_);
  try {
    recording_ = cuda::record(device_.index, [&] {
      for (std::size_t b = 0; b < inputs_.size(); ++b) {
        task_.model.train(b, first_);
        const Tensor loss = by_count(task_.loss(inputs_[b]), inputs_, b);
        loss.backward();
        losses_.push_back(loss.value());
      }
      clip_ = optim::clip_grad_norm_on_device(parameters_, settings_.max_norm, static_cast<int>(settings_.accumulate));
      if (optimizer_.can_record()) optimizer_.record_step();
    });
  } catch (const Error& error) {
    forget_recording();
    record_ = false;
    say_(concat("the step was not recorded as a CUDA graph: ", error.what()));
    return false;
  }
  if (!optimizer_.can_record()) {
    for (const Parameter& parameter : parameters_) gradients_.push_back(parameter.tensor.grad());
  }
  optimizer_.zero_grad();
  return true;
}

void StepRunner::forget_recording() {
  recording_.reset();
  inputs_.clear();
  losses_.clear();
  gradients_.clear();
  clip_ = {};
  optimizer_.zero_grad();
}

}  // namespace ashlar::support
