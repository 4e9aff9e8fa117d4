#include "kernels/embedding/embedding.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// dtable[id] + Σ dy rows of that id, in f64.
Array reference_gradient(const Array& dtable, const Array& ids, const Array& dy) {
  auto sums = dtable.to_vector<double>();
  const auto id = ids.to_vector<std::int32_t>();
  const auto rows = dy.to_vector<double>();
  const auto columns = static_cast<std::size_t>(dy.size(1));
  for (std::size_t n = 0; n < id.size(); ++n) {
    for (std::size_t c = 0; c < columns; ++c) sums[static_cast<std::size_t>(id[n]) * columns + c] += rows[n * columns + c];
  }
  return Array::from(sums, dtable.shape());
}

}  // namespace

TEST_CASE("embedding picks rows and converts them", "[embedding]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType from = GENERATE(DType::f64, DType::f32, DType::bf16), to = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Dim rows = GENERATE(0, 1, 37), columns = GENERATE(1, 7, 129);
  const Array table = randn({11, columns}, from, 1), ids = random_ids({rows}, 11, 2);
  const Array y = Array::empty({rows, columns}, to);
  kernels::embedding_forward(table.exec(), table, ids, y);
  for (Dim n = 0; n < rows; ++n) {
    REQUIRE(bitwise_equal(y.select(0, n), table.select(0, ids.data<std::int32_t>()[n]).to(to)));
  }
}

TEST_CASE("embedding gradient adds the rows of an id", "[embedding]") {
  const IsaLimit isa(GENERATE(from_range(isa_limits())));
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const Dim rows = GENERATE(1, 501), columns = GENERATE(1, 7, 129);
  const DType master = master_dtype(dtype);
  const Array ids = random_ids({rows}, 11, 1), dy = randn({rows, columns}, dtype, 2);
  const Array dtable = randn({11, columns}, master, 3), expected = reference_gradient(dtable, ids, dy);
  kernels::embedding_backward(dy.exec(), ids, dy, dtable);
  CHECK(relative_error(dtable, expected) <= tolerance(master, 16));
}

TEST_CASE("embedding takes rows with any stride", "[embedding]") {
  const Array table = randn({11, 40}, DType::f32, 1).slice(1, 4, 37), ids = random_ids({21, 3}, 11, 2).select(1, 2);
  const Array wide = Array::zeros({21, 50}), y = wide.slice(1, 1, 34), expected = Array::empty({21, 33});
  kernels::embedding_forward(table.exec(), table, ids, y);
  kernels::embedding_forward(table.exec(), table.clone(), ids.clone(), expected);
  CHECK(bitwise_equal(y, expected));
  const Array sums = Array::zeros({11, 60}), dtable = sums.slice(1, 2, 35);
  kernels::embedding_backward(y.exec(), ids, y, dtable);
  CHECK(relative_error(dtable, reference_gradient(Array::zeros({11, 33}), ids, y)) <= 1e-6);
  CHECK(all_equal(sums.slice(1, 35, 60), 0));
}

TEST_CASE("embedding does not depend on the number of threads", "[embedding]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  const Array ids = random_ids({2003}, 13, 1), dy = randn({2003, 97}, dtype, 2);
  CHECK(same_on_all_threads([&] {
    const Array dtable = Array::zeros({13, 97});
    kernels::embedding_backward(dy.exec(), ids, dy, dtable);
    return dtable;
  }));
}

TEST_CASE("embedding names what is wrong with its input", "[embedding]") {
  const Array table = randn({5, 4}, DType::f32, 1), y = Array::empty({3, 4});
  const auto with = [&](std::vector<std::int32_t> values, bool backward) {
    const Array ids = Array::from(values, {static_cast<Dim>(values.size())});
    if (backward) kernels::embedding_backward(y.exec(), ids, y, table);
    else kernels::embedding_forward(y.exec(), table, ids, y);
  };
  CHECK_THROWS_WITH(with({0, 1, 5}, false), "embedding_forward: id 5 at position 2 is outside [0, 5)");
  CHECK_THROWS_WITH(with({0, -1, 2}, true), "embedding_backward: id -1 at position 1 is outside [0, 5)");
  CHECK_THROWS_WITH(with({0, 1}, false),
                    "embedding_forward: table (5, 4), ids (2) and rows (3, 4) must be (V, C), (N) and (N, C)");
  const Array ids = Array::zeros({3}, DType::i32);
  CHECK_THROWS_WITH(kernels::embedding_backward(y.exec(), ids, y, Array::zeros({5, 4}, DType::bf16)),
                    "embedding_backward: dtable must be f32 for dy f32, got bf16");
}
