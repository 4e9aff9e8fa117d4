// Work that is recorded and replayed, and values that are read late.
#include "core/allocator.h"
#include "core/host_copy.h"
#include "kernels/clip/clip.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"
#include "layers/linear_spec.h"
#include "optim/make_optimizer.h"
#include "tests/cuda/support.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;
using ashlar::test::contains;
using ashlar::test::error_of;

TEST_CASE("a replay computes with what the arrays hold then", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = randn({1000}, DType::f32, 1).to(kGpu);
  Array y;
  const auto recording = cuda::record(0, [&] {
    Array twice = empty_like(x);
    kernels::scale(x.exec(), x, 2, twice);
    y = empty_like(x);
    kernels::scale(x.exec(), twice, 3, y);
  });
  for (const std::uint64_t seed : {2u, 3u}) {
    const Array values = randn({1000}, DType::f32, seed);
    copy(values, x);
    // What is made between replays must not lie where the recording works.
    const Array other = Array::full({1000}, 7, DType::f32, kGpu);
    recording->replay();
    CHECK(all_equal(other.to(Device{}), 7));
    const auto got = y.to_vector<double>(), given = values.to_vector<double>();
    for (std::size_t i = 0; i < given.size(); ++i) REQUIRE(std::abs(got[i] - 6 * given[i]) <= 1e-5 * std::abs(given[i]));
  }
}

TEST_CASE("an error that was caught is not told again by the next launch", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = Array::full({10}, 3, DType::f32, kGpu), y = empty_like(x);
  CHECK(contains(error_of<Error>([] { Array::empty({Dim{1} << 40}, DType::f32, kGpu); }), "out of memory"));
  kernels::scale(x.exec(), x, 2, y);
  CHECK(all_equal(y.to(Device{}), 6));
}

TEST_CASE("forward and backward can be recorded apart", "[cuda]") {
  if (!has_gpu()) return;
  for (const char* spec : {"dense", "blast:blocks=2,rank=8", "ss1:reduction=4"}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      INFO(spec << " " << dtype);
      const Linear layer(Scope::root(dtype, 3, kGpu), 64, 32, spec);
      const Tensor x = Tensor::leaf(randn({40, 64}, dtype, 1).to(kGpu));
      const Array dy = randn({40, 32}, dtype, 2).to(kGpu);
      const auto forget_gradients = [&] {
        x.zero_grad();
        for (const Parameter& parameter : layer.map().parameters()) parameter.tensor.zero_grad();
      };
      layer(x).backward(dy);
      const Array expected = x.grad().to(Device{});
      forget_gradients();
      // Two passes, as bench_layers has several.
      std::array<Tensor, 2> results;
      const auto forward = cuda::record(0, [&] {
        for (Tensor& y : results) y = layer(x);
      });
      const auto backward = cuda::record(0, [&] {
        for (Tensor& y : results) {
          forget_gradients();
          y.backward(dy);
        }
      });
      for (int i = 0; i < 2; ++i) {
        forward->replay();
        backward->replay();
        backward->replay();
        CHECK(bitwise_equal(x.grad().to(Device{}), expected));
      }
    }
  }
}

TEST_CASE("work that waits or brings values cannot be recorded, and the device is none the worse", "[cuda]") {
  if (!has_gpu()) return;
  const Array x = Array::full({10}, 3, DType::f32, kGpu);
  CHECK(contains(error_of<Error>([&] { cuda::record(0, [&] { x.select(0, 0).item(); }); }), "read them after the replay"));
  CHECK(contains(error_of<Error>([&] { cuda::record(0, [&] { Array::full({5}, 1).to(kGpu); }); }), "brings values from the host"));
  CHECK(contains(error_of<Error>([&] { cuda::record(0, [&] { HostCopy copy_of{x}; }); }), "brings values to the host"));
  CHECK_THROWS_AS(cuda::record(0, [] { throw InputError("of its own"); }), InputError);
  const Array y = empty_like(x);
  kernels::scale(x.exec(), x, 2, y);
  CHECK(all_equal(y.to(Device{}), 6));
}

TEST_CASE("a recording that ends gives its memory back, though an array of it lives on", "[cuda]") {
  if (!has_gpu()) return;
  constexpr Dim kMany = 1 << 20;
  const Array x = Array::full({kMany}, 3, DType::f32, kGpu);
  Array kept = Array::zeros({1}, DType::f32, kGpu);
  auto recording = cuda::record(0, [&] {
    const Array twice = empty_like(x);
    kernels::scale(x.exec(), x, 2, twice);
    kept = empty_like(kept);
    kernels::scale(x.exec(), twice.slice(0, 0, 1), 1, kept);
  });
  recording->replay();
  const std::size_t meanwhile = allocator(kGpu).stats().current;
  recording.reset();
  CHECK(meanwhile - allocator(kGpu).stats().current >= kMany * sizeof(float));
  CHECK(all_equal(kept.to(Device{}), 6));
}

TEST_CASE("an update of more parameters than an older CUDA passes to one kernel is recorded", "[cuda]") {
  if (!has_gpu()) return;
  // About 400 parameters of AdamW are 20 KB.
  constexpr int kParameters = 400;
  Parameters parameters;
  for (int i = 0; i < kParameters; ++i) {
    parameters.push_back({concat("p", i), Tensor::leaf(Array::full({4}, 1, DType::f32, kGpu)), {.role = Role::bias}});
    parameters.back().tensor.set_grad(Array::full({4}, 2, DType::f32, kGpu));
  }
  const auto optimizer = optim::make_optimizer(parameters, {.name = "adamw", .settings = {{"lr", 0.5}}});
  const auto recording = cuda::record(0, [&] { optimizer->record_step(); });
  optimizer->begin_replay([](const optim::Slot&) { return 1.0; });
  recording->replay();
  // AdamW's first step is its learning rate, against the sign of the gradient.
  for (const Parameter& parameter : parameters) CHECK(relative_error(parameter.tensor.value().to(Device{}), Array::full({4}, 0.5)) < 1e-5);
}

TEST_CASE("a late reader sees the values of its time", "[cuda]") {
  if (!has_gpu()) return;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Array x = Array::full({3, 4}, 1, dtype, kGpu);
    std::vector<HostCopy> copies;
    for (int i = 0; i < 5; ++i) {
      kernels::scale(x.exec(), x, 2, x);
      copies.emplace_back(x.transpose(0, 1));
    }
    for (std::size_t i = 0; i < copies.size(); ++i) CHECK(copies[i].values() == std::vector<double>(12, std::exp2(i + 1)));
  }
}

TEST_CASE("clipping of many gradients", "[cuda]") {
  if (!has_gpu()) return;
  Arrays gradients;
  for (int i = 0; i < 70; ++i) {
    gradients.push_back(randn({i == 3 ? 20000 : 50 + i}, i % 9 == 4 ? DType::f64 : DType::f32, static_cast<std::uint64_t>(i)));
  }
  for (const double max_norm : {0.0, 1.0, 1e6}) {
    for (const double accumulated : {1.0, 4.0}) {
      INFO(max_norm << " " << accumulated);
      same_on_gpu({}, gradients, 1e-6, [=](const Exec& exec, const Arrays&, const Arrays& out) {
        const Array squares = Array::empty({static_cast<Dim>(out.size())}, DType::f64, exec.device);
        kernels::sums_of_squares(exec, std::vector<ConstView>(out.begin(), out.end()), squares);
        kernels::clip_gradients(exec, std::vector<View>(out.begin(), out.end()), squares, {max_norm, accumulated});
      });
    }
  }
}
