#include "layers/convert.h"

#include "layers/transformer.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;
using ashlar::test::contains;
using ashlar::test::error_of;

namespace {

BlockConfig block(const BlockSpecs& specs, Dim width = 24) {
  return {.width = width, .heads = 2, .hidden = 48, .std = 0.2, .residual_std = 0.2, .specs = specs};
}

// With biases and norms that differ from their start.
void randomise(const Module& model, std::uint64_t key) {
  for (const Parameter& p : model.parameters()) {
    copy(randn(p.tensor.shape(), p.tensor.dtype(), key_of(key, p.name)), p.tensor.value());
  }
}

const BlockSpecs kFull{"low_rank:rank=24", "blast:blocks=2,rank=24", "low_rank:rank=24", "dense"};

}  // namespace

TEST_CASE("a model converted to a structure that loses nothing computes the same") {
  Block dense(Scope::root(DType::f64, 1), block({})), structured(Scope::root(DType::f64, 2), block(kFull));
  randomise(dense, 3);
  const Tensor x = randn({2, 5, 24}, DType::f64, 4);
  const Array before = dense(x).value();
  std::vector<std::size_t> seen;
  const auto projections = convert(dense, structured, [&](const Projection&, std::size_t index, std::size_t count) {
    seen.push_back(index);
    REQUIRE(count == 4);
  });
  REQUIRE(seen == std::vector<std::size_t>{0, 1, 2, 3});
  for (const Projection& p : projections) {
    INFO(p.path << " " << p.new_spec);
    REQUIRE(p.old_spec == "dense");
    REQUIRE(p.error <= (p.new_spec.starts_with("blast") ? 1e-2 : 1e-12));
  }
  REQUIRE(bitwise_equal(dense(x).value(), before));
  REQUIRE(relative_error(structured(x).value(), before) <= 1e-2);
  // And back, exactly the matrix that the structure stands for.
  Block again(Scope::root(DType::f64, 5), block({}));
  for (const Projection& p : convert(structured, again)) REQUIRE(p.error <= 1e-14);
  REQUIRE(relative_error(again(x).value(), structured(x).value()) <= 1e-12);
}

TEST_CASE("the error of a model is that of all its matrices together") {
  Block dense(Scope::root(DType::f64, 1), block({})), structured(Scope::root(DType::f64, 2), block({"low_rank:rank=4", "dense", "dense", "low_rank:rank=8"}));
  randomise(dense, 3);
  const auto projections = convert(dense, structured);
  double error = 0, norm = 0;
  for (const Projection& p : projections) {
    REQUIRE((p.error > 0) == p.new_spec.starts_with("low_rank"));
    error += p.error * p.error * p.norm * p.norm;
    norm += p.norm * p.norm;
  }
  REQUIRE(std::abs(total_error(projections) - std::sqrt(error / norm)) <= 1e-12);
  REQUIRE(total_error(projections) > 0.1);
}

TEST_CASE("maps whose spec stays are copied bit for bit, whatever seed drew the tables of the new model") {
  const BlockSpecs specs{"ss1:reduction=4,classes=2", "blast:blocks=2,rank=6", "dense", "ss1:reduction=2"};
  BlockSpecs changed = specs;
  changed.fc1 = "low_rank:rank=4";
  Block from(Scope::root(DType::f64, 1), block(specs)), to(Scope::root(DType::f64, 2), block(changed));
  randomise(from, 3);
  const auto before = linear_maps(from), after = linear_maps(to);
  for (const Projection& p : convert(from, to)) {
    INFO(p.path << " " << p.new_spec);
    REQUIRE((p.error > 0.1) == (p.path == "mlp.fc1"));
    REQUIRE(p.weighted_error == p.error);
    REQUIRE(p.norm > 0);
    if (p.path == "mlp.fc1") continue;
    REQUIRE(bitwise_equal(after.at(p.path)->to_dense(), before.at(p.path)->to_dense()));
    const Parameters old_factors = before.at(p.path)->parameters(), new_factors = after.at(p.path)->parameters();
    for (std::size_t i = 0; i < old_factors.size(); ++i) {
      REQUIRE(bitwise_equal(new_factors[i].tensor.value(), old_factors[i].tensor.value()));
    }
  }
}

TEST_CASE("tables of maps stay with their kind") {
  Block dense(Scope::root(DType::f64, 1), block({})), hashed(Scope::root(DType::f64, 2), block({.fc1 = "ss1:reduction=2"}));
  REQUIRE(total_error(convert(dense, hashed)) > 0.1);
  REQUIRE(total_error(convert(hashed, dense)) <= 1e-14);
  REQUIRE(total_error({}) == 0);
}

TEST_CASE("buffers of modules that are no linear maps are copied too") {
  struct Counting : Module {
    Counting(const Scope& scope, std::string_view spec, Dim in, float count)
        : Module(scope), fc(sub("fc"), in, 6, spec), counts(buffer("counts", Array::full({2}, count))) {}
    Linear fc;
    Array counts;
  };
  Counting from(Scope::root(), "dense", 8, 3), to(Scope::root(), "low_rank:rank=6", 8, 0);
  convert(from, to);
  REQUIRE(all_equal(to.counts, 3));
  // Nothing is changed where something does not fit.
  Counting wide(Scope::root(), "dense", 9, 0);
  REQUIRE(contains(error_of([&] { convert(from, wide); }), "convert: fc is (6, 8) in the old model and (6, 9) in the new one"));
  REQUIRE(all_equal(wide.counts, 0));
}

TEST_CASE("models that do not correspond are refused") {
  Block dense(Scope::root(DType::f64, 1), block({})), wide(Scope::root(DType::f64, 1), block({}, 32));
  REQUIRE(contains(error_of([&] { convert(dense, wide); }), "in the old model and"));
  LayerNorm norm(Scope::root(DType::f64, 1), 24, 1e-5);
  REQUIRE(contains(error_of([&] { convert(dense, norm); }), "the new model has no linear map"));
  REQUIRE(contains(error_of([&] { convert(norm, dense); }), "the old model has no linear map"));
}

TEST_CASE("a matrix that is not finite is named") {
  Block dense(Scope::root(DType::f64, 1), block({})), structured(Scope::root(DType::f64, 2), block(kFull));
  for (const Parameter& p : dense.parameters()) {
    if (p.name == "mlp.fc1.weight") p.tensor.value().data<double>()[7] = std::nan("");
  }
  REQUIRE(contains(error_of([&] { convert(dense, structured); }), "project mlp.fc1: the dense matrix has a value"));
  Block copied(Scope::root(DType::f64, 3), block({}));
  REQUIRE(contains(error_of([&] { convert(dense, copied); }), "convert mlp.fc1: the matrix has a value that is not finite"));
}
