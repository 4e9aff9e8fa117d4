# What the tests of the programs share: sourced with the folder of the programs as the first argument. A test ends with
# `finish`.
set -uo pipefail
bin=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

ok() { passed=$((passed + 1)); }
bad() {
  failed=$((failed + 1))
  echo "FAILED: $1"
}
# Two files, or streams, which must have something in them.
both() { cat "$1" >"$work/.one" && cat "$2" >"$work/.other" && [ -s "$work/.one" ] && [ -s "$work/.other" ]; }
same() { if both "$2" "$3" && cmp -s "$work/.one" "$work/.other"; then ok; else bad "$1: $2 and $3 differ, or are not there"; fi; }
differs() { if both "$2" "$3" && ! cmp -s "$work/.one" "$work/.other"; then ok; else bad "$1: $2 and $3 are the same, or not there"; fi; }
# is WHAT GOT EXPECTED
is() { if [ "$2" = "$3" ]; then ok; else bad "$1: '$2' and not '$3'"; fi; }
# expect CODE TEXT COMMAND…: the exit code, and one line on stderr that contains the text
expect() {
  local code=$1 text=$2
  shift 2
  "$@" >"$work/out" 2>"$work/err"
  local got=$?
  if [ $got -ne "$code" ]; then bad "exit code $got instead of $code: $* ($(head -c 300 "$work/err"))"; return; fi
  if [ -n "$text" ] && ! grep -qF -- "$text" "$work/err"; then bad "no '$text' in '$(cat "$work/err")': $*"; return; fi
  if [ "$code" -ne 0 ] && [ "$(wc -l <"$work/err")" -ne 1 ]; then bad "not one line on stderr: $*"; return; fi
  ok
}
# set_first FILE TENSOR VALUE: replaces the first value of a tensor of a safetensors file in f32.
set_first() {
  python3 - "$@" <<'PY'
import json, struct, sys
raw = bytearray(open(sys.argv[1], "rb").read())
size = struct.unpack("<Q", raw[:8])[0]
begin = 8 + size + json.loads(raw[8:8 + size])[sys.argv[2]]["data_offsets"][0]
raw[begin:begin + 4] = struct.pack("<f", float(sys.argv[3]))
open(sys.argv[1], "wb").write(raw)
PY
}
finish() {
  echo "$passed passed, $failed failed"
  [ $failed -eq 0 ]
}

# ---- small data
python3 - "$work" <<'PY' || { echo "python3 is needed to make the test images"; exit 1; }
import os, random, struct, sys
random.seed(1)
def bmp(path, shade):
    rows = b"".join(bytes((shade + random.randrange(40)) % 256 for _ in range(24)) for _ in range(8))
    open(path, "wb").write(b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) +
                           struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows)
root = sys.argv[1]
for split, count in (("train", 24), ("test", 5)):
    for c, shade in (("cat", 30), ("dog", 150)):
        os.makedirs(f"{root}/images/{split}/{c}")
        for i in range(count):
            bmp(f"{root}/images/{split}/{c}/{i}.bmp", shade)
os.makedirs(f"{root}/text")
words = "the a small model reads one word after another and learns which is likely to follow".split()
for split, count in (("train", 3000), ("valid", 300), ("test", 300)):
    lines = [" ".join(random.choice(words) for _ in range(9)) for _ in range(count // 9)]
    open(f"{root}/text/wiki.{split}.tokens", "w").write("\n".join(lines) + "\n")
PY
vit_data=("$bin/train_vit" --data "$work/images" --batch 8)
gpt_data=("$bin/train_gpt" --data "$work/text" --batch 4)
vit=("${vit_data[@]}" --width 16 --depth 2 --heads 2 --patch 4 --dropout 0.1 --mixup 0.3 --log-every 1
     --layer blast:blocks=2,rank=5)
gpt=("${gpt_data[@]}" --width 16 --depth 2 --heads 2 --context 16 --vocab 300 --dropout 0.1 --log-every 1
     --layer-at qkv,fc1 --layer low_rank:rank=4)

# train NAME: a run of 20 steps of vit or gpt in $work/NAME-a
train() {
  local -n command=$1
  expect 0 "" "${command[@]}" --steps 20 --out "$work/$1-a"
}
