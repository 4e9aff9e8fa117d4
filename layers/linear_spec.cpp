#include "layers/linear_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/text.h"
#include "layers/blast/blast.h"
#include "layers/block_diagonal/block_diagonal.h"
#include "layers/dense/dense.h"
#include "layers/low_rank/low_rank.h"
#include "layers/monarch/monarch.h"
#include "layers/ss1/ss1.h"

namespace ashlar {
namespace {

using Maker = std::unique_ptr<LinearMap> (*)(const Scope&, Dim in, Dim out, const LinearSpec&, const LinearOptions&);

// The kinds that a spec can name, and what each of them reads of it.
constexpr struct {
  std::string_view name, keys;
  Maker make;
} kKinds[] = {
    {"dense", "", &make_dense},
    {"low_rank", "rank, ratio", &make_low_rank},
    {"blast", "blocks, out_blocks, in_blocks, rank, ratio", &make_blast},
    {"monarch", "blocks, rank, ratio, interleaved", &make_monarch},
    {"ss1", "reduction, ratio, block, classes", &make_ss1},
    {"block_diagonal", "blocks, ratio, shuffle", &make_block_diagonal},
};
constexpr const char* kKeyOfAll = "init";

}  // namespace

LinearSpec::LinearSpec(std::string_view text, std::string_view path) : text_(text), path_(path) {
  const std::size_t colon = text.find(':');
  kind_ = text.substr(0, colon);
  if (colon == std::string_view::npos) return;
  std::string_view rest = text.substr(colon + 1);
  while (true) {
    const std::size_t comma = rest.find(',');
    const std::string_view pair = rest.substr(0, comma);
    const std::size_t equals = pair.find('=');
    ASHLAR_CHECK(equals != std::string_view::npos && equals > 0 && equals + 1 < pair.size(), "layer '", text_,
                 "': expected key=value after the colon, got '", pair, "'");
    const bool fresh = arguments_.emplace(pair.substr(0, equals), pair.substr(equals + 1)).second;
    ASHLAR_CHECK(fresh, "layer '", text_, "': ", pair.substr(0, equals), " is given twice");
    if (comma == std::string_view::npos) break;
    rest = rest.substr(comma + 1);
  }
}

const std::string& LinearSpec::value(std::string_view key) const {
  const auto found = arguments_.find(std::string(key));
  ASHLAR_CHECK(found != arguments_.end(), "layer '", text_, "': ", kind_, " needs ", key, "=…");
  return found->second;
}

std::string_view LinearSpec::one_of(std::string_view a, std::string_view b) const {
  const bool has_a = has(a), has_b = has(b);
  ASHLAR_CHECK(has_a || has_b, "layer '", text_, "': ", kind_, " needs ", a, "=… or ", b, "=…");
  ASHLAR_CHECK(!(has_a && has_b), "layer '", text_, "': ", kind_, " takes ", a, "=… or ", b, "=…, not both");
  return has_a ? a : b;
}

Dim LinearSpec::integer(std::string_view key) const {
  const std::string& text = value(key);
  const auto result = parse_number<Dim>(text);
  constexpr Dim kMost = std::numeric_limits<std::int32_t>::max();
  ASHLAR_CHECK(result && *result >= 1 && *result <= kMost, "layer '", text_, "': ", key,
               " must be a whole number of at least 1 and at most ", kMost, ", got '", text, "'");
  return *result;
}

bool LinearSpec::flag(std::string_view key) const {
  if (!has(key)) return false;
  const std::string& text = value(key);
  ASHLAR_CHECK(text == "0" || text == "1", "layer '", text_, "': ", key, " must be 0 or 1, got '", text, "'");
  return text == "1";
}

bool LinearSpec::authors_init() const {
  if (!has("init")) return false;
  const std::string& text = value("init");
  ASHLAR_CHECK(text == "authors" || text == "matched", "layer '", text_, "': init must be matched or authors, got '", text, "'");
  return text == "authors";
}

double LinearSpec::ratio() const {
  const std::string& text = value("ratio");
  const auto result = parse_number<double>(text);
  ASHLAR_CHECK(result && *result > 0 && *result <= 1, "layer '", text_, "': ratio must be above 0 and at most 1, got '", text,
               "'");
  return *result;
}

void LinearSpec::check_keys(const std::vector<std::string>& valid) const {
  for (const auto& [key, text] : arguments_) {
    ASHLAR_CHECK(std::ranges::find(valid, key) != valid.end(), "layer '", text_, "': ", kind_, " does not know '", key, "'; ",
                 did_you_mean(key, valid), "It takes ", join(valid));
  }
}

namespace {

// What to give in place of a ratio that is too small for the smallest size, with so many parameters, that there is.
std::string remedy_for_ratio(const std::string& smallest, double params, double dense) {
  const double ratio = params / dense;
  if (ratio > 1) return concat(smallest, " keeps ", ratio, " of them, and a ratio is at most 1; give sizes that fit by name");
  // Rounded up to the digits that are shown, so that it can be given.
  const double digits = std::pow(10.0, 5 - std::floor(std::log10(ratio)));
  return concat("the smallest possible ratio is ", std::ceil(ratio * digits) / digits, " (", smallest, ")");
}

}  // namespace

Dim rank_for_ratio(const LinearSpec& spec, double ratio, Dim in, Dim out, Dim params_per_rank, Dim step) {
  const double dense = static_cast<double>(in) * static_cast<double>(out);
  const Dim rank = static_cast<Dim>(ratio * dense / static_cast<double>(params_per_rank)) / step * step;
  ASHLAR_CHECK(rank >= step, "layer '", spec.text(), "' for ", spec.path(), " (", in, " -> ", out, "): no rank that is a ",
               "multiple of ", step, " keeps ", ratio, " of the dense parameters; ",
               remedy_for_ratio(concat("rank ", step), static_cast<double>(step) * static_cast<double>(params_per_rank), dense));
  return rank;
}

Dim size_for_ratio(const LinearSpec& spec, double ratio, Dim in, Dim out, Dim most, std::string_view what,
                   const std::function<Dim(Dim size)>& params) {
  const double dense = static_cast<double>(in) * static_cast<double>(out);
  Dim smallest = 1;
  for (Dim size = 1; size <= most; ++size) {
    if (static_cast<double>(params(size)) <= ratio * dense) return size;
    if (params(size) < params(smallest)) smallest = size;
  }
  throw InputError(concat("layer '", spec.text(), "' for ", spec.path(), " (", in, " -> ", out, "): no value of ", what,
                          " keeps ", ratio, " of the dense parameters; ",
                          remedy_for_ratio(concat(what, "=", smallest), static_cast<double>(params(smallest)), dense)));
}

std::string linear_kinds() {
  std::string text;
  for (const auto& [name, keys, make] : kKinds) text += concat(name, keys.empty() ? "" : ": ", keys, "; ");
  return concat(text, "all: ", kKeyOfAll);
}

std::unique_ptr<LinearMap> make_linear_map(const Scope& scope, Dim in, Dim out, std::string_view spec,
                                           const LinearOptions& options) {
  const LinearSpec parsed(spec, scope.path());
  std::vector<std::string> kinds;
  for (const auto& [name, keys, make] : kKinds) {
    kinds.emplace_back(name);
    if (name != parsed.kind()) continue;
    std::vector<std::string> valid = split(keys, ',');
    valid.emplace_back(kKeyOfAll);
    parsed.check_keys(valid);
    LinearOptions own = options;
    own.written = spec;
    own.authors_init = own.authors_init || parsed.authors_init();
    return make(scope, in, out, parsed, own);
  }
  throw InputError(concat("layer '", spec, "': unknown kind '", parsed.kind(), "'; ", did_you_mean(parsed.kind(), kinds),
                          "Valid: ", join(kinds)));
}

Linear::Linear(const Scope& scope, Dim in, Dim out, std::string_view spec, const LinearOptions& options)
    : map_(make_linear_map(scope, in, out, spec, options)) {}

}  // namespace ashlar
