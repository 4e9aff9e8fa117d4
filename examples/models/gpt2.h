// GPT-2 (Radford et al. 2019): pre-norm decoder with learned positions and a head tied to the token embedding, with the
// parameter names of Hugging Face transformers.
#pragma once
#include <optional>

#include "layers/transformer.h"
#include "layers/weights.h"

namespace ashlar {

constexpr double kGptEps = 1e-5;  // of the layer norms

struct GptConfig {
  Dim vocab = 50257, context = 1024, width = 768, depth = 12, heads = 12, hidden = 0;  // hidden 0: 4 * width
  double dropout = 0;
  bool checkpoint = false;  // recompute each block in backward instead of keeping its activations
  BlockSpecs linear = {};
  std::optional<Dim> end_of_text = {};  // the token between texts, if the vocabulary has one
};

// What a model keeps of the tokens that it has seen, so that each further one costs one position and not all of them.
struct GptCache {
  std::vector<F::KeysValues> blocks;  // with room for `context` positions
  Dim length = 0;                     // positions seen
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
  // For `batch` sequences of which nothing has been seen.
  GptCache make_cache(Dim batch) const;
  // The same where tokens (B, T) follow those that the cache has seen, `context` with them at most; only they are computed,
  // and the cache has seen them then. Call under NoGrad.
  Tensor next_token_logits(const Tensor& tokens, GptCache& cache) const;
  // Logits of every position (B, T, vocab), for tests and small batches.
  Tensor logits(const Tensor& tokens) const;

  const GptConfig& config() const { return config_; }
  // The names and shapes of Hugging Face transformers, whose Conv1D keeps dense weights as (in, out). `prefix` is
  // "" in most published files, "transformer." in others.
  static Exchange huggingface(const std::string& prefix = "");
  // Loads a file of either kind, ours or theirs; of more positions than `context` the first. InputError as of
  // import_weights(), for fewer positions, and for a head of its own.
  void load(const SafetensorsFile& file);
  // The rows of the embeddings of tokens and of positions in such a file, or in a checkpoint; none if it has no such matrix.
  static std::optional<Dim> vocabulary_in(const SafetensorsFile& file);
  static std::optional<Dim> positions_in(const SafetensorsFile& file);
  // Multiply-accumulates of one forward pass a token at full context, head and attention included.
  Dim macs_per_token(bool dense = false) const;

 private:
  // What goes into the blocks of tokens (B, T) after `seen` others.
  Tensor embed(const Tensor& tokens, Dim seen) const;
  Tensor last_logits(const Tensor& hidden) const;

  GptConfig config_;
  Array positions_;  // (context) i32
  Embedding wte_, wpe_;
  Dropout dropout_;
  ModuleList<Block> h_;
  LayerNorm ln_f_;
};

}  // namespace ashlar
