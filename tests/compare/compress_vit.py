#!/usr/bin/env python3
"""A trained dense ViT compressed by every structure: accuracy right after, and after a short retraining, as a table.

    python3 tests/compare/compress_vit.py --bin build/release/bin --run runs/vit --data DIR [--ratio 0.5] [--steps 400]

--run is a folder that train_vit left with dense weights, --data the data it was trained on. For each structure:
compress to at most --ratio of the parameters of the dense matrices, evaluate, train on for --steps with the settings of
the run (--lr and more after --), evaluate again. A last row trains the dense network on for as many, so that what
retraining adds by itself can be told. Everything stays in --out. Runs that are there already are not repeated.
"""
import argparse
import json
import os
import re
import subprocess
import sys

SPECS = {
    "low rank": "low_rank:ratio={ratio}",
    "Monarch": "monarch:blocks=4,ratio={ratio}",
    "BLAST": "blast:blocks={blocks},ratio={ratio}",
    "SS1": "ss1:ratio={ratio}",
    "SS1, random tables": "ss1:ratio={ratio},classes=8",
    "block-diagonal": "block_diagonal:ratio={ratio}",
}
# Each as it is, and with errors that are weighted by the inputs of the matrices.
STRUCTURES = {name + how: [spec, *more] for name, spec in SPECS.items()
              for how, more in (("", []), (", activation-weighted", ["--calibrate", "{data}"]))}
STRUCTURES["low rank, Fisher-weighted"] = [SPECS["low rank"], "--calibrate", "{data}", "--weighting", "fisher"]
STRUCTURES["dense"] = ["dense"]


def run(command, log):
    """Runs a program, keeps what it printed in `log`; ends this one when it fails."""
    with open(log, "w") as file:
        code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    text = open(log).read()
    if code != 0:
        sys.exit(f"{' '.join(command)}\nended with {code}, see {log}:\n{text[-500:]}")
    return text


def percent(text):
    return float(re.search(r"accuracy ([0-9.]+) %", text).group(1))


def compressed(args, name, arguments, folder):
    """Errors and accuracies that compress tells; its output is kept, so that a second call reads it again."""
    log = os.path.join(args.out, folder + ".compress.log")
    target = os.path.join(args.out, folder + ".start")
    if not os.path.exists(os.path.join(target, "model.safetensors")):
        spec, *more = [part.format(ratio=args.ratio, blocks=args.blocks, data=args.data) for part in arguments]
        run([os.path.join(args.bin, "compress"), "--in", os.path.join(args.run, "model.safetensors"), "--layer", spec,
             "--out", target, "--data", args.data, "--threads", str(args.threads), *more], log)
    text = open(log).read()
    before, after = re.search(r"^before: .*$", text, re.M).group(), re.search(r"^after: .*$", text, re.M).group()
    return {"name": name, "share": float(re.search(r"\(([0-9.]+) % of dense\)", after).group(1)),
            "error": float(re.search(r"all matrices together: relative error ([0-9.]+)", text).group(1)),
            "before": percent(before), "after": percent(after), "start": target}


def retrained(args, row, folder):
    target = os.path.join(args.out, folder + ".retrained")
    if not os.path.exists(os.path.join(target, "report.html")):
        run([os.path.join(args.bin, "train_vit"), "--config", os.path.join(row["start"], "config.json"), "--data", args.data,
             "--init-from", os.path.join(row["start"], "model.safetensors"), "--out", target, "--overwrite",
             "--steps", str(args.steps), "--threads", str(args.threads), "--eval-every", "0", "--lr", str(args.lr), *args.more],
            os.path.join(args.out, folder + ".train.log"))
    events = [json.loads(line) for line in open(os.path.join(target, "metrics.jsonl"))]
    return 100 * [e for e in events if e["event"] == "eval"][-1]["accuracy"], events[-1]["elapsed"]


def without_length(path):
    """A config whose length --steps alone decides."""
    config = json.load(open(path))
    config["epochs"] = config["minutes"] = None
    json.dump(config, open(path, "w"), indent=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="runs/compressed")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--blocks", type=int, default=3, help="of BLAST")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--lr", type=float, help="peak learning rate of the retraining; default: a third of the run's")
    parser.add_argument("--only", default="", help="names of structures, separated by semicolons")
    parser.add_argument("more", nargs="*", help="more options of train_vit, after --")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if args.lr is None:
        args.lr = json.load(open(os.path.join(args.run, "config.json")))["lr"] / 3
    chosen = [name for name in args.only.split(";") if name] or list(STRUCTURES)
    print(f"dense weights of {args.run}, ratio {args.ratio}, {args.steps} steps of retraining at lr {args.lr:.3g}\n")
    print("| structure | parameters of the matrices | relative error | accuracy right after | after retraining | seconds |\n"
          "| --- | --- | --- | --- | --- | --- |")
    for name in chosen:
        folder = re.sub("[^a-z0-9]+", "_", name.lower())
        row = compressed(args, name, STRUCTURES[name], folder)
        without_length(os.path.join(row["start"], "config.json"))
        accuracy, seconds = retrained(args, row, folder)
        print(f"| {name} | {row['share']:.1f} % | {row['error']:.3f} | {row['after']:.2f} % | {accuracy:.2f} % | {seconds:.0f} |", flush=True)
    print(f"\nThe dense network before: {row['before']:.2f} %.")


if __name__ == "__main__":
    main()
