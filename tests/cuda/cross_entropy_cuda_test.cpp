// Cross entropy on a GPU against the CPU.
#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

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
      if (dtype == DType::f32) {
        same_on_gpu({logits, target}, {nan_like(losses), nan_like(logits.to(DType::bf16))}, gpu_tolerance(DType::bf16),
                    [](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::cross_entropy(exec, in[0], {.target = in[1]}, 0.5, out[0], out[1]);
                    });
      }
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

TEST_CASE("cross entropy of classes that are masked", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim classes : {Dim{100}, Dim{6000}}) {  // whole threads see nothing but -inf
      INFO(dtype << " " << classes);
      const Array logits = randn({3, classes}, dtype, 1), losses = Array::zeros({3}, master_dtype(dtype));
      fill(logits.slice(1, 0, classes / 2), -std::numeric_limits<double>::infinity());
      const Array target = Array::full({3}, static_cast<double>(classes - 1), DType::i32);
      // As far from zero as the dtype goes, where masks are such numbers: all of a row, one of it, and two.
      const double largest = dtype == DType::f64 ? 0x1.fp1023 : 0x1.fp127;
      const Array far = Array::zeros({3, classes}, dtype), first = Array::zeros({3}, DType::i32);
      fill(far.slice(0, 0, 1), -largest);
      fill(far.slice(0, 1, 3).slice(1, 0, 1), largest);
      fill(far.slice(0, 2, 3).slice(1, 1, 2), largest);
      for (const auto& [scores, wanted] : {std::pair{logits, target}, {far, first}}) {
        same_on_gpu({scores, wanted}, {nan_like(losses), nan_like(logits)}, gpu_tolerance(dtype),
                    [](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::cross_entropy(exec, in[0], {.target = in[1]}, 0.5, out[0], out[1]);
                    });
      }
      // As many such as there are classes would be infinite in f32.
      const Array peak = Array::zeros({3, classes}, dtype);
      fill(peak.slice(1, 1, 2), 0x1p125);
      same_on_gpu({peak, first}, {nan_like(losses), nan_like(peak)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::cross_entropy(exec, in[0], {.target = in[1], .smoothing = 0.1}, 0.5, out[0], out[1]);
                  });
    }
  }
}

// The host cannot see them, unlike those of the CPU.
TEST_CASE("the loss of a class outside the logits is NaN, and only its", "[cuda]") {
  if (!has_gpu()) return;
  const Array logits = randn({5, 40}, DType::f32, 1).to(kGpu), losses = Array::zeros({5}, DType::f32, kGpu);
  const Array target = Array::from(std::vector<std::int32_t>{3, 40, -1, -2, 39}, {5}).to(kGpu);
  kernels::cross_entropy(logits.exec(), logits, {.target = target}, 1, losses, empty_like(logits));
  const auto loss = losses.to_vector<double>();
  CHECK(std::isnan(loss[1]));
  CHECK(std::isnan(loss[3]));
  CHECK(loss[2] == 0);
  CHECK(loss[0] > 0);
  CHECK(loss[4] > 0);
  // One of two targets.
  const Array first = Array::from(std::vector<std::int32_t>{3, -2, 3, 3, 3}, {5}).to(kGpu);
  const Array second = Array::from(std::vector<std::int32_t>{3, 3, -1, 40, 39}, {5}).to(kGpu);
  kernels::cross_entropy(logits.exec(), logits, {.target = first, .other = second}, 1, losses, {});
  const auto mixed = losses.to_vector<double>();
  for (std::size_t row = 0; row < mixed.size(); ++row) CHECK(std::isnan(mixed[row]) == (row > 0 && row < 4));
}

TEST_CASE("a class of weight 0 may be masked", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const Array logits = randn({2, 40}, dtype, 1), losses = Array::zeros({2}, master_dtype(dtype));
    fill(logits.slice(1, 3, 4), -std::numeric_limits<double>::infinity());
    const Array target = Array::from(std::vector<std::int32_t>{3, 1}, {2});
    const Array other = Array::from(std::vector<std::int32_t>{1, 3}, {2});
    same_on_gpu({logits, target, other, Array::from(std::vector<float>{0, 1}, {2})}, {nan_like(losses), nan_like(logits)},
                gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::cross_entropy(exec, in[0], {in[1], in[2], in[3], 0}, 0.5, out[0], out[1]);
                });
  }
}

TEST_CASE("cross entropy of operands that lie apart", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 6, kClasses = 48;
  // Columns of matrices.
  const Array targets = random_ids({kRows, 3}, kClasses, 1), weights = Array::full({kRows, 2}, 0.25);
  fill(weights.slice(1, 0, 1), 0.75);
  fill(targets.slice(0, 2, 3).slice(1, 0, 1), -1);
  for (const DType dtype : kFloating) {
    for (const auto& [from, to] : {std::pair<Dim, Dim>{0, 0}, {1, 0}, {0, 1}}) {
      INFO(dtype << " from " << from << " to " << to);
      const Array wide = Array::full({kRows, kClasses + 32}, 7, dtype), losses = Array::full({kRows, 2}, 7, master_dtype(dtype));
      same_on_gpu({randn({kRows, kClasses + 16}, dtype, 3), targets, weights}, {losses, wide}, gpu_tolerance(dtype),
                  [=, from = from, to = to](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const kernels::CrossEntropyTargets by_row{.target = in[1].select(1, 0), .other = in[1].select(1, 2),
                                                              .weight = in[2].select(1, 1), .smoothing = 0.1};
                    kernels::cross_entropy(exec, in[0].slice(1, from, from + kClasses), by_row, 0.5, out[0].select(1, 1),
                                           out[1].slice(1, to, to + kClasses));
                  });
    }
  }
}
