#include "layers/monarch/monarch.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/function.h"
#include "autograd/operand.h"
#include "kernels/monarch/monarch.h"
#include "kernels/linalg/linalg.h"

namespace ashlar {
namespace {

using autograd::as_operand;

struct MonarchOp : Function<MonarchOp> {
  static constexpr const char* name = "monarch_linear";
  static Array forward(Context& ctx, const Array& x, const Array& r, const Array& l, const Array& bias, const Dim& out) {
    const Array rows = x.as_contiguous(), right = as_operand(r, x.dtype()), left = as_operand(l, x.dtype());
    Array y = Array::empty({x.size(0), out}, x.dtype(), x.device()), h;
    if (ctx.recording()) h = Array::empty({x.size(0), l.size(0) * l.size(2)}, x.dtype(), x.device());
    kernels::monarch_forward(x.exec(), rows, right, left, bias, h, y);
    ctx.save(rows, h, right, left);
    return y;
  }
  static std::array<Array, 4> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &h = ctx.saved(1), &r = ctx.saved(2), &l = ctx.saved(3);
    const Array dx = ctx.gradient_like(0, x), dr = ctx.gradient_like(1, r), dl = ctx.gradient_like(2, l);
    const Array dbias = ctx.gradient_like(3, l, {dy.size(1)});
    kernels::monarch_backward(dy.exec(), dy.as_contiguous(), x, h, r, l, dx, dr, dl, dbias);
    return {dx, dr, dl, dbias};
  }
};

// min(in, out) / blocks as in the paper, rounded up to a multiple of blocks.
Dim default_rank(Dim in, Dim out, Dim blocks) {
  const Dim square = blocks * blocks;
  return ceil_div(std::min(in, out), square) * blocks;
}

}  // namespace

MonarchLinear::MonarchLinear(const Scope& scope, Dim in, Dim out, const Structure& structure,
                             const LinearOptions& options)
    : LinearMap(scope, in, out, options), structure_(structure) {
  const auto [blocks, rank, interleaved] = structure;
  check_size("blocks", blocks, std::min(in, out));
  const Dim p = block_rows(), q = block_columns(), most = blocks * std::min(p, q);
  check_size("rank", rank, most);
  ASHLAR_CHECK(rank % blocks == 0, named(), ": rank must be a multiple of blocks; ",
               std::max(rank / blocks, Dim{1}) * blocks, " would fit");
  r_ = param("R", {blocks, rank, q}, factor_init(1.0 / std::sqrt(static_cast<double>(in) / static_cast<double>(blocks)), q),
             {.role = Role::matrix, .fan_in = q, .fan_out = rank, .batch_dims = 1, .hidden = options.hidden,
              .lr_scale = lr_scale(q, 2), .gram = [this] { return right_gram(); }, .gram_on_rows = true});
  const double gain = std::sqrt(static_cast<double>(in) / static_cast<double>(rank));
  l_ = param("L", {blocks, p, rank}, factor_init(std() * gain, rank),
             {.role = Role::matrix, .fan_in = rank, .fan_out = p, .batch_dims = 1, .hidden = options.hidden,
              .lr_scale = lr_scale(rank, 2), .gram = [this] { return left_gram(); }});
}

std::string MonarchLinear::spec() const {
  return concat("monarch:blocks=", structure_.blocks, ",rank=", structure_.rank,
                structure_.interleaved ? ",interleaved=1" : "");
}

Tensor MonarchLinear::forward(const Tensor& x, const Tensor& bias) const {
  const auto [blocks, rank, interleaved] = structure_;
  if (!interleaved) return MonarchOp::apply(x, r_, l_, bias, out_features());
  // The paper's order is a permutation of the rows of R before, and of the outputs after, the contiguous one.
  const Dim p = block_rows(), q = block_columns(), rows = x.size(0);
  const Tensor r = F::reshape(F::transpose(F::reshape(r_, {blocks, block_rank(), blocks, q}), 1, 2), {blocks, rank, q});
  const Tensor y = F::reshape(MonarchOp::apply(x, r, l_, Tensor(), blocks * p), {rows, blocks, p});
  const Tensor outputs = F::slice(F::reshape(F::transpose(y, 1, 2), {rows, p * blocks}), 1, 0, out_features());
  return bias.defined() ? F::add(outputs, bias) : outputs;
}

Array MonarchLinear::dense_rows(const Array& padded, Dim i) const {
  const Dim blocks = structure_.blocks, p = block_rows();
  if (structure_.interleaved) return padded.reshape({p, blocks, padded.size(1)}).select(1, i);
  return padded.slice(0, i * p, i * p + p);
}

Array MonarchLinear::dense_block(const Array& padded, Dim i, Dim j) const {
  const Dim q = block_columns();
  return dense_rows(padded, i).slice(1, j * q, j * q + q);
}

Array MonarchLinear::left_block(const Array& l, Dim i, Dim j) const {
  return l.select(0, i).slice(1, j * block_rank(), (j + 1) * block_rank());
}

Array MonarchLinear::right_block(const Array& r, Dim i, Dim j) const {
  const auto [blocks, rank, interleaved] = structure_;
  const Array all = r.select(0, j);  // (N c, q)
  if (interleaved) return all.reshape({block_rank(), blocks, block_columns()}).select(1, i);
  return all.slice(0, i * block_rank(), (i + 1) * block_rank());
}

Array MonarchLinear::left_gram() const {
  const Dim blocks = structure_.blocks, c = block_rank();
  const Array gram = Array::zeros({blocks, structure_.rank, structure_.rank}, scope().master(), scope().device());
  for (Dim i = 0; i < blocks; ++i) {
    for (Dim j = 0; j < blocks; ++j) {
      const Dim inputs = std::clamp(in_features() - j * block_columns(), Dim{0}, block_columns());
      const Array r = right_block(r_.value(), i, j).slice(1, 0, inputs);
      copy(linalg::gram(r.transpose(0, 1)), gram.select(0, i).slice(0, j * c, j * c + c).slice(1, j * c, j * c + c));
    }
  }
  return gram;
}

Array MonarchLinear::right_gram() const {
  const auto [blocks, rank, interleaved] = structure_;
  const Dim c = block_rank();
  const Array gram = Array::zeros({blocks, rank, rank}, scope().master(), scope().device());
  for (Dim i = 0; i < blocks; ++i) {
    const Dim left = interleaved ? ceil_div(out_features() - i, blocks) : out_features() - i * block_rows();
    for (Dim j = 0; j < blocks; ++j) {
      const Array l = left_block(l_.value(), i, j).slice(0, 0, std::clamp(left, Dim{0}, block_rows()));
      const Array own = gram.select(0, j);
      const Array place = interleaved ? own.reshape({c, blocks, c, blocks}).select(1, i).select(2, i)
                                      : own.slice(0, i * c, i * c + c).slice(1, i * c, i * c + c);
      copy(linalg::gram(l), place);
    }
  }
  return gram;
}

Array MonarchLinear::to_dense() const {
  const Dim blocks = structure_.blocks;
  const Array padded = Array::zeros({blocks * block_rows(), blocks * block_columns()}, DType::f64);
  const Array r = on_host(r_), l = on_host(l_);
  for (Dim i = 0; i < blocks; ++i) {
    for (Dim j = 0; j < blocks; ++j) {
      copy(linalg::product(left_block(l, i, j), right_block(r, i, j)), dense_block(padded, i, j));
    }
  }
  return crop(padded).to(scope().master()).as_contiguous();
}

void MonarchLinear::fit(const Array& dense, const ProjectionOptions& options) {
  const Dim blocks = structure_.blocks, c = block_rank(), q = block_columns(), rows = blocks * block_rows(), columns = blocks * q;
  const Array padded = pad(dense, rows, columns), scaled = pad(weighted_matrix(dense, options, blocks), rows, columns);
  const bool has_moments = options.input_moments.defined();
  const Array moments = has_moments ? pad(with_noise(options.input_moments), columns, columns) : Array();
  const Array l = Array::empty(l_.shape(), DType::f64), r = Array::empty(r_.shape(), DType::f64);
  for (Dim i = 0; i < blocks; ++i) {
    const Array all = Array::zeros({1, structure_.rank, columns}, DType::f64);  // R_ji of all j, on its diagonal
    for (Dim j = 0; j < blocks; ++j) {
      const auto [u, v] = nearest_of_rank(dense_block(padded, i, j), dense_block(scaled, i, j), options, c);
      copy(u, left_block(l, i, j));
      copy(v.transpose(0, 1), right_block(r, i, j));
      copy(v.transpose(0, 1), all.slice(1, j * c, j * c + c).slice(2, j * q, j * q + q).select(0, 0));
    }
    if (has_moments) refit(l.select(0, i), all, dense_rows(padded, i), moments);
  }
  copy(l, l_.value());
  copy(r, r_.value());
}

LinearCost MonarchLinear::cost(Dim rows) const {
  const auto [blocks, rank, interleaved] = structure_;
  const Dim outputs = interleaved ? blocks * block_rows() : out_features();
  const Dim macs = rows * rank * (in_features() + outputs);
  const Dim params = blocks * rank * (block_rows() + block_columns());
  return {params, macs, macs, macs, rows * blocks * rank};
}

std::unique_ptr<LinearMap> make_monarch(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                        const LinearOptions& options) {
  MonarchLinear::Structure structure{};
  const auto params_per_rank = [&](Dim blocks) {
    return blocks * (ceil_div(in, blocks) + ceil_div(out, blocks));
  };
  if (spec.has("rank")) spec.one_of("rank", "ratio");
  const bool blocks_by_ratio = !spec.has("blocks") && spec.one_of("blocks", "ratio") == "ratio";
  const bool rank_by_ratio = !blocks_by_ratio && spec.has("ratio");
  const auto params = [&](Dim blocks) { return default_rank(in, out, blocks) * params_per_rank(blocks); };
  structure.blocks = blocks_by_ratio ? size_for_ratio(spec, spec.ratio(), in, out, std::min(in, out), "blocks", params)
                                     : spec.integer("blocks");
  structure.rank = rank_by_ratio ? rank_for_ratio(spec, spec.ratio(), in, out, params_per_rank(structure.blocks),
                                                  std::lcm(Dim{8}, structure.blocks))
                                 : spec.integer("rank", default_rank(in, out, structure.blocks));
  structure.interleaved = spec.flag("interleaved");
  return std::make_unique<MonarchLinear>(scope, in, out, structure, options);
}

}  // namespace ashlar
