#include "kernels/blast/cpu.h"
#include "kernels/low_rank/as_blocks.h"

namespace ashlar::kernels::cpu {

using namespace low_rank;

void low_rank_forward(const Exec& exec, ConstView x, ConstView u, ConstView v, ConstView bias, View z, View y) {
  check_matrix("low_rank_forward", u, "u");
  check_matrix("low_rank_forward", v, "v");
  check_matrix("low_rank_forward", z, "z");
  blast::forward("low_rank_forward", exec, x, as_block(u), as_block(v), {}, bias, as_hidden(z), y);
}

void low_rank_backward(const Exec& exec, ConstView dy, ConstView x, ConstView z, ConstView u, ConstView v, View dx, View du,
                       View dv, View dbias) {
  for (const auto& [matrix, name] :
       {std::pair<ConstView, const char*>{z, "z"}, {u, "u"}, {v, "v"}, {du, "du"}, {dv, "dv"}}) {
    check_matrix("low_rank_backward", matrix, name);
  }
  blast::backward("low_rank_backward", exec, dy, x, as_hidden(z), as_block(u), as_block(v), {}, dx, as_block(du),
                  as_block(dv), {}, dbias);
}

}  // namespace ashlar::kernels::cpu
