#!/usr/bin/env python3
"""Every structure trained from scratch on vit_tiny/CIFAR-10 and gpt_mini/WikiText-2 at the same share of the dense
parameters: what it learns in equal steps and in equal time.

    python3 tests/compare/structures.py build/release/bin --out runs/structures --threads 2 --vit-data CIFAR \\
        --gpt-data WIKITEXT --vit-args "--dtype bf16" --gpt-args "--dtype bf16" [--budget MINUTES] [--tasks vit]

All use one optimizer, the same batches and the same schedule, which ends at zero. Each structure runs with the same few
multiples of the optimizer's default learning rates (--factors), with seed 1; while the best is the smallest or the largest
of them, the next one beyond (of 0.03, 0.1, … 30) as well; the best one again with seed 2.

- "dense, narrower" is the dense model of a width that leaves its matrices at most that share of the parameters.
- "Equal time" is a run of its own with both seeds, of as many steps as fit into the time that the dense model takes, at the
  best learning rate. How fast a structure is was measured before, as a median step of short runs of all of them by turns:
  begin on an otherwise idle machine.
- The loss is that of the training batches, over the last tenth of the run.

Finished runs are kept: begin again with the same --out to go on. --budget starts no run that would probably end too late. The
table is written after every run, with what there is by then.
"""
import argparse
import json
import math
import shutil
import statistics

import training_grid
from median_rate import training_rates
from training_grid import METRICS, SEEDS, Series, spread

STRUCTURES = {
    "dense": "dense",
    "dense, narrower": "dense",
    "low rank": "low_rank:ratio={ratio}",
    "Monarch": "monarch:blocks=4,ratio={ratio}",
    "BLAST": "blast:blocks={blocks},ratio={ratio}",
    "SS1": "ss1:ratio={ratio}",
    "SS1, random tables": "ss1:ratio={ratio},classes=8",
    "block-diagonal, shuffled": "block_diagonal:ratio={ratio},shuffle=1",
}
BLOCKS = {"vit": 3, "gpt": 4}  # of BLAST
RATE_ROUNDS, RATE_STEPS, RATE_SKIPPED = 5, 20, 5


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    training_grid.add_arguments(parser, vit_steps=400, gpt_steps=200, decay="cosine")
    parser.add_argument("--ratio", type=float, default=0.5, help="of the dense matrices' parameters")
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--structures", default=";".join(name for name in STRUCTURES if name != "SS1, random tables"),
                        help="separated by semicolons; of " + "; ".join(STRUCTURES))
    return parser.parse_args()


def narrower(args, task):
    """The largest width, a multiple of four for each head, whose square is at most the ratio of the model's."""
    config = json.loads((training_grid.ROOT / "examples/configs" / training_grid.CONFIGS[task]).read_text())
    words = getattr(args, f"{task}_args").split()
    width, heads = (int(words[words.index(f"--{key}") + 1]) if f"--{key}" in words else config[key] for key in ("width", "heads"))
    return int(width * math.sqrt(args.ratio)) // (4 * heads) * 4 * heads


class StructureSeries(Series):
    """The runs of one structure on a task."""

    def __init__(self, args, task, name):
        self.name = name
        options = ["--optimizer", args.optimizer, "--layer", STRUCTURES[name].format(ratio=args.ratio, blocks=BLOCKS[task])]
        if name == "dense, narrower":
            options += ["--width", str(narrower(args, task))]
        super().__init__(args, task, args.out / task / name.replace(", ", "-").replace(" ", "_"), options)

    def macs(self):
        model = self.best().events("model")[-1]
        return next(value for key, value in model.items() if key.startswith("macs_per_"))


def rates(args, task, series):
    """Samples or tokens a second of each series in training; measured once, by turns."""
    path = args.out / task / "rates.json"
    measured = json.loads(path.read_text()) if path.exists() else {}
    if any(one.name not in measured for one in series):
        print(f"{task}: how fast each structure is …", flush=True)
        rounds = {one.name: [] for one in series}
        for number in range(RATE_ROUNDS):
            for one in series:
                run = one.run(1.0, number + 1, RATE_STEPS)
                shutil.rmtree(run.folder, ignore_errors=True)
                run.go()
                rounds[one.name].append(statistics.median(training_rates(run.folder / "metrics.jsonl", RATE_SKIPPED)[2]))
        measured = rounds
        path.write_text(json.dumps(measured, indent=2) + "\n")
    return measured


class Comparison:
    """All structures on one task; the first is dense, which the others are compared with."""

    def __init__(self, args, task):
        self.args, self.task = args, task
        names = ["dense", *(name for name in args.structures.split(";") if name != "dense")]
        self.series = [StructureSeries(args, task, name) for name in names]
        self.rates = {}

    def speed(self, series):
        """How many times the dense model's rate, and over the rounds the least and the most."""
        ratios = [own / dense for own, dense in zip(self.rates[series.name], self.rates["dense"])]
        return statistics.median(ratios), min(ratios), max(ratios)

    def longer(self, series, seed):
        """The run of the dense model's time at the best learning rate."""
        best = series.settled()
        if best is None:
            return None
        return series.run(best.factor, seed, None if series.name == "dense" else round(best.steps * self.speed(series)[0]))

    def stages(self):
        return [lambda series, seed=seed: self.longer(series, seed) for seed in SEEDS]

    def row(self, series):
        best, form = series.best(), METRICS[self.task][2]
        equal_steps = [run for run in (best, series.again()) if run and run.finished()]
        equal_time = [run for run in (self.longer(series, seed) for seed in SEEDS) if run and run.finished()]
        if best.diverged():
            return f"| {series.name} | diverged | {series.grid_text()} |" + " |" * 8
        speed, least, most = self.speed(series)
        return (f"| {series.name} | {best.events('model')[-1]['parameters'] / 1e3:,.0f}k | "
                f"{series.macs() / self.series[0].macs():.1%} | {series.rates_text()} | {series.grid_text()} | "
                f"{spread([run.final_loss() for run in equal_steps])} | {spread([run.metric() for run in equal_steps], form)} | "
                f"{speed:.2f} ({least:.2f}–{most:.2f}) | {round(best.steps * speed)} | "
                f"{spread([run.final_loss() for run in equal_time]) if equal_time else '…'} | "
                f"{spread([run.metric() for run in equal_time], form) if equal_time else '…'} |")

    def table(self):
        if not self.series[0].best():
            return []
        metric = METRICS[self.task][1]
        return [f"## {self.task}, {self.series[0].best().steps} steps of {self.args.optimizer}, ratio {self.args.ratio}", "",
                "| structure | parameters | MACs of dense | lr | final loss by multiple of the default lr | loss, equal steps | "
                f"{metric} | speed over dense | steps in its time | loss, equal time | {metric} |", "| --- " * 11 + "|",
                *[self.row(one) for one in self.series if one.best()], ""]


def main():
    args = parse_arguments()
    unknown = [name for name in args.structures.split(";") if name not in STRUCTURES]
    if unknown:
        raise SystemExit(f"--structures: unknown {', '.join(unknown)}; valid are {'; '.join(STRUCTURES)}")
    training_grid.check_settings(args, ["ratio", "optimizer"])
    comparisons = [Comparison(args, task) for task in args.tasks.split(",")]
    table = args.out / "table.md"

    def write_table():
        lines = [line for comparison in comparisons if comparison.rates for line in comparison.table()]
        table.write_text("\n".join(["# Structures compared", "", *lines]))

    for comparison in comparisons:
        (args.out / comparison.task).mkdir(exist_ok=True)
        comparison.rates = rates(args, comparison.task, comparison.series)
        if args.list:
            print("\n".join(str(run.folder) for run in training_grid.runs_left(comparison.series, comparison.stages())))
        else:
            training_grid.go(args, comparison.series, write_table, comparison.stages())
    if not args.list:
        write_table()
        print(table.read_text())


if __name__ == "__main__":
    main()
