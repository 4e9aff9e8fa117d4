// bench_layers: times linear maps, forward and backward, against the dense map of the same shape in the same run.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "core/text.h"
#include "examples/support/bench.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/system.h"
#include "layers/init.h"
#include "layers/linear_spec.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

struct MapShape {
  Dim in, out;
};

struct Settings {
  std::string layers = "low_rank:ratio=0.5;blast:blocks=6,ratio=0.5", shapes = "768x768", tokens = "4096", device = "cpu",
              dtype = "f32";
  int threads = 0, repeats = 15;
  bool sweep = false, table = false;
};

constexpr const char* kSweepLayers =
    "low_rank:ratio=0.5;low_rank:ratio=0.25;monarch:blocks=4;block_diagonal:blocks=4;ss1:reduction=4;"
    "blast:blocks=3,ratio=0.5;blast:blocks=6,ratio=0.5;blast:blocks=16,ratio=0.5;"
    "blast:blocks=3,ratio=0.3;blast:blocks=6,ratio=0.3;blast:blocks=16,ratio=0.3";
constexpr const char* kSweepShapes = "384x384,384x1536,1536x384,768x768,768x3072,3072x768";

Dim positive(const std::string& text, const char* option) {
  const auto value = parse_number<Dim>(text);
  ASHLAR_CHECK(value && *value >= 1, option, ": '", text, "' is not a whole number of at least 1");
  return *value;
}

std::vector<MapShape> parse_shapes(const std::string& text) {
  std::vector<MapShape> shapes;
  for (const std::string& part : split(text, ',')) {
    const std::size_t x = part.find('x');
    ASHLAR_CHECK(x != std::string::npos, "--shapes: '", part, "' is not INxOUT, such as 768x3072");
    shapes.push_back({positive(part.substr(0, x), "--shapes"), positive(part.substr(x + 1), "--shapes")});
  }
  return shapes;
}

Array random_array(const Shape& shape, DType dtype, std::uint64_t key) {
  Array values = Array::empty(shape);
  init::normal(1.0)(values, key);
  return values.to(dtype);
}

// What the passes of a layer read: on a GPU another copy for each that is recorded, as in training, where no layer finds in
// the cache what the one before it has read.
struct Given {
  std::vector<Tensor> inputs;
  std::vector<Array> gradients;  // of the outputs
};
constexpr std::size_t kRecorded = 10;  // passes in a recording, one after another

Given random_given(const MapShape& shape, Dim tokens, DType dtype, Device device) {
  const Array x = random_array({tokens, shape.in}, dtype, 1).to(device);
  const Array dy = random_array({tokens, shape.out}, dtype, 2).to(device);
  Given given{{Tensor::leaf(x)}, {dy}};
  while (device.type == DeviceType::cuda && given.inputs.size() < kRecorded) {
    given.inputs.push_back(Tensor::leaf(x.clone()));
    given.gradients.push_back(dy.clone());
  }
  return given;
}

struct Times {
  std::vector<double> forward, backward;  // milliseconds, one for each repeat
};

// The passes of a layer, forward and backward, with the gradients of the input and of every parameter.
class Passes {
 public:
  Passes(const Linear& layer, const Given& given) : layer_(layer), given_(given), device_(given.gradients.front().device()) {
    Times warm_up;
    for (int i = 0; i < 2; ++i) time_calls(warm_up);
  }

  // Has time() replay recorded passes: what they take a GPU among the others of a recorded step. Launching one by itself would
  // take the host as long. Error if the device cannot record them.
  void record() {
    std::vector<Tensor> results(kRecorded);
    forward_.passes = cuda::record(device_.index, [&] {
      for (std::size_t i = 0; i < kRecorded; ++i) results[i] = layer_(given_.inputs[i]);
    });
    backward_.passes = cuda::record(device_.index, [&] {
      for (std::size_t i = 0; i < kRecorded; ++i) {
        results[i].backward(given_.gradients[i]);
        forget_gradients_of_parameters();
      }
      // Not before: each has memory of its own then.
      for (const Tensor& x : given_.inputs) x.zero_grad();
    });
    for (Replayed* replayed : {&forward_, &backward_}) choose_times(*replayed);
  }
  void forget_recordings() {
    forward_.passes.reset();
    backward_.passes.reset();
  }

  void time(Times& times) const {
    if (!backward_.passes) return time_calls(times);
    times.forward.push_back(time_replays(forward_));
    times.backward.push_back(time_replays(backward_));
  }

 private:
  struct Replayed {
    std::unique_ptr<cuda::Recording> passes;
    int times = 1;  // in one measurement
  };
  // So often that a measurement takes three milliseconds or more: its begin and its end take some 20 microseconds of them.
  void choose_times(Replayed& replayed) const {
    time_replays(replayed);
    const double once = time_replays(replayed) * static_cast<double>(kRecorded);
    replayed.times = static_cast<int>(std::clamp(std::ceil(3 / once), 1.0, 100.0));
  }
  void time_calls(Times& times) const {
    const auto start = now_on(device_);
    const Tensor y = layer_(given_.inputs.front());
    times.forward.push_back(milliseconds_since(start, device_));
    const auto middle = now_on(device_);
    y.backward(given_.gradients.front());
    times.backward.push_back(milliseconds_since(middle, device_));
    forget_gradients_of_parameters();
    given_.inputs.front().zero_grad();
  }
  // Milliseconds of one pass.
  double time_replays(const Replayed& replayed) const {
    const auto start = now_on(device_);
    for (int i = 0; i < replayed.times; ++i) replayed.passes->replay();
    return milliseconds_since(start, device_) / (replayed.times * static_cast<double>(kRecorded));
  }
  void forget_gradients_of_parameters() const {
    for (const Parameter& parameter : layer_.map().parameters()) parameter.tensor.zero_grad();
  }

  const Linear& layer_;
  const Given& given_;
  Device device_;
  Replayed forward_, backward_;
};

void print_header() {
  std::printf("%-30s %12s %7s %-8s %9s %9s %8s %9s %8s %6s %10s\n", "layer", "in x out", "tokens", "pass", "ms", "ms min",
              "GFLOP/s", "dense ms", "speedup", "ideal", "efficiency");
}

void print(const Settings& s, const std::string& spec, const MapShape& shape, Dim tokens, const char* pass, Dim macs,
           Dim dense_macs, const std::vector<double>& times, const std::vector<double>& dense_times) {
  const double ms = median(times), dense_ms = median(dense_times);
  const double ratio = static_cast<double>(dense_macs) / static_cast<double>(macs);
  const double speedup = dense_ms / ms, gflops = 2e-6 * static_cast<double>(macs) / ms;
  const double fastest = *std::min_element(times.begin(), times.end());
  if (s.table) {
    std::printf("%-30s %12s %7lld %-8s %9.3f %9.3f %8.1f %9.3f %8.2f %6.2f %10.2f\n", spec.c_str(),
                concat(shape.in, " x ", shape.out).c_str(), static_cast<long long>(tokens), pass, ms, fastest, gflops,
                dense_ms, speedup, ratio, speedup / ratio);
  } else {
    std::printf("%s\n", OrderedJson{{"layer", spec},       {"in", shape.in},     {"out", shape.out},
                                    {"tokens", tokens},    {"dtype", s.dtype},   {"device", s.device},
                                    {"threads", s.threads}, {"pass", pass},      {"ms", ms},
                                    {"ms_min", fastest},   {"gflops", gflops},   {"dense_ms", dense_ms},
                                    {"speedup", speedup},  {"mac_ratio", ratio}, {"efficiency", speedup / ratio}}
                            .dump()
                            .c_str());
  }
  std::fflush(stdout);
}

void bench(const Settings& s, const std::string& spec, const MapShape& shape, Dim tokens) {
  const DType dtype = parse_dtype(s.dtype);
  const Device device = Device::parse(s.device);
  const Scope scope = Scope::root(dtype, 1, device);
  const Linear layer(scope, shape.in, shape.out, spec), dense(scope, shape.in, shape.out, "dense");
  const Given given = random_given(shape, tokens, dtype, device);
  Passes dense_passes(dense, given), passes(layer, given);
  if (device.type == DeviceType::cuda) {
    try {
      dense_passes.record();
      passes.record();
    } catch (const Error& error) {
      // Both, so that they can be compared.
      dense_passes.forget_recordings();
      passes.forget_recordings();
      std::fprintf(stderr, "bench_layers: %s: not recorded as a CUDA graph, times are those of calls: %s\n", spec.c_str(),
                   error.what());
    }
  }
  Times times, dense_times;
  for (int i = 0; i < s.repeats; ++i) {
    dense_passes.time(dense_times);
    passes.time(times);
  }
  const LinearCost cost = layer.map().cost(tokens), base = dense.map().cost(tokens);
  print(s, spec, shape, tokens, "forward", cost.macs_forward, base.macs_forward, times.forward, dense_times.forward);
  print(s, spec, shape, tokens, "backward", cost.macs_grad_input + cost.macs_grad_weight,
        base.macs_grad_input + base.macs_grad_weight, times.backward, dense_times.backward);
}

void run(int argc, char** argv) {
  Settings s;
  Options options("bench_layers", "Times linear maps against the dense map of the same shape, alternating in one run.");
  options.add("layers", s.layers, "specs, separated by semicolons").value_name("LIST");
  options.add("shapes", s.shapes, "INxOUT, separated by commas").value_name("LIST");
  options.add("tokens", s.tokens, "rows of the input, separated by commas").value_name("LIST");
  options.add("sweep", s.sweep, "every kind of layer, on the shapes of small and base transformers, where --layers and --shapes do not say otherwise");
  options.add("repeats", s.repeats, "timed passes, of which the median counts").at_least(1);
  options.add("table", s.table, "a table instead of JSON lines");
  add_device_option(options, s.device);
  add_dtype_option(options, s.dtype);
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  set_num_threads(s.threads);
  if (s.sweep && !options.given("layers")) s.layers = kSweepLayers;
  if (s.sweep && !options.given("shapes")) s.shapes = kSweepShapes;
  const std::vector<MapShape> shapes = parse_shapes(s.shapes);
  const std::vector<std::string> layers = split(s.layers, ';');
  std::vector<Dim> tokens;
  for (const std::string& count : split(s.tokens, ',')) tokens.push_back(positive(count, "--tokens"));
  ASHLAR_CHECK(!shapes.empty() && !layers.empty() && !tokens.empty(),
               "--layers, --shapes and --tokens must name at least one each");
  // What cannot be made is told before anything is measured.
  for (const std::string& layer : layers) {
    for (const MapShape& shape : shapes) make_linear_map(Scope::root().for_loading(), shape.in, shape.out, layer, {});
  }
  if (s.table) {
    std::printf("%s\n", startup_line("bench_layers", s.device, s.threads, s.dtype).c_str());
    print_header();
  }
  for (const std::string& layer : layers) {
    for (const MapShape& shape : shapes) {
      for (const Dim count : tokens) bench(s, layer, shape, count);
    }
  }
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
