#include "optim/param_groups.h"

#include "optim/make_optimizer.h"
#include "optim/sgd.h"
#include "tests/optim/support.h"

using namespace ashlar;
using namespace ashlar::optim;
using namespace ashlar::test;

TEST_CASE("groups are chosen by name and role; the first that fits sets rate, decay and schedule") {
  const Parameters parameters = make_parameters();
  const auto optimizer = make_optimizer(
      parameters, {.name = "sgd",
                   .settings = {{"lr", 0.5}, {"weight_decay", 0.25}},
                   .parameters = {.groups = parse_groups("name=*.U, lr=2 ; role=matrix,lr=0.5,weight_decay=0;"
                                                         "role=embedding,name=wte.*,weight_decay=0.125,decay=linear")}});
  const auto check = [&](const std::string& name, double lr, double weight_decay, std::optional<Decay> decay) {
    INFO(name);
    const Slot& slot = slot_of(*optimizer, name);
    REQUIRE(slot.lr == lr);
    REQUIRE(slot.weight_decay == weight_decay);
    REQUIRE(slot.decay == decay);
  };
  check("blocks.0.fc.U", 1, 0.25, std::nullopt);
  check("blocks.0.fc.weight", 0.25, 0, std::nullopt);
  check("wte.weight", 0.5, 0.125, Decay::linear);
  check("norm.weight", 0.5, 0, std::nullopt);
  REQUIRE(parse_groups(" ; ").empty());
}

TEST_CASE("a group's factor multiplies the rate that the optimizer gives to its kind of parameter") {
  const Parameters parameters = make_parameters();
  const auto optimizer = make_optimizer(parameters, {.name = "muon",
                                                     .settings = {{"lr", 0.5}, {"adamw_lr", 0.25}},
                                                     .parameters = {.groups = parse_groups("name=*,lr=0.5")}});
  REQUIRE(slot_of(*optimizer, "blocks.0.fc.weight").lr == 0.25);
  REQUIRE(slot_of(*optimizer, "norm.weight").lr == 0.125);
}

TEST_CASE("a step may have a factor for each parameter") {
  const Parameters parameters{make_parameter("a", {5}), make_parameter("b", {5})};
  const Array start = parameters[1].tensor.value().clone(), other = parameters[0].tensor.value().clone();
  SgdOptions options;
  options.groups = parse_groups("name=b,decay=constant");
  Sgd sgd(parameters, options);
  set_gradients(parameters, 0);
  sgd.step([](const Slot& slot) { return slot.decay == Decay::constant ? 0.0 : 1.0; }, 1);
  REQUIRE(bitwise_equal(parameters[1].tensor.value(), start));
  REQUIRE_FALSE(bitwise_equal(parameters[0].tensor.value(), other));
  REQUIRE_THROWS_WITH(sgd.step([](const Slot&) { return std::nan(""); }, 1), says("must be finite"));
}

TEST_CASE("what is wrong with a group is said") {
  const auto message = [](const std::string& text) { return message_of<InputError>([&] { parse_groups(text); }); };
  REQUIRE_THAT(message("role=norm,lr=1; name=a,rate=2"),
               says("groups: 'name=a,rate=2': unknown key 'rate'; Valid: name, role, lr, weight_decay, decay"));
  REQUIRE_THAT(message("role=matrices"), says("unknown role 'matrices'; did you mean 'matrix'? Valid: bias, coupling"));
  REQUIRE_THAT(message("name=a,name=b,lr=1"), says("groups: 'name=a,name=b,lr=1': name is given twice"));
  REQUIRE_THAT(message("role=norm,lr=inf"), says("lr must be a number that is not negative, got 'inf'"));
  REQUIRE_THAT(message("role=norm,lr=fast"), says("lr must be a number that is not negative, got 'fast'"));
  REQUIRE_THAT(message("role=norm,weight_decay=-1"), says("weight_decay must be a number that is not negative"));
  REQUIRE_THAT(message("role=norm,lr=nan"), says("got 'nan'"));
  REQUIRE_THAT(message("lr=2"), says("must say a name or a role"));
  REQUIRE_THAT(message("norm"), says("'norm' must be key=value"));
  REQUIRE_THAT(message("role=norm,decay=slow"), says("groups: 'role=norm,decay=slow': schedule: unknown decay 'slow'"));
  SgdOptions options;
  options.groups = parse_groups("name=block.*,lr=2");
  REQUIRE_THAT(message_of<InputError>([&] { Sgd(make_parameters(), options); }),
               says("groups: 'name=block.*,lr=2' fits no parameter"));
}
