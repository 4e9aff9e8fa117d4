#include "core/json.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"

namespace ashlar {

Json parse_json(std::string_view text, std::string_view source, int max_depth) {
  const Json::parser_callback_t limit_depth = [&](int depth, Json::parse_event_t, Json&) {
    ASHLAR_CHECK(depth <= max_depth, source, ": JSON is nested more than ", max_depth, " deep");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), limit_depth);
  } catch (const Json::parse_error& error) {
    const std::string_view before = text.substr(0, std::min(text.size(), error.byte > 0 ? error.byte - 1 : 0));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 == 0
    // "[json.exception.…] parse error at line 1, column 2: syntax error …": the position is told here once.
    const std::string_view what = error.what();
    const std::size_t detail = what.find(": ");
    throw InputError(concat(source, ": not valid JSON at line ", line, ", column ", before.size() - start + 1, ": ",
                            detail == std::string_view::npos ? what : what.substr(detail + 2)));
  }
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const OrderedJson& value) {
  write_file(path, value.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace ashlar
