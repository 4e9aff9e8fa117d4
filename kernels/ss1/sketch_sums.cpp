#include "kernels/ss1/sketch_sums.h"

#include <cstring>
#include <limits>

namespace ashlar::kernels::ss1 {
namespace {

// The table, read on the host.
class Table {
 public:
  Table(std::string_view operation, const Sizes& sizes, const ConstView& shift, const ConstView& sign)
      : sizes_(sizes), shift_(shift.as<std::int32_t>()), sign_(sign.as<std::int32_t>()) {
    const auto entries = static_cast<std::size_t>(shift.numel());
    check_shifts(operation, sizes.block, {shift_, entries});
    check_signs(operation, {sign_, entries});
  }
  Dim shift(Dim h, Dim chunk) const { return shift_[h * chunks() + chunk]; }
  bool negative(Dim h, Dim chunk) const { return sign_[h * chunks() + chunk] < 0; }

 private:
  Dim chunks() const { return sizes_.groups * sizes_.reduction; }

  Sizes sizes_;
  const std::int32_t *shift_, *sign_;
};

}  // namespace

SketchSums SketchSums::forward(std::string_view operation, const Sizes& s, const ConstView& shift, const ConstView& sign,
                               Dim u_step) {
  const Table table(operation, s, shift, sign);
  const Dim chunks = s.groups * s.reduction;
  SketchSums result({chunks, s.block, chunks, 0, s.features}, s.sketches > 1);
  for (Dim h = 0; h < s.sketches; ++h) {
    for (Dim g = 0; g < s.groups; ++g) {
      const Dim begin = h * u_step + g * s.block;
      std::vector<Run> runs;
      for (Dim chunk = g * s.reduction; chunk < (g + 1) * s.reduction; ++chunk) {
        result.rotate(runs, chunk, table.shift(h, chunk), begin, table.negative(h, chunk));
      }
      result.sums_.add(begin, begin + s.block, runs);
    }
  }
  return result;
}

SketchSums SketchSums::backward(std::string_view operation, const Sizes& s, const ConstView& shift, const ConstView& sign,
                                Dim du_step) {
  const Table table(operation, s, shift, sign);
  SketchSums result({s.sketches * s.groups, s.block, s.groups, du_step, std::numeric_limits<Dim>::max()}, s.sketches > 1);
  for (Dim chunk = 0; chunk < s.groups * s.reduction; ++chunk) {
    const Dim begin = chunk * s.block, end = std::min(s.features, begin + s.block), g = chunk / s.reduction;
    if (begin >= end) continue;
    std::vector<Run> runs;
    for (Dim h = 0; h < s.sketches; ++h) {
      const Dim turn = (s.block - table.shift(h, chunk)) % s.block;
      result.rotate(runs, h * s.groups + g, turn, begin, table.negative(h, chunk));
    }
    result.sums_.add(begin, end, runs);
  }
  return result;
}

void SketchSums::rotate(std::vector<Run>& runs, Dim block, Dim turn, Dim to, bool negative) const {
  const Dim size = source_.size;
  if (twice_) {
    runs.push_back({2 * block * size + turn, to, size, negative});
    return;
  }
  const Dim first = source_.at(block), there = source_.there(block);
  const auto part = [&](Dim from, Dim at, Dim count) {
    runs.push_back({first + from, at, std::clamp<Dim>(there - from, 0, count), negative});
  };
  part(turn, to, size - turn);
  part(0, to + size - turn, turn);
}

void SketchSums::operator()(DType dtype, Dim rows, const void* from, Dim from_step, void* to, Dim to_step) const {
  if (!twice_) return sums_.apply(dtype, rows, from, from_step, to, to_step);
  constexpr Dim kRows = 8;
  const Dim value = static_cast<Dim>(size_of(dtype)), step = 2 * source_.count * source_.size;
  std::vector<std::byte> blocks(static_cast<std::size_t>(std::min(rows, kRows) * step * value));  // padding stays zero
  for (Dim begin = 0; begin < rows; begin += kRows) {
    const Dim count = std::min(kRows, rows - begin);
    for (Dim r = 0; r < count; ++r) {
      const auto* const row = static_cast<const std::byte*>(from) + (begin + r) * from_step * value;
      std::byte* const twice = blocks.data() + r * step * value;
      for (Dim block = 0; block < source_.count; ++block) {
        const auto bytes = static_cast<std::size_t>(source_.there(block) * value);
        std::byte* const target = twice + 2 * block * source_.size * value;
        std::memcpy(target, row + source_.at(block) * value, bytes);
        std::memcpy(target + source_.size * value, row + source_.at(block) * value, bytes);
      }
    }
    sums_.apply(dtype, count, blocks.data(), step, static_cast<std::byte*>(to) + begin * to_step * value, to_step);
  }
}

}  // namespace ashlar::kernels::ss1
