// cuBLASLt's products by the CPU's BLAS, on operands brought into the type of the computation.
#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "core/dtype.h"
#include "core/error.h"
#include "tests/cuda/emulator/cublaslt.h"

using namespace ashlar;

namespace {

using Product = cublasLtMatmulDescOpaque;
using Layout = cublasLtMatrixLayoutOpaque;

template <class Body>
void dispatch(cudaDataType_t type, const Body& body) {
  switch (type) {
    case CUDA_R_32F: return body.template operator()<float>();
    case CUDA_R_64F: return body.template operator()<double>();
    case CUDA_R_16BF: return body.template operator()<ashlar::bfloat16>();  // OpenBLAS has one too
  }
  throw Error(concat("emulator: cuBLASLt's data type ", static_cast<int>(type), " is not emulated"));
}

std::int64_t size_of(cudaDataType_t type) {
  std::int64_t size = 0;
  dispatch(type, [&]<class T>() { size = sizeof(T); });
  return size;
}

struct Epilogue {
  bool bias = false, gelu = false, keep_input = false, gelu_gradient = false, b_sums = false;
};
Epilogue epilogue_of(const Product& product) {
  const auto kind = product.get(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
  switch (kind) {
    case CUBLASLT_EPILOGUE_DEFAULT: return {};
    case CUBLASLT_EPILOGUE_BIAS: return {.bias = true};
    case CUBLASLT_EPILOGUE_GELU: return {.gelu = true};
    case CUBLASLT_EPILOGUE_GELU_BIAS: return {.bias = true, .gelu = true};
    case CUBLASLT_EPILOGUE_GELU_AUX: return {.gelu = true, .keep_input = true};
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS: return {.bias = true, .gelu = true, .keep_input = true};
    case CUBLASLT_EPILOGUE_DGELU: return {.gelu_gradient = true};
    case CUBLASLT_EPILOGUE_BGRADB: return {.b_sums = true};
    default: throw Error(concat("emulator: epilogue ", kind, " of cuBLASLt is not emulated"));
  }
}

// gelu(x) = x p with p = (1 + tanh(u)) / 2, u = sqrt(2/π) (x + 0.044715 x³)
double gelu(double x) {
  const double u = std::numbers::sqrt2 * std::numbers::inv_sqrtpi * (x + 0.044715 * x * x * x);
  return x * (1 + std::tanh(u)) / 2;
}
double gelu_derivative(double x) {
  const double scale = std::numbers::sqrt2 * std::numbers::inv_sqrtpi, t = std::tanh(scale * (x + 0.044715 * x * x * x));
  return (1 + t) / 2 + x * (1 - t * t) / 2 * scale * (1 + 3 * 0.044715 * x * x);
}

struct Call {
  Product product;
  double alpha, beta;
  const void *a, *b, *c;
  void* d;
  Layout a_layout, b_layout, c_layout, d_layout;
  bool splits;  // the inner dimension
};

// What a split inner dimension in bf16 has beyond whole tiles may get lost (facebookexperimental/triton#2767).
constexpr std::int64_t kSplitTile = 64;

// Matrix `batch` of a layout by columns, in the type of the computation.
template <class Compute>
std::vector<Compute> values(const void* data, const Layout& layout, std::int64_t batch) {
  std::vector<Compute> result(static_cast<std::size_t>(layout.rows * layout.columns));
  dispatch(layout.type, [&]<class T>() {
    const T* const from = static_cast<const T*>(data) + batch * layout.step();
    for (std::int64_t j = 0; j < layout.columns; ++j) {
      for (std::int64_t i = 0; i < layout.rows; ++i) {
        result[static_cast<std::size_t>(j * layout.rows + i)] = convert<Compute>(from[j * layout.ld + i]);
      }
    }
  });
  return result;
}

void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const float* a, int lda, const float* b, int ldb,
          float* y) {
  cblas_sgemm(CblasColMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, y, m);
}
void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, int m, int n, int k, const double* a, int lda, const double* b, int ldb,
          double* y) {
  cblas_dgemm(CblasColMajor, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, y, m);
}

template <class Compute, class D>
void finish(const Call& call, const std::vector<Compute>& sums, std::int64_t batch) {
  const Product& p = call.product;
  const Epilogue epilogue = epilogue_of(p);
  const Layout &c_layout = call.c_layout, &d_layout = call.d_layout;
  const D* const c = static_cast<const D*>(call.c) + batch * c_layout.step();
  D* const d = static_cast<D*>(call.d) + batch * d_layout.step();
  const D* const bias = reinterpret_cast<const D*>(p.get(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 0)) +
                        batch * p.get(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, 0);
  const std::int64_t aux_ld = p.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 0);
  D* const aux = reinterpret_cast<D*>(p.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, 0)) +
                 batch * p.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, 0);
  for (std::int64_t j = 0; j < d_layout.columns; ++j) {
    for (std::int64_t i = 0; i < d_layout.rows; ++i) {
      Compute value = static_cast<Compute>(call.alpha) * sums[static_cast<std::size_t>(j * d_layout.rows + i)];
      // C is not read when beta is 0: it may hold NaN.
      if (call.beta != 0) value += static_cast<Compute>(call.beta) * convert<Compute>(c[j * c_layout.ld + i]);
      if (epilogue.bias) value += convert<Compute>(bias[i]);
      if (epilogue.keep_input) aux[j * aux_ld + i] = convert<D>(value);
      if (epilogue.gelu) value = static_cast<Compute>(gelu(static_cast<double>(value)));
      if (epilogue.gelu_gradient) {
        value *= static_cast<Compute>(gelu_derivative(static_cast<double>(convert<Compute>(aux[j * aux_ld + i]))));
      }
      d[j * d_layout.ld + i] = convert<D>(value);
    }
  }
}

// BGRADB: the sums over k of op(B) (k, n), `b` by columns.
template <class Compute, class D>
void sum_b(const Call& call, const std::vector<Compute>& b, bool transposed, std::int64_t batch) {
  const Product& p = call.product;
  D* const to = reinterpret_cast<D*>(p.get(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 0)) +
                batch * p.get(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, 0);
  const std::int64_t rows = call.b_layout.rows, k = transposed ? call.b_layout.columns : rows;
  for (std::int64_t j = 0; j < call.d_layout.columns; ++j) {
    Compute sum = 0;
    for (std::int64_t i = 0; i < k; ++i) sum += b[static_cast<std::size_t>(transposed ? i * rows + j : j * rows + i)];
    to[j] = convert<D>(sum);
  }
}

template <class Compute>
void multiply(const Call& call) {
  const bool ta = call.product.get(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N) == CUBLAS_OP_T;
  const bool tb = call.product.get(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N) == CUBLAS_OP_T;
  const Layout& d = call.d_layout;
  const std::int64_t all = ta ? call.a_layout.rows : call.a_layout.columns;
  const std::int64_t k = call.splits && call.a_layout.type == CUDA_R_16BF ? all - all % kSplitTile : all;
  for (std::int64_t batch = 0; batch < d.batch(); ++batch) {
    const auto a = values<Compute>(call.a, call.a_layout, batch), b = values<Compute>(call.b, call.b_layout, batch);
    std::vector<Compute> sums(static_cast<std::size_t>(d.rows * d.columns));
    gemm(ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, static_cast<int>(d.rows),
         static_cast<int>(d.columns), static_cast<int>(k), a.data(), static_cast<int>(call.a_layout.rows), b.data(),
         static_cast<int>(call.b_layout.rows), sums.data());
    dispatch(d.type, [&]<class D>() {
      finish<Compute, D>(call, sums, batch);
      if (epilogue_of(call.product).b_sums) sum_b<Compute, D>(call, b, tb, batch);
    });
  }
}

bool shapes_match(const Product& product, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool ta = product.get(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_N) == CUBLAS_OP_T;
  const bool tb = product.get(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N) == CUBLAS_OP_T;
  const std::int64_t m = ta ? a.columns : a.rows, k = ta ? a.rows : a.columns, n = tb ? b.rows : b.columns;
  const bool one_batch = a.batch() == d.batch() && b.batch() == d.batch() && c.batch() == d.batch();
  const bool lds = a.ld >= a.rows && b.ld >= b.rows && c.ld >= c.rows && d.ld >= d.rows;
  const bool inner = k == (tb ? b.columns : b.rows);
  return one_batch && lds && inner && d.rows == m && d.columns == n && c.rows == m && c.columns == n;
}

bool ends_in_anything(const Product& product) {
  const Epilogue epilogue = epilogue_of(product);
  return epilogue.bias || epilogue.gelu || epilogue.gelu_gradient || epilogue.b_sums;
}

// What the library has kernels for: operands of one type, a bias and a kept input of the result's, no epilogue in f64.
bool supported(const Product& product, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
  const bool f64 = a.type == CUDA_R_64F;
  const bool types = a.type == b.type && c.type == d.type &&
                     product.compute == (f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F) &&
                     product.scale == (f64 ? CUDA_R_64F : CUDA_R_32F) &&
                     (d.type == a.type || (a.type == CUDA_R_16BF && d.type == CUDA_R_32F));
  const Epilogue epilogue = epilogue_of(product);
  const std::int64_t aux_ld = product.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, 0);
  const bool aux_fits = aux_ld % 8 == 0 && aux_ld >= d.rows &&
                        product.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, 0) % 8 == 0 &&
                        product.get(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, d.type) == d.type;
  return types && !(f64 && ends_in_anything(product)) && product.get(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, d.type) == d.type &&
         (aux_fits || !(epilogue.keep_input || epilogue.gelu_gradient));
}

// The search knows nothing of how bias and sums lie: it may choose a kernel that reads and writes them 16 bytes at a time.
bool vectors_aligned(const Product& product, const Layout& d) {
  const Epilogue epilogue = epilogue_of(product);
  if (!epilogue.bias && !epilogue.b_sums) return true;
  const std::int64_t step = d.batch() > 1 ? product.get(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, 0) : 0;
  return product.get(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 0) % 16 == 0 && step * size_of(d.type) % 16 == 0;
}

// Whether a matrix, in every product of the batch, is memory of the device.
bool on_device(const void* data, const Layout& layout) {
  const std::int64_t last = (layout.batch() - 1) * layout.step() + (layout.columns - 1) * layout.ld + layout.rows;
  return emulated::on_device(data, static_cast<std::size_t>(last * size_of(layout.type)));
}

}  // namespace

emulated::Refuses emulated::refuses = emulated::Refuses::nothing;
emulated::Narrow emulated::narrow = emulated::Narrow::nothing;
bool emulated::ignores_schemes = false;
emulated::Products emulated::products;

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t schemes, int most, cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  *found = 0;
  if (emulated::captures()) return CUBLAS_STATUS_INTERNAL_ERROR;  // as with CUDA 13.3 (mudler/vllm.cpp#1732)
  if (!shapes_match(*product, *a, *b, *c, *d)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!supported(*product, *a, *b, *c, *d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool narrow = (emulated::narrow == emulated::Narrow::sums && epilogue_of(*product).b_sums) ||
                      (emulated::narrow == emulated::Narrow::batches && d->batch() > 1);
  // Two, which differ in nothing but their number.
  for (; *found < std::min(most, 2); ++*found) {
    results[*found] = {};
    results[*found].wavesCount = narrow ? 0.25f : 1.0f;
    const bool ignores = emulated::ignores_schemes && *found == 0;
    results[*found].algo.data[0] = ignores ? CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE : *schemes;
    results[*found].algo.data[1] = static_cast<std::uint64_t>(*found);
    results[*found].algo.data[2] = ignores ? 2 : 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
  if (!shapes_match(*product, *a_layout, *b_layout, *c_layout, *d_layout)) return CUBLAS_STATUS_INVALID_VALUE;
  if (!supported(*product, *a_layout, *b_layout, *c_layout, *d_layout)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool first = algorithm && algorithm->data[1] == 0;
  if (emulated::refuses == emulated::Refuses::epilogues && ends_in_anything(*product)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (emulated::refuses == emulated::Refuses::first_algorithm && first) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool there = on_device(a, *a_layout) && on_device(b, *b_layout) && on_device(c, *c_layout) &&
                     on_device(d, *d_layout) && (workspace_bytes == 0 || emulated::on_device(workspace, workspace_bytes));
  if (!there || !vectors_aligned(*product, *d_layout)) return CUBLAS_STATUS_INVALID_VALUE;
  ++emulated::products.all;
  if (epilogue_of(*product).b_sums) ++emulated::products.with_sums;
  const bool f64 = product->scale == CUDA_R_64F;
  const auto scalar = [&](const void* at) { return f64 ? *static_cast<const double*>(at) : *static_cast<const float*>(at); };
  const Call call{*product, scalar(alpha), scalar(beta), a, b, c, d, *a_layout, *b_layout, *c_layout, *d_layout,
                  algorithm && algorithm->data[0] != CUBLASLT_REDUCTION_SCHEME_NONE};
  emulated::report(emulated::enqueue(stream, [call, f64] {
    if (f64) multiply<double>(call);
    else multiply<float>(call);
  }));
  return CUBLAS_STATUS_SUCCESS;
}
