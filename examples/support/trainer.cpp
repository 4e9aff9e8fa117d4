#include "examples/support/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/allocator.h"
#include "examples/support/checkpoint.h"
#include "examples/support/evaluate.h"
#include "examples/support/format.h"
#include "examples/support/progress.h"
#include "examples/support/report.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "examples/support/run_record.h"
#include "examples/support/step_log.h"
#include "examples/support/step_runner.h"
#include "examples/support/system.h"
#include "layers/linear_map.h"
#include "optim/make_optimizer.h"
#include "optim/param_groups.h"
#include "optim/schedule.h"
#include "optim/weight_average.h"

namespace ashlar::support {
namespace {

optim::OptimizerConfig optimizer_config(const TrainingOptions& options) {
  optim::OptimizerConfig config{
      .name = options.optimizer,
      .parameters = {.groups = optim::parse_groups(options.groups), .lr_scale = options.lr_scale}};
  for (const auto& [key, value] : options.optim) {
    if (value) config.settings[key] = *value;
  }
  return config;
}

std::optional<std::int64_t> total_steps(const TrainingTask& task, const TrainingOptions& options) {
  if (options.steps) return options.steps;
  if (!options.epochs) return std::nullopt;
  // A quotient that rounding left above a whole number is no step more.
  constexpr double kRounding = 1e-12;
  return static_cast<std::int64_t>(std::ceil(*options.epochs * task.steps_per_epoch * (1 - kRounding)));
}

// Thrown out of an evaluation by a signal.
struct Interrupted {};

// One run, from its first step to its report.
class Run {
 public:
  Run(const TrainingTask& task, const TrainingOptions& options, const OrderedJson& resolved_config)
      : task_(task),
        options_(options),
        parameters_(task.model.parameters()),
        optimizer_(optim::make_optimizer(parameters_, optimizer_config(options))),
        average_(options.ema > 0 ? std::make_optional<optim::WeightAverage>(parameters_, options.ema) : std::nullopt),
        folder_{options.out},
        lock_(folder_.hold(options.start())),
        state_(options.resume ? load_checkpoint(folder_.checkpoint(), task.model, *optimizer_, average()) : RunState{}),
        limits_(total_steps(task, options), options.minutes, state_.elapsed, state_.step_seconds),
        progress_(task.unit),
        runner_(task, *optimizer_, {options.accumulate, options.clip, options.cuda_graph},
                [this](const std::string& text) { progress_.message(text); }),
        metrics_(begin(resolved_config)),
        best_(best_before()),
        log_{metrics_, log_settings(), state_.step, limits_.elapsed()} {}

  void go() {
    try {
      train();
    } catch (const Divergence&) {
      end("divergence");
      throw;
    }
  }

 private:
  void train() {
    const SignalGuard signals;
    metrics_.write(task_.event);
    const double state = static_cast<double>(optimizer_->state_bytes()) / (1 << 20);
    progress_.message(concat("optimizer: ", options_.optimizer, ", ", printed("%.1f", state), " MiB of state"));
    if (task_.steps_per_epoch < 1) {
      progress_.message(concat("note: a step takes all of the training data ", printed("%.3g", 1 / task_.steps_per_epoch),
                               " times; a smaller --batch takes it once an epoch"));
    }
    evaluate_if_due();  // what the signal that stopped a resumed run prevented
    while (limits_.stop_before(state_.step).empty()) {
      step();
      limits_.step_done();
      evaluate_if_due();
      if (due(options_.checkpoint_every) || much_to_lose()) aside([this] { save(); });
    }
    report_step();
    progress_.last();
    // A run that goes on later has other steps to log.
    if (limits_.stopped_by() != "signal") log_.add_last();
    if (options_.save) save();
    // Whoever sends a signal does not wait for an evaluation.
    const bool stopped = limits_.stopped_by() == "signal" || !finish();
    if (average_) average_->swap();
    if (options_.save && !best_.found()) task_.save_model(folder_);
    end(stopped ? "signal" : limits_.stopped_by());
    const char* how = !stopped ? "done: " : options_.save ? "stopped by a signal, --resume goes on: " : "stopped by a signal: ";
    progress_.message(concat(how, counted(state_.step, "step"), " in ", format_duration(limits_.elapsed()),
                             ", results in ", folder_.root.string()));
  }

  // The evaluations that a run which has come to its end still lacks, those after the first of the weights that are left. False
  // where a signal ended one.
  bool finish() {
    const auto done = [this](const Evaluation& evaluation) {
      return metrics_.evaluated(evaluation.split, state_.step) || evaluate(evaluation);
    };
    if (!done(task_.evaluations.front())) return false;
    if (best_.found() && best_.step != state_.step && task_.evaluations.size() > 1) {
      with_average([this] { task_.load_model(folder_); });
      progress_.message("the other splits are evaluated with the best weights");
    }
    return std::all_of(task_.evaluations.begin() + 1, task_.evaluations.end(), done);
  }

  void end(const std::string& stopped_by) {
    const auto peak = static_cast<std::int64_t>(allocator(device_).stats().peak);
    metrics_.write(EndEvent{state_.step, limits_.elapsed(), peak, stopped_by});
    write_report(folder_.report(), task_.program, {read_run(folder_.name(), folder_.root)});
  }

  // From here on an earlier run is gone, unless this one goes on from it.
  Metrics begin(const OrderedJson& config) {
    if (options_.resume) {
      const std::optional<std::int64_t> steps = total_steps(task_, options_);
      ASHLAR_CHECK(!steps || *steps >= state_.step, "--resume: the run in ", folder_.root.string(), " has done ",
                   counted(state_.step, "step"), ", and --steps or --epochs would end it after ", *steps, "; give more");
      const std::string changes = folder_.changes(config);
      if (!changes.empty()) progress_.message("goes on with other options: " + changes);
    }
    folder_.begin(options_.start(), config);
    if (!options_.resume && task_.save_vocabulary) task_.save_vocabulary(folder_);
    return Metrics(folder_.metrics(), task_.unit, options_.resume ? std::optional(state_.step) : std::nullopt);
  }

  StepLog::Settings log_settings() const {
    return {.every = options_.log_every,
            .units_per_step = static_cast<double>(task_.units_per_step),
            .flops_per_unit = 6 * static_cast<double>(task_.event.macs),  // two MACs backward for one forward
            .peak = measured_matmul_rate(device_, options_.compute_dtype())};
  }

  void step() {
    const optim::StepPlace place{limits_.progress(state_.step), limits_.progress_after(state_.step)};
    const auto factor_of = [&](optim::Decay decay) {
      return optim::lr_factor_at(decay, place, options_.warmup, options_.final_lr);
    };
    StepResult result;
    try {
      result = runner_.run(state_.step, [&](const optim::Slot& slot) { return factor_of(slot.decay.value_or(decay_)); });
    } catch (const Error&) {
      report_step();  // where the step before went wrong, this one only shows it
      throw;
    }
    ++state_.step;
    if (average_) average_->update(state_.step);
    report_step();
    unreported_ = UnreportedStep{std::move(result), *options_.optim.at("lr") * factor_of(decay_)};
    if (device_.type == DeviceType::cpu) report_step();  // a GPU is given the next step before the numbers of this are looked at
  }

  // Reports the latest step, if that has not been done.
  void report_step() {
    if (!unreported_) return;
    const auto [result, lr] = *std::exchange(unreported_, std::nullopt);
    result.check();
    const std::int64_t step = result.step;
    const double loss = result.loss(), elapsed = limits_.elapsed();
    state_.elapsed = elapsed;
    log_.add({.step = step, .epoch = static_cast<double>(step) / task_.steps_per_epoch, .loss = loss, .lr = lr,
              .grad_norm = result.clip.norm(), .elapsed = elapsed});
    progress_.update({step, limits_.total_steps(step), limits_.progress(step), loss, lr, log_.rate(), elapsed,
                      limits_.seconds_left(step)});
  }

  // Does what is no training, and counts in no throughput.
  void aside(const std::function<void()>& body) {
    report_step();
    const double before = limits_.elapsed();
    body();
    log_.leave_out(limits_.elapsed() - before);
  }

  // While the average of the weights is in their place, if there is one: it is what is evaluated and kept.
  void with_average(const std::function<void()>& body) {
    if (average_) average_->swap();
    body();
    if (average_) average_->swap();
  }

  bool due(std::int64_t every) const { return every > 0 && state_.step > 0 && state_.step % every == 0; }

  bool much_to_lose() const {
    return options_.save && options_.checkpoint_minutes > 0 && limits_.elapsed() - saved_time_ >= 60 * options_.checkpoint_minutes;
  }

  void evaluate_if_due() {
    const Evaluation& first = task_.evaluations.front();
    if (due(options_.eval_every) && !SignalGuard::received() && !metrics_.evaluated(first.split, state_.step)) evaluate(first);
  }

  // False where a signal has ended it.
  bool evaluate(const Evaluation& evaluation) {
    std::optional<Score> score;
    aside([&] {
      score = score_of(evaluation);
      if (!score) return;
      const bool best = options_.keep_best && evaluation.split == task_.evaluations.front().split && score->loss < best_.loss;
      if (best) keep(score->loss);
      metrics_.write(EvalEvent{state_.step, evaluation.split, *score});
      progress_.message(concat("step ", state_.step, ": ", evaluation.split, " ", describe(*score), best ? ", the best so far: kept" : ""));
    });
    return score.has_value();
  }

  std::optional<Score> score_of(const Evaluation& evaluation) {
    task_.model.eval();
    const NoGrad no_grad;
    std::optional<Score> score;
    with_average([&] {
      try {
        score = evaluation.run([this](std::int64_t done, std::int64_t count) {
          if (SignalGuard::received()) throw Interrupted();
          progress_.evaluating(done, count);
        });
      } catch (const Interrupted&) {
      }
    });
    return score;
  }

  // With a checkpoint first: else a run that goes on from an earlier one would have weights of a step that it never made.
  void keep(double loss) {
    save();
    with_average([this] { task_.save_model(folder_); });
    best_ = {loss, state_.step};
  }

  void save() {
    // A run by time has spent some on writing since: a resumed one must not take that for time left.
    if (saved_at_ == state_.step && limits_.stopped_by() != "minutes") return;
    saved_at_ = state_.step;
    state_.elapsed = limits_.elapsed();
    state_.step_seconds = limits_.step_seconds();
    save_checkpoint(folder_.checkpoint(), task_.model, *optimizer_, average(), state_);
    saved_time_ = limits_.elapsed();
  }

  optim::WeightAverage* average() { return average_ ? &*average_ : nullptr; }

  // The evaluation whose weights --keep-best has left in the folder.
  struct Best {
    double loss = std::numeric_limits<double>::infinity();
    std::int64_t step = -1;  // if this process found it
    bool found() const { return std::isfinite(loss); }
  };
  Best best_before() const {
    if (!options_.resume || !options_.keep_best || !std::filesystem::exists(folder_.model())) return {};
    const RunRecord before = read_run(folder_.name(), folder_.root);
    const EvalPoint* best = before.final_eval();
    return best ? Best{.loss = best->loss} : Best{};
  }

  struct UnreportedStep {
    StepResult result;
    double lr;
  };

  const TrainingTask& task_;
  const TrainingOptions& options_;
  const Device device_ = Device::parse(options_.device);
  const optim::Decay decay_ = optim::parse_decay(options_.decay);
  Parameters parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::optional<optim::WeightAverage> average_;
  RunFolder folder_;
  FolderLock lock_;
  RunState state_;
  RunLimits limits_;
  std::int64_t saved_at_ = -1;  // a step
  double saved_time_ = limits_.elapsed();
  Progress progress_;
  StepRunner runner_;
  Metrics metrics_;
  Best best_;
  StepLog log_;
  std::optional<UnreportedStep> unreported_;
};

}  // namespace

void check_optimizer(const Module& model, const TrainingOptions& options) {
  optim::OptimizerConfig config = optimizer_config(options);
  config.parameters.groups.clear();
  optim::make_optimizer(model.parameters(), config);
}

ModelEvent model_event(const Module& model, std::int64_t macs, std::int64_t dense_macs, const TrainingOptions& options) {
  const ModelCost cost = cost_of(model);
  return {.parameters = cost.parameters,
          .linear_parameters = cost.linear_parameters,
          .dense_linear_parameters = cost.dense_linear_parameters,
          .macs = macs,
          .dense_macs = dense_macs,
          .device = options.device,
          .dtype = options.dtype,
          .threads = options.threads};
}

void train(const TrainingTask& task, const TrainingOptions& options, const OrderedJson& resolved_config) {
  Run(task, options, resolved_config).go();
}

}  // namespace ashlar::support
