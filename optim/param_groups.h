// Parameter groups as configs and command lines write them:
//   "name=blocks.*.mlp.*,lr=0.5; role=embedding,weight_decay=0.1,decay=constant"
// Groups stand between semicolons. `name` is a pattern (name_is), `role` one of matrix, coupling, bias, norm and
// embedding; a parameter is in the first group that both fit. `lr` multiplies its learning rate, `weight_decay`
// replaces its own whatever its role, `decay` replaces the run's schedule.
#pragma once
#include "optim/optimizer.h"

namespace ashlar::optim {

// InputError naming the group for an unknown key or role, a bad number, or a group without name and role.
std::vector<GroupRule> parse_groups(const std::string& text);

}  // namespace ashlar::optim
