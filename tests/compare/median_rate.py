"""Prints the median throughput and the last loss of a run's metrics.jsonl. Usage: median_rate.py FILE [SKIPPED STEPS]"""
import json
import statistics
import sys


def training_rates(path, skipped):
    """The lines of training after `skipped` steps, the name of their throughput, and its values."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    train = [line for line in lines if line["event"] == "train" and line["step"] > skipped]
    key = "tokens_per_s" if "tokens_per_s" in train[0] else "samples_per_s"
    return train, key, [line[key] for line in train]


if __name__ == "__main__":
    train, key, rates = training_rates(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20)
    print(f"{statistics.median(rates):.0f} {key} ({min(rates):.0f} to {max(rates):.0f}), loss {train[-1]['loss']:.4f}")
