#include "layers/ss1/ss1.h"

#include <algorithm>
#include <cmath>

#include "autograd/function.h"
#include "autograd/operand.h"
#include "core/random.h"
#include "core/rounding.h"
#include "kernels/ss1/checks.h"
#include "kernels/ss1/ss1.h"

namespace ashlar {
namespace {

struct Tables {
  Array shift, sign;  // (H, G, c)
};

using autograd::as_operand;

struct Ss1Op : Function<Ss1Op> {
  static constexpr const char* name = "ss1_linear";
  static Array forward(Context& ctx, const Array& x, const Array& z, const Array& bias, const Tables& tables) {
    const Dim rows = x.size(0);
    const Array weights = as_operand(z, x.dtype());
    const Array y = Array::empty({rows, z.size(0)}, x.dtype(), x.device()), rows_of_x = x.as_contiguous();
    const bool keeps_x = tables.shift.size(0) * z.size(1) > x.size(1);  // the narrower of the two
    Array u;
    if (ctx.recording() && !keeps_x) u = Array::empty({tables.shift.size(0), rows, z.size(1)}, x.dtype(), x.device());
    kernels::ss1_forward(x.exec(), rows_of_x, tables.shift, tables.sign, weights, bias, u, y);
    ctx.save(keeps_x ? rows_of_x : Array(), u, weights);
    ctx.keep(std::pair(tables, x.size(1)));
    return y;
  }
  static std::array<Array, 3> backward(Context& ctx, const Array& dy) {
    const auto& [tables, in] = ctx.kept<std::pair<Tables, Dim>>();
    const Array &x = ctx.saved(0), &u = ctx.saved(1), &z = ctx.saved(2);
    const Array dx = ctx.gradient_like(0, dy, {dy.size(0), in}), dz = ctx.gradient_like(1, z);
    const Array dbias = ctx.gradient_like(2, z, {dy.size(1)});
    kernels::ss1_backward(dy.exec(), dy.as_contiguous(), x, u, tables.shift, tables.sign, z, dx, dz, dbias);
    return {dx, dz, dbias};
  }
};

// About 32, as in the released kernels, and such that little or nothing needs padding.
Dim default_block(Dim in, Dim reduction) {
  const Dim groups = std::max<Dim>(1, (in + 16 * reduction) / (32 * reduction));
  return ceil_div(in, groups * reduction);
}

Dim groups_of(Dim in, Dim reduction, Dim block) { return ceil_div(in, reduction * block); }

}  // namespace

Ss1Linear::Ss1Linear(const Scope& scope, Dim in, Dim out, const Structure& structure, const LinearOptions& options)
    : LinearMap(scope, in, out, options), structure_(structure) {
  const auto [c, block, classes] = structure;
  check_size("reduction", c, in);
  check_size("block", block, ceil_div(in, c));
  if (classes > 0) check_size("classes", classes, out);
  const Shape table{std::max<Dim>(1, classes), groups_of(in, c, block), c};
  std::vector<std::int32_t> shift(static_cast<std::size_t>(table.numel())), sign(shift.size(), 1);
  const Random shifts(key_of(scope.seed(), scope.below("shift"))), signs(key_of(scope.seed(), scope.below("sign")));
  for (std::size_t entry = 0; entry < shift.size(); ++entry) {
    if (classes > 0) {
      shift[entry] = static_cast<std::int32_t>(shifts.below(entry, static_cast<std::uint32_t>(block)));
      sign[entry] = signs.below(entry, 2) == 0 ? 1 : -1;
    } else {
      // Rotations by VEC features keep vectors aligned. Blocks that are no multiple of it are rotated by single ones.
      const Dim vec = block % 8 == 0 ? 8 : 1, i = static_cast<Dim>(entry) % c;
      shift[entry] = static_cast<std::int32_t>(vec * 45007 * i % block);
    }
  }
  // Kernels on a GPU take the tables as they are.
  shift_ = buffer("shift", Array::from(shift, table), [length = block](const Array& values) {
    kernels::ss1::check_shifts("ss1", length, values.to(DType::i32).to_vector<std::int32_t>());
  });
  sign_ = buffer("sign", Array::from(sign, table), [](const Array& values) {
    kernels::ss1::check_signs("ss1", values.to(DType::i32).to_vector<std::int32_t>());
  });
  z_ = param("Z", {out, width()}, factor_init(std(), width()),
             {.role = Role::matrix, .fan_in = in, .fan_out = out, .hidden = options.hidden});
}

std::string Ss1Linear::spec() const {
  const auto [c, block, classes] = structure_;
  return concat("ss1:reduction=", c, ",block=", block, classes > 0 ? concat(",classes=", classes) : "");
}

Tensor Ss1Linear::forward(const Tensor& x, const Tensor& bias) const {
  return Ss1Op::apply(x, z_, bias, Tables{shift_, sign_});
}

template <class Body>
void Ss1Linear::for_entries(Body&& body) const {
  const Dim block = structure_.block, reduction = structure_.reduction, chunks = groups() * reduction;
  const auto shift = shift_.to_vector<std::int32_t>(), sign = sign_.to_vector<std::int32_t>();
  const std::string operation = concat("ss1 ", scope().path());
  kernels::ss1::check_shifts(operation, block, shift);  // whoever holds the buffers may have changed them
  kernels::ss1::check_signs(operation, sign);
  const kernels::Side classes = kernels::ss1::classes_of(shift_.size(0), out_features());
  for (Dim h = 0; h < classes.blocks; ++h) {
    for (Dim chunk = 0; chunk < chunks; ++chunk) {
      const auto entry = static_cast<std::size_t>(h * chunks + chunk);
      for (Dim k = 0; k < block; ++k) {
        const Dim column = chunk * block + (k + shift[entry]) % block, place = chunk / reduction * block + k;
        if (column >= in_features()) continue;
        for (Dim row = classes.begin(h); row < classes.begin(h) + classes.count(h); ++row) {
          body(row, column, row * width() + place, sign[entry]);
        }
      }
    }
  }
}

Array Ss1Linear::to_dense() const {
  const Array dense = Array::zeros({out_features(), in_features()}, DType::f64);
  const Array z = on_host(z_);
  for_entries([&](Dim row, Dim column, Dim k, int sign) {
    dense.data<double>()[row * in_features() + column] = sign * z.data<double>()[k];
  });
  return dense.to(scope().master());
}

void Ss1Linear::fit(const Array& dense, const ProjectionOptions& options) {
  const Array z = Array::zeros(z_.shape(), DType::f64);
  std::vector<int> uses(static_cast<std::size_t>(z.numel()));  // fewer than c where some are in the padding
  for_entries([&](Dim row, Dim column, Dim k, int sign) {
    z.data<double>()[k] += sign * dense.data<double>()[row * in_features() + column];
    ++uses[static_cast<std::size_t>(k)];
  });
  for (std::size_t k = 0; k < uses.size(); ++k) z.data<double>()[k] /= std::max(1, uses[k]);
  if (options.input_moments.defined()) {
    const kernels::Side classes = kernels::ss1::classes_of(shift_.size(0), out_features());
    const Array sketches = Array::zeros({classes.blocks, width(), in_features()}, DType::f64);  // u_h = sketch_h x
    for_entries([&](Dim row, Dim column, Dim k, int sign) {
      sketches.data<double>()[(row / classes.length * width() + k % width()) * in_features() + column] = sign;
    });
    refit(z, sketches, dense, with_noise(options.input_moments));
  }
  copy(z, z_.value());
}

LinearCost Ss1Linear::cost(Dim rows) const {
  const Dim params = out_features() * width(), macs = rows * params;
  const Dim sketches = shift_.size(0) * width();
  return {params, macs, macs, macs, sketches > in_features() ? 0 : rows * sketches};
}

std::unique_ptr<LinearMap> make_ss1(const Scope& scope, Dim in, Dim out, const LinearSpec& spec,
                                    const LinearOptions& options) {
  Ss1Linear::Structure structure{};
  const auto block_of = [&](Dim reduction) { return spec.integer("block", default_block(in, reduction)); };
  const auto params = [&](Dim reduction) {
    const Dim block = block_of(reduction);
    return out * groups_of(in, reduction, block) * block;
  };
  const bool by_ratio = spec.one_of("reduction", "ratio") == "ratio";
  structure.reduction = by_ratio ? size_for_ratio(spec, spec.ratio(), in, out, in, "reduction", params)
                                 : spec.integer("reduction");
  structure.block = block_of(structure.reduction);
  if (spec.has("classes")) structure.classes = spec.integer("classes");
  return std::make_unique<Ss1Linear>(scope, in, out, structure, options);
}

}  // namespace ashlar
