// What is done to each element, and updates of parameters, on a GPU against the CPU: small and ragged shapes, every dtype that both
// take.
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gelu/gelu.h"
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
                [](const Exec&, const Arrays&, const Arrays& out) {
                  fill(out[0], 3);
                  fill(out[1].slice(1, 1, 4), 2);
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
                    [=](const Exec&, const Arrays& in, const Arrays& out) {
                      const Array source = in[0].transpose(0, 1);
                      copy(source.slice(3, 16, columns + 16), out[0]);
                      copy(source.slice(3, 1, columns + 1), out[1].slice(3, 16, columns + 16));
                      fill(out[2].slice(3, 0, columns), 3);
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
  same_on_gpu({many}, {many}, 0, [](const Exec&, const Arrays& in, const Arrays& out) {
    fill(out[0].slice(1, 0, 1), 7);
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

TEST_CASE("quotients, and numbers added", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim size : {Dim{1}, Dim{1000}, Dim{4099}}) {
      INFO(dtype << " " << size);
      const Array a = randn({3, size}, dtype, 1), b = empty_like(a);
      kernels::affine({}, randn({3, size}, dtype, 2), 0.125, 2, b);  // away from zero
      const Array row = b.select(0, 1).clone();
      same_on_gpu({a, b, row}, {nan_like(a), nan_like(a), nan_like(a), nan_like(a), nan_like(a)}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::divide(exec, in[0], in[1], out[0]);
                    kernels::divide(exec, in[0], in[2].expand(in[0].shape()), out[1]);
                    kernels::divide(exec, in[2].expand(in[0].shape()), in[1], out[2]);
                    kernels::affine(exec, in[0], -2.5, 0.75, out[3]);
                    kernels::affine(exec, in[0].transpose(0, 1), 1, 3, out[4].transpose(0, 1));
                  });
    }
  }
  // Signs of zeros are kept.
  const Array zeros = Array::from(std::vector<float>{0, -0.0f}, {2});
  same_on_gpu({zeros}, {nan_like(zeros)}, 0, [](const Exec& exec, const Arrays& in, const Arrays& out) {
    kernels::scale(exec, in[0], 2, out[0]);
    if (exec.device != Device{}) CHECK(std::signbit(out[0].to_vector<float>()[1]));
    if (exec.device != Device{}) CHECK(!std::signbit(out[0].to_vector<float>()[0]));
  });
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

TEST_CASE("gelu hands NaN on", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
      INFO(dtype << ", " << (kind == kernels::Gelu::tanh ? "tanh" : "erf"));
      const Array x = Array::full({9}, NAN, dtype, kGpu), dy = Array::full({9}, 1, dtype, kGpu), y = empty_like(x),
                  dx = empty_like(x);
      kernels::gelu_forward(x.exec(), x, kind, y);
      kernels::gelu_backward(x.exec(), x, dy, kind, dx);
      for (const double value : y.to_vector<double>()) CHECK(std::isnan(value));
      for (const double value : dx.to_vector<double>()) CHECK(std::isnan(value));
    }
  }
}

TEST_CASE("gelu far from zero", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const auto kind : {kernels::Gelu::erf, kernels::Gelu::tanh}) {
      INFO(dtype << ", " << (kind == kernels::Gelu::tanh ? "tanh" : "erf"));
      const std::vector<double> far{-1e38, -1e20, -1000, -50, 50, 1000, 1e20, 1e38};
      for (const double value : far) {
        const Array x = Array::full({9}, value, dtype), ones = Array::full({9}, 1, dtype);
        same_on_gpu({x, ones}, {nan_like(x), nan_like(x)}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::gelu_forward(exec, in[0], kind, out[0]);
                      kernels::gelu_backward(exec, in[0], in[1], kind, out[1]);
                    });
      }
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

// uniform(index) >= p, as core/random.h has it: of a p that is drawn exactly.
TEST_CASE("an element or a sample whose number is p is kept", "[cuda]") {
  if (!has_gpu()) return;
  const double p = Random(5, 7).uniform(2);
  const Array x = Array::full({6, 3}, 1);
  same_on_gpu({x}, {nan_like(x), nan_like(x)}, 1e-7, [=](const Exec& exec, const Arrays& in, const Arrays& out) {
    kernels::dropout(exec, in[0], {p, 5, 7}, out[0]);
    kernels::drop_path(exec, in[0], {p, 5, 7}, out[1]);
    CHECK(out[0].to_vector<double>()[2] > 0);
    CHECK(out[1].to_vector<double>()[6] > 0);
  });
}

TEST_CASE("stochastic depth of more samples, and of larger ones, than a grid has blocks for", "[cuda][large]") {
  if (!has_gpu()) return;
  // Many samples take the emulator ten seconds.
  for (const Shape& shape : {Shape{amount(Dim{(1 << 15) + 3}, Dim{70}), 1}, Shape{1, (1 << 20) + 3}}) {
    const Array x = Array::full(shape, 1);
    same_on_gpu({x}, {nan_like(x)}, 1e-7, [](const Exec& exec, const Arrays& in, const Arrays& out) {
      kernels::drop_path(exec, in[0], {0.25, 3, 1}, out[0]);
    });
  }
}

TEST_CASE("a product with one value for all elements", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    const Array x = randn({33, 71}, dtype, 1), one = randn({1}, master_dtype(dtype), 2), columns = randn({33, 1}, one.dtype(), 3);
    same_on_gpu({x, one, columns}, {nan_like(x), x, nan_like(x), nan_like(x)}, gpu_tolerance(dtype),
                [](const Exec& exec, const Arrays& in, const Arrays& out) {
                  const Array all = in[1].reshape(Shape{}).expand(in[0].shape());
                  kernels::multiply(exec, in[0], all, out[0]);
                  kernels::multiply(exec, out[1], all, out[1]);
                  kernels::multiply(exec, in[0].transpose(0, 1), all.transpose(0, 1), out[2].transpose(0, 1));
                  kernels::multiply(exec, in[0], in[2].expand(in[0].shape()), out[3]);
                });
  }
}

TEST_CASE("updates of many parameters", "[cuda]") {
  if (!has_gpu()) return;
  const bool nesterov = GENERATE(true, false);
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
    same_on_gpu(gradients, state, gpu_tolerance(dtype), [=](const Exec& exec, const Arrays& in, const Arrays& out) {
      Arrays numbers;
      std::vector<kernels::AdamWTensor> adam;
      std::vector<kernels::SgdTensor> sgd;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const auto own = kernels::adamw_numbers(0.01 * static_cast<double>(i), 0.1, 0.9, 0.999, 3);
        numbers.push_back(Array::from(std::span<const double>(own), {3}).to(exec.device));
        adam.push_back({.grad_scale = 0.5, .numbers = numbers.back(), .dw = in[i], .w = out[5 * i], .m = out[5 * i + 1],
                        .v = out[5 * i + 2]});
        const bool plain = i % 3 == 0;  // without a buffer
        sgd.push_back({.momentum = plain ? 0 : 0.9, .weight_decay = 0.01, .nesterov = nesterov && !plain,
                       .numbers = numbers.back().slice(0, 1, 2), .dw = in[i], .w = out[5 * i + 3],
                       .buffer = plain ? View() : View(out[5 * i + 4])});
      }
      kernels::adamw_update(exec, adam);
      kernels::sgd_update(exec, sgd);
    });
    Arrays averages;
    for (const Array& gradient : gradients) averages.push_back(randn(gradient.shape(), dtype, 500));
    same_on_gpu(gradients, averages, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
      std::vector<kernels::EmaTensor> tensors;
      for (std::size_t i = 0; i < in.size(); ++i) tensors.push_back({in[i], out[i]});
      kernels::ema_update(exec, 0.75, tensors);
    });
  }
}

TEST_CASE("more tensors than a launch takes", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kCount = 1100;
  const Array w = randn({kCount, 3}, DType::f32, 1), average = randn({kCount, 3}, DType::f32, 2);
  same_on_gpu({w}, {average, Array::zeros({kCount}, DType::f64)}, 1e-7,
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                std::vector<kernels::EmaTensor> tensors;
                std::vector<ConstView> views;
                for (Dim i = 0; i < kCount; ++i) {
                  tensors.push_back({in[0].select(0, i), out[0].select(0, i)});
                  views.push_back(tensors.back().w);
                }
                kernels::ema_update(exec, 0.75, tensors);
                kernels::sums_of_squares(exec, views, out[1]);
              });
}
