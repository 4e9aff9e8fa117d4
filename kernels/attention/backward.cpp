#include "core/parallel.h"
#include "kernels/attention/cpu.h"
#include "kernels/attention/heads.h"
#include "kernels/small_gemm/small_gemm.h"
#include "kernels/small_gemm/tile.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace attention;

struct BackwardCall {
  ConstView d_o, q, k, v, o, lse;
  double scale;
  bool causal;
  View dq, dk, dv;
};

// One head, with the operands of its products in scratch memory. For a tile of queries i and a tile of keys j, with
// qs = scale * q and delta = rowsum(dO * O):
//   P = exp(qs_i k_jᵀ − lse_i),  dS = P * (dO_i v_jᵀ − delta_i)
//   dv_j += Pᵀ dO_i,  dk_j += dSᵀ qs_i,  dq_i += scale * dS k_j
// dv_j and dk_j add up over i ascending, dq_i over j ascending, whichever way the work is cut: the results do not
// depend on the number of threads.
template <class T>
class HeadBackward {
 public:
  using C = accumulate_t<T>;

  HeadBackward(const BackwardCall& call, Dim head)
      : call_(call),
        tiles_(call.q.size(2)),
        depth_(call.q.size(3)),
        ld_keys_(row_length(tiles_.length)),
        ld_scores_(row_length(tiles_.max_rows())),
        dq_(head_of<T>(call.dq, head)),
        dk_(head_of<T>(call.dk, head)),
        dv_(head_of<T>(call.dv, head)),
        scratch_(2 * Scratch<C>::padded(depth_ * ld_keys_) + 4 * Scratch<C>::padded(tiles_.length * depth_) +
                 2 * Scratch<C>::padded(tiles_.length) + 2 * Scratch<C>::padded(tiles_.max_rows() * ld_scores_) +
                 2 * Scratch<C>::padded(tiles_.max_rows() * depth_)) {
    const Dim length = tiles_.length, size = length * depth_;
    k_transposed_ = scratch_.take(depth_ * ld_keys_);
    v_transposed_ = scratch_.take(depth_ * ld_keys_);
    queries_ = scratch_.take(size);
    keys_ = scratch_.take(size);
    d_out_ = scratch_.take(size);
    d_queries_ = scratch_.take(size);
    lse_ = scratch_.take(length);
    delta_ = scratch_.take(length);
    scores_ = scratch_.take(tiles_.max_rows() * ld_scores_);
    d_scores_ = scratch_.take(tiles_.max_rows() * ld_scores_);
    d_keys_ = scratch_.take(tiles_.max_rows() * depth_);
    d_values_ = scratch_.take(tiles_.max_rows() * depth_);

    const auto q = head_of<T>(call.q, head), k = head_of<T>(call.k, head), v = head_of<T>(call.v, head);
    const auto o = head_of<T>(call.o, head), d_o = head_of<T>(call.d_o, head);
    transpose(v.data, v.ld, queries_, v_transposed_);
    transpose(k.data, k.ld, keys_, k_transposed_);
    copy_tile(q.data, q.ld, queries_, depth_, length, depth_, static_cast<C>(call.scale));
    copy_tile(d_o.data, d_o.ld, d_out_, depth_, length, depth_);
    const C* const lse = call.lse.as<C>() + head / call.lse.size(1) * call.lse.step(0) +
                         head % call.lse.size(1) * call.lse.step(1);
    for (Dim t = 0; t < length; ++t) {
      lse_[t] = lse[t * call.lse.step(2)];
      C sum = 0;
      for (Dim d = 0; d < depth_; ++d) sum += d_out_[t * depth_ + d] * convert<C>(o.row(t)[d]);
      delta_[t] = sum;
    }
  }

  // Everything, keys outermost.
  void all() {
    for (Dim j = 0; j < tiles_.count; ++j) {
      for (Dim i = first_query_tile(j); i < tiles_.count; ++i) {
        probabilities(i, j);
        add_key_gradients(i, j);
        add_query_gradients(i, j);
      }
      store_key_gradients(j);
    }
    for (Dim i = 0; i < tiles_.count; ++i) store_query_gradients(i);
  }
  // dk and dv of one key tile.
  void keys_of(Dim j) {
    for (Dim i = first_query_tile(j); i < tiles_.count; ++i) {
      probabilities(i, j);
      add_key_gradients(i, j);
    }
    store_key_gradients(j);
  }
  // dq of one query tile.
  void queries_of(Dim i) {
    const Dim end = call_.causal ? i + 1 : tiles_.count;
    for (Dim j = 0; j < end; ++j) {
      probabilities(i, j);
      add_query_gradients(i, j);
    }
    store_query_gradients(i);
  }

 private:
  Dim first_query_tile(Dim j) const { return call_.causal ? j : 0; }

  void transpose(const T* from, Dim ld_from, C* plain, C* transposed) {
    const Dim length = tiles_.length;
    copy_tile(from, ld_from, plain, depth_, length, depth_);
    pack_transposed(plain, length, depth_, depth_, transposed, ld_keys_);
    for (Dim d = 0; d < depth_; ++d) std::fill(transposed + d * ld_keys_ + length, transposed + (d + 1) * ld_keys_, C{0});
  }

  // P into scores_, dS into d_scores_.
  void probabilities(Dim i, Dim j) {
    const Dim query = tiles_.begin(i), key = tiles_.begin(j), rows = tiles_.rows(i), width = tiles_.rows(j);
    // Whole vectors of columns; what they read past the tile is the next tile's keys or padding, and is masked.
    const Dim columns = std::min(round_up(width, 8), ld_keys_ - key);
    const SmallGemm<C> product{.m = rows, .n = columns, .k = depth_, .lda = depth_, .ldb = ld_keys_, .ldc = ld_scores_};
    product(queries_ + query * depth_, k_transposed_ + key, scores_);
    product(d_out_ + query * depth_, v_transposed_ + key, d_scores_);
    softmax_gradient_tile(ScoreTile<C>{scores_, ld_scores_, rows, width, call_.causal, query - key}, d_scores_,
                          lse_ + query, delta_ + query);
  }

  void add_key_gradients(Dim i, Dim j) {
    const Dim query = tiles_.begin(i);
    const SmallGemm<C> reduce{.m = tiles_.rows(j), .n = depth_, .k = tiles_.rows(i), .lda = ld_scores_, .ldb = depth_,
                              .ldc = depth_, .trans_a = true, .accumulate = i != first_query_tile(j)};
    reduce(scores_, d_out_ + query * depth_, d_values_);
    reduce(d_scores_, queries_ + query * depth_, d_keys_);
  }
  void store_key_gradients(Dim j) {
    const Dim key = tiles_.begin(j);
    copy_tile(d_keys_, depth_, dk_.row(key), dk_.ld, tiles_.rows(j), depth_);
    copy_tile(d_values_, depth_, dv_.row(key), dv_.ld, tiles_.rows(j), depth_);
  }

  void add_query_gradients(Dim i, Dim j) {
    const SmallGemm<C> expand{.m = tiles_.rows(i), .n = depth_, .k = tiles_.rows(j), .lda = ld_scores_, .ldb = depth_,
                              .ldc = depth_, .accumulate = j != 0};
    expand(d_scores_, keys_ + tiles_.begin(j) * depth_, d_queries_ + tiles_.begin(i) * depth_);
  }
  void store_query_gradients(Dim i) {
    const Dim query = tiles_.begin(i);
    copy_tile(d_queries_ + query * depth_, depth_, dq_.row(query), dq_.ld, tiles_.rows(i), depth_,
              static_cast<C>(call_.scale));
  }

  const BackwardCall& call_;
  Tiles tiles_;
  Dim depth_, ld_keys_, ld_scores_;
  Head<T> dq_, dk_, dv_;
  Scratch<C> scratch_;
  C *k_transposed_, *v_transposed_;                   // (D, T)
  C *queries_, *keys_, *d_out_, *d_queries_;          // (T, D)
  C *lse_, *delta_;                                   // (T)
  C *scores_, *d_scores_, *d_keys_, *d_values_;       // of one tile
};

template <class T>
void backward(const BackwardCall& call) {
  const Dim heads = call.q.size(0) * call.q.size(1), tiles = Tiles(call.q.size(2)).count, threads = num_threads();
  // A whole head as one work item takes five products a tile pair. Cut by tiles, dk and dv take four and dq, in items
  // of its own, three more: worth it when whole heads would leave more than 2/7 of the threads idle.
  const Dim rounds = ceil_div(heads, threads);
  if (tiles == 1 || 7 * heads >= 5 * rounds * threads) {
    parallel_items(heads, [&](Dim head) { HeadBackward<T>(call, head).all(); });
    return;
  }
  const Dim chunks = std::min(tiles, ceil_div(4 * threads, heads));
  parallel_items(heads * chunks, [&](Dim item) {
    HeadBackward<T> part(call, item % heads);
    // Tiles c, c + chunks, …: causal tiles differ in work, and this deals them out evenly.
    for (Dim tile = item / heads; tile < tiles; tile += chunks) {
      part.keys_of(tile);
      part.queries_of(tile);
    }
  });
}

}  // namespace

void attention_backward(const Exec&, ConstView d_o, ConstView q, ConstView k, ConstView v, ConstView o, ConstView lse,
                        double scale, bool causal, View dq, View dk, View dv) {
  constexpr std::string_view kName = "attention_backward";
  check_heads(kName, q, {{"d_o", d_o}, {"k", k}, {"v", v}, {"o", o}, {"dq", dq}, {"dk", dk}, {"dv", dv}});
  check_lse(kName, q, lse);
  if (q.numel() == 0) return;
  const BackwardCall call{d_o, q, k, v, o, lse, scale, causal, dq, dk, dv};
  dispatch_floating(q.dtype, kName, [&]<class T>() { backward<T>(call); });
}

}  // namespace ashlar::kernels::cpu
