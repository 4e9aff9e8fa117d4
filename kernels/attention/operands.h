// What the products of one head multiply on the CPU, in one of two ways that forward and backward are written for:
//   Converted<T>: values converted to accumulate_t<T>, by SmallGemm;
//   Paired: bf16 as it is, by PairGemm, where the processor has that.
// Each has these operands, of a matrix (T, D) cut into tiles of positions, with memory for one head after the other:
//   LeftRows: a tile as left operand;
//   Rows: that, or as right operand; of the first `count` tiles;
//   Columns: its transpose (D, positions) as right operand; of the first `count` tiles;
// and Scores, a tile of results (queries, keys) that becomes a left operand, as it is or transposed. One `MatrixUnit` lives
// while a thread multiplies.
#pragma once
#include <cstring>

#include "core/rounding.h"
#include "kernels/attention/heads.h"
#include "kernels/attention/softmax.h"
#include "kernels/matmul/library.h"
#include "kernels/matmul/matmul.h"
#include "kernels/scratch.h"
#include "kernels/small_gemm/pair_gemm.h"
#include "kernels/small_gemm/small_gemm.h"

namespace ashlar::kernels::attention {

// Positions 0 … length − 1 in nearly equal tiles of about `target`. Nearly equal, so that a ViT's 65 tokens are one tile and
// not a tile of 64 and one of 1.
struct Tiles {
  Dim length, count;
  Tiles(Dim length_, Dim target) : length(length_), count(std::max<Dim>(1, (length_ + target / 2) / target)) {}
  Dim begin(Dim tile) const { return length * tile / count; }
  Dim end(Dim tile) const { return begin(tile + 1); }
  Dim rows(Dim tile) const { return end(tile) - begin(tile); }
  Dim max_rows() const { return ceil_div(length, count); }
};
constexpr Dim kTileRows = 64;

// Row length for at least `columns` values: whole cache lines, and an odd number of them, so that the rows of a tile
// do not compete for the same sets of the cache.
constexpr Dim row_length(Dim columns) { return ceil_div(columns, kRowPadding) / 2 * 2 * kRowPadding + kRowPadding; }

struct Size {
  Dim m, n, k;
};

// A right operand.
template <class Element>
struct RightOf {
  const Element* at;
  Dim ld;
};

// Right operands of `count` tiles, each of `size` elements.
template <class Element>
class PackedTiles {
 public:
  PackedTiles(Dim count, Dim size) : size_(size), values_(count * size) {}
  Element* at(Dim tile) const { return values_.data() + tile * size_; }

 private:
  Dim size_;
  Scratch<Element> values_;
};

// to = factor * from for a tile of rows whose values are contiguous.
template <class From, class To>
void copy_tile(const From* from, Dim ld_from, To* to, Dim ld_to, Dim rows, Dim columns, accumulate_t<To> factor = 1) {
  for (Dim r = 0; r < rows; ++r) {
    const From* source = from + r * ld_from;
    To* target = to + r * ld_to;
    if constexpr (std::is_same_v<From, To>) {
      if (factor == 1) {
        std::memcpy(target, source, static_cast<std::size_t>(columns) * sizeof(To));
        continue;
      }
    }
    for (Dim c = 0; c < columns; ++c) target[c] = convert<To>(factor * convert<accumulate_t<To>>(source[c]));
  }
}

template <class T>
struct Converted {
  using Value = T;
  using Sum = accumulate_t<T>;
  struct Left {
    const Sum* at;
    Dim ld;
    bool transposed = false;
  };
  using Right = RightOf<Sum>;
  struct MatrixUnit {};

  static void multiply(const Size& size, const Left& a, const Right& b, Sum* c, Dim ldc, bool accumulate = false) {
    const SmallGemm<Sum> product{.m = size.m, .n = size.n, .k = size.k, .lda = a.ld, .ldb = b.ld, .ldc = ldc,
                                 .trans_a = a.transposed, .accumulate = accumulate};
    product(a.at, b.at, c);
  }
  static void store(const Sum* from, Dim ld_from, T* to, Dim ld_to, Dim rows, Dim columns, Sum factor) {
    copy_tile(from, ld_from, to, ld_to, rows, columns, factor);
  }

  class LeftRows {
   public:
    LeftRows(const Tiles& tiles, Dim depth) : tiles_(tiles), depth_(depth), values_(tiles.max_rows() * depth) {}
    void read(Head<const T> from) { from_ = from; }
    Left left(Dim tile) const {
      copy_tile(from_.row(tiles_.begin(tile)), from_.ld, values_.data(), depth_, tiles_.rows(tile), depth_);
      return {values_.data(), depth_};
    }

   private:
    Tiles tiles_;
    Dim depth_;
    Head<const T> from_{};
    Scratch<Sum> values_;  // (rows, D)
  };

  class Rows {
   public:
    Rows(const Tiles& tiles, Dim depth) : tiles_(tiles), depth_(depth), values_(tiles.length * depth) {}
    void read(Head<const T> from, Dim count) {
      copy_tile(from.data, from.ld, values_.data(), depth_, tiles_.begin(count), depth_);
    }
    Left left(Dim tile) const { return {at(tile), depth_}; }
    Right right(Dim tile) const { return {at(tile), depth_}; }

   private:
    const Sum* at(Dim tile) const { return values_.data() + tiles_.begin(tile) * depth_; }

    Tiles tiles_;
    Dim depth_;
    Scratch<Sum> values_;  // (T, D)
  };

  class Columns {
   public:
    Columns(const Tiles& tiles, Dim depth)
        : tiles_(tiles), depth_(depth), ld_(row_length(tiles.max_rows())), rows_(tiles, depth), packed_(tiles.count, depth * ld_) {}
    void read(Head<const T> from, Dim count) {
      rows_.read(from);
      for (Dim tile = 0; tile < count; ++tile) {
        const Dim positions = tiles_.rows(tile);
        Sum* const to = packed_.at(tile);
        pack_transposed(rows_.left(tile).at, positions, depth_, depth_, to, ld_);
        for (Dim d = 0; d < depth_; ++d) std::fill_n(to + d * ld_ + positions, ld_ - positions, Sum{0});
      }
    }
    Right right(Dim tile) const { return {packed_.at(tile), ld_}; }

   private:
    Tiles tiles_;
    Dim depth_, ld_;
    LeftRows rows_;
    PackedTiles<Sum> packed_;  // (tiles, D, ld)
  };

  class Scores {
   public:
    Scores(Dim rows, Dim columns) : ld_(row_length(columns)), values_(rows * ld_) {}
    Sum* data() const { return values_.data(); }
    Dim ld() const { return ld_; }
    Left left(Dim, Dim) const { return {data(), ld_}; }
    Left transposed(Dim, Dim) const { return {data(), ld_, true}; }

   private:
    Dim ld_;
    Scratch<Sum> values_;  // (rows, ld)
  };
};

struct Paired {
  using Value = bfloat16;
  using Sum = float;
  struct Left {
    const bfloat16* at;
    Dim ld;
  };
  using Right = RightOf<Pair>;  // of strips
  struct MatrixUnit {
    UseAmx amx{has_amx()};
  };

  static void multiply(const Size& size, const Left& a, const Right& b, float* c, Dim ldc, bool accumulate = false) {
    const PairGemm product{.m = size.m, .n = size.n, .k = size.k, .lda = a.ld, .strip = b.ld, .ldc = ldc, .accumulate = accumulate};
    product(a.at, b.at, c);
  }
  static void store(const float* from, Dim ld_from, bfloat16* to, Dim ld_to, Dim rows, Dim columns, float factor) {
    round_rows(from, ld_from, to, ld_to, rows, columns, factor);
  }

  class LeftRows {
   public:
    LeftRows(const Tiles& tiles, Dim) : tiles_(tiles) {}
    void read(Head<const bfloat16> from) { from_ = from; }
    Left left(Dim tile) const { return {from_.row(tiles_.begin(tile)), from_.ld}; }

   protected:
    Tiles tiles_;

   private:
    Head<const bfloat16> from_{};
  };

  class Rows : public LeftRows {
   public:
    Rows(const Tiles& tiles, Dim depth)
        : LeftRows(tiles, depth), depth_(depth), packed_(tiles.count, packed_pairs(tiles.max_rows(), depth)) {}
    void read(Head<const bfloat16> from, Dim count) {
      LeftRows::read(from);
      for (Dim tile = 0; tile < count; ++tile) {
        pack_pairs(from.row(tiles_.begin(tile)), from.ld, tiles_.rows(tile), depth_, packed_.at(tile));
      }
    }
    Right right(Dim tile) const { return {packed_.at(tile), strip_pairs(tiles_.rows(tile))}; }

   private:
    Dim depth_;
    PackedTiles<Pair> packed_;
  };

  class Columns {
   public:
    Columns(const Tiles& tiles, Dim depth)
        : tiles_(tiles), depth_(depth), packed_(tiles.count, packed_pairs(depth, tiles.max_rows())) {}
    void read(Head<const bfloat16> from, Dim count) {
      for (Dim tile = 0; tile < count; ++tile) {
        pack_pairs_transposed(from.row(tiles_.begin(tile)), from.ld, tiles_.rows(tile), depth_, packed_.at(tile));
      }
    }
    Right right(Dim tile) const { return {packed_.at(tile), strip_pairs(depth_)}; }

   private:
    Tiles tiles_;
    Dim depth_;
    PackedTiles<Pair> packed_;
  };

  class Scores {
   public:
    Scores(Dim rows, Dim columns)
        : ld_(row_length(columns)),
          values_(rows * ld_),
          operand_(std::max(rows * whole_lines(columns), columns * whole_lines(rows))) {}
    float* data() const { return values_.data(); }
    Dim ld() const { return ld_; }
    Left left(Dim rows, Dim columns) const {
      round_rows(data(), ld_, operand_.data(), whole_lines(columns), rows, columns);
      return {operand_.data(), whole_lines(columns)};
    }
    Left transposed(Dim rows, Dim columns) const {
      round_transposed(data(), ld_, operand_.data(), whole_lines(rows), rows, columns);
      return {operand_.data(), whole_lines(rows)};
    }

   private:
    Dim ld_;
    Scratch<float> values_;      // (rows, ld)
    Scratch<bfloat16> operand_;  // the latest one
  };
};

// body.template operator()<Operands>() with the way for values of `dtype`.
template <class Body>
void dispatch_operands(std::string_view operation, DType dtype, const Body& body) {
  if (dtype == DType::bf16 && multiplies_bf16(Device{})) return body.template operator()<Paired>();
  dispatch_floating(dtype, operation, [&]<class T>() { body.template operator()<Converted<T>>(); });
}

}  // namespace ashlar::kernels::attention
