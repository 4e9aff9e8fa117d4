#include "examples/support/step_log.h"

namespace ashlar::support {

void StepLog::add(const TrainEvent& event) {
  if (event.step == 1 || event.step % settings_.every == 0) return write(event);
  passed_over_ = event;
}

void StepLog::add_last() {
  if (passed_over_) write(*passed_over_);
}

void StepLog::write(TrainEvent event) {
  passed_over_.reset();
  rate_ = static_cast<double>(event.step - step_) * settings_.units_per_step / (event.elapsed - time_);
  step_ = event.step;
  time_ = event.elapsed;
  event.rate = rate_;
  event.flops_utilisation = settings_.flops_per_unit * rate_ / settings_.peak;
  metrics_.write(event);
}

}  // namespace ashlar::support
