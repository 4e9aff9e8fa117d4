// Tables of tensors as parameters of kernels, and updates of many tensors, element by element, in one launch.
#pragma once
#include <span>

#include "kernels/device.cuh"
#include "kernels/tensor_table.h"

namespace ashlar::kernels::device {

// What the parameters of a kernel may take in all. Newer CUDA takes eight times as much, but not all of its releases survive
// that in a graph (openxla/xla#19252), and a few launches more cost nothing.
constexpr std::size_t kParameterBytes = 4096;
constexpr std::size_t kOtherParameters = 64;  // beside a table

// A table of as many tensors as fit.
template <class Item>
constexpr int kTableItems = static_cast<int>((kParameterBytes - kOtherParameters) / (sizeof(Item) + sizeof(Dim)));
template <class Item>
using ParameterTable = TensorTable<Item, kTableItems<Item>>;

// N: elements that are updated at once.
template <int N, class Item>
__global__ void update_chunks(const __grid_constant__ ParameterTable<Item> table) {
  const int tensor = table.find(blockIdx.x);
  const Item& item = table.item[tensor];
  const Dim begin = (blockIdx.x - table.first[tensor]) * kTensorChunk, end = min(begin + kTensorChunk, item.count);
  const Dim in_packs = end - (end - begin) % N;
  for (Dim i = begin + Dim{threadIdx.x} * N; i < in_packs; i += kThreads * N) item.template update<N>(i);
  if (const Dim i = in_packs + threadIdx.x; i < end) item.template update<1>(i);
}

template <int N, class Item>
void launch_updates(const Exec& exec, ParameterTable<Item>& table) {
  if (table.blocks() > 0) {
    update_chunks<N><<<static_cast<unsigned>(table.blocks()), kThreads, 0, queue(exec)>>>(table);
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  table = {};
}

// Updates on the device every tensor that is `wanted`: item_of(tensor) has its `count` and update<N>(i), which updates the
// elements from i on; N is kWide where all its arrays are aligned(kWide), otherwise 1.
template <class Tensor, class Wanted, class ItemOf>
void update_tensors(const Exec& exec, std::span<const Tensor> tensors, const Wanted& wanted, const ItemOf& item_of) {
  using Item = decltype(item_of(tensors.front()));
  const auto update = [&]<int N>() {
    ParameterTable<Item> table;
    for (const Tensor& tensor : tensors) {
      if (!wanted(tensor)) continue;
      const Item item = item_of(tensor);
      if (item.aligned(Item::kWide) != (N == Item::kWide)) continue;
      if (table.full()) launch_updates<N>(exec, table);
      table.add(item, item.count);
    }
    launch_updates<N>(exec, table);
  };
  update.template operator()<Item::kWide>();
  update.template operator()<1>();
}

}  // namespace ashlar::kernels::device
