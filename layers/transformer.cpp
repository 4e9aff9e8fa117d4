#include "layers/transformer.h"

#include "core/random.h"
#include "core/text.h"

namespace ashlar {

std::string& BlockSpecs::at(std::string_view place) {
  std::string* const specs[] = {&qkv, &proj, &fc1, &fc2};
  for (std::size_t i = 0; i < kPlaces.size(); ++i) {
    if (place == kPlaces[i]) return *specs[i];
  }
  throw InputError(concat("a block has no place '", place, "' for a weight matrix; it has ", join(kPlaces)));
}

LayerNorm::LayerNorm(const Scope& scope, Dim width, double eps)
    : Module(scope),
      eps_(eps),
      weight_(param("weight", {width}, init::ones(), {.role = Role::norm})),
      bias_(param("bias", {width}, init::zeros(), {.role = Role::norm})) {}

F::ResidualNorm LayerNorm::operator()(const Residual& stream) const {
  if (!stream.branch.defined()) return {stream.x, (*this)(stream.x)};
  return F::add_layer_norm(stream.x, stream.branch, weight_, bias_, eps_);
}

Embedding::Embedding(const Scope& scope, Dim rows, Dim width, double std)
    : Module(scope),
      weight_(param("weight", {rows, width}, init::normal(std),
                    {.role = Role::embedding, .fan_in = rows, .fan_out = width})) {}

Dropout::Dropout(const Scope& scope, double p, Per per) : Module(scope), p_(p), per_(per) {
  ASHLAR_CHECK(p >= 0 && p < 1, "dropout ", scope.path(), ": the probability must be in [0, 1), got ", p);
}

Tensor Dropout::operator()(const Tensor& x) const {
  if (!training() || p_ == 0) return x;
  const kernels::DropMask mask{p_, key_of(scope().seed(), scope().path()), step(), step_offset()};
  return per_ == Per::sample ? F::drop_path(x, mask) : F::dropout(x, mask);
}

MultiHeadAttention::MultiHeadAttention(const Scope& scope, const BlockConfig& c)
    : Module(scope),
      heads_(c.heads),
      causal_(c.causal),
      qkv_(sub(c.names.qkv), c.width, 3 * c.width, c.specs.qkv, {.std = c.std}),
      proj_(sub(c.names.proj), c.width, c.width, c.specs.proj, {.std = c.residual_std}) {
  ASHLAR_CHECK(c.heads >= 1 && c.width % c.heads == 0, scope.path(), ": width ", c.width, " must be a multiple of heads ",
               c.heads);
}

Tensor MultiHeadAttention::operator()(const Tensor& x, const F::KeysValues& cache) const {
  if (!cache.keys.defined()) return proj_(F::multi_head_attention(qkv_(x), heads_, causal_));
  ASHLAR_CHECK(causal_, "attention ", scope().path(), ": only causal attention can go on from a cache");
  return proj_(F::cached_attention(qkv_(x), heads_, cache));
}

Mlp::Mlp(const Scope& scope, const BlockConfig& c)
    : Module(scope),
      gelu_(c.gelu),
      fc1_(sub(c.names.fc1), c.width, c.hidden, c.specs.fc1, {.std = c.std}),
      fc2_(sub(c.names.fc2), c.hidden, c.width, c.specs.fc2, {.std = c.residual_std}) {}

Block::Block(const Scope& scope, const BlockConfig& c)
    : Module(scope),
      norm1_(sub(c.names.norm1), c.width, c.eps),
      attn_(sub(c.names.attn), c),
      norm2_(sub(c.names.norm2), c.width, c.eps),
      mlp_(sub(c.names.mlp), c),
      dropout1_(sub("dropout1"), c.dropout),
      path1_(sub("drop_path1"), c.drop_path, Dropout::Per::sample),
      dropout2_(sub("dropout2"), c.dropout),
      path2_(sub("drop_path2"), c.drop_path, Dropout::Per::sample) {}

Residual Block::operator()(const Residual& stream, const F::KeysValues& cache) const {
  const auto [x, x_norm] = norm1_(stream);
  const auto [y, y_norm] = norm2_(Residual{x, path1_(dropout1_(attn_(x_norm, cache)))});
  return {y, path2_(dropout2_(mlp_(y_norm)))};
}

}  // namespace ashlar
