// What the kernels of a training step move, in a build with ASHLAR_EMULATED_WATCH; other builds have nothing to test here.
#include "tests/cuda/emulator/traffic.h"

#include <iomanip>
#include <iostream>

#include "examples/models/gpt2.h"
#include "examples/models/vit.h"
#include "optim/clip.h"
#include "optim/make_optimizer.h"
#include "tests/cuda/emulator/support.h"
#include "tests/cuda/emulator/watch.h"
#include "tests/cuda/support.h"
#include "tests/support/environment.h"

using namespace ashlar;
using namespace ashlar::test;
using namespace ashlar::emulated::testing;
using emulated::traffic::Counts, emulated::traffic::Instruction, emulated::traffic::traffic_of;

namespace {

using Traffic = std::map<std::string, std::vector<Instruction>>;

Counts total(const std::vector<Instruction>& instructions) {
  Counts sum;
  for (const Instruction& instruction : instructions) sum += instruction.counts;
  return sum;
}

// Of a warp that reads what `address_of` gives for each lane.
template <class T, class AddressOf>
Counts counts_of(const AddressOf& address_of) {
  const auto kernel = [=](const float* from, float* to) {
    const T value = *reinterpret_cast<const T*>(address_of(from, threadIdx.x));
    to[threadIdx.x] = *reinterpret_cast<const float*>(&value);
  };
  const Values<float> from(std::vector<float>(1024, 1.0f)), to(32);
  const Traffic traffic = traffic_of([&] {
    emulated::Launch("kernel", dim3(1), dim3(32), 4096, nullptr, kernel)(static_cast<const float*>(from.data), to.data);
  });
  Counts reads;
  for (const Instruction& instruction : traffic.at("kernel")) {
    if (!instruction.writes) reads += instruction.counts;
  }
  return reads;
}

template <class Model, class Loss>
Traffic traffic_of_step(const Model& model, const Loss& loss_of) {
  const Parameters parameters = model.parameters();
  const auto rule = optim::make_optimizer(parameters, {.name = "adamw"});
  return traffic_of([&] {
    loss_of().backward();
    rule->step(1, optim::clip_grad_norm(parameters, 1.0).scale);
  });
}

// With the fused kernels of BLAST and SS1, whether or not they would pay.
Traffic traffic_of_gpt(const std::string& spec) {
  const EnvironmentVariable fused("ASHLAR_FUSED", "on");
  GptConfig config{.vocab = 512, .context = 128, .width = 384, .depth = 1, .heads = 6};
  config.linear.qkv = config.linear.fc1 = config.linear.fc2 = spec;
  Gpt2 model(Scope::root(DType::bf16, 3, kGpu), config);
  model.train(0);
  return traffic_of_step(model, [&] { return model.loss(random_ids({1, 128}, 512, 1), random_ids({1, 128}, 512, 2)); });
}

Traffic traffic_of_vit() {
  VitConfig config;
  config.width = 384, config.depth = 1, config.heads = 6, config.drop_path = 0.2;
  Vit model(Scope::root(DType::bf16, 3, kGpu), config);
  model.train(0);
  const Tensor images = randn({2, 3, 32, 32}, DType::f32, 1);
  return traffic_of_step(model, [&] { return F::cross_entropy(model(images), {.target = random_ids({2}, 10, 2)}); });
}

void print(std::ostream& out, const std::string& what, const Counts& c) {
  out << std::setw(10) << c.requests << std::setw(12) << c.touched << std::setw(12) << c.asked << std::setw(12) << c.sectors
      << std::setw(10) << c.turns << std::setw(10) << c.least_turns << "  " << what << '\n';
}

const char* const kSpecs[] = {"dense", "low_rank:rank=96", "blast:blocks=6,rank=96", "monarch:blocks=4", "ss1:reduction=4",
                              "block_diagonal:blocks=4"};

}  // namespace

TEST_CASE("a warp's sectors and turns", "[emulator]") {
  if (!emulated::watch::kOn) return;
  const auto apart = [](unsigned floats) { return [=](const float* from, unsigned lane) { return from + floats * lane; }; };
  const Counts side_by_side = counts_of<float>(apart(1)), strided = counts_of<float>(apart(8)), same = counts_of<float>(apart(0));
  CHECK((side_by_side.requests == 1 && side_by_side.asked == 128 && side_by_side.sectors == 128));
  CHECK((strided.touched == 128 && strided.asked == 128 && strided.sectors == 1024));
  CHECK((same.touched == 4 && same.sectors == 32));
  CHECK(counts_of<float4>(apart(4)).sectors == 512);

  const auto in_shared = [](unsigned floats) {
    return [=](const float*, unsigned lane) {
      auto* const memory = reinterpret_cast<float*>(emulated::dynamic_shared());
      if (lane == 0) std::fill_n(memory, 1024, 1.0f);
      __syncthreads();
      return memory + floats * lane;
    };
  };
  const auto turns = [](const Counts& c) { return std::pair(c.turns, c.least_turns); };
  CHECK(turns(counts_of<float>(in_shared(1))) == std::pair<std::size_t, std::size_t>(1, 1));
  CHECK(turns(counts_of<float>(in_shared(2))) == std::pair<std::size_t, std::size_t>(2, 1));
  CHECK(turns(counts_of<float>(in_shared(32))) == std::pair<std::size_t, std::size_t>(32, 1));
  CHECK(turns(counts_of<float>(in_shared(33))) == std::pair<std::size_t, std::size_t>(1, 1));
  CHECK(turns(counts_of<float>(in_shared(0))) == std::pair<std::size_t, std::size_t>(1, 1));
  CHECK(turns(counts_of<float4>(in_shared(4))) == std::pair<std::size_t, std::size_t>(4, 4));
  CHECK(turns(counts_of<float4>(in_shared(8))) == std::pair<std::size_t, std::size_t>(8, 4));
}

TEST_CASE("a training step moves whole sectors, and banks are not in conflict", "[emulator]") {
  if (!emulated::watch::kOn) return;
  // Of sectors and of turns. A lane needs 32 bytes of weight and bias, which it reads in two requests; g++ splits what the
  // others read at once of o and d_o.
  const std::map<std::string, std::pair<double, double>> waste{
      {"forward_rows<T, kVectors>", {1.6, 1.05}}, {"all_gradients<D, W>", {1.4, 1.1}}, {"query_gradients<D, W>", {1.45, 1.15}}};
  for (const Traffic& traffic : {traffic_of_gpt("blast:blocks=6,rank=96"), traffic_of_gpt("ss1:reduction=4"), traffic_of_vit()}) {
    Counts step;
    for (const auto& [kernel, instructions] : traffic) step += total(instructions);
    for (const auto& [kernel, instructions] : traffic) {
      const Counts c = total(instructions);
      INFO(kernel << ": " << c.asked << " bytes in " << c.sectors << ", " << c.turns << " turns of " << c.least_turns);
      const auto [sectors, turns] = waste.contains(kernel) ? waste.at(kernel) : std::pair(1.1, 1.05);
      if (c.sectors > step.sectors / 1000) CHECK(static_cast<double>(c.sectors) <= sectors * static_cast<double>(c.asked));
      if (c.turns > step.turns / 1000) CHECK(static_cast<double>(c.turns) <= turns * static_cast<double>(c.least_turns));
    }
  }
}

TEST_CASE("the traffic of training steps, kernel by kernel", "[.traffic]") {
  std::vector<std::pair<std::string, Traffic>> steps{{"ViT", traffic_of_vit()}};
  for (const char* spec : kSpecs) steps.emplace_back(concat("GPT, ", spec), traffic_of_gpt(spec));
  for (const auto& [model, traffic] : steps) {
    std::cout << '\n' << model << "\n  requests     touched       asked     sectors     turns     least  bytes of what\n";
    for (const auto& [kernel, instructions] : traffic) {
      print(std::cout, kernel, total(instructions));
      for (const auto& [place, writes, c] : instructions) {
        if (c.sectors > c.asked * 11 / 10 || c.turns > c.least_turns * 11 / 10) {
          print(std::cout, concat("    ", writes ? "written at " : "read at ", place), c);
        }
      }
    }
  }
}
