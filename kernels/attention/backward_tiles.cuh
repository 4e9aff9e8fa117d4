// What the tensor-core kernels of attention's backward share: products of a warp's 16 rows, and delta.
#pragma once
#include "kernels/attention/tiles.cuh"

namespace ashlar::kernels::attention {

// The 16 rows of a warp, D values of each, as left operand: kept in registers where they have room.
template <int D, bool kHeld, int kWidth = D>
class OwnRows {
 public:
  __device__ OwnRows(const Tile<kWidth>& tile, int row, int lane) : tile_(tile), row_(row), lane_(lane) {}
  // Once the tile has arrived.
  __device__ void hold() {
    if constexpr (kHeld) {
      for (int step = 0; step < D / kMmaK; ++step) held_[step] = tile_.left(row_, step * kMmaK, lane_);
    }
  }
  __device__ FragmentA operator[](int step) const {
    if constexpr (kHeld) return held_[step];
    else return tile_.left(row_, step * kMmaK, lane_);
  }

 private:
  Tile<kWidth> tile_;
  int row_, lane_;
  FragmentA held_[kHeld ? D / kMmaK : 1];
};

// s = own otherᵀ for `used` fragments of the rows of `other` from number `first` on.
template <class Own, int D, int N, class Used>
__device__ void multiply_rows(const Own& own, const Tile<D>& other, int first, Used used, int lane, FragmentC (&s)[N]) {
#pragma unroll
  for (int step = 0; step < D / kMmaK; step += 2) {
    const FragmentA low = own[step], high = own[step + 1];
#pragma unroll
    for (int n = 0; n < N; ++n) {
      if (n >= used) break;
      const FragmentB b = other.right_of_rows(first + n * kMmaN, step * kMmaK, lane);
      mma(low, b, 0, s[n]);
      mma(high, b, 1, s[n]);
    }
  }
}

// sums (16, D) += w tile for w (16, 16 kSteps), of which left(step) is a left operand, and the rows of the tile; `used` of
// their fragments of eight.
template <int kSteps, int D, class Left, class Used>
__device__ void add_products(const Left& left, const Tile<D>& tile, Used used, int lane, FragmentC (&sums)[D / kMmaN]) {
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (2 * step >= used) break;
    const FragmentA a = left(step);
#pragma unroll
    for (int n = 0; n < D / kMmaN; n += 2) {
      const FragmentB b = tile.right(step * kMmaK, n * kMmaN, lane);
      mma(a, b, 0, sums[n]);
      mma(a, b, 1, sums[n + 1]);
    }
  }
}

// delta = Σ d_o o of the rows of a tile, by the threads that bring d_o into it: D / 8 neighbouring lanes have a row.
template <int D, int kRows, int kThreads>
class RowSums {
 public:
  using Loads = TileLoads<D, kThreads>;

  // Reads rows first … of o; zeros beyond `length`.
  __device__ RowSums(const Heads& o, const Place& place, int first, int length) {
    const Bf16* const from = o.head(place) + first * o.ld + Loads::column();
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      o_[i] = {};
      if (first + row_of(i) < length) o_[i] = pairs_at(from + row_of(i) * o.ld);
    }
  }
  // sums[row] = delta of the tile's row, once this thread's copies of d_o have arrived.
  __device__ void write(const Tile<D>& d_o, float* sums) const {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const Pairs gradient = pairs_at(d_o.data + row_of(i) * Tile<D>::kLd + Loads::column());
      float sum = 0;
      for (int j = 0; j < 4; ++j) {
        const float2 a = unpack(gradient.value[j]), b = unpack(o_[i].value[j]);
        sum += a.x * b.x + a.y * b.y;
      }
      for (int step = Loads::kVectors / 2; step > 0; step /= 2) sum += __shfl_xor_sync(device::kAllLanes, sum, step);
      if (Loads::column() == 0) sums[row_of(i)] = sum;
    }
  }

 private:
  static constexpr int kPacks = kRows / Loads::kRowsAtOnce;
  static_assert(kRows % Loads::kRowsAtOnce == 0);
  __device__ static int row_of(int pack) { return Loads::row() + pack * Loads::kRowsAtOnce; }

  using Pairs = device::Pack<unsigned, 4>;  // of neighbouring values
  __device__ static Pairs pairs_at(const Bf16* at) { return device::load<4>(reinterpret_cast<const unsigned*>(at)); }

  Pairs o_[kPacks];
};

}  // namespace ashlar::kernels::attention
