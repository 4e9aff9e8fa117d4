// That the comparison sees what it is for.
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("a single wrong value among many is a difference") {
  const Array expected = randn({257, 320}, DType::bf16, 1);
  CHECK(difference(expected, expected) == 0);
  for (const double wrong : {0.0, 1.0, double{NAN}}) {
    const Array got = expected.clone();
    copy(Array::full({1, 1}, wrong, DType::bf16), got.slice(0, 256, 257).slice(1, 319, 320));
    INFO(wrong);
    CHECK_FALSE(difference(got, expected) <= gpu_tolerance(DType::bf16));
  }
  const Array nothing = Array::zeros({3});
  CHECK(difference(nothing, nothing) == 0);
  CHECK_FALSE(difference(Array::full({3}, 1e-9), nothing) <= 1);
  CHECK_FALSE(difference(nothing, Array::zeros({2})) <= 1);
}
