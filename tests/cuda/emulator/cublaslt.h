// What describes a product to cuBLASLt.
#pragma once
#include <cstdint>
#include <cstring>
#include <map>

#include "tests/cuda/emulator/include/cublasLt.h"

namespace ashlar::emulated {

// What the search finds, but what is not carried out: products that end in anything, or all with the first of the algorithms.
enum class Refuses : std::uint8_t { nothing, epilogues, first_algorithm };
extern Refuses refuses;
// Products for which the search has only algorithms that leave most of the device idle: those with sums of rows, or batches.
enum class Narrow : std::uint8_t { nothing, sums, batches };
extern Narrow narrow;
// Whether the first algorithm of a search splits the inner dimension whatever was asked for.
extern bool ignores_schemes;
// What has been carried out.
struct Products {
  int all = 0, with_sums = 0;
};
extern Products products;

}  // namespace ashlar::emulated

// Attributes by number; each is kept as the 64 bits that it has or is widened to.
struct Attributes {
  std::map<int, std::int64_t> value;

  cublasStatus_t set(int attribute, const void* from, std::size_t bytes, std::size_t expected) {
    if (!from || bytes != expected) return CUBLAS_STATUS_INVALID_VALUE;
    std::int32_t narrow = 0;
    if (bytes == sizeof narrow) {
      std::memcpy(&narrow, from, bytes);
      value[attribute] = narrow;
    } else {
      std::memcpy(&value[attribute], from, bytes);
    }
    return CUBLAS_STATUS_SUCCESS;
  }
  std::int64_t get(int attribute, std::int64_t otherwise) const {
    const auto found = value.find(attribute);
    return found == value.end() ? otherwise : found->second;
  }
};

struct cublasLtMatmulDescOpaque : Attributes {
  cublasComputeType_t compute;
  cudaDataType_t scale;
};
struct cublasLtMatrixLayoutOpaque : Attributes {
  cudaDataType_t type;
  std::int64_t rows, columns, ld;

  std::int64_t batch() const { return get(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, 1); }
  std::int64_t step() const { return get(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, 0); }
};
