// Line charts as SVG.
#pragma once
#include <string>
#include <vector>

namespace ashlar::support {

struct Point {
  double x = 0, y = 0;
};

enum class LineStyle : unsigned char { solid, faint, dashed, marked };  // the last two show each point

struct Line {
  std::string name;  // in the legend; empty for none
  int color = 0;     // 0 … kChartColors − 1: CSS classes c0, c1, …
  LineStyle style = LineStyle::solid;
  std::vector<Point> points;  // x ascending; values that are not finite, or beyond 1e±150, leave a gap
};
constexpr int kChartColors = 8;

struct Chart {
  std::string title, x_label, y_label;
  bool log_y = false;
  bool percent = false;  // y values are fractions
  std::vector<Line> lines;
};

// A <figure> with legend and <svg>. The page has kChartStyle, and the fonts (page.cpp).
std::string render(const Chart& chart);
// A file of its own, with the charts one below the other.
std::string render_svg(const std::vector<Chart>& charts);
// CSS of the classes and colours that charts use.
extern const char* const kChartStyle;

std::string escape_html(const std::string& text);
// About `count` round values (1, 2 or 5 times a power of ten; several decades on a logarithmic axis) inside the range; none
// in one that is empty, infinite or too narrow for doubles.
std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic);
std::string format_tick(double value, bool percent);
// At most `count` points: the mean of each run of neighbours.
std::vector<Point> thinned(const std::vector<Point>& points, std::size_t count);
// Each y replaced by the mean of the finite ones at most `reach` points away.
std::vector<Point> smoothed(const std::vector<Point>& points, std::size_t reach);

}  // namespace ashlar::support
