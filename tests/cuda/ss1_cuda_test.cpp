// SS1's sketches on a GPU against the CPU: by themselves, and inside the products.
#include "kernels/ss1/ss1.h"

#include "tests/cuda/support.h"
#include "tests/support/environment.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("sketches", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    // H 2, G 3, c 2, B 4 on 22 of 24 features
    const Array x = randn({9, 22}, dtype, 1), du = randn({2, 9, 12}, dtype, 2);
    const Array shift = random_ids({2, 3, 2}, 4, 3);
    std::vector<std::int32_t> signs = random_ids({12}, 2, 4).to_vector<std::int32_t>();
    for (auto& sign : signs) sign = 2 * sign - 1;
    same_on_gpu({x, du, shift, Array::from(signs, {2, 3, 2})}, {nan_like(du), nan_like(x)}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::ss1_sketch(exec, in[0], in[2], in[3], out[0]);
                  kernels::ss1_sketch_backward(exec, in[1], in[2], in[3], out[1]);
                });
  }
}

TEST_CASE("sketches inside the products, and apart", "[cuda]") {
  if (!has_gpu()) return;
  const std::string fused = GENERATE("on", "off");
  const EnvironmentVariable set("ASHLAR_FUSED", fused);
  struct Case {
    Dim rows, features, outputs, reduction, block;
    std::uint32_t step;  // shifts are multiples of it
  };
  const std::vector<Case> cases{{70, 128, 320, 2, 32, 8}, {257, 376, 136, 8, 16, 1}, {1, 184, 72, 4, 24, 8},
                                {300, 768, 256, 4, 32, 8}, {5, 1600, 72, 2, 32, 8}};  // the last with sketches too wide to fuse
  for (const Case& c : cases) {
    INFO("rows " << c.rows << " features " << c.features << ", fused: " << fused);
    const Shape table{1, (c.features + c.reduction * c.block - 1) / (c.reduction * c.block), c.reduction};
    std::vector<std::int32_t> shifts = random_ids(table, static_cast<std::uint32_t>(c.block) / c.step, 1).to_vector<std::int32_t>();
    std::vector<std::int32_t> signs = random_ids(table, 2, 2).to_vector<std::int32_t>();
    for (auto& shift : shifts) shift *= static_cast<std::int32_t>(c.step);
    for (auto& sign : signs) sign = 2 * sign - 1;
    const Array x = randn({c.rows, c.features}, DType::bf16, 3), dy = randn({c.rows, c.outputs}, DType::bf16, 4);
    const Array z = randn({c.outputs, table[1] * c.block}, DType::f32, 5), bias = randn({c.outputs}, DType::f32, 6);
    const Array u = randn({1, c.rows, z.size(1)}, DType::bf16, 7);
    same_on_gpu({x, dy, z, bias, Array::from(shifts, table), Array::from(signs, table)},
                {nan_like(u), nan_like(dy), nan_like(dy), nan_like(x), nan_like(z), nan_like(bias), nan_like(x), nan_like(z)},
                gpu_tolerance(DType::bf16), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::ss1_forward(exec, in[0], in[4], in[5], in[2], in[3], out[0], out[1]);
                  kernels::ss1_forward(exec, in[0], in[4], in[5], in[2], {}, {}, out[2]);
                  kernels::ss1_backward(exec, in[1], {}, out[0], in[4], in[5], in[2], out[3], out[4], out[5]);
                  kernels::ss1_backward(exec, in[1], in[0], {}, in[4], in[5], in[2], out[6], out[7], {});
                });
  }
}

// With so many rows a block has several tiles of the columns, one after the other.
TEST_CASE("sketches inside the products of many rows", "[cuda]") {
  if (!has_gpu()) return;
  const EnvironmentVariable set("ASHLAR_FUSED", "on");
  constexpr Dim kRows = 5700, kOutputs = 264;
  const Array x = randn({kRows, 24}, DType::bf16, 1), z = randn({kOutputs, 16}, DType::f32, 2);
  const Array shift = random_ids({1, 2, 2}, 8, 3), sign = Array::full({1, 2, 2}, -1, DType::i32);
  const Array bias = randn({kOutputs}, DType::f32, 4), y = Array::full({kRows, kOutputs}, NAN, DType::bf16);
  same_on_gpu({x, shift, sign, z, bias}, {y}, gpu_tolerance(DType::bf16),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                kernels::ss1_forward(exec, in[0], in[1], in[2], in[3], in[4], {}, out[0]);
              });
}
