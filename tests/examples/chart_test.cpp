#include "examples/support/chart.h"

#include <set>
#include <sstream>

#include "examples/support/progress.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar::support;
using ashlar::test::contains;

TEST_CASE("a picture of its own has all charts, their titles and their legends, and needs no page") {
  const Chart one{"Exact <rank>", "iteration", "error", true, false, {{"plain", 0, LineStyle::solid, {{0, 1}, {10, 1e-14}}}}};
  const Chart two{"Larger", "iteration", "error", true, false, {{"other", 1, LineStyle::dashed, {{0, 1}, {10, 0.1}}}}};
  const std::string svg = render_svg({one, two});
  CHECK(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 "));
  CHECK(svg.ends_with("</svg>\n"));
  for (const char* part : {"Exact &lt;rank&gt;", "Larger", ">plain</text>", ">other</text>", "--c0: #",
                           "path class=\"c1 line dashed\""}) {
    CAPTURE(part);
    CHECK(contains(svg, part));
  }
  CHECK(contains(svg, ">1e-14</text>"));  // and not 0
}

TEST_CASE("every colour of a line has a value on light and dark pages, for paths and for points") {
  const std::string_view style = kChartStyle;
  std::set<std::string_view> values;
  for (int color = 0; color < kChartColors; ++color) {
    CAPTURE(color);
    const std::string name = "c" + std::to_string(color), value = "--" + name + ": #";
    CHECK(contains(style, "path." + name + " { stroke: var(--" + name + "); }"));
    CHECK(contains(style, "circle." + name + " { fill: var(--" + name + "); }"));
    const auto light = style.find(value), dark = style.rfind(value);
    REQUIRE(light < style.find("@media"));
    REQUIRE(dark > style.find("@media"));
    values.insert({style.substr(light + value.size(), 6), style.substr(dark + value.size(), 6)});
  }
  CHECK(values.size() == 2 * kChartColors);
}

TEST_CASE("an axis of shares begins at 0%, without a sign") {
  const Chart chart{"Accuracy", "step", "accuracy", false, true, {{"", 0, LineStyle::solid, {{0, 0}, {10, 0.226}}}}};
  const std::string html = render(chart);
  CHECK(contains(html, ">0%</text>"));
  CHECK_FALSE(contains(html, ">-0%</text>"));
}

TEST_CASE("the progress of things shows how many are done on a terminal, and only messages elsewhere") {
  std::ostringstream terminal, file;
  double time = 0;
  {
    ItemProgress progress(terminal, true, 60, [&] { return time; });
    progress.update(0, 4, "first");
    time = 10;
    progress.message("first: good");
    progress.update(1, 4, "second");
  }
  CHECK(contains(terminal.str(), "0/4  ["));
  CHECK(contains(terminal.str(), "first: good\n"));
  CHECK(contains(terminal.str(), "second  0:30 left"));
  CHECK(terminal.str().ends_with("\r\x1b[K"));
  ItemProgress progress(file, false, 60, [&] { return time; });
  progress.update(1, 4, "second");
  progress.message("first: good");
  CHECK(file.str() == "first: good\n");
}
