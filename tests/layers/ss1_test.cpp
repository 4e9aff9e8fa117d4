#include "kernels/linalg/linalg.h"
#include "tests/support/linear_map_suite.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

const Parameter& weights(const Parameters& parameters) { return parameters.back(); }

// The sketch of the spec at scope seed 8, where matches_composite makes its layer, as a 0, 1, -1 matrix (H, G B, in).
Tensor sketch_matrix(const std::string& spec, Dim in, Dim out, Dim block) {
  const Linear twin(Scope::root(DType::f64, 8), in, out, spec, {.bias = false});
  const Array shift = twin.map().buffers()[0].value, sign = twin.map().buffers()[1].value;
  const Dim classes = shift.size(0), groups = shift.size(1), reduction = shift.size(2);
  const Array p = Array::zeros({classes, groups * block, in}, DType::f64);
  for (Dim entry = 0; entry < shift.numel(); ++entry) {
    const Dim chunk = entry % (groups * reduction), group = entry / reduction % groups;
    for (Dim k = 0; k < block; ++k) {
      const Dim column = chunk * block + (k + shift.data<std::int32_t>()[entry]) % block;
      const Dim row = entry / (groups * reduction) * groups * block + group * block + k;
      if (column < in) p.data<double>()[row * in + column] = sign.data<std::int32_t>()[entry];
    }
  }
  return p;
}

}  // namespace

TEST_CASE("ss1 satisfies the contract of linear maps, ragged sizes and random tables included") {
  const std::vector<SuiteCase> cases{{"ss1:reduction=1", 1, 1},
                                     {"ss1:reduction=2", 12, 6},
                                     {"ss1:reduction=4", 10, 7},
                                     {"ss1:reduction=3,block=2", 17, 9},
                                     {"ss1:reduction=4,block=16", 128, 5, {1, 3}},
                                     {"ss1:reduction=4,block=4,classes=3", 19, 8},
                                     {"ss1:reduction=2,classes=4", 12, 5}};
  linear_map_suite(cases, 1e-15);
  for (const SuiteCase& c : cases) repeats_on_all_threads(c);
  initial_variance_matches("ss1:reduction=4", 64, 96);
  initial_variance_matches("ss1:reduction=4,classes=4", 96, 64);
}

TEST_CASE("ss1 equals a product with sketches that are matrices") {
  const auto composite = [](const std::string& spec, Dim in, Dim out, Dim block, Dim classes) {
    const Tensor p = sketch_matrix(spec, in, out, block);
    return [=](const std::vector<Tensor>& factors, const Tensor& x, CountedProducts& products) {
      const Tensor u = F::matmul(F::reshape(x, {1, x.size(0), in}), F::transpose(p, 1, 2));  // (H, rows, G B)
      const Tensor z = F::reshape(factors[0], {classes, out / classes, p.size(1)});
      return F::reshape(F::permute(products.matmul(u, F::transpose(z, 1, 2)), {1, 0, 2}), {x.size(0), out});
    };
  };
  for (const auto& [spec, classes] : {std::pair<std::string, Dim>{"ss1:reduction=4,block=3", 1},
                                      {"ss1:reduction=4,block=3,classes=3", 3}}) {
    matches_composite(spec, 22, 6, composite(spec, 22, 6, 3, classes));
  }
}

TEST_CASE("ss1 is the released hash with its weights renamed: the worked example") {
  // n = 8, m = 4, c = 2, B = 4, VEC = 1, tiles of 2 outputs, (R0, R1, R2, R3) = (3, 1, 1, 0) and so
  // shift(tile, i) = (tile + 1 + 3 (i + 1)) mod 4. Our R0 = 45007 is 3 mod 4.
  const Dim in = 8, out = 4, block = 4;
  const Array released = Array::from(std::vector<double>{1, 2, 3, 4, 0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1}, {out, block});
  Linear layer(Scope::root(DType::f64), in, out, "ss1:reduction=2,block=4", {.bias = false});
  const Array z = weights(layer.map().parameters()).tensor.value();
  const auto renamed = [&](Dim row, Dim k) { return row * block + ((k - row / 2) % block + block) % block; };
  for (Dim row = 0; row < out; ++row) {
    for (Dim k = 0; k < block; ++k) z.data<double>()[row * block + k] = released.data<double>()[renamed(row, k)];
  }
  const Array w = Array::from(std::vector<double>{1, 2, 3, 4, 2, 3, 4, 1, 0, 1, 0, 0, 1, 0, 0, 0,  //
                                                  0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, {out, in});
  REQUIRE(bitwise_equal(layer.map().to_dense(), w));
  const Tensor x = Tensor::leaf(Array::from(std::vector<double>{1, 2, 3, 4, 5, 6, 7, 8}, {1, in}));
  const Tensor y = layer(x);
  REQUIRE(y.value().to_vector<double>() == std::vector<double>{94, 7, 7, 36});
  y.backward(Array::from(std::vector<double>{1, 2, -1, 3}, {1, out}));
  REQUIRE(x.grad().to_vector<double>() == std::vector<double>{4, 6, 6, 7, 6, 6, 7, 4});
  const Array dz = weights(layer.map().parameters()).tensor.grad();
  std::vector<double> released_dz(16);
  for (Dim row = 0; row < out; ++row) {
    for (Dim k = 0; k < block; ++k) released_dz[static_cast<std::size_t>(renamed(row, k))] = dz.data<double>()[row * block + k];
  }
  REQUIRE(released_dz == std::vector<double>{9, 7, 9, 11, 18, 14, 18, 22, -7, -9, -11, -9, 21, 27, 33, 27});
}

TEST_CASE("ss1 uses the rotations of the released kernels for their block sizes") {
  const Linear layer(Scope::root(), 256, 8, "ss1:reduction=8");
  const auto shift = layer.map().buffers()[0].value.to_vector<std::int32_t>();
  REQUIRE(shift == std::vector<std::int32_t>{0, 24, 16, 8, 0, 24, 16, 8});
  REQUIRE(Linear(Scope::root(), 768, 8, "ss1:reduction=4").map().spec() == "ss1:reduction=4,block=32");
}

TEST_CASE("ss1 projects a random matrix with a squared error of 1 - 1/c") {
  for (const std::string classes : {"", ",classes=4"}) {
    double previous = 0;
    for (const Dim c : {1, 2, 4, 8}) {
      const double error = projection_errors({concat("ss1:reduction=", c, classes)}, 512, 128)[0];
      INFO("reduction " << c << classes);
      REQUIRE(std::abs(error * error - (1 - 1.0 / static_cast<double>(c))) <= 0.02);
      REQUIRE(error >= previous);
      previous = error;
    }
  }
}

TEST_CASE("ss1 has full rank with random tables, and rank in / c with the released hash") {
  const auto singular_values = [](std::string_view spec) {
    return linalg::svd(Linear(Scope::root(DType::f64, 2), 32, 32, spec).map().to_dense()).s.to_vector<double>();
  };
  const auto shared = singular_values("ss1:reduction=4"), random = singular_values("ss1:reduction=4,classes=8");
  REQUIRE(shared[7] >= 1e-3 * shared[0]);
  REQUIRE(shared[8] <= 1e-12 * shared[0]);
  REQUIRE(random[31] >= 1e-4 * random[0]);
}

TEST_CASE("ss1 tables are buffers: loaded ones rule, whatever seed drew those of the layer") {
  Linear a(Scope::root(DType::f64, 1), 24, 10, "ss1:reduction=4,classes=2");
  Linear b(Scope::root(DType::f64, 2), 24, 10, "ss1:reduction=4,classes=2");
  REQUIRE(!bitwise_equal(a.map().buffers()[0].value, b.map().buffers()[0].value));
  for (std::size_t i = 0; i < 2; ++i) copy(a.map().buffers()[i].value, b.map().buffers()[i].value);
  copy(weights(a.map().parameters()).tensor.value(), weights(b.map().parameters()).tensor.value());
  REQUIRE(bitwise_equal(a.map().to_dense(), b.map().to_dense()));
  const Tensor x = randn({3, 24}, DType::f64, 4);
  REQUIRE(bitwise_equal(a(x).value(), b(x).value()));
  REQUIRE(a.map().buffers()[0].name == "shift");
  copy(Array::full(b.map().buffers()[0].value.shape(), 99, DType::i32), b.map().buffers()[0].value);
  REQUIRE_THROWS_WITH(b(x), says("the table has shift 99"));
  REQUIRE_THROWS_WITH(b.map().to_dense(), says("the table has shift 99"));
  copy(Array::full(b.map().buffers()[0].value.shape(), -1, DType::i32), b.map().buffers()[0].value);
  REQUIRE_THROWS_WITH(b.map().to_dense(), says("the table has shift -1"));
  REQUIRE_THROWS_WITH(b.map().project(a.map().to_dense()), says("the table has shift -1"));
  REQUIRE_THROWS_AS(b.map().project(a.map().to_dense()), InputError);
}

TEST_CASE("ss1: sizes by ratio, and errors that say what would fit") {
  const auto make = [](Dim in, Dim out, std::string_view spec) { return Linear(Scope::root(), in, out, spec).map().spec(); };
  REQUIRE(make(768, 96, "ss1:ratio=0.3") == "ss1:reduction=4,block=32");
  REQUIRE(make(200, 96, "ss1:reduction=4,classes=8") == "ss1:reduction=4,block=25,classes=8");
  REQUIRE_THROWS_WITH(make(8, 6, "ss1:reduction=9"), says("(8 -> 6): reduction must be from 1 to 8"));
  REQUIRE_THROWS_WITH(make(8, 6, "ss1:reduction=2,block=5"), says("block must be from 1 to 4"));
  REQUIRE_THROWS_WITH(make(8, 6, "ss1:reduction=2,classes=7"), says("classes must be from 1 to 6"));
  REQUIRE_THROWS_WITH(make(8, 6, "ss1:ratio=0.1"), says("smallest possible ratio is 0.125 (reduction=8)"));
  REQUIRE_THROWS_WITH(make(8, 6, "ss1:reduction=2,rank=3"), says("It takes reduction, ratio, block, classes, init"));
}
