// Eight neighbouring places of sketches, or features, in bf16 at a time (places.h) and of several rows together: the table is
// looked up once for them, and their loads are under way together. Sums are in f32, in the order of the table.
#pragma once
#include "kernels/device.cuh"
#include "kernels/ss1/cuda.h"

namespace ashlar::kernels::ss1 {

using Places = device::Pack<bfloat16, kPlaces>;

constexpr int kRowsAtOnce = 4;
struct Sums {
  float value[kRowsAtOnce][kPlaces] = {};

  __device__ Places rounded(int row) const {
    Places result;
#pragma unroll
    for (int e = 0; e < kPlaces; ++e) result.value[e] = device::rounded<bfloat16>(value[row][e]);
    return result;
  }
};

// Rows row, row + apart, … of a matrix (rows, columns); beyond the last row it is that again.
struct RowsAtOnce {
  const bfloat16* data;
  Dim ld, rows, columns, row, apart;

  // sums += sign * columns at(0), at(1), …, nothing where there is no such column; `neighbours`: they follow each other from
  // a multiple of eight on.
  template <class At>
  __device__ void add_to(Sums& sums, float sign, bool neighbours, const At& at) const {
    if (neighbours) {
      const Dim first = at(0);
      if (first >= columns) return;
      Places values[kRowsAtOnce];
#pragma unroll
      for (int q = 0; q < kRowsAtOnce; ++q) values[q] = device::load<kPlaces>(begin(q) + first);
#pragma unroll
      for (int q = 0; q < kRowsAtOnce; ++q) {
#pragma unroll
        for (int e = 0; e < kPlaces; ++e) sums.value[q][e] += sign * convert<float>(values[q].value[e]);
      }
      return;
    }
#pragma unroll
    for (int e = 0; e < kPlaces; ++e) {
      const Dim column = at(e);
      if (column >= columns) continue;
#pragma unroll
      for (int q = 0; q < kRowsAtOnce; ++q) sums.value[q][e] += sign * convert<float>(begin(q)[column]);
    }
  }
  __device__ const bfloat16* begin(int q) const { return data + min(row + q * apart, rows - 1) * ld; }
};

// Adds the places from p on of the sketch of rows of x, of the sketch whose table is given.
__device__ inline void add_sketches(const Sizes& s, const Table& table, const RowsAtOnce& x, Place p, Sums& sums) {
  for (Dim i = 0; i < s.reduction; ++i) {
    const Dim entry = p.group * s.reduction + i, shift = table.shift[entry];
    x.add_to(sums, static_cast<float>(table.sign[entry]), whole(shift),
             [&](int e) { return feature_of(s, p.group, i, p.k + e, shift); });
  }
}

}  // namespace ashlar::kernels::ss1
