"""Reference implementations of the preconditioned optimizers, written for the golden files from the descriptions in
optim/*.h: one matrix at a time, each as plainly as its formula."""
import math

import torch


def adam_direction(state, g, betas, eps, t):
    """m' / (sqrt v' + eps) in update number t."""
    m = state.setdefault("exp_avg", torch.zeros_like(g))
    v = state.setdefault("exp_avg_sq", torch.zeros_like(g))
    m.copy_(betas[0] * m + (1 - betas[0]) * g)
    v.copy_(betas[1] * v + (1 - betas[1]) * g * g)
    return (m / (1 - betas[0] ** t)) / ((v / (1 - betas[1] ** t)).sqrt() + eps)


class MatrixOptimizer:
    """`direction` for every matrix of the parameters that it `treats`, AdamW for the others. All decayed."""

    def __init__(self, params, lr, adamw_lr, betas, eps, weight_decay=0.0, **options):
        self.params, self.lr, self.adamw_lr = params, lr, adamw_lr
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        for key, value in options.items():
            setattr(self, key, value)
        self.state = {name: [{} for _ in p.reshape(-1, *p.shape[-2:])] if self.treats(p) else [{}]
                      for name, p in params.items()}
        self.t = 0
        # The matrices take turns: parameter k of n refreshes k / n of the interval earlier than the first one.
        matrices = [name for name, p in params.items() if self.treats(p)]
        for k, name in enumerate(matrices):
            for state in self.state[name]:
                state["ahead"] = k * self.refresh_every // len(matrices)

    def treats(self, p):
        return p.ndim > 1

    def begin_step(self):
        pass

    def finish(self, name, directions):
        return directions

    def refreshes(self, state):
        return self.t == 1 or (self.t - 1 + state["ahead"]) % self.refresh_every == 0

    def step(self, gradients):
        self.t += 1
        self.begin_step()
        for name, p in self.params.items():
            if not self.treats(p):
                d = adam_direction(self.state[name][0], gradients[name], self.betas, self.eps, self.t)
                p.mul_(1 - self.adamw_lr * self.weight_decay).sub_(self.adamw_lr * d)
                continue
            matrices = zip(self.state[name], gradients[name].reshape(-1, *p.shape[-2:]))
            directions = [self.direction(state, g) for state, g in matrices]
            if directions[0] is not None:
                d = self.finish(name, torch.stack(directions).reshape(p.shape))
                p.mul_(1 - self.lr * self.weight_decay).sub_(self.lr * d)


class TwoSided(MatrixOptimizer):
    """Of matrices with a side of at most max_precond_dim, and from those sides."""

    def treats(self, p):
        return p.ndim > 1 and min(p.shape[-2:]) <= self.max_precond_dim


class Soap(TwoSided):
    """Vyas et al. 2024."""

    def direction(self, state, g):
        grams = {"L": g @ g.T, "R": g.T @ g}
        sides = [side for side in "LR" if grams[side].size(0) <= self.max_precond_dim]

        def rotated(x, back=False):
            if "L" in sides:
                x = (state["Q_L"] if back else state["Q_L"].T) @ x
            if "R" in sides:
                x = x @ (state["Q_R"].T if back else state["Q_R"])
            return x

        number = self.t - 1
        d = rotated(adam_direction(state, rotated(g), self.betas, self.eps, number), back=True) if number else None
        for side in sides:
            before = state.get(side, torch.zeros_like(grams[side]))
            state[side] = self.betas[1] * before + (1 - self.betas[1]) * grams[side]
        if number == 0:
            for side in sides:
                state["Q_" + side] = torch.linalg.eigh(state[side])[1].flip(1)
        elif self.refreshes(state):
            m = rotated(state["exp_avg"], back=True)
            for side in sides:
                Q = state["Q_" + side]
                order = torch.argsort((Q.T @ state[side] @ Q).diagonal(), descending=True, stable=True)
                state["exp_avg_sq"] = state["exp_avg_sq"].index_select(0 if side == "L" else 1, order)
                state["Q_" + side] = torch.linalg.qr(state[side] @ Q[:, order])[0]
            state["exp_avg"] = rotated(m)
        return d


class Shampoo(TwoSided):
    """Gupta et al. 2018 with averages that forget and Adam's length (Anil et al. 2020)."""

    def direction(self, state, g):
        grams = {"L": g @ g.T, "R": g.T @ g}
        sides = [side for side in "LR" if grams[side].size(0) <= self.max_precond_dim]
        for side in sides:
            before = state.get(side, torch.zeros_like(grams[side]))
            state[side] = self.betas[1] * before + (1 - self.betas[1]) * grams[side]
            if self.refreshes(state):
                values, vectors = torch.linalg.eigh(state[side])
                values = values.clamp(min=0) + self.damping * values[-1]
                values = values / (1 - self.betas[1] ** self.t)
                state["root_" + side] = vectors * values ** (-1 / (2 * len(sides))) @ vectors.T
        adam = adam_direction(state, g, self.betas, self.eps, self.t)
        d = state["exp_avg"] / (1 - self.betas[0] ** self.t)
        if "L" in sides:
            d = state["root_L"] @ d
        if "R" in sides:
            d = d @ state["root_R"]
        return d * (adam.norm() / d.norm()) if self.graft else d


class PrecGd(MatrixOptimizer):
    """ScaledGD (Tong et al. 2021), damped, with momentum, for the product left rightᵀ and the products of the matrices of
    factors with those of partnersᵀ."""

    def begin_step(self):
        for pair in (("left", "right"), ("factors", "partners")):
            for name, other in (pair, pair[::-1]):
                for state, matrix in zip(self.state[name], self.params[other].view(-1, *self.params[other].shape[-2:])):
                    if self.refreshes(state):
                        gram = matrix.T @ matrix
                        eye = torch.eye(len(gram), dtype=gram.dtype)
                        state["gram"] = gram + self.damping * gram.trace() / len(gram) * eye

    def direction(self, state, g):
        buffer = state.setdefault("momentum_buffer", torch.zeros_like(g))
        buffer.mul_(self.momentum).add_(torch.linalg.solve(state["gram"], g.T).T)
        return buffer

    def finish(self, name, directions):
        """Steps of the asked-for root mean square over all matrices of a parameter."""
        return directions * (self.rms / directions.square().mean().sqrt()) if self.rms else directions


class Projected(MatrixOptimizer):
    """AdamW in `rank` directions along the short side."""
    error_feedback = False

    def direction(self, state, g):
        tall = g if g.size(0) >= g.size(1) else g.T
        if self.error_feedback:
            tall = tall + state.get("error", torch.zeros_like(tall))
        if self.refreshes(state):
            self.refresh(state, tall)
        Q = state["Q"]
        state["error"] = tall - tall @ Q @ Q.T
        d = self.scale * adam_direction(state, tall @ Q, self.betas, self.eps, self.t) @ Q.T
        return d if g.size(0) >= g.size(1) else d.T


class Galore(Projected):
    """Zhao et al. 2024; a singular vector gets the sign that agrees with the one it replaces."""

    def refresh(self, state, tall):
        fresh = torch.linalg.svd(tall, full_matrices=False)[2][:self.rank].T
        if "Q" in state:
            fresh = fresh * torch.where((fresh * state["Q"]).sum(0) < 0, -1.0, 1.0)
        state["Q"] = fresh.contiguous()


class DctAdamW(Projected):
    """Modoranu et al. 2025."""

    def refresh(self, state, tall):
        n = tall.size(1)
        basis = torch.tensor([[math.sqrt((1 if i == 0 else 2) / n) * math.cos(i * (2 * j + 1) * math.pi / (2 * n))
                               for j in range(n)] for i in range(n)], dtype=torch.float64).to(tall.dtype)
        indices = (tall @ basis.T).square().sum(0).topk(self.rank)[1].sort()[0].tolist()
        if "Q" in state:
            for key in ("exp_avg", "exp_avg_sq"):
                old = state[key].clone()
                for i, index in enumerate(indices):
                    kept = index in state["indices"]
                    state[key][:, i] = old[:, state["indices"].index(index)] if kept else 0
        state["indices"], state["Q"] = indices, basis[indices].T.contiguous()
