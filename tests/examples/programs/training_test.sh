#!/usr/bin/env bash
# train_vit and train_gpt from outside: repeatable runs, resuming after kill -9, whatever the optimizer.
#   training_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"

# ---- repeatable, and resuming goes on bit for bit
for name in vit gpt; do
  declare -n command=$name
  expect 0 "" "${command[@]}" --steps 20 --out "$work/$name-a/"
  expect 0 "" "${command[@]}" --steps 20 --out "$work/$name-b"
  same "two runs with one seed ($name)" "$work/$name-a/model.safetensors" "$work/$name-b/model.safetensors"
  same "losses of two runs ($name)" <(grep -o '"loss":[^,]*' "$work/$name-a/metrics.jsonl") <(grep -o '"loss":[^,]*' "$work/$name-b/metrics.jsonl")
  # The warm-up, a twentieth of the run, is the first step: it has all of the learning rate.
  if grep -q '"step":1,.*"lr":0.001,' "$work/$name-a/metrics.jsonl"; then ok; else bad "the first step's rate: $(grep -m 1 '"lr"' "$work/$name-a/metrics.jsonl")"; fi
  expect 0 "" "${command[@]}" --steps 20 --threads 1 --out "$work/$name-one"
  expect 0 "" "${command[@]}" --steps 20 --threads 2 --out "$work/$name-two"
  same "one and two threads ($name)" "$work/$name-one/model.safetensors" "$work/$name-two/model.safetensors"
  expect 0 "" "${command[@]}" --steps 20 --seed 2 --out "$work/$name-c"
  differs "weights of another seed ($name)" "$work/$name-a/model.safetensors" "$work/$name-c/model.safetensors"

  # for a measurement alone: the same run, without its weights
  expect 0 "" "${command[@]}" --steps 20 --no-save --out "$work/$name-n"
  same "losses of a run that saves nothing ($name)" <(grep -o '"loss":[^,]*' "$work/$name-a/metrics.jsonl") <(grep -o '"loss":[^,]*' "$work/$name-n/metrics.jsonl")
  if [ -z "$(find "$work/$name-n" -name '*.safetensors')" ]; then ok; else bad "weights without --save ($name)"; fi
  expect 2 "--no-save leaves no checkpoint" "${command[@]}" --steps 20 --no-save --checkpoint-every 2 --out "$work/$name-n" --overwrite

  # no steps: what --init-from brings is evaluated, and left as it was
  expect 0 "" "${command[@]}" --init-from "$work/$name-a/model.safetensors" --steps 0 --out "$work/$name-e"
  same "the weights of an evaluation ($name)" "$work/$name-a/model.safetensors" "$work/$name-e/model.safetensors"
  if grep -q '"event":"eval"' "$work/$name-e/metrics.jsonl"; then ok; else bad "no evaluation ($name)"; fi
  same "an evaluation alone ($name)" <(grep '"eval","step":20,' "$work/$name-a/metrics.jsonl" | sed 's/.*"loss"//') <(grep '"eval"' "$work/$name-e/metrics.jsonl" | sed 's/.*"loss"//')

  # and the network's sizes and kinds are its own, unless something else is said
  declare -n alone=${name}_data
  expect 0 "" "${alone[@]}" --init-from "$work/$name-a/model.safetensors" --steps 0 --out "$work/$name-own"
  same "the evaluation of a network that is not described ($name)" <(grep '"eval"' "$work/$name-e/metrics.jsonl") <(grep '"eval"' "$work/$name-own/metrics.jsonl")
  expect 2 "of another shape: " "${alone[@]}" --width 32 --init-from "$work/$name-a/model.safetensors" --steps 0 --out "$work/x"
  expect 2 "and not dense; project them with compress, or begin without --init-from" "${alone[@]}" --layer dense --init-from "$work/$name-a/model.safetensors" --steps 0 --out "$work/x"

  # weights of a network that computes something else, of the same shapes
  expect 2 "these are weights of a network with heads 2, and not 1" "${command[@]}" --init-from "$work/$name-a/model.safetensors" --heads 1 --steps 0 --out "$work/$name-h"
  expect 2 "--resume: by $work/$name-a/config.json these are weights of a network with heads 2, and not 1" "${command[@]}" --steps 20 --heads 1 --resume --out "$work/$name-a"
  if [ -e "$work/$name-h" ]; then bad "a refused run left $work/$name-h"; else ok; fi

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

# ---- a trained network for other classes
for split in train test; do
  mkdir -p "$work/three/$split"
  cp -r "$work/images/$split/"{cat,dog} "$work/three/$split/"
  cp -r "$work/images/$split/cat" "$work/three/$split/tiger"
done
of_three=("$bin/train_vit" --data "$work/three" --batch 8 --init-from "$work/vit-a/model.safetensors" --out "$work/three-classes")
expect 2 "tells 2 classes apart, and the data have 3; give --new-head" "${of_three[@]}" --steps 0
expect 0 "" "${of_three[@]}" --steps 0 --new-head
if python3 - "$work/vit-a/model.safetensors" "$work/three-classes/model.safetensors" >"$work/said" 2>&1 <<'PY'; then ok; else bad "a new head: $(cat "$work/said")"; fi
import json, struct, sys
def tensors(path):
    data = open(path, "rb").read()
    size, = struct.unpack("<Q", data[:8])
    header = {name: entry for name, entry in json.loads(data[8:8 + size]).items() if name != "__metadata__"}
    return {name: data[8 + size:][slice(*entry["data_offsets"])] for name, entry in header.items()}
old, new = map(tensors, sys.argv[1:])
assert old.keys() == new.keys()
for name in old:
    assert (old[name] == new[name]) == (not name.startswith("head.")), name
PY
expect 0 "" "$bin/train_vit" --resume --steps 2 --out "$work/three-classes"
# Its outputs keep their meaning.
cp -r "$work/three" "$work/other"
for split in train test; do mv "$work/other/$split/cat" "$work/other/$split/ape"; done
cp "$work/three-classes/config.json" "$work/kept"
expect 2 "tells cat, dog, tiger apart, and --data $work/other has ape, dog, tiger; give the data that it began with, or begin a new run with --new-head --init-from" \
  "$bin/train_vit" --resume --data "$work/other" --steps 2 --out "$work/three-classes"
expect 2 "has done 2 steps, and --steps or --epochs would end it after 1; give more" "$bin/train_vit" --resume --steps 1 --out "$work/three-classes"
same "the config after refused resumptions" "$work/kept" "$work/three-classes/config.json"
expect 2 "these weights have positions of 2x2 patches, and images of 12 pixels have 3x3; give --image 8" \
  "${vit_data[@]}" --init-from "$work/vit-a/model.safetensors" --image 12 --steps 0 --out "$work/x"
expect 2 "--new-head needs --init-from" "${vit[@]}" --new-head --steps 0 --out "$work/x"

# ---- given weights whose first positions are enough
shorter=("${gpt_data[@]}" --init-from "$work/gpt-a/model.safetensors" --out "$work/gpt-short")
expect 2 "has 16 positions, and the model a context of 17; give --context 16 or less" "${shorter[@]}" --context 17 --steps 0
expect 0 "" "${shorter[@]}" --context 8 --steps 0
if grep -q "the first 8 of 16 positions" "$work/out" && grep -q '"n_positions": 8' "$work/gpt-short/config.json"; then ok; else bad "a smaller context: $(cat "$work/out")"; fi
expect 0 "" "$bin/train_gpt" --resume --steps 2 --out "$work/gpt-short"
expect 2 "wpe.weight is (8, 16) instead of (4, 16)" "$bin/train_gpt" --resume --context 4 --steps 3 --out "$work/gpt-short"
expect 0 "" "$bin/generate" --model "$work/gpt-short" --tokens 20

# ---- every optimizer, with an average of the weights and groups: stopped and resumed is as never stopped
"$bin/bench_optimizers" --optimizers none 2>"$work/err"
read -ra optimizers <<<"$(sed 's/.*Valid: //; s/,//g' "$work/err")"
if [ ${#optimizers[@]} -ge 9 ]; then ok; else bad "no list of optimizers: $(cat "$work/err")"; fi
for optimizer in "${optimizers[@]}"; do
  for name in vit gpt; do
    declare -n command=$name
    # Schedules that do not depend on the length of the run, which resuming changes here.
    settings=(--optimizer "$optimizer" --ema 0.9 --groups "role=norm,lr=0.5; name=*.bias,decay=constant" --warmup 0 --decay constant)
    expect 0 "" "$bin/train_$name" --help
    awk '/^          / { sub(/^ +/, " "); printf "%s", $0; next } { printf "\n%s", $0 }' "$work/out" >"$work/help"
    for setting in "rank 3" "refresh-every 3"; do
      option=--optim.${setting% *}
      if grep -e "$option " "$work/help" | grep -qw "$optimizer"; then settings+=("$option" "${setting#* }"); fi
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

finish
