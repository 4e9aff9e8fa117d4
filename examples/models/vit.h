// Vision transformer (Dosovitskiy et al. 2021), with the parameter names of timm.
#pragma once
#include "layers/transformer.h"
#include "layers/weights.h"

namespace ashlar {

struct VitConfig {
  Dim image = 32, patch = 4, channels = 3, classes = 10;
  Dim width = 192, depth = 6, heads = 3, hidden = 0;  // hidden 0: 4 * width
  bool class_token = true;                            // false: the mean over patches goes to the head, as with timm's
                                                      // global_pool='avg', fc_norm=False
  double drop_path = 0;                               // of the last block; grows linearly with depth
  double dropout = 0;
  BlockSpecs linear = {};
  kernels::Gelu gelu = kernels::Gelu::erf;
};

// As options and configs name it: erf or tanh. InputError for another name.
kernels::Gelu gelu_named(std::string_view name);
std::string name_of(kernels::Gelu gelu);

// Images to tokens: a linear map on flattened patches. In timm's files it is a convolution, whose weight
// (width, channels, patch, patch) has the same values in the same order.
class PatchEmbed final : public Module {
 public:
  PatchEmbed(const Scope& scope, const VitConfig& config);
  Tensor operator()(const Tensor& images) const;  // (B, channels, image, image) -> (B, grid², width)

 private:
  Dim image_, patch_, channels_;
  Linear proj_;
};

class Vit final : public Module {
 public:
  Vit(const Scope& scope, const VitConfig& config);
  Tensor operator()(const Tensor& images) const;  // (B, channels, image, image) f32 -> logits (B, classes)

  Dim tokens() const { return config_.image / config_.patch * (config_.image / config_.patch) + config_.class_token; }
  // Multiply-accumulates of one forward pass a sample: all products, attention included. `dense`: with dense maps.
  Dim macs_per_sample(bool dense = false) const;
  // timm's names and shapes.
  Exchange timm() const;

 private:
  VitConfig config_;
  PatchEmbed patch_embed_;
  Tensor cls_token_, pos_embed_;  // (1, 1, width), (1, tokens, width)
  ModuleList<Block> blocks_;
  LayerNorm norm_;
  Linear head_;
};

}  // namespace ashlar
