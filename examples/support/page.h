// Pages of HTML that need nothing but themselves.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace ashlar::support {

struct TableRow {
  std::string name;
  std::vector<std::string> cells;  // one a column
};

// With a heading over each column but that of the rows' names. Rows whose cells are not all the same are marked on demand.
std::string render_table(const std::vector<std::string>& columns, const std::vector<TableRow>& rows, bool mark_differences);

// The charts of a page side by side, as many as fit (render() of chart.h makes them).
std::string render_side_by_side(const std::string& charts);

// Writes the page: a heading, a line below it, and the body, which is HTML. Atomically; fails like write_file().
void write_page(const std::filesystem::path& path, const std::string& title, const std::string& subtitle,
                const std::string& body);

}  // namespace ashlar::support
