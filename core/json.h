// JSON files. What looks into a value includes <nlohmann/json.hpp>, which takes longer to compile than most sources here.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace ashlar {

using Json = nlohmann::json;                 // for reading: finds a key fast
using OrderedJson = nlohmann::ordered_json;  // for writing: keeps the order of the keys

// InputError starting with `source` and telling line and column. `max_depth` limits how deep arrays and objects may
// be nested: hostile input must not eat the memory.
Json parse_json(std::string_view text, std::string_view source, int max_depth = 64);
Json read_json(const std::filesystem::path& path);
// Atomically, indented. InputError for a text that is not valid UTF-8.
void write_json(const std::filesystem::path& path, const OrderedJson& value);

// On one line, for errors: bytes that are no UTF-8 do not stop it.
std::string printed_json(const Json& value);

// An object of a file, whose values are asked for by key and type. A value of another type is an InputError that names
// the source and the key, and so is one that is missing, or null, unless there is a fallback.
class JsonObject {
 public:
  JsonObject() = default;  // without keys
  // `source`: the file, and the line where it has several objects, for errors. InputError if `value` is no object.
  JsonObject(Json value, std::string source);

  bool has(const std::string& key) const { return find(key) != nullptr; }
  std::int64_t integer(const std::string& key) const;
  std::int64_t integer(const std::string& key, std::int64_t fallback) const { return has(key) ? integer(key) : fallback; }
  double number(const std::string& key, double fallback) const;
  bool flag(const std::string& key, bool fallback) const;
  std::string text(const std::string& key, const std::string& fallback) const;
  std::vector<double> numbers(const std::string& key) const;    // of an array
  std::vector<std::string> texts(const std::string& key) const;
  JsonObject object(const std::string& key) const;  // without keys if it is missing
  // All values but nulls as text, by their keys: "linear.qkv" of an object in this one.
  std::map<std::string, std::string> flat() const;
  // For values of the right type that cannot be used: "config.json: key 'heads': ".
  std::string where(const std::string& key) const;

 private:
  const Json* find(const std::string& key) const;  // null if it is missing or null
  template <class T>
  std::vector<T> list(const std::string& key, bool (Json::*is_right)() const noexcept, const char* expected) const;
  [[noreturn]] void wrong_type(const std::string& key, const char* expected) const;

  std::shared_ptr<const Json> value_;  // null without keys
  std::string source_, prefix_;  // prefix_: of keys, "linear." in an object of that name
};

}  // namespace ashlar
