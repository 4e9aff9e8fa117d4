#include "examples/support/run_record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "examples/support/format.h"

namespace ashlar::support {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double RunRecord::model_number(const std::string& key) const { return model.number(key, kNone); }

bool RunRecord::diverged() const { return end.text("stopped_by", "") == "divergence"; }

std::int64_t RunRecord::last_step() const {
  return end.integer("steps", trains.empty() ? 0 : static_cast<std::int64_t>(trains.back().step));
}

double RunRecord::last_elapsed() const {
  const double elapsed = end.number("elapsed", kNone);
  if (std::isfinite(elapsed)) return elapsed;
  return trains.empty() ? 0 : trains.back().elapsed;
}

double RunRecord::median_rate() const {
  std::vector<double> rates;
  for (const auto& t : trains) {
    if (std::isfinite(t.rate)) rates.push_back(t.rate);
  }
  return median(std::move(rates));
}

double RunRecord::final_loss() const {
  const std::size_t count = trains.empty() ? 0 : std::max<std::size_t>(1, trains.size() / 20);
  double sum = 0;
  for (std::size_t i = trains.size() - count; i < trains.size(); ++i) sum += trains[i].loss;
  return count > 0 ? sum / static_cast<double>(count) : kNone;
}

const EvalPoint* RunRecord::final_eval(const std::string& split) const {
  const bool keep_best = config.flag("keep_best", false) && split == evals.front().split;
  const EvalPoint* final = nullptr;
  for (const EvalPoint& point : evals) {
    if (point.split != split) continue;
    if (!final || !keep_best || std::isnan(final->loss) || point.loss < final->loss) final = &point;
  }
  return final;
}

std::string RunRecord::result() const {
  if (diverged()) return "diverged";
  const EvalPoint* final = final_eval();
  if (!final) return "not evaluated";
  return std::isfinite(final->accuracy) ? printed("accuracy %.2f %%", 100 * final->accuracy)
                                        : printed("word perplexity %.1f", final->word_perplexity);
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
  if (const auto file = folder / "config.json"; std::filesystem::exists(file)) run.config = {read_json(file), file.string()};
  const std::filesystem::path path = folder / "metrics.jsonl";
  std::istringstream lines(read_file(path));
  std::int64_t line_number = 0;
  for (std::string text; std::getline(lines, text);) {
    ++line_number;
    Json parsed = Json::parse(text, nullptr, false);
    const std::string where = concat(path.string(), " line ", line_number);
    if (!parsed.is_object()) {
      ASHLAR_CHECK(lines.eof(), where, " is not a JSON object: the file is damaged; delete the line to do without it");
      continue;
    }
    const JsonObject line(std::move(parsed), where);
    const auto number = [&line](const char* key) { return line.number(key, kNone); };
    const auto step = [&line] { return static_cast<double>(line.integer("step")); };
    const std::string event = line.text("event", "");
    if (event == "model") {
      run.model = line;
      run.unit = line.has("macs_per_token") ? Unit::token : Unit::sample;
    } else if (event == "train") {
      const char* rate = line.has("tokens_per_s") ? "tokens_per_s" : "samples_per_s";
      run.trains.push_back({step(), number("loss"), number(rate), number("elapsed")});
    } else if (event == "eval") {
      run.evals.push_back({line.text("split", ""), step(), number("loss"), number("accuracy"), number("perplexity"),
                           number("word_perplexity")});
    } else if (event == "end") {
      run.end = line;
    }
  }
  return run;
}

}  // namespace ashlar::support
