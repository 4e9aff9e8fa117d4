// The head and its loss, which have padding of their own on a GPU.
#include "autograd/ops.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("the head and its loss agree with the CPU, whatever the size of the vocabulary") {
  if (!has_gpu()) return;
  constexpr Dim kRows = 70, kWidth = 24;
  for (const DType dtype : kFloating) {
    for (const std::uint32_t vocabulary : {1, 40, 64, 97, 200}) {
      INFO(dtype << ", vocabulary " << vocabulary);
      const Array x = randn({kRows, kWidth}, dtype, 1), target = random_ids({kRows}, vocabulary, 3);
      const Array weight = randn({Dim{vocabulary}, kWidth}, master_dtype(dtype), 2);
      const auto results = [&](Device device) {
        const Tensor input = Tensor::leaf(x.to(device)), matrix = Tensor::leaf(weight.to(device));
        const Tensor loss = F::linear_cross_entropy(input, matrix, {.target = target, .smoothing = 0.1}) * 3.0;
        loss.backward();
        CHECK(matrix.grad().owns_alone());
        return Arrays{loss.value().to(Device{}).reshape({1}), input.grad().to(Device{}), matrix.grad().to(Device{})};
      };
      const Arrays got = results(kGpu), again = results(kGpu), expected = results(Device{});
      for (std::size_t i = 0; i < got.size(); ++i) {
        INFO("loss, dx, dweight: " << i);
        // In bf16 a GPU rounds the logits and their gradient too.
        CHECK(difference(got[i], expected[i]) <= (dtype == DType::bf16 ? 2 : 1) * gpu_tolerance(dtype));
        CHECK(bitwise_equal(got[i], again[i]));
      }
    }
  }
}
