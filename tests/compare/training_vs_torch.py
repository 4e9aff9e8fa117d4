#!/usr/bin/env python3
"""Training steps of the small models on the CPU, ours and PyTorch's, alternating.

    python3 tests/compare/training_vs_torch.py build/release/bin [--rounds 3] [--models vit,gpt] ...

Needs torch (made with 2.13.0, CPU) and, for its compiled models, a C++ compiler. Both train with AdamW, clipped to a norm
of 1, on the same number of threads. Ours is the whole program with its data, augmentation and logs; PyTorch trains on one
random batch in memory, eagerly and with torch.compile, with the usual implementations of structured layers
(layers_vs_torch.py). A rate is that of the median step of a round; the table gives medians over the rounds, and ours over
each of PyTorch's with the range over the rounds.
"""
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from torch import nn

import layers_vs_torch
import torch_models
from median_rate import training_rates

CONFIGS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/configs")
MODELS = {
    "vit": {"program": "train_vit", "config": "vit_tiny_cifar10.json", "batch": 128,
            "specs": ["dense", "low_rank:ratio=0.5", "monarch:blocks=3", "blast:blocks=3,ratio=0.5"]},
    "gpt": {"program": "train_gpt", "config": "gpt_mini_wikitext2.json", "batch": 16,
            "specs": ["dense", "low_rank:ratio=0.5", "monarch:blocks=4", "blast:blocks=4,ratio=0.5"]},
}


def linear_of(spec):
    """nn.Linear, or a class of structured layers with weights that keep the size of what goes through."""

    class Map(nn.Module):
        def __init__(self, n, m):
            super().__init__()
            weights, self.map = layers_vs_torch.make(spec, n, m)
            scale = self.map(torch.randn(256, n), *weights).std() ** (-1 / len(weights))
            self.weights = nn.ParameterList(nn.Parameter(scale * weight) for weight in weights)
            self.bias = nn.Parameter(torch.zeros(m))

        def forward(self, x):
            return (self.map(x.reshape(-1, x.shape[-1]), *self.weights) + self.bias).view(*x.shape[:-1], -1)

    return nn.Linear if spec == "dense" else Map


def make_model(name, spec, config):
    sizes = config["width"], config["depth"], config["heads"], linear_of(spec)
    if name == "vit":
        return torch_models.Vit(32, config["patch"], 10, *sizes)
    return torch_models.Gpt2(config["vocab"], config["context"], *sizes)


def make_inputs(name, config, batch):
    if name == "vit":
        return torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    tokens = torch.randint(config["vocab"], (batch, config["context"] + 1))
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def torch_step(name, spec, config, inputs, bf16, compiled):
    torch.manual_seed(1)
    model = make_model(name, spec, config)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1, fused=True)
    forward = torch.compile(model) if compiled else model

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = forward(*inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def seconds_of(step, count):
    """Of the median step after the first two."""
    times = []
    for _ in range(count + 2):
        began = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - began)
        if not math.isfinite(loss):
            sys.exit("a loss is not finite: the times mean nothing")
    return statistics.median(times[2:])


def our_rate(args, model, spec, out):
    command = [os.path.join(args.binaries, model["program"]), "--config", os.path.join(CONFIGS, model["config"]), "--layer", spec,
               "--optimizer", "adamw", "--lr", "0.001", "--batch", str(model["batch"]), "--dtype", args.dtype, "--threads",
               str(args.threads), "--steps", str(args.steps + 2), "--log-every", "1", "--eval-every", "0",
               "--checkpoint-every", "0", "--out", out, "--overwrite"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{run.stderr}")
    return statistics.median(training_rates(os.path.join(out, "metrics.jsonl"), 2)[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries")
    parser.add_argument("--models", default="vit,gpt")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12, help="of each in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, {args.dtype}; images or tokens a second")
    print("| model | layers | ours | PyTorch | compiled | ours / PyTorch | ours / compiled |\n" + "| --- " * 7 + "|")
    for name in args.models.split(","):
        model = MODELS[name]
        with open(os.path.join(CONFIGS, model["config"])) as file:
            config = json.load(file)
        inputs = make_inputs(name, config, model["batch"])
        counted = inputs[1].numel()
        for spec in model["specs"]:
            others = [torch_step(name, spec, config, inputs, args.dtype == "bf16", compiled) for compiled in (False, True)]
            with tempfile.TemporaryDirectory() as out:
                rounds = [[our_rate(args, model, spec, out), *(counted / seconds_of(step, args.steps) for step in others)]
                          for _ in range(args.rounds)]
            cells = [f"{statistics.median(rates):,.0f}" for rates in zip(*rounds)]
            for other in (1, 2):
                ratios = sorted(rates[0] / rates[other] for rates in rounds)
                cells.append(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})")
            print(f"| {name} | `{spec}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
