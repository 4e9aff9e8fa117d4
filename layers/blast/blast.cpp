#include "layers/blast/blast.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "autograd/function.h"
#include "autograd/operand.h"
#include "kernels/blast/blast.h"
#include "layers/blast/factorize.h"
#include "layers/blast/gram.h"

namespace ashlar {
namespace {

// The shape of what is kept for backward; none where computing it again is cheaper. On the CPU an element of A costs q
// multiply-accumulates to compute again; to write it and read it back costs about as much as 16 of them in f32 and 24 in
// bf16, and room.
std::optional<Shape> kept_shape(Device device, Dim rows, const BlastLinear::Structure& structure, Dim block_columns) {
  if (device.type == DeviceType::cpu && block_columns < 24) return std::nullopt;
  return kernels::blast_kept_shape(device, rows, structure.out_blocks, structure.in_blocks, structure.rank);
}

using autograd::as_operand;

struct BlastOp : Function<BlastOp> {
  static constexpr const char* name = "blast_linear";
  static Array forward(Context& ctx, const Array& x, const Array& u, const Array& v, const Array& s, const Array& bias,
                       const Dim& out) {
    const Array rows = x.as_contiguous(), left = as_operand(u, x.dtype()), right = as_operand(v, x.dtype());
    Array y = Array::empty({x.size(0), out}, x.dtype(), x.device()), kept;
    const auto shape = kept_shape(x.device(), x.size(0), {u.size(0), v.size(0), v.size(2)}, v.size(1));
    if (ctx.recording() && shape) kept = Array::empty(*shape, x.dtype(), x.device());
    kernels::blast_forward(x.exec(), rows, left, right, s, bias, kept, y);
    ctx.save(rows, kept, left, right, s);
    return y;
  }
  static std::array<Array, 5> backward(Context& ctx, const Array& dy) {
    const Array &x = ctx.saved(0), &kept = ctx.saved(1), &u = ctx.saved(2), &v = ctx.saved(3), &s = ctx.saved(4);
    const Array dx = ctx.gradient_like(0, x), du = ctx.gradient_like(1, u), dv = ctx.gradient_like(2, v);
    const Array ds = ctx.gradient_like(3, s), dbias = ctx.gradient_like(4, u, {dy.size(1)});
    kernels::blast_backward(dy.exec(), dy.as_contiguous(), x, kept, u, v, s, dx, du, dv, ds, dbias);
    return {dx, du, dv, ds, dbias};
  }
};

// With the padding of ragged last blocks.
Dim params_per_rank(Dim in, Dim out, Dim out_blocks, Dim in_blocks) {
  return in_blocks * ceil_div(in, in_blocks) + out_blocks * ceil_div(out, out_blocks) + out_blocks * in_blocks;
}

// The factors of one side with zeros where a ragged last block goes beyond the features: these rows take no part in W.
Array without_padding(const Tensor& factors, Dim features) {
  const Dim rows = factors.size(0) * factors.size(1);
  if (rows == features) return factors.value();
  const Array values = factors.value().clone();
  fill(values.reshape({rows, factors.size(2)}).slice(0, features, rows), 0);
  return values;
}

}  // namespace

BlastLinear::BlastLinear(const Scope& scope, Dim in, Dim out, const Structure& structure, const LinearOptions& options)
    : LinearMap(scope, in, out, options), structure_(structure) {
  const auto [out_blocks, in_blocks, rank] = structure;
  check_size("out_blocks", out_blocks, out);
  check_size("in_blocks", in_blocks, in);
  check_size("rank", rank, std::min(in, out));
  ASHLAR_CHECK(!options.authors_init, named(), ": the authors of BLAST published no initialisation; leave init=authors out");
  const auto columns = static_cast<double>(in), width = static_cast<double>(rank), blocks = static_cast<double>(in_blocks);
  u_ = param("U", {out_blocks, block_rows(), rank}, init::normal(std() * std::sqrt(columns / width)),
             {.role = Role::matrix, .fan_in = rank, .fan_out = block_rows(), .batch_dims = 1, .hidden = options.hidden,
              .lr_scale = lr_scale(rank, 3),
              .gram = [this] { return blast_factor_gram(without_padding(v_, in_features()), s_.value()); }});
  v_ = param("V", {in_blocks, block_columns(), rank}, init::normal(1.0 / std::sqrt(columns / blocks)),
             {.role = Role::matrix, .fan_in = block_columns(), .fan_out = rank, .batch_dims = 1, .hidden = options.hidden,
              .lr_scale = lr_scale(block_columns(), 3),
              .gram = [this] {
                return blast_factor_gram(without_padding(u_, out_features()), s_.value().transpose(0, 1));
              }});
  s_ = param("S", {out_blocks, in_blocks, rank}, init::normal(1.0 / std::sqrt(blocks)),
             {.role = Role::coupling, .fan_in = in_blocks, .fan_out = out_blocks, .lr_scale = lr_scale(in_blocks, 3),
              .gram = [this] {
                const Array gram = blast_coupling_gram(without_padding(u_, out_features()), without_padding(v_, in_features()));
                return gram.reshape({-1, gram.size(2), gram.size(3)});
              }});
}

std::string BlastLinear::spec() const {
  const auto [out_blocks, in_blocks, rank] = structure_;
  if (out_blocks == in_blocks) return concat("blast:blocks=", out_blocks, ",rank=", rank);
  return concat("blast:out_blocks=", out_blocks, ",in_blocks=", in_blocks, ",rank=", rank);
}

Tensor BlastLinear::forward(const Tensor& x, const Tensor& bias) const {
  return BlastOp::apply(x, u_, v_, s_, bias, out_features());
}

Array BlastLinear::to_dense() const {
  return crop(blast_to_dense({on_host(u_), on_host(v_), on_host(s_)})).to(scope().master()).as_contiguous();
}

void BlastLinear::fit(const Array& dense, const ProjectionOptions& options) {
  const auto [out_blocks, in_blocks, rank] = structure_;
  const Dim rows = out_blocks * block_rows(), columns = in_blocks * block_columns();
  const Array weighted = pad(weighted_matrix(dense, options, in_blocks), rows, columns);
  const BlastFactors factors = factorize_blast(weighted, out_blocks, in_blocks, rank,
                                               factorize_options(options.factorizer, rows * columns, rank));
  if (options.weighted()) {
    const Array& moments = options.input_moments;
    undo_weighting(factors, pad(dense, rows, columns), moments.defined() ? pad(with_noise(moments), columns, columns) : Array());
  }
  copy(factors.u, u_.value());
  copy(factors.v, v_.value());
  copy(factors.s, s_.value());
}

LinearCost BlastLinear::cost(Dim rows) const {
  const auto [out_blocks, in_blocks, rank] = structure_;
  const Dim macs = rows * rank * (in_features() + out_features() + out_blocks * in_blocks);
  const Dim params = rank * params_per_rank(in_features(), out_features(), out_blocks, in_blocks);
  const auto kept = kept_shape(scope().device(), rows, structure_, block_columns());
  return {params, macs, macs, macs, kept ? kept->numel() : 0};
}

std::unique_ptr<LinearMap> make_blast(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                      const LinearOptions& options) {
  BlastLinear::Structure structure{};
  structure.out_blocks = spec.integer(spec.one_of("blocks", "out_blocks"));
  structure.in_blocks = spec.integer(spec.one_of("blocks", "in_blocks"));
  const Dim per_rank = params_per_rank(in, out, structure.out_blocks, structure.in_blocks);
  const bool by_ratio = spec.one_of("rank", "ratio") == "ratio";
  structure.rank = by_ratio ? rank_for_ratio(spec, spec.ratio(), in, out, per_rank) : spec.integer("rank");
  return std::make_unique<BlastLinear>(scope, in, out, structure, options);
}

}  // namespace ashlar
