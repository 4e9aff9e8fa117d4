#include "kernels/matmul/cublaslt.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <span>

#include "core/cuda/log.h"
#include "kernels/device.cuh"

namespace ashlar::kernels::products {
namespace {

cudaDataType_t library_dtype(DType dtype) {
  return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

// The largest power of two, up to 256, that divides the address, and the distance from one product of a batch to the next.
std::uint32_t alignment_of(const void* data, DType dtype, Dim step) {
  const auto bits = reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(step) * size_of(dtype) | 256u;
  return static_cast<std::uint32_t>(bits & ~(bits - 1));
}
// The search takes the alignment of sums from their pointer, and that of a bias, whose pointer it is not told, for the best.
constexpr std::uint32_t kVectorAlignment = 16;

enum class Epilogues { all, bias, none };

// For measurements: others have found products that end in the gradient of a bias (NVIDIA/CUDALibrarySamples#90) and, on an
// H100, in GELU (fused_dense.py of Dao-AILab/flash-attention) slower than passes of their own.
Epilogues epilogues() {
  const std::string_view value = environment_choice("ASHLAR_EPILOGUES", {"all", "bias", "none"},
                                                    "what products by cuBLASLt end in; bias: one or its gradient, but no GELU");
  return value == "all" ? Epilogues::all : value == "bias" ? Epilogues::bias : Epilogues::none;
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
         device::capability_major(exec) == 9;
}

const char* name_of(cublasLtEpilogue_t epilogue) {
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT: return "none";
    case CUBLASLT_EPILOGUE_BIAS: return "BIAS";
    case CUBLASLT_EPILOGUE_GELU: return "GELU";
    case CUBLASLT_EPILOGUE_GELU_BIAS: return "GELU_BIAS";
    case CUBLASLT_EPILOGUE_GELU_AUX: return "GELU_AUX";
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS: return "GELU_AUX_BIAS";
    case CUBLASLT_EPILOGUE_DGELU: return "DGELU";
    case CUBLASLT_EPILOGUE_BGRADB: return "BGRADB";
    default: return "another";
  }
}

std::vector<Dim> key_of(const Call& c) {
  return {c.device, static_cast<Dim>(c.operands), static_cast<Dim>(c.result), c.m, c.n, c.k, c.batch, c.a.by_rows, c.a.ld,
          c.b.by_rows, c.b.ld, c.ld_y, c.a_step, c.b_step, c.y_step, c.a_alignment, c.b_alignment, c.y_alignment,
          c.vector_step, c.bias, c.accumulate, c.gelu, c.derivative,
          c.pre_activation ? alignment_of(c.pre_activation, c.result, 0) : 0,
          c.row_sums ? alignment_of(c.row_sums, c.result, 0) : 0};
}

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
void prefer(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value));
}

// 0 where the library does not say.
std::int32_t config_of(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
  std::int32_t value = 0;
  std::size_t written = 0;
  cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written);
  return value;
}

using Found = cublasLtMatmulHeuristicResult_t;

// The one that is taken comes first; the others show whether the library has algorithms that split K.
void log_plan(const Call& call, cublasStatus_t status, std::span<const Found> results) {
  if (!ashlar::cuda::logs()) return;
  std::string algorithms;
  for (const Found& r : results) {
    const auto config = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) { return config_of(r.algo, attribute); };
    algorithms += concat(algorithms.empty() ? ": " : "; then ", "algorithm ", config(CUBLASLT_ALGO_CONFIG_ID), " tile ",
                         config(CUBLASLT_ALGO_CONFIG_TILE_ID), " stages ", config(CUBLASLT_ALGO_CONFIG_STAGES_ID), " split-K ",
                         config(CUBLASLT_ALGO_CONFIG_SPLITK_NUM), " reduction ", config(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME),
                         " workspace ", r.workspaceSize, " waves ", r.wavesCount);
  }
  ashlar::cuda::log("cuBLASLt: ", describe(call), ": ", cublasLtGetStatusName(status), algorithms);
}

Plan make_plan(const Call& c) {
  const bool f64 = c.operands == DType::f64;
  Plan plan;
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulDescCreate(&plan.product, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                               f64 ? CUDA_R_64F : CUDA_R_32F));
  // Rows of ours are columns of theirs: what is stored by rows is already the transpose that they want.
  set_attribute(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, c.b.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T);
  set_attribute(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, c.a.by_rows ? CUBLAS_OP_N : CUBLAS_OP_T);
  set_attribute(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE, c.epilogue());
  if (c.bias || c.row_sums) {
    set_attribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, library_dtype(c.result));
    if (c.vector_step > 0) set_attribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, c.vector_step);
  }
  // The search reads the alignment of pointers.
  if (c.row_sums) set_attribute(plan.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, c.row_sums);
  if (c.pre_activation) {
    set_attribute(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, c.pre_activation);
    set_attribute(plan.product, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, c.n);
  }
  plan.b = make_layout(c.operands, c.b.by_rows ? c.n : c.k, c.b.by_rows ? c.k : c.n, c.b.ld, c.batch, c.b_step);
  plan.a = make_layout(c.operands, c.a.by_rows ? c.k : c.m, c.a.by_rows ? c.m : c.k, c.a.ld, c.batch, c.a_step);
  plan.y = make_layout(c.result, c.n, c.m, c.ld_y, c.batch, c.y_step);

  cublasLtMatmulPreference_t preference = nullptr;
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, c.b_alignment);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, c.a_alignment);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, c.y_alignment);
  prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, c.y_alignment);
  // A split inner dimension is added up in f32 and in order. On Hopper cuBLASLt 12 and 13 were seen to leave out what one in
  // bf16 has beyond whole tiles of 64 when they split it (facebookexperimental/triton#2767): such stay whole.
  const bool may_split = c.operands != DType::bf16 || c.k % 64 == 0;
  const std::uint32_t schemes = may_split ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : CUBLASLT_REDUCTION_SCHEME_NONE;
  prefer(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  // In increasing order of the time that the library expects.
  std::array<Found, std::tuple_size_v<decltype(plan.algorithms)>> results{};
  int count = 0;
  plan.status = cublasLtMatmulAlgoGetHeuristic(handle_of(c.device), plan.product, plan.b, plan.a, plan.y, plan.y, preference,
                                               static_cast<int>(results.size()), results.data(), &count);
  cublasLtMatmulPreferenceDestroy(preference);
  const std::span all(results.data(), static_cast<std::size_t>(count));
  for (const Found& result : all) {
    const auto parts = std::max(config_of(result.algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM), 1);
    if (result.state != CUBLAS_STATUS_SUCCESS || (parts > 1 && !may_split)) continue;
    if (plan.count == 0) plan.spread = result.wavesCount * static_cast<float>(parts);
    plan.algorithms[plan.count++] = result.algo;
  }
  if (plan.found() && plan.count == 0) plan.status = CUBLAS_STATUS_NOT_SUPPORTED;
  log_plan(c, plan.status, all);
  if (!refuses(plan.status)) check_library(plan.status, "cublasLtMatmulAlgoGetHeuristic", __FILE__, __LINE__);
  return plan;
}

// The search takes longer than most products: each kind of call is looked up once. While a stream is recorded the search of
// CUDA 13.3 fails (mudler/vllm.cpp#1732): a failure is not kept.
Plan& kept_plan(const Call& call) {
  static std::mutex mutex;
  static std::map<std::vector<Dim>, Plan> cache;
  const std::lock_guard lock(mutex);
  std::vector<Dim> key = key_of(call);
  const auto found = cache.find(key);
  return found != cache.end() ? found->second : cache.emplace(std::move(key), make_plan(call)).first->second;
}

}  // namespace

void check_library(cublasStatus_t status, const char* call, const char* file, int line) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(concat("cuda: ", cublasLtGetStatusString(status), " (", cublasLtGetStatusName(status), ") from ", call, " at ",
                     file, ":", line));
}

bool refuses(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
}

cublasLtHandle_t handle_of(int device) {
  static std::mutex mutex;
  static std::map<int, cublasLtHandle_t> handles;
  const std::lock_guard lock(mutex);
  cublasLtHandle_t& handle = handles[device];
  ashlar::cuda::stream(device);  // makes it the current one
  if (!handle) ASHLAR_CUBLAS_CHECK(cublasLtCreate(&handle));
  return handle;
}

cublasLtEpilogue_t Call::epilogue() const {
  if (row_sums) return CUBLASLT_EPILOGUE_BGRADB;  // our a is their B
  if (derivative) return CUBLASLT_EPILOGUE_DGELU;
  if (!gelu) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (!pre_activation) return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
  return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
}

Call call_of(const Exec& exec, const Problem& p) {
  const bool batched = p.batch_dims() == 1;
  const auto step = [&](const ConstView& v) { return batched ? v.step(0) : Dim{0}; };
  const auto alignment = [&](const ConstView& v) { return alignment_of(v.data, v.dtype, step(v)); };
  const ConstView y = p.y;
  const View& sums = p.options.row_sums;
  const Epilogues allowed = y.dtype == DType::f64 ? Epilogues::none : epilogues();  // the library has none in f64
  const Dim vector_step = !batched ? 0 : sums ? sums.step(0) : p.options.bias.shape.ndim() > 1 ? p.n() : 0;
  const auto in_epilogue = [&](const void* vector) {
    return allowed != Epilogues::none && alignment_of(vector, y.dtype, vector_step) >= kVectorAlignment;
  };
  const bool gelu = allowed == Epilogues::all && has_gelu_epilogue(exec, p);
  return {exec.device.index, p.a.dtype, y.dtype, p.m(), p.n(), p.k(), batched ? y.size(0) : 1,
          matrix_layout(p.a).value(), matrix_layout(p.b).value(),
          p.m() == 1 ? p.n() : y.step(-2), step(p.a), step(p.b), step(y),
          alignment(p.a), alignment(p.b), alignment(y), vector_step, p.options.bias && in_epilogue(nullptr),
          p.options.accumulate, gelu, gelu && p.options.gelu_at,
          gelu ? const_cast<void*>(pre_activation_of(p).data) : nullptr,  // read or written, as the epilogue says
          sums && sums.dtype == y.dtype && in_epilogue(sums.data) ? sums.data : nullptr};
}

std::string describe(const Call& c) {
  const auto lies = [](const MatrixLayout& m) { return concat(m.by_rows ? " by rows of " : " by columns of ", m.ld); };
  return concat("a ", c.operands, '(', c.m, ", ", c.k, ')', lies(c.a), ", b (", c.k, ", ", c.n, ')', lies(c.b), ", y ",
                c.result, ", batch ", c.batch, ", epilogue ", name_of(c.epilogue()), c.accumulate ? ", accumulated" : "");
}

const Plan& plan_for(const Call& call) { return kept_plan(call); }

namespace {
// Below this a product takes too little time for what else would be launched.
constexpr Dim kLongK = 4096;

Call without_sums(Call call) {
  call.row_sums = nullptr;
  return call;
}
float spread_of(const Call& call) { return std::min(plan_for(call).spread, 1.0f); }
}  // namespace

bool spreads_with_sums(const Call& call) {
  return call.k < kLongK || spread_of(call) >= 0.75f * spread_of(without_sums(call));
}

bool spreads_one_by_one(const Exec& exec, const Problem& p, const Call& call) {
  if (call.k < kLongK || p.batch_dims() == 0) return false;
  return 2 * spread_of(without_sums(call)) < spread_of(without_sums(call_of(exec, select(p, 0, 0))));
}

bool give_up(const Call& call, cublasStatus_t status) {
  Plan& plan = kept_plan(call);
  ++plan.taken;
  ashlar::cuda::log("cuBLASLt: ", describe(call), ": given up, refused with ", cublasLtGetStatusName(status), "; ",
                    plan.count - plan.taken, " algorithms are left");
  if (plan.taken == plan.count) plan.status = status;
  return plan.found();
}

}  // namespace ashlar::kernels::products
