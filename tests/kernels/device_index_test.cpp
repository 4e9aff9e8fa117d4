// The index arithmetic of the CUDA kernels, which is the same code on the host: what a GPU would do is acted out here,
// value by value, and compared with the plain definition.
#include <array>
#include <set>
#include <vector>

#include "kernels/blast/cuda.h"
#include "kernels/block_diagonal/checks.h"
#include "kernels/blocks/views.h"
#include "kernels/fragments.h"
#include "kernels/matmul/layout.h"
#include "kernels/ss1/places.h"
#include "kernels/tensor_table.h"
#include "tests/support/catch.h"

using namespace ashlar;
using namespace ashlar::kernels;

namespace {

using Matrix = std::vector<std::vector<float>>;

Matrix random_matrix(int rows, int columns, unsigned seed) {
  Matrix m(static_cast<std::size_t>(rows), std::vector<float>(static_cast<std::size_t>(columns)));
  for (auto& row : m) {
    for (float& value : row) value = static_cast<float>((seed = seed * 1664525u + 1013904223u) >> 28) - 8;
  }
  return m;
}
float at(const Matrix& m, int row, int column) { return m[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)]; }

float& at(Matrix& m, int row, int column) { return m[static_cast<std::size_t>(row)][static_cast<std::size_t>(column)]; }

// What lanes hold of 16-bit values: register r of a lane is a pair.
using Registers = std::array<std::array<std::array<float, 2>, 4>, 32>;

// ldmatrix.x4 as the PTX ISA defines it: lane l names the beginning of row l % 8 of matrix l / 8; of matrix r, register r
// of lane t gets row t / 4, columns 2 (t % 4) and the next, or with .trans the same of the transposed matrix.
Registers load_matrices(const Matrix& tile, int (*row_of)(int), int (*column_of)(int), bool transposed) {
  Registers result{};
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      for (int half = 0; half < 2; ++half) {
        int row = lane / 4, column = lane % 4 * 2 + half;
        if (transposed) std::swap(row, column);
        const int source = r * 8 + row;  // the lane that named this row
        result[static_cast<std::size_t>(lane)][static_cast<std::size_t>(r)][static_cast<std::size_t>(half)] =
            at(tile, row_of(source), column_of(source) + column);
      }
    }
  }
  return result;
}

float value(const Registers& regs, int lane, int r, int half) {
  return regs[static_cast<std::size_t>(lane)][static_cast<std::size_t>(r)][static_cast<std::size_t>(half)];
}

// mma.m16n8k16: A (16, 16) in four registers, B (16, 8) in two from `first` on, the result by c_row and c_column.
Matrix tensor_core_product(const Registers& a, const Registers& b, int first) {
  Matrix left(16, std::vector<float>(16)), right(16, std::vector<float>(8)), c(16, std::vector<float>(8));
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 4; ++r) {
        at(left, group + r % 2 * 8, pair + half + r / 2 * 8) = value(a, lane, r, half);
      }
      for (int r = 0; r < 2; ++r) {
        at(right, pair + half + 8 * r, group) = value(b, lane, first + r, half);
      }
    }
  }
  std::set<std::pair<int, int>> written;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = tensor::c_row(lane, i), column = tensor::c_column(lane, i);
      CHECK(written.emplace(row, column).second);
      for (int k = 0; k < 16; ++k) {
        at(c, row, column) += at(left, row, k) * at(right, k, column);
      }
    }
  }
  return c;
}

// a b, or a bᵀ, of parts of matrices.
float product(const Matrix& a, const Matrix& b, int row, int column, int depth, int first_k, bool b_by_rows) {
  float sum = 0;
  for (int k = 0; k < depth; ++k) sum += at(a, row, k) * (b_by_rows ? at(b, column, first_k + k) : at(b, k, column));
  return sum;
}

View view_of(const Shape& shape, const std::array<Dim, kMaxDims>& stride, DType dtype = DType::f32) {
  static float memory = 0;
  return {&memory, dtype, shape, stride};
}

}  // namespace

TEST_CASE("the tensor cores' fragments multiply what they should", "[device_index]") {
  using namespace tensor;
  const Matrix a = random_matrix(16, 16, 1);
  const Registers left = load_matrices(a, &square_row, &square_column, false);

  // (k, n) as it lies: two operands of eight columns
  const Matrix b = random_matrix(16, 16, 2);
  const Registers right = load_matrices(b, &square_row, &square_column, true);
  for (int half = 0; half < 2; ++half) {
    const Matrix c = tensor_core_product(left, right, 2 * half);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        CHECK(at(c, row, column) == product(a, b, row, 8 * half + column, 16, 0, false));
      }
    }
  }
  // (n, k): two operands of sixteen k
  const Matrix rows = random_matrix(8, 32, 3);
  const Registers flat = load_matrices(rows, &flat_row, &flat_column, false);
  for (int half = 0; half < 2; ++half) {
    const Matrix c = tensor_core_product(left, flat, 2 * half);
    for (int row = 0; row < 16; ++row) {
      for (int column = 0; column < 8; ++column) {
        CHECK(at(c, row, column) == product(a, rows, row, column, 16, 16 * half, true));
      }
    }
  }
}

TEST_CASE("results of a product are left operands of the next", "[device_index]") {
  using namespace tensor;
  // As as_left() packs two neighbouring results (16, 8): registers are rows g and g + 8 of the first, then of the second.
  const Matrix s = random_matrix(16, 16, 4), expected = random_matrix(16, 16, 4);
  Registers packed{};
  for (int lane = 0; lane < 32; ++lane) {
    for (int r = 0; r < 4; ++r) {
      for (int half = 0; half < 2; ++half) {
        const int i = r % 2 * 2 + half;
        packed[static_cast<std::size_t>(lane)][static_cast<std::size_t>(r)][static_cast<std::size_t>(half)] =
            at(s, c_row(lane, i), r / 2 * 8 + c_column(lane, i));
      }
    }
  }
  CHECK(packed == load_matrices(expected, &square_row, &square_column, false));
}

TEST_CASE("results that are written by sectors are where mma leaves them, once half the lanes have exchanged one", "[device_index]") {
  using namespace tensor;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 2; ++i) {
      // As to_sectors(): the lower lanes send their right register and keep the left one, the others the other way round.
      const bool right = lane >= 16;
      const int from = right == (i == 1) ? lane : lane ^ 16;
      CHECK(sector_row(lane, i) == c_row(from, 0));
      CHECK(sector_column(lane) == c_column(from, 0) + (right ? kMmaN : 0));
    }
    CHECK(sector_row(lane, 1) == sector_row(lane, 0) + sector_row(0, 1));
  }
  // Rows of four vectors, 16 bytes more apart than they are long: eight lanes that write at a time meet in no bank.
  std::set<int> rows;
  for (int turn = 0; turn < 16; turn += 2) {
    std::set<int> banks;
    for (int lane = 0; lane < 8; ++lane) banks.insert((row_in_turn(turn + lane / 4) * (4 * 4 + 4) + lane % 4 * 4) % 32);
    CHECK(banks.size() == 8);
    rows.insert({row_in_turn(turn), row_in_turn(turn + 1)});
  }
  CHECK((rows.size() == 16 && *rows.rbegin() == 15));
}

TEST_CASE("every block of an update finds its tensor", "[device_index]") {
  TensorTable<Dim, 6> table;
  const std::array<Dim, 6> counts{1, 4096, 4097, 0, 9000, 0};
  for (const Dim count : counts) table.add(count, count);
  CHECK(table.full());
  std::array<Dim, 6> covered{};
  for (Dim block = 0; block < table.blocks(); ++block) {
    const int tensor = table.find(block);
    const Dim begin = (block - table.first[tensor]) * kTensorChunk;
    covered[static_cast<std::size_t>(tensor)] += std::min(kTensorChunk, table.item[tensor] - begin);
  }
  CHECK(covered == counts);
}

TEST_CASE("runs of blocks cover ragged sides", "[device_index]") {
  const auto runs = runs_of(Side{10, 4, 4});  // 4, 4, 2, 0
  REQUIRE(runs.size() == 3);
  CHECK((runs[0].first == 0 && runs[0].count == 2 && runs[0].inputs == 4));
  CHECK((runs[1].first == 2 && runs[1].count == 1 && runs[1].inputs == 2));
  CHECK((runs[2].first == 3 && runs[2].count == 1 && runs[2].inputs == 0));
  const auto pairs = runs_of(Side{12, 3, 4}, Side{7, 3, 3});
  REQUIRE(pairs.size() == 2);
  CHECK((pairs[0].count == 2 && pairs[0].inputs == 4 && pairs[0].outputs == 3));
  CHECK((pairs[1].first == 2 && pairs[1].inputs == 4 && pairs[1].outputs == 1));
}

TEST_CASE("a shuffle of channels and its reverse", "[device_index]") {
  const Dim blocks = 3, length = 4;
  for (Dim at = 0; at < blocks * length; ++at) {
    const Dim place = block_diagonal::shuffled_place(at, blocks, length);
    CHECK(block_diagonal::shuffled_place(place, length, blocks) == at);
  }
  CHECK(block_diagonal::shuffled_place(1, blocks, length) == length);  // feature g q + c becomes c b + g
}

TEST_CASE("a feature goes to the place that it is taken from", "[device_index]") {
  const ss1::Sizes s{.rows = 1, .features = 24, .sketches = 1, .groups = 2, .reduction = 3, .block = 4};
  for (Dim shift = 0; shift < s.block; ++shift) {
    for (Dim group = 0; group < s.groups; ++group) {
      for (Dim i = 0; i < s.reduction; ++i) {
        for (Dim k = 0; k < s.block; ++k) {
          const Dim feature = ss1::feature_of(s, group, i, k, shift);
          CHECK(feature / s.block == group * s.reduction + i);
          CHECK(feature % s.block == (k + shift) % s.block);
          CHECK(ss1::place_of(s, feature % s.block, shift) == k);
        }
      }
    }
  }
}

TEST_CASE("vectors of places and of features cover each other", "[device_index]") {
  const ss1::Sizes s{.rows = 1, .features = 144, .sketches = 1, .groups = 2, .reduction = 3, .block = 24};
  for (Dim shift = 0; shift < s.block; ++shift) {
    std::set<Dim> features;
    for (int column = 0; column < static_cast<int>(s.width()); column += ss1::kPlaces) {
      const ss1::Place p = ss1::place_at(s, column);
      CHECK((p.group * s.block + p.k == column && p.k + ss1::kPlaces <= s.block));
      for (Dim i = 0; i < s.reduction; ++i) {
        const Dim first = ss1::feature_of(s, p.group, i, p.k, shift);
        if (ss1::whole(shift)) CHECK(first % ss1::kPlaces == 0);
        for (int e = 0; e < ss1::kPlaces; ++e) {
          const Dim feature = ss1::feature_of(s, p.group, i, p.k + e, shift);
          if (ss1::whole(shift)) CHECK(feature == first + e);
          CHECK(features.insert(feature).second);
        }
      }
    }
    CHECK((features.size() == 144 && *features.begin() == 0 && *features.rbegin() == 143));
  }
}

namespace {
ss1::Sizes ss1_sizes(Dim features, Dim rows = 1) {
  return {.rows = rows, .features = features, .sketches = 1, .groups = features / 128, .reduction = 4, .block = 32};
}
constexpr double kHopper = mma_rate(9), kAmpere = mma_rate(8);
}  // namespace

TEST_CASE("SS1's fused forward is used where reading u again would take longer than slower products", "[device_index]") {
  const auto pays = [](Dim features, Dim outputs, Dim parts, double rate) {
    return ss1::fused_forward_pays(ss1_sizes(features), outputs, parts, rate);
  };
  CHECK(pays(384, 384, 1, kHopper));
  CHECK(!pays(384, 384, 2, kHopper));  // each part reads x
  CHECK(!pays(384, 264, 1, kHopper));  // three tiles of columns like 384
  CHECK(!pays(768, 768, 1, kHopper));
  CHECK(!pays(3072, 768, 1, kHopper));
  CHECK(pays(384, 1536, 1, kAmpere));
  CHECK(!pays(768, 768, 1, kAmpere));
}

TEST_CASE("SS1's fused backward is used where memory is what limits it", "[device_index]") {
  const auto pays = [](Dim features, Dim outputs, double rate) {
    return ss1::fused_gradient_pays(ss1_sizes(features), outputs, rate);
  };
  CHECK(pays(384, 384, kHopper));
  CHECK(!pays(768, 768, kHopper));  // 192 columns of du take two tiles
  CHECK(!pays(768, 3072, kHopper));
  CHECK(pays(3072, 768, kHopper));
  CHECK(pays(768, 768, kAmpere));
}

TEST_CASE("BLAST's fused products are used from few features", "[device_index]") {
  const auto pays = [](Dim features, Dim rank, double rate) { return blast::fusing_pays({features, 6, 6, rank}, 96, rate); };
  CHECK(pays(768, 192, kHopper));
  CHECK(pays(1536, 192, kHopper));
  CHECK(!pays(1536, 152, kHopper));  // in as many tiles of columns as 192
  CHECK(!pays(2304, 192, kHopper));
  CHECK(!pays(3072, 192, kHopper));
  CHECK(pays(3072, 192, kAmpere));
  CHECK(blast::fusing_pays({768, 6, 1, 192}, 96, kHopper));
  CHECK(!blast::fusing_pays({1200, 1, 4, 136}, 128, kHopper));  // no A to speak of
}

TEST_CASE("column tiles are divided for as many blocks as there are multiprocessors", "[device_index]") {
  const auto parts = [](Dim rows, Dim outputs) { return ss1::column_parts(ss1_sizes(768, rows), outputs, 132); };
  CHECK(parts(8192, 768) == 2);
  CHECK(parts(32768, 3072) == 1);  // sketches are formed once
  CHECK(parts(8192, 100) == 1);
  CHECK(parts(1, 768) == 6);
}

TEST_CASE("rows are divided for as many blocks of the coupling's gradient as run at once", "[device_index]") {
  CHECK(blast::gradient_chunks(32768, 6, 264) == 44);
  CHECK(blast::gradient_chunks(1000, 6, 264) == 7);  // of at least 128 rows
  CHECK(blast::gradient_chunks(1, 6, 264) == 1);
  CHECK(blast::gradient_chunks(32768, 300, 264) == 1);
}

TEST_CASE("layouts that a matrix library takes", "[device_index]") {
  using products::matrix_layout;
  const auto rows = matrix_layout(view_of({3, 5}, {8, 1}));
  CHECK((rows && rows->by_rows && rows->ld == 8));
  const auto columns = matrix_layout(view_of({3, 5}, {1, 4}));
  CHECK((columns && !columns->by_rows && columns->ld == 4));
  CHECK(!matrix_layout(view_of({3, 5}, {10, 2})));
  const auto one_row = matrix_layout(view_of({1, 5}, {0, 1}));
  CHECK((one_row && one_row->by_rows && one_row->ld == 5));
  const auto one_column = matrix_layout(view_of({5, 1}, {7, 3}));
  CHECK((one_column && one_column->by_rows && one_column->ld == 7));
}

TEST_CASE("batches merge where all operands allow it", "[device_index]") {
  const auto merged = [](const std::array<Dim, kMaxDims>& a_stride) {
    return products::merged_batches({view_of({2, 3, 4, 5}, a_stride), view_of({2, 3, 5, 6}, {0, 0, 6, 1}),
                                     view_of({2, 3, 4, 6}, {72, 24, 6, 1}), {}});
  };
  const products::Problem all = merged({60, 20, 5, 1});
  CHECK(all.batch_dims() == 1);
  CHECK(all.y.shape == Shape{6, 4, 6});
  CHECK(all.a.step(0) == 20);
  CHECK(merged({100, 20, 5, 1}).batch_dims() == 2);
}
