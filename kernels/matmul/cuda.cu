// Matrix products by cuBLASLt, bias, GELU, its derivative and the sums of rows within. What the library does not take (a
// layout without a unit stride, operands of two dtypes) is brought into a form that it does. f32 is computed in f32, without
// TF32.
#include <cublasLt.h>

#include <map>
#include <mutex>
#include <vector>

#include "kernels/device.cuh"
#include "kernels/matmul/cuda.h"
#include "kernels/matmul/layout.h"

namespace ashlar::kernels::cuda {
namespace {

using namespace device;
using namespace products;

void check_library(cublasStatus_t status, const char* call, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(concat("cuda: ", cublasLtGetStatusString(status), " (", cublasLtGetStatusName(status), ") from ", call, " at ",
                     __FILE__, ":", line));
}
#define ASHLAR_CUBLAS_CHECK(call) check_library((call), #call, __LINE__)

constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // what NVIDIA recommends for Hopper

cublasLtHandle_t handle_of(int device) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  if (!handle) {
    ashlar::cuda::stream(device);  // makes it the current one
    ASHLAR_CUBLAS_CHECK(cublasLtCreate(&handle));
  }
  return handle;
}

cudaDataType_t library_dtype(DType dtype) {
  return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// The largest power of two, up to 256, that divides the address, and the distance from one product of a batch to the next.
std::uint32_t alignment_of(const void* data, DType dtype, Dim step) {
  const auto bits = reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(step) * size_of(dtype) | 256u;
  return static_cast<std::uint32_t>(bits & ~(bits - 1));
}
// The search knows nothing of how a bias or sums lie, and may choose a kernel that takes them 16 bytes at a time.
constexpr std::uint32_t kVectorAlignment = 16;

// What the choice of an algorithm depends on. The library sees columns: it computes yᵀ (N, M) = bᵀ aᵀ.
struct Call {
  int device;
  DType operands, result;
  Dim m, n, k, batch;           // of y (M, N) = a (M, K) b (K, N)
  MatrixLayout a, b;
  Dim ld_y, a_step, b_step, y_step;  // steps from one product of the batch to the next
  std::uint32_t a_alignment, b_alignment, y_alignment;
  Dim vector_step;  // of bias or row_sums, from one product to the next; 0: all have the same
  bool bias, accumulate, gelu;
  bool derivative;  // the product is multiplied with that of GELU
  // Of these, which may be null, only the alignment matters here: at least kVectorAlignment.
  void* pre_activation;  // (M, N) without gaps: receives what GELU is taken of, or is read for its derivative
  void* row_sums;        // (M) of each product: receives the sums of a's rows

  std::vector<Dim> key() const {
    return {device, static_cast<Dim>(operands), static_cast<Dim>(result), m, n, k, batch, a.by_rows, a.ld, b.by_rows, b.ld,
            ld_y, a_step, b_step, y_step, a_alignment, b_alignment, y_alignment, vector_step, bias,
            accumulate, gelu, derivative,
            pre_activation ? alignment_of(pre_activation, result, 0) : 0, row_sums ? alignment_of(row_sums, result, 0) : 0};
  }

  cublasLtEpilogue_t epilogue() const {
    if (row_sums) return CUBLASLT_EPILOGUE_BGRADB;  // our a is their B
    if (derivative) return CUBLASLT_EPILOGUE_DGELU;
    if (!gelu) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
    if (!pre_activation) return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  }
};

struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, y = nullptr;
  cublasLtMatmulAlgo_t algorithm{};
  bool found = false;
};

cublasLtMatrixLayout_t make_layout(DType dtype, Dim rows, Dim columns, Dim ld, Dim batch, Dim step) {
  cublasLtMatrixLayout_t layout = nullptr;
  ASHLAR_CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&layout, library_dtype(dtype), static_cast<std::uint64_t>(rows),
                                                 static_cast<std::uint64_t>(columns), ld));
  const auto count = static_cast<std::int32_t>(batch);
  ASHLAR_CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
  ASHLAR_CUBLAS_CHECK(
      cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step));
  return layout;
}

template <class Value>
void set(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value));
}
template <class Value>
void set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
}

Plan make_plan(const Call& c) {
  const bool f64 = c.operands == DType::f64;
  Plan plan;
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulDescCreate(&plan.product, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                               f64 ? CUDA_R_64F : CUDA_R_32F));
  // Rows of ours are columns of theirs: what is stored by rows is already the transpose that they want.
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, c.b.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T);
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, c.a.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T);
  set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, c.epilogue());
  if (c.bias || c.row_sums) {
    set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, library_dtype(c.result));
    if (c.vector_step > 0) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, c.vector_step);
  }
  // The search reads the alignment of pointers.
  if (c.row_sums) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.row_sums);
  if (c.pre_activation) {
    set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, c.pre_activation);
    set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, c.n);
  }
  plan.b = make_layout(c.operands, c.b.by_rows ? c.n : c.k, c.b.by_rows ? c.k : c.n, c.b.ld, c.batch, c.b_step);
  plan.a = make_layout(c.operands, c.a.by_rows ? c.k : c.m, c.a.by_rows ? c.m : c.k, c.a.ld, c.batch, c.a_step);
  plan.y = make_layout(c.result, c.n, c.m, c.ld_y, c.batch, c.y_step);

  cublasLtMatmulPreference_t preference = nullptr;
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, c.b_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, c.a_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c.y_alignment);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c.y_alignment);
  // A split inner dimension is added up in f32 and in order. On Hopper cuBLASLt 12 and 13 were seen to leave out what one in
  // bf16 has beyond whole tiles of 64 when they split it (facebookexperimental/triton#2767): such stay whole.
  const bool may_split = c.operands != DType::bf16 || c.k % 64 == 0;
  const std::uint32_t schemes = may_split ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE;
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  cublasLtMatmulHeuristicResult_t best{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_of(c.device), plan.product, plan.b, plan.a, plan.y,
                                                               plan.y, preference, 1, &best, &count);
  cublasLtMatmulPreferenceDestroy(preference);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) {
    check_library(status, "cublasLtMatmulAlgoGetHeuristic", __LINE__);
  }
  plan.found = status == CUBLAS_STATUS_SUCCESS && count == 1;
  plan.algorithm = best.algo;
  return plan;
}

// The search takes longer than most products: each kind of call is looked up once. While a stream is recorded the search of
// CUDA 13.3 fails (mudler/vllm.cpp#1732): a failure is not kept.
const Plan& plan_for(const Call& call) {
  static std::mutex mutex;
  static std::map<std::vector<Dim>, Plan> cache;
  const std::lock_guard lock(mutex);
  std::vector<Dim> key = call.key();
  const auto found = cache.find(key);
  return found != cache.end() ? found->second : cache.emplace(std::move(key), make_plan(call)).first->second;
}

// y += bias on every row; bias (N), or (B, 1, N) for y (B, M, N), which may have lost a B of 1.
void add_bias(const Exec& exec, const View& y, const ConstView& bias) {
  ConstView rows = bias;
  rows.shape = y.shape;
  rows.stride = {};
  rows.stride[static_cast<std::size_t>(y.shape.ndim() - 1)] = bias.step(-1);
  if (y.shape.ndim() > 2 && bias.shape.ndim() > 1) rows.stride[0] = bias.step(0);
  linear_combination(exec, rows, 1.0, y, 1.0, y);
}

// What GELU is taken of: written beside it, or read for its derivative, or absent.
ConstView pre_activation_of(const Problem& p) {
  return p.options.gelu_at ? p.options.gelu_at : ConstView(p.options.pre_activation);
}

// Whether the library may be asked for this GELU: it has the tanh formula alone, and wants rows of the pre-activation to be
// of a multiple of 8 values and aligned. Others have found it inside a product of bf16 on Hopper, but on Ada in a kernel
// behind it, and there and on Blackwell slower than a pass (karpathy/llm.c#338, #591, sgl-project/sglang#34350).
bool has_gelu_epilogue(const Exec& exec, const Problem& p) {
  const ConstView z = pre_activation_of(p);
  const bool z_fits = !z || (p.n() % 8 == 0 && alignment_of(z.data, z.dtype, 0) >= kVectorAlignment);
  return p.options.gelu == Gelu::tanh && p.y.dtype == DType::bf16 && z_fits &&
         attribute(exec, cudaDevAttrComputeCapabilityMajor) == 9;
}

// Operands of one dtype with unit strides, y by rows.
void run_library(const Exec& exec, const Problem& given) {
  const Problem p = merged_batches(given);
  if (p.batch_dims() > 1) {
    for (Dim i = 0; i < p.y.size(0); ++i) run_library(exec, select(p, 0, i));
    return;
  }
  const bool batched = p.batch_dims() == 1;
  const auto step = [&](const ConstView& v) { return batched ? v.step(0) : Dim{0}; };
  const auto alignment = [&](const ConstView& v) { return alignment_of(v.data, v.dtype, step(v)); };
  const ConstView y = p.y;
  const View& sums = p.options.row_sums;
  const bool f64 = y.dtype == DType::f64;  // in which the library has no epilogues
  const Dim vector_step = !batched ? 0 : sums ? sums.step(0) : p.options.bias.shape.ndim() > 1 ? p.n() : 0;
  const auto in_epilogue = [&](const void* vector) {
    return !f64 && alignment_of(vector, y.dtype, vector_step) >= kVectorAlignment;
  };
  const bool gelu = has_gelu_epilogue(exec, p);
  Call call{exec.device.index, p.a.dtype, y.dtype, p.m(), p.n(), p.k(), batched ? y.size(0) : 1,
            *matrix_layout(p.a), *matrix_layout(p.b), p.m() == 1 ? p.n() : y.step(-2), step(p.a), step(p.b), step(y),
            alignment(p.a), alignment(p.b), alignment(y), vector_step, p.options.bias && in_epilogue(nullptr),
            p.options.accumulate, gelu, gelu && p.options.gelu_at,
            const_cast<void*>(pre_activation_of(p).data),  // the library takes what it reads and what it writes alike
            sums && sums.dtype == y.dtype && in_epilogue(sums.data) ? sums.data : nullptr};
  if (p.options.gelu && !(call.gelu && plan_for(call).found)) return product_then_gelu(exec, p);
  if (call.bias && !plan_for(call).found) call.bias = false;
  if (call.row_sums && !plan_for(call).found) call.row_sums = nullptr;
  Plan plan = plan_for(call);
  if (!plan.found) {
    throw Error(concat("matmul: cuBLASLt has no algorithm for a ", p.a.dtype, p.a.shape, ", b ", p.b.dtype, p.b.shape,
                       ", y ", y.dtype, y.shape));
  }
  Array bias;  // the library wants it in the dtype of the result; new memory is aligned
  if (call.bias) {
    bias = Array::empty(p.options.bias.shape, y.dtype, exec.device);
    ashlar::cuda::copy(exec.device.index, p.options.bias, bias);
    set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, ConstView(bias).data);
  }
  if (call.row_sums) set(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, call.row_sums);
  if (call.pre_activation) set(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, call.pre_activation);
  const Array workspace = Array::empty({static_cast<Dim>(kWorkspace)}, DType::u8, exec.device);
  const double alpha = 1, beta = p.options.accumulate ? 1 : 0;
  const auto alpha32 = static_cast<float>(alpha), beta32 = static_cast<float>(beta);
  ASHLAR_CUBLAS_CHECK(cublasLtMatmul(handle_of(call.device), plan.product, f64 ? static_cast<const void*>(&alpha) : &alpha32,
                                     p.b.data, plan.b, p.a.data, plan.a, f64 ? static_cast<const void*>(&beta) : &beta32,
                                     y.data, plan.y, p.y.data, plan.y, &plan.algorithm, View(workspace).data, kWorkspace,
                                     queue(exec)));
  if (p.options.bias && !call.bias) add_bias(exec, p.y, p.options.bias);
  if (sums && !call.row_sums) sum_rows(exec, p.a, sums);
}

// A copy in `dtype` that keeps stride 0 for repeated batches, so that only distinct values are converted; each of its matrices
// is contiguous.
Array converted(const Exec& exec, const ConstView& v, DType dtype) {
  ConstView distinct = v;
  for (int d = 0; d < v.shape.ndim() - 2; ++d) {
    if (v.step(d) == 0) distinct.shape = distinct.shape.with(d, 1);
  }
  const Array result = Array::empty(distinct.shape, dtype, exec.device);
  ashlar::cuda::copy(exec.device.index, distinct, result);
  return result.expand(v.shape);
}

// A copy of weights that are contiguous along their columns keeps that order: the library takes both.
Array operand(const Exec& exec, const ConstView& v, DType dtype) {
  const auto layout = matrix_layout(v);
  if (!layout || layout->by_rows) return converted(exec, v, dtype);
  return converted(exec, transposed(v), dtype).transpose(-2, -1);
}

// A checked problem of any layout, with K > 0 and a y that is not empty.
void multiply(const Exec& exec, Problem p) {
  // The library writes rows. A y with unit stride along its columns is the product of the transposed operands.
  if (p.y.step(-1) != 1 && p.n() != 1 && p.y.step(-2) == 1 && !p.options.bias && !p.options.row_sums) {
    p = {transposed(p.b), transposed(p.a), transposed(p.y), p.options};
  }
  const bool bf16 = p.a.dtype == DType::bf16 || p.b.dtype == DType::bf16;
  const DType dtype = p.y.dtype == DType::f64 ? DType::f64 : bf16 ? DType::bf16 : DType::f32;
  if (p.options.row_sums && p.a.dtype != dtype) {
    sum_rows(exec, p.a, p.options.row_sums);
    p.options.row_sums = {};
  }
  Array a_copy, b_copy, y_copy;
  if (p.a.dtype != dtype || !matrix_layout(p.a)) p.a = a_copy = operand(exec, p.a, dtype);
  if (p.b.dtype != dtype || !matrix_layout(p.b)) p.b = b_copy = operand(exec, p.b, dtype);
  const View target = p.y;
  const auto y_layout = matrix_layout(p.y);
  const bool direct = (target.dtype == dtype || dtype == DType::bf16) && y_layout && y_layout->by_rows;
  if (!direct) {
    y_copy = Array::empty(target.shape, dtype == DType::f64 ? DType::f64 : DType::f32, exec.device);
    if (p.options.accumulate) ashlar::cuda::copy(exec.device.index, target, y_copy);
    p.y = y_copy;
  }
  run_library(exec, p);
  if (!direct) ashlar::cuda::copy(exec.device.index, y_copy, target);
}

}  // namespace

void matmul(const Exec& exec, ConstView a, ConstView b, View y, MatmulOptions options) {
  const Problem p = check(a, b, y, options);
  if (y.numel() == 0 || p.k() == 0) {
    if (options.row_sums) sum_rows(exec, a, options.row_sums);
    if (y.numel() == 0) return;
    return options.gelu ? product_then_gelu(exec, p) : empty_sum(exec, y, options);
  }
  multiply(exec, p);
}

void matmul_blocks(const Exec& exec, ConstView a, ConstView b, View y, ConstView bias, View row_sums) {
  Problem p = check(a, b, y, {});
  if (row_sums && (y.numel() == 0 || p.k() == 0)) sum_rows(exec, a, row_sums);
  if (y.numel() == 0) return;
  if (p.k() == 0) {
    ashlar::cuda::fill(exec.device.index, y, 0);
    if (bias) add_bias(exec, y, bias);
    return;
  }
  p.options.bias = bias;
  p.options.row_sums = row_sums;
  multiply(exec, p);
}

}  // namespace ashlar::kernels::cuda
