#include "kernels/blast/blast.h"

namespace ashlar::kernels {

ASHLAR_KERNEL(blast_forward);
ASHLAR_KERNEL(blast_backward);

Shape blast_kept_shape(Device device, Dim rows, Dim out_blocks, Dim in_blocks, Dim rank) {
  if (device.type == DeviceType::cpu) return {rows, in_blocks, blast_padded_rank(rank)};
  return {rows, in_blocks + out_blocks, rank};
}

}  // namespace ashlar::kernels
