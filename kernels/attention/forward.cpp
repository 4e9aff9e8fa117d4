#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "kernels/attention/cpu.h"
#include "kernels/attention/operands.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace attention;

// Scores of one query tile are held for about this many keys at a time; longer rows go through the online softmax.
constexpr Dim kPanel = 512;

struct ForwardCall {
  ConstView q, k, v;
  double scale;
  bool causal;
  View o, lse;
};

// Query tiles [first, last) of one head.
template <class Operands>
void forward_head(const ForwardCall& call, Dim head, Dim first, Dim last) {
  using T = typename Operands::Value;
  using Sum = typename Operands::Sum;
  [[maybe_unused]] const typename Operands::Unit unit;
  const Tiles tiles(call.q.size(2), kTileRows);
  const Dim depth = call.q.size(3), rows_max = tiles.max_rows();
  const Dim earlier = call.k.size(2) - tiles.length;  // positions before that of the first query
  const Dim keys = earlier + (call.causal ? tiles.end(last - 1) : tiles.length);  // that any of these queries sees
  const Tiles panels(call.k.size(2), kPanel);
  Dim seen = panels.count;  // panels with such keys
  while (panels.begin(seen - 1) >= keys) --seen;
  const Head<T> o = head_of<T>(call.o, head);

  const typename Operands::Columns k_transposed(head_of<T>(call.k, head), panels, seen, depth);
  const typename Operands::Rows values(head_of<T>(call.v, head), panels, seen, depth);
  typename Operands::LeftRows queries(head_of<T>(call.q, head), tiles, depth);
  const typename Operands::Scores scores(rows_max, panels.max_rows());
  const Scratch<Sum> sums(rows_max * depth);  // p v of the tile, not yet divided
  Scratch<Sum> statistics(3 * Scratch<Sum>::padded(rows_max));
  Sum* const max = statistics.take(rows_max);
  Sum* const sum = statistics.take(rows_max);
  Sum* const factor = statistics.take(rows_max);

  for (Dim tile = first; tile < last; ++tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.rows(tile);
    const Dim limit = call.causal ? earlier + begin + rows : keys;
    const typename Operands::Left q = queries.left(tile);
    std::fill(max, max + rows, -std::numeric_limits<Sum>::infinity());
    std::fill(sum, sum + rows, Sum{0});
    for (Dim panel = 0; panels.begin(panel) < limit; ++panel) {
      const Dim key = panels.begin(panel), width = std::min(panels.rows(panel), limit - key);
      Operands::multiply({rows, round_up(width, 8), depth}, q, k_transposed.right(panel), scores.data(), scores.ld());
      softmax_tile(ScoreTile<Sum>{.scores = scores.data(), .ld = scores.ld(), .rows = rows, .width = width,
                                  .scale = static_cast<Sum>(call.scale), .causal = call.causal,
                                  .offset = earlier + begin - key},
                   max, sum, factor);
      if (panel > 0) {
        for (Dim r = 0; r < rows; ++r) {
          for (Dim d = 0; d < depth; ++d) sums.data()[r * depth + d] *= factor[r];
        }
      }
      Operands::multiply({rows, depth, width}, scores.left(rows, width), values.right(panel), sums.data(), depth, panel > 0);
    }
    for (Dim r = 0; r < rows; ++r) {
      Operands::store(sums.data() + r * depth, depth, o.row(begin + r), o.ld, 1, depth, 1 / sum[r]);
    }
    if (call.lse) {
      const auto step = call.lse.step(2);
      Sum* const lse = call.lse.as<Sum>() + head / call.lse.size(1) * call.lse.step(0) +
                       head % call.lse.size(1) * call.lse.step(1) + begin * step;
      for (Dim r = 0; r < rows; ++r) lse[r * step] = max[r] + std::log(sum[r]);
    }
  }
}

template <class Operands>
void forward(const ForwardCall& call) {
  const Dim heads = call.q.size(0) * call.q.size(1), tiles = Tiles(call.q.size(2), kTileRows).count;
  // Every query tile is computed by itself, so the cut into work items does not change the result. Few heads: several
  // items each, at the price of transposing the head's keys once an item.
  const Dim chunks = std::clamp<Dim>(ceil_div(4 * num_threads(), heads), 1, heads < 4 * num_threads() ? tiles : 1);
  parallel_items(heads * chunks, [&](Dim item) {
    const Dim chunk = chunks - 1 - item / heads;  // causal: the late queries, which see most keys, first
    forward_head<Operands>(call, item % heads, tiles * chunk / chunks, tiles * (chunk + 1) / chunks);
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
