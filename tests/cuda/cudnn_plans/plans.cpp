// Whether cuDNN has kernels for the graphs of kernels/attention/cudnn.h, for an A100 and an H200: since version 9.8 it
// builds plans for devices that are only described to it. Started by check.sh.
#include <cuda_runtime.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/cudnn.h"

using namespace ashlar;
using namespace ashlar::kernels::attention;
namespace fe = cudnn_frontend;

namespace {

struct Chip {
  const char* name;
  int capability, multiprocessors, shared, l2;
};
const Chip* chip = nullptr;  // what the wrapped calls below tell of

struct Problem {
  Dim batch, heads, length, depth;
  bool causal;
};

std::vector<std::uint8_t> described(const Chip& c) {
  const std::string json = concat(
      R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"warpSize":32,)",
      R"("maxSharedMemoryPerBlock":49152,"oversizedSharedMemoryPerBlock":0,"reservedSharedMemoryPerBlock":1024,)",
      R"("maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,)",
      R"("isTccDriver":0,"supportCoopLaunch":1,"totalGlobalMem":80000000000,"smClockRateKHz":1400000,)",
      R"("memClockRateKHz":1600000,"memoryBusWidth":5120,"cudaDeviceId":0,"driverVer":13000,"multiProcessorCount":)",
      c.multiprocessors, R"(,"maxSharedMemoryPerBlockOptin":)", c.shared, R"(,"l2CacheSize":)", c.l2, R"(,"deviceVer":)",
      c.capability, R"(,"deviceName":")", c.name, R"("})");
  return {json.begin(), json.end()};
}

// Empty, or why there is no plan.
std::string why_not(const std::shared_ptr<Graph>& graph) {
  const auto properties = std::make_shared<fe::DeviceProperties>();
  fe::error_t status = properties->deserialize(described(*chip));
  if (status.is_good()) {
    graph->set_device_properties(properties);
    status = graph->validate();
  }
  if (status.is_good()) status = graph->build_operation_graph();
  if (status.is_good()) status = graph->create_execution_plans({fe::HeurMode_t::A});
  if (status.is_good()) status = graph->check_support();
  if (status.is_good()) status = graph->build_plans();
  return status.is_good() ? "" : status.get_message();
}

// Heads of a packed (B, T, parts, H, D); no memory behind them.
View heads_of(const Problem& p, Dim parts) {
  const Dim row = parts * p.heads * p.depth;
  return {nullptr, DType::bf16, {p.batch, p.heads, p.length, p.depth}, {p.length * row, p.depth, row, 1}, {}};
}

bool check(const Problem& p) {
  const View part = heads_of(p, 3), whole = heads_of(p, 1);
  const View lse{nullptr, DType::f32, {p.batch, p.heads, p.length}, {p.heads * p.length, p.length, 1}, {}};
  const BackwardCall backward{whole, part, part, part, whole, lse, 0.125, p.causal, part, part, part};
  const std::pair<const char*, std::shared_ptr<Graph>> graphs[] = {
      {"forward", graph_of(ForwardCall{part, part, part, 0.125, p.causal, whole, lse})},
      {"backward", graph_of(backward)}};
  bool all = true;
  for (const auto& [name, graph] : graphs) {
    const std::string reason = why_not(graph);
    if (reason.empty()) continue;
    const Shape shape{p.batch, p.heads, p.length, p.depth};
    std::puts(concat("no plan: ", chip->name, ", ", name, " of ", shape, p.causal ? " causal: " : ": ", reason).c_str());
    all = false;
  }
  return all;
}

}  // namespace

// The headers ask the runtime about the current device too; the linker sends these calls here.
extern "C" {
cudaError_t __wrap_cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t __wrap_cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  properties->major = chip->capability / 100;
  properties->minor = chip->capability / 10 % 10;
  properties->multiProcessorCount = chip->multiprocessors;
  return cudaSuccess;
}
}

int main() {
  const Problem problems[] = {{32, 12, 1024, 64, true},    // GPT-2 and
                              {1024, 6, 64, 64, false},    // the ViT of tests/gpu.sh
                              {1024, 6, 65, 64, false},    // with a class token
                              {4, 3, 2, 64, true},   {2, 3, 200, 32, false}, {2, 3, 130, 128, true},
                              {2, 3, 33, 24, true},  {8, 16, 512, 96, true}};
  int plans = 0, missing = 0;
  for (const Chip& c : {Chip{"A100", 800, 108, 166912, 41943040}, Chip{"H200", 900, 132, 232448, 62914560}}) {
    chip = &c;
    for (const Problem& p : problems) ++(check(p) ? plans : missing);
  }
  std::printf("cuDNN %zu: plans for %d of %d problems\n", cudnnGetVersion(), plans, plans + missing);
  return missing > 0;
}
