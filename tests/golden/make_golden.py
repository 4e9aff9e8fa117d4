#!/usr/bin/env python3
"""Makes the golden files of this folder with PyTorch on the CPU; README.md says what is in them.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy
    venv/bin/python tests/golden/make_golden.py

If `transformers` or `timm` can be imported, the models are first compared with theirs.
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

import preconditioned
from models import GPT2, VIT, check_gpt2, check_vit, gpt2, gpt2_shapes, vit, vit_shapes

SEED = 20240607
STEPS = 20
HERE = pathlib.Path(__file__).resolve().parent


def save(path, tensors, **metadata):
    """Writes a safetensors file. The package of that name orders the metadata by chance; here the same values give
    the same bytes."""
    names = {torch.float64: "F64", torch.float32: "F32", torch.int64: "I64"}
    header = {"__metadata__": {"torch": torch.__version__, "seed": str(torch.initial_seed()), **metadata}}
    data = b""
    # Wide types first keeps every value aligned.
    for name, value in sorted(tensors.items(), key=lambda item: -item[1].element_size()):
        values = value.detach().contiguous().numpy().tobytes()
        header[name] = {"dtype": names[value.dtype], "shape": list(value.shape),
                        "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    print(f"{path.relative_to(HERE)}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def to(tensors, dtype):
    """Copies in which floating values have the dtype."""
    return {name: value.detach().clone().to(dtype) if value.is_floating_point() else value
            for name, value in tensors.items()}


# ---- Optimizers -----------------------------------------------------------------------------------------------------

class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, written for this purpose from the description: one slice of a 3-D parameter at a time, the
    shape factor from the last two dimensions, AdamW for 1-D parameters."""

    def __init__(self, params, lr, adamw_lr, momentum=0.95, nesterov=True, weight_decay=0.0, steps=5):
        params = list(params)
        self.adamw = torch.optim.AdamW([p for p in params if p.ndim == 1], lr=adamw_lr, betas=(0.9, 0.95), eps=1e-10,
                                       weight_decay=weight_decay)
        super().__init__([p for p in params if p.ndim > 1],
                         dict(lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay, steps=steps))

    @staticmethod
    def orthogonalised(g, steps):
        x = g / (g.norm() + 1e-7)
        if g.size(0) > g.size(1):
            x = x.T
        for _ in range(steps):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        return x.T if g.size(0) > g.size(1) else x

    @torch.no_grad()
    def step(self):
        self.adamw.step()
        self.state.update(self.adamw.state)
        for group in self.param_groups:
            mu = group["momentum"]
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - mu)
                u = p.grad.lerp(buffer, mu) if group["nesterov"] else buffer
                p.mul_(1 - group["lr"] * group["weight_decay"])
                for w, m in zip(p.view(-1, *p.shape[-2:]), u.reshape(-1, *p.shape[-2:])):
                    w.sub_(self.orthogonalised(m, group["steps"]),
                           alpha=group["lr"] * max(1, m.size(0) / m.size(1)) ** 0.5)


def given_gradients(shapes):
    """(STEPS, ...) for each parameter; their size differs by element and grows and shrinks over the steps, so that every
    moment matters."""
    size = {name: torch.exp(torch.randn(shape)) for name, shape in shapes.items()}
    wave = 1 + 0.9 * torch.sin(torch.arange(STEPS) * 0.7)
    return {name: torch.stack([wave[k] * size[name] * (0.3 + torch.randn(shape)) for k in range(STEPS)])
            for name, shape in shapes.items()}


def make_optimizers():
    """Final weights and state after STEPS updates with given gradients, in f32 and f64."""
    shapes = {"matrix": (7, 5), "factors": (3, 5, 4), "bias": (7,)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    gradients = given_gradients(shapes)
    factors = torch.tensor([0.5 * (1 + math.cos(math.pi * k / STEPS)) for k in range(STEPS)], dtype=torch.float64)
    cases = {
        "sgd_plain": (torch.optim.SGD, dict(lr=0.05)),
        "sgd_momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9)),
        "sgd_nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True)),
        "sgd_decay": (torch.optim.SGD, dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1)),
        "adamw": (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.0)),
        "adamw_decay": (torch.optim.AdamW, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
        # Gradients clipped to a global norm of 3 and the learning rate times lr_factors[step].
        "adamw_clipped": (torch.optim.AdamW, dict(lr=0.02, betas=(0.9, 0.95), weight_decay=0.1)),
        "muon": (Muon, dict(lr=0.02, adamw_lr=0.01)),
        "muon_decay": (Muon, dict(lr=0.05, adamw_lr=0.02, momentum=0.8, nesterov=False, weight_decay=0.1, steps=3)),
    }
    out = {f"weights/{name}": value for name, value in weights.items()}
    out |= {f"gradients/{name}": value for name, value in gradients.items()}
    out["lr_factors"] = factors
    for case, (kind, options) in cases.items():
        for dtype, label in ((torch.float32, "f32"), (torch.float64, "f64")):
            params = {name: value.requires_grad_() for name, value in to(weights, dtype).items()}
            optimizer = kind(params.values(), **options, **({} if kind is Muon else {"foreach": False}))
            for k in range(STEPS):
                for name, param in params.items():
                    param.grad = gradients[name][k].to(dtype, copy=True)  # clipping writes
                if case == "adamw_clipped":
                    torch.nn.utils.clip_grad_norm_(params.values(), 3.0)
                    optimizer.param_groups[0]["lr"] = options["lr"] * factors[k].item()
                optimizer.step()
            for name, param in params.items():
                out[f"{case}/{label}/{name}"] = param
                for key, value in optimizer.state[param].items():
                    if key != "step" and value is not None:
                        out[f"{case}/{label}/{name}/{key}"] = value
    save(HERE / "optimizers.safetensors", out, steps=str(STEPS),
         cases=json.dumps({case: options for case, (_, options) in cases.items()}))


def make_preconditioned():
    """Final weights after STEPS updates with given gradients, in f32 and f64."""
    # The short side is one shorter than the long one: the bases of the first step are then unique up to signs.
    shapes = {"tall": (6, 5), "wide": (4, 5), "factors": (3, 5, 4), "bias": (6,), "left": (6, 3), "right": (5, 3),
              "partners": (3, 6, 4)}
    weights = {name: torch.randn(shape) for name, shape in shapes.items()}
    gradients = given_gradients(shapes)
    plain = dict(lr=0.02, adamw_lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    decayed = dict(lr=0.05, adamw_lr=0.02, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1)
    kinds = {"soap": preconditioned.Soap, "shampoo": preconditioned.Shampoo, "precgd": preconditioned.PrecGd,
             "scaled_gd": preconditioned.PrecGd, "galore": preconditioned.Galore, "dct": preconditioned.DctAdamW}
    cases = {
        "soap": plain | dict(refresh_every=3, max_precond_dim=6),
        "soap_decay": decayed | dict(refresh_every=5, max_precond_dim=4),
        "shampoo": plain | dict(refresh_every=3, max_precond_dim=6, damping=1e-4, graft=True),
        "shampoo_decay": decayed | dict(refresh_every=1, max_precond_dim=4, damping=1e-2, graft=False),
        "precgd": plain | dict(momentum=0.9, damping=0.1, refresh_every=3, rms=0.0),
        "precgd_decay": decayed | dict(momentum=0.5, damping=0.01, refresh_every=1, rms=0.2),
        "scaled_gd": plain | dict(lr=0.005, momentum=0.0, damping=0.0, refresh_every=1, rms=0.0),
        "scaled_gd_decay": decayed | dict(lr=0.005, momentum=0.5, damping=0.0, refresh_every=4, rms=0.0),
        "galore": plain | dict(rank=2, refresh_every=7, scale=0.25),
        "galore_decay": decayed | dict(rank=3, refresh_every=5, scale=1.0),
        "dct": plain | dict(rank=2, refresh_every=4, scale=0.25),
        "dct_feedback": plain | dict(rank=2, refresh_every=4, scale=0.25, error_feedback=True),
        "dct_decay": decayed | dict(rank=3, refresh_every=1, scale=1.0),
    }
    out = {f"weights/{name}": value for name, value in weights.items()}
    out |= {f"gradients/{name}": value for name, value in gradients.items()}
    for case, options in cases.items():
        kind = case.removesuffix("_decay").removesuffix("_feedback")
        names = ["left", "right", "factors", "partners", "bias"] if kinds[kind] is preconditioned.PrecGd else ["tall", "wide", "factors", "bias"]
        results = {}
        for dtype, label in ((torch.float32, "f32"), (torch.float64, "f64")):
            params = to({name: weights[name] for name in names}, dtype)
            optimizer = kinds[kind](params, **options)
            for k in range(STEPS):
                optimizer.step({name: gradients[name][k].to(dtype) for name in names})
            results[label] = params
            out |= {f"{case}/{label}/{name}": value for name, value in params.items()}
        # A case that amplifies rounding would compare nothing.
        for name, value in results["f64"].items():
            moved = (results["f32"][name].double() - value).norm() / value.norm()
            assert moved < 1e-5, (case, name, moved)
    save(HERE / "preconditioned.safetensors", out, steps=str(STEPS), cases=json.dumps(cases))


# ---- Models ---------------------------------------------------------------------------------------------------------

def random_weights(shapes):
    """Larger than a usual initialisation, so that every part shows in the result; norms around 1."""
    weights = {}
    for name, shape in shapes.items():
        is_gain = len(shape) == 1 and name.endswith("weight")
        weights[name] = 0.1 * torch.randn(shape) + (1.0 if is_gain else 0.0)
    return weights


def expected(model, weights, batch, targets, decayed):
    """Logits, losses and every gradient in f64 from the f32 weights; the losses along 20 AdamW steps in f32 and f64."""
    def loss_of(logits, smoothing=0.0):
        return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), label_smoothing=smoothing)

    inputs = next(iter(batch.values()))
    w = {name: value.requires_grad_() for name, value in to(weights, torch.float64).items()}
    logits = model(w, inputs.double() if inputs.is_floating_point() else inputs)
    logits.retain_grad()
    loss = loss_of(logits)
    loss.backward()
    out = batch | {"targets": targets, "logits": logits, "loss": loss.reshape(1), "dlogits": logits.grad}
    out |= {f"gradients/{name}": value.grad for name, value in w.items()}
    smooth_logits = logits.detach().requires_grad_()
    smooth = loss_of(smooth_logits, 0.1)
    smooth.backward()
    out |= {"smoothed_loss": smooth.reshape(1), "smoothed_dlogits": smooth_logits.grad}

    for dtype, label in ((torch.float32, "f32"), (torch.float64, "f64")):
        w = {name: value.requires_grad_() for name, value in to(weights, dtype).items()}
        x = inputs.to(dtype) if inputs.is_floating_point() else inputs
        optimizer = torch.optim.AdamW([
            dict(params=[w[name] for name in w if name in decayed], weight_decay=0.05),
            dict(params=[w[name] for name in w if name not in decayed], weight_decay=0.0)], lr=1e-3, foreach=False)
        losses = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(model(w, x))
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        losses.append(loss_of(model(w, x)).item())
        out[f"losses_{label}"] = torch.tensor(losses, dtype=torch.float64)
    return out


def make_vit():
    weights = random_weights(vit_shapes())
    batch = {"images": torch.randn(VIT["batch"], 3, VIT["image"], VIT["image"])}
    targets = torch.randint(VIT["classes"], (VIT["batch"],))
    decayed = [name for name, value in weights.items() if name.endswith("weight") and value.ndim > 1]
    check_vit(weights, batch["images"])
    save(HERE / "vit" / "model.safetensors", weights, config=json.dumps(VIT))
    save(HERE / "vit" / "expected.safetensors", expected(vit, weights, batch, targets, decayed),
         decayed=json.dumps(decayed))


def make_gpt2():
    weights = random_weights(gpt2_shapes())
    tokens = torch.randint(GPT2["vocab_size"], (4, GPT2["n_positions"] + 1))
    decayed = [name for name, value in weights.items() if name.startswith("h.") and value.ndim > 1]
    check_gpt2(weights, tokens[:, :-1])
    save(HERE / "gpt2" / "model.safetensors", weights, format="pt")
    save(HERE / "gpt2" / "expected.safetensors",
         expected(gpt2, weights, {"tokens": tokens[:, :-1]}, tokens[:, 1:].contiguous(), decayed),
         decayed=json.dumps(decayed))
    config = dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", **GPT2, n_inner=None,
                  activation_function="gelu_new", layer_norm_epsilon=1e-5, attn_pdrop=0.0, embd_pdrop=0.0,
                  resid_pdrop=0.0, scale_attn_weights=True, tie_word_embeddings=True, bos_token_id=96, eos_token_id=96)
    (HERE / "gpt2" / "config.json").write_text(json.dumps(config, indent=2) + "\n")


# ---- One BLAST layer ------------------------------------------------------------------------------------------------

def make_blast():
    """y_i = U_i sum_j S_ij * (V_j^T x_j) + bias_i for block i of the outputs and block j of the inputs, in f64."""
    rows, out_blocks, in_blocks, p, q, rank = 7, 3, 2, 4, 5, 5
    f64 = dict(dtype=torch.float64, requires_grad=True)
    x = torch.randn(rows, in_blocks * q, **f64)
    U, V = torch.randn(out_blocks, p, rank, **f64), torch.randn(in_blocks, q, rank, **f64)
    S, bias = torch.randn(out_blocks, in_blocks, rank, **f64), torch.randn(out_blocks * p, **f64)
    y = torch.einsum("ipr,ijr,jqr,njq->nip", U, S, V, x.unflatten(1, (in_blocks, q))).flatten(1) + bias
    dy = torch.randn(y.shape, dtype=torch.float64)
    y.backward(dy)
    dense = torch.einsum("ipr,ijr,jqr->ipjq", U, S, V).reshape(out_blocks * p, in_blocks * q)
    save(HERE / "blast.safetensors",
         dict(x=x, U=U, V=V, S=S, bias=bias, y=y, dense=dense, dy=dy, dx=x.grad, dU=U.grad, dV=V.grad, dS=S.grad,
              dbias=bias.grad))


if __name__ == "__main__":
    torch.set_num_threads(1)
    # A seed for each file, so that one can change without the others.
    for offset, make in enumerate([make_optimizers, make_vit, make_gpt2, make_blast, make_preconditioned]):
        torch.manual_seed(SEED + offset)
        make()
