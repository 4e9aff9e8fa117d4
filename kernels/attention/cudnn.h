// Attention in cuDNN's terms: a graph of tensors and operations for each call, described through the headers of
// cudnn-frontend. It depends on shapes, strides and dtypes; what lies where is said when it is carried out.
#pragma once
// A third less to compile (20 s instead of 33); neither is used here.
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#define NV_CUDNN_FRONTEND_DISABLE_LOGGING
#include <cudnn_frontend.h>

#include <memory>

#include "kernels/attention/cuda.h"

namespace ashlar::kernels::attention {

using Graph = cudnn_frontend::graph::Graph;

// The tensors of a graph.
enum Operand : std::int64_t { kQ = 1, kK, kV, kO, kLse, kDO, kDQ, kDK, kDV };

std::shared_ptr<Graph> graph_of(const ForwardCall& call);  // which has an lse
std::shared_ptr<Graph> graph_of(const BackwardCall& call);

}  // namespace ashlar::kernels::attention
