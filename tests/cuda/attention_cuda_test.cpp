#include "kernels/attention/attention.h"

#include "kernels/attention/cuda.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("attention, forward and backward", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const bool causal : {false, true}) {
      // Heads of 32, 64 and 128 in bf16 go to the tensor cores; lengths around the sizes of their tiles, which five warps
      // fill better than four (150, 200) or not.
      for (const auto& [length, depth] : {std::pair<Dim, Dim>{1, 64}, {65, 64}, {64, 32}, {130, 128}, {190, 64}, {200, 64},
                                          {150, 32}, {33, 20}}) {
        const Dim time = dtype == DType::bf16 ? length : amount(length, std::min<Dim>(length, 65));
        if (time < length && depth == 64) continue;  // as above
        INFO(dtype << " T " << time << " D " << depth << (causal ? " causal" : ""));
        const Dim batch = 2, heads = amount(3, 2);
        const Array qkv = randn({batch, time, 3, heads, depth}, dtype, 1), dy = randn({batch, time, heads, depth}, dtype, 2);
        const Array lse = Array::zeros({batch, heads, time}, master_dtype(dtype));
        const double scale = 1 / std::sqrt(static_cast<double>(depth));
        same_on_gpu({qkv, dy}, {nan_like(dy), nan_like(lse), nan_like(qkv)}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      const auto part = [](const Array& a, Dim which) { return a.select(2, which).transpose(1, 2); };
                      const Array q = part(in[0], 0), k = part(in[0], 1), v = part(in[0], 2), o = out[0].transpose(1, 2);
                      kernels::attention_forward(exec, q, k, v, scale, causal, o, out[1]);
                      kernels::attention_backward(exec, in[1].transpose(1, 2), q, k, v, o, out[1], scale, causal,
                                                  part(out[2], 0), part(out[2], 1), part(out[2], 2));
                    });
      }
    }
  }
}

#ifdef ASHLAR_HAS_CUDNN
// Where cuDNN is missing or has no kernel the project's own are used, and nobody would notice.
TEST_CASE("cuDNN takes the attention of the programs, with the results of the project's own kernels", "[cuda]") {
  if (!has_gpu()) return;
  if (const char* const value = std::getenv("ASHLAR_CUDNN"); value && std::string(value) == "off") return;
  using namespace kernels::attention;
  for (const auto& [length, causal] : {std::pair<Dim, bool>{1024, true}, {128, false}, {65, false}}) {
    INFO("T " << length);
    // As a model has them: q, k and v (B, H, T, D) are parts of one projection (B, T, 3, H, D), and so are their gradients; o
    // and its gradient are (B, T, H, D) in memory.
    const Shape rows{2, 4, length}, heads{2, length, 4, 64}, packed{2, length, 3, 4, 64};
    const Array qkv = randn(packed, DType::bf16, 1).to(kGpu), d_o = randn(heads, DType::bf16, 2).to(kGpu).transpose(1, 2);
    const auto part = [](const Array& of, Dim which) { return of.select(2, which).transpose(1, 2); };
    const Array q = part(qkv, 0), k = part(qkv, 1), v = part(qkv, 2);
    const auto results = [&] {
      const Array o = Array::full(heads, NAN, DType::bf16, kGpu), dqkv = Array::full(packed, NAN, DType::bf16, kGpu);
      return Arrays{Array::full(rows, NAN, DType::f32, kGpu), o.transpose(1, 2), part(dqkv, 0), part(dqkv, 1), part(dqkv, 2)};
    };
    const Arrays own = results(), got = results();  // lse, o, dq, dk, dv
    const Array delta = empty_like(own[0]);
    forward_tensor_cores(q.exec(), {q, k, v, 0.125, causal, own[1], own[0]});
    CHECK(forward_cudnn(q.exec(), {q, k, v, 0.125, causal, got[1], got[0]}));
    backward_tensor_cores(q.exec(), {d_o, q, k, v, own[1], own[0], 0.125, causal, own[2], own[3], own[4], delta});
    const AnyOrder any_order;
    const bool taken = backward_cudnn(q.exec(), {d_o, q, k, v, got[1], got[0], 0.125, causal, got[2], got[3], got[4]});
    CHECK(taken == (length % 128 == 0));
    for (std::size_t i = 0; i < (taken ? own.size() : 2); ++i) {
      INFO("result " << i);
      CHECK(difference(got[i].to(Device{}), own[i].to(Device{})) <= gpu_tolerance(DType::bf16));
    }
  }
}
#endif

// What lies beyond the last key has a score of 0: beside scores of -300 it would weigh exp(300).
TEST_CASE("attention with scores far below zero", "[cuda]") {
  if (!has_gpu()) return;
  for (const auto& [dtype, time] : {std::pair<DType, Dim>{DType::f32, 41}, {DType::bf16, 41}, {DType::bf16, 105}}) {
    for (const bool causal : {false, true}) {
      INFO(dtype << (causal ? " causal" : "") << " T " << time);
      constexpr Dim kDepth = 64;
      const Array dy = randn({1, 1, time, kDepth}, dtype, 2), v = randn({1, 1, time, kDepth}, dtype, 3);
      const Array q = randn({1, 1, time, kDepth}, dtype, 4), k = randn({1, 1, time, kDepth}, dtype, 5);
      copy(Array::full({1, 1, time, 32}, 5, dtype), q.slice(3, 0, 32));
      copy(Array::full({1, 1, time, 32}, -15, dtype), k.slice(3, 0, 32));
      const Array lse = Array::zeros({1, 1, time}, DType::f32);
      // Exponents of 300 lose digits, and so does dq, whose large features of k cancel.
      same_on_gpu({q, k, v, dy}, {nan_like(v), nan_like(lse), nan_like(v), nan_like(v), nan_like(v)},
                  dtype == DType::f32 ? 2e-4 : 0.1,
                  [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::attention_forward(exec, in[0], in[1], in[2], 0.125, causal, out[0], out[1]);
                    kernels::attention_backward(exec, in[3], in[0], in[1], in[2], out[0], out[1], 0.125, causal, out[2],
                                                out[3], out[4]);
                  });
    }
  }
}

// A product with a mask of 0 would let them through.
TEST_CASE("keys that a causal row does not see reach it by no infinity and no NaN", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kDepth = 64;
  for (const auto& [dtype, time] : {std::pair<DType, Dim>{DType::f32, 41}, {DType::bf16, 41}, {DType::bf16, 105}}) {
    INFO(dtype << " T " << time);
    const Array dy = randn({1, 1, time, kDepth}, dtype, 2), v = randn({1, 1, time, kDepth}, dtype, 3);
    const Array q = randn({1, 1, time, kDepth}, dtype, 4), k = randn({1, 1, time, kDepth}, dtype, 5);
    const Array lse = Array::zeros({1, 1, time}, DType::f32), last = k.slice(2, time - 1, time);
    const auto forward = [](const Exec& exec, const Arrays& in, const Arrays& out) {
      kernels::attention_forward(exec, in[0], in[1], in[2], 0.125, true, out[0], out[1]);
    };
    // Scores of 300, with which exp(score - lse) of the rows before is infinite.
    copy(Array::full({1, 1, time, 32}, 5, dtype), q.slice(3, 0, 32));
    copy(Array::full({1, 1, 1, 32}, 15, dtype), last.slice(3, 0, 32));
    same_on_gpu({q, k, v, dy}, {nan_like(v), nan_like(lse), nan_like(v), nan_like(v), nan_like(v)},
                dtype == DType::f32 ? 2e-4 : 0.1, [&](const Exec& exec, const Arrays& in, const Arrays& out) {
                  forward(exec, in, out);
                  kernels::attention_backward(exec, in[3], in[0], in[1], in[2], out[0], out[1], 0.125, true, out[2], out[3], out[4]);
                });
    copy(Array::full(last.shape(), NAN, dtype), last);
    for (const Device device : {Device{}, kGpu}) {
      const Array o = Array::zeros(v.shape(), dtype, device), sums = Array::zeros(lse.shape(), DType::f32, device);
      forward(o.exec(), {q.to(device), k.to(device), v.to(device)}, {o, sums});
      const auto values = o.to_vector<float>();
      const auto finite = std::ranges::count_if(values, [](float value) { return std::isfinite(value); });
      CHECK(finite == (time - 1) * kDepth);
    }
  }
}

TEST_CASE("attention of fewer queries than keys", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const bool causal : {false, true}) {
      // As above; a decoder's single query, queries over several tiles, and first or last keys of a tile that one query sees.
      for (const auto& [keys, queries, depth] : {std::array<Dim, 3>{1, 1, 64}, {65, 1, 64}, {130, 70, 128}, {200, 3, 32},
                                                 {300, 129, 64}, {33, 2, 20},
                                                 {201, 200, 32}, {130, 100, 32}}) {
        INFO(dtype << " keys " << keys << " queries " << queries << " D " << depth << (causal ? " causal" : ""));
        const Dim batch = 2, heads = amount(3, 1), first = keys - queries;
        const Array qkv = randn({3, batch, keys, heads, depth}, dtype, 1), o = randn({batch, queries, heads, depth}, dtype, 2);
        const Array lse = Array::zeros({batch, heads, queries}, master_dtype(dtype));
        const double scale = 1 / std::sqrt(static_cast<double>(depth));
        same_on_gpu({qkv}, {nan_like(o), nan_like(lse)}, gpu_tolerance(dtype),
                    [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                      const auto part = [&](Dim which) { return in[0].select(0, which).transpose(1, 2); };
                      const Array k = part(1);
                      kernels::attention_forward(exec, part(0).slice(2, first, k.size(2)), k, part(2), scale, causal,
                                                 out[0].transpose(1, 2), out[1]);
                    });
      }
    }
  }
}

TEST_CASE("attention with a scale that is not positive, and of operands that begin where no vector does", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kTime = 70, kDepth = 32;
  const Shape heads{1, 2, kTime, kDepth};
  for (const double scale : {0.0, -0.2, 0.2}) {
    for (const int odd : {-1, 0, 1}) {  // q; k and v
      INFO("scale " << scale << ", operand " << odd);
      const auto operand = [&](std::uint64_t key) { return randn({heads.numel() + 8}, DType::bf16, key); };
      const Array o = Array::full(heads, NAN, DType::bf16), lse = Array::full({1, 2, kTime}, NAN);
      same_on_gpu({operand(1), operand(2), operand(3), operand(4)}, {o, lse, o, o, o}, 3 * gpu_tolerance(DType::bf16),
                  [=](const Exec& exec, const Arrays& in, const Arrays& out) {
                    const auto part = [&](const Array& a, int which) {
                      return a.slice(0, which == odd ? 1 : 0, (which == odd ? 1 : 0) + heads.numel()).reshape(heads);
                    };
                    const Array q = part(in[0], 0), k = part(in[1], 1), v = part(in[2], 1), d_o = part(in[3], 2);
                    kernels::attention_forward(exec, q, k, v, scale, true, out[0], out[1]);
                    kernels::attention_backward(exec, d_o, q, k, v, out[0], out[1], scale, true, out[2], out[3], out[4]);
                  });
    }
  }
}

TEST_CASE("attention of no batch", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Array q = Array::zeros({0, 2, 5, 32}, dtype, kGpu), lse = Array::zeros({0, 2, 5}, DType::f32, kGpu);
    kernels::attention_forward(q.exec(), q, q, q, 1, true, q, lse);
    kernels::attention_backward(q.exec(), q, q, q, q, q, lse, 1, true, q, q, q);
  }
}

TEST_CASE("attention on a GPU refuses wide heads and an lse with gaps", "[cuda]") {
  if (!has_gpu()) return;
  const auto forward = [](Dim depth, const Array& lse) {
    const Array q = Array::zeros({1, 1, 2, depth}, DType::f32, kGpu);
    kernels::attention_forward(q.exec(), q, q, q, 1, false, empty_like(q), lse);
  };
  const Array lse = Array::zeros({1, 1, 2, 2}, DType::f32, kGpu);
  CHECK_THROWS_WITH(forward(8, lse.select(3, 0)), says("lse (1, 1, 2) must be contiguous on a GPU"));
  CHECK_THROWS_WITH(forward(257, lse.select(3, 0).as_contiguous()), says("heads of 257 features are too large for a GPU"));
}

TEST_CASE("attention of more heads than a grid is high", "[cuda][large]") {
  if (!has_gpu()) return;
  const Dim batch = amount((1 << 13) + 1, 3), heads = 8;  // a minute for the emulator
  const Array qkv = randn({3, batch, heads, 1, 32}, DType::bf16, 1), o = randn({batch, heads, 1, 32}, DType::bf16, 2);
  const Array lse = Array::zeros({batch, heads, 1}, DType::f32);
  same_on_gpu({qkv, o}, {nan_like(o), nan_like(lse), nan_like(qkv)}, gpu_tolerance(DType::bf16),
              [](const Exec& exec, const Arrays& in, const Arrays& out) {
                const Array q = in[0].select(0, 0), k = in[0].select(0, 1), v = in[0].select(0, 2);
                kernels::attention_forward(exec, q, k, v, 0.2, false, out[0], out[1]);
                kernels::attention_backward(exec, in[1], q, k, v, out[0], out[1], 0.2, false, out[2].select(0, 0),
                                            out[2].select(0, 1), out[2].select(0, 2));
              });
}
