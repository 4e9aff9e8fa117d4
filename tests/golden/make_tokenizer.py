#!/usr/bin/env python3
"""Makes tokenizer_gpt2.json: strings that exercise GPT-2's tokenizer, with the ids of the reference.

  python3 -m venv venv && venv/bin/pip install tiktoken tokenizers regex
  venv/bin/python tests/golden/make_tokenizer.py DIR      # DIR has encoder.json and vocab.bpe

Texts are encoded by tiktoken, <|endoftext|> as the special token, and, as a check, by Hugging Face's tokenizers; both
must agree. For bytes that are not UTF-8 the reference has no answer, since it takes strings; they are decoded with
Python's "surrogateescape", cut with GPT-2's own pattern (module regex) and each piece's bytes merged by tiktoken.

All letters and numbers are old ones (Unicode 3.2), so that the answer does not depend on the Unicode version of
anybody's library.
"""
import json
import pathlib
import random
import sys
import unicodedata

import regex
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizers import ByteLevelBPETokenizer

PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END = "<|endoftext|>"
old = unicodedata.ucd_3_2_0


def alphabet(first, last):
    """The characters of a range that Unicode 3.2 knew."""
    return [chr(c) for c in range(first, last + 1) if old.category(chr(c)) not in ("Cn", "Cs")]


SCRIPTS = [alphabet(*r) for r in (
    (0x21, 0x7E), (0xA1, 0x17F), (0x250, 0x2AF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x45F), (0x531, 0x587),
    (0x591, 0x5F4), (0x60C, 0x6D5), (0x901, 0x970), (0xE01, 0xE5B), (0x10A0, 0x10F6), (0x1100, 0x11F9),
    (0x13A0, 0x13F4), (0x16A0, 0x16F0), (0x1E00, 0x1EF9), (0x1F00, 0x1FFE), (0x2010, 0x2046), (0x2070, 0x20B1),
    (0x2100, 0x218F), (0x2190, 0x22FF), (0x2460, 0x24EA), (0x2500, 0x25FF), (0x2600, 0x27BE), (0x3001, 0x303F),
    (0x3041, 0x30FE), (0x3105, 0x312C), (0x4E00, 0x4FFF), (0xAC00, 0xADFF), (0xE000, 0xE020), (0xFB00, 0xFB4F),
    (0xFF01, 0xFFEE), (0x10330, 0x1034A), (0x1D400, 0x1D7FF))]
SPACES = ([chr(c) for c in (*range(9, 14), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
                            0x205F, 0x3000)])
NEARLY_SPACES = ["\u180e", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\x1c", "\x1f", "\x00", "\x7f", "\u0080"]
DIGITS = [list("0123456789"), alphabet(0x660, 0x669), alphabet(0x966, 0x96F), alphabet(0xFF10, 0xFF19),
          list("²³¹½¼Ⅷⅻ①⑳㊿")]
EMOJI = ["😀", "😂", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "☃", "🤖", "1️⃣", "🧑🏿‍🚀", "🫠", "🪨", "🧱"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'LL", "’s", "''s", "'sx", "'x", "'",
                "' s", "n't", "'ll've", "'d've"]
WORDS = ("the of and to in a is that for it as was with be by on not he his but at are this have from or had an they "
         "which one you were all her she there would their we him been has when who will no more if out so up said what "
         "its about than into them can only other time new some could these two may first then do any like my now over "
         "such our man me even most made after also well many must before back through years where much your way down "
         "should because long each just state those people too mr mrs how little good world make very year still see "
         "work life men old here get both between Being UNITED States iPhone eBay antidisestablishmentarianism "
         "Llanfairpwllgwyngyll naïve café Zürich tokenizer BLAST Monarch softmax 3.14159 2026 1,000,000 0xdeadbeef "
         "http://example.org/a?b=c&d=%20 user@example.com C++ C# std::vector<int> @-@ <unk> = = Heading = =").split()
SNIPPETS = ["for (int i = 0; i < n; ++i) {\n\tsum += x[i];\n}\n", "def f(x):\n    return x ** 2\n", "a\tb\t\tc\r\n\r\n",
            "SELECT * FROM t WHERE a='b';", "{\"key\": [1, 2.5e-3, null]}", "<p class=\"x\">&nbsp;</p>", END,
            "before " + END + " after", "...", "!!!???", "----------", "=====", "# Heading\n\n* item\n* item\n", "$1,234.56",
            "12:34:56", "2026-08-23T12:00:00Z", "50%", "(a)(b)[c]{d}", "\\n\\t\\x00", "~`@#$%^&*()_+-=[]{}|;':\",./<>?"]
ENDS = ["x.  " + END + "\n\n  y", "a" + END + END + "b", " \n" + END, END + " \n x", "<" + END + "|>", END[:-1], "é" + END + " 's"]


def make_texts(rng):
    texts = ["", " ", "  ", "\n", "\n\n", " \n", "\n ", "a", " a", "a ", "a  b", "a \n b", "   leading", "trailing   ",
             "x" * 300, " " * 300, "\n" * 100, "ab" * 200, "🧱" * 50, "é" * 120, "7" * 100, "'" * 40, "\u0301" * 30]
    texts += SNIPPETS + CONTRACTIONS + EMOJI + SPACES + NEARLY_SPACES
    texts += [f"a{s}b" for s in SPACES + NEARLY_SPACES] + [f"{s}{s} x{s}" for s in SPACES + NEARLY_SPACES]
    texts += [w + c for w in ("it", "I", "we", "they", "can", "x1", "é") for c in CONTRACTIONS]
    texts += [f"{a}{b}" for a in ("e", "E", " o", "क") for b in ("\u0301", "\u0308", "\u0901", "\u20dd")]

    def word():
        kind = rng.random()
        if kind < 0.45: return rng.choice(WORDS)
        if kind < 0.60: return "".join(rng.choices(rng.choice(SCRIPTS), k=rng.randint(1, 6)))
        if kind < 0.70: return "".join(rng.choices(rng.choice(DIGITS), k=rng.randint(1, 6)))
        if kind < 0.78: return rng.choice(WORDS) + rng.choice(CONTRACTIONS)
        if kind < 0.86: return rng.choice(EMOJI)
        if kind < 0.93: return "".join(rng.choices("!?.,;:-_()[]{}\"'`@#$%^&*+=/\\|~<>", k=rng.randint(1, 5)))
        return "".join(rng.choice(rng.choice(SCRIPTS)) for _ in range(rng.randint(1, 5)))

    def gap():
        kind = rng.random()
        if kind < 0.6: return " "
        if kind < 0.75: return ""
        if kind < 0.9: return "".join(rng.choices(" \n\t\r", k=rng.randint(1, 4)))
        return "".join(rng.choices(SPACES + NEARLY_SPACES, k=rng.randint(1, 3)))

    while len(texts) < 2000:
        texts.append("".join(word() + gap() for _ in range(rng.randint(1, 9))))
    return texts + ENDS


def make_bytes(rng):
    """Byte sequences that are not UTF-8: stray, missing, overlong, out of range, surrogates, cut off."""
    bad = [b"\x80", b"\xff", b"\xfe", b"\xc0\xaf", b"\xc1", b"\xc3", b"\xe2\x82", b"\xe2", b"\xe0\x80\x80", b"\xed\xa0\x80",
           b"\xed\xb0\x80", b"\xf0\x9f\x98", b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xbf\xbf\xbf",
           b"\xc3\x28", b"\xe2\x28\xa1", b"\xf0\x28\x8c\x28", b"caf\xe9", b"\xff\xfe", b"\x00\xff\x00"]
    good = ["", " ", "a", " a", "\n", "  ", "é", "😀", "1", "'s", "...", "word", " the", "\u0080", "\u0085"]
    cases = bad + [g.encode() + b + h.encode() for b in bad for g in good[1:8] for h in good[1:4]][::3]
    while len(cases) < 400:
        parts = [rng.choice(bad) if rng.random() < 0.4 else rng.choice(good).encode() for _ in range(rng.randint(2, 10))]
        parts += [bytes(rng.randrange(256) for _ in range(rng.randint(0, 6)))]
        case = b"".join(parts)
        try:
            case.decode()
        except UnicodeDecodeError:
            # Random bytes can be letters younger than Unicode 3.2.
            text = case.decode("utf-8", "surrogateescape")
            if all(old.category(c) != "Cn" for c in text): cases.append(case)
    return cases


def main():
    folder = pathlib.Path(sys.argv[1])
    ranks = data_gym_to_mergeable_bpe_ranks(str(folder / "vocab.bpe"), str(folder / "encoder.json"))
    reference = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={END: 50256})
    second = ByteLevelBPETokenizer(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    second.add_special_tokens([END])
    rng = random.Random(2)

    texts = []
    for text in make_texts(rng):
        ids = reference.encode(text, allowed_special={END})
        assert ids == second.encode(text).ids, (text, ids, second.encode(text).ids)
        assert reference.decode(ids) == text
        texts.append([text, ids])
    sequences = []
    for case in make_bytes(rng):
        pieces = regex.findall(PATTERN, case.decode("utf-8", "surrogateescape"))
        ids = [i for p in pieces for i in reference._encode_single_piece(p.encode("utf-8", "surrogateescape"))]
        assert reference.decode_bytes(ids) == case
        sequences.append([case.hex(), ids])

    made_with = f"tiktoken {tiktoken.__version__}, regex {regex.__version__}"
    target = pathlib.Path(__file__).with_name("tokenizer_gpt2.json")
    lines = lambda cases: ",\n".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in cases)
    target.write_text(f'{{"made_with":{json.dumps(made_with)},\n"texts":[\n{lines(texts)}\n],\n'
                      f'"bytes":[\n{lines(sequences)}\n]}}\n')
    print(f"{len(texts)} texts, {len(sequences)} byte sequences, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
