// An environment variable that is set for as long as an object lives; then it is as before.
#pragma once
#include <cstdlib>
#include <optional>
#include <string>

namespace ashlar::test {

class EnvironmentVariable {
 public:
  EnvironmentVariable(const char* name, const std::string& value) : name_(name) {
    if (const char* const set = std::getenv(name)) before_ = set;
    setenv(name, value.c_str(), 1);
  }
  ~EnvironmentVariable() {
    if (before_) setenv(name_, before_->c_str(), 1);
    else unsetenv(name_);
  }
  EnvironmentVariable(const EnvironmentVariable&) = delete;
  EnvironmentVariable& operator=(const EnvironmentVariable&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

}  // namespace ashlar::test
