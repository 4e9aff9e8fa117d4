// Specs of linear maps as text: "blast:blocks=6,rank=192".
#pragma once
#include <map>

#include "layers/linear_map.h"

namespace ashlar {

// The arguments of a spec, read by the layer that it names.
class LinearSpec {
 public:
  // InputError for a text that is not kind[:key=value,…]. `path`: of the layer, for errors that depend on its shape.
  LinearSpec(std::string_view text, std::string_view path);

  const std::string& kind() const { return kind_; }
  const std::string& text() const { return text_; }
  const std::string& path() const { return path_; }
  // InputError for a key that is none of these.
  void check_keys(const std::vector<std::string>& valid) const;
  bool has(std::string_view key) const { return arguments_.contains(std::string(key)); }
  // The one that is given of two keys that exclude each other; InputError for both and for none.
  std::string_view one_of(std::string_view a, std::string_view b) const;
  // A whole number from 1 to 2^31 - 1, so that products of two do not overflow; InputError if it is missing (unless there
  // is a fallback) or malformed.
  Dim integer(std::string_view key) const;
  Dim integer(std::string_view key, Dim fallback) const { return has(key) ? integer(key) : fallback; }
  // 0 or 1; 0 if it is missing.
  bool flag(std::string_view key) const;
  // "init=authors", which every kind takes; "init=matched" and nothing are the default.
  bool authors_init() const;
  // The fraction of the dense parameters to keep, in (0, 1].
  double ratio() const;

 private:
  const std::string& value(std::string_view key) const;
  std::string text_, path_, kind_;
  std::map<std::string, std::string> arguments_;
};

// The largest rank, a multiple of `step`, for which rank * params_per_rank is at most ratio * in * out. InputError naming
// the smallest possible ratio if there is none.
Dim rank_for_ratio(const LinearSpec& spec, double ratio, Dim in, Dim out, Dim params_per_rank, Dim step = 8);

// The smallest size from 1 to `most` (blocks, a reduction) for which params(size) is at most ratio * in * out. InputError
// naming the smallest possible ratio if there is none.
Dim size_for_ratio(const LinearSpec& spec, double ratio, Dim in, Dim out, Dim most, std::string_view what,
                   const std::function<Dim(Dim size)>& params);

// "dense; low_rank: rank, ratio; …": the kinds and the keys that each takes, for --help.
std::string linear_kinds();

std::unique_ptr<LinearMap> make_linear_map(const Scope& scope, Dim in, Dim out, std::string_view spec,
                                           const LinearOptions& options);

}  // namespace ashlar
