#include "examples/models/vit.h"

namespace ashlar {
namespace {

constexpr double kStd = 0.02;
constexpr double kEps = 1e-6;  // as timm

const VitConfig& checked(const VitConfig& c) {
  ASHLAR_CHECK(c.patch >= 1 && c.image % c.patch == 0, "vit: image size ", c.image, " must be a multiple of patch ", c.patch);
  ASHLAR_CHECK(c.heads >= 1 && c.width % c.heads == 0, "vit: width ", c.width, " must be a multiple of heads ", c.heads);
  ASHLAR_CHECK(c.classes >= 1 && c.depth >= 0, "vit: needs at least one class and a depth of 0 or more");
  return c;
}

}  // namespace

kernels::Gelu gelu_named(std::string_view name) {
  ASHLAR_CHECK(name == "erf" || name == "tanh", "gelu '", name, "' is unknown; valid: erf, tanh");
  return name == "erf" ? kernels::Gelu::erf : kernels::Gelu::tanh;
}

std::string name_of(kernels::Gelu gelu) { return gelu == kernels::Gelu::erf ? "erf" : "tanh"; }

PatchEmbed::PatchEmbed(const Scope& scope, const VitConfig& c)
    : Module(scope),
      image_(c.image),
      patch_(c.patch),
      channels_(c.channels),
      proj_(sub("proj"), c.channels * c.patch * c.patch, c.width, "dense", {.std = kStd, .hidden = false}) {}

Tensor PatchEmbed::operator()(const Tensor& images) const {
  const Dim batch = images.size(0), grid = image_ / patch_;
  ASHLAR_CHECK(images.shape() == Shape({batch, channels_, image_, image_}), "vit: images ", images.shape(),
               " must be (B, ", channels_, ", ", image_, ", ", image_, ")");
  const Tensor blocks = F::reshape(images, {batch, channels_, grid, patch_, grid, patch_});
  const Tensor patches =
      F::reshape(F::permute(blocks, {0, 2, 4, 1, 3, 5}), {batch, grid * grid, channels_ * patch_ * patch_});
  return proj_(F::cast(patches, scope().dtype()));
}

Vit::Vit(const Scope& scope, const VitConfig& c)
    : Module(scope),
      config_(checked(c)),
      patch_embed_(sub("patch_embed"), c),
      pos_embed_(param("pos_embed", {1, tokens(), c.width}, init::truncated_normal(kStd), {.role = Role::embedding})),
      blocks_(sub("blocks")),
      norm_(sub("norm"), c.width, kEps),
      head_(sub("head"), c.width, c.classes, "dense", {.std = kStd, .hidden = false}) {
  if (c.class_token) {
    cls_token_ = param("cls_token", {1, 1, c.width}, init::truncated_normal(kStd), {.role = Role::embedding});
  }
  for (Dim i = 0; i < c.depth; ++i) {
    BlockConfig block{.width = c.width, .heads = c.heads, .hidden = c.hidden ? c.hidden : 4 * c.width,
                      .gelu = c.gelu, .eps = kEps, .std = kStd, .residual_std = kStd, .dropout = c.dropout,
                      .specs = c.linear};
    block.drop_path = c.depth > 1 ? c.drop_path * static_cast<double>(i) / static_cast<double>(c.depth - 1) : c.drop_path;
    blocks_.add(block);
  }
}

Tensor Vit::operator()(const Tensor& images) const {
  const Device device = scope().device();
  // Narrow before they travel.
  Tensor x = patch_embed_(images.device() == device ? images : Tensor(images.value().to(scope().dtype()).to(device)));
  if (config_.class_token) {
    const Tensor token = F::cast(cls_token_, x.dtype());
    x = F::concat(F::expand(token, {x.size(0), 1, config_.width}), x, 1);
  }
  x = x + pos_embed_;
  Residual stream{x};
  for (const auto& block : blocks_) stream = (*block)(stream);
  // Only what the head reads is normalised: each row by itself, so that selecting first gives the same.
  const Tensor pooled = config_.class_token ? norm_(F::select(stream.sum(), 1, 0)) : F::mean(norm_(stream).y, 1);
  return head_(pooled);
}

Dim Vit::macs_per_sample(bool dense) const {
  Dim total = 0;
  for (const auto& [path, map] : linear_maps(*this)) {
    const Dim grid = config_.image / config_.patch;
    const Dim rows = map == &head_.map() ? 1 : path == "patch_embed.proj" ? grid * grid : tokens();
    total += rows * (dense ? map->in_features() * map->out_features() : map->cost(1).macs_forward);
  }
  // q kᵀ and the product with v, over all heads
  return total + config_.depth * 2 * tokens() * tokens() * config_.width;
}

Exchange Vit::timm() const {
  const Dim width = config_.width, channels = config_.channels, patch = config_.patch;
  return [=](const Parameter& parameter) {
    if (parameter.name == "patch_embed.proj.weight") return ForeignTensor{parameter.name, {width, channels, patch, patch}};
    return ForeignTensor{parameter.name, parameter.tensor.shape()};
  };
}

}  // namespace ashlar
