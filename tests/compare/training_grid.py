"""Training runs over a grid of learning rates, for optimizers.py: each series of runs tries the same few multiples of its
default rates and goes on while the best is the smallest or largest; the best one runs again with a second seed. Finished runs
are kept, and an interrupted one is resumed.
"""
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (1, 2)
CONFIGS = {"vit": "vit_tiny_cifar10.json", "gpt": "gpt_mini_wikitext2.json"}
METRICS = {"vit": ("accuracy", "test accuracy", "{:.1%}"), "gpt": ("word_perplexity", "valid word perplexity", "{:.0f}")}
LADDER = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


def add_arguments(parser, vit_steps, gpt_steps, decay):
    parser.add_argument("bin", type=Path, help="folder with train_vit and train_gpt")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs and table.md")
    parser.add_argument("--tasks", default="vit,gpt")
    parser.add_argument("--factors", default="0.3,1,3", help="of the default learning rates; 1 is always run")
    parser.add_argument("--vit-steps", type=int, default=vit_steps)
    parser.add_argument("--gpt-steps", type=int, default=gpt_steps)
    parser.add_argument("--vit-data", help="default: what the program finds or makes up")
    parser.add_argument("--gpt-data")
    parser.add_argument("--vit-args", default="", help="more options of train_vit, e.g. '--depth 2'")
    parser.add_argument("--gpt-args", default="--eval-windows 128")
    parser.add_argument("--decay", default=decay)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", type=float, default=math.inf, metavar="MINUTES", help="of this call")
    parser.add_argument("--list", action="store_true", help="only say which runs are left")


class Run:
    """One training run of a series: its folder, how it is started, and what its metrics say."""

    def __init__(self, series, factor, seed):
        self.series, self.args, self.task = series, series.args, series.task
        self.factor, self.seed = factor, seed
        self.steps = getattr(self.args, f"{self.task}_steps")
        self.folder = series.folder.with_name(f"{series.folder.name}-x{factor:g}-seed{seed}")

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
                   "--steps", str(self.steps), "--decay", args.decay, "--seed", str(self.seed), "--out", str(self.folder),
                   "--threads", str(args.threads), "--log-every", "1", "--eval-every", "0",
                   "--checkpoint-every", str(max(1, self.steps // 4)), *getattr(args, f"{self.task}_args").split(),
                   *self.series.options]
        if self.factor != 1:
            for option, rate in self.series.run(1).rates().items():
                command += [option, repr(rate * self.factor)] if rate is not None else []
        if getattr(args, f"{self.task}_data"):
            command += ["--data", getattr(args, f"{self.task}_data")]
        # Learning a vocabulary takes longer than a short run: the first run's serves all.
        vocabularies = sorted(args.out.glob("gpt*/**/merges.txt"), key=lambda path: path.stat().st_mtime)
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

    def losses(self):
        """The loss after each step, smoothed over a tenth of the run, from the first full window on: {step: loss}."""
        window = max(1, self.steps // 10)
        losses = {event["step"]: event["loss"] for event in self.events("train")}
        return {step: statistics.fmean(losses[k] for k in range(step - window + 1, step + 1))
                for step in range(window, self.steps + 1)}

    def final_loss(self):
        return math.inf if self.diverged() else self.losses()[self.steps]

    def metric(self):
        evals = self.events("eval")
        followed = [event for event in evals if event["split"] == evals[0]["split"]]
        return followed[-1][METRICS[self.task][0]]


class Series:
    """Runs of a program that differ in learning rate and seed alone; `folder` is the beginning of the names of theirs."""

    def __init__(self, args, task, folder, options):
        self.args, self.task, self.folder, self.options = args, task, folder, options
        self.factors = sorted({1.0, *map(float, args.factors.split(","))})

    def run(self, factor, seed=SEEDS[0]):
        return Run(self, factor, seed)

    def grid(self):
        """The runs with seed 1 in the order of their learning rates, finished or not."""
        factors = set(self.factors)
        while all(self.run(factor).finished() for factor in factors):
            best = best_of(map(self.run, factors)).factor
            beyond = [factor for factor in LADDER if factor > best][:1] if best == max(factors) else \
                     [factor for factor in LADDER if factor < best][-1:] if best == min(factors) else []
            if not beyond:
                break
            factors.add(beyond[0])
        return [self.run(factor) for factor in sorted(factors)]

    def best(self):
        """Of the finished runs of the grid, the one with the lowest final loss."""
        return best_of(self.grid())

    def again(self):
        """The best run with the second seed, once the grid is complete."""
        complete = all(run.finished() for run in self.grid())
        return self.run(self.best().factor, SEEDS[1]) if complete and not self.best().diverged() else None

    def grid_text(self):
        return ", ".join(f"{run.factor:g}: " + ("diverged" if run.diverged() else f"{run.final_loss():.3f}" if run.finished() else "…")
                         for run in self.grid())

    def rates_text(self):
        """The learning rates of the best run, and whether the grid ends there."""
        grid, best = self.grid(), self.best()
        edge = len(grid) > 1 and best.factor in (grid[0].factor, grid[-1].factor)
        return ", ".join(f"{rate:.2g}" for rate in best.rates().values() if rate is not None) + (" (edge)" if edge else "")


def best_of(runs):
    return min((run for run in runs if run.finished()), key=Run.final_loss, default=None)


def spread(values, form="{:.3f}"):
    """Mean, and half the distance of the two seeds."""
    if any(value is None for value in values):
        return "not reached"
    text = form.format(statistics.fmean(values))
    return text + (" ± " + form.format((max(values) - min(values)) / 2) if len(values) > 1 else "")


def runs_left(series):
    """In the order of their use: default learning rates first, which also tell the others'; then second seeds."""
    grids = [sorted(one.grid(), key=lambda run: run.factor != 1) for one in series]
    left = [run for grid in grids for run in grid if not run.finished()]
    return left or [run for run in map(Series.again, series) if run and not run.finished()]


def go(args, series, write_table):
    """Runs what is left, within the budget, and writes the table after each."""
    began = time.monotonic()
    while left := runs_left(series):
        run = left[0]
        alike = [other for one in series if one.task == run.task for other in one.grid()]
        guess = max((event["elapsed"] for other in alike for event in other.events("end")), default=0)
        if time.monotonic() - began + guess > 60 * args.budget:
            print(f"stopped by the budget; at least {len(left)} runs are left")
            return
        begin = time.monotonic()
        print(f"{run.folder} …", end=" ", flush=True)
        run.go()
        print(f"loss {run.final_loss():.3f}, {time.monotonic() - begin:.0f} s; {len(left) - 1} to go before the next stage",
              flush=True)
        write_table()


def check_settings(args):
    """Runs of other settings must not get into one table."""
    names = ["vit_steps", "gpt_steps", "vit_data", "gpt_data", "vit_args", "gpt_args", "decay", "threads"]
    settings = {name: getattr(args, name) for name in names}
    path = args.out / "settings.json"
    args.out.mkdir(parents=True, exist_ok=True)
    before = json.loads(path.read_text()) if path.exists() else settings
    different = [f"--{name.replace('_', '-')} {before.get(name)}" for name in names if before.get(name) != settings[name]]
    if different:
        sys.exit(f"the runs in {args.out} were made with {', '.join(different)}; say the same or choose another --out")
    path.write_text(json.dumps(settings, indent=2) + "\n")
