#include "core/parallel.h"
#include "kernels/attention/call.h"
#include "kernels/attention/checks.h"
#include "kernels/attention/operands.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace attention;

// One head after the other, on one thread, with the operands of its products in scratch memory. For a tile of queries i
// and a tile of keys j, with delta = rowsum(dO * O):
//   P = exp(scale * q_i k_jᵀ − lse_i),  dS = P * (dO_i v_jᵀ − delta_i)
//   dv_j += Pᵀ dO_i,  dk_j += scale * dSᵀ q_i,  dq_i += scale * dS k_j
// dv_j and dk_j add up over i ascending, dq_i over j ascending, whichever way the work is cut: the results do not
// depend on the number of threads.
template <class Operands>
class HeadBackward {
 public:
  using T = typename Operands::Value;
  using Sum = typename Operands::Sum;

  explicit HeadBackward(const BackwardCall& call)
      : call_(call),
        tiles_(call.q.size(2), kTileRows),
        depth_(call.q.size(3)),
        k_transposed_(tiles_, depth_),
        v_transposed_(tiles_, depth_),
        queries_(tiles_, depth_),
        keys_(tiles_, depth_),
        d_out_(tiles_, depth_),
        scores_(tiles_.max_rows(), tiles_.max_rows()),
        d_scores_(tiles_.max_rows(), tiles_.max_rows()),
        lse_(tiles_.length),
        delta_(tiles_.length),
        d_queries_(tiles_.length * depth_),
        d_keys_(tiles_.max_rows() * depth_),
        d_values_(tiles_.max_rows() * depth_) {}

  void read(Dim head) {
    const auto o = head_of<T>(call_.o, head), d_o = head_of<T>(call_.d_o, head);
    k_transposed_.read(head_of<T>(call_.k, head), tiles_.count);
    v_transposed_.read(head_of<T>(call_.v, head), tiles_.count);
    queries_.read(head_of<T>(call_.q, head), tiles_.count);
    keys_.read(head_of<T>(call_.k, head), tiles_.count);
    d_out_.read(d_o, tiles_.count);
    dq_ = head_of<T>(call_.dq, head);
    dk_ = head_of<T>(call_.dk, head);
    dv_ = head_of<T>(call_.dv, head);
    row_dots(d_o.data, d_o.ld, o.data, o.ld, tiles_.length, depth_, delta_.data());
    const auto lse = head_of<Sum>(call_.lse, head);
    for (Dim t = 0; t < tiles_.length; ++t) lse_.data()[t] = *lse.row(t);
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
  Sum* d_queries(Dim i) const { return d_queries_.data() + tiles_.begin(i) * depth_; }

  // P into scores_, dS into d_scores_.
  void probabilities(Dim i, Dim j) {
    const Dim query = tiles_.begin(i), rows = tiles_.rows(i), width = tiles_.rows(j);
    const Size size{rows, round_up(width, 8), depth_};
    Operands::multiply(size, queries_.left(i), k_transposed_.right(j), scores_.data(), scores_.ld());
    Operands::multiply(size, d_out_.left(i), v_transposed_.right(j), d_scores_.data(), d_scores_.ld());
    softmax_gradient_tile(ScoreTile<Sum>{.scores = scores_.data(), .ld = scores_.ld(), .rows = rows, .width = width,
                                         .scale = static_cast<Sum>(call_.scale), .causal = call_.causal,
                                         .offset = query - tiles_.begin(j)},
                          d_scores_.data(), lse_.data() + query, delta_.data() + query);
  }

  void add_key_gradients(Dim i, Dim j) {
    const Dim rows = tiles_.rows(i), width = tiles_.rows(j);
    const Size size{width, depth_, rows};
    const bool accumulate = i != first_query_tile(j);
    Operands::multiply(size, scores_.transposed(rows, width), d_out_.right(i), d_values_.data(), depth_, accumulate);
    Operands::multiply(size, d_scores_.transposed(rows, width), queries_.right(i), d_keys_.data(), depth_, accumulate);
  }
  void store_key_gradients(Dim j) {
    const Dim key = tiles_.begin(j), rows = tiles_.rows(j);
    Operands::store(d_keys_.data(), depth_, dk_.row(key), dk_.ld, rows, depth_, static_cast<Sum>(call_.scale));
    Operands::store(d_values_.data(), depth_, dv_.row(key), dv_.ld, rows, depth_, 1);
  }

  void add_query_gradients(Dim i, Dim j) {
    const Dim rows = tiles_.rows(i), width = tiles_.rows(j);
    Operands::multiply({rows, depth_, width}, d_scores_.left(rows, width), keys_.right(j), d_queries(i), depth_, j != 0);
  }
  void store_query_gradients(Dim i) {
    Operands::store(d_queries(i), depth_, dq_.row(tiles_.begin(i)), dq_.ld, tiles_.rows(i), depth_,
                    static_cast<Sum>(call_.scale));
  }

  const BackwardCall& call_;
  [[no_unique_address]] typename Operands::MatrixUnit unit_;
  Tiles tiles_;
  Dim depth_;
  Head<T> dq_{}, dk_{}, dv_{};
  typename Operands::Columns k_transposed_, v_transposed_;
  typename Operands::Rows queries_, keys_, d_out_;
  typename Operands::Scores scores_, d_scores_;
  Scratch<Sum> lse_, delta_;        // (T)
  Scratch<Sum> d_queries_;          // (T, D)
  Scratch<Sum> d_keys_, d_values_;  // (rows of a tile, D)
};

template <class Operands>
void backward(const BackwardCall& call) {
  const Dim heads = call.q.size(0) * call.q.size(1), tiles = Tiles(call.q.size(2), kTileRows).count, threads = num_threads();
  // A whole head as one work item takes five products a tile pair. Cut by tiles, dk and dv take four and dq, in items
  // of its own, three more: worth it when whole heads would leave more than 2/7 of the threads idle.
  const Dim rounds = ceil_div(heads, threads);
  if (tiles == 1 || 7 * heads >= 5 * rounds * threads) {
    parallel_workers(heads, [&] {
      return [part = HeadBackward<Operands>(call)](Dim head) mutable {
        part.read(head);
        part.all();
      };
    });
    return;
  }
  const Dim chunks = std::min(tiles, ceil_div(4 * threads, heads));
  parallel_workers(heads * chunks, [&] {
    return [&, part = HeadBackward<Operands>(call)](Dim item) mutable {
      part.read(item % heads);
      // Tiles c, c + chunks, …: causal tiles differ in work, and this deals them out evenly.
      for (Dim tile = item / heads; tile < tiles; tile += chunks) {
        part.keys_of(tile);
        part.queries_of(tile);
      }
    };
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
  dispatch_operands(kName, q.dtype, [&]<class Operands>() { backward<Operands>(call); });
}

}  // namespace ashlar::kernels::cpu
