// Sketches on the CPU: a rotated chunk is two runs of neighbouring features, and a sketch the sum of such runs.
#include <array>

#include "core/parallel.h"
#include "kernels/ss1/composed.h"
#include "kernels/ss1/signed_sums.h"
#include "kernels/ss1/sizes.h"
#include "kernels/ss1/ss1.h"
#include "kernels/views.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace kernels::ss1;

// The table, read on the host.
class Table {
 public:
  Table(std::string_view operation, const Sizes& sizes, const ConstView& shift, const ConstView& sign)
      : sizes_(sizes), shift_(shift.as<std::int32_t>()), sign_(sign.as<std::int32_t>()) {
    for (Dim entry = 0; entry < shift.numel(); ++entry) {
      ASHLAR_CHECK(shift_[entry] >= 0 && shift_[entry] < sizes.block && (sign_[entry] == 1 || sign_[entry] == -1), operation,
                   ": the table has shift ", shift_[entry], " and sign ", sign_[entry], "; they must be from 0 to ",
                   sizes.block - 1, ", and 1 or -1");
    }
  }

  // The features of chunk (g, i) in sketch h: as many values from x[from] as from place `to` of the group.
  std::array<Run, 2> runs(Dim h, Dim g, Dim i) const {
    const Dim chunk = g * sizes_.reduction + i, entry = h * sizes_.groups * sizes_.reduction + chunk;
    const Dim first = chunk * sizes_.block, turn = shift_[entry], block = sizes_.block;
    const auto run = [&](Dim from, Dim to, Dim count) {
      const Dim there = std::clamp<Dim>(sizes_.features - first - from, 0, count);  // beyond is padding
      return Run{first + from, to, there, sign_[entry] < 0};
    };
    return {run(turn, 0, block - turn), run(0, block - turn, turn)};
  }

 private:
  Sizes sizes_;
  const std::int32_t *shift_, *sign_;
};

// Rows that are worth a second thread.
Dim grain(const Sizes& s) { return std::max<Dim>(1, (1 << 14) / std::max<Dim>(1, s.features * s.sketches)); }

}  // namespace

void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u) {
  const Sizes s = check("ss1_sketch", x, u, shift, sign);
  const Table table("ss1_sketch", s, shift, sign);
  SignedSums sums;
  for (Dim h = 0; h < s.sketches; ++h) {
    for (Dim g = 0; g < s.groups; ++g) {
      const Dim begin = h * u.step(0) + g * s.block;
      std::vector<Run> runs;
      for (Dim i = 0; i < s.reduction; ++i) {
        for (const Run& run : table.runs(h, g, i)) runs.push_back({run.from, begin + run.to, run.count, run.negative});
      }
      sums.add(begin, begin + s.block, runs);
    }
  }
  parallel_for(s.rows, grain(s), [&](Dim begin, Dim end) {
    sums.apply(x.dtype, end - begin, advance(x.data, x.dtype, begin * x.step(0)), x.step(0),
               advance(u.data, u.dtype, begin * u.step(1)), u.step(1));
  });
}

void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx) {
  const Sizes s = check("ss1_sketch_backward", dx, du, shift, sign);
  const Table table("ss1_sketch_backward", s, shift, sign);
  SignedSums sums;
  for (Dim g = 0; g < s.groups; ++g) {
    for (Dim i = 0; i < s.reduction; ++i) {
      const Dim begin = (g * s.reduction + i) * s.block, end = std::min(s.features, begin + s.block);
      if (begin >= end) continue;
      std::vector<Run> runs;
      for (Dim h = 0; h < s.sketches; ++h) {
        const Dim place = h * du.step(0) + g * s.block;
        for (const Run& run : table.runs(h, g, i)) runs.push_back({place + run.to, run.from, run.count, run.negative});
      }
      sums.add(begin, end, runs);
    }
  }
  parallel_for(s.rows, grain(s), [&](Dim begin, Dim end) {
    sums.apply(dx.dtype, end - begin, advance(du.data, du.dtype, begin * du.step(1)), du.step(1),
               advance(dx.data, dx.dtype, begin * dx.step(0)), dx.step(0));
  });
}

void ss1_forward(const Exec& exec, ConstView x, ConstView shift, ConstView sign, ConstView z, ConstView bias, View u,
                 View y) {
  ss1::check_layer("ss1_forward", x, shift, sign, z, bias, u, y);
  ss1::compose_forward(exec, x, shift, sign, z, bias, u, y);
}

void ss1_backward(const Exec& exec, ConstView dy, ConstView u, ConstView shift, ConstView sign, ConstView z, View dx,
                  View dz, View dbias) {
  ss1::check_layer_gradients("ss1_backward", dy, u, shift, sign, z, dx, dz, dbias);
  ss1::compose_backward(exec, dy, u, shift, sign, z, dx, dz, dbias);
}

}  // namespace ashlar::kernels::cpu
