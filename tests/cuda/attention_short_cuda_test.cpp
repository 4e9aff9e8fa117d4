// Attention by the kernels whose shape depends on that of the call: backward_short.cu and plain.cu.
#include "kernels/attention/attention.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("backward of attention over short contexts", "[cuda]") {
  if (!has_gpu()) return;
  for (const Dim depth : {32, 64, 128}) {
    // Whole rows of warps and not, blocks of one to five warps, and the first context that is too long.
    for (const Dim length : {1, 7, 16, 33, 48, 63, 64, 65, 80, 81}) {
      for (const bool causal : {false, true}) {
        INFO("T " << length << " D " << depth << (causal ? " causal" : ""));
        const Dim batch = 2, heads = 2;
        const Array qkv = randn({batch, length, 3, heads, depth}, DType::bf16, 1);
        const Array dy = randn({batch, length, heads, depth}, DType::bf16, 2);
        const double scale = 1 / std::sqrt(static_cast<double>(depth));
        // (B, H, T, D) inside of (B, T, 3, H, D)
        const auto part = [](const Array& a, Dim which) { return a.select(2, which).transpose(1, 2); };
        const Array o = empty_like(dy), lse = Array::empty({batch, heads, length}, DType::f32);
        kernels::attention_forward(Exec{}, part(qkv, 0), part(qkv, 1), part(qkv, 2), scale, causal, o.transpose(1, 2), lse);
        const auto gradients = [&](Device device, DType dtype) {
          const auto there = [&](const Array& a) { return a.to(dtype).to(device); };
          const Array x = there(qkv), d_o = there(dy), y = there(o), dx = there(nan_like(qkv));
          kernels::attention_backward(x.exec(), d_o.transpose(1, 2), part(x, 0), part(x, 1), part(x, 2), y.transpose(1, 2),
                                      lse.to(device), scale, causal, part(dx, 0), part(dx, 1), part(dx, 2));
          return dx.to(Device{});
        };
        const Array expected = gradients(Device{}, DType::f32), got = gradients(kGpu, DType::bf16);
        for (const Dim which : {0, 1, 2}) {
          INFO("gradient " << which);
          const Array exact = part(expected, which), rounded = part(got, which).to(DType::f32);
          if (norm(exact) < 1e-5) CHECK(norm(rounded) < 1e-5);  // of a single score
          else CHECK(relative_error(rounded, exact) <= 4e-3);
        }
        CHECK(bitwise_equal(got, gradients(kGpu, DType::bf16)));
      }
    }
  }
}

TEST_CASE("attention of heads that are no tensor core's", "[cuda]") {
  if (!has_gpu()) return;
  for (const Dim depth : {1, 32, 33, 64, 65, 128, 129, 256}) {  // around what a lane holds one, two, four and eight of
    INFO("D " << depth);
    const Shape heads{1, 2, 5, depth};
    const Array q = randn(heads, DType::f32, 1), k = randn(heads, DType::f32, 2), v = randn(heads, DType::f32, 3);
    const Array d_o = randn(heads, DType::f32, 4), lse = nan_like(Array::empty({1, 2, 5}, DType::f32));
    const double scale = 1 / std::sqrt(static_cast<double>(depth));
    same_on_gpu({q, k, v, d_o}, {nan_like(q), lse, nan_like(q), nan_like(k), nan_like(v)}, gpu_tolerance(DType::f32),
                [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                  kernels::attention_forward(exec, in[0], in[1], in[2], scale, true, out[0], out[1]);
                  kernels::attention_backward(exec, in[3], in[0], in[1], in[2], out[0], out[1], scale, true, out[2], out[3],
                                              out[4]);
                });
  }
}

TEST_CASE("attention of a decoder's query", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const Dim depth : {20, 64, 128, 256}) {
      for (const Dim keys : {2, 7, 8, 65, 300}) {  // fewer than a block has warps, and more than they take at once
        INFO(dtype << " keys " << keys << " D " << depth);
        const Array q = randn({2, 3, 1, depth}, dtype, 1), k = randn({2, 3, keys, depth}, dtype, 2);
        const Array v = randn({2, 3, keys, depth}, dtype, 3), lse = nan_like(Array::zeros({2, 3, 1}, master_dtype(dtype)));
        same_on_gpu({q, k, v}, {nan_like(q), lse, nan_like(q)}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      kernels::attention_forward(exec, in[0], in[1], in[2], 0.3, true, out[0], out[1]);
                      kernels::attention_forward(exec, in[0], in[1], in[2], 0.3, true, out[2], {});
                    });
      }
    }
  }
}

TEST_CASE("attention of a decoder's query to any one key", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kKeys = 16;
  for (const DType dtype : kFloating) {
    const Array q = Array::full({kKeys, 1, 1, 64}, 1, dtype), k = Array::zeros({kKeys, 1, kKeys, 64}, dtype);
    for (Dim key = 0; key < kKeys; ++key) fill(k.select(0, key).slice(1, key, key + 1), 50);
    const Array v = randn(k.shape(), dtype, 3), lse = Array::full({kKeys, 1, 1}, NAN, master_dtype(dtype));
    same_on_gpu({q, k, v}, {nan_like(q), lse}, gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
      kernels::attention_forward(exec, in[0], in[1], in[2], 0.3, true, out[0], out[1]);
    });
  }
}
