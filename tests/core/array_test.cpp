// Arrays: values behind shapes and strides. The reference is index arithmetic on a plain vector.
#include "core/array.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "core/host_copy.h"
#include "tests/support/catch.h"
#include "tests/support/errors.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

Array counting(const Shape& shape) {
  std::vector<float> values(static_cast<std::size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 0.0f);
  return Array::from(values, shape);
}

// The value at an index, found through the strides alone.
float at(const Array& array, std::initializer_list<Dim> index) {
  Dim offset = 0;
  std::size_t d = 0;
  for (const Dim i : index) offset += i * array.strides()[d++];
  return array.data<float>()[offset];
}

bool shares(const Array& a, const Array& b) { return a.storage() == b.storage(); }

}  // namespace

TEST_CASE("shapes count, compare and print") {
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{3, 0, 2}.numel() == 0);
  CHECK(Shape{2, 3, 5}.numel() == 30);
  CHECK(Shape{2, 3, 5}[-1] == 5);
  CHECK(concat(Shape{32, 768}) == "(32, 768)");
  CHECK(concat(Shape{}) == "()");
  CHECK(Shape{2, 3} == Shape{2, 3});
  CHECK(Shape{2, 3} != Shape{2, 3, 1});
  CHECK(Shape{2, 3, 5}.with(-1, 7) == Shape{2, 3, 7});
  CHECK(Shape{2, 3, 5}.without(1) == Shape{2, 5});
  CHECK(Shape{2, 3, 5}.without(-1) == Shape{2, 3});
  CHECK(Shape{5}.without(0) == Shape{});
  CHECK(contains(error_of([] { Shape{5}.without(1); }), "dimension 1"));
  CHECK(Shape{2, 3, 5}.as_rows() == Shape{6, 5});
  CHECK(Shape{5}.as_rows() == Shape{1, 5});
  CHECK(contains(error_of([] { Shape{2, -1}; }), "-1"));
  CHECK(contains(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1}; }), "7 dimensions"));
  CHECK(contains(error_of([] { Shape{Dim{1} << 31, Dim{1} << 31}; }), "too large"));
  CHECK(contains(error_of([] { Shape({1, Dim{1} << 31}).with(0, Dim{1} << 31); }), "too large"));
  CHECK(contains(error_of([] { Shape{5}.with(0, -1); }), "-1"));
  CHECK(contains(error_of([] { Shape{}.as_rows(); }), "()"));
}

TEST_CASE("new arrays hold what they were made of") {
  CHECK(Array::zeros({2, 3}).to_vector<float>() == std::vector<float>(6, 0.0f));
  CHECK(Array::full({3}, 2.5, DType::bf16).to_vector<float>() == std::vector<float>(3, 2.5f));
  CHECK(Array::full({2}, 7, DType::u8).to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 7});
  CHECK(counting({2, 2}).to_vector<double>() == std::vector<double>{0, 1, 2, 3});
  CHECK(Array::full({}, 3).item() == 3);
  CHECK(Array::empty({0, 4}).numel() == 0);
  CHECK(contains(error_of([] { Array::from(std::vector<float>{1, 2}, {3}); }), "(3)"));
  CHECK(contains(error_of([] { counting({2}).item(); }), "(2)"));
  CHECK(contains(error_of([] { counting({2}).data<double>(); }), "f64"));
  CHECK_FALSE(error_of([] { Array().data<float>(); }).empty());
}

TEST_CASE("an undefined array has no values to copy, and says so") {
  const Array none, values = counting({});
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { none.clone(); }, [&] { none.to(DType::f64); }, [&] { none.to_vector<float>(); },
           [&] { none.to_vector<double>(); }, [&] { none.item(); }, [&] { HostCopy copy_of{none}; }, [&] { copy(none, values); },
           [&] { copy(values, none); }, [&] { copy(ConstView(none), View(values)); }}) {
    CHECK(contains(error_of(call), "undefined"));
  }
}

TEST_CASE("views show the same values at other indices") {
  const Array a = counting({2, 3, 5});
  const auto value = [](Dim i, Dim j, Dim k) { return static_cast<float>(i * 15 + j * 5 + k); };

  const Array t = a.transpose(0, -1);
  CHECK(t.shape() == Shape{5, 3, 2});
  const Array p = a.permute({2, 0, 1});
  CHECK(p.shape() == Shape{5, 2, 3});
  const Array s = a.slice(2, 1, 4);
  CHECK(s.shape() == Shape{2, 3, 3});
  const Array row = a.select(1, 2);
  CHECK(row.shape() == Shape{2, 5});
  for (Dim i = 0; i < 2; ++i) {
    for (Dim k = 0; k < 5; ++k) {
      for (Dim j = 0; j < 3; ++j) {
        CHECK(at(t, {k, j, i}) == value(i, j, k));
        CHECK(at(p, {k, i, j}) == value(i, j, k));
        if (k < 3) CHECK(at(s, {i, j, k}) == value(i, j, k + 1));
      }
      CHECK(at(row, {i, k}) == value(i, 2, k));
    }
  }
  for (const Array& view : {t, p, s, row}) {
    CHECK(shares(view, a));
    CHECK_FALSE(view.contiguous());
  }
  CHECK(a.select(0, 1).contiguous());
  CHECK(a.slice(0, 1, 1).numel() == 0);
}

TEST_CASE("expand repeats sizes of one and adds leading dimensions") {
  const Array row = counting({3, 1});
  const Array wide = row.expand({2, 3, 4});
  CHECK(wide.to_vector<float>() ==
        std::vector<float>{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2});
  CHECK(shares(wide, row));
  CHECK(contains(error_of([&] { row.expand({2, 4}); }), "(2, 4)"));
  CHECK(contains(error_of([&] { row.expand({3}); }), "(3)"));
}

TEST_CASE("reshape keeps the order of the values and shares memory exactly when strides allow it") {
  const Array a = counting({2, 3, 4});
  struct Case {
    Array from;
    Shape to;
    bool view;
  };
  const Case cases[] = {
      {a, {24}, true},
      {a, {4, 3, 2}, true},
      {a, {1, 2, 12, 1}, true},
      {a.transpose(0, 1), {3, 8}, false},
      {a.transpose(0, 1), {3, 2, 2, 2}, true},
      {a.transpose(1, 2), {2, 12}, false},
      {a.transpose(1, 2), {1, 2, 4, 3}, true},
      {a.slice(2, 0, 2), {6, 2}, true},
      {a.slice(2, 0, 2), {12}, false},
      {a.slice(1, 1, 3), {2, 8}, true},
      {a.select(1, 0), {8}, false},
      {a.select(0, 1), {12}, true},
      {counting({1, 3}).expand({4, 3}), {2, 2, 3}, true},
      {counting({1, 3}).expand({4, 3}), {12}, false},
      {counting({0, 3}), {3, 0, 7}, true},
      {counting({1}), {}, true}, {counting({}), {1, 1}, true},
  };
  for (const Case& c : cases) {
    INFO(c.from.shape() << " to " << c.to);
    const Array result = c.from.reshape(c.to);
    CHECK(result.shape() == c.to);
    CHECK(shares(result, c.from) == c.view);
    CHECK(result.to_vector<float>() == c.from.to_vector<float>());
  }
  CHECK(a.reshape({4, -1}).shape() == Shape{4, 6});
  CHECK(contains(error_of([&] { a.reshape({5, -1}); }), "-1"));
  CHECK(contains(error_of([&] { counting({0, 3}).reshape({0, -1}); }), "has no size for -1"));
  CHECK(contains(error_of([&] { a.reshape({-1, -1}); }), "reshape"));
  CHECK(contains(error_of([&] { a.reshape({-1, Dim{1} << 32, Dim{1} << 31}); }), "too large for any memory"));
  CHECK(contains(error_of([&] { a.reshape({5, 5}); }), "25"));
}

TEST_CASE("strides of dimensions of size one do not make an array strided") {
  const Array a = counting({4, 1, 3});
  CHECK(a.transpose(0, 1).contiguous());
  CHECK(a.slice(0, 0, 1).transpose(0, 1).contiguous());
  CHECK_FALSE(a.transpose(0, 2).contiguous());
}

TEST_CASE("reshape gives dimensions of size one the strides of row-major order, whole vectors among them") {
  const auto strides_of = [](const Array& array) {
    const auto& strides = array.strides();
    return std::vector<Dim>(strides.begin(), strides.begin() + array.ndim());
  };
  const Array packed = counting({1, 1, 24});
  CHECK(strides_of(packed.reshape({1, 1, 3, 1, 8})) == std::vector<Dim>{24, 24, 8, 8, 1});
  CHECK(strides_of(packed.reshape({24, 1})) == std::vector<Dim>{1, 1});
  CHECK(strides_of(counting({2, 3, 8}).slice(1, 0, 2).reshape({1, 2, 1, 2, 8})) == std::vector<Dim>{48, 24, 16, 8, 1});
  CHECK(strides_of(counting({3, 8}).slice(0, 0, 1).transpose(0, 1).reshape({1, 8, 1})) == std::vector<Dim>{8, 1, 1});
}

TEST_CASE("copies convert between all dtypes, whatever the strides") {
  const DType all[] = {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8};
  const Array source = counting({7, 3, 5}).transpose(0, 2);
  const std::vector<double> expected = source.to_vector<double>();
  for (const DType from : all) {
    for (const DType to : all) {
      INFO(from << " to " << to);
      Array target = Array::empty({5, 14, 3}, to);
      const Array part = target.slice(1, 3, 10).transpose(1, 2);
      copy(source.to(from), part);
      CHECK(part.to_vector<double>() == expected);
    }
  }
  CHECK(contains(error_of([&] { copy(source, Array::empty({5, 3})); }), "(5, 3)"));
}

TEST_CASE("fill writes every element and nothing else") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8);
  const auto all_equal = [](const Array& array, double value) {
    return std::ranges::count(array.to_vector<double>(), value) == array.numel();
  };
  const Array whole = Array::zeros({7, 9, 5}, dtype), middle = whole.slice(1, 2, 6).transpose(0, 2);
  fill(middle, 3);
  CHECK(all_equal(middle, 3));
  CHECK(all_equal(whole.slice(1, 0, 2), 0));
  CHECK(all_equal(whole.slice(1, 6, 9), 0));
  const Array big = Array::zeros({3, 50000}, dtype);
  fill(big, 1);
  CHECK(all_equal(big, 1));
  fill(Array::empty({0, 3}, dtype), 1);
  CHECK(contains(error_of([] { fill(Array(), 1); }), "undefined"));
}

TEST_CASE("large copies over several threads move every value") {
  const Array a = counting({300, 1001});
  CHECK(a.transpose(0, 1).clone().transpose(0, 1).to_vector<float>() == a.to_vector<float>());
  CHECK(a.clone().to_vector<float>() == a.to_vector<float>());
}

TEST_CASE("clones, conversions and contiguous copies share memory only when nothing changes") {
  const Array a = counting({2, 3});
  CHECK(shares(a.as_contiguous(), a));
  CHECK(shares(a.to(DType::f32), a));
  CHECK_FALSE(shares(a.clone(), a));
  CHECK_FALSE(shares(a.to(DType::f64), a));
  const Array t = a.transpose(0, 1).as_contiguous();
  CHECK_FALSE(shares(t, a));
  CHECK(t.contiguous());
  CHECK(t.to_vector<float>() == std::vector<float>{0, 3, 1, 4, 2, 5});
}

TEST_CASE("asking for a writable view marks the storage as changed, reading does not") {
  const Array a = counting({3});
  const auto before = a.storage()->version;
  const ConstView read = a;
  CHECK(read);
  CHECK(a.to_vector<float>().size() == 3);
  CHECK(a.storage()->version == before);
  const View write = a;
  CHECK(write);
  CHECK(a.storage()->version == before + 1);
  copy(counting({3}), a.slice(0, 0, 3));
  CHECK(a.storage()->version > before + 1);
  const auto copied = a.storage()->version;
  a.data<float>()[0] = 5;  // as its comment says
  CHECK(a.storage()->version == copied);
}

TEST_CASE("bad dimensions and ranges name the operation and the shape") {
  const Array a = counting({2, 3});
  CHECK(contains(error_of([&] { a.transpose(0, 2); }), "transpose: dimension 2"));
  CHECK(contains(error_of([&] { a.size(-3); }), "size: dimension -3"));
  CHECK(contains(error_of([&] { a.slice(1, 2, 4); }), "slice: [2, 4)"));
  CHECK(contains(error_of([&] { a.slice(1, 2, 1); }), "slice"));
  CHECK(contains(error_of([&] { a.select(0, 2); }), "(2, 3)"));
  CHECK(contains(error_of([&] { a.permute({0}); }), "permute"));
  CHECK(contains(error_of([&] { a.permute({0, 0}); }), "twice"));
}

TEST_CASE("bfloat16 rounds to nearest, ties to even, and keeps what is not a number") {
  const auto round = [](float value) { return static_cast<float>(bfloat16(value)); };
  CHECK(round(1.0f) == 1.0f);
  CHECK(round(1.0f + 0x1p-8f) == 1.0f);                        // a tie, down to even
  CHECK(round(1.0f + 3 * 0x1p-8f) == 1.0f + 4 * 0x1p-8f);      // a tie, up to even
  CHECK(round(1.0f + 0x1p-8f + 0x1p-20f) == 1.0f + 0x1p-7f);   // just above a tie
  CHECK(round(-1.0f - 3 * 0x1p-8f) == -1.0f - 4 * 0x1p-8f);
  CHECK(round(std::numeric_limits<float>::max()) == std::numeric_limits<float>::infinity());
  CHECK(std::signbit(round(-0.0f)));
  CHECK(std::isnan(round(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(round(std::bit_cast<float>(0x7f800001u))));  // its payload lies in the bits that are cut off
  CHECK(round(-std::numeric_limits<float>::infinity()) == -std::numeric_limits<float>::infinity());
}

TEST_CASE("dtypes have sizes, names and a dispatch") {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8}) {
    dispatch_all(dtype, [&]<class T>() {
      CHECK(size_of(dtype) == sizeof(T));
      CHECK(dtype_of<T>() == dtype);
      CHECK(dtype_of<const T>() == dtype);
    });
  }
  CHECK(master_dtype(DType::bf16) == DType::f32);
  CHECK(master_dtype(DType::f64) == DType::f64);
  CHECK(contains(error_of([] { dispatch_floating(DType::i32, "gelu", []<class T>() {}); }), "gelu"));
}

TEST_CASE("a device that is not there is named with the remedy") {
  CHECK(contains(error_of<InputError>([] { Device::parse("cuda:99"); }), "use --device cpu"));
  CHECK(contains(error_of<InputError>([] { Device::parse("cuda:x"); }), "is unknown"));
  CHECK(contains(error_of<InputError>([] { Device::parse("gpu"); }), "use cpu, cuda or cuda:N"));
}

TEST_CASE("an array that is where it should be is not copied") {
  const Array a = Array::zeros({3});
  CHECK(a.to(Device{}).storage() == a.storage());
  CHECK(!Array().to(Device{}).defined());
}
