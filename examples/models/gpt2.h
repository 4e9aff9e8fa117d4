// GPT-2 (Radford et al. 2019): pre-norm decoder with learned positions and a head tied to the token embedding, with the
// parameter names of Hugging Face transformers.
#pragma once
#include "examples/models/exchange.h"
#include "layers/transformer.h"

namespace ashlar {

struct GptConfig {
  Dim vocab = 50257, context = 1024, width = 768, depth = 12, heads = 12, hidden = 0;  // hidden 0: 4 * width
  double dropout = 0;
  bool checkpoint = false;  // recompute each block in backward instead of keeping its activations
  BlockSpecs linear = {};
};

class Gpt2 final : public Module {
 public:
  Gpt2(const Scope& scope, const GptConfig& config);
  // tokens (B, T) i32, T at most `context` -> the last hidden state (B, T, width)
  Tensor hidden(const Tensor& tokens) const;
  // Mean loss over the targets (B, T) i32 that are not -1; `counted`: how many these are, if known (F::Targets).
  Tensor loss(const Tensor& tokens, const Array& targets, Dim counted = -1) const;
  // Logits of the last position (B, vocab), in the master dtype.
  Tensor next_token_logits(const Tensor& tokens) const;
  // Logits of every position (B, T, vocab), for tests and small batches.
  Tensor logits(const Tensor& tokens) const;

  const GptConfig& config() const { return config_; }
  // The names and shapes of Hugging Face transformers, whose Conv1D keeps dense weights as (in, out). `prefix` is
  // "" in most published files, "transformer." in others.
  static Exchange huggingface(const std::string& prefix = "");
  // Loads a file of either kind, ours or theirs.
  void load(const SafetensorsFile& file);
  // Multiply-accumulates of one forward pass a token at full context, head and attention included.
  Dim macs_per_token(bool dense = false);

 private:
  GptConfig config_;
  Array positions_;  // (context) i32
  Embedding wte_, wpe_;
  Dropout dropout_;
  ModuleList<Block> h_;
  LayerNorm ln_f_;
};

}  // namespace ashlar
