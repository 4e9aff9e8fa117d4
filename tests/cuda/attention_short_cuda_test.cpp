// The backward of attention over contexts that a block holds (kernels/attention/backward_short.cu).
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
