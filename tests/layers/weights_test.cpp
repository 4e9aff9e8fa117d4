#include "layers/weights.h"

#include <limits>

#include "layers/transformer.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct Net : Module {
  Net(const Scope& scope, Dim hidden, const char* spec)
      : Module(scope), fc1(sub("fc1"), 16, hidden, spec), norm(sub("norm"), hidden, 1e-5),
        fc2(sub("fc2"), hidden, 4), counts(buffer("counts", Array::from(std::vector<std::int32_t>{1, 2}, {2}), [](const Array& v) {
          ASHLAR_CHECK(v.to_vector<std::int32_t>()[0] > 0, "counts: must be positive");
        })) {}
  Linear fc1;
  LayerNorm norm;
  Linear fc2;
  Array counts;
};

NamedArrays values_of(const Module& module) {
  NamedArrays values;
  for (const auto& [name, value] : export_weights(module, as_it_is)) {
    values.emplace_back(name, empty_like(value));
    copy(value, values.back().second);
  }
  return values;
}

void require_same(const NamedArrays& a, const NamedArrays& b) {
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].first);
    REQUIRE(a[i].first == b[i].first);
    REQUIRE(bitwise_equal(a[i].second, b[i].second));
  }
}

}  // namespace

TEST_CASE("weights and buffers come back from a file bit for bit, for every structure") {
  const TemporaryFolder folder;
  for (const char* spec : {"dense", "low_rank:rank=4", "monarch:blocks=2", "blast:blocks=2,rank=4", "ss1:reduction=2",
                           "block_diagonal:blocks=2"}) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
      INFO(spec << " " << dtype);
      const Net saved(Scope::root(dtype, 1), 8, spec);
      fill(saved.counts, 7);
      save_weights(folder / "net.safetensors", saved);
      const Net loaded(Scope::root(dtype, 2).for_loading(), 8, spec);
      load_weights(folder / "net.safetensors", loaded);
      require_same(values_of(loaded), values_of(saved));
      REQUIRE(loaded.counts.to_vector<std::int32_t>() == std::vector<std::int32_t>{7, 7});
    }
  }
}

TEST_CASE("a part of a model has a file of its own") {
  const TemporaryFolder folder;
  const Net saved(Scope::root(DType::f32, 1), 8, "dense"), other(Scope::root(DType::f32, 2), 8, "dense");
  save_weights(folder / "fc1.safetensors", saved.fc1.map());
  REQUIRE(SafetensorsFile(folder / "fc1.safetensors").entries().contains("fc1.weight"));
  load_weights(folder / "fc1.safetensors", other.fc1.map());
  require_same(values_of(other.fc1.map()), values_of(saved.fc1.map()));
  REQUIRE_FALSE(bitwise_equal(other.fc2.map().to_dense(), saved.fc2.map().to_dense()));
}

TEST_CASE("a file of another model, or with values that a buffer refuses, changes nothing") {
  const TemporaryFolder folder;
  const Net model(Scope::root(DType::f32, 1), 8, "dense");
  const NamedArrays before = values_of(model);
  const auto path = folder / "net.safetensors";
  save_weights(path, Net(Scope::root(DType::f32, 2), 12, "dense"));
  REQUIRE_THROWS_WITH(load_weights(path, model), says("net.safetensors") && says("of another shape: ") && says("fc1.weight"));
  save_weights(path, Net(Scope::root(DType::f32, 2), 8, "low_rank:rank=4"));
  REQUIRE_THROWS_WITH(load_weights(path, model), says("missing: fc1.weight") && says("unexpected: "));
  const Net zero(Scope::root(DType::f32, 2), 8, "dense");
  fill(zero.counts, 0);
  save_weights(path, zero);
  REQUIRE_THROWS_WITH(load_weights(path, model), says("net.safetensors: counts: ") && says("must be positive"));
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    const Net diverged(Scope::root(DType::f32, 2), 8, "dense");
    fill(diverged.fc2.map().parameters()[0].tensor.value().slice(0, 3, 4), value);
    save_weights(path, diverged);
    REQUIRE_THROWS_WITH(load_weights(path, model), says("net.safetensors: fc2.bias has a value that is not finite"));
  }
  REQUIRE_THROWS_WITH(load_weights(folder / "none.safetensors", model), says("none.safetensors"));
  require_same(values_of(model), before);
}
