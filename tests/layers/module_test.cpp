#include "layers/module.h"

#include "kernels/matmul/matmul.h"
#include "layers/transformer.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct Pair : Module {
  Pair(const Scope& scope, std::string_view first, std::string_view second)
      : Module(scope), a(sub("a"), 8, 4, first), b(sub("b"), 4, 2, second), drop(sub("drop"), 0.5) {}
  Linear a, b;
  Dropout drop;
};

struct Named : Module {
  Named(const Scope& scope, std::string_view first, std::string_view second)
      : Module(scope), one(sub(first), 0.5), other(sub(second), 0.5) {}
  Dropout one, other;
};

}  // namespace

TEST_CASE("parameters have dotted names in the order of their making, with what optimizers must know") {
  Pair pair(Scope::root(), "dense", "blast:blocks=2,rank=2");
  std::vector<std::string> names;
  for (const Parameter& p : pair.parameters()) names.push_back(p.name);
  REQUIRE(names == std::vector<std::string>{"a.bias", "a.weight", "b.bias", "b.U", "b.V", "b.S"});
  const Parameters all = pair.parameters();
  REQUIRE(all[0].info.role == Role::bias);
  REQUIRE(all[3].info.batch_dims == 1);
  REQUIRE(all[5].info.role == Role::coupling);
}

TEST_CASE("replacing one layer leaves every other weight bit-identical; the seed changes all") {
  Pair dense(Scope::root(DType::f32, 7), "dense", "dense"), mixed(Scope::root(DType::f32, 7), "low_rank:rank=2", "dense");
  Pair other(Scope::root(DType::f32, 8), "dense", "dense");
  REQUIRE(bitwise_equal(dense.b.map().to_dense(), mixed.b.map().to_dense()));
  REQUIRE_FALSE(bitwise_equal(dense.b.map().to_dense(), other.b.map().to_dense()));
  REQUIRE_FALSE(bitwise_equal(dense.a.map().to_dense(), other.a.map().to_dense()));
}

TEST_CASE("two layers of one shape begin with different values, and drop different ones") {
  struct Twins : Module {
    explicit Twins(const Scope& s)
        : Module(s), a(sub("a"), 8, 8, "low_rank:rank=8"), b(sub("b"), 8, 8, "low_rank:rank=8"), x(sub("x"), 0.5), y(sub("y"), 0.5) {}
    Linear a, b;
    Dropout x, y;
  } twins(Scope::root(DType::f32, 7)), other(Scope::root(DType::f32, 8));
  const Parameters a = twins.a.map().parameters(), b = twins.b.map().parameters();
  REQUIRE((a.size() == 3 && a[1].name == "a.U" && a[2].name == "a.V"));
  for (const std::size_t i : {1u, 2u}) REQUIRE_FALSE(bitwise_equal(a[i].tensor.value(), b[i].tensor.value()));
  REQUIRE_FALSE(bitwise_equal(a[1].tensor.value(), a[2].tensor.value()));  // both (8, 8)
  twins.train(3);
  other.train(3);
  const Tensor ones = Array::full({64}, 1.0);
  REQUIRE_FALSE(bitwise_equal(twins.x(ones).value(), twins.y(ones).value()));
  REQUIRE_FALSE(bitwise_equal(twins.x(ones).value(), other.x(ones).value()));
}

TEST_CASE("names must be new, and without dots") {
  REQUIRE_THROWS_WITH(Named(Scope::root(), "x", "x"), "the root module: the name 'x' is taken");
  REQUIRE_THROWS_WITH(Named(Scope::root(), "x.y", "z"), says("dot"));
  REQUIRE_THROWS_WITH(Named(Scope::root(), "", "z"), says("empty"));
  REQUIRE_THROWS_WITH(Scope::root(DType::i32), says("scope: activations need a floating dtype, got i32"));
}

TEST_CASE("a parent forgets a child that is gone, one that its constructor left too, and outlives or precedes it") {
  struct Owner : Module {
    using Module::Module;
    std::unique_ptr<Linear> make(std::string_view spec) { return std::make_unique<Linear>(sub("x"), 8, 4, spec); }
  };
  auto owner = std::make_unique<Owner>(Scope::root());
  REQUIRE_THROWS_AS(owner->make("blast:blocks=9,rank=2"), InputError);  // within the constructor of the map
  REQUIRE_THROWS_AS(owner->make("blast:blocks"), InputError);           // before there is one
  owner->train(1);
  auto child = owner->make("dense");
  REQUIRE(owner->parameters().size() == 2);
  child.reset();
  REQUIRE(owner->parameters().empty());
  child = owner->make("low_rank:rank=2");
  REQUIRE(owner->parameters().size() == 3);
  owner.reset();
  REQUIRE(child->map().parameters().size() == 3);
}

TEST_CASE("what is to be loaded begins as zeros, below a module too") {
  const Pair pair(Scope::root(DType::f32, 7).for_loading(), "dense", "blast:blocks=2,rank=2");
  for (const Parameter& p : pair.parameters()) {
    INFO(p.name);
    REQUIRE(all_equal(p.tensor.value(), 0));
  }
}

TEST_CASE("a frozen layer computes the same of weights in the dtype of activations, and is not trained") {
  for (const char* spec : {"dense", "low_rank:rank=8", "blast:blocks=4,rank=8", "blast:out_blocks=3,in_blocks=5,rank=9",
                           "monarch:blocks=4", "block_diagonal:blocks=4,shuffle=1", "ss1:reduction=4"}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const Dim rows : {1, 40, 300}) {
        INFO(spec << " " << dtype << " rows " << rows);
        Linear layer(Scope::root(dtype, 7), 64, 48, spec);
        const Tensor x = randn({rows, 64}, dtype, 1);
        const Array expected = [&] {
          const NoGrad no_grad;
          return layer(x).value();
        }();
        layer.map().freeze();
        CHECK(layer.map().to_dense().dtype() == DType::f32);
        const Tensor y = layer(x);
        CHECK(relative_error(y.value(), expected) <= (dtype == DType::bf16 ? 4e-3 : 0));
        CHECK_FALSE(y.requires_grad());
        const bool narrow = dtype == DType::bf16 && kernels::multiplies_bf16({});
        for (const Parameter& p : layer.map().parameters()) {
          INFO(p.name);
          CHECK((p.tensor.dtype() == DType::bf16) == (narrow && p.info.role == Role::matrix));
        }
      }
    }
  }
}

TEST_CASE("freezing takes matrices and embeddings to the dtype of activations, and no other weights") {
  struct OfEachRole : Module {
    explicit OfEachRole(const Scope& scope) : Module(scope) {
      for (const Role role : {Role::matrix, Role::coupling, Role::bias, Role::norm, Role::embedding}) {
        param(concat("role", static_cast<int>(role)), {4, 4}, init::normal(1), {.role = role});
      }
    }
  };
  for (const DType dtype : {DType::f32, DType::bf16}) {
    OfEachRole module(Scope::root(dtype));
    module.freeze();
    const bool narrow = dtype == DType::bf16 && kernels::multiplies_bf16({});
    REQUIRE(module.parameters().size() == 5);
    for (const Parameter& p : module.parameters()) {
      INFO(dtype << " " << p.name);
      const bool weights = p.info.role == Role::matrix || p.info.role == Role::embedding;
      CHECK(p.tensor.dtype() == (narrow && weights ? DType::bf16 : DType::f32));
    }
  }
}

TEST_CASE("dropout acts in training only, and its mask is a function of the step") {
  Pair pair(Scope::root(), "dense", "dense");
  const Tensor x = Array::full({64}, 1.0);
  REQUIRE(bitwise_equal(pair.drop(x).value(), x.value()));
  pair.train(3);
  const Array first = pair.drop(x).value();
  REQUIRE_FALSE(bitwise_equal(first, x.value()));
  REQUIRE(bitwise_equal(pair.drop(x).value(), first));
  pair.train(4);
  REQUIRE_FALSE(bitwise_equal(pair.drop(x).value(), first));
  pair.eval();
  REQUIRE(bitwise_equal(pair.drop(x).value(), x.value()));
}

TEST_CASE("initial values have the asked-for spread and do not depend on threads") {
  const auto draw = [](const Init& init) {
    Array a = Array::empty({40001}, DType::f32);  // several threads' worth
    init(a, 99);
    return a;
  };
  const auto spread = [](const Array& a) {
    double sum = 0, largest = 0;
    for (const double v : a.to_vector<double>()) sum += v * v, largest = std::max(largest, std::abs(v));
    return std::pair(std::sqrt(sum / static_cast<double>(a.numel())), largest);
  };
  REQUIRE(spread(draw(init::normal(0.5))).first == Approx(0.5).epsilon(0.02));
  const auto [std, largest] = spread(draw(init::truncated_normal(0.5)));
  REQUIRE(std == Approx(0.5).epsilon(0.02));
  REQUIRE(largest <= 1.14);
  // What is drawn again is not a neighbour's number.
  const auto values = draw(init::truncated_normal(0.5)).to_vector<double>();
  for (std::size_t i = 2; i < values.size(); ++i) REQUIRE(values[i] != values[i - 2]);
  REQUIRE(spread(draw(init::uniform(1.0))).first == Approx(1 / std::sqrt(3.0)).epsilon(0.02));
  for (const Init& init : {init::normal(1.0), init::truncated_normal(1.0), init::uniform(1.0)}) {
    REQUIRE(same_on_all_threads([&] { return draw(init); }));
  }
}
