#!/usr/bin/env python3
"""Structured layers against their usual implementations in PyTorch, forward plus backward, alternating.

    python3 tests/compare/layers_vs_torch.py build/release/bin/bench_layers [--tokens 4096] [--rounds 3] [--layers ...]

Needs torch (made with 2.13.0, CPU), which nothing else in the project does. For each layer and shape, each round runs
bench_layers and then the PyTorch layer, with the same number of threads; the table gives medians over the rounds and
PyTorch's time over ours, with the range over the rounds.
"""
import argparse
import json
import statistics
import subprocess
import time

import torch

SHAPES = [(384, 384), (384, 1536), (1536, 384), (768, 768), (768, 3072), (3072, 768)]


# Each gives the weights for n inputs and m outputs, and the function of x (T, n) and them.
def dense(n, m):
    return [torch.randn(m, n)], torch.nn.functional.linear


def low_rank(n, m, ratio):
    rank = int(ratio * n * m / (n + m)) // 8 * 8
    linear = torch.nn.functional.linear
    return [torch.randn(m, rank), torch.randn(rank, n)], lambda x, u, v: linear(linear(x, v), u)


def monarch(n, m, blocks):
    """Two batched products with a transpose between them (Dao et al. 2022)."""
    blocks = int(blocks)
    inner = min(n, m) // blocks

    def forward(x, right, left):
        hidden = torch.bmm(x.view(-1, blocks, n // blocks).transpose(0, 1), right)  # (blocks, T, inner)
        hidden = hidden.permute(1, 2, 0).reshape(-1, blocks, inner).transpose(0, 1)  # the permutation
        return torch.bmm(hidden, left).permute(1, 2, 0).reshape(-1, m)

    return [torch.randn(blocks, n // blocks, inner), torch.randn(blocks, inner, m // blocks)], forward


def block_diagonal(n, m, blocks):
    blocks = int(blocks)

    def forward(x, weight):
        return torch.bmm(x.view(-1, blocks, n // blocks).transpose(0, 1), weight).transpose(0, 1).reshape(-1, m)

    return [torch.randn(blocks, n // blocks, m // blocks)], forward


def blast(n, m, blocks, ratio):
    """bmm, a product broadcast over the blocks, a sum, bmm: the form of the authors' code."""
    blocks = int(blocks)
    rank = int(ratio * n * m / (n + m + blocks * blocks)) // 8 * 8

    def forward(x, v, s, u):
        hidden = torch.bmm(x.view(-1, blocks, n // blocks).transpose(0, 1), v)  # (blocks, T, rank)
        hidden = (hidden.unsqueeze(0) * s).sum(1)
        return torch.bmm(hidden, u).transpose(0, 1).reshape(-1, m)

    return [torch.randn(blocks, n // blocks, rank), torch.randn(blocks, blocks, 1, rank),
            torch.randn(blocks, rank, m // blocks)], forward


FAMILIES = {f.__name__: f for f in (dense, low_rank, monarch, block_diagonal, blast)}
LAYERS = ["dense", "low_rank:ratio=0.5", "monarch:blocks=4", "block_diagonal:blocks=4", "blast:blocks=3,ratio=0.5",
          "blast:blocks=6,ratio=0.5", "blast:blocks=16,ratio=0.5"]


def make(spec, n, m):
    name, _, sizes = spec.partition(":")
    return FAMILIES[name](n, m, **{key: float(value) for key, value in (size.split("=") for size in sizes.split(",") if size)})


def torch_ms(spec, tokens, n, m, repeats):
    """Median of forward plus backward with gradients of x and all weights, bias included as ours has one."""
    weights, forward = make(spec, n, m)
    bias = torch.zeros(m, requires_grad=True)
    x, dy = torch.randn(tokens, n, requires_grad=True), torch.randn(tokens, m)
    for weight in weights:
        weight.requires_grad_()
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        y = forward(x, *weights) + bias
        y.backward(dy)
        times.append(1e3 * (time.perf_counter() - start))
        for p in [x, bias, *weights]:
            p.grad = None
    return statistics.median(times[2:])


def our_ms(binary, spec, tokens, n, m, threads, repeats):
    out = subprocess.run([binary, "--layers", spec, "--shapes", f"{n}x{m}", "--tokens", str(tokens), "--threads",
                          str(threads), "--repeats", str(repeats)], check=True, capture_output=True, text=True).stdout
    return sum(json.loads(line)["ms"] for line in out.splitlines())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", default=";".join(LAYERS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.tokens} tokens, forward + backward, f32")
    print("| layer | in → out | ours, ms | PyTorch, ms | PyTorch / ours (range) |\n| --- | --- | --- | --- | --- |")
    for spec in args.layers.split(";"):
        for n, m in SHAPES:
            ours, theirs = [], []
            for _ in range(args.rounds):
                ours.append(our_ms(args.binary, spec, args.tokens, n, m, args.threads, args.repeats))
                theirs.append(torch_ms(spec, args.tokens, n, m, args.repeats))
            ratios = sorted(b / a for a, b in zip(ours, theirs))
            print(f"| `{spec}` | {n} → {m} | {statistics.median(ours):.1f} | {statistics.median(theirs):.1f} | "
                  f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
