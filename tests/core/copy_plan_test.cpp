#include "core/copy_plan.h"

#include "core/array.h"
#include "tests/support/catch.h"

using namespace ashlar;

namespace {

CopyPlan plan_of(const Array& from, const Array& to) { return plan_copy(from, to); }

}  // namespace

TEST_CASE("neighbours of a copy merge where both sides allow it", "[copy_plan]") {
  const Array to = Array::zeros({2, 3, 4}), from = Array::zeros({2, 3, 8}).slice(2, 0, 4);
  CHECK(plan_of(to, to).rows() == 1);
  CHECK(plan_of(to, to).columns() == 24);
  const CopyPlan rows = plan_of(from, to);
  CHECK((rows.ndim == 2 && rows.rows() == 6 && rows.columns() == 4));
}

TEST_CASE("rows of a copy begin where their indices say", "[copy_plan]") {
  // A ViT's patches (B, y, x, C, patch, patch) of its images.
  const Dim batch = 2, grid = 3, channels = 5, patch = 4;
  const Array images = Array::zeros({batch, channels, grid, patch, grid, patch});
  const Array patches = Array::zeros({batch, grid, grid, channels, patch, patch});
  const CopyPlan plan = plan_of(images.permute({0, 2, 4, 1, 3, 5}), patches);
  REQUIRE(plan.columns() == patch);
  Dim row = 0;
  for (Dim b = 0; b < batch; ++b) {
    for (Dim y = 0; y < grid; ++y) {
      for (Dim x = 0; x < grid; ++x) {
        for (Dim c = 0; c < channels; ++c) {
          for (Dim r = 0; r < patch; ++r, ++row) {
            const CopyPlan::Offsets offsets = plan.row_offsets(row);
            CHECK(offsets.from == ((((b * channels + c) * grid + y) * patch + r) * grid + x) * patch);
            CHECK(offsets.to == row * patch);
          }
        }
      }
    }
  }
  CHECK(row == plan.rows());
}

TEST_CASE("copies in packs", "[copy_plan]") {
  const Array to = Array::zeros({6, 8}), from = Array::zeros({6, 24}).slice(1, 8, 16);
  const auto packs = plan_of(from, to).in_packs(4);
  REQUIRE(packs);
  CHECK((packs->rows() == 6 && packs->columns() == 2));
  CHECK((packs->row_offsets(5).from * 4 == 5 * 24 && packs->row_offsets(5).to * 4 == 5 * 8));
  CHECK(plan_of(to, to).in_packs(16)->columns() == 3);
  // Rows of 6, rows 9 apart, columns 2 apart: on either side.
  const Array short_rows = Array::zeros({6, 16}).slice(1, 0, 6), odd_rows = Array::zeros({6, 9}).slice(1, 0, 8);
  const Array columns_apart = Array::zeros({6, 8, 4}).select(2, 0);
  CHECK(!plan_of(short_rows, short_rows).in_packs(4));
  CHECK(!plan_of(odd_rows, to).in_packs(4));
  CHECK(!plan_of(to, odd_rows).in_packs(4));
  CHECK(!plan_of(columns_apart, to).in_packs(4));
  CHECK(!plan_of(to, columns_apart).in_packs(4));
}
