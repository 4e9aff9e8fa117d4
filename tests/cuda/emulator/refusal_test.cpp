// Products that cuBLASLt finds algorithms for and then refuses, as it has been seen to (pytorch/pytorch#91436, #92201).
#include "kernels/matmul/matmul.h"
#include "tests/cuda/emulator/cublaslt.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct Refusal {
  explicit Refusal(emulated::Refuses what) { emulated::refuses = what; }
  ~Refusal() { emulated::refuses = emulated::Refuses::nothing; }
  Refusal(const Refusal&) = delete;
  Refusal& operator=(const Refusal&) = delete;
};

// A plain product, one with a bias, one with GELU besides, and one with the sums of rows; of `rows` rows, so that each test has
// plans of its own.
void compare_products(Dim rows, emulated::Refuses what) {
  const Array x = randn({rows, 48}, DType::bf16, 1), w = randn({56, 48}, DType::f32, 2), bias = randn({56}, DType::f32, 3),
              dy = randn({rows, 56}, DType::bf16, 4), y = Array::full({rows, 56}, NAN, DType::bf16);
  const auto products = [](const Exec& exec, const Arrays& in, const Arrays& out) {
    const Array columns = in[1].transpose(0, 1);
    kernels::matmul(exec, in[0], columns, out[0], {.bias = in[2]});
    kernels::matmul(exec, in[0], columns, out[1], {.bias = in[2], .gelu = kernels::Gelu::tanh, .pre_activation = out[2]});
    kernels::matmul(exec, in[3].transpose(0, 1), in[0], out[3], {.row_sums = out[4]});
    kernels::matmul(exec, in[0], columns, out[5], {});
  };
  const Arrays results{y, y, y, Array::full({56, 48}, NAN), Array::full({56}, NAN), y};
  {
    const Refusal refusal(what);
    same_on_gpu({x, w, bias, dy}, results, gpu_tolerance(DType::bf16), products);
  }
  same_on_gpu({x, w, bias, dy}, results, gpu_tolerance(DType::bf16), products);
}

}  // namespace

// The products that a gradient of weights, batches of 3 of K rows each, was carried out by, with the sums of rows of its first
// operand; compared with the CPU's.
emulated::Products gradient_products(Dim k, emulated::Narrow what) {
  const Array dy = randn({3, k, 24}, DType::bf16, 1), x = randn({3, k, 16}, DType::bf16, 2);
  emulated::narrow = what;
  emulated::products = {};
  same_on_gpu({dy, x}, {Array::full({3, 24, 16}, NAN), Array::full({3, 24}, NAN)}, gpu_tolerance(DType::bf16),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                kernels::matmul(exec, in[0].transpose(1, 2), in[1], out[0], {.row_sums = out[1]});
              });
  emulated::narrow = emulated::Narrow::nothing;
  return {emulated::products.all / 2, emulated::products.with_sums / 2};  // it ran twice
}

TEST_CASE("sums of rows are left out of a long product that they would keep on a part of the device", "[emulator]") {
  const auto wide = gradient_products(4096, emulated::Narrow::nothing);
  REQUIRE((wide.all == 1 && wide.with_sums == 1));
  const auto narrow = gradient_products(4160, emulated::Narrow::sums);
  REQUIRE((narrow.all == 1 && narrow.with_sums == 0));
  const auto brief = gradient_products(1024, emulated::Narrow::sums);
  REQUIRE((brief.all == 1 && brief.with_sums == 1));
}

TEST_CASE("a batch of long products that would leave the device idle is carried out one by one", "[emulator]") {
  const auto narrow = gradient_products(4224, emulated::Narrow::batches);
  REQUIRE((narrow.all == 3 && narrow.with_sums == 3));
  const auto brief = gradient_products(1088, emulated::Narrow::batches);
  REQUIRE((brief.all == 1 && brief.with_sums == 1));
}

TEST_CASE("an algorithm that splits what would lose its end is passed over", "[emulator]") {
  constexpr Dim kRows = 64 * 70 + 8;  // no whole tiles, and a plan of its own
  const Array a = Array::full({kRows, 24}, 1, DType::bf16, kGpu), b = Array::full({kRows, 16}, 1, DType::bf16, kGpu);
  const Array y = Array::full({24, 16}, NAN, DType::f32, kGpu);
  emulated::ignores_schemes = true;
  kernels::matmul(y.exec(), a.transpose(0, 1), b, y, {});
  emulated::ignores_schemes = false;
  REQUIRE(all_equal(y.to(Device{}), static_cast<double>(kRows)));
}

TEST_CASE("what the library refuses at last is taken apart, for ever", "[emulator]") {
  compare_products(37, emulated::Refuses::epilogues);
}

TEST_CASE("a product that the library refuses with one algorithm is carried out with the next", "[emulator]") {
  compare_products(39, emulated::Refuses::first_algorithm);
}
