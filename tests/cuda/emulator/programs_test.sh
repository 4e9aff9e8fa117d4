#!/usr/bin/env bash
# The programs with --device cuda, on the emulator: what they do around a step, against the CPU. With ASHLAR_EMULATED_CLOSED no
# host may touch the memory of the device.
#   programs_test.sh BIN   (the folder with the programs)
here=$(dirname "${BASH_SOURCE[0]}")
source "$here/../../examples/programs/support.sh"

# agree A B TOLERANCE: the losses of two runs
agree() {
  if python3 "$here/../../gpu/losses.py" "$3" "$work/$1/metrics.jsonl" "$work/$2/metrics.jsonl" >"$work/out" 2>&1; then ok
  else bad "losses of $1 and $2: $(tail -n 1 "$work/out")"; fi
}

# A schedule that does not depend on the length of the run, which resuming changes.
settings=(--warmup 0 --decay constant --ema 0.9 --eval-every 3)
for name in vit gpt; do
  declare -n command=$name
  run() { expect 0 "" "${command[@]}" "${settings[@]}" --out "$work/$name-$1" "${@:2}"; }
  run cpu --steps 6
  run f32 --steps 6 --device cuda
  agree "$name-f32" "$name-cpu" 1e-4
  ASHLAR_EMULATED_CLOSED=1 run bf16 --steps 6 --device cuda --dtype bf16
  agree "$name-bf16" "$name-cpu" 2e-2
  run op-by-op --steps 6 --device cuda --dtype bf16 --no-cuda-graph
  same "a recorded run and one that is not ($name)" "$work/$name-bf16/model.safetensors" "$work/$name-op-by-op/model.safetensors"
  run stopped --steps 4 --device cuda --dtype bf16
  ASHLAR_EMULATED_CLOSED=1 run stopped --steps 6 --device cuda --dtype bf16 --resume
  same "a run that was stopped and resumed ($name)" "$work/$name-bf16/model.safetensors" "$work/$name-stopped/model.safetensors"
  # Weights are infinite after the second step. What the third shows is told although the fourth, where the last optimizer
  # decomposes its first matrix, cannot be taken.
  for optimizer in adamw soap "soap --optim.refresh_every 36"; do
    # shellcheck disable=SC2086
    diverging=("${command[@]}" --optimizer $optimizer --lr 1e30 --clip 0 --steps 6 --overwrite --out "$work/$name-diverged")
    expect 1 "lower --lr" "${diverging[@]}"
    step=$(grep -o "step [0-9]*: the loss is" "$work/err")
    [ -n "$step" ] || bad "no step in: $(cat "$work/err")"
    expect 1 "$step" "${diverging[@]}" --device cuda
  done
done
expect 2 "cuda:99" "${gpt[@]}" --steps 1 --device cuda:99 --out "$work/none"

# A model that has learnt something: what the text shows depends on all that it has read.
expect 0 "" "${gpt[@]}" --steps 300 --lr 0.01 --out "$work/trained"
expect 0 "" "$bin/compress" --in "$work/trained/model.safetensors" --layer low_rank:rank=12 --calibrate "$work/text" --samples 4 \
  --data "$work/text" --device cuda --out "$work/small"
write=("$bin/generate" --model "$work/small" --tokens 24)
expect 0 "" "${write[@]}"
mv "$work/out" "$work/text-cpu"
for cache in --cache --no-cache; do
  expect 0 "" "${write[@]}" --device cuda $cache
  same "text of the GPU with $cache" "$work/text-cpu" "$work/out"
done

# The same order of classes; the last digit of a probability may be another.
classes() { expect 0 "" "$bin/classify" --model "$work/vit-cpu" "$work/images/test/"*/[0-4].bmp "$@" && sed -E 's/ +[0-9.]+ %//g' "$work/out"; }
classes >"$work/classes"
same "classes on the GPU" "$work/classes" <(classes --device cuda)

expect 0 "" "$bin/bench_layers" --device cuda --dtype bf16 --tokens 64 --shapes 32x48 --repeats 1 \
  --layers "blast:blocks=2,ratio=0.5;monarch:blocks=2;ss1:reduction=2;low_rank:rank=4"
if [ "$(grep -c '"layer":' "$work/out")" -ge 8 ]; then ok; else bad "bench_layers has not measured all layers: $(cat "$work/out")"; fi
finish
