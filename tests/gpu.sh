#!/usr/bin/env bash
# Everything that needs a GPU, in one command, on a machine that has a GPU, CUDA 13 and Python and nothing of ours:
#
#   here:   cmake --preset cuda -DASHLAR_TESTS=ON && cmake --build --preset cuda && bash tests/bundle_gpu.sh build/cuda
#   there:  bash tests/gpu.sh build/gpu_bundle.tar.xz        (or the folder of a bundle, or a build folder)
#
# Parts, all of them in this order unless some are named after the bundle:
#   tests        the GPU against the CPU, for every kernel and layer
#   programs     a small model trained, compressed, evaluated and made to write
#   benchmarks   bench_layers, bench_optimizers and training, next to PyTorch where python3 has it
#   sanitizers   compute-sanitizer's memcheck and racecheck on the tests' small shapes
# Full logs go to the folder OUT (build/gpu_logs if not set); the summary comes last. The exit code is 0 if nothing failed.
# ASHLAR_GPU_MINUTES limits a single step (8); a step that takes longer is stopped and counts as failed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage="usage: bash tests/gpu.sh BUNDLE [tests] [programs] [benchmarks] [sanitizers]"
[ $# -ge 1 ] && [ -e "$1" ] || { echo "$usage" >&2; exit 2; }
bundle=$1
shift
parts=${*:-tests programs benchmarks sanitizers}
for part in $parts; do
  case $part in tests | programs | benchmarks | sanitizers) ;; *) echo "tests/gpu.sh: no part '$part'; $usage" >&2; exit 2 ;; esac
done
logs=${OUT:-build/gpu_logs}
minutes=${ASHLAR_GPU_MINUTES:-8}
mkdir -p "$logs"
if [ -f "$bundle" ]; then
  folder=$(mktemp -d)
  tar -C "$folder" -xf "$bundle" || exit 2
  bundle=$folder
fi
bin=$bundle/bin
[ -x "$bin/test_cuda" ] || { echo "tests/gpu.sh: no test_cuda in $bin; build the cuda preset first" >&2; exit 2; }

# cuBLASLt is part of the machine: of its toolkit, or of the Python environment that holds PyTorch.
libraries=$bundle/lib
for site in $(python3 -c 'import site, sysconfig; print(*{sysconfig.get_path("purelib"), *site.getsitepackages()})' 2>/dev/null); do
  for folder in "$site"/nvidia/cu13/lib "$site"/nvidia/cublas/lib; do
    [ -d "$folder" ] && libraries+=:$folder
  done
done
libraries+=:/usr/local/cuda/lib64
export ASHLAR_REQUIRE_GPU=1

summary=$logs/summary.txt
: >"$summary"
failed=0
note() { echo "$*" | tee -a "$summary"; }

# step NAME COMMAND…: output to NAME.log, one line to the summary.
step() {
  local name=$1 began=$SECONDS status=0
  shift
  local own=()
  [ "$1" = python3 ] || own=(env "LD_LIBRARY_PATH=$libraries")  # PyTorch brings libraries of its own
  timeout "${minutes}m" "${own[@]}" "$@" >"$logs/$name.log" 2>&1 || status=$?
  if [ "$status" = 0 ]; then
    note "passed  $name ($((SECONDS - began)) s)"
  else
    note "FAILED  $name with $status ($((SECONDS - began)) s): $(grep -m1 -E 'error|FAILED|Error|cuda:' "$logs/$name.log" || tail -n 1 "$logs/$name.log")"
    failed=1
  fi
}

note "commit $(cat "$bundle/revision" 2>/dev/null || git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)"
note "$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null || echo 'nvidia-smi not found')"
step missing_libraries bash -c "! ldd '$bin/test_cuda' '$bin/train_gpt' | grep 'not found'"

runs=$(mktemp -d)

tests() {
  step test_cuda "$bin/test_cuda" --durations yes
  # The CPU's kernels too: this processor may have instructions that the project's own machines lack. The coverage table is
  # read from the sources, where they were built.
  step test_kernels "$bin/test_kernels" "~[coverage]"
}

sanitizers() {
  command -v compute-sanitizer >/dev/null || { note "skipped compute-sanitizer: not on this machine"; return; }
  # The training runs are left out: a sanitizer makes every launch a hundred times slower.
  for tool in memcheck racecheck; do
    step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 9 "$bin/test_cuda" "[cuda]~[training]"
  done
}

# The text is the CPU's, with a cache of keys and values and without, and beyond the context.
programs() {
  mkdir "$runs/text"
  for split in train valid test; do
    for line in {1..400}; do echo "line $line of the $split split: $((line * 7919 % 1000)) small words, one after another"; done >"$runs/text/$split.txt"
  done
  step small_gpt "$bin/train_gpt" --data "$runs/text" --vocab 400 --width 64 --depth 2 --heads 2 --context 64 --batch 8 --steps 60 \
    --device cuda --out "$runs/small"
  step compress "$bin/compress" --in "$runs/small/model.safetensors" --layer blast:blocks=2,rank=16 --data "$runs/text" \
    --device cuda --out "$runs/small_blast"
  step calibrate "$bin/compress" --in "$runs/small/model.safetensors" --layer low_rank:rank=16 --calibrate "$runs/text" --samples 32 \
    --device cuda --out "$runs/small_low_rank"
  write=("$bin/generate" --model "$runs/small_blast" --tokens 100)
  step generate_cpu "${write[@]}"
  for how in "" --no-cache; do
    step "generate_cuda$how" "${write[@]}" --device cuda $how
    step "same_text$how" diff "$logs/generate_cpu.log" "$logs/generate_cuda$how.log"
  done
  step generate_bf16 "${write[@]}" --device cuda --dtype bf16
}

benchmarks() {
  step bench_layers "$bin/bench_layers" --device cuda --dtype bf16 --tokens 8192 --shapes 768x768,768x3072,3072x768,3072x3072 \
    --layers "low_rank:ratio=0.5;low_rank:ratio=0.25;blast:blocks=6,ratio=0.5;blast:blocks=6,ratio=0.3;monarch:blocks=4;ss1:reduction=4;block_diagonal:blocks=4" \
    --table
  step bench_optimizers "$bin/bench_optimizers" --device cuda --dtype bf16 --table

  python3 tests/compare/pairs_tokenizer.py "$runs/tokenizer"
  gpt2=(--tokenizer "$runs/tokenizer" --width 768 --depth 12 --heads 12 --context 1024 --batch 32 --dtype bf16 --device cuda
    --optimizer adamw --log-every 5 --steps 60 --eval-windows 32 --overwrite)
  vit_s=(--width 384 --depth 12 --heads 6 --patch 4 --batch 1024 --dtype bf16 --device cuda --optimizer adamw --log-every 5
    --steps 60 --overwrite)
  torch=no
  python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && torch=yes
  # Twice each and by turns: what heats up or slows down the card meets all of them.
  for round in 1 2; do
    step "gpt2_dense_$round" "$bin/train_gpt" "${gpt2[@]}" --out "$runs/gpt2_dense_$round"
    step "gpt2_blast_$round" "$bin/train_gpt" "${gpt2[@]}" --layer blast:blocks=6,rank=192 --layer-at qkv,fc1,fc2 --out "$runs/gpt2_blast_$round"
    step "vit_s_$round" "$bin/train_vit" "${vit_s[@]}" --out "$runs/vit_s_$round"
    [ $torch = yes ] && step "gpt2_torch_$round" python3 tests/compare/gpt2_torch.py --batch 32 --steps 60
  done
  # What replaying the recorded step saves.
  step vit_s_op_by_op "$bin/train_vit" "${vit_s[@]}" --no-cuda-graph --out "$runs/vit_s_op_by_op"
  [ $torch = yes ] || note "skipped PyTorch: python3 has none that sees the GPU"

  note ""
  note "tokens/s or images/s, median of the lines after step 20:"
  for run in gpt2_dense_1 gpt2_dense_2 gpt2_blast_1 gpt2_blast_2 vit_s_1 vit_s_2 vit_s_op_by_op; do
    [ -f "$runs/$run/metrics.jsonl" ] && cp "$runs/$run/metrics.jsonl" "$logs/$run.jsonl" &&
      note "$run $(python3 tests/compare/median_rate.py "$runs/$run/metrics.jsonl")"
  done
  for round in 1 2; do
    [ -f "$logs/gpt2_torch_$round.log" ] && note "gpt2_torch_$round $(tail -n 1 "$logs/gpt2_torch_$round.log")"
  done
  note ""
  [ -f "$logs/bench_layers.log" ] && note "$(cat "$logs/bench_layers.log")"
  [ -f "$logs/bench_optimizers.log" ] && note "$(cat "$logs/bench_optimizers.log")"
}

for part in $parts; do "$part"; done
note ""
note "$([ $failed = 0 ] && echo 'all steps passed' || echo 'some steps FAILED'); logs in $logs"
exit "$failed"
