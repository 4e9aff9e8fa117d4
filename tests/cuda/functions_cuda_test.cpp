// Functions of one value and softmax on a GPU against the CPU.
#include "autograd/ops.h"
#include "kernels/softmax/softmax.h"
#include "kernels/unary/unary.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;
using kernels::Unary;

namespace {

constexpr Unary kAll[] = {Unary::relu, Unary::sigmoid, Unary::silu, Unary::tanh, Unary::exp, Unary::log, Unary::sqrt};

Array magnitudes(const Array& x) {
  std::vector<double> values = x.to_vector<double>();
  for (double& v : values) v = std::abs(v) + 0.25;
  return Array::from(values, x.shape()).to(x.dtype());
}

}  // namespace

TEST_CASE("functions of one value", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim size : {Dim{1}, Dim{1000}, Dim{4099}}) {
      const Array values = randn({3, size}, dtype, 1), dy = randn({3, size}, dtype, 2);
      for (const Unary kind : kAll) {
        INFO(dtype << " " << size << " " << kernels::name_of(kind));
        const Array x = kind == Unary::log || kind == Unary::sqrt ? magnitudes(values) : values;
        same_on_gpu({x, dy}, {nan_like(x), nan_like(x), x, dy}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::unary_forward(exec, in[0], kind, out[0]);
                      kernels::unary_backward(exec, in[0], in[1], kind, out[1]);
                      kernels::unary_forward(exec, out[2], kind, out[2]);
                      kernels::unary_backward(exec, in[0], out[3], kind, out[3]);
                    });
      }
    }
  }
}

TEST_CASE("functions of one value at the ends of their range are those of the CPU", "[cuda]") {
  if (!has_gpu()) return;
  const std::vector<double> ends{-INFINITY, -3e38, -1000, -1, -0.0, 0, 1, 4, 1000, 3e38, INFINITY, NAN};
  for (const DType dtype : kFloating) {
    const Array x = Array::from(ends, {static_cast<Dim>(ends.size())}).to(dtype), ones = Array::full(x.shape(), 1, dtype);
    for (const Unary kind : kAll) {
      const auto results = [&](Device device) {
        const Array there = x.to(device), y = empty_like(there), dx = empty_like(there);
        kernels::unary_forward(y.exec(), there, kind, y);
        kernels::unary_backward(y.exec(), there, ones.to(device), kind, dx);
        return std::pair{y.to_vector<double>(), dx.to_vector<double>()};
      };
      const auto [y, dx] = results(kGpu);
      const auto [expected_y, expected_dx] = results({});
      const auto same = [&](double a, double b) {
        if (!std::isfinite(a) || !std::isfinite(b)) return std::isnan(a) ? std::isnan(b) : a == b;
        return std::abs(a - b) <= gpu_tolerance(dtype) * std::abs(b);
      };
      for (std::size_t i = 0; i < ends.size(); ++i) {
        INFO(dtype << " " << kernels::name_of(kind) << " of " << ends[i] << ": " << y[i] << " and " << dx[i]);
        CHECK(same(y[i], expected_y[i]));
        CHECK(same(dx[i], expected_dx[i]));
      }
    }
  }
}

TEST_CASE("softmax", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    // Of a warp and of a block, in vectors and not, whose threads all have a share and not.
    for (const auto& [rows, columns] : {std::pair{5, 1}, {7, 8}, {3, 64}, {4, 77}, {2, 1000}, {2, 2048}, {2, 5001}}) {
      INFO(dtype << " " << rows << " x " << columns);
      const Array x = randn({rows, columns}, dtype, 1), dy = randn({rows, columns}, dtype, 2), y = empty_like(x);
      kernels::softmax_forward({}, x, y);
      same_on_gpu({x, y, dy}, {nan_like(x), nan_like(x), x, dy, y}, gpu_tolerance(dtype),
                  [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::softmax_forward(exec, in[0], out[0]);
                    kernels::softmax_backward(exec, in[1], in[2], out[1]);
                    kernels::softmax_forward(exec, out[2], out[2]);
                    kernels::softmax_backward(exec, in[1], out[3], out[3]);
                    kernels::softmax_backward(exec, out[4], in[2], out[4]);
                  });
    }
    const Array masked = Array::full({3, 40}, -INFINITY, dtype);
    fill(masked.slice(0, 1, 2).slice(1, 33, 34), -5);
    fill(masked.slice(0, 2, 3).slice(1, 3, 4), NAN);
    const Array there = masked.to(kGpu), y = empty_like(there);
    kernels::softmax_forward(there.exec(), there, y);
    const auto values = y.to_vector<double>();
    for (std::size_t c = 0; c < 40; ++c) {
      CHECK(std::isnan(values[c]));
      CHECK(values[40 + c] == (c == 33 ? 1 : 0));
      CHECK(std::isnan(values[80 + c]));
    }
  }
}

TEST_CASE("softmax of a row whose largest value is any thread's", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kColumns = 2048;
  for (const DType dtype : kFloating) {
    const Array x = Array::zeros({kColumns / 64, kColumns}, dtype);
    for (Dim row = 0; row < x.size(0); ++row) fill(x.slice(0, row, row + 1).slice(1, 64 * row, 64 * row + 1), 1000);
    same_on_gpu({x}, {nan_like(x)}, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
      kernels::softmax_forward(exec, in[0], out[0]);
    });
  }
}

TEST_CASE("softmax of more rows than a grid has blocks", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = randn({(1 << 15) + 3, 2}, DType::f32, 1), dy = randn(x.shape(), DType::f32, 2);
  same_on_gpu({x, dy}, {nan_like(x), nan_like(x)}, gpu_tolerance(DType::f32),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                kernels::softmax_forward(exec, in[0], out[0]);
                kernels::softmax_backward(exec, out[0], in[1], out[1]);
              });
}

TEST_CASE("a forward with numbers and functions can be recorded, and repeats with new values", "[cuda]") {
  if (!has_gpu()) return;
  const auto f = [](const Tensor& x) {
    return F::sum(F::softmax(F::silu(2.0 - x) / (1.0 + F::exp(-x)), 0), 1);
  };
  const Tensor x = Tensor::leaf(randn({33, 20}, DType::f32, 1).to(kGpu));
  const Array dy = randn({33}, DType::f32, 2);
  Array y, dx;
  const Array there = dy.to(kGpu);
  const auto recording = cuda::record(0, [&] {
    x.zero_grad();
    const Tensor result = f(x);
    result.backward(there);
    y = result.value(), dx = x.grad();
  });
  for (const std::uint64_t seed : {3u, 4u}) {
    const Tensor here = Tensor::leaf(randn({33, 20}, DType::f32, seed));
    copy(here.value(), x.value());
    recording->replay();
    const Tensor expected = f(here);
    expected.backward(dy);
    CHECK(difference(y.to(Device{}), expected.value()) <= gpu_tolerance(DType::f32));
    CHECK(difference(dx.to(Device{}), here.grad()) <= gpu_tolerance(DType::f32));
  }
}
