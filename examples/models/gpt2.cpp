#include "examples/models/gpt2.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "autograd/checkpoint.h"

namespace ashlar {
namespace {

constexpr double kStd = 0.02;
constexpr const char* kPrefix = "transformer.";  // of names in some published files

const GptConfig& checked(const GptConfig& c) {
  ASHLAR_CHECK(c.vocab >= 1 && c.context >= 1 && c.depth >= 0, "gpt2: needs a vocabulary and a context of at least 1");
  ASHLAR_CHECK(c.heads >= 1 && c.width % c.heads == 0, "gpt2: width ", c.width, " must be a multiple of heads ", c.heads);
  return c;
}

// 0 … count - 1 on the device.
Array count_up(Dim count, Device device) {
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  return Array::from(numbers, {count}).to(device);
}

std::optional<Dim> rows_in(const SafetensorsFile& file, const std::string& matrix) {
  for (const char* prefix : {"", kPrefix}) {
    const auto found = file.entries().find(prefix + matrix);
    if (found != file.entries().end() && found->second.shape.size() == 2) return found->second.shape[0];
  }
  return std::nullopt;
}

}  // namespace

Gpt2::Gpt2(const Scope& scope, const GptConfig& c)
    : Module(scope),
      config_(checked(c)),
      positions_(count_up(c.context, scope.device())),
      wte_(sub("wte"), c.vocab, c.width, kStd),
      wpe_(sub("wpe"), c.context, c.width, kStd),
      dropout_(sub("drop"), c.dropout),
      h_(sub("h")),
      ln_f_(sub("ln_f"), c.width, kGptEps) {
  const BlockNames names{.norm1 = "ln_1", .attn = "attn", .qkv = "c_attn", .proj = "c_proj",
                         .norm2 = "ln_2", .mlp = "mlp", .fc1 = "c_fc", .fc2 = "c_proj"};
  for (Dim i = 0; i < c.depth; ++i) {
    h_.add(BlockConfig{.width = c.width, .heads = c.heads, .hidden = c.hidden ? c.hidden : 4 * c.width, .causal = true,
                       .gelu = kernels::Gelu::tanh, .eps = kGptEps, .std = kStd,
                       .residual_std = kStd / std::sqrt(2.0 * static_cast<double>(c.depth)), .dropout = c.dropout,
                       .specs = c.linear, .names = names});
  }
}

Tensor Gpt2::embed(const Tensor& tokens, Dim seen) const {
  ASHLAR_CHECK(tokens.value().ndim() == 2 && seen + tokens.size(1) <= config_.context, "gpt2: tokens ", tokens.shape(),
               " must be (B, T) with T at most the context ", config_.context,
               seen > 0 ? concat(" less the ", seen, " that the cache has seen") : "");
  const Array positions = positions_.slice(0, seen, seen + tokens.size(1));
  return dropout_(wte_(tokens) + wpe_(positions));
}

Tensor Gpt2::hidden(const Tensor& tokens) const {
  Residual stream{embed(tokens, 0)};
  for (const auto& block : h_) {
    if (config_.checkpoint) stream = {checkpoint([&](const Tensor& input) { return (*block)(input); }, stream.sum())};
    else stream = (*block)(stream);
  }
  return ln_f_(stream).y;
}

Tensor Gpt2::loss(const Tensor& tokens, const Array& targets, Dim counted) const {
  const Tensor x = hidden(tokens);
  return F::linear_cross_entropy(F::reshape(x, x.shape().as_rows()), wte_.weight(),
                                 {.target = targets.reshape({-1}), .counted = counted});
}

Tensor Gpt2::logits(const Tensor& tokens) const { return F::linear(hidden(tokens), wte_.weight()); }

Tensor Gpt2::last_logits(const Tensor& hidden) const {
  return F::linear(F::cast(F::select(hidden, 1, hidden.size(1) - 1), scope().master()), wte_.weight());
}

Tensor Gpt2::next_token_logits(const Tensor& tokens) const { return last_logits(hidden(tokens)); }

GptCache Gpt2::make_cache(Dim batch) const {
  const Shape shape{batch, config_.heads, config_.context, config_.width / config_.heads};
  GptCache cache;
  for (Dim block = 0; block < config_.depth; ++block) {
    cache.blocks.push_back({Array::empty(shape, scope().dtype(), scope().device()),
                            Array::empty(shape, scope().dtype(), scope().device())});
  }
  return cache;
}

Tensor Gpt2::next_token_logits(const Tensor& tokens, GptCache& cache) const {
  Residual stream{embed(tokens, cache.length)};
  const Dim end = cache.length + tokens.size(1);
  auto kept = cache.blocks.begin();
  for (const auto& block : h_) {
    stream = (*block)(stream, {kept->keys.slice(2, 0, end), kept->values.slice(2, 0, end)});
    ++kept;
  }
  cache.length = end;
  return last_logits(ln_f_(stream).y);
}

Dim Gpt2::macs_per_token(bool dense) const {
  const ModelCost cost = cost_of(*this);
  const Dim linear = dense ? cost.dense_macs_per_row : cost.macs_per_row;
  // q kᵀ and the product with v see half the context on average.
  return linear + config_.vocab * config_.width + config_.depth * config_.context * config_.width;
}

Exchange Gpt2::huggingface(const std::string& prefix) {
  return [prefix](const Parameter& parameter) {
    const Shape& shape = parameter.tensor.shape();
    const bool conv1d = parameter.info.role == Role::matrix && parameter.name.ends_with(".weight");
    return ForeignTensor{prefix + parameter.name, conv1d ? Shape{shape[1], shape[0]} : shape, conv1d};
  };
}

std::optional<Dim> Gpt2::vocabulary_in(const SafetensorsFile& file) { return rows_in(file, "wte.weight"); }

std::optional<Dim> Gpt2::positions_in(const SafetensorsFile& file) { return rows_in(file, "wpe.weight"); }

void Gpt2::load(const SafetensorsFile& file) {
  const std::string prefix = file.contains(concat(kPrefix, "wte.weight")) ? kPrefix : "";
  const std::string head = "lm_head.weight", embedding = prefix + "wte.weight", positions = prefix + "wpe.weight";
  // The tied head stands in some files again, and old ones hold the causal masks.
  if (file.contains(head) && file.contains(embedding)) {
    const Array a = file.read(head), b = file.read(embedding);
    const std::size_t bytes = static_cast<std::size_t>(a.numel()) * size_of(a.dtype());
    ASHLAR_CHECK(a.shape() == b.shape() && a.dtype() == b.dtype() &&
                     std::memcmp(ConstView(a).data, ConstView(b).data, bytes) == 0,
                 file.path().string(), ": ", head, " differs from ", embedding,
                 "; only a model whose head is the token embedding is possible");
  }
  // Other embeddings of positions than the first rows of a longer one are import_weights()'s to judge.
  const Dim rows = positions_in(file).value_or(config_.context);
  const bool fits = file.contains(positions) && file.shape(positions) == Shape{rows, config_.width} &&
                    is_floating(file.dtype(positions));
  ASHLAR_CHECK(!fits || rows >= config_.context, file.path().string(), ": has ", rows, " positions, and the model a context of ",
               config_.context, "; give --context ", rows, " or less (n_positions of a config.json)");
  const bool shortened = fits && rows > config_.context;
  const Array first = shortened ? read_finite(file, positions).slice(0, 0, config_.context) : Array();
  import_weights(*this, file, huggingface(prefix), [&](const std::string& name) {
    return name == "lm_head.weight" || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
           (shortened && name == positions);
  });
  if (shortened) copy(first, wpe_.weight().value());
}

}  // namespace ashlar
