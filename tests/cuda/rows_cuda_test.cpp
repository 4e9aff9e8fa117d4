// What goes through rows, and sums, on a GPU against the CPU: small and ragged shapes, every dtype that both take.
#include <optional>

#include "kernels/embedding/embedding.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/normalize/normalize.h"
#include "kernels/reduce/reduce.h"
#include "kernels/views.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("layer norm", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto& [rows, columns] : {std::pair<Dim, Dim>{1, 5}, {70, 384}, {1030, 96}, {40, 768}, {9, 1000}, {33, 3072}, {33, 1029}}) {
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

TEST_CASE("layer norm of more rows than its blocks take at once", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = randn({4100, 8}, DType::f32, 1), w = randn({8}, DType::f32, 2), b = randn({8}, DType::f32, 3);
  const Array row = Array::zeros({4100});
  same_on_gpu({x, w, b}, {nan_like(x), nan_like(row), nan_like(row)}, gpu_tolerance(DType::f32),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                kernels::layer_norm_forward(exec, in[0], {}, in[1], in[2], 1e-5, {}, out[0], out[1], out[2]);
              });
}

TEST_CASE("a layer norm is refused whose sums for each column no block can hold", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kWide = 60000;
  const Array x = Array::zeros({2, kWide}, DType::f32, kGpu), w = Array::zeros({kWide}, DType::f32, kGpu),
              one = Array::zeros({2}, DType::f32, kGpu);
  const auto backward = [&](const Array& dw) { kernels::layer_norm_backward(x.exec(), x, x, w, one, one, {}, x, dw, dw); };
  REQUIRE_THROWS_WITH(backward(w), says("a kernel needs 48") && says("use narrower rows"));
  backward(Array());
}

TEST_CASE("layer norm's sums where shared memory for them is just not there unasked", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = randn({3, 6130}, DType::f32, 1), dy = randn({3, 6130}, DType::f32, 2), w = randn({6130}, DType::f32, 3);
  const Array mean = Array::zeros({3}), rstd = Array::full({3}, 1);
  same_on_gpu({x, dy, w, mean, rstd}, {nan_like(x), nan_like(w), nan_like(w)}, gpu_tolerance(DType::f32),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                kernels::layer_norm_backward(exec, in[1], in[0], in[2], in[3], in[4], {}, out[0], out[1], out[2]);
              });
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

TEST_CASE("embedding", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim columns : {300, 301}) {  // in vectors, and more single ones than a block has threads
      INFO(dtype << " " << columns);
      const Array table = randn({50, columns}, master_dtype(dtype), 1), ids = random_ids({700}, 50, 2);
      const Array dy = randn({700, columns}, dtype, 3), dtable = randn(table.shape(), table.dtype(), 4);
      same_on_gpu({table, ids, dy}, {nan_like(dy), dtable}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::embedding_forward(exec, in[0], in[1], out[0]);
                    kernels::embedding_backward(exec, in[1], in[2], out[1]);
                  });
      // Few ids, each of them often.
      const Array frequent = random_ids({700}, 2, 5);
      same_on_gpu({frequent, dy}, {dtable}, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
        kernels::embedding_backward(exec, in[0], in[1], out[0]);
      });
    }
  }
}

// The CPU adds in the order of the rows too: the bits are the same.
TEST_CASE("embedding's gradient adds the rows of an id in order, however many and far apart", "[cuda]") {
  if (!has_gpu()) return;
  const Dim rows = 7000;
  const Array ids = random_ids({rows}, 3, 1);
  fill(ids.slice(0, 0, 5000), 1);
  fill(ids.slice(0, 0, 1), 3);
  fill(ids.slice(0, rows - 1, rows), 4);
  for (const DType dtype : kFloating) {
    for (const Dim columns : {Dim{7}, Dim{8}, Dim{1100}}) {
      INFO(dtype << " " << columns);
      const Array dy = randn({rows, columns}, dtype, 2), dtable = randn({6, columns}, master_dtype(dtype), 3);
      same_on_gpu({ids, dy}, {dtable}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
        kernels::embedding_backward(exec, in[0], in[1], out[0]);
      });
    }
  }
}

// The host cannot see them, unlike those of the CPU.
TEST_CASE("an id outside the table gives a row of NaN and no gradient", "[cuda]") {
  if (!has_gpu()) return;
  const Array ids = Array::from(std::vector<std::int32_t>{1, -1, 4, 0}, {4}).to(kGpu);
  for (const Dim columns : {Dim{3}, Dim{8}}) {
    const Array table = randn({4, columns}, DType::f32, 1).to(kGpu), y = Array::zeros({4, columns}, DType::f32, kGpu);
    kernels::embedding_forward(table.exec(), table, ids, y);
    CHECK(bitwise_equal(y.slice(0, 0, 1).to(Device{}), table.slice(0, 1, 2).to(Device{})));
    for (const double value : y.slice(0, 1, 3).to_vector<double>()) CHECK(std::isnan(value));
    for (const bool in_order : {true, false}) {
      const std::optional<AnyOrder> any = in_order ? std::nullopt : std::optional<AnyOrder>(std::in_place);
      const Array around = Array::zeros({6, columns}, DType::f32, kGpu), dtable = around.slice(0, 1, 5);
      kernels::embedding_backward(table.exec(), ids, table, dtable);
      CHECK(bitwise_equal(dtable.slice(0, 0, 1).to(Device{}), table.slice(0, 3, 4).to(Device{})));
      CHECK(all_equal(around.slice(0, 0, 1), 0));
      CHECK(all_equal(around.slice(0, 3, 6), 0));
    }
    const Array empty = Array::zeros({0, columns}, DType::f32, kGpu);
    kernels::embedding_backward(table.exec(), ids, table, empty);
    kernels::embedding_forward(table.exec(), empty, ids, y);
    for (const double value : y.to_vector<double>()) CHECK(std::isnan(value));
  }
}

TEST_CASE("embedding's gradient of more rows than are counted at once", "[cuda][large]") {
  if (!has_gpu()) return;
  const Dim rows = 1024 * 256 + 5;
  const Array ids = Array::zeros({rows}, DType::i32), dy = Array::full({rows, 1}, 1);
  same_on_gpu({ids, dy}, {Array::zeros({1, 1})}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
    kernels::embedding_backward(exec, in[0], in[1], out[0]);
  });
}

TEST_CASE("embedding's gradient in any order", "[cuda]") {
  if (!has_gpu()) return;
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
      INFO(dtype << " to " << to);
      same_on_gpu({x}, {Array::full(to, NAN, master)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) { kernels::sum_to(exec, in[0], out[0]); });
    }
    same_on_gpu({x}, {Array::zeros({1}, DType::f64)}, 1e-12,
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  const ConstView view = in[0];
                  kernels::sums_of_squares(exec, {&view, 1}, out[0]);
                });
  }
}

// As the gradients of biases of several blocks, of LayerNorm's weights and of a head ask for them: enough rows for several
// chunks, and columns that are read in packs or, because of where they lie, one by one.
TEST_CASE("sums over many rows", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim rows : {512, 1100}) {
      INFO(dtype << " rows " << rows);
      const DType master = master_dtype(dtype);
      const Array x = randn({3, rows, 144}, dtype, 1), odd = randn({rows, 145}, dtype, 2),
                  apart = randn({3, rows * 144 + 1}, dtype, 3);
      const auto to = [&](const Shape& shape, DType result) { return Array::full(shape, NAN, result); };
      same_on_gpu({x, odd, apart}, {to({3, 1, 144}, master), to({3, 1, 144}, dtype), to({3, 1, 72}, master),
                                    to({3, 1, 72}, master), to({1, 1, 144}, master), to({1, 144}, master), to({1, 2}, master),
                                    to({1, 144}, master), to({3, 1, 144}, master)},
                  gpu_tolerance(dtype), [rows](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::sum_to(exec, in[0], out[0]);
                    kernels::sum_to(exec, in[0], out[1]);
                    kernels::sum_to(exec, in[0].slice(2, 8, 80), out[2]);
                    kernels::sum_to(exec, in[0].slice(2, 1, 73), out[3]);
                    kernels::sum_to(exec, in[0], out[4]);
                    kernels::sum_to(exec, in[0].select(0, 1), out[5]);
                    kernels::sum_to(exec, in[0].select(0, 1).slice(1, 142, 144), out[6]);
                    kernels::sum_to(exec, in[1].slice(1, 0, 144), out[7]);
                    const ConstView blocks = in[2];
                    kernels::sum_to(exec, kernels::strided(blocks, 0, {3, rows, 144}, {blocks.step(0), 144, 1}), out[8]);
                  });
    }
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

TEST_CASE("squares of an array of more chunks than a block has threads", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = Array::full({(1 << 20) + 5000}, 0.5);
  same_on_gpu({x}, {Array::zeros({1}, DType::f64)}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
    const ConstView view = in[0];
    kernels::sums_of_squares(exec, {&view, 1}, out[0]);
  });
}

TEST_CASE("rows of a given length", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 4097}, Shape{70, 33}}) {
      INFO(dtype << " " << shape);
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
