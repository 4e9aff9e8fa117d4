// Products as cuBLASLt is asked for them: what a call is like, and the plan for it, its descriptors and an algorithm.
#pragma once
#include <cublasLt.h>

#include <array>
#include <string>
#include <vector>

#include "core/device.h"
#include "kernels/matmul/layout.h"

namespace ashlar::kernels::products {

// Throws Error naming the status, the call and its place unless the call succeeded.
void check_library(cublasStatus_t status, const char* call, const char* file, int line);
#define ASHLAR_CUBLAS_CHECK(call) ::ashlar::kernels::products::check_library((call), #call, __FILE__, __LINE__)
// Whether the library will not do what it is asked for, and has done nothing.
bool refuses(cublasStatus_t status);

constexpr std::size_t kWorkspace = std::size_t{32} << 20;  // what NVIDIA recommends for Hopper

// Of a device, which becomes the thread's current one.
cublasLtHandle_t handle_of(int device);

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
  // Of these, which may be null, only the alignment matters here: as much as the library wants.
  void* pre_activation;  // (M, N) without gaps: receives what GELU is taken of, or is read for its derivative
  void* row_sums;        // (M) of each product: receives the sums of a's rows

  cublasLtEpilogue_t epilogue() const;
};

// For operands of one dtype with unit strides, y by rows and at most one batch dimension: with all that belongs to the product
// and that the library may be asked for, as far as ASHLAR_EPILOGUES in the environment allows: `all`, `bias` (and its
// gradient, without GELU) or `none`.
Call call_of(const Exec& exec, const Problem& problem);

// The call in words.
std::string describe(const Call& call);

struct Plan {
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, y = nullptr;
  // The fastest first, as the library expects. Not a vector: nvcc 13.0 fails on one of these.
  std::array<cublasLtMatmulAlgo_t, 4> algorithms{};
  std::size_t taken = 0, count = 0;  // the one in use, and how many there are
  float spread = 0;  // the share of the device that the fastest occupies, as the library expects, the parts of a split K included
  cublasStatus_t status = CUBLAS_STATUS_NOT_SUPPORTED;  // of the search for them, or why the last one was given up
  bool found() const { return status == CUBLAS_STATUS_SUCCESS; }
};

// The plan for such calls, or why there is none: the library has no algorithm, or takes what it is asked for to be invalid.
// Any other failure is an Error.
const Plan& plan_for(const Call& call);
// Drops the algorithm in use for such calls, which answered one of them with `status`. Returns whether another is left; without
// one plan_for finds none from then on.
bool give_up(const Call& call, cublasStatus_t status);

// Gradients of weights have few tiles and a long inner dimension: a product that does not split it leaves most of the device idle.
// Whether the sums of rows, formed within this product, do not keep the library from splitting; else a pass of their own is faster.
bool spreads_with_sums(const Call& call);
// Whether the products of the problem, a batch that is asked for as `call`, occupy more of the device one by one than together.
bool spreads_one_by_one(const Exec& exec, const Problem& problem, const Call& call);

template <class Value>
void set_attribute(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  ASHLAR_CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value));
}

}  // namespace ashlar::kernels::products
