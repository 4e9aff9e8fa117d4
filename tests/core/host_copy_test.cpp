#include "core/host_copy.h"

#include "tests/support/catch.h"

using namespace ashlar;

TEST_CASE("a copy to the host keeps the values of its time, whatever their layout and dtype") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64}) {
    const Array x = Array::from(std::vector<double>{1, 2, 3, 4, 5, 6}, {2, 3}).to(dtype);
    const HostCopy late(x.transpose(0, 1)), none;
    copy(Array::full({2, 3}, 9, dtype), x);
    CHECK(late.values() == std::vector<double>{1, 4, 2, 5, 3, 6});
    CHECK(none.values().empty());
  }
}
