// Attention.
#include <cmath>

#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/ops.h"
#include "kernels/attention/attention.h"

namespace ashlar::F {
namespace {

using autograd::check_defined;

double attention_scale(Dim depth) { return 1.0 / std::sqrt(static_cast<double>(depth)); }

struct AttentionOptions {
  bool causal;
  double scale;
  Dim heads = 0;
};

// One number a row and head for backward. On a GPU always: cuDNN, which is asked only where it is wanted, then computes
// evaluations and what is recomputed as it does training.
Array log_sum_exp(const Context& ctx, const Shape& shape, const Array& like) {
  const bool wanted = ctx.recording() || like.device().type == DeviceType::cuda;
  return wanted ? Array::empty(shape, master_dtype(like.dtype()), like.device()) : Array();
}

// Saved for backward: q, k, v, the output, and its log-sum-exp.
struct Attention : Function<Attention> {
  static constexpr const char* name = "scaled_dot_product_attention";
  static Array forward(Context& ctx, const Array& q, const Array& k, const Array& v, const bool& causal) {
    ASHLAR_CHECK(q.ndim() == 4 && q.shape() == k.shape() && q.shape() == v.shape(), name, ": q ", q.shape(), ", k ",
                 k.shape(), " and v ", v.shape(), " must all be the same (B, H, T, D)");
    const AttentionOptions options{causal, attention_scale(q.size(3))};
    Array o = empty_like(q);
    const Array lse = log_sum_exp(ctx, {q.size(0), q.size(1), q.size(2)}, q);
    kernels::attention_forward(q.exec(), q, k, v, options.scale, causal, o, lse);
    ctx.save(q, k, v, o, lse);
    ctx.keep(options);
    return o;
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const auto& options = ctx.kept<AttentionOptions>();
    const Array& q = ctx.saved(0);
    std::array<Array, 3> gradients;
    for (Array& gradient : gradients) gradient = empty_like(q);
    kernels::attention_backward(dy.exec(), dy.as_contiguous(), q, ctx.saved(1), ctx.saved(2), ctx.saved(3), ctx.saved(4),
                                options.scale, options.causal, gradients[0], gradients[1], gradients[2]);
    return gradients;
  }
};

// The same on slices of the packed projection, so that nothing is taken apart or put together.
struct PackedAttention : Function<PackedAttention> {
  static constexpr const char* name = "multi_head_attention";
  // (B, T, 3 H D) as q, k or v (B, H, T, D)
  static Array part(const Array& qkv, Dim heads, Dim which) {
    const Dim width = qkv.size(2) / (3 * heads);
    return qkv.reshape({qkv.size(0), qkv.size(1), 3, heads, width}).select(2, which).transpose(1, 2);
  }
  static Array heads_of(const Array& o, Dim heads) {  // (B, T, H D) as (B, H, T, D)
    return o.reshape({o.size(0), o.size(1), heads, o.size(2) / heads}).transpose(1, 2);
  }
  static void check(std::string_view operation, const Array& qkv, Dim heads) {
    ASHLAR_CHECK(qkv.ndim() == 3 && heads > 0 && qkv.size(2) % (3 * heads) == 0, operation, ": qkv ", qkv.shape(),
                 " must be (B, T, 3 * heads * D) for ", heads, " heads");
  }
  static Array forward(Context& ctx, const Array& qkv, const Dim& heads, const bool& causal) {
    check(name, qkv, heads);
    const Array x = qkv.as_contiguous();
    const Dim batch = x.size(0), time = x.size(1), width = x.size(2) / 3;
    const AttentionOptions options{causal, attention_scale(width / heads), heads};
    Array o = Array::empty({batch, time, width}, x.dtype(), x.device());
    const Array lse = log_sum_exp(ctx, {batch, heads, time}, x);
    kernels::attention_forward(x.exec(), part(x, heads, 0), part(x, heads, 1), part(x, heads, 2), options.scale, causal,
                               heads_of(o, heads), lse);
    ctx.save(x, o, lse);
    ctx.keep(options);
    return o;
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) {
    const auto& [causal, scale, heads] = ctx.kept<AttentionOptions>();
    const Array &x = ctx.saved(0), &o = ctx.saved(1);
    Array dqkv = empty_like(x);
    kernels::attention_backward(dy.exec(), heads_of(dy.as_contiguous(), heads), part(x, heads, 0), part(x, heads, 1),
                                part(x, heads, 2), heads_of(o, heads), ctx.saved(2), scale, causal, part(dqkv, heads, 0),
                                part(dqkv, heads, 1), part(dqkv, heads, 2));
    return {dqkv};
  }
};

struct CachedAttention : NoBackward<CachedAttention> {
  static constexpr const char* name = "cached_attention";
  static Array forward(Context&, const Array& qkv, const Dim& heads, const KeysValues& cache) {
    PackedAttention::check(name, qkv, heads);
    const Array x = qkv.as_contiguous(), q = PackedAttention::part(x, heads, 0);
    const Dim time = q.size(2), known = cache.keys.ndim() == 4 ? cache.keys.size(2) : 0;
    const Shape expected = q.shape().with(2, known);
    ASHLAR_CHECK(known >= time && cache.keys.shape() == expected && cache.values.shape() == expected,
                 "cached_attention: keys ", cache.keys.shape(), " and values ", cache.values.shape(),
                 " must be (B, H, K, D) with K at least T for q ", q.shape());
    copy(PackedAttention::part(x, heads, 1), cache.keys.slice(2, known - time, known));
    copy(PackedAttention::part(x, heads, 2), cache.values.slice(2, known - time, known));
    Array o = Array::empty({x.size(0), time, x.size(2) / 3}, x.dtype(), x.device());
    kernels::attention_forward(x.exec(), q, cache.keys, cache.values, attention_scale(q.size(3)), true,
                               PackedAttention::heads_of(o, heads), {});
    return o;
  }
};

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v, bool causal) {
  check_defined(Attention::name, q, k, v);
  return Attention::apply(q, k, v, causal);
}

Tensor multi_head_attention(const Tensor& qkv, Dim heads, bool causal) {
  check_defined(PackedAttention::name, qkv);
  return PackedAttention::apply(qkv, heads, causal);
}

Tensor cached_attention(const Tensor& qkv, Dim heads, const KeysValues& cache) {
  check_defined(CachedAttention::name, qkv);
  return CachedAttention::apply(qkv, heads, cache);
}

}  // namespace ashlar::F
