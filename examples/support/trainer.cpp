#include "examples/support/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/allocator.h"
#include "examples/support/checkpoint.h"
#include "examples/support/evaluate.h"
#include "examples/support/format.h"
#include "examples/support/progress.h"
#include "examples/support/report.h"
#include "examples/support/run_folder.h"
#include "examples/support/run_limits.h"
#include "examples/support/run_record.h"
#include "examples/support/step_runner.h"
#include "examples/support/system.h"
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

// "lr 0.01 -> 0.02, seed 1 -> 3": the settings that two configs of a run have in common and not alike.
std::string differences(const Json& before, const Json& after) {
  const Json old = before.flatten(), now = after.flatten();
  std::string text;
  for (const auto& [path, value] : now.items()) {
    if (!old.contains(path) || old[path] == value || path == "/out") continue;
    text += concat(text.empty() ? "" : ", ", path.substr(1), " ", old[path].dump(), " -> ", value.dump());
  }
  return text;
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
        metrics_(begin(resolved_config)) {}

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
    last_log_step_ = state_.step;
    last_log_time_ = limits_.elapsed();
    const auto due = [this](std::int64_t every) { return every > 0 && state_.step > 0 && state_.step % every == 0; };
    const auto evaluate_if_due = [&] {
      const Evaluation& first = task_.evaluations.front();
      if (due(options_.eval_every) && !SignalGuard::received() && !metrics_.evaluated(first.split, state_.step)) evaluate(first);
    };
    if (options_.resume && options_.keep_best && std::filesystem::exists(folder_.model())) {
      const RunRecord before = read_run(folder_.name(), folder_.root);
      if (const EvalPoint* best = before.final_eval()) best_loss_ = best->loss;
    }
    evaluate_if_due();  // what the signal that stopped a resumed run prevented
    while (limits_.stop_before(state_.step).empty()) {
      step();
      limits_.step_done();
      evaluate_if_due();
      if (due(options_.checkpoint_every)) save();
    }
    report_step();
    // A run that goes on later has other steps to log.
    if (limits_.stopped_by() != "signal" && unlogged_) log(*unlogged_);
    if (options_.save) save();
    // Whoever sends a signal does not wait for an evaluation.
    const bool stopped = limits_.stopped_by() == "signal" || !finish();
    if (average_) average_->swap();
    if (options_.save && !std::isfinite(best_loss_)) task_.save_model(folder_);
    end(stopped ? "signal" : limits_.stopped_by());
    const char* how = !stopped ? "done: " : options_.save ? "stopped by a signal, --resume goes on: " : "stopped by a signal: ";
    progress_.message(concat(how, state_.step, state_.step == 1 ? " step in " : " steps in ",
                             format_duration(limits_.elapsed()), ", results in ", folder_.root.string()));
  }

  // The evaluations that a run which has come to its end still lacks, those after the first of the weights that are left. False
  // where a signal ended one.
  bool finish() {
    const auto done = [this](const Evaluation& evaluation) {
      return metrics_.evaluated(evaluation.split, state_.step) || evaluate(evaluation);
    };
    if (!done(task_.evaluations.front())) return false;
    if (std::isfinite(best_loss_) && best_step_ != state_.step && task_.evaluations.size() > 1) {
      with_average([this] { task_.load_model(folder_); });
      progress_.message("the other splits are evaluated with the best weights");
    }
    return std::all_of(task_.evaluations.begin() + 1, task_.evaluations.end(), done);
  }

  void end(const std::string& stopped_by) {
    const auto peak = static_cast<std::int64_t>(allocator(Device::parse(options_.device)).stats().peak);
    metrics_.write(EndEvent{state_.step, limits_.elapsed(), peak, stopped_by});
    write_report(folder_.report(), task_.program, {read_run(folder_.name(), folder_.root)});
  }

  // From here on an earlier run is gone, unless this one goes on from it.
  Metrics begin(const OrderedJson& config) {
    if (options_.resume) {
      const std::string changes = differences(read_json(folder_.config()), config);
      if (!changes.empty()) progress_.message("goes on with other options: " + changes);
    }
    folder_.begin(options_.start(), config);
    if (!options_.resume && task_.save_vocabulary) task_.save_vocabulary(folder_);
    return Metrics(folder_.metrics(), task_.unit, options_.resume ? std::optional(state_.step) : std::nullopt);
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
    if (!ahead_) report_step();
  }

  // Reports the latest step, if that has not been done.
  void report_step() {
    if (!unreported_) return;
    const auto [result, lr] = *std::exchange(unreported_, std::nullopt);
    result.check();
    const std::int64_t step = result.step;
    const double elapsed = limits_.elapsed();
    state_.elapsed = elapsed;
    unlogged_ = TrainEvent{.step = step, .epoch = static_cast<double>(step) / task_.steps_per_epoch, .loss = result.loss(),
                           .lr = lr, .grad_norm = result.clip.norm(), .elapsed = elapsed};
    const double loss = unlogged_->loss;
    if (step == 1 || step % options_.log_every == 0) log(*unlogged_);
    progress_.update({step, limits_.total_steps(step), limits_.progress(step), loss, lr, rate_, elapsed,
                      limits_.seconds_left(step)});
  }

  void log(TrainEvent event) {
    unlogged_.reset();
    rate_ = static_cast<double>((event.step - last_log_step_) * task_.units_per_step) / (event.elapsed - last_log_time_);
    last_log_step_ = event.step;
    last_log_time_ = event.elapsed;
    event.rate = rate_;
    event.flops_utilisation = utilisation();
    metrics_.write(event);
  }

  // Of the rate of a large product, by the products of the step: two MACs backward for one forward.
  double utilisation() const { return 6 * static_cast<double>(task_.event.macs) * rate_ / matmul_rate_; }

  // While the average of the weights is in their place, if there is one: it is what is evaluated and kept.
  void with_average(const std::function<void()>& body) {
    if (average_) average_->swap();
    body();
    if (average_) average_->swap();
  }

  // False where a signal has ended it.
  bool evaluate(const Evaluation& evaluation) {
    report_step();
    const double since_log = limits_.elapsed() - last_log_time_;
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
    if (!score) return false;
    const bool best = options_.keep_best && evaluation.split == task_.evaluations.front().split && score->loss < best_loss_;
    if (best) keep(score->loss);
    metrics_.write(EvalEvent{state_.step, evaluation.split, *score});
    progress_.message(concat("step ", state_.step, ": ", evaluation.split, " ", describe(*score), best ? ", the best so far: kept" : ""));
    last_log_time_ = limits_.elapsed() - since_log;  // throughput is that of training
    return true;
  }

  // With a checkpoint first: else a run that goes on from an earlier one would have weights of a step that it never made.
  void keep(double loss) {
    save();
    with_average([this] { task_.save_model(folder_); });
    best_loss_ = loss, best_step_ = state_.step;
  }

  void save() {
    report_step();
    // A run by time has spent some on writing since: a resumed one must not take that for time left.
    if (saved_at_ == state_.step && limits_.stopped_by() != "minutes") return;
    saved_at_ = state_.step;
    state_.elapsed = limits_.elapsed();
    state_.step_seconds = limits_.step_seconds();
    save_checkpoint(folder_.checkpoint(), task_.model, *optimizer_, average(), state_);
    last_log_time_ += limits_.elapsed() - state_.elapsed;
  }

  optim::WeightAverage* average() { return average_ ? &*average_ : nullptr; }

  const TrainingTask& task_;
  const TrainingOptions& options_;
  Parameters parameters_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::optional<optim::WeightAverage> average_;
  RunFolder folder_;
  FolderLock lock_;
  RunState state_;
  RunLimits limits_;
  Progress progress_;
  optim::Decay decay_ = optim::parse_decay(options_.decay);
  std::int64_t last_log_step_ = 0;
  double last_log_time_ = 0, rate_ = std::numeric_limits<double>::quiet_NaN();  // none before the first logged step
  StepRunner runner_;
  Metrics metrics_;
  // A GPU is given the next step before the numbers of the last are looked at.
  const bool ahead_ = Device::parse(options_.device).type == DeviceType::cuda;
  struct UnreportedStep {
    StepResult result;
    double lr;
  };
  std::optional<UnreportedStep> unreported_;
  std::optional<TrainEvent> unlogged_;  // of the last step, where --log-every passed it over
  std::int64_t saved_at_ = -1;
  double best_loss_ = std::numeric_limits<double>::infinity();  // whose weights --keep-best has left in the folder
  std::int64_t best_step_ = -1;  // of that, if this process found it
  const double matmul_rate_ = measured_matmul_rate(Device::parse(options_.device), options_.compute_dtype());
};

}  // namespace

void train(const TrainingTask& task, const TrainingOptions& options, const OrderedJson& resolved_config) {
  Run(task, options, resolved_config).go();
}

}  // namespace ashlar::support
