// The head and its loss, which have padding of their own on a GPU, and take large batches in parts.
#include "autograd/ops.h"
#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

struct Head {
  Array x, weight;
  F::Targets targets;
  Dim most_logit_bytes = Dim{2} << 30;
};
Head head(Dim rows, std::uint32_t vocabulary, DType dtype, bool mixed) {
  constexpr Dim kWidth = 24;
  Head result{randn({rows, kWidth}, dtype, 1), randn({Dim{vocabulary}, kWidth}, master_dtype(dtype), 2),
              {.target = random_ids({rows}, vocabulary, 3), .smoothing = 0.1}};
  if (mixed) result.targets.other = random_ids({rows}, vocabulary, 4), result.targets.weight = Array::full({rows}, 0.75);
  return result;
}

// The loss, dx and dweight.
Arrays results(const Head& head, Device device) {
  const Tensor x = Tensor::leaf(head.x.to(device)), weight = Tensor::leaf(head.weight.to(device));
  const Tensor loss = F::linear_cross_entropy(x, weight, head.targets, head.most_logit_bytes) * 3.0;
  loss.backward();
  return {loss.value().reshape({1}), x.grad(), weight.grad()};
}

void check_same(const Head& head) {
  const DType dtype = head.x.dtype();
  const Arrays got = results(head, kGpu), again = results(head, kGpu), expected = results(head, Device{});
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO("loss, dx, dweight: " << i);
    // In bf16 a GPU rounds the logits and their gradient too.
    CHECK(difference(got[i].to(Device{}), expected[i]) <= (dtype == DType::bf16 ? 2 : 1) * gpu_tolerance(dtype));
    CHECK(bitwise_equal(got[i].to(Device{}), again[i].to(Device{})));
  }
}

}  // namespace

TEST_CASE("the head and its loss agree with the CPU, whatever the size of the vocabulary", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : kFloating) {
    for (const std::uint32_t vocabulary : {1u, 40u, 64u, 97u, 200u}) {
      INFO(dtype << ", vocabulary " << vocabulary);
      check_same(head(70, vocabulary, dtype, false));
      // Of the shares of a single class rounding leaves something of either sign where there should be nothing.
      if (vocabulary > 1) check_same(head(70, vocabulary, dtype, true));
    }
  }
}

TEST_CASE("the head of a large batch takes its rows in parts, the last of them short", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kBytes = 130 * 128 * 8;  // 128 rows of a vocabulary of 97, padded to 128, in f64, 256 in f32 and 512 in bf16
  for (const DType dtype : kFloating) {
    for (const Dim rows : {270, 700}) {
      INFO(dtype << ", " << rows << " rows");
      Head large = head(rows, 97, dtype, true);
      large.most_logit_bytes = kBytes;
      check_same(large);
    }
  }
}

TEST_CASE("the gradient of the head's weight is not copied out of its padding", "[cuda]") {
  if (!has_gpu()) return;
  const Array gradient = results(head(70, 97, DType::bf16, false), kGpu)[2];
  CHECK(gradient.storage()->bytes() == 128 * static_cast<std::size_t>(gradient.size(1)) * sizeof(float));
}
