"""Trains a GPT-2 124M in PyTorch on random tokens, compiled, in bf16 with fused AdamW, and prints tokens/s: the yardstick
of tests/gpu.sh. The last line is the median over the steps after the twentieth."""
import argparse
import statistics
import time

import torch
from torch import nn
from torch_models import Gpt2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=50304, help="padded, as nanoGPT does")
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Gpt2(args.vocab, args.context, 768, 12, 12).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, weight_decay=0.1, fused=True)
    step_model = torch.compile(model)
    tokens = torch.randint(50257, (args.batch, args.context + 1), device="cuda")
    rates = []
    for step in range(args.steps):
        torch.cuda.synchronize()
        began = time.perf_counter()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = step_model(tokens[:, :-1], tokens[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        rates.append(args.batch * args.context / (time.perf_counter() - began))
    late = rates[20:]
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name()}, loss {loss.item():.4f}")
    print(f"{statistics.median(late):.0f} tokens_per_s ({min(late):.0f} to {max(late):.0f})")


main()
