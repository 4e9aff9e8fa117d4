"""The models of the golden files, and their comparison with those of transformers and timm whose semantics they have.
Plain functions of a dictionary of weights, so that the names are those of the files."""
import math

import torch
import torch.nn.functional as F


def attention(q, k, v, heads, causal):
    """q, k, v (B, T, C) -> (B, T, C)."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.size(-1))
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


VIT = dict(image=16, patch=4, width=32, depth=2, heads=2, classes=10, batch=4)


def vit_shapes():
    c = VIT
    D, P, patches = c["width"], c["patch"], (c["image"] // c["patch"]) ** 2
    shapes = {"cls_token": (1, 1, D), "pos_embed": (1, patches + 1, D),
              "patch_embed.proj.weight": (D, 3, P, P), "patch_embed.proj.bias": (D,)}
    for b in range(c["depth"]):
        for name, shape in {"norm1": (D,), "attn.qkv": (3 * D, D), "attn.proj": (D, D), "norm2": (D,),
                            "mlp.fc1": (4 * D, D), "mlp.fc2": (D, 4 * D)}.items():
            shapes[f"blocks.{b}.{name}.weight"], shapes[f"blocks.{b}.{name}.bias"] = shape, shape[:1]
    return shapes | {"norm.weight": (D,), "norm.bias": (D,), "head.weight": (c["classes"], D),
                     "head.bias": (c["classes"],)}


def vit(w, images):
    """images (B, 3, H, W) -> logits (B, classes). Pre-norm, LayerNorm eps 1e-6, exact GELU, class token."""
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-6)

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    x = F.conv2d(images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=VIT["patch"])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], 1) + w["pos_embed"]
    for b in range(VIT["depth"]):
        block = f"blocks.{b}"
        q, k, v = linear(norm(x, f"{block}.norm1"), f"{block}.attn.qkv").chunk(3, -1)
        x = x + linear(attention(q, k, v, VIT["heads"], causal=False), f"{block}.attn.proj")
        x = x + linear(F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1")), f"{block}.mlp.fc2")
    return linear(norm(x, "norm")[:, 0], "head")


GPT2 = dict(vocab_size=97, n_positions=16, n_embd=32, n_layer=2, n_head=2)


def gpt2_shapes():
    D = GPT2["n_embd"]
    shapes = {"wte.weight": (GPT2["vocab_size"], D), "wpe.weight": (GPT2["n_positions"], D)}
    for b in range(GPT2["n_layer"]):
        # The weights of the four products are (in, out): transformers' Conv1D.
        for name, shape in {"ln_1": (D,), "attn.c_attn": (D, 3 * D), "attn.c_proj": (D, D), "ln_2": (D,),
                            "mlp.c_fc": (D, 4 * D), "mlp.c_proj": (4 * D, D)}.items():
            prefix = f"h.{b}.{name}"
            shapes[f"{prefix}.weight"], shapes[f"{prefix}.bias"] = shape, shape[-1:]
    return shapes | {"ln_f.weight": (D,), "ln_f.bias": (D,)}


def gpt2(w, tokens):
    """tokens (B, T) -> logits (B, T, vocabulary). Pre-norm, LayerNorm eps 1e-5, tanh GELU, tied head."""
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], 1e-5)

    def linear(x, name):
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][tokens] + w["wpe.weight"][:tokens.size(1)]
    for b in range(GPT2["n_layer"]):
        block = f"h.{b}"
        q, k, v = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").chunk(3, -1)
        x = x + linear(attention(q, k, v, GPT2["n_head"], causal=True), f"{block}.attn.c_proj")
        hidden = F.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"), approximate="tanh")
        x = x + linear(hidden, f"{block}.mlp.c_proj")
    return norm(x, "ln_f") @ w["wte.weight"].T


def wide(weights):
    return {name: value.double() for name, value in weights.items()}


def check_gpt2(weights, tokens):
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError:
        print("gpt2: transformers is not installed, not compared")
        return
    model = GPT2LMHeadModel(GPT2Config(**GPT2, bos_token_id=96, eos_token_id=96)).double().eval()
    model.transformer.load_state_dict(wide(weights))
    difference = (model(tokens).logits - gpt2(wide(weights), tokens)).abs().max().item()
    assert difference < 1e-12, difference
    print(f"gpt2: logits differ from transformers' by at most {difference:.1e}")


def check_vit(weights, images):
    try:
        from timm.models.vision_transformer import VisionTransformer
    except ImportError:
        print("vit: timm is not installed, not compared")
        return
    model = VisionTransformer(img_size=VIT["image"], patch_size=VIT["patch"], embed_dim=VIT["width"],
                              depth=VIT["depth"], num_heads=VIT["heads"], num_classes=VIT["classes"]).double().eval()
    model.load_state_dict(wide(weights))
    difference = (model(images.double()) - vit(wide(weights), images.double())).abs().max().item()
    assert difference < 1e-12, difference
    print(f"vit: logits differ from timm's by at most {difference:.1e}")
