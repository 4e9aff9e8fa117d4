// Updates of many tensors, element by element, dozens of them in a launch.
#pragma once
#include <span>

#include "kernels/device.cuh"
#include "kernels/tensor_table.h"

namespace ashlar::kernels::device {

// Small enough to be the parameter of a kernel with the largest of the items.
template <class Item>
using UpdateTable = TensorTable<Item, 24>;

template <class Item>
__global__ void update_chunks(const __grid_constant__ UpdateTable<Item> table) {
  const int tensor = table.find(blockIdx.x);
  const Item& item = table.item[tensor];
  const Dim begin = (blockIdx.x - table.first[tensor]) * kTensorChunk, end = min(begin + kTensorChunk, item.count);
  for (Dim i = begin + threadIdx.x; i < end; i += kThreads) item.update(i);
}

template <class Item>
void launch_updates(const Exec& exec, UpdateTable<Item>& table) {
  if (table.blocks() > 0) {
    update_chunks<<<static_cast<unsigned>(table.blocks()), kThreads, 0, queue(exec)>>>(table);
    ASHLAR_CUDA_CHECK_LAUNCH();
  }
  table = {};
}

// Calls item_of(tensor).update(i) on the device for every tensor that is `wanted` and i < item_of(tensor).count.
template <class Tensor, class Wanted, class ItemOf>
void update_tensors(const Exec& exec, std::span<const Tensor> tensors, const Wanted& wanted, const ItemOf& item_of) {
  using Item = decltype(item_of(tensors.front()));
  UpdateTable<Item> table;
  for (const Tensor& tensor : tensors) {
    if (!wanted(tensor)) continue;
    if (table.full()) launch_updates(exec, table);
    const Item item = item_of(tensor);
    table.add(item, item.count);
  }
  launch_updates(exec, table);
}

}  // namespace ashlar::kernels::device
