#include "examples/support/page.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "examples/support/chart.h"

namespace ashlar::support {
namespace {

constexpr const char* kStyle = R"css(
:root { color-scheme: light dark; --page: #fdfdfc; --card: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #151517; --card: #1d1d20; } }
body { margin: 0 auto; max-width: 78rem; padding: 2.5rem clamp(.8rem, 4vw, 1.5rem) 4rem; background: var(--page); color: var(--text);
  overflow-wrap: break-word;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 0 0 .9rem; } section { margin-top: 2rem; }
h3 { font-size: .95rem; margin: 0; }
p { color: var(--soft); margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); gap: 1.2rem; }
figure { margin: 0; min-width: 0; padding: 1rem 1rem .6rem; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .2rem 1.2rem; margin-bottom: .6rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .82rem; color: var(--soft); }
.legend span { min-width: 0; }
svg { display: block; width: 100%; height: auto; }
svg.key { display: inline-block; width: 24px; height: 8px; margin-right: .4rem; vertical-align: middle; }
.scroll { overflow-x: auto; margin-top: 1.2rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .34rem 1.4rem .34rem 0; text-align: left; border-bottom: 1px solid var(--rule); vertical-align: top; }
thead th { border-bottom: 1.5px solid var(--soft); } tbody th { font-weight: 400; color: var(--soft); white-space: nowrap; }
td { overflow-wrap: anywhere; max-width: 28rem; } tr.differs td { font-weight: 600; }
details { margin-top: 1.2rem; } summary { cursor: pointer; color: var(--soft); }
)css";

}  // namespace

std::string render_table(const std::vector<std::string>& columns, const std::vector<TableRow>& rows, bool mark_differences) {
  std::string html = "<div class=\"scroll\"><table>\n<thead><tr><th></th>";
  for (const std::string& column : columns) html = concat(html, "<th>", escape_html(column), "</th>");
  html += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : rows) {
    const bool differs = std::ranges::any_of(row.cells, [&](const auto& cell) { return cell != row.cells[0]; });
    html = concat(html, differs && mark_differences ? "<tr class=\"differs\">" : "<tr>", "<th>", escape_html(row.name), "</th>");
    for (const auto& cell : row.cells) html = concat(html, "<td>", escape_html(cell), "</td>");
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

std::string render_side_by_side(const std::string& charts) { return concat("<div class=\"charts\">\n", charts, "</div>\n"); }

void write_page(const std::filesystem::path& path, const std::string& title, const std::string& subtitle,
                const std::string& body) {
  write_file(path, concat("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
                          "content=\"width=device-width, initial-scale=1\">\n<title>",
                          escape_html(title), "</title>\n<style>", kChartStyle, kStyle, "</style>\n</head>\n<body>\n<header><h1>",
                          escape_html(title), "</h1>\n<p>", escape_html(subtitle), "</p></header>\n<main>\n", body,
                          "</main>\n</body>\n</html>\n"));
}

}  // namespace ashlar::support
