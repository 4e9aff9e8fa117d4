#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "kernels/attention/cpu.h"
#include "kernels/attention/heads.h"
#include "kernels/small_gemm/small_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace attention;

// Scores of one query tile are held for this many keys at a time; longer rows go through the online softmax.
constexpr Dim kPanel = 512;

struct ForwardCall {
  ConstView q, k, v;
  double scale;
  bool causal;
  View o, lse;
};

// Query tiles [first, last) of one head.
template <class T>
void forward_head(const ForwardCall& call, Dim head, Dim first, Dim last) {
  using C = accumulate_t<T>;
  const Tiles tiles(call.q.size(2));
  const Dim depth = call.q.size(3), rows_max = tiles.max_rows();
  const Dim earlier = call.k.size(2) - tiles.length;  // positions before that of the first query
  const Dim keys = earlier + (call.causal ? tiles.end(last - 1) : tiles.length);  // that any of these queries sees
  const Dim ld_keys = row_length(keys);
  const Dim ld_scores = row_length(std::min(keys, kPanel));
  const auto q = head_of<T>(call.q, head), k = head_of<T>(call.k, head), v = head_of<T>(call.v, head);
  const auto o = head_of<T>(call.o, head);

  Scratch<C> scratch(Scratch<C>::padded(depth * ld_keys) + Scratch<C>::padded(keys * depth) +
                     2 * Scratch<C>::padded(rows_max * depth) + Scratch<C>::padded(rows_max * ld_scores) +
                     3 * Scratch<C>::padded(rows_max));
  C* const k_transposed = scratch.take(depth * ld_keys);  // (D, keys)
  C* const values = scratch.take(keys * depth);           // (keys, D)
  C* const queries = scratch.take(rows_max * depth);      // scale * q of the tile
  C* const sums = scratch.take(rows_max * depth);         // p v of the tile, not yet divided
  C* const scores = scratch.take(rows_max * ld_scores);
  C* const max = scratch.take(rows_max);
  C* const sum = scratch.take(rows_max);
  C* const factor = scratch.take(rows_max);

  copy_tile(k.data, k.ld, values, depth, keys, depth);  // `values` is free until the next line has read it
  pack_transposed(values, keys, depth, depth, k_transposed, ld_keys);
  for (Dim d = 0; d < depth; ++d) std::fill(k_transposed + d * ld_keys + keys, k_transposed + (d + 1) * ld_keys, C{0});
  copy_tile(v.data, v.ld, values, depth, keys, depth);

  for (Dim tile = first; tile < last; ++tile) {
    const Dim begin = tiles.begin(tile), rows = tiles.rows(tile);
    const Dim limit = call.causal ? earlier + begin + rows : keys;
    copy_tile(q.row(begin), q.ld, queries, depth, rows, depth, static_cast<C>(call.scale));
    std::fill(max, max + rows, -std::numeric_limits<C>::infinity());
    std::fill(sum, sum + rows, C{0});
    for (Dim panel = 0; panel < limit; panel += kPanel) {
      const Dim width = std::min(kPanel, limit - panel);
      const SmallGemm<C> score{.m = rows, .n = round_up(width, 8), .k = depth,
                               .lda = depth, .ldb = ld_keys, .ldc = ld_scores};
      score(queries, k_transposed + panel, scores);
      softmax_tile(ScoreTile<C>{scores, ld_scores, rows, width, call.causal, earlier + begin - panel}, max, sum, factor);
      if (panel > 0) {
        for (Dim r = 0; r < rows; ++r) {
          for (Dim d = 0; d < depth; ++d) sums[r * depth + d] *= factor[r];
        }
      }
      const SmallGemm<C> weigh{.m = rows, .n = depth, .k = width, .lda = ld_scores, .ldb = depth, .ldc = depth,
                               .accumulate = panel > 0};
      weigh(scores, values + panel * depth, sums);
    }
    for (Dim r = 0; r < rows; ++r) copy_tile(sums + r * depth, depth, o.row(begin + r), o.ld, 1, depth, 1 / sum[r]);
    if (call.lse) {
      const auto step = call.lse.step(2);
      C* const lse = call.lse.as<C>() + head / call.lse.size(1) * call.lse.step(0) +
                     head % call.lse.size(1) * call.lse.step(1) + begin * step;
      for (Dim r = 0; r < rows; ++r) lse[r * step] = max[r] + std::log(sum[r]);
    }
  }
}

template <class T>
void forward(const ForwardCall& call) {
  const Dim heads = call.q.size(0) * call.q.size(1), tiles = Tiles(call.q.size(2)).count;
  // Every query tile is computed by itself, so the cut into work items does not change the result. Few heads: several
  // items each, at the price of transposing the head's keys once an item.
  const Dim chunks = std::clamp<Dim>(ceil_div(4 * num_threads(), heads), 1, heads < 4 * num_threads() ? tiles : 1);
  parallel_items(heads * chunks, [&](Dim item) {
    const Dim chunk = chunks - 1 - item / heads;  // causal: the late queries, which see most keys, first
    forward_head<T>(call, item % heads, tiles * chunk / chunks, tiles * (chunk + 1) / chunks);
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
  dispatch_floating(q.dtype, kName, [&]<class T>() { forward<T>(call); });
}

}  // namespace ashlar::kernels::cpu
