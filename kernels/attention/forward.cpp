#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "kernels/attention/call.h"
#include "kernels/attention/checks.h"
#include "kernels/attention/operands.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace attention;

// Scores of one query tile are held for about this many keys at a time; longer rows go through the online softmax.
constexpr Dim kPanel = 512;

// One head after the other, on one thread.
template <class Operands>
class HeadForward {
 public:
  using T = typename Operands::Value;
  using Sum = typename Operands::Sum;

  explicit HeadForward(const ForwardCall& call)
      : call_(call),
        tiles_(call.q.size(2), kTileRows),
        panels_(call.k.size(2), kPanel),
        depth_(call.q.size(3)),
        k_transposed_(panels_, depth_),
        values_(panels_, depth_),
        queries_(tiles_, depth_),
        scores_(tiles_.max_rows(), panels_.max_rows()),
        sums_(tiles_.max_rows() * depth_),
        max_(tiles_.max_rows()),
        sum_(tiles_.max_rows()),
        factor_(tiles_.max_rows()) {}

  // Query tiles [first, last) of a head.
  void operator()(Dim head, Dim first, Dim last) {
    const Dim keys = visible_keys(last - 1);
    Dim seen = panels_.count;  // panels with keys that any of these queries sees
    while (panels_.begin(seen - 1) >= keys) --seen;
    k_transposed_.read(head_of<T>(call_.k, head), seen);
    values_.read(head_of<T>(call_.v, head), seen);
    queries_.read(head_of<T>(call_.q, head));
    for (Dim tile = first; tile < last; ++tile) {
      attend(tile);
      store(head, tile);
    }
  }

 private:
  // Positions before that of the first query.
  Dim earlier() const { return call_.k.size(2) - tiles_.length; }
  // Keys that the last query of a tile sees.
  Dim visible_keys(Dim tile) const { return call_.causal ? earlier() + tiles_.end(tile) : call_.k.size(2); }

  // The products p v of a tile, not yet divided by the sums of p.
  void attend(Dim tile) {
    const Dim rows = tiles_.rows(tile), limit = visible_keys(tile);
    const typename Operands::Left q = queries_.left(tile);
    std::fill_n(max_.data(), rows, -std::numeric_limits<Sum>::infinity());
    std::fill_n(sum_.data(), rows, Sum{0});
    for (Dim panel = 0; panels_.begin(panel) < limit; ++panel) {
      const Dim key = panels_.begin(panel), width = std::min(panels_.rows(panel), limit - key);
      Operands::multiply({rows, round_up(width, 8), depth_}, q, k_transposed_.right(panel), scores_.data(), scores_.ld());
      softmax_tile(ScoreTile<Sum>{.scores = scores_.data(), .ld = scores_.ld(), .rows = rows, .width = width,
                                  .scale = static_cast<Sum>(call_.scale), .causal = call_.causal,
                                  .offset = earlier() + tiles_.begin(tile) - key},
                   max_.data(), sum_.data(), factor_.data());
      if (panel > 0) {
        for (Dim r = 0; r < rows; ++r) {
          for (Dim d = 0; d < depth_; ++d) sums_.data()[r * depth_ + d] *= factor_.data()[r];
        }
      }
      Operands::multiply({rows, depth_, width}, scores_.left(rows, width), values_.right(panel), sums_.data(), depth_, panel > 0);
    }
  }

  void store(Dim head, Dim tile) const {
    const Dim begin = tiles_.begin(tile), rows = tiles_.rows(tile);
    const Head<T> o = head_of<T>(call_.o, head);
    for (Dim r = 0; r < rows; ++r) {
      Operands::store(sums_.data() + r * depth_, depth_, o.row(begin + r), o.ld, 1, depth_, 1 / sum_.data()[r]);
    }
    if (!call_.lse) return;
    const auto lse = head_of<Sum>(call_.lse, head);
    for (Dim r = 0; r < rows; ++r) *lse.row(begin + r) = max_.data()[r] + std::log(sum_.data()[r]);
  }

  const ForwardCall& call_;
  [[no_unique_address]] typename Operands::MatrixUnit unit_;
  Tiles tiles_, panels_;
  Dim depth_;
  typename Operands::Columns k_transposed_;
  typename Operands::Rows values_;
  typename Operands::LeftRows queries_;
  typename Operands::Scores scores_;
  Scratch<Sum> sums_;  // (rows, D)
  Scratch<Sum> max_, sum_, factor_;  // (rows)
};

template <class Operands>
void forward(const ForwardCall& call) {
  const Dim heads = call.q.size(0) * call.q.size(1), tiles = Tiles(call.q.size(2), kTileRows).count;
  // Every query tile is computed by itself, so the cut into work items does not change the result. Few heads: several
  // items each, at the price of transposing the head's keys once an item.
  const Dim chunks = std::min(tiles, ceil_div(4 * num_threads(), heads));
  parallel_workers(heads * chunks, [&] {
    return [&, attend = HeadForward<Operands>(call)](Dim item) mutable {
      const Dim chunk = chunks - 1 - item / heads;  // causal: the late queries, which see most keys, first
      attend(item % heads, tiles * chunk / chunks, tiles * (chunk + 1) / chunks);
    };
  });
}

}  // namespace

void attention_forward(const Exec&, ConstView q, ConstView k, ConstView v, double scale, bool causal, View o,
                       View lse) {
  constexpr std::string_view kName = "attention_forward";
  check_forward(kName, q, k, v, o);
  if (lse) check_lse(kName, q, lse);
  if (q.numel() == 0) return;
  const ForwardCall call{q, k, v, scale, causal, o, lse};
  dispatch_operands(kName, q.dtype, [&]<class Operands>() { forward<Operands>(call); });
}

}  // namespace ashlar::kernels::cpu
