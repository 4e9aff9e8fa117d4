#include "examples/support/metrics.h"

#include <cerrno>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/error.h"
#include "core/files.h"
#include "examples/support/system.h"

namespace ashlar::support {

const char* name_of(Unit unit) { return unit == Unit::sample ? "sample" : "token"; }

Metrics::Metrics(std::filesystem::path path, Unit unit, std::optional<std::int64_t> resume_step)
    : path_(std::move(path)), unit_(unit) {
  std::string kept;
  if (resume_step && std::filesystem::exists(path_)) {
    std::istringstream lines(read_file(path_));
    for (std::string text; std::getline(lines, text);) {
      const Json event = Json::parse(text, nullptr, false);
      if (!event.is_object() || !event.contains("event")) continue;
      const bool model = event["event"] == "model";
      const Json step = event.value("step", Json());
      if (!model && !(step.is_number() && step.get<std::int64_t>() <= *resume_step)) continue;
      has_model_ = has_model_ || model;
      const Json split = event.value("split", Json());
      if (event["event"] == "eval" && split.is_string()) evaluated_.emplace(split.get<std::string>(), step.get<std::int64_t>());
      kept += text + "\n";
    }
  }
  write_file(path_, kept);
  file_.open(path_, std::ios::app);
  if (!file_) throw_write_error(path_, errno);
}

void Metrics::line(const OrderedJson& event) {
  file_ << event.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) throw_write_error(path_, errno);
}

void Metrics::write(const ModelEvent& e) {
  if (has_model_) return;
  has_model_ = true;
  const std::string per = concat("_per_", name_of(unit_));
  line({{"event", "model"},
        {"parameters", e.parameters},
        {"linear_parameters", e.linear_parameters},
        {"dense_linear_parameters", e.dense_linear_parameters},
        {"macs" + per, e.macs},
        {"dense_macs" + per, e.dense_macs},
        {"device", e.device},
        {"dtype", e.dtype},
        {"threads", e.threads},
        {"build", build_description()}});
}

void Metrics::write(const TrainEvent& e) {
  line({{"event", "train"},
        {"step", e.step},
        {"epoch", e.epoch},
        {"loss", e.loss},
        {"lr", e.lr},
        {"grad_norm", e.grad_norm},
        {concat(name_of(unit_), "s_per_s"), e.rate},
        {"elapsed", e.elapsed},
        {"flops_utilisation", e.flops_utilisation}});
}

void Metrics::write(const EvalEvent& e) {
  OrderedJson event{{"event", "eval"}, {"step", e.step}, {"split", e.split}, {"loss", e.score.loss}};
  if (e.score.accuracy) event["accuracy"] = *e.score.accuracy;
  if (e.score.perplexity) event["perplexity"] = *e.score.perplexity;
  if (e.score.word_perplexity) event["word_perplexity"] = *e.score.word_perplexity;
  line(event);
  evaluated_.emplace(e.split, e.step);
}

void Metrics::write(const EndEvent& e) {
  line({{"event", "end"},
        {"steps", e.steps},
        {"elapsed", e.elapsed},
        {"peak_memory_bytes", e.peak_memory_bytes},
        {"stopped_by", e.stopped_by}});
}

}  // namespace ashlar::support
