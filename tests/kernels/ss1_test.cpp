#include "kernels/matmul/matmul.h"
#include "kernels/ss1/ss1.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kRows = 70, kIn = 29, kSketches = 3, kGroups = 2, kReduction = 3, kBlock = 5, kWidth = kGroups * kBlock;

struct Tables {
  Array shift = random_ids({kSketches, kGroups, kReduction}, kBlock, 1), sign = random_ids(shift.shape(), 2, 2);
  Tables() {
    for (Dim i = 0; i < sign.numel(); ++i) sign.data<std::int32_t>()[i] = 1 - 2 * sign.data<std::int32_t>()[i];
  }
  // Calls body(sketch, feature, place in the sketch, sign) for every use of a feature.
  template <class Body>
  void for_uses(Body&& body) const {
    for (Dim entry = 0; entry < shift.numel(); ++entry) {
      for (Dim k = 0; k < kBlock; ++k) {
        const Dim feature = entry % (kGroups * kReduction) * kBlock + (k + shift.data<std::int32_t>()[entry]) % kBlock;
        if (feature >= kIn) continue;
        body(entry / (kGroups * kReduction), feature, entry / kReduction % kGroups * kBlock + k,
             sign.data<std::int32_t>()[entry]);
      }
    }
  }
};

}  // namespace

TEST_CASE("ss1_sketch adds rotated chunks with their signs, and its backward spreads them", "[kernels]") {
  const Tables tables;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Array x = randn({kRows, kIn}, dtype, 3), du = randn({kSketches, kRows, kWidth}, dtype, 4);
    Array u = Array::full(du.shape(), NAN, dtype), dx = Array::full(x.shape(), NAN, dtype);
    kernels::ss1_sketch({}, x, tables.shift, tables.sign, u);
    kernels::ss1_sketch_backward({}, du, tables.shift, tables.sign, dx);
    const Array expected_u = Array::zeros(u.shape(), DType::f64), expected_dx = Array::zeros(x.shape(), DType::f64);
    const auto xs = x.to_vector<double>(), dus = du.to_vector<double>();
    tables.for_uses([&](Dim sketch, Dim feature, Dim place, int sign) {
      for (Dim row = 0; row < kRows; ++row) {
        const Dim at_x = row * kIn + feature, at_u = (sketch * kRows + row) * kWidth + place;
        expected_u.data<double>()[at_u] += sign * xs[static_cast<std::size_t>(at_x)];
        expected_dx.data<double>()[at_x] += sign * dus[static_cast<std::size_t>(at_u)];
      }
    });
    INFO(dtype);
    CHECK(relative_error(u, expected_u) <= tolerance(dtype, kReduction));
    CHECK(relative_error(dx, expected_dx) <= tolerance(dtype, kSketches));
  }
}

TEST_CASE("ss1_sketch works on rows inside a wider matrix, on no rows, and on any number of threads", "[kernels]") {
  const Tables tables;
  const Array wide = randn({kRows, kIn + 4}, DType::f32, 5), du = randn({kSketches, kRows, kWidth}, DType::f32, 6);
  const auto sketch = [&](const Array& x) {
    Array u = Array::full({kSketches, x.size(0), kWidth}, NAN);
    kernels::ss1_sketch({}, x, tables.shift, tables.sign, u);
    return u;
  };
  const Array x = wide.slice(1, 3, 3 + kIn);
  CHECK(bitwise_equal(sketch(x), sketch(x.clone())));
  CHECK(sketch(x.slice(0, 0, 0)).numel() == 0);
  Array dx_wide = Array::full(wide.shape(), 7), dx = Array::full(x.shape(), NAN);
  kernels::ss1_sketch_backward({}, du, tables.shift, tables.sign, dx_wide.slice(1, 3, 3 + kIn));
  kernels::ss1_sketch_backward({}, du, tables.shift, tables.sign, dx);
  CHECK(bitwise_equal(dx_wide.slice(1, 3, 3 + kIn), dx));
  CHECK(all_equal(dx_wide.slice(1, 0, 3), 7));
  CHECK(all_equal(dx_wide.slice(1, 3 + kIn, 4 + kIn), 7));
  const Array many = randn({3000, kIn}, DType::bf16, 7);
  CHECK(same_on_all_threads([&] {
    Array u = Array::full({kSketches, 3000, kWidth}, NAN, DType::bf16);
    kernels::ss1_sketch({}, many, tables.shift, tables.sign, u);
    return u;
  }));
}

TEST_CASE("ss1_forward gives the same with and without keeping the sketches", "[kernels]") {
  const Tables tables;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Array x = randn({kRows, kIn}, dtype, 9), z = randn({7, kWidth}, DType::f32, 10), bias = randn({7}, DType::f32, 11);
    Array u = Array::full({kSketches, kRows, kWidth}, NAN, dtype), expected_u = u.clone();
    Array y = Array::full({kRows, 7}, NAN, dtype), alone = y.clone();
    kernels::ss1_sketch({}, x, tables.shift, tables.sign, expected_u);
    kernels::ss1_forward({}, x, tables.shift, tables.sign, z, bias, u, y);
    kernels::ss1_forward({}, x, tables.shift, tables.sign, z, bias, {}, alone);
    CHECK(bitwise_equal(u, expected_u));
    CHECK(bitwise_equal(y, alone));
    Array expected = Array::zeros(y.shape());
    // Seven outputs in three classes: 3, 3 and 1.
    for (Dim output = 0; output < 7; ++output) {
      const Array column = expected.slice(1, output, output + 1), row = z.slice(0, output, output + 1);
      kernels::matmul({}, u.select(0, output / 3), row.transpose(0, 1), column, {.bias = bias.slice(0, output, output + 1)});
    }
    CHECK(relative_error(y, expected) <= tolerance(dtype, kWidth));
  }
}

TEST_CASE("ss1_backward of kept sketches and of x, on any number of threads", "[kernels]") {
  const Tables tables;
  const Dim rows = 700;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const DType master = master_dtype(dtype);
    const Array x = randn({rows, kIn}, dtype, 12), dy = randn({rows, 7}, dtype, 13), z = randn({7, kWidth}, master, 14);
    const Array u = Array::empty({kSketches, rows, kWidth}, dtype);
    kernels::ss1_sketch({}, x, tables.shift, tables.sign, u);
    struct Gradients {
      Array dx, dz, dbias;
    };
    const auto gradients = [&](const ConstView& of_x, const ConstView& of_u) {
      const Gradients g{Array::full(x.shape(), NAN, dtype), Array::full(z.shape(), NAN, master),
                        Array::full({7}, NAN, master)};
      kernels::ss1_backward({}, dy, of_x, of_u, tables.shift, tables.sign, z, g.dx, g.dz, g.dbias);
      return g;
    };
    const Gradients kept = gradients({}, u), again = gradients(x, {});
    CHECK(bitwise_equal(kept.dx, again.dx));
    CHECK(bitwise_equal(kept.dbias, again.dbias));
    CHECK(same_on_all_threads([&] { return gradients(x, {}).dx; }));
    CHECK(same_on_all_threads([&] { return gradients(x, {}).dz; }));
    // Of the products one after another, as where nothing is fused.
    const Array du = Array::full(u.shape(), NAN, dtype), dx = Array::full(x.shape(), NAN, dtype);
    const Array dz = Array::full(z.shape(), NAN, master);
    for (Dim h = 0; h < kSketches; ++h) {
      const Dim begin = 3 * h, end = std::min<Dim>(7, begin + 3);  // three classes of 3, 3 and 1 outputs
      const Array dy_h = dy.slice(1, begin, end);
      kernels::matmul({}, dy_h, z.slice(0, begin, end), du.select(0, h), {});
      kernels::matmul({}, dy_h.transpose(0, 1), u.select(0, h), dz.slice(0, begin, end), {});
    }
    kernels::ss1_sketch_backward({}, du, tables.shift, tables.sign, dx);
    CHECK(relative_error(again.dx, dx) <= tolerance(dtype, kSketches));
    for (const Gradients& g : {kept, again}) CHECK(relative_error(g.dz, dz) <= tolerance(master, rows));
  }
}

TEST_CASE("ss1's layer names operands that do not fit", "[kernels]") {
  const Tables tables;
  const Array x = randn({2, kIn}, DType::f32, 8), z = randn({7, kWidth}, DType::f32, 9), dy = randn({2, 7}, DType::f32, 10);
  Array y = Array::zeros({2, 6}), dz = Array::zeros(z.shape());
  CHECK_THROWS_WITH(kernels::ss1_forward({}, x, tables.shift, tables.sign, z, {}, {}, y),
                    "ss1_forward: x (2, 29), z (7, 10), y (2, 6) and the table (3, 2, 3) must be (R, n), (m, G B), (R, m) and "
                    "(H, G, c)");
  CHECK_THROWS_WITH(kernels::ss1_backward({}, dy, {}, {}, tables.shift, tables.sign, z, {}, dz, {}),
                    "ss1_backward: dz needs the sketches u, or x");
  CHECK_THROWS_WITH(kernels::ss1_backward({}, dy, x, {}, tables.shift, tables.sign, z, Array::zeros({2, 28}), dz, {}),
                    "ss1_backward: dx (2, 28) must have the shape of x (2, 29)");
}

TEST_CASE("ss1_sketch refuses tables that do not fit, and says what must hold", "[kernels]") {
  Tables tables;
  const Array x = randn({2, kIn}, DType::f32, 8);
  Array u = Array::zeros({kSketches, 2, kWidth});
  const auto sketch = [&](const Array& from) { kernels::ss1_sketch({}, from, tables.shift, tables.sign, u); };
  CHECK_THROWS_WITH(sketch(randn({2, 31}, DType::f32, 8)),
                    "ss1_sketch: x (2, 31) has more than the 30 features of the table (3, 2, 3)");
  CHECK_THROWS_AS(sketch(x.to(DType::f64)), InputError);
  tables.shift.data<std::int32_t>()[4] = kBlock;
  CHECK_THROWS_WITH(sketch(x), says("the table has shift 5"));
  tables = Tables();
  tables.sign.data<std::int32_t>()[4] = 0;
  CHECK_THROWS_WITH(sketch(x), says("the table has sign 0; it must be 1 or -1"));
}

TEST_CASE("rotations of padding reach nothing beside their row", "[kernels]") {
  // The last of four chunks has 2 of its 5 features.
  const Array shift = Array::from(std::vector<std::int32_t>{1, 0, 4, 1, 3, 2, 0, 4}, {2, 2, 2});
  const Array sign = Array::full(shift.shape(), 1, DType::i32), du = randn({2, 3, 10}, DType::f32, 8);
  const Array wide = Array::full({3, 30}, 7);
  kernels::ss1_sketch_backward({}, du, shift, sign, wide.slice(1, 4, 21));
  CHECK(all_equal(wide.slice(1, 0, 4), 7));
  CHECK(all_equal(wide.slice(1, 21, 30), 7));
}
