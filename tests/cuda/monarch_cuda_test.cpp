// What the suite of linear maps does not see of Monarch on a GPU: different numbers of blocks on its two sides.
#include "kernels/monarch/monarch.h"

#include "tests/cuda/support.h"

using namespace ashlar;
using namespace ashlar::test;

TEST_CASE("monarch with other blocks of x than of y", "[cuda]") {
  if (!has_gpu()) return;
  struct Case {
    Dim rows, in, out, in_blocks, out_blocks, rank;
  };
  // Whole blocks; short ones, and one of x and two of y that are empty; one block.
  const std::vector<Case> cases{{130, 96, 160, 3, 5, 16}, {70, 13, 17, 6, 8, 3}, {33, 24, 40, 1, 4, 8}, {33, 24, 40, 4, 1, 8}};
  for (const Case& c : cases) {
    for (const DType dtype : kFloating) {
      INFO(dtype << " " << c.in << " -> " << c.out << ", blocks " << c.in_blocks << " and " << c.out_blocks);
      const Dim p = (c.out + c.out_blocks - 1) / c.out_blocks, q = (c.in + c.in_blocks - 1) / c.in_blocks;
      const DType master = dtype == DType::f64 ? DType::f64 : DType::f32;
      const Array x = randn({c.rows, c.in}, dtype, 1), dy = randn({c.rows, c.out}, dtype, 2);
      const Array r = randn({c.in_blocks, c.out_blocks * c.rank, q}, master, 3);
      const Array l = randn({c.out_blocks, p, c.in_blocks * c.rank}, master, 4), bias = randn({c.out}, master, 5);
      const Array h = Array::full({c.rows, c.in_blocks * c.out_blocks * c.rank}, NAN, dtype);
      same_on_gpu({x, dy, r, l, bias}, {nan_like(dy), h, nan_like(x), nan_like(r), nan_like(l), nan_like(bias), nan_like(dy)},
                  gpu_tolerance(dtype), [](const Exec& exec, const Arrays& in, const Arrays& out) {
                    kernels::monarch_forward(exec, in[0], in[2], in[3], in[4], out[1], out[0]);
                    kernels::monarch_backward(exec, in[1], in[0], out[1], in[2], in[3], out[2], out[3], out[4], out[5]);
                    kernels::monarch_forward(exec, in[0], in[2].to(in[0].dtype()), in[3].to(in[0].dtype()), {}, {}, out[6]);
                  });
    }
  }
}
