#!/usr/bin/env bash
# The programs from outside: repeatable runs, resuming after kill -9, exit codes and error texts.
#   programs_test.sh BIN   (the folder with the programs)
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
same() { if cmp -s "$2" "$3"; then ok; else bad "$1: $2 and $3 differ"; fi; }
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
vit=("$bin/train_vit" --data "$work/images" --batch 8 --width 16 --depth 2 --heads 2 --patch 4 --dropout 0.1 --mixup 0.3 --log-every 1
     --layer blast:blocks=2,rank=5)
gpt=("$bin/train_gpt" --data "$work/text" --batch 4 --width 16 --depth 2 --heads 2 --context 16 --vocab 300 --dropout 0.1 --log-every 1
     --layer-at qkv,fc1 --layer low_rank:rank=4)

# ---- repeatable, and resuming goes on bit for bit
for name in vit gpt; do
  declare -n command=$name
  expect 0 "" "${command[@]}" --steps 20 --out "$work/$name-a/"
  expect 0 "" "${command[@]}" --steps 20 --out "$work/$name-b"
  same "two runs with one seed ($name)" "$work/$name-a/model.safetensors" "$work/$name-b/model.safetensors"
  same "losses of two runs ($name)" <(grep -o '"loss":[^,]*' "$work/$name-a/metrics.jsonl") <(grep -o '"loss":[^,]*' "$work/$name-b/metrics.jsonl")
  expect 0 "" "${command[@]}" --steps 20 --threads 1 --out "$work/$name-one"
  expect 0 "" "${command[@]}" --steps 20 --threads 2 --out "$work/$name-two"
  same "one and two threads ($name)" "$work/$name-one/model.safetensors" "$work/$name-two/model.safetensors"
  expect 0 "" "${command[@]}" --steps 20 --seed 2 --out "$work/$name-c"
  if cmp -s "$work/$name-a/model.safetensors" "$work/$name-c/model.safetensors"; then bad "another seed gives the same weights ($name)"; else ok; fi

  # killed at random moments of its life, then left to finish
  began=$(date +%s.%N)
  expect 0 "" "${command[@]}" --steps 20 --checkpoint-every 2 --out "$work/$name-k"
  life=$(awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { print b - a }')
  same "a run that saves often ($name)" "$work/$name-a/model.safetensors" "$work/$name-k/model.safetensors"
  rm -r "$work/$name-k"
  killed=0
  for attempt in 1 2 3 4 5 6 7; do
    resume=(--overwrite)
    if [ -f "$work/$name-k/checkpoint/state.safetensors" ]; then resume=(--resume); fi
    "${command[@]}" --steps 20 --checkpoint-every 2 --out "$work/$name-k" "${resume[@]}" >"$work/out" 2>"$work/err" &
    victim=$!
    if [ $attempt -lt 7 ]; then
      sleep "$(awk -v life="$life" -v r="$RANDOM" 'BEGIN { printf "%.3f", life * r / 32768 }')"
      if kill -9 $victim 2>/dev/null; then killed=$((killed + 1)); fi
    fi
    wait $victim 2>/dev/null && break
  done
  if [ -f "$work/$name-k/model.safetensors" ]; then ok; else bad "no attempt got through ($name): $(cat "$work/err")"; fi
  if [ $killed -eq 0 ]; then echo "note: $name was too fast to be killed"; fi
  same "killed $killed times and resumed ($name)" "$work/$name-a/model.safetensors" "$work/$name-k/model.safetensors"
  if [ -z "$(find "$work/$name-k" -name '*.tmp*')" ]; then ok; else bad "temporary files are left in $work/$name-k"; fi
done

# ---- every optimizer, with an average of the weights and groups: stopped and resumed is as never stopped
"$bin/bench_optimizers" --optimizers none 2>"$work/err"
read -ra optimizers <<<"$(sed 's/.*valid are //; s/,//g' "$work/err")"
if [ ${#optimizers[@]} -ge 9 ]; then ok; else bad "no list of optimizers: $(cat "$work/err")"; fi
for optimizer in "${optimizers[@]}"; do
  for name in vit gpt; do
    declare -n command=$name
    # Schedules that do not depend on the length of the run, which resuming changes here.
    settings=(--optimizer "$optimizer" --ema 0.9 --groups "role=norm,lr=0.5; name=*.bias,decay=constant" --warmup 0 --decay constant)
    expect 0 "" "$bin/train_$name" --help
    for setting in "rank 3" "refresh-every 3"; do
      option=--optim.${setting% *}
      if grep -e "$option " "$work/out" | grep -qw "$optimizer"; then settings+=("$option" "${setting#* }"); fi
    done
    expect 0 "" "${command[@]}" "${settings[@]}" --steps 8 --out "$work/$optimizer-$name-a"
    if grep -qE "optimizer: $optimizer, [0-9.]+ MiB of state" "$work/out"; then ok; else bad "no size of the state of $optimizer"; fi
    expect 0 "" "${command[@]}" "${settings[@]}" --steps 5 --out "$work/$optimizer-$name-b"
    expect 0 "" "${command[@]}" "${settings[@]}" --steps 8 --out "$work/$optimizer-$name-b" --resume
    same "$name resumed with $optimizer" "$work/$optimizer-$name-a/model.safetensors" "$work/$optimizer-$name-b/model.safetensors"
  done
done
expect 2 "resume it with --ema" "${vit[@]}" --optimizer muon --groups "" --ema 0 --steps 9 --out "$work/muon-vit-b" --resume
expect 2 "fits no parameter" "${vit[@]}" --groups "name=head.*.weight,lr=2" --steps 1 --out "$work/x"

# ---- files of a run
for file in config.json metrics.jsonl model.safetensors report.html checkpoint/state.safetensors; do
  if [ -s "$work/vit-a/$file" ]; then ok; else bad "no $file in a finished run"; fi
done
expect 0 "" "$bin/train_vit" --config "$work/vit-a/config.json" --out "$work/again"
same "a run from its resolved config" "$work/vit-a/model.safetensors" "$work/again/model.safetensors"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 5 --seed 3
cp "$work/out" "$work/first"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 5 --seed 3
same "generate with one seed" "$work/first" "$work/out"
# More tokens than the context of 16 holds.
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 40 --seed 3
cp "$work/out" "$work/first"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 40 --seed 3 --no-cache
same "generate with a cache and without" "$work/first" "$work/out"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 20 --device cpu --dtype bf16
# The tokenizer under the names of Hugging Face, or under none.
cp -r "$work/gpt-a" "$work/gpt-names"
mv "$work/gpt-names/encoder.json" "$work/gpt-names/vocab.json"
mv "$work/gpt-names/vocab.bpe" "$work/gpt-names/merges.txt"
expect 0 "" "$bin/generate" --model "$work/gpt-names" --tokens 40 --seed 3
same "generate with vocab.json and merges.txt" "$work/first" "$work/out"
rm "$work/gpt-names/vocab.json"
expect 2 "has neither encoder.json (with vocab.bpe) nor vocab.json (with merges.txt)" "$bin/generate" --model "$work/gpt-names" --tokens 1
# Every byte of a text is printed, and weights that are not numbers give none.
echo '{"prompt": "a\u0000b"}' >"$work/prompt.json"
expect 0 "" "$bin/generate" --config "$work/prompt.json" --model "$work/gpt-a" --tokens 1
if [ "$(head -c 3 "$work/out" | od -An -tx1 | tr -d ' ')" = 610062 ]; then ok; else bad "a prompt with a zero byte: $(od -c "$work/out" | head -2)"; fi
cp -r "$work/gpt-a" "$work/gpt-nan"
python3 - "$work/gpt-nan/model.safetensors" <<'PY'
import json, struct, sys
raw = bytearray(open(sys.argv[1], "rb").read())
size = struct.unpack("<Q", raw[:8])[0]
begin = 8 + size + json.loads(raw[8:8 + size])["ln_f.bias"]["data_offsets"][0]
raw[begin:begin + 4] = struct.pack("<f", float("nan"))
open(sys.argv[1], "wb").write(raw)
PY
expect 2 "gpt-nan/model.safetensors: these weights give logits that are not finite" "$bin/generate" --model "$work/gpt-nan" --tokens 3
expect 0 "" "$bin/compare_runs" --out "$work/report.html" "$work/vit-a" "$work/gpt-a"
mkdir "$work/odd"
echo '{"event":"eval","step":1,"split":"test","loss":1,"perplexity":1.7e308}' >"$work/odd/metrics.jsonl"
expect 0 "" timeout 60 "$bin/compare_runs" --out "$work/report.html" "$work/odd"
echo '{"event":"eval","step":1,"split":3}' >"$work/odd/metrics.jsonl"
expect 2 "odd/metrics.jsonl line 1: key 'split': needs a text, got 3" "$bin/compare_runs" --out "$work/report.html" "$work/odd"
expect 0 "" "$bin/compare_runs" --out="$work/report.html" "$work/vit-a/" "$work/gpt-a"
if grep -q "^vit-a " "$work/out" && grep -q "^gpt-a " "$work/out"; then ok; else bad "compare_runs: $(cat "$work/out")"; fi
if grep -q "<title>train_vit" "$work/vit-a/report.html" && grep -q "<th>vit-a</th>" "$work/vit-a/report.html"; then ok; else bad "no name in $work/vit-a/report.html"; fi
expect 0 "" "$bin/compare_runs" -h
expect 2 "did you mean --out?" "$bin/compare_runs" --ot "$work/report.html" "$work/vit-a"
expect 2 "no runs given" "$bin/compare_runs"
expect 2 "has no metrics.jsonl" "$bin/compare_runs" "$work/text"

# ---- compress, there and back, and on from what it wrote
expect 0 "" "$bin/compress" --in "$work/vit-a/model.safetensors" --layer dense --out "$work/vit-dense" --data "$work/images"
if grep -q "relative error 0.0000" "$work/out" && [ "$(grep -c "test loss" "$work/out")" -eq 2 ]; then ok; else bad "compress to dense: $(cat "$work/out")"; fi
if grep -qE "^compress: cpu, [0-9]+ threads?, f32, " "$work/out"; then ok; else bad "compress does not tell its device: $(head -1 "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --out "$work/vit-again" --device cpu
same "dense to dense" "$work/vit-dense/model.safetensors" "$work/vit-again/model.safetensors"
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer blast:blocks=2,rank=8 --layer-at fc1,fc2 --out "$work/gpt-blast" --data "$work/text"
expect 0 "" "$bin/generate" --model "$work/gpt-blast" --tokens 5
expect 0 "" "$bin/train_gpt" --config "$work/gpt-blast/config.json" --init-from "$work/gpt-blast/model.safetensors" --steps 2 --out "$work/gpt-on"
expect 0 "" "$bin/train_vit" --config "$work/vit-dense/config.json" --init-from "$work/vit-dense/model.safetensors" --lr 0 --steps 1 --out "$work/vit-on"
same "training on at learning rate 0" "$work/vit-dense/model.safetensors" "$work/vit-on/model.safetensors"
expect 2 "missing: " "$bin/train_vit" --config "$work/vit-dense/config.json" --init-from "$work/vit-a/model.safetensors" --steps 1 --out "$work/x"
expect 2 "rank must be from 1 to" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer low_rank:rank=99 --out "$work/y"
expect 2 "is the folder of --in" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --out "$work/vit-dense"
expect 2 "--layer-at: 'fc3' is unknown" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --layer-at fc3 --out "$work/y"
expect 2 "layer 'low_rank:ratio=0.1' for blocks.0.attn.qkv (16 -> 48): no rank that is a multiple of 8 keeps 0.1" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer low_rank:ratio=0.1 --out "$work/y"
# weighed errors: learned from data, refused by kinds that cannot use them before anything is done
dense="$work/vit-dense/model.safetensors"
for weighting in activation fisher; do
  expect 0 "" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/images" --weighting $weighting --samples 12 --out "$work/vit-$weighting"
  if [ "$(grep -c "low_rank:rank=4: relative error .*, weighed 0" "$work/out")" -eq 8 ]; then ok; else bad "compress --weighting $weighting: $(cat "$work/out")"; fi
done
if cmp -s "$work/vit-activation/model.safetensors" "$work/vit-fisher/model.safetensors"; then bad "both weightings give the same"; else ok; fi
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer low_rank:rank=4 --layer-at fc1,fc2 --calibrate "$work/text" --samples 8 --out "$work/gpt-weighed"
expect 2 "--calibrate: blocks.0.attn.qkv is to be monarch:blocks=2,rank=8, which cannot weigh its error" "$bin/compress" --in "$dense" --layer monarch:blocks=2 --calibrate "$work/images" --out "$work/y"
expect 2 "Valid: activation, fisher" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/images" --weighting row --out "$work/y"
expect 2 "$work/empty2" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/empty2" --out "$work/y"
for factorize in precgd als; do
  expect 0 "" "$bin/compress" --in "$dense" --layer blast:blocks=2,rank=4 --factorize $factorize --out "$work/vit-$factorize"
done
if cmp -s "$work/vit-precgd/model.safetensors" "$work/vit-als/model.safetensors"; then bad "both factorisations give the same"; else ok; fi
# every structure there and back: dense again, and the same network as the structure was
for spec in low_rank:rank=4 monarch:blocks=2 blast:blocks=2,rank=4 ss1:reduction=2,classes=2 block_diagonal:blocks=2,shuffle=1; do
  expect 0 "" "$bin/compress" --in "$dense" --layer $spec --out "$work/there" --data "$work/images"
  there=$(grep -o "^after.*test loss.*" "$work/out" | grep -o "loss .*")
  expect 0 "" "$bin/compress" --in "$work/there/model.safetensors" --layer dense --out "$work/back" --data "$work/images"
  back=$(grep -o "^after.*test loss.*" "$work/out" | grep -o "loss .*")
  if awk -v a="${there//[!0-9. ]/}" -v b="${back//[!0-9. ]/}" 'BEGIN { split(a, x, " "); split(b, y, " "); d = x[1] - y[1]; exit !(x[1] > 0 && d * d < 1e-8) }'; then ok; else bad "$spec and back: '$there' and '$back'"; fi
  rm -r "$work/there" "$work/back"
done
# weights that are not finite name their layer and change nothing; zeros have a projection
python3 - "$dense" "$work" <<'PY'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
begin, end = json.loads(raw[8:8 + size])["blocks.1.mlp.fc1.weight"]["data_offsets"]
import os, shutil
for name, value in (("nan", struct.pack("<f", float("nan")) * ((end - begin) // 4)), ("zero", bytes(end - begin))):
    folder = f"{sys.argv[2]}/vit-{name}"
    os.makedirs(folder)
    shutil.copy(os.path.dirname(sys.argv[1]) + "/config.json", folder)
    open(f"{folder}/model.safetensors", "wb").write(raw[:8 + size + begin] + value + raw[8 + size + end:])
PY
cp "$work/vit-nan/model.safetensors" "$work/before"
for spec in low_rank:rank=4 blast:blocks=2,rank=4 monarch:blocks=2; do
  expect 2 "project blocks.1.mlp.fc1: the dense matrix has a value that is not finite" "$bin/compress" --in "$work/vit-nan/model.safetensors" --layer $spec --out "$work/y"
  expect 0 "" "$bin/compress" --in "$work/vit-zero/model.safetensors" --layer $spec --out "$work/vit-of-zero" --overwrite
done
same "the input of a refused compress" "$work/before" "$work/vit-nan/model.safetensors"
# a GPT-2 in the names and the config of Hugging Face, with the prefix, tied head and masks that some files have
golden=$(cd "$(dirname "$0")/../golden/gpt2" && pwd)
mkdir "$work/hf"
cp "$golden/config.json" "$work/hf/"
python3 - "$golden/model.safetensors" "$work/hf/model.safetensors" <<'PY'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
header = {name if name == "__metadata__" else "transformer." + name: entry for name, entry in header.items()}
begin, end = header["transformer.wte.weight"]["data_offsets"]
for name, shape, values in (("lm_head.weight", header["transformer.wte.weight"]["shape"], data[begin:end]),
                            ("transformer.h.0.attn.bias", [1, 1, 4, 4], bytes(64))):
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
    data += values
text = json.dumps(header).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + data)
PY
expect 0 "" "$bin/compress" --in "$work/hf/model.safetensors" --layer low_rank:rank=8 --out "$work/hf-low"
if [ "$(grep -c "dense -> low_rank:rank=8: relative error 0" "$work/out")" -eq 8 ]; then ok; else bad "compress of a Hugging Face GPT-2: $(cat "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/hf/model.safetensors" --layer dense --out "$work/hf-dense"
expect 0 "" "$bin/compress" --in "$golden/model.safetensors" --layer dense --out "$work/hf-golden"
same "with prefix and without" "$work/hf-dense/model.safetensors" "$work/hf-golden/model.safetensors"
if python3 -c "
import json, sys
c = json.load(open(sys.argv[1]))
assert (c['width'], c['depth'], c['heads'], c['context']) == (c['n_embd'], c['n_layer'], c['n_head'], c['n_positions'])
assert c['linear']['fc1'] == 'low_rank:rank=8'
" "$work/hf-low/config.json"; then ok; else bad "config of a compressed Hugging Face GPT-2: $(cat "$work/hf-low/config.json")"; fi
# variants of GPT-2 that ours is not, and values of another type, are refused by file, key and value
mkdir "$work/hf-other"
cp "$work/hf/model.safetensors" "$work/hf-other/"
sed 's/"gelu_new"/"relu"/' "$work/hf/config.json" >"$work/hf-other/config.json"
expect 2 "hf-other/config.json: key 'activation_function': 'relu' is not possible; use gelu_new" "$bin/compress" --in "$work/hf-other/model.safetensors" --layer dense --out "$work/y"
sed 's/"n_inner": null/"linear": "dense"/' "$work/hf/config.json" >"$work/hf-other/config.json"
expect 2 "hf-other/config.json: key 'linear': needs an object, got \"dense\"" "$bin/compress" --in "$work/hf-other/model.safetensors" --layer dense --out "$work/y"
expect 2 "$work/hf/config.json/y: Not a directory" "$bin/compress" --in "$work/hf/model.safetensors" --layer dense --out "$work/hf/config.json/y"
if [ -s "$work/out" ]; then bad "compress began before it looked at --out: $(cat "$work/out")"; else ok; fi
if [ -e "$work/y" ]; then bad "a refused compress left $work/y"; else ok; fi
# the command that it prints trains on: from a run of ours, whose folder stays as it was, and from a GPT-2 that is not
train_on() {
  expect 0 "" "$bin/compress" --layer dense "$@"
  local printed
  printed=$(grep -o "train_[a-z]* .*--config .*" "$work/out")
  expect 0 "" "$bin/"$printed --steps 1
}
cp -r "$work/vit-a" "$work/vit-copy"
train_on --in "$work/vit-copy/model.safetensors" --out "$work/vit-small/"
if diff -r "$work/vit-a" "$work/vit-copy" && [ -s "$work/vit-small-trained/model.safetensors" ]; then ok; else bad "training on from a compressed ViT"; fi
# once more, from a run that began with weights of another
train_on --in "$work/vit-small-trained/model.safetensors" --out "$work/vit-smaller"
mkdir "$work/hf-words"
cp "$work/gpt-a/encoder.json" "$work/hf-words/vocab.json"
cp "$work/gpt-a/vocab.bpe" "$work/hf-words/merges.txt"
"$bin/compress" --in "$work/gpt-a/model.safetensors" --layer dense --out "$work/gpt-dense" >/dev/null
cp "$work/gpt-dense/model.safetensors" "$work/hf-words/"
python3 -c "
import json, sys
hf, ours = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
json.dump({key: ours[key] if key.startswith('n_') or key == 'vocab_size' else value for key, value in hf.items()}, sys.stdout)
" "$golden/config.json" "$work/gpt-dense/config.json" >"$work/hf-words/config.json"
train_on --in "$work/hf-words/model.safetensors" --out "$work/hf-small"
same "the vocabulary of a compressed GPT-2" "$work/hf-words/merges.txt" "$work/hf-small-trained/vocab.bpe"
expect 2 "--out $work/vit-b holds the checkpoint of an earlier run" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-b"
expect 2 "--out $work/vit-zero holds model.safetensors" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-zero"
same "a run that compress was not to replace" "$work/vit-a/model.safetensors" "$work/vit-b/model.safetensors"
expect 0 "" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-b" --overwrite
same "what compress was to replace" "$dense" "$work/vit-b/model.safetensors"
if [ -z "$(ls "$work/vit-b" | grep -v -e config.json -e model.safetensors -e checkpoint)" ]; then ok; else bad "of a replaced run stays $(ls "$work/vit-b")"; fi

# ---- blast_convergence
expect 0 "" "$bin/blast_convergence" --size 24 --blocks 2 --rank 2 --larger-rank 4 --iterations 30 --out "$work/curves.svg"
if [ "$(grep -c "^| .* matrix | [24] |" "$work/out")" -eq 8 ] && python3 -c "
import sys, xml.dom.minidom
assert len(xml.dom.minidom.parse(sys.argv[1]).getElementsByTagName('g')) == 2
" "$work/curves.svg"; then ok; else bad "blast_convergence: $(cat "$work/out")"; fi
expect 2 "--blocks 5 must divide --size 24" "$bin/blast_convergence" --size 24 --blocks 5 --out "$work/y"
expect 2 "y/curves.svg: No such file" "$bin/blast_convergence" --size 24 --out "$work/y/curves.svg"
if [ -s "$work/out" ]; then bad "blast_convergence began before it looked at --out: $(cat "$work/out")"; else ok; fi

# ---- bench_layers
expect 0 "" "$bin/bench_layers" --layers "dense;low_rank:rank=8;blast:blocks=2,rank=8" --shapes 32x48,48x16 --tokens 1,64 --repeats 2
if [ "$(wc -l <"$work/out")" -eq 24 ] && python3 -c "
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
keys = 'layer in out tokens dtype device threads pass ms ms_min gflops dense_ms speedup mac_ratio efficiency'.split()
assert all(list(row) == keys for row in rows)
assert all(abs(row['efficiency'] - row['speedup'] / row['mac_ratio']) < 1e-9 and row['ms_min'] <= row['ms'] for row in rows)
" "$work/out"; then ok; else bad "bench_layers: $(head -3 "$work/out")"; fi
expect 0 "" "$bin/bench_layers" --table --layers low_rank:rank=8 --shapes 32x48 --tokens 8 --repeats 1
expect 2 "is not INxOUT" "$bin/bench_layers" --shapes 32
expect 2 "rank must be from 1 to 32" "$bin/bench_layers" --shapes 32x48 --layers low_rank:rank=33
expect 2 "must name at least one each" "$bin/bench_layers" --tokens ,

# ---- bench_optimizers
expect 0 "" "$bin/bench_optimizers" --models vit_tiny --layers "dense;blast:blocks=3,rank=8" --optimizers sgd,precgd --batch 1 --passes 1 --device cpu
if [ "$(wc -l <"$work/out")" -eq 4 ] && python3 -c "
import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    assert row['device'] == 'cpu', row
    step = row['forward_backward_ms'] + row['clip_ms'] + row['update_ms']
    assert 0 < row['share'] < 1 and abs(row['share'] * step - row['update_ms']) < 1e-9 * step, row
    assert row['longest_update_ms'] >= row['update_ms'] > 0 and row['state_bytes'] > 0, row
" "$work/out"; then ok; else bad "bench_optimizers: $(head -3 "$work/out")"; fi
expect 2 "valid are gpt_mini, vit_tiny" "$bin/bench_optimizers" --models vit
expect 2 "optimizer: unknown name" "$bin/bench_optimizers" --optimizers adam
for list in --models=, --optimizers=, --layers=";"; do expect 2 "must name at least one each" "$bin/bench_optimizers" "$list"; done

# ---- the comparison of the optimizers, on a toy
compare=$(cd "$(dirname "${BASH_SOURCE[0]}")/../compare" && pwd)
expect 0 "" env PYTHONDONTWRITEBYTECODE=1 python3 "$compare/optimizers_test.py"
toy=(python3 "$compare/optimizers.py" "$bin" --out "$work/compare" --vit-data "$work/images" --gpt-data "$work/text"
     --layers dense --factors 1,1e30 --vit-steps 10 --gpt-steps 10 --vit-args "--depth 1 --width 16 --heads 2 --batch 8"
     --gpt-args "--depth 1 --width 16 --heads 2 --context 16 --batch 4 --vocab 300" --bench-args "--optimizers adamw,muon --passes 1")
expect 0 "" "${toy[@]}" --optimizers muon --budget 0
if grep -q "at least 8 runs are left" "$work/out"; then ok; else bad "a comparison without time: $(cat "$work/out")"; fi
expect 0 "" "${toy[@]}" --optimizers muon
if [ "$(grep -cE '^\| (adamw|muon) \|.* 0\.3: .* 1e\+30: diverged \|.*±' "$work/compare/table.md")" -eq 4 ]; then ok; else bad "$(cat "$work/compare/table.md")"; fi
expect 0 "" "${toy[@]}" --optimizers muon --list
if [ -s "$work/out" ] && grep -q . "$work/out"; then bad "runs are left: $(cat "$work/out")"; else ok; fi
expect 1 "were made with --gpt-steps 10" "${toy[@]}" --gpt-steps 11

# ---- the comparison of the structures, on a toy
toy=(python3 "$compare/structures.py" "$bin" --out "$work/structures" --gpt-data "$work/text" --tasks gpt --factors 1,1e30
     --gpt-steps 10 --gpt-args "--depth 1 --width 32 --heads 2 --context 16 --batch 4 --vocab 300")
expect 1 "valid are dense; dense, narrower; low rank" "${toy[@]}" --structures SS2
expect 0 "" "${toy[@]}" --structures "SS1;dense, narrower"
if [ "$(grep -cE '^\| (dense|dense, narrower|SS1) \| .*% \|.* 1e\+30: diverged \|.*±.*±.*±.*±' "$work/structures/table.md")" -eq 3 ]; then ok; else bad "$(cat "$work/structures/table.md")"; fi
expect 0 "" "${toy[@]}" --structures "SS1;dense, narrower" --list
if [ -s "$work/out" ] && grep -q seed "$work/out"; then bad "runs are left: $(cat "$work/out")"; else ok; fi

# ---- a device that is not there, told by all programs alike and before anything is done
for program in train_vit train_gpt generate compress bench_layers bench_optimizers; do
  expect 2 "device 'gpu' is unknown; use cpu, cuda or cuda:N" "$bin/$program" --device gpu
  expect 2 "device 'cuda:99': " "$bin/$program" --device cuda:99
  if grep -q "; use --device cpu$" "$work/err" && [ ! -s "$work/out" ]; then ok; else bad "$program --device cuda:99: $(cat "$work/err")"; fi
done

# ---- bad usage and bad input: code 2, one line, nothing half-written
expect 0 "" "$bin/train_vit" --help
expect 2 "--layer" "${vit[@]}" --layr dense
expect 2 "width" "${vit[@]}" --width sixteen
expect 2 "missing" "$bin/train_vit" --data "$work/missing" --out "$work/x"
mkdir "$work/empty"
expect 2 "$work/empty" "$bin/train_vit" --data "$work/empty" --out "$work/x"
expect 2 "$work/empty" "$bin/train_gpt" --data "$work/empty" --out "$work/x"
mkdir "$work/cifar"
head -c 5000 /dev/zero >"$work/cifar/test_batch.bin"
for i in 1 2 3 4 5; do head -c 5000 /dev/zero >"$work/cifar/data_batch_$i.bin"; done
expect 2 "5000" "$bin/train_vit" --data "$work/cifar" --out "$work/x"
cp -r "$work/images" "$work/broken"
echo "no image" >"$work/broken/train/cat/3.bmp"
expect 2 "train/cat/3.bmp" "$bin/train_vit" --data "$work/broken" --out "$work/x"
cp -r "$work/images" "$work/hole"
rm "$work"/hole/train/dog/*
expect 2 "dog" "$bin/train_vit" --data "$work/hole" --out "$work/x"
echo '{"widht": 16}' >"$work/config.json"
expect 2 "width" "${vit[@]}" --config "$work/config.json"
expect 2 "rank must be from 1 to 16" "${vit[@]}" --layer low_rank:rank=17 --out "$work/x"
expect 2 "blocks must be from 1 to" "${vit[@]}" --layer blast:blocks=17,rank=2 --out "$work/x"
expect 2 "unknown kind" "${vit[@]}" --layer blst:blocks=2,rank=2 --out "$work/x"
for size in monarch:blocks=4294967296 ss1:reduction=576460752303423488 blast:blocks=4000000000,ratio=0.5; do
  expect 2 "must be a whole number of at least 1 and at most 2147483647" "${vit[@]}" --layer $size --out "$work/x"
done
expect 2 "crop padding must be from 0 to the side of the images, 8" "${vit[@]}" --crop-padding 3000000000 --out "$work/x"
latin1=$work/caf$'\xe9'
cp -r "$work/images" "$latin1"
expect 2 "--data: '$latin1' is not valid UTF-8" "$bin/train_vit" --data "$latin1" --out "$work/x"
mkdir "$work/tokenizer"
cp "$work/gpt-a/encoder.json" "$work/tokenizer/"
{ cat "$work/gpt-a/vocab.bpe"; echo "zz qq"; } >"$work/tokenizer/vocab.bpe"
expect 2 "vocab.bpe" "${gpt[@]}" --tokenizer "$work/tokenizer" --out "$work/x"
expect 2 "checkpoint" "${vit[@]}" --resume --out "$work/x"
expect 2 "--overwrite replaces the run" "${vit[@]}" --steps 1 --out "$work/vit-a"
expect 2 "exclude each other" "${vit[@]}" --steps 1 --overwrite --resume --out "$work/vit-a"
cp -r "$work/vit-a" "$work/other"
expect 2 "of another shape" "${vit[@]}" --width 32 --steps 30 --resume --out "$work/other"
same "a refused checkpoint" "$work/vit-a/checkpoint/state.safetensors" "$work/other/checkpoint/state.safetensors"
touch "$work/file"
expect 2 "$work/file" "${vit[@]}" --steps 1 --out "$work/file/run"
if [ -e "$work/x/model.safetensors" ]; then bad "a refused run wrote weights"; else ok; fi
# What is refused leaves an earlier run whole, its vocabulary too.
expect 0 "" "${gpt[@]}" --steps 1 --tokenizer "$work/gpt-a" --out "$work/own"
cp -r "$work/own" "$work/own-before"
expect 2 "--overwrite replaces the run" "${gpt[@]}" --vocab 280 --steps 1 --out "$work/own"
same "the vocabulary of a run that stays" "$work/own-before/encoder.json" "$work/own/encoder.json"
expect 2 "--warmup: needs at most 0.99" "${gpt[@]}" --overwrite --warmup 1 --steps 1 --out "$work/own"
expect 2 "would remove" "${gpt[@]}" --overwrite --steps 1 --init-from "$work/own/model.safetensors" --out "$work/own"
expect 2 "fits no parameter" "${gpt[@]}" --overwrite --steps 1 --groups "name=head.*.weight,lr=2" --out "$work/own"
if diff -r "$work/own" "$work/own-before"; then ok; else bad "a refused run changed another"; fi
expect 2 "there is no checkpoint $work/x/checkpoint" "${gpt[@]}" --resume --out "$work/x"
# A resumed run has the vocabulary it began with, also when that came from elsewhere; a finished one is not evaluated again.
"${gpt[@]}" --vocab 280 --steps 1 --out "$work/elsewhere" >/dev/null
mkdir "$work/words"
cp "$work"/own/{encoder.json,vocab.bpe} "$work/words/"
expect 0 "" "${gpt[@]}" --steps 1 --tokenizer "$work/words" --out "$work/given"
cp "$work"/elsewhere/{encoder.json,vocab.bpe} "$work/words/"
for attempt in 1 2; do expect 0 "" "$bin/train_gpt" --resume --steps 2 --out "$work/given"; done
same "the vocabulary of a resumed run" "$work/own/vocab.bpe" "$work/given/vocab.bpe"
if [ "$(grep -c '"eval","step":2' "$work/given/metrics.jsonl")" -eq 1 ]; then ok; else bad "evaluations: $(grep eval "$work/given/metrics.jsonl")"; fi
# Two runs in one folder: the second is refused, also when it may replace the first; nothing is left of the lock.
env --default-signal=HUP "${vit[@]}" --minutes 5 --steps 100000 --out "$work/busy" >/dev/null 2>&1 &
busy=$!
for wait in {1..200}; do [ -s "$work/busy/metrics.jsonl" ] && break; sleep 0.1; done
expect 2 "another program is at work in it" "${vit[@]}" --steps 1 --overwrite --out "$work/busy"
expect 2 "another program is at work in it" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --overwrite --out "$work/busy"
kill -HUP $busy
if wait $busy && grep -q '"stopped_by":"signal"' "$work/busy/metrics.jsonl"; then ok; else bad "a closed terminal ended a run without a checkpoint"; fi
expect 0 "" "${vit[@]}" --steps 1 --overwrite --out "$work/busy"
# The reader of the output goes away: the run goes on. Output that is lost is told.
"${vit[@]}" --steps 20 --overwrite --out "$work/busy" 2>"$work/err" | head -n 0
if [ "${PIPESTATUS[0]}" -eq 0 ] && [ -s "$work/busy/report.html" ] && [ ! -s "$work/err" ]; then ok; else bad "a run ended with its reader: $(cat "$work/err")"; fi
if [ -w /dev/full ]; then
  for call in "train_vit --help" "compare_runs $work/vit-a --out $work/report.html" "generate --model $work/gpt-a --tokens 2"; do
    "$bin/"$call >/dev/full 2>"$work/err"
    code=$?
    if [ $code -eq 1 ] && grep -q "cannot write all of the output" "$work/err"; then ok; else bad "$call >/dev/full: exit code $code, $(cat "$work/err")"; fi
  done
fi
# A loss that blows up stops the run, names a gradient and keeps the checkpoint.
expect 1 "the largest gradient is that of" "${vit[@]}" --steps 200 --lr 1e30 --clip 0 --warmup 0 --dropout 0 --checkpoint-every 1 --out "$work/nan"
if [ -s "$work/nan/checkpoint/state.safetensors" ]; then ok; else bad "the last good checkpoint is gone"; fi
# A full disk: the old checkpoint stays.
if [ -w /dev/full ] && mkdir "$work/full" && mount -t tmpfs -o size=400k tmpfs "$work/full" 2>/dev/null; then
  "${vit[@]}" --steps 2 --out "$work/full/run" >/dev/null 2>&1
  cp "$work/full/run/checkpoint/state.safetensors" "$work/kept" 2>/dev/null
  head -c 400k /dev/zero >"$work/full/filler" 2>/dev/null
  "${vit[@]}" --steps 4 --resume --out "$work/full/run" >/dev/null 2>"$work/err"
  code=$?
  if [ $code -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ]; then ok; else bad "a full disk: exit code $code, $(cat "$work/err")"; fi
  same "checkpoint after a full disk" "$work/kept" "$work/full/run/checkpoint/state.safetensors"
  umount "$work/full"
else
  echo "skipped: a full disk (needs the right to mount)"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
