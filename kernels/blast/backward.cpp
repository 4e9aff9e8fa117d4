#include "kernels/blast/coupling.h"
#include "kernels/blast/cpu.h"
#include "kernels/blast/gradient_sums.h"
#include "kernels/blast/plan.h"

namespace ashlar::kernels::cpu {
namespace {

using namespace kernels::blast;

constexpr Dim kTileRows = 64;

struct BackwardCall {
  Shapes shapes;
  ConstView dy, x, u, v, s;
  View dx, du, dv, ds, dbias;
};

template <class T>
class Backward {
 public:
  using C = accumulate_t<T>;

  explicit Backward(const BackwardCall& call)
      : call_(call),
        in_(call.shapes.in),
        out_(call.shapes.out),
        chunks_(call.shapes.rank, kTileRows * (in_.blocks + out_.blocks) * (call.s ? 2 : 1), sizeof(C),
                vector_lanes<C>()),
        need_a_(call.du || call.ds),
        need_da_(call.dv || call.dx),
        x_to_rank_(need_a_ ? call.v : ConstView{}, in_, chunks_, false),
        dy_to_rank_(need_a_ || need_da_ ? call.u : ConstView{}, out_, chunks_, false),
        dx_from_rank_(call.dx ? call.v : ConstView{}, in_, chunks_, true),
        s_(call.s, out_.blocks * in_.blocks, chunks_),
        sums_(call.shapes.rows, chunks_),
        s_sums_(call.shapes.rows, Chunks::vectors(call.shapes.rank, chunks_.lanes)),
        bias_sums_(call.shapes.rows, Chunks::vectors(1, 1)),
        du_(sums_.add(call.du, out_.size)),
        dv_(sums_.add(call.dv, in_.size)),
        ds_(s_sums_.add(call.ds, out_.blocks * in_.blocks)),
        dbias_(bias_sums_.add(call.dbias, out_.size)) {
    sums_.allocate();
    s_sums_.allocate();
    bias_sums_.allocate();
  }

  void run() {
    sums_.for_ranges([&](Dim range, Dim begin, Dim end) {
      for (Dim row = begin; row < end; row += kTileRows) {
        tile(range, row, std::min(kTileRows, end - row), row > begin);
      }
    });
    sums_.store();
    s_sums_.store();
    bias_sums_.store();
  }

 private:
  // `accumulate`: not the first tile of its range.
  void tile(Dim range, Dim begin, Dim rows, bool accumulate) const {
    constexpr bool kConvert = !std::is_same_v<T, C>;
    const Dim ld_x = line_of(in_.size), ld_dy = line_of(out_.size);
    const Dim block = block_size(rows, chunks_.width), a_size = in_.blocks * block, c_size = out_.blocks * block;
    Scratch<C> scratch(rows * (ld_x + ld_dy) + 2 * Scratch<C>::padded(a_size) + 2 * Scratch<C>::padded(c_size) +
                       (kConvert ? Scratch<C>::padded(rows * in_.size) : 0));
    C* const x = scratch.take(rows * ld_x);
    C* const dy = scratch.take(rows * ld_dy);
    C* const dc = scratch.take(c_size);
    C* const da = call_.s ? scratch.take(a_size) : dc;
    C* const a = scratch.take(a_size);
    C* const c = call_.s ? scratch.take(c_size) : a;
    C* dx = nullptr;
    Dim ld_dx = in_.size;
    if constexpr (kConvert) {
      dx = scratch.take(rows * in_.size);
    } else if (call_.dx) {
      ld_dx = call_.dx.step(0);
      dx = call_.dx.template as<C>() + begin * ld_dx;
    }
    copy_tile(call_.x.as<T>() + begin * call_.x.step(0), call_.x.step(0), x, ld_x, rows, in_.size);
    copy_tile(call_.dy.as<T>() + begin * call_.dy.step(0), call_.dy.step(0), dy, ld_dy, rows, out_.size);
    if (call_.dbias) {
      C* const sum = bias_sums_.at(dbias_, range, 0);
      if (!accumulate) std::fill_n(sum, out_.size, C{0});
      for (Dim r = 0; r < rows; ++r) {
        for (Dim f = 0; f < out_.size; ++f) sum[f] += dy[r * ld_dy + f];
      }
    }
    if (!need_a_ && !need_da_) return;

    for (Dim chunk = 0; chunk < chunks_.count; ++chunk) {
      const Dim width = chunks_.padded(chunk);
      for (Dim i = 0; i < out_.blocks; ++i) {
        const SmallGemm<C> product{.m = rows, .n = width, .k = out_.count(i), .lda = ld_dy, .ldc = width,
                                   .packed_b = true};
        product(dy + out_.begin(i), dy_to_rank_.at(chunk, i), dc + i * block);
      }
      if (need_a_) {
        for (Dim j = 0; j < in_.blocks; ++j) {
          const SmallGemm<C> product{.m = rows, .n = width, .k = in_.count(j), .lda = ld_x, .ldc = width,
                                     .packed_b = true};
          product(x + in_.begin(j), x_to_rank_.at(chunk, j), a + j * block);
        }
      }
      if (call_.s) {
        const Dim lanes = chunks_.lanes, inputs = in_.blocks, outputs = out_.blocks;
        const C* const s = s_.at(chunks_.begin(chunk));
        const Coupling<C> forward{inputs, outputs, rows, width, block, s, lanes, inputs * lanes};
        const Coupling<C> reverse{outputs, inputs, rows, width, block, s, inputs * lanes, lanes};
        if (call_.du) couple(forward, a, c);
        if (need_da_) couple(reverse, dc, da);
        if (call_.ds) couple_gradient(forward, a, dc, accumulate, s_sums_.at(ds_, range, chunks_.begin(chunk) / lanes));
      }
      if (call_.du) add_factor(out_, dy, ld_dy, c, block, rows, width, accumulate, sums_.at(du_, range, chunk));
      if (call_.dv) add_factor(in_, x, ld_x, da, block, rows, width, accumulate, sums_.at(dv_, range, chunk));
      if (call_.dx) {
        for (Dim j = 0; j < in_.blocks; ++j) {
          const SmallGemm<C> product{.m = rows, .n = in_.count(j), .k = chunks_.size(chunk), .lda = width,
                                     .ldc = ld_dx, .accumulate = chunk > 0, .packed_b = true};
          product(da + j * block, dx_from_rank_.at(chunk, j), dx + in_.begin(j));
        }
      }
    }
    if constexpr (kConvert) {
      const Dim step = call_.dx ? call_.dx.step(0) : 0;
      if (call_.dx) copy_tile(dx, ld_dx, call_.dx.template as<T>() + begin * step, step, rows, in_.size);
    }
  }

  // sum (features, width) (+)= wideᵀ narrow, block by block.
  static void add_factor(const Side& side, const C* wide, Dim ld_wide, const C* narrow, Dim block,
                         Dim rows, Dim width, bool accumulate, C* sum) {
    for (Dim i = 0; i < side.blocks; ++i) {
      const SmallGemm<C> product{.m = side.count(i), .n = width, .k = rows, .lda = ld_wide, .ldb = width,
                                 .ldc = width, .trans_a = true, .accumulate = accumulate};
      product(wide + side.begin(i), narrow + i * block, sum + side.begin(i) * width);
    }
  }

  const BackwardCall& call_;
  Side in_, out_;
  Chunks chunks_;
  bool need_a_, need_da_;
  PackedFactor<C> x_to_rank_, dy_to_rank_, dx_from_rank_;
  PackedCoupling<C> s_;
  GradientSums<C> sums_, s_sums_, bias_sums_;
  int du_, dv_, ds_, dbias_;
};

void set_zero(const View& view) {
  if (view) std::memset(view.data, 0, static_cast<std::size_t>(view.numel()) * size_of(view.dtype));
}

}  // namespace

void blast::backward(std::string_view operation, const Exec&, ConstView dy, ConstView x, ConstView u, ConstView v,
                     ConstView s, View dx, View du, View dv, View ds, View dbias) {
  const BackwardCall call{check_shapes(operation, x, dy, u, v, s, dbias), dy, x, u, v, s, dx, du, dv, ds, dbias};
  check_gradients(operation, x, u, v, s, dx, du, dv, ds);
  if (call.shapes.rows == 0) {
    for (const View& gradient : {du, dv, ds, dbias}) set_zero(gradient);
    return;
  }
  dispatch_floating(x.dtype, operation, [&]<class T>() { Backward<T>(call).run(); });
}

void blast_backward(const Exec& exec, ConstView dy, ConstView x, ConstView u, ConstView v, ConstView s, View dx, View du,
                    View dv, View ds, View dbias) {
  ASHLAR_CHECK(s, "blast_backward: s must be given");
  blast::backward("blast_backward", exec, dy, x, u, v, s, dx, du, dv, ds, dbias);
}

}  // namespace ashlar::kernels::cpu
