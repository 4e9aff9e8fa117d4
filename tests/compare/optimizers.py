#!/usr/bin/env python3
"""The optimizers on vit_tiny/CIFAR-10 and gpt_mini/WikiText-2, dense and BLAST: which one learns most in equal steps and
in equal time.

    taskset -c 1 python3 tests/compare/optimizers.py build/release/bin --out runs/optimizers \\
        --vit-data CIFAR --gpt-data WIKITEXT [--budget MINUTES] [--tasks vit] [--layers blast] [--optimizers adamw,muon]

Each optimizer runs with the same few multiples of its default learning rates (--factors), all with seed 1; while the best
is the smallest or the largest of them, the next one beyond (of 0.03, 0.1, … 30) as well; the best one again with seed 2.
What is AdamW on a layer, as the README of the optimizers says, does not run there. Every run has the same number of steps and
a learning rate that stays constant after the warm-up, so that its curve may be cut anywhere: at AdamW's time as well as at
the last step (another --decay makes that unfair). No run is needed twice.

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
import re
import statistics
import subprocess

import training_grid
from training_grid import METRICS, Series, spread

MODELS = {"vit": "vit_tiny", "gpt": "gpt_mini"}  # as bench_optimizers names them
BLAST = {"vit": "blast:blocks=3,ratio=0.5", "gpt": "blast:blocks=4,ratio=0.5"}
# No Gram matrices without factors, no projection of factors that are thinner than its rank.
SAME_AS_ADAMW = {"dense": ("precgd", "scaled_gd"), "blast": ("galore", "dct_adamw")}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    training_grid.add_arguments(parser, vit_steps=250, gpt_steps=100, decay="constant")
    parser.add_argument("--layers", default="dense,blast", help="dense, blast (the model's), or specs; these "
                        "are separated by spaces")
    parser.add_argument("--optimizers", default="all")
    parser.add_argument("--bench-args", default="", help="more options of bench_optimizers, for the times of a step")
    return parser.parse_args()


class OptimizerSeries(Series):
    """The runs of one optimizer on a task with a layer."""

    def __init__(self, args, task, layer, optimizer):
        self.optimizer = optimizer
        self.layer = BLAST[task] if layer == "blast" else layer
        super().__init__(args, task, args.out / f"{task}-{layer.replace(':', '-')}" / optimizer,
                         ["--layer", self.layer, "--optimizer", optimizer])

    def state_mib(self):
        return float(re.search(r"([\d.]+) MiB of state", (self.best().folder / "log.txt").read_text()).group(1))


def compare(run, reference, step_seconds):
    """A run against AdamW's of the same seed, or None where either diverged; step_seconds of each optimizer."""
    if run.diverged() or reference.diverged():
        return None
    losses, seconds = run.losses(), step_seconds[run.series.optimizer]
    end = reference.steps * step_seconds[reference.series.optimizer]  # AdamW's time
    step_then = min(run.steps, max(min(losses), int(end / seconds)))
    # From here on the loss stays below AdamW's final one: a lucky batch does not count.
    above = max((step for step, loss in losses.items() if loss > reference.final_loss()), default=0)
    reached = None if above == run.steps else max(above + 1, min(losses))
    return {"loss": run.final_loss(), "loss_then": losses[step_then], "metric": run.metric(), "ms": 1e3 * seconds,
            "steps": reached and reached / run.steps, "time": reached and reached * seconds / end}


def row(series, reference, step_seconds):
    """The table's row of an optimizer: its best run and, once there is one, the run with the second seed."""
    runs = [run for run in (series.best(), series.again()) if run and run.finished()]
    results = [compare(run, reference(run.seed), step_seconds) for run in runs]
    if None in results:
        return f"| {series.optimizer} | diverged | {series.grid_text()} |" + " |" * 7
    column = {key: [result[key] for result in results] for key in results[0]}
    return (f"| {series.optimizer} | {series.rates_text()} | {series.grid_text()} | {spread(column['loss'])} | "
            f"{spread(column['loss_then'])} | {spread(column['metric'], METRICS[series.task][2])} | "
            f"{spread(column['steps'], '{:.0%}')} | {spread(column['time'], '{:.0%}')} | {spread(column['ms'], '{:.0f}')} | "
            f"{series.state_mib():.1f} |")


class Comparison:
    def __init__(self, args):
        self.args = args
        optimizers = args.optimizers.split(",") if args.optimizers != "all" else self.all_optimizers()
        # AdamW is what the others are measured by.
        optimizers = ["adamw", *(name for name in optimizers if name != "adamw")]
        layers = args.layers.split() if ":" in args.layers else args.layers.split(",")
        self.cells = [[OptimizerSeries(args, task, layer, name) for name in optimizers if name not in SAME_AS_ADAMW.get(layer, ())]
                      for layer in layers for task in args.tasks.split(",")]
        self.series = [series for cell in self.cells for series in cell]

    def all_optimizers(self):
        result = subprocess.run([self.args.bin / "train_vit", "--optimizer", "?"], capture_output=True, text=True)
        return re.search(r"[Vv]alid:? (?:are )?(.*)", result.stderr).group(1).strip(". ").split(", ")

    def step_seconds(self, series):
        """Of each optimizer, in the cell of a series with a finished run; measured once."""
        path = series.folder.parent / "step_times.jsonl"
        if not path.exists():
            config = json.loads((series.best().folder / "config.json").read_text())
            command = [str(self.args.bin / "bench_optimizers"), "--models", MODELS[series.task], "--layers", series.layer,
                       "--batch", str(config["batch"]), "--dtype", config["dtype"], "--threads", str(self.args.threads),
                       *self.args.bench_args.split()]
            path.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        times = [json.loads(line) for line in path.read_text().splitlines()]
        shared = statistics.median(time["forward_backward_ms"] + time["clip_ms"] for time in times)
        return {time["optimizer"]: (shared + time["update_ms"]) / 1e3 for time in times}

    def write_table(self):
        text = ["# Optimizers compared", ""]
        for cell in self.cells:
            started = [series for series in cell if series.best()]
            if not started:
                continue
            adamw = cell[0]
            step_seconds = self.step_seconds(adamw)

            def reference(seed):
                run = adamw.run(adamw.best().factor, seed)
                return run if run.finished() else adamw.best()

            text += [f"## {adamw.task}, {adamw.layer}, {adamw.best().steps} steps", "",
                     "| optimizer | lr | final loss by multiple of the default lr | "
                     f"loss, equal steps | loss, AdamW's time | {METRICS[adamw.task][1]} | steps to AdamW's loss | time to it | "
                     "ms a step | state MiB |", "| --- " * 10 + "|"]
            text += [row(series, reference, step_seconds) for series in started] + [""]
        (self.args.out / "table.md").write_text("\n".join(text))


def main():
    args = parse_arguments()
    training_grid.check_settings(args)
    comparison = Comparison(args)
    if args.list:
        print("\n".join(str(run.folder) for run in training_grid.runs_left(comparison.series)))
        return
    training_grid.go(args, comparison.series, comparison.write_table)
    comparison.write_table()
    print((args.out / "table.md").read_text())


if __name__ == "__main__":
    main()
