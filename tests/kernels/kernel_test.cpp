// What every slot does before it calls a device's function.
#include "kernels/kernel.h"

#include <functional>

#include "kernels/clip/clip.h"
#include "kernels/dropout/dropout.h"
#include "kernels/matmul/matmul.h"
#include "kernels/update/update.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::kernels;
using test::says;

namespace {

View on_a_gpu(const Array& a) {
  View v = a;
  v.device = {DeviceType::cuda, 1};
  return v;
}

}  // namespace

TEST_CASE("a slot refuses operands on another device, also in structs and spans", "[kernels]") {
  const Array x = Array::zeros({4, 4}), row = Array::zeros({4}), numbers = Array::zeros({3}, DType::f64);
  const View there = on_a_gpu(x), row_there = on_a_gpu(row);
  const auto refused = [](std::string_view slot, const auto& call) {
    CHECK_THROWS_WITH(call(), says(std::string(slot) + ": an operand (") && says("is on cuda:1 but the others are on cpu"));
  };
  refused("matmul", [&] { matmul({}, x, there, x.clone(), {}); });
  refused("matmul", [&] { matmul({}, x, x, x.clone(), {.bias = row_there}); });
  refused("matmul", [&] { matmul({}, x, x, x.clone(), {.gelu = Gelu::erf, .pre_activation = there}); });
  refused("matmul", [&] { matmul({}, x, x, x.clone(), {.gelu = Gelu::erf, .gelu_at = there}); });
  refused("matmul", [&] { matmul({}, x, x, x.clone(), {.row_sums = row_there}); });

  refused("dropout", [&] {
    dropout({}, x, {.p = 0.5, .stream_offset = on_a_gpu(Array::full({1}, 1, DType::i64))}, x.clone());
  });

  const std::vector<View> gradients{x, there};
  refused("clip_gradients", [&] { clip_gradients({}, gradients, Array::zeros({1}, DType::f64), {}); });

  const SgdTensor sgd{.numbers = numbers.slice(0, 0, 1), .dw = x, .w = x, .buffer = x};
  for (const auto& change : std::vector<std::function<void(SgdTensor&)>>{
           [&](auto& t) { t.numbers = on_a_gpu(numbers.slice(0, 0, 1)); }, [&](auto& t) { t.dw = there; },
           [&](auto& t) { t.w = there; }, [&](auto& t) { t.buffer = there; }}) {
    SgdTensor changed = sgd;
    change(changed);
    const SgdTensor tensors[] = {sgd, changed};
    refused("sgd_update", [&] { sgd_update({}, tensors); });
  }
  const AdamWTensor adamw{.numbers = numbers, .dw = x, .w = x, .m = x, .v = x};
  for (const auto& change : std::vector<std::function<void(AdamWTensor&)>>{
           [&](auto& t) { t.numbers = on_a_gpu(numbers); }, [&](auto& t) { t.dw = there; }, [&](auto& t) { t.w = there; },
           [&](auto& t) { t.m = there; }, [&](auto& t) { t.v = there; }}) {
    AdamWTensor changed = adamw;
    change(changed);
    refused("adamw_update", [&] { adamw_update({}, {&changed, 1}); });
  }
  const EmaTensor averages[] = {{x, x}, {x, there}};
  refused("ema_update", [&] { ema_update({}, 0.5, averages); });
}
