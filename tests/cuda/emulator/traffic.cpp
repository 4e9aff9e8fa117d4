#include "tests/cuda/emulator/traffic.h"

namespace ashlar::emulated::traffic {

Counts& Counts::operator+=(const Counts& o) {
  requests += o.requests, touched += o.touched, asked += o.asked, sectors += o.sectors;
  turns += o.turns, least_turns += o.least_turns;
  return *this;
}

}  // namespace ashlar::emulated::traffic

#ifdef ASHLAR_EMULATED_WATCH

#include <algorithm>
#include <array>
#include <deque>
#include <unordered_map>

#include "core/cuda/cuda.h"
#include "tests/cuda/emulator/watch.h"

namespace ashlar::emulated::traffic {
namespace {

constexpr std::size_t kLanes = 32, kSector = 32, kBanks = 32, kWord = 4;  // bytes

// Addresses by lane, 0 where there is none.
struct Request {
  std::size_t lanes = 0;
  std::array<std::uintptr_t, kLanes> at{};
};

// The requests of a warp that not all lanes have come to, from number `first` on.
struct Open {
  std::deque<Request> requests;
  std::size_t first = 0;
};

struct Site {
  bool writes = false;
  Counts counts;
};

// Where the block that runs has come with an instruction.
struct Progress {
  Site* site;
  std::size_t bytes;
  bool shared;
  std::vector<std::size_t> times;  // that a thread has come there
  std::vector<Open> open;          // of a warp
};

bool on = false;
std::map<std::string, std::map<std::uint32_t, Site>> kernels;
std::map<std::uint32_t, Site>* kernel = nullptr;
std::unordered_map<std::uint64_t, Progress> block;

// The different units of `size` bytes that lanes first … end touch.
std::vector<std::uintptr_t> units(const Request& request, std::size_t bytes, std::size_t size, std::size_t first, std::size_t end) {
  std::vector<std::uintptr_t> result;
  for (std::size_t lane = first; lane < end; ++lane) {
    if (request.at[lane] == 0) continue;
    for (auto unit = request.at[lane] / size; unit <= (request.at[lane] + bytes - 1) / size; ++unit) result.push_back(unit);
  }
  std::ranges::sort(result);
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

// Lanes of 8 bytes come in two halves of a warp, lanes of 16 in four quarters. Different words of a bank take a turn each.
void count_turns(const Request& request, std::size_t bytes, Counts& counts) {
  const std::size_t at_once = std::min(kLanes, kBanks * kWord / bytes);
  for (std::size_t first = 0; first < kLanes; first += at_once) {
    const auto words = units(request, bytes, kWord, first, first + at_once);
    std::array<std::size_t, kBanks> of_bank{};
    for (const std::uintptr_t word : words) ++of_bank[word % kBanks];
    counts.turns += *std::ranges::max_element(of_bank);
    counts.least_turns += (words.size() + kBanks - 1) / kBanks;
  }
}

void finish(const Progress& instruction, const Request& request) {
  Counts& counts = instruction.site->counts;
  ++counts.requests;
  if (instruction.shared) return count_turns(request, instruction.bytes, counts);
  counts.asked += request.lanes * instruction.bytes;
  counts.sectors += kSector * units(request, instruction.bytes, kSector, 0, kLanes).size();
}

}  // namespace

std::map<std::string, std::vector<Instruction>> traffic_of(const std::function<void()>& work) {
  kernels.clear();
  on = true;
  try {
    work();
    cuda::synchronize(0);
  } catch (...) {
    on = false;
    throw;
  }
  on = false;
  std::map<std::string, std::vector<Instruction>> result;
  for (const auto& [name, sites] : kernels) {
    for (const auto& [code, site] : sites) result[name].push_back({watch::place(code), site.writes, site.counts});
  }
  return result;
}

bool counting() { return on; }

void begin_launch(const char* name) { kernel = &kernels[name]; }

void note(const Access& access) {
  const auto key = std::uint64_t{access.code} << 16 | access.bytes << 1 | access.shared;
  const auto [found, first_time] = block.try_emplace(key);
  Progress& progress = found->second;
  if (first_time) progress.site = &(*kernel)[access.code], progress.bytes = access.bytes, progress.shared = access.shared;
  progress.site->writes = access.writes;
  progress.site->counts.touched += access.fresh;
  const std::size_t warp = access.thread / kLanes;
  progress.times.resize(std::max(progress.times.size(), access.thread + 1));
  progress.open.resize(std::max(progress.open.size(), warp + 1));
  auto& [requests, first] = progress.open[warp];
  const std::size_t number = progress.times[access.thread]++ - first;
  requests.resize(std::max(requests.size(), number + 1));
  requests[number].at[access.thread % kLanes] = access.address;
  ++requests[number].lanes;
  for (; !requests.empty() && requests.front().lanes == kLanes; ++first, requests.pop_front()) {
    finish(progress, requests.front());
  }
}

void end_block() {
  for (const auto& [key, progress] : block) {
    for (const Open& open : progress.open) {
      for (const Request& request : open.requests) {
        if (request.lanes > 0) finish(progress, request);
      }
    }
  }
  block.clear();
}

}  // namespace ashlar::emulated::traffic

#else

namespace ashlar::emulated::traffic {
std::map<std::string, std::vector<Instruction>> traffic_of(const std::function<void()>&) { return {}; }
}  // namespace ashlar::emulated::traffic

#endif
