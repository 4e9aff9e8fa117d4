// bench_optimizers: what the update of each optimizer costs, as a share of the whole training step, on the small models
// of the example configs.
#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "core/random.h"
#include "core/rounding.h"
#include "core/text.h"
#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "examples/support/bench.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/system.h"
#include "layers/init.h"
#include "optim/clip.h"
#include "optim/make_optimizer.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct Settings {
  std::string models = "gpt_mini,vit_tiny", layers, optimizers = "all", device = "cpu", dtype = "f32";
  std::int64_t batch = 0;
  int threads = 1, passes = 4;
  bool table = false;
};

using Batch = std::array<Array, 2>;  // inputs and targets

// A model with batches of random inputs, which cost what real ones do, and its loss on one.
struct Bench {
  std::shared_ptr<Module> model;
  std::function<Batch(std::uint64_t key)> batch;  // in the memory of the host
  std::function<Tensor(const Batch& batch)> loss;
};

Array random_ids(const Shape& shape, Dim count, std::uint64_t key) {
  std::vector<std::int32_t> ids;
  for (Dim i = 0; i < shape.numel(); ++i) {
    ids.push_back(static_cast<std::int32_t>(philox({static_cast<std::uint32_t>(i), 0, 0, 0}, key)[0] % count));
  }
  return Array::from(ids, shape);
}

// As in examples/configs/gpt_mini_wikitext2.json.
Bench gpt_mini(const Scope& scope, const std::string& layer, Dim batch) {
  constexpr Dim kVocab = 8192, kContext = 256;
  const GptConfig config{.vocab = kVocab, .context = kContext, .width = 256, .depth = 6, .heads = 4,
                         .linear = BlockSpecs::everywhere(layer)};
  const auto model = std::make_shared<Gpt2>(scope, config);
  return {model,
          [batch](std::uint64_t key) {
            return Batch{random_ids({batch, kContext}, kVocab, key), random_ids({batch, kContext}, kVocab, key + 1)};
          },
          [model, batch](const Batch& given) { return model->loss(Tensor(given[0]), given[1], batch * kContext); }};
}

// As in examples/configs/vit_tiny_cifar10.json.
Bench vit_tiny(const Scope& scope, const std::string& layer, Dim batch) {
  const VitConfig config{.class_token = false, .linear = BlockSpecs::everywhere(layer)};
  const auto model = std::make_shared<Vit>(scope, config);
  return {model,
          [batch](std::uint64_t key) {
            Array images = Array::empty({batch, 3, 32, 32});
            init::normal(1.0)(images, key);
            return Batch{images, random_ids({batch}, 10, key)};
          },
          [model, batch](const Batch& given) {
            return F::cross_entropy((*model)(Tensor(given[0])), {.target = given[1], .counted = batch});
          }};
}

struct Model {
  const char *name, *blast;
  Dim batch;
  Bench (*make)(const Scope& scope, const std::string& layer, Dim batch);
};
constexpr std::array kModels{Model{"gpt_mini", "blast:blocks=4,ratio=0.5", 16, &gpt_mini},
                             Model{"vit_tiny", "blast:blocks=3,ratio=0.5", 64, &vit_tiny}};

const Model& find_model(const std::string& name) {
  for (const Model& model : kModels) {
    if (name == model.name) return model;
  }
  throw InputError(concat("--models: '", name, "' is unknown; valid are gpt_mini, vit_tiny"));
}

// Processor time of the whole process in milliseconds: what else runs on the machine is not in it. With several threads
// it is their sum, waiting for each other included. Of a GPU's work the time until it is done, on the clock.
double milliseconds(Device device, const std::function<void()>& work) {
  if (device.type != DeviceType::cpu) {
    const auto start = now_on(device);
    work();
    return milliseconds_since(start, device);
  }
  const std::clock_t begin = std::clock();
  work();
  return 1e3 * static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

// `work` as training has a GPU do it, where launches by the host would take longer than what they launch. Null on the CPU, and
// where it cannot be recorded: then it is timed as it is called, as training would call it.
std::unique_ptr<cuda::Recording> recorded(Device device, const std::function<void()>& work) {
  if (device.type != DeviceType::cuda) return nullptr;
  try {
    return cuda::record(device.index, work);
  } catch (const Error& error) {
    std::fprintf(stderr, "bench_optimizers: not recorded as a CUDA graph, times are those of calls: %s\n", error.what());
    return nullptr;
  }
}

// Milliseconds a step.
struct Times {
  double forward_backward = 0, clip = 0;  // median
  double update = 0;                      // mean over the refresh interval
  double longest_update = 0, first_update = 0;
  double share() const { return update / (forward_backward + clip + update); }
};

using Gradients = std::vector<Array>;

// Milliseconds of each pass, and the gradients that they left.
struct Passes {
  std::vector<double> forward_backward, clip;
  std::vector<Gradients> gradients;
};

// Forward, backward and clipping on `count` batches.
Passes measure_passes(const Bench& bench, int count) {
  const Parameters parameters = bench.model->parameters();
  const Device device = bench.model->scope().device();
  Batch batch;
  const auto forget_gradients = [&] {
    for (const Parameter& parameter : parameters) parameter.tensor.zero_grad();
  };
  const auto forward_and_backward = [&] { bench.loss(batch).backward(); };
  optim::Clip clipped;
  const auto clip_gradients = [&] { clipped = optim::clip_grad_norm_on_device(parameters, 1, 1); };
  Passes passes;
  for (int pass = -1; pass < count; ++pass) {
    forget_gradients();
    bench.model->train(static_cast<std::uint64_t>(pass + 1));
    batch = bench.batch(static_cast<std::uint64_t>(2 * pass + 10));
    for (Array& array : batch) array = array.to(device);
    const double time = milliseconds(device, forward_and_backward), clip_time = milliseconds(device, clip_gradients);
    if (pass < 0) continue;  // makes the primitives
    passes.forward_backward.push_back(time);
    passes.clip.push_back(clip_time);
    passes.gradients.emplace_back();
    for (const Parameter& parameter : parameters) passes.gradients.back().push_back(parameter.tensor.grad());
  }
  forget_gradients();
  clipped = {};  // a recording must not be the one to free it
  const auto pass_recording = recorded(device, forward_and_backward);
  const auto clip_recording = pass_recording ? recorded(device, clip_gradients) : nullptr;
  for (int pass = 0; clip_recording && pass < count; ++pass) {
    passes.forward_backward[static_cast<std::size_t>(pass)] = milliseconds(device, [&] { pass_recording->replay(); });
    passes.clip[static_cast<std::size_t>(pass)] = milliseconds(device, [&] { clip_recording->replay(); });
  }
  return passes;
}

// Trains on `passes` batches, whose gradients then serve for all updates: their values do not matter to the time, only
// that they are of full rank and not always the same.
Times measure(const Bench& bench, optim::Optimizer& optimizer, Dim interval, int passes) {
  const Passes made = measure_passes(bench, passes);
  const Parameters parameters = bench.model->parameters();
  const Device device = bench.model->scope().device();
  std::unique_ptr<cuda::Recording> recording;
  const auto update = [&](std::size_t step) {
    if (recording) {
      return milliseconds(device, [&] {
        optimizer.begin_replay([](const optim::Slot&) { return 1.0; });
        recording->replay();
      });
    }
    const Gradients& of_step = made.gradients[step % made.gradients.size()];
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].tensor.set_grad(of_step[i]);
    return milliseconds(device, [&] { optimizer.step(); });
  };
  Times times;
  // The first steps make primitives and initial bases; the interval that is averaged comes after them.
  times.first_update = update(0);
  for (std::size_t step = 1; step <= 3; ++step) update(step);
  if (optimizer.can_record()) recording = recorded(device, [&] { optimizer.record_step(); });
  std::vector<double> updates;
  const auto count = static_cast<std::size_t>(round_up(20, interval));
  for (std::size_t step = 4; step < 4 + count; ++step) updates.push_back(update(step));
  times.forward_backward = median(made.forward_backward);
  times.clip = median(made.clip);
  for (const double time : updates) times.update += time / static_cast<double>(count);
  times.longest_update = *std::ranges::max_element(updates);
  return times;
}

void print_header() {
  std::printf("%-9s %-25s %-10s %6s %8s %10s %10s %8s %9s %9s %9s %7s\n", "model", "layer", "optimizer", "batch", "refresh",
              "state MiB", "fwd+bwd ms", "clip ms", "update ms", "longest", "first", "share");
}

void print(const Settings& s, const Model& model, const std::string& layer, const std::string& optimizer, Dim batch,
           Dim interval, std::size_t state_bytes, const Times& times) {
  if (s.table) {
    std::printf("%-9s %-25s %-10s %6lld %8lld %10.1f %10.1f %8.2f %9.2f %9.2f %9.2f %6.1f%%\n", model.name, layer.c_str(),
                optimizer.c_str(), static_cast<long long>(batch), static_cast<long long>(interval),
                static_cast<double>(state_bytes) / (1 << 20), times.forward_backward, times.clip, times.update,
                times.longest_update, times.first_update, 100 * times.share());
  } else {
    std::printf("%s\n", OrderedJson{{"model", model.name},
                                    {"layer", layer},
                                    {"optimizer", optimizer},
                                    {"batch", batch},
                                    {"device", s.device},
                                    {"dtype", s.dtype},
                                    {"threads", s.threads},
                                    {"refresh_every", interval},
                                    {"state_bytes", state_bytes},
                                    {"forward_backward_ms", times.forward_backward},
                                    {"clip_ms", times.clip},
                                    {"update_ms", times.update},
                                    {"longest_update_ms", times.longest_update},
                                    {"first_update_ms", times.first_update},
                                    {"share", times.share()}}
                            .dump()
                            .c_str());
  }
  std::fflush(stdout);
}

void run(int argc, char** argv) {
  Settings s;
  Options options("bench_optimizers",
                  "Times each optimizer's update as a share of the training step, in processor time; on a GPU, on the clock, "
                  "recorded and replayed as in training.");
  options.add("models", s.models, "gpt_mini, vit_tiny, separated by commas").value_name("LIST");
  options.add("layers", s.layers, "specs, separated by semicolons; default: dense and the model's BLAST").value_name("LIST");
  options.add("optimizers", s.optimizers, "separated by commas, or all").value_name("LIST");
  options.add("batch", s.batch, "samples or sequences in a step; 0: as in the model's config").at_least(0);
  add_device_option(options, s.device);
  add_dtype_option(options, s.dtype);
  options.add("threads", s.threads, "threads; the times are sums over them").at_least(1).at_most(4096);
  options.add("passes", s.passes, "timed forward and backward passes, of which the median counts").at_least(1);
  options.add("table", s.table, "a table instead of JSON lines");
  if (!options.parse(argc, argv)) return;
  set_num_threads(s.threads);
  std::vector<const Model*> models;
  for (const std::string& name : split(s.models, ',')) models.push_back(&find_model(name));
  const auto optimizers = s.optimizers == "all" ? optim::optimizer_names() : split(s.optimizers, ',');
  const auto layers_of = [&s](const Model& model) {
    return s.layers.empty() ? std::vector<std::string>{"dense", model.blast} : split(s.layers, ';');
  };
  ASHLAR_CHECK(!models.empty() && !optimizers.empty() && (s.layers.empty() || !split(s.layers, ';').empty()),
               "--models, --optimizers and --layers must name at least one each");
  // What cannot be made is told before anything is measured.
  for (const std::string& name : optimizers) optim::default_settings(name);
  for (const Model* model : models) {
    for (const std::string& layer : layers_of(*model)) model->make(Scope::root().for_loading(), layer, 1);
  }
  if (s.table) {
    std::printf("%s\n", startup_line("bench_optimizers", s.device, s.threads, s.dtype).c_str());
    print_header();
  }
  for (const Model* model : models) {
    const Dim batch = s.batch ? s.batch : model->batch;
    for (const std::string& layer : layers_of(*model)) {
      for (const std::string& optimizer_name : optimizers) {
        const Bench bench = model->make(Scope::root(parse_dtype(s.dtype), 1, Device::parse(s.device)), layer, batch);
        const auto optimizer = optim::make_optimizer(bench.model->parameters(), {.name = optimizer_name});
        const optim::Settings defaults = optim::default_settings(optimizer_name);
        const auto refresh = defaults.find("refresh_every");
        const Dim interval = refresh == defaults.end() ? 1 : static_cast<Dim>(refresh->second);
        print(s, *model, layer, optimizer_name, batch, interval, optimizer->state_bytes(),
              measure(bench, *optimizer, interval, s.passes));
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
