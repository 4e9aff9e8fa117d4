// Sketches as sums of runs: a rotated chunk is two runs of neighbouring features.
#include <vector>

#include "core/parallel.h"
#include "kernels/small_gemm/tile.h"
#include "kernels/ss1/composed.h"
#include "kernels/ss1/sizes.h"
#include "kernels/ss1/ss1.h"

namespace ashlar::kernels::cpu {
namespace {

// `count` features of x from `at_x`, with their sign, go to sketch `sketch` from `at_u`.
struct Run {
  Dim sketch, at_x, at_u, count;
  bool negative;
};

struct Problem {
  Dim rows, features, sketches, width;  // of a sketch: G B
  std::vector<Run> runs;
};

Problem check(std::string_view operation, const ConstView& x, const ConstView& u, const ConstView& shift,
              const ConstView& sign) {
  const ss1::Sizes sizes = ss1::check(operation, x, u, shift, sign);
  const Dim n = sizes.features, groups = sizes.groups, reduction = sizes.reduction, block = sizes.block;
  Problem problem{x.size(0), n, sizes.sketches, groups * block, {}};
  for (Dim entry = 0; entry < shift.numel(); ++entry) {
    const Dim chunk = entry % (groups * reduction) * block, at_u = entry / reduction % groups * block;
    const Dim turn = shift.as<std::int32_t>()[entry], signed_one = sign.as<std::int32_t>()[entry];
    ASHLAR_CHECK(turn >= 0 && turn < block && (signed_one == 1 || signed_one == -1), operation, ": the table has shift ",
                 turn, " and sign ", signed_one, "; they must be from 0 to ", block - 1, ", and 1 or -1");
    const auto add = [&](Dim from, Dim to, Dim count) {
      count = std::min(count, n - chunk - from);
      if (count > 0) {
        problem.runs.push_back({entry / (groups * reduction), chunk + from, at_u + to, count, signed_one < 0});
      }
    };
    add(turn, 0, block - turn);
    add(0, block - turn, turn);
  }
  return problem;
}

// to += from, or to -= from. The two do not overlap.
template <class From, class C>
void add(const From* from, C* to, Dim count, bool negative) {
  if (negative) {
#pragma omp simd
    for (Dim i = 0; i < count; ++i) to[i] -= convert<C>(from[i]);
  } else {
#pragma omp simd
    for (Dim i = 0; i < count; ++i) to[i] += convert<C>(from[i]);
  }
}

// Rows that are worth a second thread.
Dim grain(const Problem& p) { return std::max<Dim>(1, (1 << 14) / std::max<Dim>(1, p.features * p.sketches)); }

// A row of sums in the type of the arithmetic: the target itself where it has that type, else rounded to it at the end.
template <class T>
class RowSum {
 public:
  using C = accumulate_t<T>;
  static constexpr bool kDirect = std::is_same_v<T, C>;
  explicit RowSum(Dim width) : width_(width), scratch_(kDirect ? 0 : width), own_(scratch_.take(0)) {}

  // Zeros to add to.
  C* begin(T* target) const {
    C* sum = own_;
    if constexpr (kDirect) sum = target;
    std::fill_n(sum, width_, C{0});
    return sum;
  }
  void end(T* target) const {
    if constexpr (!kDirect) copy_tile(own_, width_, target, width_, 1, width_);
  }

 private:
  Dim width_;
  Scratch<C> scratch_;
  C* own_;
};

}  // namespace

void ss1_sketch(const Exec&, ConstView x, ConstView shift, ConstView sign, View u) {
  const Problem p = check("ss1_sketch", x, u, shift, sign);
  dispatch_floating(x.dtype, "ss1_sketch", [&]<class T>() {
    parallel_for(p.rows, grain(p), [&](Dim begin, Dim end) {
      const RowSum<T> sum(p.width);
      for (Dim row = begin; row < end; ++row) {
        const T* const from = x.as<T>() + row * x.step(0);
        auto run = p.runs.begin();
        for (Dim h = 0; h < p.sketches; ++h) {
          T* const target = u.as<T>() + (h * p.rows + row) * p.width;
          auto* const to = sum.begin(target);
          for (; run != p.runs.end() && run->sketch == h; ++run) {
            add(from + run->at_x, to + run->at_u, run->count, run->negative);
          }
          sum.end(target);
        }
      }
    });
  });
}

void ss1_sketch_backward(const Exec&, ConstView du, ConstView shift, ConstView sign, View dx) {
  const Problem p = check("ss1_sketch_backward", dx, du, shift, sign);
  dispatch_floating(dx.dtype, "ss1_sketch_backward", [&]<class T>() {
    parallel_for(p.rows, grain(p), [&](Dim begin, Dim end) {
      const RowSum<T> sum(p.features);
      for (Dim row = begin; row < end; ++row) {
        T* const target = dx.as<T>() + row * dx.step(0);
        auto* const to = sum.begin(target);
        for (const Run& run : p.runs) {
          const T* const from = du.as<T>() + (run.sketch * p.rows + row) * p.width;
          add(from + run.at_u, to + run.at_x, run.count, run.negative);
        }
        sum.end(target);
      }
    });
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
