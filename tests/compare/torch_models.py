"""The models of examples/models in PyTorch, with any class of linear maps, for measurements beside ours."""
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads, causal, linear=nn.Linear):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = linear(width, 3 * width), linear(width, width)
        self.fc1, self.fc2 = linear(width, 4 * width), linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=2))
        attention = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.proj(attention.transpose(1, 2).reshape(b, t, c))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate="tanh" if self.causal else "none"))


class Gpt2(nn.Module):
    def __init__(self, vocab, context, width, depth, heads, linear=nn.Linear):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, True, linear) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        logits = self.norm(x) @ self.wte.weight.t()
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


class Vit(nn.Module):
    """Without a class token: the mean over patches goes to the head."""

    def __init__(self, image, patch, classes, width, depth, heads, linear=nn.Linear):
        super().__init__()
        self.patch = patch
        self.embed = nn.Linear(3 * patch * patch, width)
        self.position = nn.Parameter(0.02 * torch.randn(1, (image // patch) ** 2, width))
        self.blocks = nn.ModuleList(Block(width, heads, False, linear) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, images, labels):
        b, c, side, _ = images.shape
        patches = images.view(b, c, side // self.patch, self.patch, side // self.patch, self.patch)
        x = self.embed(patches.permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * self.patch**2)) + self.position
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x).mean(1)), labels)
