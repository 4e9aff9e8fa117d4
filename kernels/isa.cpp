#include "kernels/isa.h"

#include <array>
#include <cstdlib>
#include <mutex>

#include "kernels/simd.h"

#include <hwy/highway.h>

namespace ashlar::kernels {
namespace {

struct Limit {
  std::string_view name;
  std::int64_t disabled;  // Highway targets
};
constexpr std::int64_t kAvx512 = HWY_AVX3 | (HWY_AVX3 - 1);  // better targets have lower numbers
constexpr std::array kLimits{
    Limit{"native", 0},
    Limit{"avx512", 0},  // for the products of bf16, which AMX has too
    Limit{"avx2", kAvx512},
    Limit{"baseline", kAvx512 | HWY_AVX2 | HWY_SSE4 | HWY_SSSE3},
};

std::string_view limit_in_force = kLimits[0].name;
std::once_flag environment_read;

void set_limit(std::string_view name, std::string_view source) {
  for (const Limit& limit : kLimits) {
    if (limit.name != name) continue;
    hwy::DisableTargets(limit.disabled);
    limit_in_force = limit.name;
    return;
  }
  throw InputError(concat(source, ": instruction set '", name, "' is unknown; use native, avx512, avx2 or baseline"));
}

}  // namespace

void ensure_isa_limit() {
  std::call_once(environment_read, [] {
    if (const char* name = std::getenv("ASHLAR_ISA"); name && *name) set_limit(name, "ASHLAR_ISA");
  });
}

void limit_isa(std::string_view name) {
  ensure_isa_limit();
  set_limit(name, "limit_isa");
}

std::string_view isa_limit() {
  ensure_isa_limit();
  return limit_in_force;
}

std::string_view isa_name() {
  ensure_isa_limit();
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  switch (targets & -targets) {
    case HWY_AVX3: return "avx512";
    case HWY_AVX2: return "avx2";
    case HWY_NEON: return "neon";
    default: return "baseline";
  }
}

}  // namespace ashlar::kernels
