// Checks of shapes and dtypes on every device, and of the targets' values where the host sees them.
#pragma once
#include <string_view>

#include "kernels/cross_entropy/cross_entropy.h"

namespace ashlar::kernels {

inline void check_cross_entropy(const ConstView& logits, const CrossEntropyTargets& targets, const ConstView& losses,
                                const ConstView& dlogits) {
  ASHLAR_CHECK(logits.shape.ndim() == 2 && (logits.step(1) == 1 || logits.size(1) == 1), "cross_entropy: logits ",
               logits.shape, " must be (rows, classes) with a contiguous last dimension");
  const Dim rows = logits.size(0), classes = logits.size(1);
  const DType master = master_dtype(logits.dtype);
  ASHLAR_CHECK(losses.shape == Shape{rows} && losses.dtype == master, "cross_entropy: losses must be ", master,
               " of shape (", rows, "), got ", losses.dtype, " ", losses.shape);
  if (dlogits) {
    ASHLAR_CHECK(dlogits.shape == logits.shape && (dlogits.step(1) == 1 || classes == 1),
                 "cross_entropy: dlogits ", dlogits.shape, " must have the shape of logits ", logits.shape,
                 " and a contiguous last dimension");
    const bool narrowed = logits.dtype == DType::f32 && dlogits.dtype == DType::bf16 && dlogits.data != logits.data;
    ASHLAR_CHECK(dlogits.dtype == logits.dtype || narrowed, "cross_entropy: dlogits must be ", logits.dtype,
                 " like logits, or bf16 in other memory than logits in f32, got ", dlogits.dtype);
  }
  const auto check_ids = [rows](std::string_view name, const ConstView& ids) {
    ASHLAR_CHECK(ids.shape == Shape{rows} && ids.dtype == DType::i32, "cross_entropy: ", name,
                 " must be i32 of shape (", rows, "), got ", ids.dtype, " ", ids.shape);
  };
  check_ids("target", targets.target);
  if (targets.other) check_ids("other target", targets.other);
  if (targets.weight) {
    ASHLAR_CHECK(targets.weight.shape == Shape{rows} && targets.weight.dtype == DType::f32,
                 "cross_entropy: weight must be f32 of shape (", rows, "), got ", targets.weight.dtype, " ",
                 targets.weight.shape);
    ASHLAR_CHECK(targets.other, "cross_entropy: weight divides a row between two targets; give the other target too, or no ",
                 "weight");
  }
}

// The values of targets in host memory; what is absent is not checked.
inline void check_classes(const CrossEntropyTargets& targets, Dim classes) {
  const auto id_of = [](const ConstView& ids, Dim row) { return Dim{ids.as<std::int32_t>()[row * ids.step(0)]}; };
  const auto check_ids = [&](std::string_view name, const ConstView& ids, Dim lowest) {
    for (Dim row = 0; ids && row < ids.size(0); ++row) {
      const Dim id = id_of(ids, row), least = targets.target && id_of(targets.target, row) == -1 ? -1 : lowest;
      ASHLAR_CHECK(id >= least && id < classes, "cross_entropy: ", name, " ", id, " of row ", row, " is outside [", least,
                   ", ", classes, ")");
    }
  };
  check_ids("target", targets.target, -1);
  check_ids("other target", targets.other, 0);
}

}  // namespace ashlar::kernels
