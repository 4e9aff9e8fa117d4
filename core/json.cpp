#include "core/json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/files.h"

namespace ashlar {
namespace {

// "[json.exception.out_of_range.406] number overflow …" without the name of the exception.
std::string_view without_name(const Json::exception& error) {
  const std::string_view what = error.what();
  return what.substr(what.find("] ") + 2);
}

void flatten(const Json& object, const std::string& prefix, std::map<std::string, std::string>& flat) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object()) flatten(value, prefix + key + ".", flat);
    else if (!value.is_null()) flat[prefix + key] = value.is_string() ? value.get<std::string>() : value.dump();
  }
}

}  // namespace

Json parse_json(std::string_view text, std::string_view source, int max_depth) {
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that have begun and not ended
  const Json::parser_callback_t check = [&](int depth, Json::parse_event_t event, const Json& parsed) {
    ASHLAR_CHECK(depth <= max_depth, source, ": JSON is nested more than ", max_depth, " deep");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    else if (event == Json::parse_event_t::object_end) keys.pop_back();
    else if (event == Json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      ASHLAR_CHECK(keys.back().insert(key).second, source, ": key '", key, "' is there twice; leave one of them");
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::parse_error& error) {
    const std::string_view before = text.substr(0, std::min(text.size(), error.byte > 0 ? error.byte - 1 : 0));
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 == 0
    // "parse error at line 1, column 2: syntax error …": the position is told here once.
    const std::string_view what = without_name(error);
    const std::size_t detail = what.find(": ");
    throw InputError(concat(source, ": not valid JSON at line ", line, ", column ", before.size() - start + 1, ": ",
                            detail == std::string_view::npos ? what : what.substr(detail + 2)));
  } catch (const Json::out_of_range& error) {  // a number beyond all doubles
    throw InputError(concat(source, ": ", without_name(error)));
  }
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

void write_json(const std::filesystem::path& path, const OrderedJson& value) {
  std::string text;
  try {
    text = value.dump(2);
  } catch (const OrderedJson::type_error& error) {
    throw InputError(concat("cannot write ", path.string(), ": JSON holds no text that is not valid UTF-8: ",
                            without_name(error)));
  }
  write_file(path, text + "\n");
}

std::string printed_json(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

JsonObject::JsonObject(Json value, std::string source)
    : value_(std::make_shared<Json>(std::move(value))), source_(std::move(source)) {
  ASHLAR_CHECK(value_->is_object(), source_, ": must be a JSON object");
}

std::string JsonObject::where(const std::string& key) const { return concat(source_, ": key '", prefix_, key, "': "); }

const Json* JsonObject::find(const std::string& key) const {
  if (!value_) return nullptr;
  const auto found = value_->find(key);
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

void JsonObject::wrong_type(const std::string& key, const char* expected) const {
  const Json* value = find(key);
  const std::string got = value ? ", got " + printed_json(*value) : "; it is missing";
  throw InputError(concat(where(key), "needs ", expected, got));
}

std::int64_t JsonObject::integer(const std::string& key) const {
  constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
  const Json* value = find(key);
  if (!value || !value->is_number_integer()) wrong_type(key, "a whole number");
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > kMost) wrong_type(key, "a smaller number");
  return value->get<std::int64_t>();
}

double JsonObject::number(const std::string& key, double fallback) const {
  const Json* value = find(key);
  if (value && !value->is_number()) wrong_type(key, "a number");
  return value ? value->get<double>() : fallback;
}

bool JsonObject::flag(const std::string& key, bool fallback) const {
  const Json* value = find(key);
  if (value && !value->is_boolean()) wrong_type(key, "true or false");
  return value ? value->get<bool>() : fallback;
}

std::string JsonObject::text(const std::string& key, const std::string& fallback) const {
  const Json* value = find(key);
  if (value && !value->is_string()) wrong_type(key, "a text");
  return value ? value->get<std::string>() : fallback;
}

template <class T>
std::vector<T> JsonObject::list(const std::string& key, bool (Json::*is_right)() const noexcept, const char* expected) const {
  const Json* value = find(key);
  const auto right = [&](const Json& element) { return (element.*is_right)(); };
  if (!value || !value->is_array() || !std::ranges::all_of(*value, right)) wrong_type(key, expected);
  return value->get<std::vector<T>>();
}

std::vector<double> JsonObject::numbers(const std::string& key) const {
  return list<double>(key, &Json::is_number, "a list of numbers");
}

std::vector<std::string> JsonObject::texts(const std::string& key) const {
  return list<std::string>(key, &Json::is_string, "a list of texts");
}

JsonObject JsonObject::object(const std::string& key) const {
  JsonObject inner;
  inner.source_ = source_;
  inner.prefix_ = prefix_ + key + ".";
  if (const Json* value = find(key)) {
    if (!value->is_object()) wrong_type(key, "an object");
    inner.value_ = {value_, value};  // lives as long as what it is in
  }
  return inner;
}

std::map<std::string, std::string> JsonObject::flat() const {
  std::map<std::string, std::string> result;
  if (value_) flatten(*value_, "", result);
  return result;
}

}  // namespace ashlar
