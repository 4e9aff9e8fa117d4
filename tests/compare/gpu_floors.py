"""Prints the floors of tests/gpu_results.md: what an H200 could reach if every kernel of the CUDA backend ran at its peak.

A kernel takes the longer of its FLOPs at 790 TFLOP/s and its bytes at 4.8 TB/s; kernels follow each other. Operands cross
memory once a kernel, in bf16; nothing is found in the L2 cache. Launches cost nothing. The fused kernels of BLAST and SS1
multiply at half that speed and are taken where the count of kernels/fusion.h takes them. Usage: gpu_floors.py
"""
FLOPS, BYTES, OWN_RATE = 790e12, 4.8e12, 0.5


def kernel(macs, elements, extra_bytes=0, rate=1):
    """Seconds a row: MACs, at `rate` times the speed, and bf16 elements of a row, and other bytes."""
    return max(2 * macs / FLOPS / rate, (2 * elements + extra_bytes) / BYTES)


def round_up(value, multiple):
    return -(-value // multiple) * multiple


class Layer:
    """n -> m: seconds a row of each pass, and its MACs; `rows` share the weights."""

    def __init__(self, n, m, rows):
        self.n, self.m, self.rows = n, m, rows

    def weights(self, *counts):  # master weights rounded to bf16 in the forward: read in f32, written
        return sum(6 * count for count in counts) / self.rows / BYTES


class Dense(Layer):
    """`before_gelu`: the forward also writes gelu(y); `of_gelu`: the gradient of x is multiplied with gelu'."""

    def __init__(self, n, m, rows, before_gelu=False, of_gelu=False):
        super().__init__(n, m, rows)
        self.macs, self.forward_extra, self.backward_extra = n * m, m * before_gelu, n * of_gelu

    def forward(self):
        n, m = self.n, self.m
        return self.weights(n * m) + kernel(n * m, n + m + self.forward_extra, 2 * n * m / self.rows)

    def backward(self):
        n, m, w = self.n, self.m, self.n * self.m / self.rows
        return kernel(n * m, n + m + self.backward_extra, 2 * w) + kernel(n * m, n + m, 4 * w)


class LowRank(Layer):
    def __init__(self, n, m, rows, rank):
        super().__init__(n, m, rows)
        self.r, self.macs = rank, rank * (n + m)

    def forward(self):
        n, m, r = self.n, self.m, self.r
        return self.weights(n * r, m * r) + kernel(n * r, n + r) + kernel(m * r, r + m)

    def backward(self):
        n, m, r = self.n, self.m, self.r
        return 2 * kernel(m * r, m + r) + 2 * kernel(n * r, n + r)


class Blast(Layer):
    """The coupling inside the product from x or dy, or a pass; A and C kept by the forward. Tiles are those of 6 blocks."""

    def __init__(self, n, m, rows, blocks, rank):
        super().__init__(n, m, rows)
        self.b, self.r, self.macs = blocks, rank, rank * (n + m + blocks * blocks)

    def coupled(self, side):  # from x or dy to values of the rank on both sides of the coupling
        r, a = self.r, self.b * self.r
        fused = kernel(side * round_up(r, 96), side + a, rate=OWN_RATE) + kernel(0, a)
        return min(fused, kernel(side * r, side + a) + kernel(0, 2 * a))

    def forward(self):
        n, m, r, a = self.n, self.m, self.r, self.b * self.r
        return self.weights(n * r, m * r) + self.coupled(n) + kernel(m * r, a + m)

    def backward(self):
        n, m, r, a = self.n, self.m, self.r, self.b * self.r
        from_dy, coupling = self.coupled(m), kernel(0, 2 * a)
        factors_and_dx = kernel(m * r, m + a) + 2 * kernel(n * r, n + a)
        return from_dy + coupling + factors_and_dx


class Monarch(Layer):
    def __init__(self, n, m, rows, blocks, rank):
        super().__init__(n, m, rows)
        self.rank, self.hidden, self.macs = rank, blocks * rank, rank * (n + m)

    def product(self, side):  # of one factor, between n or m and the hidden features
        return kernel(side * self.rank, side + self.hidden)

    def forward(self):
        return self.weights(self.macs) + self.product(self.n) + self.product(self.m)

    def backward(self):
        return 2 * (self.product(self.n) + self.product(self.m))


class Ss1(Layer):
    """Sketch inside the products, or a pass; the forward writes it for the backward."""

    def __init__(self, n, m, rows, reduction):
        super().__init__(n, m, rows)
        self.u, self.macs = n // reduction, m * n // reduction

    def forward(self):
        n, m, u = self.n, self.m, self.u
        product = min(kernel(round_up(u, 32) * round_up(m, 128), m, rate=OWN_RATE), kernel(self.macs, u + m))
        return self.weights(self.macs) + kernel(0, n + u) + product

    def backward(self):
        n, m, u = self.n, self.m, self.u
        fused = kernel(round_up(u, 128) * m, m + n, rate=OWN_RATE)
        return min(fused, kernel(self.macs, m + u) + kernel(0, u + n)) + kernel(self.macs, m + u)


class BlockDiagonal(Dense):
    def __init__(self, n, m, rows, blocks):
        Layer.__init__(self, n, m, rows)
        self.macs = n * m // blocks

    def forward(self):
        return self.weights(self.macs) + kernel(self.macs, self.n + self.m)

    def backward(self):
        return 2 * kernel(self.macs, self.n + self.m)


def rank_for_ratio(ratio, n, m, coupling=0):
    return int(ratio * n * m / (n + m + coupling)) // 8 * 8


def transformer(width, depth, context, rows, causal, tanh_gelu, parameters, structured=None, vocabulary=0):
    """Seconds a token of a training step: forward, backward, clipping and AdamW."""
    def linear(n, m, name):
        if structured and name in ("qkv", "fc1", "fc2"):
            return structured(n, m, rows)
        return Dense(n, m, rows, tanh_gelu and name == "fc1", tanh_gelu and name == "fc2")

    layers = [linear(width, 3 * width, "qkv"), linear(width, width, "proj"), linear(width, 4 * width, "fc1"),
              linear(4 * width, width, "fc2")]
    total = sum(layer.forward() + layer.backward() for layer in layers)
    keys = context * width * (0.5 if causal else 1)  # MACs of one of the products of attention
    total += kernel(2 * keys, 4 * width)
    if context <= 80:  # a block holds a head
        total += kernel(5 * keys, 8 * width)
    else:
        total += kernel(3 * keys, 6 * width) + kernel(4 * keys, 6 * width)
    total += 2 * (kernel(0, 4 * width) + kernel(0, 4 * width))  # norms with their residual sums, forward and backward
    if structured or not tanh_gelu:
        total += kernel(0, 8 * width) + kernel(0, 12 * width)  # GELU, forward and backward, as passes
    total *= depth
    if vocabulary:
        total += kernel(width * vocabulary, width + vocabulary) * 3 + kernel(0, 2 * vocabulary)
    # Squares of the gradients, their scaling where the norm is above its limit, AdamW.
    return total + (4 + 8 + 28) * parameters / rows / BYTES


def main():
    print("| what | bar | floor |\n| --- | --- | --- |")
    gpt = dict(width=768, depth=12, context=1024, rows=32 * 1024, causal=True, tanh_gelu=True, vocabulary=50257)
    dense = transformer(parameters=124e6, **gpt)
    blast = transformer(parameters=124e6 - 12 * (10 * 768**2 - 192 * (15 * 768 + 3 * 36)),
                        structured=lambda n, m, rows: Blast(n, m, rows, 6, 192), **gpt)
    print(f"| GPT-2 124M dense, context 1024, tokens/s | 500,000 | {1 / dense:,.0f} |")
    print(f"| the same with BLAST blocks 6, rank 192 on qkv, fc1, fc2 | 1.4 x dense | {1 / blast:,.0f}, {dense / blast:.2f} x |")
    for tokens, what, bar in [(64, "ViT-S, patch 4, images/s", "60,000"), (65, "the same with a class token", "–")]:
        exact, tanh = (1 / transformer(384, 12, tokens, 1024 * tokens, False, gelu, 21e6) / tokens for gelu in (False, True))
        print(f"| {what} | {bar} | {exact:,.0f}; {tanh:,.0f} with GELU by the tanh formula |")

    rows = 8192
    shapes = [(768, 768), (768, 3072), (3072, 768), (3072, 3072)]
    kinds = {
        "low_rank": lambda n, m, ratio: LowRank(n, m, rows, rank_for_ratio(ratio, n, m)),
        "blast, 6 blocks": lambda n, m, ratio: Blast(n, m, rows, 6, rank_for_ratio(ratio, n, m, 36)),
        "monarch, 4 blocks": lambda n, m, ratio: Monarch(n, m, rows, 4, rank_for_ratio(ratio, n, m)),
        "ss1": lambda n, m, ratio: Ss1(n, m, rows, round(1 / ratio)),
        "block_diagonal": lambda n, m, ratio: BlockDiagonal(n, m, rows, round(1 / ratio)),
    }
    print("\n| layer, forward / backward | " + " | ".join(f"{n} → {m}" for n, m in shapes) + " |")
    print("| --- " * (len(shapes) + 1) + "|")
    for name, make in kinds.items():
        for ratio in (0.5, 0.25):
            cells = []
            for n, m in shapes:
                layer, dense = make(n, m, ratio), Dense(n, m, rows)
                forward, backward = dense.forward() / layer.forward(), dense.backward() / layer.backward()
                cells.append(f"{forward * layer.macs / dense.macs:.2f} / {backward * layer.macs / dense.macs:.2f}")
            print(f"| {name}, ratio {ratio} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
