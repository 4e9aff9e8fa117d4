// Where operands lie, on a GPU against the CPU: rows and values apart, at addresses that are no vector's.
#include <optional>

#include "kernels/clip/clip.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "kernels/update/update.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// Memory for a's values and some before and behind them, which are to stay what they are.
Array around(const Shape& shape, DType dtype) { return Array::full(shape.with(-1, shape[shape.ndim() - 1] + 16), 7, dtype); }

// These values, `begin` places behind the first.
Array inner(const Array& a, Dim begin) {
  const int last = a.shape().ndim() - 1;
  return a.slice(last, begin, begin + a.size(last) - 16);
}

}  // namespace

TEST_CASE("values that begin where no vector does, or end where none does", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto& [rows, columns] : {std::pair<Dim, Dim>{4, 256}, {3, 341}}) {
      for (const auto& [from, to] : {std::pair<Dim, Dim>{0, 0}, {1, 0}, {0, 1}, {1, 1}}) {
        INFO(dtype << " " << rows << " x " << columns << " from " << from << " to " << to);
        const Shape matrix{rows, columns};
        const Array x = randn({rows * columns + 16}, dtype, 1), dy = randn({rows * columns + 16}, dtype, 2);
        Arrays results(6, around({rows * columns}, dtype));
        results.push_back(around({rows * columns}, dtype == DType::f32 ? DType::bf16 : DType::f32));
        same_on_gpu({x, dy}, results, gpu_tolerance(dtype),
                    [matrix, from = from, to = to](const Exec& exec, const Arrays& in, const Arrays& out) {
                      const auto result = [&](std::size_t k) { return inner(out[k], to).reshape(matrix); };
                      const Array values = inner(in[0], from).reshape(matrix), gradient = inner(in[1], 0).reshape(matrix);
                      const kernels::DropMask mask{0.3, 5, 7};
                      kernels::gelu_forward(exec, values, kernels::Gelu::tanh, result(0));
                      kernels::dropout(exec, values, mask, result(1));
                      kernels::drop_path(exec, values, mask, result(2));
                      kernels::softmax_forward(exec, values, result(3));
                      kernels::softmax_backward(exec, values, gradient, result(4));
                      kernels::linear_combination(exec, values, 2, gradient, 3, result(5));
                      kernels::cast(exec, values, result(6));
                    });
      }
    }
  }
}

TEST_CASE("elementwise operations of matrices whose rows lie apart", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 5, kColumns = 32;
  for (const DType dtype : kFloating) {
    const DType master = master_dtype(dtype);
    for (int apart = 0; apart < 3; ++apart) {  // which of the operands
      INFO(dtype << ", operand " << apart);
      const auto operand = [=](int which, std::uint64_t key) {
        return randn({kRows, kColumns + (which == apart ? 16 : 0)}, dtype, key);
      };
      const Array y = operand(2, 3), one = randn({2}, dtype, 4), of_master = randn({1}, master, 5);
      same_on_gpu({operand(0, 1), operand(1, 2), one, of_master}, {y, y, y, y.to(DType::bf16)}, gpu_tolerance(dtype),
                  [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const auto part = [](const Array& a) { return a.size(1) == kColumns ? a : inner(a, 8); };
                    const auto all = [](const Array& value) { return value.expand({kRows, kColumns}); };
                    kernels::multiply(exec, part(in[0]), part(in[1]), part(out[0]));
                    kernels::multiply(exec, part(in[0]), all(in[2].slice(0, 0, 1)), part(out[1]));
                    kernels::multiply(exec, part(in[0]), all(in[3]), part(out[2]));
                    if (dtype == DType::f32) kernels::multiply(exec, part(in[0]), all(in[3]), part(out[3]));
                  });
    }
  }
}

TEST_CASE("updates and clipping of parameters that begin where no vector does, and of none", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f64, DType::f32}) {
    for (std::size_t apart = 0; apart < 4; ++apart) {  // which of the operands
      INFO(dtype << ", operand " << apart);
      const Arrays state(4, Array::full({80}, 0.5, dtype));
      const Array numbers = Array::from(std::vector<double>{0.01, 0.1, 0.9}, {3});
      const Array squares = Array::full({300}, 0.03, DType::f64);  // more than a block has threads
      same_on_gpu({randn({80}, dtype, 1), numbers, squares}, state, gpu_tolerance(dtype),
                  [&](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const auto part = [&](const Array& of, std::size_t which) { return inner(of, which == apart ? 1 : 0); };
                    const Array dw = part(in[0], 0), w = part(out[0], 1), m = part(out[1], 2), v = part(out[2], 3);
                    const Array none = Array::zeros({0}, dtype, exec.device);
                    const kernels::AdamWTensor adam{.grad_scale = 0.5, .numbers = in[1], .dw = dw, .w = w, .m = m, .v = v};
                    const kernels::AdamWTensor empty{.numbers = in[1], .dw = none, .w = none, .m = none, .v = none};
                    const kernels::SgdTensor sgd{.momentum = 0.9, .numbers = in[1].slice(0, 0, 1), .dw = dw, .w = w, .buffer = m};
                    const kernels::EmaTensor average{w, m};
                    kernels::adamw_update(exec, {&empty, 1});
                    kernels::adamw_update(exec, {&adam, 1});
                    kernels::sgd_update(exec, {&sgd, 1});
                    kernels::ema_update(exec, 0.75, {&average, 1});
                    const View gradient = part(out[3], 0);
                    kernels::clip_gradients(exec, {&gradient, 1}, in[2], {1.0, 1.0});
                  });
    }
  }
}

TEST_CASE("embedding of operands that lie apart", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 40, kVocabulary = 9, kColumns = 24;
  const bool in_order = GENERATE(true, false);
  const Array ids = random_ids({kRows, 2}, kVocabulary, 1);
  for (const DType dtype : kFloating) {
    const DType master = master_dtype(dtype);
    for (const auto& [from, to] : {std::pair<Dim, Dim>{0, 0}, {1, 0}, {0, 1}}) {
      INFO(dtype << " from " << from << " to " << to);
      const Array table = randn({kVocabulary, kColumns + 16}, master, 2), dy = randn({kRows, kColumns + 16}, dtype, 3);
      same_on_gpu({ids, table, dy}, {around({kRows, kColumns}, dtype), around({kVocabulary, kColumns}, master)},
                  gpu_tolerance(dtype), [=, from = from, to = to](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const Array by_row = in[0].select(1, 1);
                    kernels::embedding_forward(exec, inner(in[1], from), by_row, inner(out[0], to));
                    const std::optional<AnyOrder> any = in_order ? std::nullopt : std::optional<AnyOrder>(std::in_place);
                    kernels::embedding_backward(exec, by_row, inner(in[2], from), inner(out[1], to));
                  }, in_order);
    }
  }
}

TEST_CASE("layer norm of operands that lie apart, and of no rows", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 5;
  for (const DType dtype : kFloating) {
    for (const Dim columns : {64, 3072}) {  // in registers, and not
      const DType master = master_dtype(dtype);
      const Array row = randn({columns + 16}, master, 1), matrix = randn({kRows, columns + 16}, dtype, 2);
      const Array wide = around({kRows, columns}, dtype), sums = Array::full({columns}, NAN, master);
      const Array statistics = Array::full({kRows}, NAN, master);
      for (int odd = -1; odd < 9; ++odd) {  // the operand that begins where no vector does
        INFO(dtype << ", " << columns << " columns, operand " << odd);
        same_on_gpu({matrix, row, row}, {wide, wide, statistics, statistics, wide, sums, sums, sums}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      const auto part = [=](const Array& of, int which) { return inner(of, which == odd ? 1 : 0); };
                      const Array weight = part(in[1], 0), bias = part(in[2], 1), x = part(in[0], 2), y = part(out[1], 3);
                      kernels::layer_norm_forward(exec, x, part(in[0], 4), weight, bias, 1e-3, part(out[0], 5), y, out[2],
                                                  out[3]);
                      kernels::layer_norm_backward(exec, part(in[0], 6), x, weight, out[2], out[3], part(in[0], 7),
                                                   part(out[4], 8), out[5], {});
                      kernels::layer_norm_backward(exec, part(in[0], 6), x, weight, out[2], out[3], {}, {}, {}, out[6]);
                      const Array none = x.slice(0, 0, 0), of_none = out[2].slice(0, 0, 0);
                      kernels::layer_norm_backward(exec, none, none, weight, of_none, of_none, {}, {}, out[7], {});
                    });
      }
    }
  }
}

TEST_CASE("sums to and from values that lie apart, and of none", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const DType master = master_dtype(dtype);
    for (const Dim rows : {3, 1100}) {  // in one pass and in two
      INFO(dtype << ", " << rows << " rows");
      const Array x = randn({2, rows, 48}, dtype, 1), apart = Array::full({2, 1, 48 + 16}, 7, master);
      same_on_gpu({x}, {apart, Array::full({1, 48, 2}, 7, master), Array::full({1, 24}, NAN, master)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::sum_to(exec, in[0], inner(out[0], 8));
                    kernels::sum_to(exec, in[0], out[1].transpose(1, 2).transpose(0, 1));
                    const Array every_other = in[0].reshape({2 * in[0].size(1), 24, 2}).select(2, 1);
                    kernels::sum_to(exec, every_other, out[2]);
                  });
    }
    same_on_gpu({}, {Array::full({1, 48}, NAN, master), Array::full({1}, NAN, DType::f64)}, 0,
                [=](const Exec& exec, const Arrays&, const Arrays& out) {
                  kernels::sum_to(exec, Array::zeros({0, 48}, dtype, exec.device), out[0]);
                  const Array none = Array::zeros({0}, dtype, exec.device);
                  const ConstView view = none;
                  kernels::sums_of_squares(exec, {&view, 1}, out[1]);
                });
  }
}

TEST_CASE("zeros of either sign fill values that lie apart", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    same_on_gpu({}, {Array::full({5, 7}, 3, dtype), Array::full({5, 7}, 3, dtype)}, 0,
                [](const Exec& exec, const Arrays&, const Arrays& out) {
                  fill(out[0].slice(1, 1, 4), 0);
                  fill(out[1], -0.0);
                  if (exec.device == kGpu) CHECK(std::signbit(out[1].to_vector<double>()[34]));
                });
  }
}
