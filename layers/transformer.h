// The pieces of a transformer: layer norm, embedding, multi-head attention, MLP, pre-norm block.
// Names of children are given by the model, so that checkpoints carry the names its users know.
#pragma once
#include "layers/linear_map.h"

namespace ashlar {

// The residual stream between blocks: x, and what the branch before adds to it, if anything. The norm that reads the sum
// also computes it, in one pass over memory.
struct Residual {
  Tensor x, branch = {};
  Tensor sum() const { return branch.defined() ? x + branch : x; }
};

class LayerNorm final : public Module {
 public:
  LayerNorm(const Scope& scope, Dim width, double eps);
  Tensor operator()(const Tensor& x) const { return F::layer_norm(x, weight_, bias_, eps_); }
  F::ResidualNorm operator()(const Residual& stream) const;

 private:
  double eps_;
  Tensor weight_, bias_;  // (width)
};

class Embedding final : public Module {
 public:
  Embedding(const Scope& scope, Dim rows, Dim width, double std);
  // ids (…) i32 -> (…, width) in the scope's dtype
  Tensor operator()(const Tensor& ids) const { return F::embedding(weight_, ids, scope().dtype()); }
  const Tensor& weight() const { return weight_; }  // (rows, width)

 private:
  Tensor weight_;
};

class Dropout final : public Module {
 public:
  enum class Per : std::uint8_t { element, sample };  // sample: DropPath, stochastic depth
  Dropout(const Scope& scope, double p, Per per = Per::element);
  Tensor operator()(const Tensor& x) const;

 private:
  double p_;
  Per per_;
};

// What a transformer block is made of, place by place.
struct BlockSpecs {
  std::string qkv = "dense", proj = "dense", fc1 = "dense", fc2 = "dense";

  static constexpr std::array<std::string_view, 4> kPlaces{"qkv", "proj", "fc1", "fc2"};
  std::string& at(std::string_view place);  // InputError for any other name
  bool operator==(const BlockSpecs&) const = default;
  static BlockSpecs everywhere(const std::string& spec) { return {spec, spec, spec, spec}; }
};

struct BlockNames {
  std::string_view norm1 = "norm1", attn = "attn", qkv = "qkv", proj = "proj";
  std::string_view norm2 = "norm2", mlp = "mlp", fc1 = "fc1", fc2 = "fc2";
};

struct BlockConfig {
  Dim width = 0, heads = 0, hidden = 0;
  bool causal = false;
  kernels::Gelu gelu = kernels::Gelu::erf;
  double eps = 1e-5;
  double std = 0.02;           // of weights at initialisation
  double residual_std = 0.02;  // of the two projections that write to the residual stream
  double dropout = 0, drop_path = 0;
  BlockSpecs specs = {};
  BlockNames names = {};
};

class MultiHeadAttention final : public Module {
 public:
  MultiHeadAttention(const Scope& scope, const BlockConfig& config);
  // (B, T, C) -> (B, T, C). With a `cache` (causal attention only), x is the last T positions of those that it has room
  // for, as F::cached_attention says.
  Tensor operator()(const Tensor& x, const F::KeysValues& cache = {}) const;

 private:
  Dim heads_;
  bool causal_;
  Linear qkv_, proj_;
};

class Mlp final : public Module {
 public:
  Mlp(const Scope& scope, const BlockConfig& config);
  Tensor operator()(const Tensor& x) const { return fc2_(fc1_.then_gelu(x, gelu_)); }

 private:
  kernels::Gelu gelu_;
  Linear fc1_, fc2_;
};

// x + attention(norm1(x)), then the same with the MLP.
class Block final : public Module {
 public:
  Block(const Scope& scope, const BlockConfig& config);
  Residual operator()(const Residual& stream, const F::KeysValues& cache = {}) const;  // (B, T, C) -> (B, T, C)
  Tensor operator()(const Tensor& x) const { return (*this)(Residual{x}).sum(); }

 private:
  LayerNorm norm1_;
  MultiHeadAttention attn_;
  LayerNorm norm2_;
  Mlp mlp_;
  Dropout dropout1_, path1_, dropout2_, path2_;
};

}  // namespace ashlar
