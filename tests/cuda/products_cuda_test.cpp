// Products, and what is fused with them, on a GPU against the CPU: small and ragged shapes, every dtype that both take.
#include "autograd/ops.h"
#include "kernels/blast/blast.h"
#include "kernels/gelu/gelu.h"
#include "kernels/matmul/matmul.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("products of any layout", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const DType master = master_dtype(dtype);
    for (const auto& [m, k, n] : {std::array<Dim, 3>{1, 1, 1}, {64, 48, 80}, {33, 17, 65}, {130, 768, 96}, {5, 3, 50257}}) {
      INFO(dtype << " " << m << " x " << k << " x " << n);
      const Array a = randn({m, k}, dtype, 1), at = randn({k, m}, dtype, 2), b = randn({k, n}, master, 3),
                  bt = randn({n, k}, dtype, 4), bias = randn({n}, master, 5), y = randn({m, n}, dtype, 6), wide = randn({m, n}, master, 7);
      same_on_gpu({a, at, b, bt, bias}, {nan_like(y), nan_like(y), y, wide, randn({n, m}, master, 8)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::matmul(exec, in[0], in[2], out[0], {});
                    kernels::matmul(exec, in[0], in[3].transpose(0, 1), out[1], {.bias = in[4]});
                    kernels::matmul(exec, in[1].transpose(0, 1), in[2], out[2], {.accumulate = true});
                    kernels::matmul(exec, in[0], in[2], out[3], {.bias = in[4], .accumulate = true});
                    kernels::matmul(exec, in[0], in[2], out[4].transpose(0, 1), {});
                  });
    }
    const Array a = randn({3, 2, 20, 12}, dtype, 1), b = randn({2, 12, 24}, dtype, 2), y = randn({3, 2, 20, 24}, dtype, 3);
    same_on_gpu({a, b}, {nan_like(y), nan_like(y)}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::matmul(exec, in[0], in[1], out[0], {});
                  kernels::matmul(exec, in[0], in[1].select(0, 1), out[1], {});
                });
    // A result that is narrower than the operands, also accumulated, or by columns with a bias; sums of rows beside an empty one.
    const Array left = randn({20, 12}, master, 4), right = randn({12, 24}, master, 5), bias = randn({24}, master, 8);
    const Array narrow = randn({20, 24}, dtype, 6), sums = Array::full({20}, NAN, master);
    same_on_gpu({left, right, bias}, {narrow, narrow, Array::zeros({20, 0}, master), sums, randn({24, 20}, master, 3)},
                gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::matmul(exec, in[0], in[1], out[0], {});
                  kernels::matmul(exec, in[0], in[1], out[1], {.accumulate = true});
                  kernels::matmul(exec, in[0], in[1].slice(1, 0, 0), out[2], {.row_sums = out[3]});
                  kernels::matmul(exec, in[0], in[1], out[4].transpose(0, 1), {.bias = in[2]});
                });
    // They are not rounded to the dtype of the product.
    same_on_gpu({left, randn({12, 24}, dtype, 7)}, {sums}, gpu_tolerance(master),
                [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::matmul(exec, in[0], in[1], Array::empty({20, 24}, master, exec.device), {.row_sums = out[0]});
                });
    const Arrays nothing{randn({4, 0}, dtype, 1), randn({0, 5}, dtype, 2), randn({5}, master, 3)};
    same_on_gpu(nothing, {nan_like(randn({4, 5}, dtype, 4))}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::matmul(exec, in[0], in[1], out[0], {.bias = in[2]});
                });
  }
}

TEST_CASE("gradients of sums of products, whose cotangent is one value repeated", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    INFO(dtype);
    const Array x = randn({3, 7, 40}, dtype, 1), weight = randn({24, 40}, master_dtype(dtype), 2),
                bias = randn({24}, master_dtype(dtype), 3), b = randn({40, 24}, dtype, 4);
    const auto gradients = [&](Device device) {
      Arrays result;
      const auto leaf = [&](const Array& a) { return Tensor::leaf(device == a.device() ? a : a.to(device)); };
      const Tensor xs = leaf(x), w = leaf(weight), c = leaf(bias), left = leaf(x), right = leaf(b);
      F::sum(F::linear(xs, w, c)).backward();
      F::sum(F::matmul(left, right)).backward();
      for (const Tensor& t : {xs, w, c, left, right}) result.push_back(t.grad().to(Device{}));
      return result;
    };
    const Arrays expected = gradients(Device{}), got = gradients(kGpu);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      INFO("gradient " << i);
      CHECK(difference(got[i], expected[i]) <= gpu_tolerance(dtype));
    }
  }
}

// What is repeated along a matrix dimension, as rows or columns, in one product or a batch.
TEST_CASE("products of operands that are repeated along any dimension", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    INFO(dtype);
    const Array a = randn({3, 12, 20}, dtype, 1), b = randn({3, 20, 16}, dtype, 2), row = randn({20}, dtype, 3),
                column = randn({20, 1}, dtype, 4), y = randn({3, 12, 16}, dtype, 5), sums = randn({12}, master_dtype(dtype), 6);
    const Array matrix = y.select(0, 0).as_contiguous();
    same_on_gpu({a, b, row, column}, {nan_like(y), nan_like(y), nan_like(y), nan_like(matrix), nan_like(sums)},
                gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  const Array rows = in[2].expand({3, 12, 20}), columns = in[3].expand({3, 20, 16});
                  kernels::matmul(exec, rows, in[1], out[0], {});
                  kernels::matmul(exec, in[0], columns, out[1], {});
                  kernels::matmul(exec, rows, columns, out[2], {});
                  const Array value = in[3].slice(0, 0, 1).expand({12, 20});
                  kernels::matmul(exec, value, in[1].select(0, 0), out[3], {.row_sums = out[4]});
                });
  }
}

// What a library may split among blocks, as in the gradients of weights: all rows count, also those beyond whole tiles.
TEST_CASE("a long inner dimension is summed to its end", "[cuda]") {
  if (!has_gpu()) return;
  for (const Dim k : {Dim{8648}, Dim{11528}, Dim{21320}, Dim{64 * 135}, Dim{64 * 181}}) {  // with parts of tiles of 64 and 128
    for (const auto& [m, n] : {std::pair<Dim, Dim>{1, 8}, {32, 32}, {128, 128}}) {
      INFO(m << " x " << k << " x " << n);
      const Array a = Array::full({k, m}, 1, DType::bf16, kGpu), b = Array::full({k, n}, 1, DType::bf16, kGpu);
      const Array y = Array::full({m, n}, NAN, DType::f32, kGpu);
      kernels::matmul(y.exec(), a.transpose(0, 1), b, y, {});
      CHECK(all_equal(y.to(Device{}), static_cast<double>(k)));
    }
  }
}

TEST_CASE("products that end in GELU, or in its derivative", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    // Widths that the library's epilogue takes, one that it does not (65), and an empty sum.
    for (const auto& [m, k, n] : {std::array<Dim, 3>{1, 8, 8}, {33, 48, 80}, {130, 768, 96}, {33, 17, 65}, {4, 0, 16}}) {
      INFO(dtype << " " << m << " x " << k << " x " << n);
      const Array x = randn({m, k}, dtype, 1), w = randn({n, k}, master_dtype(dtype), 2),
                  bias = randn({n}, master_dtype(dtype), 3), y = Array::full({m, n}, NAN, dtype);
      same_on_gpu({x, w, bias}, Arrays(6, y), gpu_tolerance(dtype), [](const Exec& exec, const auto& in, const auto& out) {
        const Array b = in[1].transpose(0, 1);
        kernels::matmul(exec, in[0], b, out[0], {.bias = in[2], .gelu = kernels::Gelu::tanh, .pre_activation = out[1]});
        kernels::matmul(exec, in[0], b, out[2], {.gelu = kernels::Gelu::tanh, .pre_activation = out[3]});
        kernels::matmul(exec, in[0], b, out[4], {.bias = in[2], .gelu = kernels::Gelu::tanh});
        kernels::matmul(exec, in[0], b, out[5], {.bias = in[2], .gelu = kernels::Gelu::erf});
      });
      const Array z = randn({m + 1, n}, dtype, 4);
      // The last one lies where the epilogue does not take it, unless n values are a multiple of 16 bytes.
      same_on_gpu({x, w, z}, Arrays(3, y), gpu_tolerance(dtype), [m = m](const Exec& exec, const auto& in, const auto& out) {
        const Array b = in[1].transpose(0, 1), at = in[2].slice(0, 0, m);
        kernels::matmul(exec, in[0], b, out[0], {.gelu = kernels::Gelu::tanh, .gelu_at = at});
        kernels::matmul(exec, in[0], b, out[1], {.gelu = kernels::Gelu::erf, .gelu_at = at});
        kernels::matmul(exec, in[0], b, out[2], {.gelu = kernels::Gelu::tanh, .gelu_at = in[2].slice(0, 1, m + 1)});
      });
    }
  }
}

TEST_CASE("products with the sums of rows beside them", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rows : {1, 70, 300}) {
      for (const bool accumulate : {false, true}) {
        INFO(dtype << " rows " << rows << " accumulate " << accumulate);
        const Array dy = randn({rows, 72}, dtype, 1), x = randn({rows, 40}, dtype, 2);
        const DType master = master_dtype(dtype);
        same_on_gpu({dy, x}, {randn({72, 40}, master, 3), Array::full({72}, NAN, master)}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::matmul(exec, in[0].transpose(0, 1), in[1], out[0],
                                      {.accumulate = accumulate, .row_sums = out[1]});
                    });
        // A result by columns, and one that is not in the dtype of the sums.
        same_on_gpu({dy, x}, {randn({40, 72}, master, 3), Array::full({72}, NAN, master)}, gpu_tolerance(dtype),
                    [](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::matmul(exec, in[0].transpose(0, 1), in[1], out[0].transpose(0, 1), {.row_sums = out[1]});
                    });
        same_on_gpu({dy, x}, {randn({72, 40}, dtype, 3), Array::full({72}, NAN, master)}, gpu_tolerance(dtype),
                    [](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::matmul(exec, in[0].transpose(0, 1), in[1], out[0], {.row_sums = out[1]});
                    });
        // Sums that lie anywhere.
        same_on_gpu({dy, x}, {randn({72, 40}, master, 3), Array::full({77}, 0, master)}, gpu_tolerance(dtype),
                    [](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::matmul(exec, in[0].transpose(0, 1), in[1], out[0], {.row_sums = out[1].slice(0, 5, 77)});
                    });
      }
    }
  }
}

TEST_CASE("products of a batch with a bias, or sums of rows, for each", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto& [batch, m, k, n] : {std::array<Dim, 4>{3, 33, 48, 80}, {1, 4, 8, 16}, {4, 5, 7, 9}, {2, 6, 0, 8}}) {
      INFO(dtype << " " << batch << " of " << m << " x " << k << " x " << n);
      const DType master = master_dtype(dtype);
      const Array a = randn({batch, m, k}, dtype, 1), b = randn({batch, k, n}, dtype, 2);
      const Array biases = randn({batch, 1, n}, master, 3);
      same_on_gpu({a, b, biases}, Arrays(2, randn({batch, m, n}, dtype, 4)), gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::matmul(exec, in[0], in[1], out[0], {.bias = in[2]});
                    kernels::matmul(exec, in[0], in[1], out[1], {.bias = in[2], .accumulate = true});
                  });
      // Sums for a of each product, and of one a for all; of the second they lie apart.
      same_on_gpu({a, b}, {Array::full({batch, m, n}, NAN, master), Array::full({batch, m}, NAN, master),
                           Array::full({batch, m + 3}, 0, master)},
                  gpu_tolerance(dtype), [m = m](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::matmul(exec, in[0], in[1], out[0], {.row_sums = out[1]});
                    kernels::matmul(exec, in[0].slice(0, 0, 1), in[1], out[0], {.row_sums = out[2].slice(1, 0, m)});
                  });
    }
  }
}

TEST_CASE("what a low-rank or BLAST forward keeps is what the backward would compute", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 70, kIn = 48, kOut = 64, kBlocks = 2;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rank : {16, 9}) {  // in bf16 with the coupling fused, and not
      INFO(dtype << " rank " << rank);
      const auto factor = [&](const Shape& shape, std::uint64_t key) { return randn(shape, master_dtype(dtype), key).to(kGpu); };
      const Array x = randn({kRows, kIn}, dtype, 1).to(kGpu), dy = randn({kRows, kOut}, dtype, 2).to(kGpu);
      const Array u = factor({kBlocks, kOut / kBlocks, rank}, 3), v = factor({kBlocks, kIn / kBlocks, rank}, 4);
      const Array s = factor({kBlocks, kBlocks, rank}, 5), left = factor({1, kOut, rank}, 6), right = factor({1, kIn, rank}, 7);
      const auto blast = [&](const Array& kept) {
        const Arrays got{empty_like(dy), empty_like(x), empty_like(u), empty_like(v), empty_like(s)};
        kernels::blast_forward(x.exec(), x, u, v, s, {}, kept.defined() ? View(kept) : View{}, got[0]);
        kernels::blast_backward(x.exec(), dy, x, kept, u, v, s, got[1], got[2], got[3], got[4], {});
        return got;
      };
      const auto low_rank = [&](const Array& z) {
        const Arrays got{empty_like(dy), empty_like(x), empty_like(left), empty_like(right)};
        kernels::blast_forward(x.exec(), x, left, right, {}, {}, z.defined() ? View(z) : View{}, got[0]);
        kernels::blast_backward(x.exec(), dy, x, z, left, right, {}, got[1], got[2], got[3], {}, {});
        return got;
      };
      const Shape shape = kernels::blast_kept_shape(kGpu, kRows, kBlocks, kBlocks, rank);
      for (const auto& [kept, without] : {std::pair{blast(Array::full(shape, NAN, dtype, kGpu)), blast({})},
                                          {low_rank(Array::full({kRows, 1, rank}, NAN, dtype, kGpu)), low_rank({})}}) {
        for (std::size_t i = 0; i < kept.size(); ++i) {
          INFO("result " << i);
          CHECK(difference(kept[i].to(Device{}), without[i].to(Device{})) <= gpu_tolerance(dtype));
        }
      }
    }
  }
}

TEST_CASE("BLAST of more rows than a grid has blocks for", "[cuda][large]") {
  if (!has_gpu()) return;
  const Array x = randn({(1 << 21) + 3, 1}, DType::f32, 1), one = Array::full({1, 1, 1}, 1), s = Array::full({1, 1, 1}, 3);
  same_on_gpu({x, one, s}, {nan_like(x)}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
    kernels::blast_forward(exec, in[0], in[1], in[1], in[2], {}, {}, out[0]);
  });
}
