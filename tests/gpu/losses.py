"""Compares the losses of two training runs, step by step. The exit code is 0 if they agree.

Usage: losses.py TOLERANCE METRICS OTHER_METRICS    (metrics.jsonl; relative to the other; 0: bit for bit)
"""
import json
import sys


def losses(path):
    """By what they are of ("train", or a split that was evaluated) and step."""
    with open(path) as file:
        events = [json.loads(line) for line in file]
    return {(event.get("split", "train"), event["step"]): event["loss"] for event in events if "loss" in event}


def main():
    tolerance, (these, others) = float(sys.argv[1]), map(losses, sys.argv[2:4])
    if these.keys() != others.keys() or not these:
        sys.exit(f"other steps: {len(these)} losses, and {len(others)} of the other run")
    far = {key: abs(loss - others[key]) / abs(others[key]) for key, loss in these.items()}
    what, step = key = max(far, key=far.get)
    print(f"{len(far)} losses, at most {far[key]:.1e} apart (relative), at step {step} ({what})")
    # Not greater is not the same: a loss that is no number agrees with nothing.
    wrong = [key for key, distance in far.items() if not distance <= tolerance]
    if wrong:
        what, step = key = wrong[0]
        sys.exit(f"the first that differ, step {step} ({what}): {these[key]} and {others[key]}")


main()
