# shellcheck shell=bash
# The part programs of tests/gpu.sh, which has what it calls.

# refused NAME CODE TEXT COMMAND…: that a command ends with CODE and says TEXT.
refused() {
  # shellcheck disable=SC2016
  step "$1" bash -c 'said=$("${@:3}" 2>&1); code=$?; echo "$said"; [[ $code = "$1" && $said = *"$2"* ]]' _ "${@:2}"
}

# resumed NAME PROGRAM OPTION…: that 30 steps and 30 more are 60 at once, bit for bit.
resumed() {
  local a=$work/$1_at_once b=$work/$1_resumed
  # A schedule that does not depend on the length of the run.
  local command=("${@:2}" --device cuda --log-every 1 --warmup 0 --decay constant --ema 0.9 --eval-every 20)
  trained "$1_at_once" "$a" "${command[@]}" --steps 60
  trained "$1_stopped" "$b" "${command[@]}" --steps 30 && trained "$1_resumed" "$b" "${command[@]}" --steps 60 --resume ||
    return
  step "$1_same_weights" cmp "$a/model.safetensors" "$b/model.safetensors"
}

# Text that small models learn.
write_text() {
  local split line
  mkdir -p "$1"
  for split in train valid test; do
    for line in {1..400}; do
      echo "line $line of the $split split: $((line * 7919 % 1000)) small words, one after another"
    done >"$1/$split.txt"
  done
}

# follows_cpu NAME PROGRAM OPTION…: that the losses of 60 steps are the CPU's, within the bars for f32 and bf16.
follows_cpu() {
  local how
  for how in "cpu f32" "cuda f32" "cuda bf16"; do
    trained "$1_${how/ /_}" "$work/$1_${how/ /_}" "${@:2}" --steps 60 --log-every 1 --device "${how% *}" --dtype "${how#* }"
  done
  agree "$1_cuda_f32" "$1_cpu_f32" 1e-4
  agree "$1_cuda_bf16" "$1_cpu_f32" 2e-2
}

programs() {
  local small=$work/small gpt vit blast=(--layer-at "fc1,fc2" --layer "blast:blocks=2,rank=16") write how
  write_text "$small/text"
  gpt=(train_gpt --data "$small/text" --vocab 400 --width 64 --depth 2 --heads 2 --context 64 --batch 8)
  vit=(train_vit --width 64 --depth 2 --heads 2 --batch 64 --mixup 0.2)
  follows_cpu small_gpt "${gpt[@]}"
  follows_cpu small_vit "${vit[@]}"
  resumed gpt "${gpt[@]}" "${blast[@]}"
  resumed vit "${vit[@]}" "${blast[@]}"
  refused no_such_gpu 2 cuda:99 "$bin/train_gpt" --device cuda:99 --steps 1 --out "$small/none"
  refused diverged 1 "lower --lr" "$bin/${gpt[0]}" "${gpt[@]:1}" --lr 1e30 --clip 0 --steps 20 --device cuda --out "$small/diverged"

  step compress "$bin/compress" --in "$work/small_gpt_cuda_f32/model.safetensors" --layer blast:blocks=2,rank=16 --data "$small/text" \
    --device cuda --out "$small/blast"
  step calibrate "$bin/compress" --in "$work/small_gpt_cuda_f32/model.safetensors" --layer low_rank:rank=16 \
    --calibrate "$small/text" --samples 32 --device cuda --out "$small/low_rank"
  # The text is the CPU's, with a cache of keys and values and without, and beyond the context.
  write=("$bin/generate" --model "$small/blast" --tokens 100)
  step generate_cpu "${write[@]}"
  for how in "" --no-cache; do
    step "generate_cuda$how" "${write[@]}" --device cuda $how
    step "same_text$how" diff "$logs/generate_cpu.log" "$logs/generate_cuda$how.log"
  done
  step generate_bf16 "${write[@]}" --device cuda --dtype bf16
}
