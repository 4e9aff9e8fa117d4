#include "examples/support/chart.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "examples/support/format.h"

namespace ashlar::support {

const char* const kChartStyle = R"css(
:root { --text: #1d1d1f; --soft: #63636b; --rule: #dcdce0;
  --c0: #1f5fbf; --c1: #c2570c; --c2: #18794e; --c3: #8145b5; --c4: #b8325e; --c5: #0e7490;
  --c6: #8a6d00; --c7: #3f3f46; }
@media (prefers-color-scheme: dark) { :root { --text: #ececee; --soft: #a0a0a8; --rule: #34343a;
  --c0: #79aef8; --c1: #f2a065; --c2: #5fc999; --c3: #c195ee; --c4: #f28bad; --c5: #5cc4dd;
  --c6: #d8bf4a; --c7: #d4d4d8; } }
.line { fill: none; stroke-width: 1.9; stroke-linejoin: round; stroke-linecap: round; }
.faint { opacity: .28; stroke-width: 1; } .dashed { stroke-dasharray: 5 4; stroke-width: 1.5; }
path.c0 { stroke: var(--c0); } path.c1 { stroke: var(--c1); } path.c2 { stroke: var(--c2); }
path.c3 { stroke: var(--c3); } path.c4 { stroke: var(--c4); } path.c5 { stroke: var(--c5); }
path.c6 { stroke: var(--c6); } path.c7 { stroke: var(--c7); }
circle.c0 { fill: var(--c0); } circle.c1 { fill: var(--c1); } circle.c2 { fill: var(--c2); }
circle.c3 { fill: var(--c3); } circle.c4 { fill: var(--c4); } circle.c5 { fill: var(--c5); }
circle.c6 { fill: var(--c6); } circle.c7 { fill: var(--c7); }
.grid { stroke: var(--rule); stroke-width: .8; } .axis { stroke: var(--soft); stroke-width: 1; }
.tick { fill: var(--soft); font-size: 12px; } .label { fill: var(--text); font-size: 12.5px; }
)css";

namespace {

// The picture, in units of its viewBox. Left of the plot are the title of the axis and tick labels of up to eight digits.
constexpr double kWidth = 640, kHeight = 320, kLeft = 80, kRight = 24, kTop = 12, kBottom = 46;

std::string number(double value) { return printed("%.1f", value); }

// Where a value lies on an axis: linear or logarithmic, from `low` to `high` onto pixels.
struct Axis {
  double low, high, begin, end;
  bool logarithmic;
  double operator()(double value) const {
    const auto position = [this](double v) { return logarithmic ? std::log(v) : v; };
    return begin + (position(value) - position(low)) / (position(high) - position(low)) * (end - begin);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

// The range of values up to this one, with room around it, is finite.
constexpr double kLargest = 1e150;

bool drawable(const Point& p, bool log_y) {
  return std::abs(p.x) <= kLargest && std::abs(p.y) <= kLargest && (!log_y || p.y >= 1 / kLargest);
}

// The range of the values, with some room and never empty. The first few per cent of a training curve may be far above
// the rest; they are shown, for a reader wants to see where a run came from.
Range y_range(const Chart& chart) {
  Range range;
  for (const Line& line : chart.lines) {
    for (const Point& p : line.points) {
      if (drawable(p, chart.log_y)) range.add(p.y);
    }
  }
  if (!(range.low <= range.high)) return chart.log_y ? Range{1, 10} : Range{0, 1};
  if (chart.log_y) return {range.low / 1.15, range.high * 1.15};
  const double room = range.high > range.low ? 0.06 * (range.high - range.low) : std::max(0.5 * std::abs(range.high), 0.5);
  const bool at_zero = range.low >= 0 && range.low - room < 0;
  return {at_zero ? 0 : range.low - room, chart.percent ? std::min(1.0, range.high + room) : range.high + room};
}

std::string path_of(const Line& line, const Axis& x, const Axis& y) {
  std::string path;
  bool pen_down = false;
  for (const Point& p : line.points) {
    if (!drawable(p, y.logarithmic)) {
      pen_down = false;
      continue;
    }
    path = concat(path, pen_down ? 'L' : 'M', number(x(p.x)), ' ', number(y(p.y)));
    pen_down = true;
  }
  return path;
}

std::string render_line(const Line& line, const Axis& x, const Axis& y) {
  const char* styles[] = {"line", "line faint", "line dashed", "line"};
  const int color = line.color % kChartColors;
  std::string svg =
      concat("<path class=\"c", color, ' ', styles[static_cast<int>(line.style)], "\" d=\"", path_of(line, x, y), "\"/>\n");
  if (line.style != LineStyle::dashed && line.style != LineStyle::marked) return svg;
  for (const Point& p : line.points) {
    if (!drawable(p, y.logarithmic)) continue;
    svg = concat(svg, "<circle class=\"c", color, "\" cx=\"", number(x(p.x)), "\" cy=\"", number(y(p.y)), "\" r=\"2.6\"/>\n");
  }
  return svg;
}

std::string render_axes(const Chart& chart, const Axis& x, const Axis& y) {
  std::string svg;
  for (const double tick : axis_ticks(y.low, y.high, 6, chart.log_y)) {
    const std::string at = number(y(tick));
    svg = concat(svg, "<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", at, "\" y2=\"", at,
                 "\"/><text class=\"tick\" text-anchor=\"end\" x=\"", kLeft - 8, "\" y=\"", at, "\" dy=\"4\">",
                 chart.log_y ? concat(tick) : format_tick(tick, chart.percent), "</text>\n");
  }
  for (const double tick : axis_ticks(x.low, x.high, 7, false)) {
    svg = concat(svg, "<text class=\"tick\" text-anchor=\"middle\" x=\"", number(x(tick)), "\" y=\"",
                 kHeight - kBottom + 18, "\">", format_tick(tick, false), "</text>\n");
  }
  const double middle = (kTop + kHeight - kBottom) / 2;
  return concat(svg, "<line class=\"axis\" x1=\"", kLeft, "\" x2=\"", kWidth - kRight, "\" y1=\"", kHeight - kBottom,
                "\" y2=\"", kHeight - kBottom, "\"/>\n<text class=\"label\" text-anchor=\"middle\" x=\"",
                (kLeft + kWidth - kRight) / 2, "\" y=\"", kHeight - 8, "\">", escape_html(chart.x_label),
                "</text>\n<text class=\"label\" text-anchor=\"middle\" transform=\"translate(14 ", middle,
                ") rotate(-90)\">", escape_html(chart.y_label), "</text>\n");
}

std::string render_legend(const Chart& chart) {
  std::string html;
  for (const Line& line : chart.lines) {
    if (line.name.empty()) continue;
    html = concat(html, "<span><svg class=\"key\" viewBox=\"0 0 24 8\"><path class=\"c", line.color % kChartColors,
                  line.style == LineStyle::dashed ? " line dashed" : " line", "\" d=\"M1 4H23\"/></svg>",
                  escape_html(line.name), "</span>\n");
  }
  return html;
}

}  // namespace

std::string escape_html(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic) {
  std::vector<double> ticks;
  // Where doubles hardly tell the ends apart, or not how far they are, there is nothing to count in.
  const double width = high - low, largest = std::max(std::abs(low), std::abs(high));
  if (!(width > std::max(1e-12 * largest, std::numeric_limits<double>::min())) || !std::isfinite(width)) return ticks;
  if (logarithmic && high / low > 8) {
    // Powers of ten, with their multiples while these are few; not all of them where they are many.
    const double first = std::floor(std::log10(low)), last = std::log10(high), decades = last - std::log10(low);
    const std::vector<double> multiples =
        decades > count ? std::vector<double>{1} : decades > 2.2 ? std::vector<double>{1, 3} : std::vector<double>{1, 2, 5};
    for (double exponent = first; exponent <= last; exponent += std::max(1.0, std::ceil(decades / (3 * count)))) {
      for (const double m : multiples) {
        const double tick = std::pow(10, exponent) * m;
        if (tick >= low && tick <= high) ticks.push_back(tick);
      }
    }
    return ticks;
  }
  const double rough = width / count;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double factor = rough / power;
  const double step = power * (factor < 1.5 ? 1 : factor < 3.5 ? 2 : factor < 7.5 ? 5 : 10);
  const double last = std::floor(high / step + 1e-9);
  for (double i = std::ceil(low / step - 1e-9); i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::string format_tick(double value, bool percent) {
  if (std::abs(value) < 1e-12) return percent ? "0%" : "0";  // also -0
  if (percent) return printed("%.4g%%", 100 * value);
  if (std::abs(value) >= 1e6) return printed("%.4gM", value / 1e6);
  if (std::abs(value) >= 10'000) return printed("%.4gk", value / 1e3);
  return printed("%.4g", value);
}

std::vector<Point> thinned(const std::vector<Point>& points, std::size_t count) {
  if (points.size() <= count) return points;
  std::vector<Point> result;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t begin = points.size() * i / count, end = points.size() * (i + 1) / count;
    Point mean;
    for (std::size_t j = begin; j < end; ++j) mean = {mean.x + points[j].x, mean.y + points[j].y};
    const auto n = static_cast<double>(end - begin);
    result.push_back({mean.x / n, mean.y / n});
  }
  return result;
}

std::vector<Point> smoothed(const std::vector<Point>& points, std::size_t reach) {
  // Sums over the first i points; a mean over a window is a difference of two of them.
  std::vector<double> sum{0}, count{0};
  for (const Point& p : points) {
    sum.push_back(sum.back() + (std::isfinite(p.y) ? p.y : 0));
    count.push_back(count.back() + (std::isfinite(p.y) ? 1 : 0));
  }
  std::vector<Point> result;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t begin = i - std::min(i, reach), end = std::min(points.size(), i + reach + 1);
    result.push_back({points[i].x, (sum[end] - sum[begin]) / (count[end] - count[begin])});
  }
  return result;
}

namespace {

// Axes and lines, without a frame.
std::string render_plot(const Chart& chart) {
  Range xs;
  for (const Line& line : chart.lines) {
    for (const Point& p : line.points) {
      if (drawable(p, chart.log_y)) xs.add(p.x);
    }
  }
  if (!(xs.low <= xs.high)) xs = {0, 1};
  xs.low = std::min(xs.low, 0.0);
  if (!(xs.low < xs.high)) xs.high = xs.low + 1;
  const Range ys = y_range(chart);
  const Axis x{xs.low, xs.high, kLeft, kWidth - kRight, false};
  const Axis y{ys.low, ys.high, kHeight - kBottom, kTop, chart.log_y};

  std::string svg = render_axes(chart, x, y);
  for (const Line& line : chart.lines) svg += render_line(line, x, y);
  return svg;
}

}  // namespace

std::string render(const Chart& chart) {
  return concat("<figure>\n<figcaption><h3>", escape_html(chart.title), "</h3><div class=\"legend\">", render_legend(chart),
                "</div></figcaption>\n<svg viewBox=\"0 0 ", kWidth, ' ', kHeight, "\" role=\"img\" aria-label=\"",
                escape_html(chart.title), "\">\n", render_plot(chart), "</svg>\n</figure>\n");
}

std::string render_svg(const std::vector<Chart>& charts) {
  constexpr double kTitle = 30, kLegendLine = 18;
  std::string body;
  double top = 0;
  for (const Chart& chart : charts) {
    body = concat(body, "<text class=\"title\" x=\"", kLeft, "\" y=\"", top + 20, "\">", escape_html(chart.title),
                  "</text>\n");
    top += kTitle;
    for (const Line& line : chart.lines) {
      if (line.name.empty()) continue;
      const std::string dashed = line.style == LineStyle::dashed ? " dashed" : "";
      body = concat(body, "<path class=\"c", line.color % kChartColors, " line", dashed, "\" d=\"M", kLeft, ' ', top + 4,
                    "h24\"/><text class=\"tick\" x=\"", kLeft + 32, "\" y=\"", top + 8, "\">", escape_html(line.name),
                    "</text>\n");
      top += kLegendLine;
    }
    body = concat(body, "<g transform=\"translate(0 ", top, ")\">\n", render_plot(chart), "</g>\n");
    top += kHeight;
  }
  return concat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", kWidth, ' ', top,
                "\" font-family=\"sans-serif\">\n<style>", kChartStyle,
                ".title { fill: var(--text); font-size: 15px; font-weight: 600; }\n</style>\n", body, "</svg>\n");
}

}  // namespace ashlar::support
