// How a BLAST call is cut: its sizes, the chunks of the rank, and the factors packed for the small products.
#pragma once
#include <algorithm>
#include <string_view>

#include "core/parallel.h"
#include "core/view.h"
#include "kernels/blast/shapes.h"
#include "kernels/small_gemm/small_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels::blast {

// The rank in chunks of equal width, so that a tile's A and C of one chunk stay in the cache. All but the last are
// whole vectors.
struct Chunks {
  Dim rank, width, count, lanes;

  // `values` is how many values of the tile there are for each unit of rank.
  Chunks(Dim rank_, Dim values, Dim value_bytes, Dim lanes_) : rank(rank_), lanes(lanes_) {
    constexpr Dim kCacheBytes = 256 * 1024;
    const Dim panel = 3 * lanes;  // what the small products like best
    const Dim most = std::max(2 * panel, kCacheBytes / (values * value_bytes) / panel * panel);
    width = std::min(round_up(ceil_div(rank, ceil_div(rank, most)), panel), round_up(rank, lanes));
    count = ceil_div(rank, width);
  }
  // A chunk for every vector.
  static Chunks vectors(Dim rank, Dim lanes) {
    Chunks chunks(rank, 1, 1, lanes);
    chunks.width = lanes;
    chunks.count = ceil_div(rank, lanes);
    return chunks;
  }
  Dim begin(Dim chunk) const { return chunk * width; }
  Dim size(Dim chunk) const { return std::min(width, rank - begin(chunk)); }
  Dim padded(Dim chunk) const { return round_up(size(chunk), lanes); }
  Dim padded_rank() const { return round_up(rank, lanes); }
};

// A factor (blocks, length, r), packed chunk by chunk and block by block as second operand of small products:
// as (features x rank) to go to the rank, or as (rank x features) to come back from it.
template <class T>
class PackedFactor {
 public:
  // An absent factor packs to nothing.
  PackedFactor(const ConstView& factor, const Side& side, const Chunks& chunks, bool from_rank)
      : side_(side),
        chunks_(chunks),
        length_(from_rank ? round_up(side.length, chunks.lanes) : side.length),
        storage_(factor ? side.blocks * length_ * chunks.padded_rank() : 0),
        data_(storage_.take(0)) {
    if (!factor) return;
    parallel_items(chunks.count * side.blocks, [&](Dim item) {
      const Dim chunk = item / side.blocks, block = item % side.blocks;
      const T* const from = factor.as<T>() + block * side.length * chunks.rank + chunks.begin(chunk);
      T* const to = data_ + offset(chunk, block);
      if (from_rank) pack_panels(from, chunks.rank, chunks.size(chunk), side.count(block), true, to);
      else pack_panels(from, chunks.rank, side.count(block), chunks.size(chunk), false, to);
    });
  }
  const T* at(Dim chunk, Dim block) const { return data_ + offset(chunk, block); }

 private:
  Dim offset(Dim chunk, Dim block) const {
    return (chunks_.begin(chunk) * side_.blocks + block * chunks_.padded(chunk)) * length_;
  }
  Side side_;
  Chunks chunks_;
  Dim length_;
  Scratch<T> storage_;
  T* data_;
};

// The coupling s (b1, b2, r) as couple() reads it: (vectors of the rank, b1, b2, lanes), zeros in the padding.
template <class T>
class PackedCoupling {
 public:
  PackedCoupling(const ConstView& s, Dim pairs, const Chunks& chunks)
      : pairs_(pairs), storage_(s ? pairs * chunks.padded_rank() : 0), data_(storage_.take(0)) {
    if (!s) return;
    const Dim lanes = chunks.lanes, rank = chunks.rank;
    for (Dim k = 0; k < rank; k += lanes) {
      for (Dim pair = 0; pair < pairs; ++pair) {
        T* const to = data_ + k * pairs + pair * lanes;
        std::fill_n(to, lanes, T{0});
        std::copy_n(s.as<T>() + pair * rank + k, std::min(lanes, rank - k), to);
      }
    }
  }
  const T* at(Dim rank) const { return data_ + rank * pairs_; }

 private:
  Dim pairs_;
  Scratch<T> storage_;
  T* data_;
};

}  // namespace ashlar::kernels::blast
