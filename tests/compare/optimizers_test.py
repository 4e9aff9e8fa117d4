#!/usr/bin/env python3
"""What optimizers.py reads from the metrics of runs, on runs that are made up."""
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import optimizers
import training_grid

FOLDER = tempfile.TemporaryDirectory()
ARGS = SimpleNamespace(out=Path(FOLDER.name), vit_steps=20, factors="0.3,1,3")


def made_up(optimizer, loss_at, seed=1, factor=1.0):
    run = optimizers.OptimizerSeries(ARGS, "vit", "dense", optimizer).run(factor, seed)
    run.folder.mkdir(parents=True)
    events = [{"event": "train", "step": k, "loss": loss_at(k)} for k in range(1, 21)]
    events += [{"event": "eval", "step": 20, "split": "test", "loss": 1.0, "accuracy": 0.25}, {"event": "end", "steps": 20, "elapsed": 9.0}]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    (run.folder / "config.json").write_text(json.dumps({"batch": 8, "lr": 0.5, "optim": {"adamw_lr": None}}))
    (run.folder / "log.txt").write_text("optimizer: x, 3.5 MiB of state\n")
    return run


# The window is two steps, so that the loss after step k of 10 - k / 2 is 10.25 - k / 2.
STEP_SECONDS = {"adamw": 0.1, "fast": 0.125, "lucky": 0.1, "slow": 0.05, "grid": 0.1}
adamw = made_up("adamw", lambda k: 10 - k / 2)
assert adamw.finished() and adamw.final_loss() == 0.25, adamw.losses()
assert min(adamw.losses()) == 2 and adamw.series.state_mib() == 3.5

# Twice as fast by steps, a quarter slower by time: at AdamW's time, step 16.
fast = optimizers.compare(made_up("fast", lambda k: 10 - k), adamw, STEP_SECONDS)
assert fast["loss"] == -9.5 and fast["loss_then"] == 10.5 - 16 and fast["metric"] == 0.25, fast
assert fast["steps"] == 11 / 20 and abs(fast["time"] - 11 * 0.125 / 2) < 1e-12, fast

# A lucky batch in the middle is not yet the goal; a run that ends above it has not reached it.
lucky = optimizers.compare(made_up("lucky", lambda k: -90 if k == 5 else 10 - k), adamw, STEP_SECONDS)
assert lucky["steps"] == 11 / 20, lucky
slow = optimizers.compare(made_up("slow", lambda k: 10 - k / 4), adamw, STEP_SECONDS)
assert slow["steps"] is None and slow["time"] is None and slow["loss_then"] == slow["loss"], slow

# The best of a grid; a run that diverged loses, and an unfinished one does not count.
series = made_up("grid", lambda k: k, factor=1.0).series
worse = made_up("grid", lambda k: k - 5, factor=0.3)
(worse.folder / "diverged.txt").write_text("")
assert series.best().factor == 1.0 and not series.run(3.0).finished() and series.again() is None
assert optimizers.compare(worse, adamw, STEP_SECONDS) is None
# A grid whose best rate is its smallest goes on below it, until the best has a neighbour on both sides.
series = [made_up("edge", lambda k: loss, factor=factor) for factor, loss in ((0.3, 2), (1.0, 3), (3.0, 4))][0].series
factors = lambda: [run.factor for run in series.grid()]
assert factors() == [0.1, 0.3, 1, 3] and series.again() is None, factors()
made_up("edge", lambda k: 2.5, factor=0.1)
assert factors() == [0.1, 0.3, 1, 3] and series.again().factor == 0.3, factors()
# After the grid the second seed.
assert [run.seed for run in training_grid.runs_left([series])] == [2]
made_up("edge", lambda k: 2, seed=2, factor=0.3)
assert training_grid.runs_left([series]) == []
assert optimizers.spread([1.0, 2.0]) == "1.500 ± 0.500" and optimizers.spread([1.0, None]) == "not reached"
print("optimizers_test.py: passed")
