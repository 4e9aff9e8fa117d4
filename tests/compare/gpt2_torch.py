"""Trains a GPT-2 124M in PyTorch on random tokens, compiled, in bf16 with fused AdamW, and prints tokens/s: the yardstick
of tests/gpu.sh. The last line is the median over the steps after the twentieth, timed five at a time as ours are."""
import argparse
import statistics
import time

import torch
from torch import nn
from torch.nn.attention import SDPBackend
from torch_models import Gpt2

WINDOW, SKIPPED = 5, 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--vocab", type=int, default=50304, help="padded, as nanoGPT does")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cuda", help="cpu tries the script where there is no GPU")
    args = parser.parse_args()
    on_gpu = args.device == "cuda"
    if on_gpu and not torch.cuda.is_available():
        raise SystemExit(f"torch {torch.__version__} sees no GPU")
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    model = Gpt2(args.vocab, args.context, args.width, args.depth, args.width // 64).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, weight_decay=0.1, fused=True)
    step_model = torch.compile(model)
    tokens = torch.randint(args.vocab, (args.batch, args.context + 1), device=args.device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    times = []
    for step in range(args.steps):
        if step % WINDOW == 0:
            if on_gpu:
                torch.cuda.synchronize()
            times.append(time.perf_counter())
        with torch.autocast(args.device, dtype=torch.bfloat16):
            loss = step_model(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    q = torch.empty(args.batch, args.width // 64, args.context, 64, device=args.device, dtype=torch.bfloat16, requires_grad=True)
    attention = SDPBackend(torch._fused_sdp_choice(q, q, q, is_causal=True)).name
    print(f"torch {torch.__version__} on {torch.cuda.get_device_name() if on_gpu else 'cpu'}, attention {attention}, "
          f"cuDNN {torch.backends.cudnn.version()}, loss {loss.item():.4f}")
    rates = [WINDOW * args.batch * args.context / (end - begin) for begin, end in zip(times, times[1:])][SKIPPED // WINDOW:]
    if rates:
        print(f"{statistics.median(rates):.0f} tokens_per_s ({min(rates):.0f} to {max(rates):.0f})")


main()
