#include "examples/support/options.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "core/error.h"
#include "core/text.h"
#include "examples/support/option_values.h"
#include "examples/support/progress.h"
#include "examples/support/system.h"

namespace ashlar::support {
namespace {

std::string replaced(std::string text, char from, char to) {
  std::ranges::replace(text, from, to);
  return text;
}

// `text` after `start` in lines of at most that many columns, the later ones indented as far as the first begins. Words stay whole.
std::string wrapped(const std::string& start, const std::string& text, std::size_t columns) {
  std::string result, line = start;
  for (const std::string& word : split(text, ' ')) {
    const bool first = line.size() == start.size();
    if (!first && line.size() + 1 + word.size() > columns) {
      result += line + "\n";
      line = std::string(start.size(), ' ') + word;
    } else {
      line += (first ? "" : " ") + word;
    }
  }
  return result + line + "\n";
}

}  // namespace

Option& Option::at_least(double limit) { return at_least_ = limit, *this; }
Option& Option::more_than(double limit) { return more_than_ = limit, *this; }
Option& Option::at_most(double limit) { return at_most_ = limit, *this; }
Option& Option::choices(std::vector<std::string> texts) { return choices_ = std::move(texts), *this; }
Option& Option::value_name(std::string text) { return value_name_ = std::move(text), *this; }
Option& Option::flag_only() { return in_config_ = saved_ = false, *this; }
Option& Option::shorthand() { return saved_ = false, *this; }

std::string Option::flag() const { return "--" + replaced(name_, '_', '-'); }

void Option::check_limits(const Json& value, const std::string& where) const {
  if (value.is_number()) {
    const auto number = value.get<double>();
    ASHLAR_CHECK(!at_least_ || number >= *at_least_, where, ": needs at least ", *at_least_, ", got ", value.dump());
    ASHLAR_CHECK(!more_than_ || number > *more_than_, where, ": needs more than ", *more_than_, ", got ", value.dump());
    ASHLAR_CHECK(!at_most_ || number <= *at_most_, where, ": needs at most ", *at_most_, ", got ", value.dump());
  }
  if (value.is_string() && !choices_.empty()) {
    const auto text = value.get<std::string>();
    ASHLAR_CHECK(std::ranges::find(choices_, text) != choices_.end(), where, ": '", text, "' is unknown; ",
                 did_you_mean(text, choices_), "Valid: ", join(choices_));
  }
}

void Option::assign(const Json& value, const std::string& where, Source source) {
  check_limits(value, where);
  const bool as_default = source == Source::config && value == *initial_;
  ASHLAR_CHECK(!is_path_ || value != "" || as_default, where, ": the path is empty; give one, or leave it out");
  set_(value, where);
  source_ = source;
  where_ = where;
}

std::string Option::help_line() const {
  const Json& value = *initial_;
  std::string text = help_;
  if (!choices_.empty()) text += ": " + join(choices_);
  if (value.is_boolean()) {
    if (value.get<bool>()) text += " (on; --no-" + flag().substr(2) + " switches it off)";
  } else if (value.is_string()) {
    if (!value.get<std::string>().empty()) text += " (" + value.get<std::string>() + ")";
  } else if (!value.is_null()) {
    text += " (" + concat(value.get<double>()) + ")";
  }
  return text;
}

template <class T>
Option& Options::add(std::string name, T& value, std::string help) {
  if (find(name)) throw Error("option " + name + " is declared twice");
  Option& option = options_.emplace_back();
  option.name_ = std::move(name);
  option.help_ = std::move(help);
  option.group_ = group_;
  option.value_name_ = default_value_name<T>();
  option.is_bool_ = std::is_same_v<T, bool>;
  option.is_path_ = std::is_same_v<T, std::filesystem::path>;
  option.is_text_ = std::is_same_v<T, std::string> || option.is_path_;
  option.set_ = [&value](const Json& json, const std::string& where) { value = value_from<T>(json, where); };
  option.get_ = [&value] { return json_from(value); };
  option.initial_ = std::make_shared<Json>(option.get_());
  option.where_ = option.flag();
  return option;
}

template Option& Options::add(std::string, bool&, std::string);
template Option& Options::add(std::string, int&, std::string);
template Option& Options::add(std::string, std::int64_t&, std::string);
template Option& Options::add(std::string, std::uint64_t&, std::string);
template Option& Options::add(std::string, double&, std::string);
template Option& Options::add(std::string, std::string&, std::string);
template Option& Options::add(std::string, std::filesystem::path&, std::string);
template Option& Options::add(std::string, std::optional<std::int64_t>&, std::string);
template Option& Options::add(std::string, std::optional<double>&, std::string);

Options::Options(std::string program, std::string summary)
    : program_(std::move(program)), summary_(std::move(summary)) {
  add("help", help_, "print this help").flag_only();
  add("version", version_, "print what the program was built from").flag_only();
  add("config", config_, "read options from a JSON file; a flag wins").value_name("FILE").flag_only();
}

void Options::ignored_keys(const OrderedJson& example) {
  for (const auto& [key, value] : example.items()) ignored_keys_.push_back(key);
}

Option* Options::find(std::string_view name) {
  const auto found = std::ranges::find(options_, name, &Option::name_);
  return found == options_.end() ? nullptr : &*found;
}

const Option& Options::declared(std::string_view name) const {
  const auto found = std::ranges::find(options_, name, &Option::name_);
  if (found == options_.end()) throw Error(concat("option ", name, " is not declared"));
  return *found;
}

void Options::unknown(const std::string& what, const std::string& given, bool flag) const {
  std::vector<std::string> valid;
  for (const Option& option : options_) {
    if (flag) {
      valid.push_back(option.flag());
      if (option.is_bool_) valid.push_back("--no-" + option.flag().substr(2));
    } else if (option.in_config_) {
      valid.push_back(option.name_);
    }
  }
  const std::string hint = nearest(given, valid);
  // Of a program that passes options on.
  const std::string others = flag && positional_name_.starts_with("-- ") ? "; options of the other program follow a --" : "";
  throw InputError(what + " is unknown" + others + "; " + (hint.empty() ? "see --help" : "did you mean " + hint + "?"));
}

void Options::read_flags(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h") {
      help_ = true;
      continue;
    }
    if (positional_ && argument == "--") {
      positional_->insert(positional_->end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
      return;
    }
    if (positional_ && !argument.starts_with("-")) {
      positional_->push_back(argument);
      continue;
    }
    ASHLAR_CHECK(argument.starts_with("--") && argument.size() > 2, "argument '", argument,
                 "' is not an option; options start with --, see --help");
    const std::size_t equals = argument.find('=');
    const std::string flag = argument.substr(0, equals);
    const std::string name = replaced(flag.substr(2), '-', '_');
    Option* option = find(name);
    bool on = true;
    if (!option && name.starts_with("no_")) {
      option = find(name.substr(3));
      if (option && !option->is_bool_) option = nullptr;
      on = false;
    }
    if (!option) unknown("option " + flag, flag, true);
    if (option->is_bool_) {
      ASHLAR_CHECK(equals == std::string::npos, flag, " is a switch and takes no value");
      option->assign(on, flag, Source::flag);
      continue;
    }
    std::string value;
    if (equals != std::string::npos) {
      value = argument.substr(equals + 1);
    } else {
      ASHLAR_CHECK(i + 1 < arguments.size() && !arguments[i + 1].starts_with("--"), flag, " needs a value (",
                   option->value_name_, "); one that begins with -- is given as ", flag, "=…");
      value = arguments[++i];
    }
    option->assign(option->is_text_ ? Json(value) : number_or_text(value), flag, Source::flag);
  }
}

void Options::read_config(const Json& config, const std::string& file, const std::string& prefix) {
  for (const auto& [key, value] : config.items()) {
    const std::string name = prefix + key;
    Option* option = find(name);
    if (option && option->in_config_) {
      option->configured_ = std::make_shared<Json>(value);
      if (option->source_ != Source::flag) option->assign(value, file + ": key '" + name + "'", Source::config);
      continue;
    }
    if (std::ranges::find(ignored_keys_, name) != ignored_keys_.end()) continue;
    const bool is_group = std::ranges::any_of(options_, [&](const Option& o) { return o.name_.starts_with(name + "."); });
    if (!is_group) unknown(file + ": key '" + name + "'", name, false);
    ASHLAR_CHECK(value.is_object(), file, ": key '", name, "': needs an object, got ", value.dump());
    read_config(value, file, name + ".");
  }
}

bool Options::parse(int argc, const char* const* argv) {
  read_flags({argv + std::min(argc, 1), argv + argc});
  if (help_) {
    // A pipe takes any width, and a narrow terminal wraps what would leave no room for the text.
    constexpr int kWide = 110, kNarrow = 60;
    const int columns = ::isatty(STDOUT_FILENO) ? std::clamp(terminal_columns(), kNarrow, kWide) : kWide;
    std::cout << help(static_cast<std::size_t>(columns)) << std::flush;
    return false;
  }
  if (version_) {
    std::cout << program_ << ": " << build_description() << '\n';
    return false;
  }
  for (const std::filesystem::path& path : {config_base_ ? config_base_() : std::filesystem::path(), config_}) {
    if (path.empty()) continue;
    const Json config = read_json(path);
    ASHLAR_CHECK(config.is_object(), path.string(), ": a config must be a JSON object");
    if (config_check_) config_check_(config, path.string());
    read_config(config, path.string(), "");
  }
  for (const auto& check : checks_) check();
  return true;
}

std::string Options::help(std::size_t columns) const {
  std::size_t width = 0;
  const auto left = [](const Option& o) { return "  " + o.flag() + (o.is_bool_ ? "" : " " + o.value_name_); };
  for (const Option& option : options_) width = std::max(width, left(option).size());
  const std::string others = positional_ ? " " + positional_name_ + "…" : "";
  std::string text = wrapped(program_ + ": ", summary_, columns) + "\nusage: " + program_ +
                     " [--option value | --option=value | --switch | --no-switch]…" + others + "\n\n";
  std::string heading;
  for (const Option& option : options_) {
    if (option.group_ != heading) text += "\n" + (heading = option.group_) + "\n";
    std::string start = left(option);
    start.resize(width + 2, ' ');
    text += wrapped(start, option.help_line(), columns);
  }
  text += "\nThe keys of a --config file are the options' names with _ for -";
  const auto dotted = std::ranges::find_if(
      options_, [](const Option& o) { return o.in_config_ && o.name_.find('.') != std::string::npos; });
  if (dotted == options_.end()) return text + ".\n";
  const std::size_t dot = dotted->name_.find('.');
  return concat(text, "; a name with a dot is a key inside an object:\n  {\"", dotted->name_.substr(0, dot), "\": {\"",
                dotted->name_.substr(dot + 1), "\": ", dotted->initial_->dump(), "}}\n");
}

OrderedJson Options::resolved() const {
  OrderedJson result = OrderedJson::object();
  for (const Option& option : options_) {
    if (!option.saved_) continue;
    OrderedJson* place = &result;
    std::string_view name = option.name_;
    for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.')) {
      place = &(*place)[std::string(name.substr(0, dot))];
      name.remove_prefix(dot + 1);
    }
    const Json value = option.get_();
    check_utf8(value, option.flag());
    (*place)[std::string(name)] = value;
  }
  return result;
}

}  // namespace ashlar::support
