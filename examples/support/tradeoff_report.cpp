#include "examples/support/tradeoff_report.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "examples/support/chart.h"
#include "examples/support/format.h"
#include "examples/support/page.h"

namespace ashlar::support {
namespace {

using Figure = double (*)(const RunRecord&);

double parameters_of(const RunRecord& run) { return run.model_number("parameters"); }
double macs_of(const RunRecord& run) { return run.model_number(concat("macs_per_", name_of(run.unit))); }
double rate_of(const RunRecord& run) { return run.median_rate(); }
double loss_of(const RunRecord& run) { return run.final_loss(); }
double lr_of(const RunRecord& run) {
  return run.config.number("lr", std::numeric_limits<double>::quiet_NaN());
}
// Accuracy as a fraction, or perplexity.
double result_of(const RunRecord& run) {
  const EvalPoint* final = run.final_eval();
  if (!final) return std::numeric_limits<double>::quiet_NaN();
  return run.unit == Unit::sample ? final->accuracy : final->word_perplexity;
}

double mean(const Outcome& outcome, Figure figure) {
  double sum = 0;
  for (const RunRecord& run : outcome.runs) sum += figure(run);
  return sum / static_cast<double>(outcome.runs.size());
}

// "49.60 ± 0.40": the mean, and half the distance of the smallest and the largest if there are several.
std::string spread(const Outcome& outcome, const char* format, Figure figure, double scale = 1) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const RunRecord& run : outcome.runs) {
    least = std::min(least, figure(run));
    most = std::max(most, figure(run));
  }
  const std::string text = printed(format, scale * mean(outcome, figure));
  return outcome.runs.size() == 1 ? text : concat(text, " ± ", printed(format, scale * (most - least) / 2));
}

bool images(const Outcome& outcome) { return outcome.runs[0].unit == Unit::sample; }

std::vector<std::string> head_of(const Outcome& first) {
  const std::string unit = name_of(first.runs[0].unit);
  const std::string result = images(first) ? "accuracy, %" : "word perplexity";
  return {"parameters", "MACs/" + unit, "of " + first.name, "lr", "training loss", result, unit + "s/s"};
}

std::vector<TableRow> rows_of(const std::vector<Outcome>& outcomes) {
  const Outcome& first = outcomes[0];
  std::vector<TableRow> rows;
  for (const Outcome& one : outcomes) {
    const double macs = mean(one, macs_of);
    const std::string result = images(one) ? spread(one, "%.2f", result_of, 100) : spread(one, "%.1f", result_of);
    const auto runs = static_cast<std::int64_t>(one.runs.size());
    rows.push_back({runs == one.seeds ? one.name : concat(one.name, " (", runs, " of ", one.seeds, " seeds)"),
                    {format_count(mean(one, parameters_of)), format_count(macs), printed("%.1f %%", 100 * macs / mean(first, macs_of)),
                     concat(mean(one, lr_of)), spread(one, "%.3f", loss_of), result, format_count(mean(one, rate_of))}});
  }
  return rows;
}

// A curve for each family.
std::vector<Line> lines_of(const std::vector<Outcome>& outcomes, Figure x, Figure y) {
  std::vector<Line> lines;
  for (const Outcome& one : outcomes) {
    auto line = std::ranges::find(lines, one.family, &Line::name);
    if (line == lines.end()) {
      line = lines.insert(line, {one.family, static_cast<int>(lines.size()), LineStyle::marked, {}});
    }
    line->points.push_back({mean(one, x), mean(one, y)});
  }
  for (Line& line : lines) std::ranges::sort(line.points, {}, &Point::x);
  return lines;
}

}  // namespace

std::string tradeoff_table(const std::vector<Outcome>& outcomes) {
  std::vector<std::vector<std::string>> lines{head_of(outcomes[0])};
  lines[0].insert(lines[0].begin(), "layer");
  for (TableRow& row : rows_of(outcomes)) {
    row.cells.insert(row.cells.begin(), row.name);
    lines.push_back(std::move(row.cells));
  }
  std::vector<std::string> rule(lines[0].size());
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) rule[i].resize(std::max(rule[i].size(), columns_of(line[i])), '-');
  }
  lines.insert(lines.begin() + 1, rule);
  std::string table;
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      table += "| " + padded(line[i], rule[i].size()) + " ";
    }
    table += "|\n";
  }
  return table;
}

void write_tradeoff_report(const std::filesystem::path& path, const std::vector<Outcome>& outcomes) {
  const std::string unit = name_of(outcomes[0].runs[0].unit);
  const std::string cost = "multiply-accumulates per " + unit, speed = unit + "s a second of training";
  const bool percent = images(outcomes[0]);
  const std::string result = percent ? "accuracy" : "word perplexity, logarithmic";
  const std::string charts =
      render({"Result by cost", cost, result, !percent, percent, lines_of(outcomes, macs_of, result_of)}) +
      render({"Result by speed", speed, result, !percent, percent, lines_of(outcomes, rate_of, result_of)}) +
      render({"Training loss by cost", cost, "cross-entropy", false, false, lines_of(outcomes, macs_of, loss_of)});
  const RunRecord& first = outcomes[0].runs[0];
  std::vector<TableRow> rows{{"device", {first.model.text("device", "–")}}, {"build", {first.model.text("build", "–")}}};
  for (const auto& [key, text] : first.config.flat()) rows.push_back({key, {text}});
  const std::string configuration =
      concat("<details><summary>Configuration of the first run</summary>\n", render_table({first.name}, rows, false), "</details>\n");
  write_page(path, "Trade-off", "Trained with Ashlar. A point is a structure at one size, the mean over its seeds.",
             concat("<section>\n", render_side_by_side(charts), render_table(head_of(outcomes[0]), rows_of(outcomes), false),
                    configuration, "</section>\n"));
}

}  // namespace ashlar::support
