// Attention on CUDA: checks, and the choice between cuDNN, tensor cores and the plain kernels.
#include "core/array.h"
#include "kernels/attention/checks.h"
#include "kernels/attention/cuda.h"
#include "kernels/device.cuh"
#include "kernels/vectors.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace attention;

template <class... Views>
bool for_tensor_cores(const ConstView& q, const Views&... others) {
  const Dim depth = q.size(3);
  return q.dtype == DType::bf16 && (depth == 32 || depth == 64 || depth == 128) && rows_aligned(q) && (rows_aligned(others) && ...);
}

void check_contiguous_rows(std::string_view operation, const ConstView& lse) {
  ASHLAR_CHECK(lse.contiguous(), operation, ": lse ", lse.shape, " must be contiguous on a GPU");
}

}  // namespace

void attention_forward(const Exec& exec, ConstView q, ConstView k, ConstView v, double scale, bool causal, View o,
                       View lse) {
  constexpr std::string_view kName = "attention_forward";
  check_forward(kName, q, k, v, o);
  if (lse) {
    check_lse(kName, q, lse);
    check_contiguous_rows(kName, lse);
  }
  if (q.numel() == 0) return;
  const ForwardCall call{q, k, v, scale, causal, o, lse};
#ifdef ASHLAR_HAS_CUDNN
  if (forward_cudnn(exec, call)) return;
#endif
  if (scale > 0 && !is_decoding(call) && for_tensor_cores(q, k, v, o)) forward_tensor_cores(exec, call);
  else forward_plain(exec, call);
}

void attention_backward(const Exec& exec, ConstView d_o, ConstView q, ConstView k, ConstView v, ConstView o, ConstView lse,
                        double scale, bool causal, View dq, View dk, View dv) {
  constexpr std::string_view kName = "attention_backward";
  check_heads(kName, q, {{"d_o", d_o}, {"k", k}, {"v", v}, {"o", o}, {"dq", dq}, {"dk", dk}, {"dv", dv}});
  check_lse(kName, q, lse);
  check_contiguous_rows(kName, lse);
  if (q.numel() == 0) return;
  BackwardCall call{d_o, q, k, v, o, lse, scale, causal, dq, dk, dv};
#ifdef ASHLAR_HAS_CUDNN
  if (backward_cudnn(exec, call)) return;
#endif
  const bool tensor_cores = for_tensor_cores(q, k, v, d_o, o, dq, dk, dv);
  if (tensor_cores && q.size(2) <= kShortContext) return backward_short(exec, call);
  const Array delta = Array::empty(lse.shape, lse.dtype, exec.device);
  call.delta = delta;
  if (tensor_cores) backward_tensor_cores(exec, call);
  else backward_plain(exec, call);
}

}  // namespace ashlar::kernels::cuda
