#include "examples/support/step_runner.h"

namespace ashlar::support {
namespace {

bool same_kind(const Array& a, const Array& b) {
  return a.defined() == b.defined() && a.shape() == b.shape() && a.dtype() == b.dtype();
}

}  // namespace

StepRunner::StepRunner(const TrainingTask& task, Parameters parameters, std::int64_t accumulate, bool record,
                       std::function<void(const std::string&)> say)
    : task_(task),
      parameters_(std::move(parameters)),
      accumulate_(accumulate),
      device_(task.model.scope().device()),
      record_(record && device_.type == DeviceType::cuda),
      say_(std::move(say)) {}

std::vector<Array> StepRunner::run(std::int64_t step) {
  const std::int64_t first = step * accumulate_;
  std::vector<Batch> batches;
  for (std::int64_t index = first; index < first + accumulate_; ++index) batches.push_back(task_.batch(index));
  if (!record_ || !std::exchange(warm_, true)) return run_eagerly(first, batches);
  if (recording_ && !matches_recording(batches)) {
    forget_recording();  // its memory is needed now
    return run_eagerly(first, batches);
  }
  if (!recording_ && !record(batches)) return run_eagerly(first, batches);

  for (std::size_t b = 0; b < batches.size(); ++b) {
    for (std::size_t i = 0; i < batches[b].arrays.size(); ++i) {
      if (batches[b].arrays[i].defined()) copy(batches[b].arrays[i], inputs_[b].arrays[i]);
    }
  }
  copy(Array::full({1}, static_cast<double>(first), DType::i64), first_);
  recording_->replay();
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (gradients_[i].defined()) parameters_[i].tensor.set_grad(gradients_[i]);
  }
  return losses_;
}

std::vector<Array> StepRunner::run_eagerly(std::int64_t first, const std::vector<Batch>& batches) {
  std::vector<Array> losses;
  for (std::size_t b = 0; b < batches.size(); ++b) {
    task_.model.train(static_cast<std::uint64_t>(first) + b);
    const Tensor loss = task_.loss(batches[b]);
    loss.backward();
    losses.push_back(loss.value());
  }
  return losses;
}

bool StepRunner::matches_recording(const std::vector<Batch>& batches) const {
  for (std::size_t b = 0; b < batches.size(); ++b) {
    if (batches[b].counted != inputs_[b].counted) return false;
    if (!std::ranges::equal(batches[b].arrays, inputs_[b].arrays, same_kind)) return false;
  }
  return true;
}

bool StepRunner::record(const std::vector<Batch>& batches) {
  inputs_ = batches;
  for (Batch& batch : inputs_) {
    for (Array& array : batch.arrays) array = array.to(device_);
  }
  first_ = Array::zeros({1}, DType::i64, device_);
  try {
    recording_ = cuda::record(device_.index, [&] {
      for (std::size_t b = 0; b < inputs_.size(); ++b) {
        task_.model.train(b, first_);
        const Tensor loss = task_.loss(inputs_[b]);
        loss.backward();
        losses_.push_back(loss.value());
      }
    });
  } catch (const Error& error) {
    forget_recording();
    record_ = false;
    say_(concat("the step was not recorded as a CUDA graph: ", error.what()));
    return false;
  }
  for (const Parameter& parameter : parameters_) gradients_.push_back(parameter.tensor.grad());
  return true;
}

void StepRunner::forget_recording() {
  recording_.reset();
  inputs_.clear();
  losses_.clear();
  gradients_.clear();
  for (const Parameter& parameter : parameters_) parameter.tensor.zero_grad();
}

}  // namespace ashlar::support
