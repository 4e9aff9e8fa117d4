// Cross-entropy, by itself and fused with the product that makes the logits.
#include <algorithm>

#include "autograd/checks.h"
#include "autograd/function.h"
#include "autograd/operand.h"
#include "autograd/ops.h"
#include "core/rounding.h"
#include "kernels/cross_entropy/checks.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"

namespace ashlar::F {
namespace {

// Rows of logits, of `row_bytes` each, that linear_cross_entropy holds at a time, in parts of about equal size: together at
// most 16 MiB on the CPU, where they should stay near the cache, and most_logit_bytes on a GPU, in whole tiles of its products;
// more only where a single row is larger.
Dim rows_at_once(Dim rows, Dim row_bytes, Dim most_logit_bytes, Device device) {
  const bool cpu = device.type == DeviceType::cpu;
  const Dim fitting = std::max<Dim>((cpu ? Dim{16} << 20 : most_logit_bytes) / std::max<Dim>(row_bytes, 1), 1);
  const Dim tile = cpu || fitting < 128 ? 1 : 128, most = fitting / tile * tile;
  const Dim parts = std::max<Dim>(ceil_div(rows, most), 1);
  return std::clamp<Dim>(round_up(ceil_div(rows, parts), tile), 1, std::max<Dim>(rows, 1));
}
// On a GPU rows begin at whole cache lines, whatever the size of the vocabulary: misaligned ones halve the speed.
Dim logits_stride(Dim vocabulary, Device device) {
  return device.type == DeviceType::cpu ? vocabulary : round_up(vocabulary, 64);
}

// A copy of weight (V, C) in another dtype, with rows of zeros after it up to `rows`.
Array converted_and_padded(const Array& weight, DType dtype, Dim rows) {
  if (rows == weight.size(0)) return weight.to(dtype);
  Array padded = Array::empty({rows, weight.size(1)}, dtype, weight.device());
  copy(weight, padded.slice(0, 0, weight.size(0)));
  fill(padded.slice(0, weight.size(0), rows), 0);
  return padded;
}

void check_targets(std::string_view name, const Targets& targets, Dim rows) {
  const Shape shape{rows};
  const auto check = [&](const char* what, const Array& a, DType dtype) {
    ASHLAR_CHECK(a.shape() == shape && a.dtype() == dtype, name, ": ", what, " must be ", dtype, shape, ", got ", a.dtype(),
                 a.shape());
  };
  ASHLAR_CHECK(targets.target.defined(), name, ": needs targets i32", shape);
  check("targets", targets.target, DType::i32);
  if (targets.other.defined()) check("second targets", targets.other, DType::i32);
  if (targets.weight.defined()) check("weights", targets.weight, DType::f32);
}

// One over the number of rows that count.
double row_weight(const Targets& targets) {
  Dim counted = targets.counted;
  if (counted < 0) {
    const auto ids = targets.target.to_vector<std::int32_t>();
    counted = std::ranges::count_if(ids, [](std::int32_t id) { return id != -1; });
  }
  return counted ? 1.0 / static_cast<double>(counted) : 0.0;
}

kernels::CrossEntropyTargets rows_of(const Targets& targets, Dim begin, Dim end) {
  const auto part = [&](const Array& a) { return a.defined() ? ConstView(a.slice(0, begin, end)) : ConstView(); };
  return {part(targets.target), part(targets.other), part(targets.weight), targets.smoothing};
}

Array mean_loss(const Array& losses, double weight) {
  Array total = Array::empty({1}, losses.dtype(), losses.device());
  kernels::sum_to(losses.exec(), losses, total);
  kernels::scale(losses.exec(), total, weight, total);
  return total.reshape(Shape{});
}

// The targets where the logits are. Mostly they come from the host, the last place where their values can be checked: no kernel
// on a GPU can throw.
Targets on_device(const Targets& targets, Dim classes, Device device) {
  const auto on_host = [](const Array& a) { return a.defined() && a.device() == Device{} ? ConstView(a) : ConstView(); };
  kernels::check_classes({on_host(targets.target), on_host(targets.other)}, classes);
  return {targets.target.to(device), targets.other.to(device), targets.weight.to(device), targets.smoothing};
}

// gradient * dy for a scalar dy. On the CPU the common dy = 1 costs nothing; a GPU is not asked for its value, which
// would mean waiting for it.
Array times_scalar(const Array& gradient, const Array& dy) {
  if (gradient.device().type != DeviceType::cpu) {
    kernels::multiply(gradient.exec(), gradient, dy.reshape(Shape{}).expand(gradient.shape()), gradient);
    return gradient;
  }
  const double factor = dy.item();
  if (factor != 1.0) kernels::scale(gradient.exec(), gradient, factor, gradient);
  return gradient;
}

// Saved for backward: the gradient itself.
struct CrossEntropy : Function<CrossEntropy> {
  static constexpr const char* name = "cross_entropy";
  static Array forward(Context& ctx, const Array& logits, const Targets& targets) {
    ASHLAR_CHECK(logits.ndim() == 2, "cross_entropy: logits must be (R, V), got ", logits.shape());
    check_targets(name, targets, logits.size(0));
    const Targets here = on_device(targets, logits.size(1), logits.device());
    const double weight = row_weight(targets);
    const Array rows = logits.as_contiguous();
    Array losses = Array::empty({logits.size(0)}, master_dtype(logits.dtype()), logits.device());
    Array gradient = ctx.recording() ? empty_like(rows) : Array();
    kernels::cross_entropy(logits.exec(), rows, rows_of(here, 0, logits.size(0)), weight, losses, gradient);
    ctx.keep(gradient);
    return mean_loss(losses, weight);
  }
  static std::array<Array, 1> backward(Context& ctx, const Array& dy) { return {times_scalar(ctx.kept<Array>(), dy)}; }
};

// Saved for backward: both gradients.
struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static constexpr const char* name = "linear_cross_entropy";
  static Array forward(Context& ctx, const Array& x, const Array& weight, const Targets& targets, const Dim& most_logit_bytes) {
    ASHLAR_CHECK(x.ndim() == 2 && weight.ndim() == 2 && x.size(1) == weight.size(1), "linear_cross_entropy: x ",
                 x.shape(), " must be (R, C) and weight ", weight.shape(), " (V, C)");
    ASHLAR_CHECK(!ctx.needs_grad(1) || weight.dtype() == master_dtype(x.dtype()),
                 "linear_cross_entropy: a weight that is trained for ", x.dtype(), " must be ", master_dtype(x.dtype()), ", got ",
                 weight.dtype());
    ASHLAR_CHECK(master_dtype(weight.dtype()) == master_dtype(x.dtype()), "linear_cross_entropy: x is ", x.dtype(),
                 " and weight ", weight.dtype(), "; cast one of them");
    check_targets(name, targets, x.size(0));
    const Dim rows = x.size(0), vocabulary = weight.size(0);
    const Device device = x.device();
    // Logits in the dtype of x would halve the traffic; a GPU, which lives on bandwidth, gets them so.
    const bool cpu = device.type == DeviceType::cpu;
    const DType master = master_dtype(weight.dtype()), logits_dtype = cpu ? master : x.dtype();
    const bool convert = autograd::wants_weights_in(x.dtype(), device);
    // Products of tensor cores want every extent in whole vectors: a copy of the weight has them, with zeros that make
    // logits and gradients of zero in the padding.
    const Dim stride = logits_stride(vocabulary, device), columns = convert ? stride : vocabulary;
    const Array w = convert ? converted_and_padded(weight, x.dtype(), columns) : weight;
    const double row = row_weight(targets);
    const Targets here = on_device(targets, vocabulary, device);
    const bool need_x = ctx.needs_grad(0), need_weight = ctx.needs_grad(1);

    Array losses = Array::empty({rows}, master, x.device());
    Array dx = need_x ? empty_like(x) : Array();
    Array dweight = need_weight ? Array::empty({columns, weight.size(1)}, master, x.device()) : Array();
    const Dim chunk = rows_at_once(rows, stride * static_cast<Dim>(size_of(logits_dtype)), most_logit_bytes, device);
    const Array logits = Array::empty({chunk, stride}, logits_dtype, device).slice(1, 0, columns);
    Array dlogits;
    if (need_x || need_weight) {
      dlogits = convert && logits_dtype != x.dtype() ? Array::empty(logits.shape(), x.dtype(), device) : logits;
    }
    const auto classes = [&](const Array& a) { return a.defined() ? a.slice(1, 0, vocabulary) : Array(); };
    for (Dim begin = 0; begin < rows; begin += chunk) {
      const Dim end = std::min(rows, begin + chunk);
      const Array part = x.slice(0, begin, end);
      const Array scores = logits.slice(0, 0, end - begin);
      const Array dscores = dlogits.defined() ? dlogits.slice(0, 0, end - begin) : Array();
      kernels::matmul(x.exec(), part, w.transpose(0, 1), scores, {});
      kernels::cross_entropy(x.exec(), classes(scores), rows_of(here, begin, end), row, losses.slice(0, begin, end),
                             classes(dscores));
      if (need_x) kernels::matmul(x.exec(), dscores, w, dx.slice(0, begin, end), {});
      if (need_weight) {
        kernels::matmul(x.exec(), dscores.transpose(0, 1), part, dweight, {.accumulate = begin > 0});
      }
    }
    if (need_weight && rows == 0) fill(dweight, 0);
    if (need_weight) dweight = dweight.slice(0, 0, vocabulary);
    ctx.keep(std::array<Array, 2>{dx, dweight});
    return mean_loss(losses, row);
  }
  static std::array<Array, 2> backward(Context& ctx, const Array& dy) {
    std::array<Array, 2> gradients = ctx.kept<std::array<Array, 2>>();
    for (Array& gradient : gradients) {
      if (gradient.defined()) gradient = times_scalar(gradient, dy);
    }
    return gradients;
  }
};

}  // namespace

Tensor cross_entropy(const Tensor& logits, const Targets& targets) {
  autograd::check_defined(CrossEntropy::name, logits);
  return CrossEntropy::apply(logits, targets);
}

Tensor linear_cross_entropy(const Tensor& x, const Tensor& weight, const Targets& targets, Dim most_logit_bytes) {
  autograd::check_defined(LinearCrossEntropy::name, x, weight);
  return LinearCrossEntropy::apply(x, weight, targets, most_logit_bytes);
}

}  // namespace ashlar::F
