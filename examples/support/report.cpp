#include "examples/support/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/error.h"
#include "examples/support/chart.h"
#include "examples/support/format.h"
#include "examples/support/page.h"

namespace ashlar::support {
namespace {

// A number in a table, or a dash.
std::string figure(const char* format, double value) { return std::isfinite(value) ? printed(format, value) : "–"; }

std::string share(double part, double whole) {
  return whole > 0 ? concat(" (", figure("%.1f", 100 * part / whole), " % of dense)") : "";
}

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

// A column a run; a figure that no run has makes no row.
class Figures {
 public:
  explicit Figures(const std::vector<const RunRecord*>& runs) : runs_(runs) {}

  template <class TextOf>
  void row(const std::string& name, const TextOf& text_of) {
    TableRow row{name, {}};
    for (const auto* run : runs_) row.cells.push_back(text_of(*run));
    if (std::ranges::any_of(row.cells, [](const auto& cell) { return !cell.empty() && cell != "–"; })) rows_.push_back(row);
  }
  const std::vector<const RunRecord*>& runs() const { return runs_; }
  const std::vector<TableRow>& rows() const { return rows_; }

 private:
  const std::vector<const RunRecord*>& runs_;
  std::vector<TableRow> rows_;
};

void add_evaluations(Figures& figures) {
  std::set<std::string> splits;
  for (const auto* run : figures.runs()) {
    for (const auto& eval : run->evals) splits.insert(eval.split);
  }
  for (const auto& split : splits) {
    const auto final = [&split](const RunRecord& r, double EvalPoint::*member) {
      const EvalPoint* const eval = r.evals.empty() ? nullptr : r.final_eval(split);
      return eval ? eval->*member : kMissing;
    };
    figures.row(split + " accuracy", [&](const RunRecord& r) {
      const double value = final(r, &EvalPoint::accuracy);
      return std::isfinite(value) ? figure("%.2f", 100 * value) + " %" : "–";
    });
    figures.row(split + " perplexity", [&](const RunRecord& r) { return figure("%.2f", final(r, &EvalPoint::perplexity)); });
    figures.row(split + " word perplexity",
                [&](const RunRecord& r) { return figure("%.2f", final(r, &EvalPoint::word_perplexity)); });
    figures.row(split + " loss", [&](const RunRecord& r) { return figure("%.4f", final(r, &EvalPoint::loss)); });
  }
}

// Of the model; with `dense`, beside what it were if all matrices were dense.
void add_cost(Figures& figures, const std::string& name, const std::string& key, const std::string& dense = {}) {
  figures.row(name, [&](const RunRecord& r) {
    const double value = r.model_number(key);
    if (!std::isfinite(value)) return std::string("–");
    return format_count(value) + (dense.empty() ? "" : share(value, r.model_number(dense)));
  });
}

std::vector<TableRow> key_figures(const std::vector<const RunRecord*>& runs) {
  const std::string unit = name_of(runs[0]->unit);
  Figures figures(runs);
  add_evaluations(figures);
  figures.row("training loss, last twentieth", [](const RunRecord& r) { return figure("%.4f", r.final_loss()); });
  add_cost(figures, "parameters", "parameters");
  add_cost(figures, "parameters of weight matrices", "linear_parameters", "dense_linear_parameters");
  add_cost(figures, "MACs per " + unit + ", forward", "macs_per_" + unit, "dense_macs_per_" + unit);
  figures.row(unit + "s per second of training, median", [](const RunRecord& r) { return format_count(r.median_rate()); });
  figures.row("steps", [](const RunRecord& r) { return std::to_string(r.last_step()); });
  figures.row("wall time, evaluations included", [](const RunRecord& r) { return format_duration(r.last_elapsed()); });
  figures.row("stopped by", [](const RunRecord& r) { return r.end.text("stopped_by", "still running"); });
  figures.row("peak memory", [](const RunRecord& r) {
    const double bytes = r.end.number("peak_memory_bytes", kMissing);
    return std::isfinite(bytes) ? figure("%.0f", bytes / (1 << 20)) + " MiB" : "–";
  });
  figures.row("device", [](const RunRecord& r) {
    return concat(r.model.text("device", "–"), ", ", r.model.text("dtype", "–"), ", ",
                  counted(r.model.integer("threads", 0), "thread"));
  });
  figures.row("build", [](const RunRecord& r) { return r.model.text("build", "–"); });
  return figures.rows();
}

std::vector<TableRow> config_rows(const std::vector<const RunRecord*>& runs) {
  std::vector<std::map<std::string, std::string>> configs(runs.size());
  std::set<std::string> keys;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    configs[i] = runs[i]->config.flat();
    for (const auto& [key, text] : configs[i]) keys.insert(key);
  }
  std::vector<TableRow> rows;
  for (const auto& key : keys) {
    TableRow row{key, {}};
    for (const auto& config : configs) row.cells.push_back(config.count(key) ? config.at(key) : "–");
    rows.push_back(row);
  }
  return rows;
}

enum class Over : std::uint8_t { steps, time };

// A chart of the runs over steps or over time; `add` gives it the lines of one run.
template <class AddLines>
std::string chart(const std::vector<const RunRecord*>& runs, Over over, Chart frame, const AddLines& add) {
  double longest = 0;
  for (const auto* run : runs) longest = std::max(longest, run->last_elapsed());
  const bool by_time = over == Over::time, minutes = longest > 300;
  frame.x_label = !by_time ? "step" : minutes ? "wall time, minutes" : "wall time, seconds";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunRecord& run = *runs[i];
    const auto x_of = [&](double step) {
      return !by_time ? step : run.elapsed_at(step) / (minutes ? 60 : 1);
    };
    add(frame, run, static_cast<int>(i), x_of);
  }
  const bool empty = std::ranges::all_of(frame.lines, [](const Line& line) { return line.points.empty(); });
  return empty ? "" : render(frame);
}

// The split that all runs are evaluated on while they train; empty if there is none.
std::string common_split(const std::vector<const RunRecord*>& runs) {
  std::set<std::string> splits;
  for (const auto* run : runs) splits.insert(run->evals.empty() ? "" : run->evals.front().split);
  return splits.size() == 1 ? *splits.begin() : "";
}

// Evaluations of the split that is followed during training.
template <class XOf>
void add_evals(Chart& frame, const RunRecord& run, const std::string& name, int color, LineStyle style,
               double EvalPoint::*member, const XOf& x_of) {
  std::vector<Point> points;
  for (const auto& eval : run.evals) {
    if (eval.split == run.evals.front().split && std::isfinite(eval.*member)) points.push_back({x_of(eval.step), eval.*member});
  }
  if (points.empty()) return;
  frame.lines.push_back({name, color, style, thinned(points, 200)});
}

std::string render_charts(const std::vector<const RunRecord*>& runs, Over over) {
  const bool single = runs.size() == 1;
  const std::string split = common_split(runs);
  // A run is named once a chart; a single one's training has the first colour, its evaluations the second.
  const auto loss = [&](Chart& frame, const RunRecord& run, int color, const auto& x_of) {
    std::vector<Point> points;
    for (const auto& t : run.trains) points.push_back({x_of(t.step), t.loss});
    const std::size_t reach = points.size() / 60;
    if (single && reach > 0) frame.lines.push_back({"", color, LineStyle::faint, thinned(points, 800)});
    const std::string name = single ? reach > 0 ? "training, smoothed" : "training" : run.name;
    frame.lines.push_back({name, color, LineStyle::solid, thinned(smoothed(points, reach), 400)});
    add_evals(frame, run, single ? split : "", single ? 1 : color, LineStyle::dashed, &EvalPoint::loss, x_of);
  };
  const auto evals = [&](double EvalPoint::*member) {
    return [=](Chart& frame, const RunRecord& run, int color, const auto& x_of) {
      const std::string own = split.empty() && !run.evals.empty() ? ", " + run.evals.front().split : "";
      add_evals(frame, run, single ? split : run.name + own, single ? 1 : color, LineStyle::marked, member, x_of);
    };
  };
  const std::string on_split = single || split.empty() ? "" : ", " + split;
  std::string html;
  html += chart(runs, over, {single ? "Loss" : concat("Loss; dashed: ", split.empty() ? "held out" : split), "", "cross-entropy",
                             false, false, {}}, loss);
  html += chart(runs, over, {"Accuracy" + on_split, "", "accuracy", false, true, {}}, evals(&EvalPoint::accuracy));
  const bool words = std::ranges::any_of(runs, [](const RunRecord* run) {
    return std::ranges::any_of(run->evals, [](const auto& e) { return std::isfinite(e.word_perplexity); });
  });
  html += chart(runs, over, {(words ? "Word perplexity" : "Perplexity") + on_split, "", "perplexity, logarithmic", true, false, {}},
                evals(words ? &EvalPoint::word_perplexity : &EvalPoint::perplexity));
  return render_side_by_side(html);
}

}  // namespace

void write_report(const std::filesystem::path& path, const std::string& title, const std::vector<RunRecord>& runs) {
  ASHLAR_CHECK(!runs.empty(), "report ", path.string(), ": needs at least one run");
  std::string body;
  for (const Unit unit : {Unit::sample, Unit::token}) {
    std::vector<const RunRecord*> kind;
    for (const auto& run : runs) {
      if (run.unit == unit) kind.push_back(&run);
    }
    if (kind.empty()) continue;
    body += "<section>\n";
    if (kind.size() < runs.size()) body = concat(body, "<h2>", unit == Unit::sample ? "Images" : "Text", "</h2>\n");
    // What several runs reach is compared by what it costs.
    body += render_charts(kind, kind.size() > 1 ? Over::time : Over::steps);
    if (kind.size() > 1) body += "<details><summary>Over steps</summary>\n" + render_charts(kind, Over::steps) + "</details>\n";
    std::vector<std::string> names;
    for (const auto* run : kind) names.push_back(run->name);
    body += render_table(names, key_figures(kind), false);
    body += "<details><summary>Configuration</summary>\n" + render_table(names, config_rows(kind), true) +
            "</details>\n</section>\n";
  }
  write_page(path, title, "Trained with Ashlar. Points are evaluations.", body);
}

}  // namespace ashlar::support
