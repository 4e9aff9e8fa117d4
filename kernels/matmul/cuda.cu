// Matrix products by cuBLASLt, bias, GELU, its derivative and the sums of rows within. What the library does not take (a
// layout without a unit stride, operands of two dtypes) is brought into a form that it does. f32 is computed in f32, without
// TF32.
#include "core/array.h"
#include "kernels/device.cuh"
#include "kernels/matmul/cublaslt.h"
#include "kernels/matmul/forms.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace products;

// Operands of one dtype with unit strides, y by rows.
void run_library(const Exec& exec, const Problem& given) {
  const Problem p = merged_batches(given);
  if (p.batch_dims() > 1) {
    for (Dim i = 0; i < p.y.size(0); ++i) run_library(exec, select(p, 0, i));
    return;
  }
  Call call = call_of(exec, p);
  if (p.options.gelu && !(call.gelu && plan_for(call).found())) return product_then_gelu(exec, p);
  if (call.bias && !plan_for(call).found()) call.bias = false;
  if (spreads_one_by_one(exec, p, call)) {
    for (Dim i = 0; i < p.y.size(0); ++i) run_library(exec, select(p, 0, i));
    return;
  }
  if (call.row_sums && !(plan_for(call).found() && spreads_with_sums(call))) call.row_sums = nullptr;
  const Plan& plan = plan_for(call);
  if (!plan.found()) {
    throw Error(concat("matmul: ", cublasLtGetStatusName(plan.status), " from the search of cuBLASLt for an algorithm for ",
                       describe(call)));
  }
  Array bias;  // the library wants it in the dtype of the result; new memory is aligned
  if (call.bias) {
    bias = Array::empty(p.options.bias.shape, p.y.dtype, exec.device);
    copy(p.options.bias, bias);
    set_attribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, ConstView(bias).data);
  }
  if (call.row_sums) set_attribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.row_sums);
  if (call.pre_activation) set_attribute(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.pre_activation);
  const Array workspace = Array::empty({static_cast<Dim>(kWorkspace)}, DType::u8, exec.device);
  const double alpha = 1, beta = p.options.accumulate ? 1 : 0;
  const auto alpha32 = static_cast<float>(alpha), beta32 = static_cast<float>(beta);
  const bool f64 = p.y.dtype == DType::f64;
  const cublasStatus_t status =
      cublasLtMatmul(handle_of(call.device), plan.product, f64 ? static_cast<const void*>(&alpha) : &alpha32, p.b.data, plan.b,
                     p.a.data, plan.a, f64 ? static_cast<const void*>(&beta) : &beta32, p.y.data, plan.y, p.y.data, plan.y,
                     &plan.algorithms[plan.taken], View(workspace).data, kWorkspace, queue(exec));
  // Others were refused products that the search had found: with a bias (pytorch/pytorch#91436), and of operands that lie at
  // odd addresses (pytorch/pytorch#92201).
  if (refuses(status) && (give_up(call, status) || call.epilogue() != CUBLASLT_EPILOGUE_DEFAULT)) {
    return run_library(exec, given);
  }
  check_library(status, "cublasLtMatmul", __FILE__, __LINE__);
  if (p.options.bias && !call.bias) linear_combination(exec, bias_rows(p.options.bias, p.y), 1, p.y, 1, p.y);
  if (p.options.row_sums && !call.row_sums) sum_rows(exec, p.a, p.options.row_sums);
}

// A checked problem of any layout, with K > 0 and a y that is not empty.
void multiply(const Exec& exec, const Problem& given) {
  Problem p = by_rows_of_y(given);
  const bool bf16 = p.a.dtype == DType::bf16 || p.b.dtype == DType::bf16;
  const DType dtype = p.y.dtype == DType::f64 ? DType::f64 : bf16 ? DType::bf16 : DType::f32;
  if (p.options.row_sums && p.a.dtype != dtype) sum_rows(exec, p.a, std::exchange(p.options.row_sums, {}));
  Array a, b, y;
  if (p.a.dtype != dtype || !matrix_layout(p.a)) p.a = a = converted(exec, p.a, dtype);
  if (p.b.dtype != dtype || !matrix_layout(p.b)) p.b = b = converted(exec, p.b, dtype);
  const View target = p.y;
  const auto y_layout = matrix_layout(p.y);
  const bool direct = (target.dtype == dtype || dtype == DType::bf16) && y_layout && y_layout->by_rows;
  if (!direct) y = redirect(exec, p, dtype == DType::f64 ? DType::f64 : DType::f32);
  run_library(exec, p);
  if (!direct) cast(exec, y, target);
}

}  // namespace

void matmul(const Exec& exec, ConstView a, ConstView b, View y, MatmulOptions options) {
  const Problem p = check(a, b, y, options);
  if (y.numel() == 0 || p.k() == 0) {
    if (options.row_sums) sum_rows(exec, p.a, options.row_sums);
    if (y.numel() == 0) return;
    return options.gelu ? product_then_gelu(exec, p) : empty_sum(exec, y, options);
  }
  multiply(exec, p);
}

}  // namespace ashlar::kernels::cuda
