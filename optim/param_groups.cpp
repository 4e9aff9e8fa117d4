#include "optim/param_groups.h"

#include <cmath>
#include <map>
#include <set>

#include "core/text.h"

namespace ashlar::optim {
namespace {

Role parse_role(const std::string& group, const std::string& text) {
  static const std::map<std::string, Role> roles{{"matrix", Role::matrix}, {"coupling", Role::coupling}, {"bias", Role::bias},
                                                 {"norm", Role::norm}, {"embedding", Role::embedding}};
  const auto found = roles.find(text);
  std::vector<std::string> names;
  for (const auto& [name, role] : roles) names.push_back(name);
  ASHLAR_CHECK(found != roles.end(), "groups: '", group, "': unknown role '", text, "'; ", did_you_mean(text, names),
               "Valid: ", join(names));
  return found->second;
}

double parse_rate(const std::string& group, const std::string& key, const std::string& text) {
  const auto value = parse_number<double>(text);
  ASHLAR_CHECK(value && std::isfinite(*value) && *value >= 0, "groups: '", group, "': ", key,
               " must be a number that is not negative, got '", text, "'");
  return *value;
}

Decay parse_decay_of(const std::string& group, const std::string& text) {
  try {
    return parse_decay(text);
  } catch (const InputError& error) {
    throw InputError(concat("groups: '", group, "': ", error.what()));
  }
}

GroupRule parse_group(const std::string& text) {
  GroupRule rule;
  rule.text = text;
  std::string pattern = "*";
  std::optional<Role> role;
  std::set<std::string> given;
  for (const std::string& part : split(text, ',')) {
    const auto equals = part.find('=');
    ASHLAR_CHECK(equals != std::string::npos, "groups: '", text, "': '", part, "' must be key=value");
    const std::string key(trimmed(part.substr(0, equals))), value(trimmed(part.substr(equals + 1)));
    ASHLAR_CHECK(given.insert(key).second, "groups: '", text, "': ", key, " is given twice; another group goes behind a ;");
    if (key == "name") pattern = value;
    else if (key == "role") role = parse_role(text, value);
    else if (key == "lr") rule.lr_factor = parse_rate(text, key, value);
    else if (key == "weight_decay") rule.weight_decay = parse_rate(text, key, value);
    else if (key == "decay") rule.decay = parse_decay_of(text, value);
    else
      throw InputError(concat("groups: '", text, "': unknown key '", key, "'; Valid: name, role, lr, weight_decay, decay"));
  }
  ASHLAR_CHECK(given.contains("name") || given.contains("role"), "groups: '", text, "' must say a name or a role");
  rule.match = [by_name = name_is(pattern), role](const Parameter& parameter) {
    return by_name(parameter) && (!role || parameter.info.role == *role);
  };
  return rule;
}

}  // namespace

std::vector<GroupRule> parse_groups(const std::string& text) {
  std::vector<GroupRule> rules;
  for (const std::string& group : split(text, ';')) rules.push_back(parse_group(group));
  return rules;
}

}  // namespace ashlar::optim
