#include "kernels/attention/cudnn.h"

#include <cuda_runtime.h>
#include <dlfcn.h>

#include <bit>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/array.h"
#include "core/choice.h"
#include "core/cuda/cuda.h"
#include "core/cuda/log.h"
#include "core/determinism.h"
#include "kernels/vectors.h"

namespace ashlar::kernels::attention {
namespace {

namespace fe = cudnn_frontend;
using Tensor = fe::graph::Tensor_attributes;

// cuDNN has four dimensions everywhere: lse (B, H, T) is (B, H, T, 1) to it.
Tensor tensor(Operand id, const ConstView& v) {
  const bool per_row = v.shape.ndim() == 3;
  Tensor t;
  t.set_uid(id).set_dim({v.size(0), v.size(1), v.size(2), per_row ? 1 : v.size(3)});
  t.set_stride({v.step(0), v.step(1), v.step(2), 1});
  t.set_data_type(per_row ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16);
  return t;
}
std::shared_ptr<Tensor> given(Graph& graph, Operand id, const ConstView& v) { return graph.tensor(tensor(id, v)); }
void set_result(const std::shared_ptr<Tensor>& result, Operand id, const ConstView& v) {
  const Tensor like = tensor(id, v);
  result->set_output(true).set_uid(id).set_dim(like.get_dim()).set_stride(like.get_stride());
  result->set_data_type(like.get_data_type());
}

std::shared_ptr<Graph> empty_graph() {
  auto graph = std::make_shared<Graph>();
  graph->set_intermediate_data_type(fe::DataType_t::FLOAT).set_compute_data_type(fe::DataType_t::FLOAT);
  return graph;
}

// What programs link with loads the library proper when it is first called, and aborts where that is missing.
bool is_complete() {
  static const bool found = dlopen(concat("libcudnn_graph.so.", CUDNN_MAJOR).c_str(), RTLD_NOW) != nullptr;
  return found;
}

// Null where the library cannot be used. Makes the device the thread's current one.
cudnnHandle_t handle_of(const Exec& exec) {
  static std::mutex mutex;
  static std::map<int, cudnnHandle_t> handles;
  const std::lock_guard lock(mutex);
  const auto stream = static_cast<cudaStream_t>(cuda::stream(exec.device.index));
  const auto [handle, missing] = handles.try_emplace(exec.device.index, nullptr);
  if (missing && is_complete()) {
    cudnnStatus_t status = cudnnCreate(&handle->second);
    if (status == CUDNN_STATUS_SUCCESS) status = cudnnSetStream(handle->second, stream);
    if (status != CUDNN_STATUS_SUCCESS) handle->second = nullptr;
    cudaGetLastError();  // what the library tried in vain is told by its status
    cuda::log("cuDNN ", cudnnGetVersion(), " on ", exec.device, ": ", cudnnGetErrorString(status));
  } else if (missing) {
    cuda::log("cuDNN on ", exec.device, ": libcudnn_graph.so.", CUDNN_MAJOR, " cannot be loaded");
  }
  return handle->second;
}

// Versions 9.13 and 9.14 have touched memory beyond when a CUDA graph was replayed (NVIDIA/TransformerEngine#2344).
bool is_unsafe(bool causal, const ConstView& k) {
  const std::size_t version = cudnnGetVersion();
  return !causal && k.size(2) > 1024 && version >= 91300 && version < 91500;
}

// Null where there is no plan.
template <class Call>
std::shared_ptr<Graph> built(cudnnHandle_t handle, const char* pass, const Call& call) {
  const auto tell = [&](const auto&... answer) {
    cuda::log("cuDNN: ", pass, " of attention ", call.q.shape, call.causal ? " causal: " : ": ", answer...);
  };
  if (is_unsafe(call.causal, call.k)) {
    tell("left out, version ", cudnnGetVersion(), " is known to touch memory beyond");
    return nullptr;
  }
  try {
    std::shared_ptr<Graph> graph = graph_of(call);
    fe::error_t status = graph->build(handle, {fe::HeurMode_t::A});
    cudaGetLastError();  // what the library tried in vain is told by its status
    tell(status.is_good() ? "taken" : "no plan: ", status.get_message());
    return status.is_good() ? graph : nullptr;
  } catch (const std::exception& failure) {  // as the frontend tells some of what it does not support
    cudaGetLastError();
    tell("no plan: ", failure.what());
    return nullptr;
  }
}

// Building a graph's plan takes far longer than carrying it out: each kind of call has its own for ever. Null where cuDNN
// has no kernel for it, or none to be trusted.
using Key = std::vector<Dim>;
template <class Call>
std::shared_ptr<Graph>& plan_for(const Key& key, cudnnHandle_t handle, const char* pass, const Call& call) {
  static std::mutex mutex;
  // Never destroyed: at the end of the program cuDNN may have gone before.
  static auto* const plans = new std::map<Key, std::shared_ptr<Graph>>;
  const std::lock_guard lock(mutex);
  const auto found = plans->find(key);
  return found != plans->end() ? found->second : plans->emplace(key, built(handle, pass, call)).first->second;
}

void append(Key& key, const ConstView& v) {
  for (int d = 0; d < v.shape.ndim(); ++d) key.insert(key.end(), {v.size(d), v.step(d)});
}

// It sees as many queries as keys here; more than one, which it does not support (pytorch/pytorch#138529); and a positive scale,
// without which what is hidden, -inf, would not stay so where it is scaled last (as in NVIDIA/cudnn-frontend#804).
bool may_take(const ConstView& q, const ConstView& k, double scale) {
  return scale > 0 && q.dtype == DType::bf16 && q.size(2) == k.size(2) && q.size(2) > 1 && q.size(3) % 8 == 0;
}
// It takes 16 bytes at a time; lse is contiguous.
bool aligned(std::int64_t id, const ConstView& v) {
  return id == kLse ? reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0 : rows_aligned(v);
}
bool switched_off() {
  static const bool off =
      environment_choice("ASHLAR_CUDNN", {"on", "off"}, "on: attention by cuDNN where it has kernels") == "off";
  return off;
}

// Carries out the graph of `key` on the operands; false, and nothing done, where there is no plan for it, or none that the
// library carries out.
template <class Call>
bool run(const Exec& exec, const Key& key, const char* pass, const Call& call,
         const std::unordered_map<std::int64_t, ConstView>& operands) {
  for (const auto& [id, view] : operands) {
    if (!aligned(id, view)) return false;
  }
  const cudnnHandle_t handle = handle_of(exec);
  if (!handle) return false;
  std::shared_ptr<Graph>& graph = plan_for(key, handle, pass, call);
  if (!graph) return false;
  std::int64_t bytes = 0;
  fe::error_t status = graph->get_workspace_size(bytes);
  if (status.is_good()) {
    const Array workspace = Array::empty({std::max<Dim>(bytes, 1)}, DType::u8, exec.device);
    std::unordered_map<std::int64_t, void*> data;
    for (const auto& [id, view] : operands) data[id] = const_cast<void*>(view.data);
    status = graph->execute(handle, data, View(workspace).data);
    if (status.is_good()) return true;
  }
  cudaGetLastError();  // told here, not by the next launch
  cuda::log("cuDNN: ", pass, " of attention ", call.q.shape, ": given up: ", status.get_message());
  graph = nullptr;
  return false;
}

}  // namespace

std::shared_ptr<Graph> graph_of(const ForwardCall& c) {
  auto graph = empty_graph();
  fe::graph::SDPA_attributes attention;
  attention.set_name("attention_forward").set_causal_mask(c.causal).set_attn_scale(static_cast<float>(c.scale));
  attention.set_generate_stats(true);
  const auto [o, lse] =
      graph->sdpa(given(*graph, kQ, c.q), given(*graph, kK, c.k), given(*graph, kV, c.v), attention);
  set_result(o, kO, c.o);
  set_result(lse, kLse, c.lse);
  return graph;
}

std::shared_ptr<Graph> graph_of(const BackwardCall& c) {
  auto graph = empty_graph();
  fe::graph::SDPA_backward_attributes attention;
  attention.set_name("attention_backward").set_causal_mask(c.causal).set_attn_scale(static_cast<float>(c.scale));
  const auto [dq, dk, dv] = graph->sdpa_backward(given(*graph, kQ, c.q), given(*graph, kK, c.k), given(*graph, kV, c.v),
                                                 given(*graph, kO, c.o), given(*graph, kDO, c.d_o),
                                                 given(*graph, kLse, c.lse), attention);
  set_result(dq, kDQ, c.dq);
  set_result(dk, kDK, c.dk);
  set_result(dv, kDV, c.dv);
  return graph;
}

bool forward_cudnn(const Exec& exec, const ForwardCall& c) {
  // Without lse no backward follows: a text that is written has a new length with every token, and each would have a plan.
  if (switched_off() || !c.lse || !may_take(c.q, c.k, c.scale)) return false;
  Key key{exec.device.index, 0, c.causal, std::bit_cast<Dim>(c.scale)};
  for (const ConstView& v : {c.q, c.k, c.v, ConstView(c.o)}) append(key, v);
  return run(exec, key, "forward", c, {{kQ, c.q}, {kK, c.k}, {kV, c.v}, {kO, c.o}, {kLse, c.lse}});
}

bool backward_cudnn(const Exec& exec, const BackwardCall& c) {
  // In a fixed order cuDNN writes the (T, T) gradients of all scores to memory; the project's own kernels need not. Rows
  // that do not fill its last tile have given NaN on Hopper, where scores are far below zero, up to cuDNN 9.26 at least
  // (NVIDIA/cudnn-frontend#160, #628, #1072; pytorch/pytorch#196678). For them the frontend also copies from host memory that
  // is gone when a recording is replayed.
  constexpr Dim kTile = 128;
  if (switched_off() || deterministic() || !may_take(c.q, c.k, c.scale) || c.q.size(2) % kTile != 0) return false;
  Key key{exec.device.index, 1, c.causal, std::bit_cast<Dim>(c.scale)};
  for (const ConstView& v : {c.q, c.k, c.v, c.o, c.d_o, ConstView(c.dq), ConstView(c.dk), ConstView(c.dv)}) append(key, v);
  return run(exec, key, "backward", c,
             {{kQ, c.q}, {kK, c.k}, {kV, c.v}, {kO, c.o}, {kDO, c.d_o}, {kLse, c.lse},
              {kDQ, c.dq}, {kDK, c.dk}, {kDV, c.dv}});
}

}  // namespace ashlar::kernels::attention
