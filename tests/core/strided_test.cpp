// Rows of a common innermost dimension, of operands with any strides.
#include "core/strided.h"

#include "core/array.h"
#include "tests/support/catch.h"

using namespace ashlar;

namespace {

StridedRows<2> rows_of(const Array& from, const Array& to) { return {to.shape(), {from.strides(), to.strides()}}; }

}  // namespace

TEST_CASE("neighbours merge where all operands allow it", "[strided]") {
  const Array to = Array::zeros({2, 3, 4}), from = Array::zeros({2, 3, 8}).slice(2, 0, 4);
  CHECK(rows_of(to, to).rows() == 1);
  CHECK(rows_of(to, to).columns() == 24);
  const auto rows = rows_of(from, to);
  CHECK((rows.rows() == 6 && rows.columns() == 4));
  const auto one = rows_of(Array::zeros({1, 1}), Array::zeros({1, 1}));
  CHECK((one.rows() == 1 && one.columns() == 1 && one.column_steps() == std::array<Dim, 2>{1, 1}));
}

TEST_CASE("rows lie side by side in the last operand", "[strided]") {
  // (2, 3, 4) whose last two dimensions are exchanged in the target.
  const Array from = Array::zeros({2, 3, 4}), to = Array::zeros({2, 4, 3}).transpose(1, 2);
  const auto rows = rows_of(from, to);
  CHECK((rows.rows() == 8 && rows.columns() == 3 && rows.column_steps() == std::array<Dim, 2>{4, 1}));
  CHECK(rows.row_offsets(5) == std::array<Dim, 2>{12 + 1, 12 + 3});  // batch 1, the second of its rows
  CHECK(rows_of(to, to).rows() == 1);
}

TEST_CASE("rows begin where their indices say", "[strided]") {
  // A ViT's patches (B, y, x, C, patch, patch) of its images.
  const Dim batch = 2, grid = 3, channels = 5, patch = 4;
  const Array images = Array::zeros({batch, channels, grid, patch, grid, patch});
  const Array patches = Array::zeros({batch, grid, grid, channels, patch, patch});
  const auto rows = rows_of(images.permute({0, 2, 4, 1, 3, 5}), patches);
  REQUIRE(rows.columns() == patch);
  Dim row = 0;
  for (Dim b = 0; b < batch; ++b) {
    for (Dim y = 0; y < grid; ++y) {
      for (Dim x = 0; x < grid; ++x) {
        for (Dim c = 0; c < channels; ++c) {
          for (Dim r = 0; r < patch; ++r, ++row) {
            const auto offsets = rows.row_offsets(row);
            CHECK(offsets[0] == ((((b * channels + c) * grid + y) * patch + r) * grid + x) * patch);
            CHECK(offsets[1] == row * patch);
          }
        }
      }
    }
  }
  CHECK(row == rows.rows());
}

TEST_CASE("rows in packs", "[strided]") {
  const Array to = Array::zeros({6, 8}), from = Array::zeros({6, 24}).slice(1, 8, 16);
  const auto packs = rows_of(from, to).in_packs(4);
  REQUIRE(packs);
  CHECK((packs->rows() == 6 && packs->columns() == 2));
  CHECK((packs->row_offsets(5)[0] * 4 == 5 * 24 && packs->row_offsets(5)[1] * 4 == 5 * 8));
  CHECK(rows_of(to, to).in_packs(16)->columns() == 3);
  // Rows of 6, rows 9 apart, columns 2 apart: on either side.
  const Array short_rows = Array::zeros({6, 16}).slice(1, 0, 6), odd_rows = Array::zeros({6, 9}).slice(1, 0, 8);
  const Array columns_apart = Array::zeros({6, 8, 4}).select(2, 0);
  CHECK(!rows_of(short_rows, short_rows).in_packs(4));
  CHECK(!rows_of(odd_rows, to).in_packs(4));
  CHECK(!rows_of(to, odd_rows).in_packs(4));
  CHECK(!rows_of(columns_apart, to).in_packs(4));
  CHECK(!rows_of(to, columns_apart).in_packs(4));
}
