// train_gpt: trains a GPT-2 on WikiText, any text in two splits or in one file, or the project's own sources.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/safetensors.h"
#include "data/bpe_trainer.h"
#include "data/locate.h"
#include "data/prefetch.h"
#include "examples/models/saved.h"
#include "examples/support/evaluate.h"
#include "examples/support/program.h"
#include "examples/support/trainer.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  TrainingOptions training;
  GptConfig gpt{.vocab = 8192, .context = 256, .width = 256, .depth = 6, .heads = 4};
  std::filesystem::path tokenizer;
  std::int64_t eval_windows = 0;
};

void add_options(Options& options, Settings& s) {
  s.training.out = "runs/gpt";
  s.training.batch = 16;
  add_training_options(options, s.training,
                       "folder with wiki.{train,valid,test}.{tokens,raw}, with one *train*.txt, one *valid*.txt and optionally "
                       "one *test*.txt, or with a single .txt, or such a file, whose last tenth is then held out for validation");
  options.group("Model");
  options.add("width", s.gpt.width, "width of the residual stream").at_least(1);
  options.add("depth", s.gpt.depth, "number of blocks").at_least(0);
  options.add("heads", s.gpt.heads, "attention heads").at_least(1);
  options.add("hidden", s.gpt.hidden, "width inside the MLP; 0: four times the width").at_least(0);
  options.add("context", s.gpt.context, "tokens that the model sees at a time; with --init-from at most as many as it has positions")
      .at_least(1);
  options.add("dropout", s.gpt.dropout, "dropout on the embedding and the branches").at_least(0).at_most(0.99);
  options.add("recompute", s.gpt.checkpoint, "recompute each block in backward instead of keeping its activations");
  options.group("Text");
  options.add("tokenizer", s.tokenizer,
              concat(kTokenizerFolder, "; default: the one beside --init-from, or learned from the training split; a resumed run "
                                       "keeps its own"))
      .value_name("DIR");
  options.add("vocab", s.gpt.vocab, "size of the vocabulary, if it is learned").at_least(1);
  options.add("eval_windows", s.eval_windows,
              "evaluate only the first N windows of a split, taking the words per token of the whole; 0: all of it")
      .at_least(0);
  options.group("");
}

void take_over_network(const Options& options, Settings& s) {
  const std::filesystem::path file = s.training.config_of_weights(options.program());
  if (file.empty()) return;
  const GptConfig its = read_gpt_config(file);
  take_over(options, "width", s.gpt.width, its.width);
  take_over(options, "depth", s.gpt.depth, its.depth);
  take_over(options, "heads", s.gpt.heads, its.heads);
  take_over(options, "hidden", s.gpt.hidden, its.hidden);
  take_over(options, "context", s.gpt.context, its.context);
  take_over_linear(options, s.training, its.linear);
}

// A resumed run goes on with the vocabulary it began with, which lies in its folder, wherever that came from; given weights
// with theirs.
data::Tokenizer find_tokenizer(const Settings& s, const data::TextDataset& text) {
  if (s.training.resume) return data::Tokenizer::load(s.training.out);
  if (!s.tokenizer.empty()) return data::Tokenizer::load(s.tokenizer);
  if (!s.training.init_from.empty()) {
    open_weights("--init-from", s.training.init_from);  // or what is wrong with them
    const auto folder = s.training.init_from.parent_path();
    ASHLAR_CHECK(data::Tokenizer::is_in(folder), "--init-from ", s.training.init_from.string(),
                 ": no vocabulary lies beside these weights, whose tokens would mean something else with a new one; give the "
                 "folder of theirs as --tokenizer");
    return data::Tokenizer::load(folder);
  }
  ASHLAR_CHECK(s.gpt.vocab > 256, "--vocab ", s.gpt.vocab, ": a vocabulary of bytes has at least 257 tokens; give more, or --tokenizer");
  std::printf("learning a vocabulary of %lld tokens …\n", static_cast<long long>(s.gpt.vocab));
  return data::train_bpe(text.train, s.gpt.vocab);
}

// The rows of the embedding: a token each, and in given weights perhaps more, as a multiple of 64 is faster.
Dim rows_of(const Settings& s, const data::Tokenizer& tokenizer) {
  const Dim tokens = tokenizer.vocab_size();
  const TrainingOptions& t = s.training;
  if (!t.resume && t.init_from.empty()) return tokens;
  const SafetensorsFile file =
      t.resume ? SafetensorsFile(RunFolder{t.out}.checkpoint()) : open_weights("--init-from", t.init_from);
  const Dim rows = Gpt2::vocabulary_in(file).value_or(tokens);
  check_vocabulary(tokens, rows, file.path());
  return rows;
}

void load_given_weights(Gpt2& model, const std::filesystem::path& path) {
  const SafetensorsFile file = open_weights("--init-from", path);
  model.load(file);
  const Dim context = model.config().context, positions = Gpt2::positions_in(file).value_or(context);
  if (positions > context) {
    std::printf("--init-from: the first %lld of %lld positions\n", static_cast<long long>(context), static_cast<long long>(positions));
  }
}

// What cannot be built or trained is told by one of its blocks, before data are read.
void check_settings(const Settings& s) {
  GptConfig small = s.gpt;
  small.vocab = small.context = 1;
  small.depth = std::min<Dim>(small.depth, 1);
  check_optimizer(Gpt2(Scope::root(s.training.compute_dtype(), s.training.seed), small), s.training);
}

void run(int argc, char** argv) {
  Settings s;
  Options options("train_gpt", "Trains a GPT-2 on text and leaves the run in --out.");
  add_options(options, s);
  options.ignored_keys(huggingface_config({}));
  if (!options.parse(argc, argv)) return;
  take_over_network(options, s);
  s.training.find_data(options, data::downloaded_text);
  const TrainingOptions& t = s.training;
  RunFolder{t.out}.check(t.start());
  std::error_code not_there;
  ASHLAR_CHECK(t.start() != RunStart::fresh || !data::Tokenizer::is_in(t.out) ||
                   std::filesystem::equivalent(s.tokenizer, t.out, not_there),
               "--out ", t.out.string(), " holds a vocabulary, which the run's own would replace; give it as --tokenizer too, "
               "or another --out");
  apply_to_process(t, options.program());
  s.gpt.linear = t.linear;
  check_settings(s);

  const data::TextDataset text = t.data.empty() ? data::embedded_text() : data::load_text(t.data);
  std::printf("data: %s\n", text.description.c_str());
  const data::Tokenizer tokenizer = find_tokenizer(s, text);
  s.gpt.vocab = rows_of(s, tokenizer);
  s.gpt.end_of_text = tokenizer.end_of_text();
  auto train_tokens = tokenizer.encode(text.train);
  const auto split_of = [&](const std::string& held_out) {
    return text_split(held_out, tokenizer, t.batch_part(), s.gpt.context, s.eval_windows);
  };
  TextSplit valid = split_of(text.valid);
  std::printf("tokens: %zu for training, of a vocabulary of %lld; %.3f words a token in the valid split\n", train_tokens.size(),
              static_cast<long long>(tokenizer.vocab_size()), valid.words_per_token);

  Gpt2 model(Scope::root(t.compute_dtype(), t.seed, Device::parse(t.device)), s.gpt);
  if (!t.resume && !t.init_from.empty()) load_given_weights(model, t.init_from);
  check_begin(t, {s.gpt.width, s.gpt.heads, s.gpt.hidden, s.gpt.linear, "tanh"});
  data::Prefetch batches(data::TokenLoader(std::move(train_tokens), t.batch_part(), s.gpt.context, t.seed));

  const auto evaluation = [&model](const char* name, TextSplit split) {
    return Evaluation{name, [&model, all = std::move(split)](const EvalProgress& progress) { return evaluate(model, all, progress); }};
  };
  std::vector<Evaluation> evaluations{evaluation("valid", std::move(valid))};
  if (!text.test.empty()) evaluations.push_back(evaluation("test", split_of(text.test)));

  const TrainingTask task{
      .program = "train_gpt",
      .model = model,
      .unit = Unit::token,
      .event = model_event(model, model.macs_per_token(), model.macs_per_token(true), t),
      .units_per_step = t.batch * s.gpt.context,
      .steps_per_epoch = batches.loader().steps_per_epoch() / static_cast<double>(t.accumulate),
      .batch =
          [&](std::int64_t index) {
            const data::TokenBatch batch = batches.at(index);
            return Batch{{batch.inputs, batch.targets}, batch.predictions};
          },
      .loss = [&](const Batch& batch) { return model.loss(batch.arrays[0], batch.arrays[1], batch.counted); },
      .evaluations = evaluations,
      .save_vocabulary = [&](const RunFolder& folder) { tokenizer.save(folder.root); },
      .save_model =
          [&](const RunFolder& folder) { write_weights(folder.model(), export_weights(model, Gpt2::huggingface())); },
      .load_model = [&](const RunFolder& folder) { model.load(SafetensorsFile(folder.model())); },
  };
  OrderedJson config = options.resolved();
  const OrderedJson for_huggingface = huggingface_config(s.gpt);
  for (const auto& [key, value] : for_huggingface.items()) config[key] = value;
  config["dtype"] = t.dtype == "bf16" ? "bfloat16" : "float32";  // the key is one of Hugging Face's too, with these names
  train(task, t, config);
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
