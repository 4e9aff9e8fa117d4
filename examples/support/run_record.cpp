#include "examples/support/run_record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "core/files.h"

namespace ashlar::support {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : kNone;
}

}  // namespace

double RunRecord::model_number(const std::string& key) const { return number(model, key.c_str()); }

std::int64_t RunRecord::last_step() const {
  double step = number(end, "steps");
  if (!std::isfinite(step)) step = trains.empty() ? 0 : trains.back().step;
  return static_cast<std::int64_t>(step);
}

double RunRecord::last_elapsed() const {
  const double elapsed = number(end, "elapsed");
  if (std::isfinite(elapsed)) return elapsed;
  return trains.empty() ? 0 : trains.back().elapsed;
}

double RunRecord::median_rate() const {
  std::vector<double> rates;
  for (const auto& t : trains) {
    if (std::isfinite(t.rate)) rates.push_back(t.rate);
  }
  if (rates.empty()) return kNone;
  const auto middle = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2);
  std::ranges::nth_element(rates, middle);
  return *middle;
}

double RunRecord::final_loss() const {
  const std::size_t count = trains.empty() ? 0 : std::max<std::size_t>(1, trains.size() / 20);
  double sum = 0;
  for (std::size_t i = trains.size() - count; i < trains.size(); ++i) sum += trains[i].loss;
  return count > 0 ? sum / static_cast<double>(count) : kNone;
}

double RunRecord::elapsed_at(double step) const {
  double from_step = 0, from = 0;
  for (const auto& t : trains) {
    if (!std::isfinite(t.elapsed)) continue;
    if (t.step >= step) {
      const double part = t.step > from_step ? (step - from_step) / (t.step - from_step) : 1;
      return from + part * (t.elapsed - from);
    }
    from_step = t.step;
    from = t.elapsed;
  }
  return from;
}

RunRecord read_run(const std::string& name, const std::filesystem::path& folder) {
  RunRecord run;
  run.name = name;
  run.config = std::filesystem::exists(folder / "config.json") ? read_json(folder / "config.json") : Json::object();
  run.model = run.end = Json::object();
  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string text; std::getline(lines, text);) {
    const Json line = Json::parse(text, nullptr, false);
    if (!line.is_object()) continue;
    const Json event = line.value("event", Json());
    if (event == "model") {
      run.model = line;
      run.unit = line.contains("macs_per_token") ? Unit::token : Unit::sample;
    } else if (event == "train") {
      const char* rate = line.contains("tokens_per_s") ? "tokens_per_s" : "samples_per_s";
      run.trains.push_back({number(line, "step"), number(line, "loss"), number(line, rate), number(line, "elapsed")});
    } else if (event == "eval") {
      run.evals.push_back({line.value("split", std::string()), number(line, "step"), number(line, "loss"),
                           number(line, "accuracy"), number(line, "perplexity"), number(line, "word_perplexity")});
    } else if (event == "end") {
      run.end = line;
    }
  }
  return run;
}

}  // namespace ashlar::support
