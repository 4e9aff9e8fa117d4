#!/usr/bin/env python3
"""The optimizers on vit_tiny/CIFAR-10 and gpt_mini/WikiText-2, dense and BLAST: which one learns most in equal steps and
in equal time.

    taskset -c 1 python3 tests/compare/optimizers.py build/release/bin --out runs/optimizers \\
        --vit-data CIFAR --gpt-data WIKITEXT [--budget MINUTES] [--tasks vit] [--layers blast] [--optimizers adamw,muon]

Each optimizer runs with the same few multiples of its default learning rates (--factors), all with seed 1; while the best
is the smallest or the largest of them, the next one beyond (of 0.03, 0.1, … 30) as well; the best one again with seed 2.
What is AdamW on a layer, as the READMEs of the optimizers say, does not run there. Every run has the same number of steps and a learning rate that stays constant after the warm-up, so
that its curve may be cut anywhere: at AdamW's time as well as at the last step. No run is needed twice.

- Losses are of the training batches, smoothed over the last tenth of the run: within the first epoch every batch is new
  to the model, and at equal seeds all optimizers see the same batches. The test metric is measured once, at the end.
- Time is steps times the time of a step: forward and backward, the same for all optimizers, and the update, both in
  processor time as bench_optimizers measures them once for a layer, on an otherwise idle machine if you can, on the model
  of the config: sizes in --vit-args and --gpt-args do not reach it, except for the batch.
  Start-up and evaluation are not in it. An optimizer that is faster than AdamW is read at the last step.
- "Steps to AdamW's loss": from there on the loss stays at or below the final one of AdamW's best run of the same seed.

Finished runs are kept: begin again with the same --out to go on, with more optimizers or factors if you like. --budget
starts no run that would probably end too late. The table is written after every run, with what there is by then.
"""
import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
CONFIGS = {"vit": "vit_tiny_cifar10.json", "gpt": "gpt_mini_wikitext2.json"}
MODELS = {"vit": "vit_tiny", "gpt": "gpt_mini"}  # as bench_optimizers names them
BLAST = {"vit": "blast:blocks=3,ratio=0.5", "gpt": "blast:blocks=4,ratio=0.5"}
LADDER = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
# No Gram matrices without factors, no projection of factors that are thinner than its rank.
SAME_AS_ADAMW = {"dense": ("precgd", "scaled_gd"), "blast": ("galore", "dct_adamw")}
METRICS = {"vit": ("accuracy", "test accuracy", "{:.1%}"), "gpt": ("word_perplexity", "valid word perplexity", "{:.0f}")}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bin", type=Path, help="folder with train_vit and train_gpt")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and table.md")
    parser.add_argument("--tasks", default="vit,gpt")
    parser.add_argument("--layers", default="dense,blast", help="dense, blast (the model's), or specs; these "
                        "are separated by spaces")
    parser.add_argument("--optimizers", default="all")
    parser.add_argument("--factors", default="0.3,1,3", help="of the default lr and adamw_lr; 1 is always run")
    parser.add_argument("--vit-steps", type=int, default=250)
    parser.add_argument("--gpt-steps", type=int, default=100)
    parser.add_argument("--vit-data", help="default: what the program finds or makes up")
    parser.add_argument("--gpt-data")
    parser.add_argument("--vit-args", default="", help="more options of train_vit, e.g. '--depth 2'")
    parser.add_argument("--gpt-args", default="--eval-windows 128")
    parser.add_argument("--bench-args", default="", help="more options of bench_optimizers, for the times of a step")
    parser.add_argument("--decay", default="constant", help="another schedule makes the comparison at equal time unfair")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=math.inf, metavar="MINUTES", help="of this call")
    parser.add_argument("--list", action="store_true", help="only say which runs are left")
    return parser.parse_args()


class Run:
    """One training run: its folder, how it is started, and what its metrics say."""

    def __init__(self, args, task, layer, optimizer, factor, seed):
        self.args, self.task, self.layer = args, task, layer
        self.optimizer, self.factor, self.seed = optimizer, factor, seed
        self.steps = getattr(args, f"{task}_steps")
        self.folder = args.out / f"{task}-{layer.replace(':', '-')}" / f"{optimizer}-x{factor:g}-seed{seed}"

    def key(self):
        return self.task, self.layer, self.optimizer, self.factor, self.seed

    def events(self, kind):
        path = self.folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def diverged(self):
        return (self.folder / "diverged.txt").exists()

    def finished(self):
        return self.diverged() or any(event["steps"] >= self.steps for event in self.events("end"))

    def rates(self):
        """The learning rates of this run; those of factor 1, which runs first, are the defaults."""
        config = json.loads((self.folder / "config.json").read_text())
        return {"--lr": config["lr"], "--optim.adamw-lr": config["optim"].get("adamw_lr")}

    def command(self):
        args = self.args
        command = [str(args.bin / f"train_{self.task}"), "--config", str(ROOT / "examples/configs" / CONFIGS[self.task]),
                   "--layer", BLAST[self.task] if self.layer == "blast" else self.layer, "--optimizer", self.optimizer,
                   "--steps", str(self.steps), "--decay", args.decay, "--seed", str(self.seed), "--out", str(self.folder),
                   "--threads", str(args.threads), "--log-every", "1", "--eval-every", "0",
                   "--checkpoint-every", str(max(1, self.steps // 4)), *getattr(args, f"{self.task}_args").split()]
        if self.factor != 1:
            defaults = Run(args, self.task, self.layer, self.optimizer, 1, SEEDS[0]).rates()
            for option, rate in defaults.items():
                command += [option, repr(rate * self.factor)] if rate is not None else []
        if getattr(args, f"{self.task}_data"):
            command += ["--data", getattr(args, f"{self.task}_data")]
        # Learning a vocabulary takes longer than a short run: the first run's serves all.
        vocabularies = sorted(args.out.glob("gpt-*/*/vocab.bpe"), key=lambda path: path.stat().st_mtime)
        resumes = (self.folder / "checkpoint" / "state.safetensors").exists()
        if self.task == "gpt" and vocabularies and not resumes:
            command += ["--tokenizer", str(vocabularies[0].parent)]
        return command + ["--resume" if resumes else "--overwrite"]

    def go(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(self.command(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        (self.folder / "log.txt").write_text(result.stdout + result.stderr)
        if result.returncode == 1 and "gradient norm" in result.stderr:
            (self.folder / "diverged.txt").write_text(result.stderr)
        elif result.returncode != 0 or not self.finished():
            sys.exit(f"{self.folder}: stopped with code {result.returncode}: {result.stderr.strip() or 'interrupted'}")

    # ---- what came out

    def losses(self):
        """The smoothed loss after each step, from the first full window on: {step: loss}."""
        window = max(1, self.steps // 10)
        losses = {event["step"]: event["loss"] for event in self.events("train")}
        return {step: statistics.fmean(losses[k] for k in range(step - window + 1, step + 1))
                for step in range(window, self.steps + 1)}

    def final_loss(self):
        return math.inf if self.diverged() else self.losses()[self.steps]

    def state_mib(self):
        return float(re.search(r"([\d.]+) MiB of state", (self.folder / "log.txt").read_text()).group(1))

    def metric(self):
        return self.events("eval")[-1][METRICS[self.task][0]]


def best_factor(runs):
    """Of the finished runs of one optimizer with seed 1: the one with the lowest final loss."""
    return min((run for run in runs if run.finished()), key=Run.final_loss, default=None)


def compare(run, reference, step_seconds):
    """A run against AdamW's of the same seed, or None where either diverged; step_seconds of each optimizer."""
    if run.diverged() or reference.diverged():
        return None
    losses, seconds = run.losses(), step_seconds[run.optimizer]
    end = reference.steps * step_seconds[reference.optimizer]  # AdamW's time
    step_then = min(run.steps, max(min(losses), int(end / seconds)))
    # From here on the loss stays below AdamW's final one: a lucky batch does not count.
    above = max((step for step, loss in losses.items() if loss > reference.final_loss()), default=0)
    reached = None if above == run.steps else max(above + 1, min(losses))
    return {"loss": run.final_loss(), "loss_then": losses[step_then], "metric": run.metric(), "ms": 1e3 * seconds,
            "steps": reached and reached / run.steps, "time": reached and reached * seconds / end}


def spread(values, form="{:.3f}"):
    """Mean, and half the distance of the two seeds."""
    if any(value is None for value in values):
        return "not reached"
    text = form.format(statistics.fmean(values))
    return text + (" ± " + form.format((max(values) - min(values)) / 2) if len(values) > 1 else "")


def row(runs, again, reference, step_seconds):
    """The table's row of an optimizer: its best run and, once there is one, the run with the second seed."""
    best = best_factor(runs)
    rates = ", ".join(f"{rate:.2g}" for rate in best.rates().values() if rate is not None)
    edge = " (edge)" if best.factor in (min(r.factor for r in runs), max(r.factor for r in runs)) and len(runs) > 1 else ""
    grid = ", ".join(f"{run.factor:g}: " + ("diverged" if run.diverged() else f"{run.final_loss():.3f}" if run.finished() else "…")
                     for run in runs)
    results = [compare(run, reference(run.seed), step_seconds) for run in (best, again) if run and run.finished()]
    if None in results:
        return f"| {best.optimizer} | diverged | {grid} |" + " |" * 7
    column = {key: [result[key] for result in results] for key in results[0]}
    return (f"| {best.optimizer} | {rates}{edge} | {grid} | {spread(column['loss'])} | {spread(column['loss_then'])} | "
            f"{spread(column['metric'], METRICS[best.task][2])} | {spread(column['steps'], '{:.0%}')} | "
            f"{spread(column['time'], '{:.0%}')} | {spread(column['ms'], '{:.0f}')} | {best.state_mib():.1f} |")


class Comparison:
    def __init__(self, args):
        self.args, self.began = args, time.monotonic()
        self.factors = sorted({1.0, *map(float, args.factors.split(","))})
        self.optimizers = args.optimizers.split(",") if args.optimizers != "all" else self.all_optimizers()
        # AdamW is what the others are measured by.
        self.optimizers = ["adamw", *(name for name in self.optimizers if name != "adamw")]
        layers = args.layers.split() if ":" in args.layers else args.layers.split(",")
        self.cells = [(task, layer) for layer in layers for task in args.tasks.split(",")]

    def all_optimizers(self):
        result = subprocess.run([self.args.bin / "train_vit", "--optimizer", "?"], capture_output=True, text=True)
        return re.search(r"[Vv]alid:? (?:are )?(.*)", result.stderr).group(1).strip(". ").split(", ")

    def optimizers_of(self, cell):
        return [name for name in self.optimizers if name not in SAME_AS_ADAMW.get(cell[1], ())]

    def grid(self, cell, optimizer):
        """The runs with seed 1 in the order of their learning rates, finished or not."""
        def runs(factors):
            return [Run(self.args, *cell, optimizer, factor, SEEDS[0]) for factor in sorted(factors)]

        factors = set(self.factors)
        while all(run.finished() for run in runs(factors)):
            best = best_factor(runs(factors)).factor
            beyond = [factor for factor in LADDER if factor > best][:1] if best == max(factors) else \
                     [factor for factor in LADDER if factor < best][-1:] if best == min(factors) else []
            if not beyond:
                break
            factors.add(beyond[0])
        return runs(factors)

    def again(self, cell, optimizer):
        """The run of the best learning rate with the second seed, once the grid is complete."""
        grid = self.grid(cell, optimizer)
        if not all(run.finished() for run in grid) or best_factor(grid).diverged():
            return None
        return Run(self.args, *cell, optimizer, best_factor(grid).factor, SEEDS[1])

    def runs_left(self):
        """In the order of their use: default learning rates first, which also tell the others'; second seeds last."""
        everything = [(cell, optimizer) for cell in self.cells for optimizer in self.optimizers_of(cell)]
        grids = [sorted(self.grid(*pair), key=lambda run: run.factor != 1) for pair in everything]
        left = [run for grid in grids for run in grid if not run.finished()]
        return left or [run for run in (self.again(*pair) for pair in everything) if run and not run.finished()]

    def go(self):
        while left := self.runs_left():
            run = left[0]
            cell = run.task, run.layer
            alike = [other for name in self.optimizers_of(cell) for other in self.grid(cell, name)]
            guess = max((event["elapsed"] for other in alike for event in other.events("end")), default=0)
            if time.monotonic() - self.began + guess > 60 * self.args.budget:
                print(f"stopped by the budget; at least {len(left)} runs are left")
                return
            begin = time.monotonic()
            print(f"{run.folder} …", end=" ", flush=True)
            run.go()
            print(f"loss {run.final_loss():.3f}, {time.monotonic() - begin:.0f} s; {len(left) - 1} to go before the next stage")
            self.write_table()

    def step_seconds(self, run):
        """Of each optimizer, in the cell of a finished run; measured once."""
        path = run.folder.parent / "step_times.jsonl"
        if not path.exists():
            config = json.loads((run.folder / "config.json").read_text())
            layer = BLAST[run.task] if run.layer == "blast" else run.layer
            command = [str(self.args.bin / "bench_optimizers"), "--models", MODELS[run.task], "--layers", layer, "--batch",
                       str(config["batch"]), "--dtype", config["dtype"], "--threads", str(self.args.threads),
                       *self.args.bench_args.split()]
            path.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        times = [json.loads(line) for line in path.read_text().splitlines()]
        shared = statistics.median(time["forward_backward_ms"] + time["clip_ms"] for time in times)
        return {time["optimizer"]: (shared + time["update_ms"]) / 1e3 for time in times}

    def write_table(self):
        text = ["# Optimizers compared", ""]
        for cell in self.cells:
            started = [name for name in self.optimizers_of(cell) if best_factor(self.grid(cell, name))]
            if not started:
                continue
            adamw = best_factor(self.grid(cell, "adamw"))
            step_seconds = self.step_seconds(adamw)

            def reference(seed):
                run = Run(self.args, *cell, "adamw", adamw.factor, seed)
                return run if run.finished() else adamw

            task, layer = cell
            text += [f"## {task}, {BLAST[task] if layer == 'blast' else layer}, {adamw.steps} steps", "",
                     "| optimizer | lr | final loss by multiple of the default lr | "
                     f"loss, equal steps | loss, AdamW's time | {METRICS[task][1]} | steps to AdamW's loss | time to it | "
                     "ms a step | state MiB |", "| --- " * 10 + "|"]
            text += [row(self.grid(cell, name), self.again(cell, name), reference, step_seconds) for name in started] + [""]
        (self.args.out / "table.md").write_text("\n".join(text))


def check_settings(args):
    """Runs of other settings must not get into one table."""
    names = ["vit_steps", "gpt_steps", "vit_data", "gpt_data", "vit_args", "gpt_args", "decay", "threads"]
    settings = {name: getattr(args, name) for name in names}
    path = args.out / "settings.json"
    args.out.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else settings
    different = [f"--{name.replace('_', '-')} {before[name]}" for name in names if before[name] != settings[name]]
    if different:
        sys.exit(f"the runs in {args.out} were made with {', '.join(different)}; say the same or choose another --out")
    path.write_text(json.dumps(settings, indent=2) + "\n")


def main():
    args = parse_arguments()
    check_settings(args)
    comparison = Comparison(args)
    if args.list:
        print("\n".join(str(run.folder) for run in comparison.runs_left()))
        return
    comparison.go()
    comparison.write_table()
    print((args.out / "table.md").read_text())


if __name__ == "__main__":
    main()
