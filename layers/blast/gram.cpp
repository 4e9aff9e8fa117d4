#include "layers/blast/gram.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"

namespace ashlar {

Array blast_factor_gram(const Array& others, const Array& couplings) {
  const Dim blocks = couplings.size(0), other_blocks = couplings.size(1), rank = couplings.size(2);
  const Shape pairs{blocks, other_blocks, rank, rank};
  const Exec exec = others.exec();
  const Array along_rows = couplings.reshape({blocks, other_blocks, 1, rank});
  const Array along_columns = couplings.reshape({blocks, other_blocks, rank, 1});
  const Array scaled = Array::empty(pairs, others.dtype(), others.device());
  kernels::multiply(exec, linalg::gram(others).expand(pairs), along_rows.expand(pairs), scaled);
  kernels::multiply(exec, scaled, along_columns.expand(pairs), scaled);
  const Array sum = Array::empty({blocks, 1, rank, rank}, others.dtype(), others.device());
  kernels::sum_to(exec, scaled, sum);
  return sum.reshape({blocks, rank, rank});
}

Array blast_coupling_gram(const Array& u, const Array& v) {
  const Dim out_blocks = u.size(0), in_blocks = v.size(0), rank = u.size(2);
  const Shape pairs{out_blocks, in_blocks, rank, rank};
  const Array gram = Array::empty(pairs, u.dtype(), u.device());
  kernels::multiply(u.exec(), linalg::gram(u).reshape({out_blocks, 1, rank, rank}).expand(pairs),
                    linalg::gram(v).expand(pairs), gram);
  return gram;
}

}  // namespace ashlar
