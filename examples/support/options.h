// Options of a program. One declaration gives the flag of the command line, the key of the JSON config, the help text
// and the default:
//
//   double lr = 1e-3;
//   Options options("train_vit", "Trains a vision transformer on images.");
//   options.add("eval_every", every, "evaluate every N steps").at_least(1);    // --eval-every N, "eval_every": N
//   options.add("linear.qkv", qkv, "weights of …").value_name("SPEC");         // --linear.qkv SPEC, "linear": {"qkv": …}
//   if (!options.parse(argc, argv)) return;                                    // --help was asked for and printed
//
// A flag wins over the config, the config over the default. An empty path means "not given": a config may say it where it is the
// default, a flag may not. Everything wrong is an InputError that names the flag, or the file and the key, with the nearest
// valid one.
#pragma once
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"

namespace ashlar::support {

enum class Source : std::uint8_t { default_value, config, flag };

class Option {
 public:
  // Limits of a number; the texts a text may be.
  Option& at_least(double limit);
  Option& more_than(double limit);
  Option& at_most(double limit);
  Option& choices(std::vector<std::string> texts);
  // What stands for the value in --help: N, X, DIR, SPEC, …
  Option& value_name(std::string text);
  // Belongs to this call of the program, not to the run: no key in configs, not among resolved().
  Option& flag_only();
  // A shorthand for other options: a key of configs, but resolved() tells what it stood for instead.
  Option& shorthand();

 private:
  friend class Options;
  void assign(const Json& value, const std::string& where, Source source);
  void check_limits(const Json& value, const std::string& where) const;
  std::string flag() const;
  std::string help_line() const;  // help text with choices and default

  std::string name_, help_, value_name_, group_;
  std::vector<std::string> choices_;
  std::optional<double> at_least_, more_than_, at_most_;
  bool in_config_ = true, saved_ = true, is_bool_ = false, is_text_ = false, is_path_ = false;
  Source source_ = Source::default_value;
  std::string where_;  // what gave the value: the flag, or file and key
  std::shared_ptr<const Json> initial_, configured_;
  std::function<void(const Json&, const std::string& where)> set_;
  std::function<Json()> get_;
};

class Options {
 public:
  Options(std::string program, std::string summary);
  Options(const Options&) = delete;  // options point to the caller's variables
  Options& operator=(const Options&) = delete;

  // T is bool, int, std::int64_t, std::uint64_t, double, std::string, std::filesystem::path, or a std::optional of
  // std::int64_t or double. The variable holds the default and must live as long as the Options. A bool becomes a switch,
  // --name and --no-name.
  template <class T>
  Option& add(std::string name, T& value, std::string help);
  // Takes the arguments that are no options, which are errors without it, and all that follow a "--". `name` stands for one
  // of them in --help.
  void positional(std::string name, std::vector<std::string>& values) {
    positional_name_ = std::move(name);
    positional_ = &values;
  }
  // The heading in --help of the options that follow.
  void group(std::string heading) { group_ = std::move(heading); }
  // Runs after everything is read: checks that concern several options.
  void then(std::function<void()> check) { checks_.push_back(std::move(check)); }
  // A config that is read before that of --config, which wins over it; asked for after the flags are read, empty for none.
  void config_base(std::function<std::filesystem::path()> path) { config_base_ = std::move(path); }

  // Looks at a config, with the name of its file, before its keys are read.
  void config_check(std::function<void(const Json& config, const std::string& file)> check) {
    config_check_ = std::move(check);
  }
  const std::string& program() const { return program_; }
  const std::filesystem::path& config_file() const { return config_; }  // of --config

  // Keys of configs that belong to other programs reading the same file, and are passed over: those that `example` has.
  void ignored_keys(const OrderedJson& example);

  // False after printing the help. --config FILE and --help are always there.
  bool parse(int argc, const char* const* argv);

  Source source(std::string_view name) const { return declared(name).source_; }
  bool given(std::string_view name) const { return source(name) != Source::default_value; }  // by a flag or a config
  // What gave the value, for errors: the flag, or a config's file and key.
  const std::string& where(std::string_view name) const { return declared(name).where_; }
  // What the config says, also where a flag wins; null if it says nothing.
  const Json* configured(std::string_view name) const { return declared(name).configured_.get(); }
  std::string help(std::size_t columns = 110) const;
  // All values that belong to the run, as a config that reproduces it. InputError for a text that JSON cannot hold.
  OrderedJson resolved() const;

 private:
  Option* find(std::string_view name);
  const Option& declared(std::string_view name) const;
  void read_flags(const std::vector<std::string>& arguments);
  void read_config(const Json& config, const std::string& file, const std::string& prefix);
  [[noreturn]] void unknown(const std::string& what, const std::string& given, bool flag) const;

  std::string program_, summary_, group_, positional_name_;
  std::vector<std::string>* positional_ = nullptr;
  std::deque<Option> options_;  // references to its elements stay valid
  std::vector<std::function<void()>> checks_;
  std::vector<std::string> ignored_keys_;
  std::function<std::filesystem::path()> config_base_;
  std::function<void(const Json&, const std::string&)> config_check_;
  std::filesystem::path config_;
  bool help_ = false, version_ = false;
};

}  // namespace ashlar::support
