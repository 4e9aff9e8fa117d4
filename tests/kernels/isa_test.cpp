#include "kernels/isa.h"

#include "core/error.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("the instruction set can be limited", "[isa]") {
  const std::string before(kernels::isa_name());
  {
    const IsaLimit isa("baseline");
    CHECK(kernels::isa_limit() == "baseline");
    const std::string name(kernels::isa_name());
    CHECK((name == "baseline" || name == "neon"));
    CHECK_THROWS_WITH(kernels::limit_isa("sse"),
                      "limit_isa: instruction set 'sse' is unknown; use native, avx512, avx2 or baseline");
    CHECK(kernels::isa_limit() == "baseline");
  }
  CHECK(kernels::isa_name() == before);
  const IsaLimit isa("avx2");
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) CHECK(kernels::isa_name() == "avx2");
#endif
  CHECK(kernels::isa_name() != "avx512");
}
