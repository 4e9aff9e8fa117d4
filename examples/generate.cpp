// generate: prints text from a trained GPT-2, ours or one of Hugging Face's.
#include <algorithm>
#include <cstdio>

#include "core/parallel.h"
#include "core/random.h"
#include "core/safetensors.h"
#include "data/tokenizer.h"
#include "examples/models/saved.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/sampling.h"
#include "examples/support/system.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  std::filesystem::path model, tokenizer;
  std::string prompt = "The";
  std::int64_t tokens = 200;
  Sampling sampling;
  std::uint64_t seed = 1;
  bool cache = true;
  std::string device = "cpu", dtype = "f32";
  int threads = 0;
};

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

// Logits after `ids`, all but the last few of which the cache has seen. The model sees the last `context` of them. Once
// there are more, the window slides: every token in it moves to another position, whose embedding is a part of all that
// a cache would keep, and so the window is computed again, as it always is without a cache.
std::vector<float> next_logits(const Gpt2& model, const std::vector<data::TokenId>& ids, GptCache* cache) {
  const auto context = static_cast<std::size_t>(model.config().context);
  const bool go_on = cache && ids.size() <= context;
  const std::size_t first = go_on ? static_cast<std::size_t>(cache->length) : ids.size() - std::min(ids.size(), context);
  const std::vector<data::TokenId> tokens(ids.begin() + static_cast<std::ptrdiff_t>(first), ids.end());
  const Array batch = Array::from(tokens, {1, static_cast<Dim>(tokens.size())});
  return (go_on ? model.next_token_logits(batch, *cache) : model.next_token_logits(batch)).value().to_vector<float>();
}

void run(int argc, char** argv) {
  Settings s;
  Options options("generate", "Writes text with a trained GPT-2.");
  options.add("model", s.model, "folder with config.json, model.safetensors and the tokenizer").value_name("DIR");
  options.add("tokenizer", s.tokenizer, concat(kTokenizerFolder, "; default: that of --model")).value_name("DIR");
  options.add("prompt", s.prompt, "text to continue; after <|endoftext|> a new text begins").value_name("TEXT");
  options.add("tokens", s.tokens, "tokens to generate").at_least(0);
  options.add("temperature", s.sampling.temperature, "1: draw by the model's probabilities; below: more cautiously; 0: take the likeliest")
      .at_least(0);
  options.add("top_k", s.sampling.top_k, "draw among the N likeliest; 0: all").at_least(0);
  options.add("top_p", s.sampling.top_p, "of these, draw among the fewest whose probabilities add up to this share; 1: all")
      .at_least(0)
      .at_most(1);
  options.add("seed", s.seed, "seed of the draws");
  options.add("cache", s.cache, "keep keys and values of earlier tokens instead of computing them again for each new one");
  add_device_option(options, s.device);
  add_dtype_option(options, s.dtype);
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  check_model_folder(s.model, "train_gpt");
  set_num_threads(s.threads);

  const Scope scope = Scope::root(parse_dtype(s.dtype), 0, Device::parse(s.device)).for_loading();
  Gpt2 model(scope, read_gpt_config(s.model / "config.json"));
  const std::filesystem::path weights = s.model / "model.safetensors";
  model.load(SafetensorsFile(weights));
  model.freeze();
  const data::Tokenizer tokenizer = data::Tokenizer::load(s.tokenizer.empty() ? s.model : s.tokenizer);
  check_vocabulary(tokenizer.vocab_size(), model.config().vocab, weights);

  const NoGrad no_grad;
  std::vector<data::TokenId> ids = tokenizer.encode(s.prompt);
  if (ids.empty()) ids.push_back(tokenizer.end_of_text().value_or(0));
  if (const Dim given = std::ssize(ids), seen = model.config().context; given > seen) {
    std::fprintf(stderr, "generate: note: the model sees %lld tokens at a time, the last ones of the prompt's %lld\n",
                 static_cast<long long>(seen), static_cast<long long>(given));
  }
  print(s.prompt);
  GptCache cache = model.make_cache(1);
  const Random draws(key_of(s.seed, "generate"));
  for (std::int64_t i = 0; i < s.tokens; ++i) {
    std::vector<float> logits = next_logits(model, ids, s.cache ? &cache : nullptr);
    logits.resize(static_cast<std::size_t>(tokenizer.vocab_size()));
    check_logits(logits, weights);
    const auto next = static_cast<data::TokenId>(sample(logits, s.sampling, draws.uniform(static_cast<std::uint64_t>(i))));
    if (next == tokenizer.end_of_text()) break;
    ids.push_back(next);
    print(tokenizer.token(next));
    std::fflush(stdout);
  }
  print("\n");
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
