#include "kernels/elementwise/elementwise.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr double kAlpha = 0.75, kBeta = -1.5;

enum class Op { linear_combination, multiply, divide, scale, affine };

void run(Op op, const Array& a, const Array& b, const Array& y) {
  switch (op) {
    case Op::linear_combination: return kernels::linear_combination(a.exec(), a, kAlpha, b, kBeta, y);
    case Op::multiply: return kernels::multiply(a.exec(), a, b, y);
    case Op::divide: return kernels::divide(a.exec(), a, b, y);
    case Op::scale: return kernels::scale(a.exec(), a, kAlpha, y);
    case Op::affine: return kernels::affine(a.exec(), a, kAlpha, kBeta, y);
  }
}

double reference(Op op, double a, double b) {
  switch (op) {
    case Op::linear_combination: return kAlpha * a + kBeta * b;
    case Op::multiply: return a * b;
    case Op::divide: return a / b;
    case Op::scale: return kAlpha * a;
    case Op::affine: return kAlpha * a + kBeta;
  }
  return NAN;
}
Array reference(Op op, const Array& a, const Array& b) {
  auto x = a.to_vector<double>();
  const auto z = b.to_vector<double>();
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = reference(op, x[i], z[i]);
  return Array::from(x, a.shape());
}

}  // namespace

TEST_CASE("elementwise kernels match their formulas", "[elementwise]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const Op op = GENERATE(Op::linear_combination, Op::multiply, Op::divide, Op::scale, Op::affine);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Shape shape = GENERATE(Shape{}, Shape{1}, Shape{3, 5, 7}, Shape{37, 1021}, Shape{2, 0, 3});
  CAPTURE(kernels::isa_name(), static_cast<int>(op), name_of(dtype), shape);
  const Array a = randn(shape, dtype, 1), b = randn(shape, dtype, 2), y = Array::empty(shape, dtype);
  run(op, a, b, y);
  if (shape.numel() > 0) CHECK(relative_error(y, reference(op, a, b)) <= tolerance(dtype));
}

TEST_CASE("elementwise kernels take any strides", "[elementwise]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const Op op = GENERATE(Op::linear_combination, Op::multiply, Op::divide, Op::scale, Op::affine);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Array base = randn({5, 9, 13}, dtype, 3);
  const Array square = randn({13, 9, 5}, dtype, 4).permute({2, 1, 0});
  const Array row = randn({13}, dtype, 5).expand({5, 9, 13});
  const Array plane = randn({9, 13}, dtype, 6).expand({5, 9, 13});
  const Array column = randn({5, 9, 1}, dtype, 7).expand({5, 9, 13});
  const Array sliced = randn({5, 9, 31}, dtype, 8).slice(2, 4, 17);
  for (const Array& a : {base, square, sliced, row}) {
    for (const Array& b : {base, square, row, plane, column, sliced}) {
      const Array expected = Array::empty(base.shape(), dtype);
      run(op, a.clone(), b.clone(), expected);
      CHECK(relative_error(expected, reference(op, a, b)) <= tolerance(dtype));
      // The bits are those of the contiguous case, whatever the layout of the result.
      const Array whole = Array::full({5, 9, 40}, 77, dtype), flipped = Array::empty({13, 5, 9}, dtype),
                  pairs = Array::empty({5, 9, 13, 2}, dtype);
      for (const Array& y : {Array::empty(base.shape(), dtype), whole.slice(2, 10, 23), flipped.permute({1, 2, 0}),
                             pairs.select(3, 1)}) {
        run(op, a, b, y);
        CHECK(bitwise_equal(y, expected));
      }
      CHECK(all_equal(whole.slice(2, 0, 10), 77));
      CHECK(all_equal(whole.slice(2, 23, 40), 77));
    }
  }
}

TEST_CASE("elementwise kernels mix f32 and bf16", "[elementwise]") {
  const Op op = GENERATE(Op::linear_combination, Op::multiply, Op::divide, Op::scale, Op::affine);
  const DType da = GENERATE(DType::f32, DType::bf16), db = GENERATE(DType::f32, DType::bf16),
              dy = GENERATE(DType::f32, DType::bf16);
  const Array a = randn({7, 33}, da, 1), b = randn({33}, db, 2).expand({7, 33}), y = Array::empty({7, 33}, dy);
  run(op, a, b, y);
  CHECK(relative_error(y, reference(op, a, b)) <= tolerance(dy));
}

TEST_CASE("elementwise kernels work in place", "[elementwise]") {
  const Op op = GENERATE(Op::linear_combination, Op::multiply, Op::divide, Op::scale, Op::affine);
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const bool strided = GENERATE(false, true);
  const auto make = [&](std::uint64_t key) {
    const Array whole = randn({11, 40}, dtype, key);
    return strided ? whole.slice(1, 3, 32) : whole;
  };
  const Array a = make(1), b = make(2), expected = Array::empty(a.shape(), dtype);
  run(op, a, b, expected);
  const Array first = make(1), second = make(2);
  run(op, first, b, first);
  CHECK(bitwise_equal(first, expected));
  if (op == Op::scale || op == Op::affine) return;
  run(op, a, second, second);
  CHECK(bitwise_equal(second, expected));
}

TEST_CASE("multiplying by zero keeps NaN and infinity visible", "[elementwise]") {
  const Array x = Array::from(std::vector<float>{std::nanf(""), INFINITY, 1}, {3}), y = empty_like(x);
  kernels::scale(x.exec(), x, 0, y);
  CHECK(std::isnan(y.data<float>()[0]));
  CHECK(std::isnan(y.data<float>()[1]));
  CHECK(y.data<float>()[2] == 0);
}

TEST_CASE("cast rounds like the scalar conversion", "[elementwise]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType from = GENERATE(DType::f64, DType::f32, DType::bf16), to = GENERATE(DType::f64, DType::f32, DType::bf16);
  Array x = randn({3, 101}, from, 1);
  dispatch_floating(from, "test", [&]<class T>() {
    const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 1e-40f, -3e38f, 3.4e38f, 1.00390625f};
    for (std::size_t i = 0; i < std::size(special); ++i) x.data<T>()[i] = convert<T>(special[i]);
  });
  const Array y = Array::empty(x.shape(), to), z = Array::empty({101, 3}, to);
  kernels::cast(x.exec(), x, y);
  CHECK(bitwise_equal(y, x.to(to)));
  kernels::cast(x.exec(), x.transpose(0, 1), z);
  CHECK(bitwise_equal(z, x.to(to).transpose(0, 1)));
}

TEST_CASE("cast to bf16 agrees with bfloat16 on every upper half and tie", "[elementwise]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  std::vector<float> values;
  for (std::uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const std::uint32_t lower : {0x0u, 0x1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  const Array x = Array::from(values, {static_cast<Dim>(values.size())});
  const Array y = Array::empty(x.shape(), DType::bf16), back = empty_like(x);
  kernels::cast(x.exec(), x, y);
  std::size_t different = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    different += y.data<bfloat16>()[i].bits != bfloat16(values[i]).bits;
  }
  CHECK(different == 0);
  kernels::cast(x.exec(), y, back);
  CHECK(bitwise_equal(back, y.to(DType::f32)));
}

TEST_CASE("elementwise kernels do not depend on the number of threads", "[elementwise]") {
  const Array a = randn({173, 401}, DType::f32, 1), b = randn({401}, DType::bf16, 2).expand({173, 401});
  CHECK(same_on_all_threads([&] {
    const Array y = empty_like(a);
    run(Op::linear_combination, a, b, y);
    return y;
  }));
}

TEST_CASE("elementwise kernels name what is wrong with their input", "[elementwise]") {
  const Array a = randn({2, 3}, DType::f32, 1), b = randn({3}, DType::f32, 2), y = Array::empty({2, 3});
  CHECK_THROWS_WITH(run(Op::multiply, a, b, y),
                    "multiply: shapes (3) and (2, 3) differ; expand the smaller one first");
  CHECK_THROWS_WITH(run(Op::scale, a, b, Array::empty({2, 3}, DType::f64)),
                    "scale: cannot mix f32 and f64; cast first");
  CHECK_THROWS_WITH(kernels::cast(a.exec(), a, Array::empty({2, 3}, DType::i32)),
                    says("cast: needs floating dtypes"));
}
