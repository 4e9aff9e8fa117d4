// Vision transformer (Dosovitskiy et al. 2021), with the parameter names of timm.
#pragma once
#include "layers/transformer.h"

namespace ashlar {

struct VitConfig {
  Dim image = 32, patch = 4, channels = 3, classes = 10;
  Dim width = 192, depth = 6, heads = 3, hidden = 0;  // hidden 0: 4 * width
  bool class_token = true;                            // false: the mean over patches goes to the head
  double drop_path = 0;                               // of the last block; grows linearly with depth
  double dropout = 0;
  BlockSpecs linear;
};

class Vit final : public Module {
 public:
  Vit(const Scope& scope, const VitConfig& config);
  Tensor operator()(const Tensor& images) const;  // (B, channels, image, image) f32 -> logits (B, classes)

  Dim tokens() const { return config_.image / config_.patch * (config_.image / config_.patch) + config_.class_token; }
  // Multiply-accumulates of one forward pass a sample: all products, attention included. `dense`: with dense maps.
  Dim macs_per_sample(bool dense = false);

 private:
  Tensor patches(const Tensor& images) const;

  VitConfig config_;
  Linear patch_embed_;
  Tensor cls_token_, pos_embed_;  // (1, 1, width), (1, tokens, width)
  ModuleList<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

}  // namespace ashlar
