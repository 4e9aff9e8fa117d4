"""Writes a tokenizer of GPT-2's size (50,257) in GPT-2's format: the bytes, and 50,000 pairs of them.

For measuring speed where GPT-2's own files are not at hand. Usage: pairs_tokenizer.py FOLDER
"""
import itertools
import json
import pathlib
import sys


def byte_symbols():
    """GPT-2's printable symbol of each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = {byte: chr(byte) for byte in printable}
    others = itertools.count(256)
    for byte in range(256):
        if byte not in symbols:
            symbols[byte] = chr(next(others))
    return [symbols[byte] for byte in [*printable, *(b for b in range(256) if b not in printable)]]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    symbols = byte_symbols()
    pairs = list(itertools.islice(itertools.product(symbols, symbols), 50000))
    tokens = symbols + [a + b for a, b in pairs] + ["<|endoftext|>"]
    (folder / "encoder.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    merges = "\n".join(f"{a} {b}" for a, b in pairs)
    (folder / "vocab.bpe").write_text(f"#version: 0.2\n{merges}\n", encoding="utf-8")


main()
