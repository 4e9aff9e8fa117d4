// Every slot on a GPU against the CPU, on small and ragged shapes, in every dtype that both take.
#include "core/determinism.h"
#include "kernels/blast/blast.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/low_rank/low_rank.h"
#include "kernels/matmul/matmul.h"
#include "kernels/normalize/normalize.h"
#include "kernels/reduce/reduce.h"
#include "kernels/update/update.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("copies, casts and fills of any layout", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType from : kFloating) {
    for (const DType to : kFloating) {
      INFO(from << " to " << to);
      const Array x = randn({5, 33, 7}, from, 1);
      same_on_gpu({x}, {Array::zeros({5, 33, 7}, to), Array::zeros({7, 33, 5}, to)}, 0,
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::cast(exec, in[0], out[0]);
                    kernels::cast(exec, in[0], out[1].transpose(0, 2));
                  });
    }
  }
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8}) {
    same_on_gpu({}, {Array::zeros({9, 5}, dtype), Array::zeros({9, 5}, dtype)}, 0,
                [](const Exec& exec, const Arrays&, const Arrays& out) {
                  kernels::fill(exec, out[0], 3);
                  kernels::fill(exec, out[1].slice(1, 1, 4), 2);
                });
  }
  const Array there = randn({300, 17}, DType::f32, 2).to(kGpu);
  CHECK(bitwise_equal(there.to(Device{}), randn({300, 17}, DType::f32, 2)));
  CHECK(bitwise_equal(there.transpose(0, 1).to(Device{}), randn({300, 17}, DType::f32, 2).transpose(0, 1)));
  CHECK(there.select(0, 0).slice(0, 3, 4).item() == randn({300, 17}, DType::f32, 2).to_vector<double>()[3]);
}

TEST_CASE("copies, fills and sums of rows of any length", "[cuda]") {
  if (!has_gpu()) return;
  // Around the sizes of vectors and of blocks; in packs where rows are multiples of them, and one value further where not.
  for (const Dim columns : {1, 2, 3, 4, 8, 16, 17, 64, 100, 255, 256, 257, 1024, 2100}) {
    for (const DType from : {DType::f64, DType::f32, DType::bf16, DType::i32, DType::u8}) {
      for (const DType to : {DType::f32, DType::bf16, DType::u8}) {
        INFO(columns << " columns, " << from << " to " << to);
        const Array x = random_ids({5, 3, 2, columns + 16}, 200, 1).to(from);
        const Array wide = Array::zeros({3, 5, 2, columns + 16}, to);
        same_on_gpu({x}, {Array::zeros({3, 5, 2, columns}, to), wide, wide}, 0,
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      const Array source = in[0].transpose(0, 1);
                      copy(source.slice(3, 16, columns + 16), out[0]);
                      copy(source.slice(3, 1, columns + 1), out[1].slice(3, 16, columns + 16));
                      kernels::fill(exec, out[2].slice(3, 0, columns), 3);
                    });
      }
    }
    const Array x = randn({9, 7, columns}, DType::f32, 2), row = randn({7, 1}, DType::f32, 3);
    same_on_gpu({x, row}, {nan_like(x)}, 0, [=](const Exec& exec, const Arrays& in, const Arrays& out) {
      kernels::linear_combination(exec, in[0], 1, in[1].expand(in[0].shape()), 1, out[0]);
    });
  }
  // More rows than a grid is high.
  const Array many = random_ids({(1 << 15) + 3, 130}, 200, 1).to(DType::u8);
  same_on_gpu({many}, {many}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
    kernels::fill(exec, out[0].slice(1, 0, 1), 7);
    copy(in[0].slice(1, 0, 129), out[0].slice(1, 1, 130));
  });
}

TEST_CASE("elementwise operations", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim size : {Dim{1}, Dim{1000}, Dim{4099}}) {
      INFO(dtype << " " << size);
      const Array a = randn({3, size}, dtype, 1), b = randn({3, size}, dtype, 2), row = randn({size}, dtype, 3);
      same_on_gpu({a, b, row}, {nan_like(a), nan_like(a), nan_like(a), nan_like(a)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::linear_combination(exec, in[0], 2.5, in[1], -1, out[0]);
                    kernels::multiply(exec, in[0], in[2].expand(in[0].shape()), out[1]);
                    kernels::scale(exec, in[0], 0.3, out[2]);
                    kernels::linear_combination(exec, in[0], 1, in[2].expand(in[0].shape()), 3, out[3]);
                  });
    }
  }
}

TEST_CASE("gelu", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
      const Array x = randn({7, 301}, dtype, 1), dy = randn({7, 301}, dtype, 2);
      same_on_gpu({x, dy}, {nan_like(x), nan_like(x)}, gpu_tolerance(dtype),
                  [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::gelu_forward(exec, in[0], kind, out[0]);
                    kernels::gelu_backward(exec, in[0], in[1], kind, out[1]);
                  });
    }
  }
}

TEST_CASE("gelu in bf16 is right to the last bit but one", "[cuda]") {
  if (!has_gpu()) return;
  std::vector<double> values;
  for (int i = -1024; i <= 1024; ++i) values.push_back(i / 128.0);
  const Array x = Array::from(values, {static_cast<Dim>(values.size())}), ones = Array::full(x.shape(), 1, DType::f64);
  const Array narrow = x.to(DType::bf16).to(kGpu), dy = ones.to(DType::bf16).to(kGpu), y = empty_like(narrow), dx = empty_like(narrow);
  for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
    const Array exact = narrow.to(Device{}).to(DType::f64), expected = empty_like(x), slope = empty_like(x);
    kernels::gelu_forward({}, exact, kind, expected);
    kernels::gelu_backward({}, exact, ones, kind, slope);
    kernels::gelu_forward(narrow.exec(), narrow, kind, y);
    kernels::gelu_backward(narrow.exec(), narrow, dy, kind, dx);
    for (const auto& [got, right] : {std::pair{y.to_vector<double>(), expected.to_vector<double>()},
                                     {dx.to_vector<double>(), slope.to_vector<double>()}}) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        INFO("x " << values[i]);
        REQUIRE(std::abs(got[i] - right[i]) <= 0x1p-8 * 1.1 * std::abs(right[i]) + 1e-6);
      }
    }
  }
}

TEST_CASE("dropout draws the same masks", "[cuda]") {
  if (!has_gpu()) return;
  for (const auto& [dtype, columns] : {std::pair{DType::f64, 257}, {DType::f32, 257}, {DType::bf16, 257}, {DType::bf16, 264},
                                       {DType::f32, 260}}) {
    const Array x = randn({13, columns}, dtype, 1);  // in vectors, where rows are whole ones
    const Array later = Array::full({1}, 12, DType::i64);
    same_on_gpu({x, later}, {nan_like(x), nan_like(x), nan_like(x)}, 1e-7, [](const Exec& exec, const Arrays& in, const Arrays& out) {
      const kernels::DropMask mask{0.3, 0x123456789abcdefULL, 77}, delayed{0.3, 0x123456789abcdefULL, 65, in[1]};
      kernels::dropout(exec, in[0], mask, out[0]);
      kernels::drop_path(exec, in[0], delayed, out[1]);
      kernels::dropout(exec, in[0], delayed, out[2]);
    });
  }
}

TEST_CASE("layer norm", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto& [rows, columns] : {std::pair<Dim, Dim>{1, 5}, {70, 384}, {1030, 96}, {40, 768}, {9, 1000}, {33, 3072}}) {
      INFO(dtype << " " << rows << " x " << columns);
      const DType master = master_dtype(dtype);
      const Shape shape{rows, columns};
      const Array x = randn(shape, dtype, 1), dy = randn(shape, dtype, 2), w = randn({columns}, master, 3),
                  b = randn({columns}, master, 4), add = randn(shape, dtype, 5), row = Array::zeros({rows}, master);
      const Arrays results{nan_like(x), nan_like(row), nan_like(row), nan_like(x), nan_like(w), nan_like(w), nan_like(x),
                           nan_like(x), nan_like(x), nan_like(row), nan_like(row), x, nan_like(x)};
      same_on_gpu({x, dy, w, b, add}, results, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::layer_norm_forward(exec, in[0], {}, in[2], in[3], 1e-5, {}, out[0], out[1], out[2]);
                    kernels::layer_norm_backward(exec, in[1], in[0], in[2], out[1], out[2], in[4], out[3], out[4], out[5]);
                    kernels::layer_norm_backward(exec, in[1], in[0], in[2], out[1], out[2], {}, out[6], {}, {});
                    // The norm of a residual sum: into new memory, and over x.
                    kernels::layer_norm_forward(exec, in[0], in[1], in[2], in[3], 1e-5, out[7], out[8], out[9], out[10]);
                    kernels::layer_norm_forward(exec, out[11], in[4], in[2], in[3], 1e-5, out[11], out[12], out[9], out[10]);
                  });
    }
  }
}

TEST_CASE("the norm of a residual sum is that of the sum as it is stored", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim columns : {5, 384, 3072}) {
      const DType master = master_dtype(dtype);
      const Array x = randn({20, columns}, dtype, 1).to(kGpu), branch = randn({20, columns}, dtype, 2).to(kGpu);
      const Array w = randn({columns}, master, 3).to(kGpu), b = randn({columns}, master, 4).to(kGpu);
      const Array sum = empty_like(x), fused = empty_like(x), apart = empty_like(x);
      const Array mean = Array::empty({20}, master, kGpu), rstd = empty_like(mean);
      kernels::layer_norm_forward(x.exec(), x, branch, w, b, 1e-5, sum, fused, mean, rstd);
      kernels::layer_norm_forward(x.exec(), sum, {}, w, b, 1e-5, {}, apart, mean, rstd);
      INFO(dtype << " " << columns);
      CHECK(bitwise_equal(fused.to(Device{}), apart.to(Device{})));
    }
  }
}

TEST_CASE("cross entropy with mixed targets and in place", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim classes : {Dim{10}, Dim{1000}, Dim{50257}}) {
      INFO(dtype << " " << classes);
      const Dim rows = 6;
      const Array logits = randn({rows, classes}, dtype, 1), losses = Array::zeros({rows}, master_dtype(dtype));
      const auto ids = random_ids({rows}, static_cast<std::uint32_t>(classes), 2);
      const Array target = Array::from(std::vector<std::int32_t>{0, -1, 3, 9, 5, 1}, {rows});
      const Array weight = Array::from(std::vector<float>{1, 0.5f, 0.25f, 0, 0.75f, 0.3f}, {rows});
      same_on_gpu({logits, target, ids, weight}, {nan_like(losses), nan_like(logits), logits, nan_like(losses)},
                  gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::cross_entropy(exec, in[0], {in[1], in[2], in[3], 0.1}, 0.5, out[0], out[1]);
                    kernels::cross_entropy(exec, out[2], {.target = in[1]}, 0.25, out[3], out[2]);
                  });
      // Rows apart, as where the classes are padded to whole cache lines.
      const Dim apart = (classes + 63) / 64 * 64;
      same_on_gpu({logits, target}, {Array::full({rows, apart}, 7, dtype), nan_like(losses)}, gpu_tolerance(dtype),
                  [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const Array scores = out[0].slice(1, 0, classes);
                    copy(in[0], scores);
                    kernels::cross_entropy(exec, scores, {.target = in[1]}, 0.25, out[1], scores);
                  });
    }
  }
}

TEST_CASE("embedding", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const Array table = randn({50, 300}, master_dtype(dtype), 1), ids = random_ids({700}, 50, 2);
    const Array dy = randn({700, 300}, dtype, 3);
    same_on_gpu({table, ids, dy}, {nan_like(dy), randn({50, 300}, master_dtype(dtype), 4)}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::embedding_forward(exec, in[0], in[1], out[0]);
                  kernels::embedding_backward(exec, in[1], in[2], out[1]);
                });
    // Few ids, each of them often.
    const Array frequent = random_ids({700}, 2, 5);
    same_on_gpu({frequent, dy}, {randn({50, 300}, master_dtype(dtype), 4)}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::embedding_backward(exec, in[0], in[1], out[0]);
                });
  }
}

TEST_CASE("embedding's gradient in any order", "[cuda]") {
  if (!has_gpu()) return;
  struct AnyOrder {
    AnyOrder() { set_deterministic(false); }
    ~AnyOrder() { set_deterministic(true); }
  };
  for (const DType dtype : kFloating) {
    const Array ids = random_ids({700}, 50, 2), dy = randn({700, 300}, dtype, 3);
    const Array expected = randn({50, 300}, master_dtype(dtype), 4), got = expected.to(kGpu);
    kernels::embedding_backward({}, ids, dy, expected);
    const AnyOrder any_order;
    kernels::embedding_backward(got.exec(), ids.to(kGpu), dy.to(kGpu), got);
    CHECK(difference(got.to(Device{}), expected) <= gpu_tolerance(master_dtype(dtype)));
  }
}

TEST_CASE("sums", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const DType master = master_dtype(dtype);
    const Array x = randn({40, 33, 70}, dtype, 1);
    const std::vector<Shape> targets{{1, 1, 70}, {40, 1, 70}, {40, 33, 1}, {1, 33, 1}, {1, 1, 1}, {40, 33, 70}};
    for (const Shape& to : targets) {
      INFO(dtype << " to " << to_string(to));
      same_on_gpu({x}, {Array::full(to, NAN, master)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) { kernels::sum_to(exec, in[0], out[0]); });
    }
    same_on_gpu({x}, {Array::zeros({1}, DType::f64)}, 1e-12,
                [](const Exec& exec, const Arrays& in, const Arrays& out) { kernels::sum_of_squares(exec, in[0], out[0]); });
  }
}

TEST_CASE("sums of more rows and columns than a grid has blocks for", "[cuda][large]") {
  if (!has_gpu()) return;
  const Array many = randn({(1 << 15) + 3, 9, 2}, DType::f32, 2);
  same_on_gpu({many}, {Array::full({many.size(0), 1, 2}, NAN)}, gpu_tolerance(DType::f32),
              [](const Exec& exec, const Arrays& in, const Arrays& out) { kernels::sum_to(exec, in[0], out[0]); });
  // Over a minute for the emulator.
  const Array wide = Array::full({2, amount((Dim{1} << 25) + 5, Dim{1} << 10)}, 0.5, DType::bf16);
  same_on_gpu({wide}, {Array::full({1, wide.size(1)}, NAN)}, 0,
              [](const Exec& exec, const Arrays& in, const Arrays& out) { kernels::sum_to(exec, in[0], out[0]); });
}

TEST_CASE("squares of many arrays", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    Arrays all;
    for (std::uint64_t i = 0; i < 70; ++i) all.push_back(randn({static_cast<Dim>(i * i * 5)}, dtype, i));
    same_on_gpu(all, {Array::zeros({70}, DType::f64)}, 1e-12, [](const Exec& exec, const Arrays& in, const Arrays& out) {
      const std::vector<ConstView> views(in.begin(), in.end());
      kernels::sums_of_squares(exec, views, out[0]);
    });
  }
}

TEST_CASE("rows of a given length", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 4097}, Shape{70, 33}}) {
      INFO(dtype << " " << to_string(shape));
      const Array x = randn(shape, master_dtype(dtype), 1), target = randn(shape, master_dtype(dtype), 2);
      copy(Array::zeros({1, shape[1]}, x.dtype()), x.slice(0, 0, 1));
      const Array y = Array::empty(shape, dtype);
      same_on_gpu({x, target}, {nan_like(y), nan_like(y)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::normalize_rows(exec, in[0], in[1], 0, out[0]);
                    kernels::normalize_rows(exec, in[0], {}, 0.5, out[1]);
                  });
    }
  }
}

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
    const Arrays nothing{randn({4, 0}, dtype, 1), randn({0, 5}, dtype, 2), randn({5}, master, 3)};
    same_on_gpu(nothing, {nan_like(randn({4, 5}, dtype, 4))}, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::matmul(exec, in[0], in[1], out[0], {.bias = in[2]});
                });
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

TEST_CASE("what a low-rank or BLAST forward keeps is what the backward would compute", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 70, kIn = 48, kOut = 64, kBlocks = 2;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    for (const Dim rank : {16, 9}) {  // in bf16 with the coupling fused, and not
      INFO(dtype << " rank " << rank);
      const auto factor = [&](const Shape& shape, std::uint64_t key) { return randn(shape, master_dtype(dtype), key).to(kGpu); };
      const Array x = randn({kRows, kIn}, dtype, 1).to(kGpu), dy = randn({kRows, kOut}, dtype, 2).to(kGpu);
      const Array u = factor({kBlocks, kOut / kBlocks, rank}, 3), v = factor({kBlocks, kIn / kBlocks, rank}, 4);
      const Array s = factor({kBlocks, kBlocks, rank}, 5), left = factor({kOut, rank}, 6), right = factor({kIn, rank}, 7);
      const auto blast = [&](const Array& kept) {
        const Arrays got{empty_like(dy), empty_like(x), empty_like(u), empty_like(v), empty_like(s)};
        kernels::blast_forward(x.exec(), x, u, v, s, {}, kept.defined() ? View(kept) : View{}, got[0]);
        kernels::blast_backward(x.exec(), dy, x, kept, u, v, s, got[1], got[2], got[3], got[4], {});
        return got;
      };
      const auto low_rank = [&](const Array& z) {
        const Arrays got{empty_like(dy), empty_like(x), empty_like(left), empty_like(right)};
        kernels::low_rank_forward(x.exec(), x, left, right, {}, z.defined() ? View(z) : View{}, got[0]);
        kernels::low_rank_backward(x.exec(), dy, x, z, left, right, got[1], got[2], got[3], {});
        return got;
      };
      const Shape shape = kernels::blast_kept_shape(kGpu, kRows, kBlocks, kBlocks, rank);
      for (const auto& [kept, without] : {std::pair{blast(Array::full(shape, NAN, dtype, kGpu)), blast({})},
                                          {low_rank(Array::full({kRows, rank}, NAN, dtype, kGpu)), low_rank({})}}) {
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

TEST_CASE("updates of many parameters", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f64, DType::f32}) {
    Arrays gradients, state;
    for (std::uint64_t i = 0; i < 30; ++i) {
      const Shape shape{static_cast<Dim>(1 + 700 * i)};
      gradients.push_back(randn(shape, dtype, i));
      state.push_back(randn(shape, dtype, 100 + i));                 // w
      state.push_back(randn(shape, dtype, 200 + i));                 // m
      state.push_back(Array::full(shape, 0.5, dtype));               // v
      state.push_back(randn(shape, dtype, 300 + i));                 // w of SGD
      state.push_back(randn(shape, dtype, 400 + i));                 // its buffer
    }
    same_on_gpu(gradients, state, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
      Arrays numbers;
      std::vector<kernels::AdamWTensor> adam;
      std::vector<kernels::SgdTensor> sgd;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const auto own = kernels::adamw_numbers(0.01 * static_cast<double>(i), 0.1, 0.9, 0.999, 3);
        numbers.push_back(Array::from(std::span<const double>(own), {3}).to(exec.device));
        adam.push_back({.grad_scale = 0.5, .numbers = numbers.back(), .dw = in[i], .w = out[5 * i], .m = out[5 * i + 1],
                        .v = out[5 * i + 2]});
        sgd.push_back({.momentum = 0.9, .weight_decay = 0.01, .nesterov = true, .numbers = numbers.back().slice(0, 1, 2),
                       .dw = in[i], .w = out[5 * i + 3], .buffer = out[5 * i + 4]});
      }
      kernels::adamw_update(exec, adam);
      kernels::sgd_update(exec, sgd);
    });
    Arrays averages;
    for (const Array& gradient : gradients) averages.push_back(randn(gradient.shape(), dtype, 500));
    same_on_gpu(gradients, averages, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
      std::vector<kernels::AverageTensor> tensors;
      for (std::size_t i = 0; i < in.size(); ++i) tensors.push_back({in[i], out[i]});
      kernels::average_update(exec, 0.75, tensors);
    });
  }
}

TEST_CASE("more tensors than a launch takes", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kCount = 1100;
  const Array w = randn({kCount, 3}, DType::f32, 1), average = randn({kCount, 3}, DType::f32, 2);
  same_on_gpu({w}, {average, Array::zeros({kCount}, DType::f64)}, 1e-7,
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                std::vector<kernels::AverageTensor> tensors;
                std::vector<ConstView> views;
                for (Dim i = 0; i < kCount; ++i) {
                  tensors.push_back({in[0].select(0, i), out[0].select(0, i)});
                  views.push_back(tensors.back().w);
                }
                kernels::average_update(exec, 0.75, tensors);
                kernels::sums_of_squares(exec, views, out[1]);
              });
}

TEST_CASE("operands of two devices are refused", "[cuda]") {
  if (!has_gpu()) return;
  const Array here = randn({2}, DType::f32, 1), there = here.to(kGpu);
  CHECK_THROWS_AS(kernels::multiply(there.exec(), here, there, there), InputError);
}
