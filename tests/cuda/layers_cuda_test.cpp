// Layers on a GPU against the CPU: same seed, same weights.
#include "layers/linear_spec.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct MapCase {
  const char* spec;
  Dim in, out;
};
const std::vector<MapCase> kMaps{{"dense", 40, 56},
                                 {"low_rank:rank=8", 40, 56},
                                 {"low_rank:rank=24", 96, 48},
                                 {"blast:blocks=4,rank=16", 64, 96},
                                 {"blast:out_blocks=3,in_blocks=5,rank=9", 37, 50},
                                 // With the coupling fused into the products in bf16: each of its tiles, ragged.
                                 {"blast:out_blocks=10,in_blocks=9,rank=40", 136, 240},
                                 {"blast:out_blocks=8,in_blocks=7,rank=64", 224, 320},
                                 {"blast:blocks=6,rank=88", 192, 384},
                                 {"blast:out_blocks=4,in_blocks=3,rank=120", 120, 160},
                                 {"blast:out_blocks=4,in_blocks=2,rank=136", 176, 160},
                                 // Not fused, because there are too many features for the values of the rank.
                                 {"blast:out_blocks=4,in_blocks=1,rank=136", 1200, 160},
                                 // More blocks than the coupling holds in registers.
                                 {"blast:out_blocks=2,in_blocks=18,rank=8", 144, 64},
                                 {"monarch:blocks=4", 64, 96},
                                 {"monarch:blocks=4,rank=20", 37, 50},
                                 {"monarch:blocks=4,interleaved=1", 64, 96},
                                 {"block_diagonal:blocks=4", 64, 96},
                                 {"block_diagonal:blocks=4,shuffle=1", 37, 50},
                                 {"ss1:reduction=4", 64, 96},
                                 {"ss1:reduction=4,classes=3", 50, 37},
                                 {"ss1:reduction=2,block=16,classes=3", 128, 96},
                                 // In vectors in bf16, with the sketch in the products where that pays: ragged, shifts
                                 // by vectors and without.
                                 {"ss1:reduction=2", 128, 320},
                                 {"ss1:reduction=8,block=16", 376, 136},
                                 {"ss1:reduction=4,block=24,classes=1", 184, 72}};

struct Passed {
  Array y, dx;
  std::vector<std::pair<std::string, Array>> gradients;
};
Passed pass(Linear& layer, const Array& x, const Array& dy) {
  const Tensor input = Tensor::leaf(x);
  const Tensor y = layer(input);
  y.backward(dy);
  Passed result{y.value().to(Device{}), input.grad().to(Device{}), {}};
  for (const Parameter& p : layer.map().parameters()) {
    result.gradients.emplace_back(p.name, p.tensor.grad().to(Device{}));
    p.tensor.zero_grad();
  }
  return result;
}

}  // namespace

TEST_CASE("linear maps, forward and backward", "[cuda]") {
  if (!has_gpu()) return;
  for (const MapCase& c : kMaps) {
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      Linear here(Scope::root(dtype, 3), c.in, c.out, c.spec), there(Scope::root(dtype, 3, kGpu), c.in, c.out, c.spec);
      CHECK(bitwise_equal(here.map().to_dense(), there.map().to_dense()));
      for (const Dim rows : {1, 70, 257}) {
        INFO(c.spec << " " << dtype << " rows " << rows);
        const Array x = randn({rows, c.in}, dtype, 1), dy = randn({rows, c.out}, dtype, 2);
        const Passed expected = pass(here, x, dy), got = pass(there, x.to(kGpu), dy.to(kGpu)),
                     again = pass(there, x.to(kGpu), dy.to(kGpu));
        const double tolerance = gpu_tolerance(dtype);
        CHECK(difference(got.y, expected.y) <= tolerance);
        CHECK(difference(got.dx, expected.dx) <= tolerance);
        CHECK(bitwise_equal(got.dx, again.dx));
        for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
          INFO(expected.gradients[i].first);
          CHECK(difference(got.gradients[i].second, expected.gradients[i].second) <= tolerance);
          CHECK(bitwise_equal(got.gradients[i].second, again.gradients[i].second));
        }
      }
      there.map().freeze();
      const Array x = randn({70, c.in}, dtype, 1);
      CHECK(difference(there(x.to(kGpu)).value().to(Device{}), here(x).value()) <= gpu_tolerance(dtype));
    }
  }
}

TEST_CASE("ids and targets in host memory are checked before a GPU gets them", "[cuda]") {
  if (!has_gpu()) return;
  const Array table = randn({5, 4}, DType::f32, 1), ids = Array::from(std::vector<std::int32_t>{3, 0, 4}, {3});
  const Array there = table.to(kGpu), bad = Array::from(std::vector<std::int32_t>{0, 1, 5}, {3});
  CHECK(bitwise_equal(F::embedding(there, ids, DType::f32).value().to(Device{}), F::embedding(table, ids, DType::f32).value()));
  for (const Array& weights : {table, there}) {
    CHECK_THROWS_WITH(F::embedding(weights, bad, DType::f32), "embedding_forward: id 5 at position 2 is outside [0, 5)");
    CHECK_THROWS_WITH(F::linear_cross_entropy(weights.slice(0, 0, 3), weights, {.target = bad}),
                      "cross_entropy: target 5 of row 2 is outside [-1, 5)");
  }
}
