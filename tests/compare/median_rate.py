"""Prints the median throughput and the last loss of a run's metrics.jsonl. Usage: median_rate.py FILE [SKIPPED STEPS]"""
import json
import statistics
import sys

skipped = int(sys.argv[2]) if len(sys.argv) > 2 else 20
lines = [json.loads(line) for line in open(sys.argv[1])]
train = [line for line in lines if line["event"] == "train" and line["step"] > skipped]
key = "tokens_per_s" if "tokens_per_s" in train[0] else "samples_per_s"
rates = [line[key] for line in train]
print(f"{statistics.median(rates):.0f} {key} ({min(rates):.0f} to {max(rates):.0f}), loss {train[-1]['loss']:.4f}")
