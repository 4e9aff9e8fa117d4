#include "layers/block_diagonal/block_diagonal.h"

#include <algorithm>
#include <cmath>

#include "autograd/function.h"
#include "autograd/operand.h"
#include "kernels/block_diagonal/block_diagonal.h"

namespace ashlar {
namespace {

using autograd::as_operand;

struct BlockDiagonalOp : Function<BlockDiagonalOp> {
  static constexpr const char* name = "block_diagonal_linear";
  static Array forward(Context& ctx, const Array& x, const Array& b, const Array& bias, const Dim& out,
                       const bool& shuffle) {
    const Array rows = x.as_contiguous(), blocks = as_operand(b, x.dtype());
    Array y = Array::empty({x.size(0), out}, x.dtype(), x.device());
    kernels::block_diagonal_forward(x.exec(), rows, blocks, bias, shuffle, y);
    ctx.save(rows, blocks);
    ctx.keep(shuffle);
    return y;
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &b = ctx.saved(1);
    const Array dx = ctx.gradient_like(0, x), db = ctx.gradient_like(1, b), dbias = ctx.gradient_like(2, b, {dy.size(1)});
    kernels::block_diagonal_backward(dy.exec(), dy.as_contiguous(), x, b, ctx.kept<bool>(), dx, db, dbias);
    return {dx, db, dbias};
  }
};

}  // namespace

BlockDiagonalLinear::BlockDiagonalLinear(const Scope& scope, Dim in, Dim out, Dim blocks, bool shuffle,
                                         const LinearOptions& options)
    : LinearMap(scope, in, out, options), blocks_(blocks), shuffle_(shuffle) {
  check_size("blocks", blocks, std::min(in, out));
  const Dim p = block_rows(), q = block_columns();
  b_ = param("B", {blocks, p, q}, factor_init(std() * std::sqrt(static_cast<double>(in) / static_cast<double>(q)), q),
             {.role = Role::matrix, .fan_in = q, .fan_out = p, .batch_dims = 1, .hidden = options.hidden,
              .lr_scale = lr_scale(q, 1)});
}

std::string BlockDiagonalLinear::spec() const {
  return concat("block_diagonal:blocks=", blocks_, shuffle_ ? ",shuffle=1" : "");
}

Tensor BlockDiagonalLinear::forward(const Tensor& x, const Tensor& bias) const {
  return BlockDiagonalOp::apply(x, b_, bias, out_features(), shuffle_);
}

template <class Body>
void BlockDiagonalLinear::for_entries(Body&& body) const {
  const Dim p = block_rows(), q = block_columns();
  for (Dim row = 0; row < out_features(); ++row) {
    for (Dim k = 0; k < q; ++k) {
      const Dim place = row / p * q + k;
      const Dim column = shuffle_ ? place % blocks_ * q + place / blocks_ : place;
      if (column < in_features()) body(row, column, row * q + k);
    }
  }
}

Array BlockDiagonalLinear::to_dense() const {
  const Array dense = Array::zeros({out_features(), in_features()}, DType::f64);
  const Array b = on_host(b_);
  for_entries([&](Dim row, Dim column, Dim k) {
    dense.data<double>()[row * in_features() + column] = b.data<double>()[k];
  });
  return dense.to(scope().master());
}

void BlockDiagonalLinear::fit(const Array& dense, const ProjectionOptions& options) {
  const Array b = Array::zeros(b_.shape(), DType::f64);
  for_entries([&](Dim row, Dim column, Dim k) {
    b.data<double>()[k] = dense.data<double>()[row * in_features() + column];
  });
  if (options.input_moments.defined()) {
    const Dim p = block_rows(), q = block_columns();
    const Array inputs = Array::zeros({blocks_, q, in_features()}, DType::f64);  // which features a block takes
    for_entries([&](Dim row, Dim column, Dim k) {
      inputs.data<double>()[(row / p * q + k % q) * in_features() + column] = 1;
    });
    refit(b.reshape({blocks_ * p, q}), inputs, dense, with_noise(options.input_moments));
  }
  copy(b, b_.value());
}

LinearCost BlockDiagonalLinear::cost(Dim rows) const {
  const Dim p = block_rows(), q = block_columns();
  Dim macs = shuffle_ ? out_features() * q : 0;
  for (Dim i = 0; i < blocks_ && !shuffle_; ++i) {
    const auto count = [&](Dim size, Dim length) { return std::clamp<Dim>(size - i * length, 0, length); };
    macs += count(out_features(), p) * count(in_features(), q);
  }
  return {blocks_ * p * q, rows * macs, rows * macs, rows * macs, 0};
}

std::unique_ptr<LinearMap> make_block_diagonal(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                               const LinearOptions& options) {
  const auto params = [&](Dim blocks) { return ceil_div(in, blocks) * ceil_div(out, blocks) * blocks; };
  const bool by_ratio = spec.one_of("blocks", "ratio") == "ratio";
  const Dim blocks = by_ratio ? size_for_ratio(spec, spec.ratio(), in, out, std::min(in, out), "blocks", params)
                              : spec.integer("blocks");
  const bool shuffle = spec.flag("shuffle");
  return std::make_unique<BlockDiagonalLinear>(scope, in, out, blocks, shuffle, options);
}

}  // namespace ashlar
