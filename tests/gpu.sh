#!/usr/bin/env bash
# Everything that needs a GPU, in one command, on a machine that has a GPU, CUDA 13 and Python and nothing of ours:
#
#   here:   cmake --preset cuda -DASHLAR_TESTS=ON && cmake --build --preset cuda && bash tests/bundle_gpu.sh build/cuda
#   there:  bash tests/gpu.sh build/gpu_bundle.tar.xz        (or the folder of a bundle, or a build folder)
#
# Parts, all of them in this order unless some are named after the bundle:
#   tests        the GPU against the CPU, for every kernel and layer
#   programs     a small model trained, compressed, evaluated and made to write
#   benchmarks   bench_layers, training and bench_optimizers, next to PyTorch where python3 has it
#   sanitizers   compute-sanitizer's memcheck and racecheck on the tests' small shapes
#   cpu          the CPU's kernels: this processor may have instructions that the project's machines lack
# Full logs go to build/gpu_logs; with OUT set, that folder gets summary.txt and logs.tar.gz, up to date after every step.
# The exit code is 0 if every step passed.
# ASHLAR_GPU_MINUTES limits a single step (3; tests 1, sanitizers 8): one that takes longer is stopped and counts as failed.
# ASHLAR_GPU_DEADLINE, in seconds, limits the whole script: what would begin later is skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

usage="usage: bash tests/gpu.sh BUNDLE [tests] [programs] [benchmarks] [sanitizers] [cpu]"
[ $# -ge 1 ] && [ -e "$1" ] || { echo "$usage" >&2; exit 2; }
bundle=$1
shift
parts=${*:-tests programs benchmarks sanitizers cpu}
for part in $parts; do
  case $part in tests | programs | benchmarks | sanitizers | cpu) continue ;; esac
  echo "tests/gpu.sh: no part '$part'; $usage" >&2
  exit 2
done
minutes=${ASHLAR_GPU_MINUTES:-3}
deadline=${ASHLAR_GPU_DEADLINE:-1000000}
for number in "$minutes" "$deadline"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "tests/gpu.sh: '$number' is no number of minutes or seconds" >&2; exit 2; }
done
logs=build/gpu_logs
mkdir -p "$logs" ${OUT:+"$OUT"} || exit 2
# Runs leave gigabytes of weights and checkpoints: in memory where there is room.
free_kib() { df --output=avail -k "$1" 2>/dev/null | tail -n 1; }
work=$([ "$(free_kib /dev/shm)" -gt $((8 << 20)) ] 2>/dev/null && mktemp -d -p /dev/shm || mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -f "$bundle" ]; then
  mkdir "$work/bundle"
  # Python unpacks it where there is no xz.
  tar -C "$work/bundle" -xf "$bundle" || python3 -m tarfile -e "$bundle" "$work/bundle" || exit 2
  bundle=$work/bundle
fi
# As long as somebody holds the device open the driver need not start it anew for each program.
[ ! -r /dev/nvidia0 ] || exec 9</dev/nvidia0
bin=$bundle/bin
[ -x "$bin/test_cuda" ] || { echo "tests/gpu.sh: no test_cuda in $bin; build the cuda preset first" >&2; exit 2; }

# cuBLASLt and cuDNN are part of the machine: of its toolkit, or of the Python environment that holds PyTorch. The driver may
# be where only the LD_LIBRARY_PATH that we were given says, or where containers mount it.
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64:/usr/local/nvidia/lib
libraries=$bundle/lib
for site in $(python3 -c 'import site, sysconfig; print(*{sysconfig.get_path("purelib"), *site.getsitepackages()})' 2>/dev/null); do
  for folder in "$site"/nvidia/{cu13,cublas,cudnn}/lib; do
    [ -d "$folder" ] && libraries+=:$folder
  done
done
libraries+=:$LD_LIBRARY_PATH:/usr/local/cuda/lib64
# Where there is no cuDNN at all, what lets the programs start without.
grep -q libcudnn.so < <(ldconfig -p 2>/dev/null) || libraries+=:$bundle/lib/last
# For our programs alone: PyTorch brings libraries of its own.
own=(env "LD_LIBRARY_PATH=$libraries")
export ASHLAR_REQUIRE_GPU=1

# note TEXT: a line to the summary, and all there is so far to OUT: whoever stops this script loses nothing.
summary=$logs/summary.txt
: >"$summary"
note() {
  echo "$*" | tee -a "$summary"
  [ -n "${OUT:-}" ] || return 0
  cp "$summary" "$OUT/" && tar -C "$logs" -czf "$OUT/logs.tmp" . && mv "$OUT/logs.tmp" "$OUT/logs.tar.gz"
}

# step NAME COMMAND…: output to NAME.log, one line to the summary; returns the command's status.
passed=0 failed=0 skipped=0
in_time() { [ $((deadline - SECONDS)) -gt 20 ]; }
skip() {
  skipped=$((skipped + 1))
  note "SKIPPED $1: the deadline of $deadline s is near"
}
step() {
  local name=$1 began=$SECONDS limit=$((minutes * 60)) left=$((deadline - SECONDS - 15)) status=0 line
  local command=("${own[@]}" "${@:2}")
  [ "$2" != python3 ] || command=("${@:2}")
  in_time || { skip "$name"; return 1; }
  # -k: a training program takes the first signal as a wish to finish its step.
  timeout -k 10 $((limit < left ? limit : left)) "${command[@]}" >"$logs/$name.log" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    note "passed  $name ($((SECONDS - began)) s)"
  else
    failed=$((failed + 1))
    read -r line < <(grep -m 1 -E 'error|Error|FAILED|failed:|cuda:|success="false"' "$logs/$name.log" || tail -n 1 "$logs/$name.log")
    case $status in 124 | 137) line="stopped or killed; $line" ;; esac
    note "FAILED  $name with $status ($((SECONDS - began)) s): ${line:0:400}"
  fi
  return "$status"
}

# Starting CUDA takes a second: all cases run in one process first. But what follows an illegal access fails with it, and
# what follows a hang never runs. So each case that such a process did not report as passed runs once more in one of its own,
# after everything else.
tests() {
  local minutes=${ASHLAR_GPU_MINUTES:-1} fused
  ASHLAR_CUDNN=off step own_attention "$bin/test_cuda" "attention*"
  for fused in on off; do ASHLAR_FUSED=$fused step "layers_fused_$fused" "$bin/test_cuda" "linear maps*,sketches*"; done
  step test_cuda "$bin/test_cuda" --reporter xml --durations yes || alone=yes
}

# alone_… shows what fails by itself. That runs once more with CUDA_LAUNCH_BLOCKING: blocking_… shows the kernel to blame, or
# passes, which hints at a race.
alone=no
tests_alone() {
  local names name log command minutes=1
  awk -F '"' '/<TestCase name=/ { name = $2 } /<OverallResult success="true"/ { print name }' "$logs/test_cuda.log" |
    sed 's/&lt;/</g; s/&gt;/>/g; s/&quot;/"/g; s/&amp;/\&/g' >"$work/passed"
  mapfile -t names < <("${own[@]}" "$bin/test_cuda" --list-test-names-only | grep -vxFf "$work/passed")
  note "        ${#names[@]} cases did not pass in test_cuda"
  for name in "${names[@]}"; do
    in_time || { skip "those cases alone, from '$name' on"; break; }
    # In a filter commas, brackets and backslashes mean something unless escaped.
    command=("$bin/test_cuda" --reporter compact "$(sed 's/[][\\,]/\\&/g' <<<"$name")")
    log=${name//[^a-zA-Z0-9]/_}
    step "alone_$log" "${command[@]}"
    case $? in 0 | 124 | 137) ;; *) step "blocking_$log" env CUDA_LAUNCH_BLOCKING=1 "${command[@]}" ;; esac
  done
}

# The coverage table is read from the sources, where they were built.
cpu() {
  step test_kernels "$bin/test_kernels" "~[coverage]"
}

sanitizers() {
  local tool sanitizer minutes=${ASHLAR_GPU_MINUTES:-8}
  sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
    { skipped=$((skipped + 1)); note "SKIPPED compute-sanitizer: not on this machine"; return; }
  # Training and large sizes are left out: a sanitizer makes every launch a hundred times slower. What the CUDA runtime
  # refuses is left to the tests, some of which provoke it.
  for tool in memcheck racecheck; do
    step "$tool" "$sanitizer" --tool "$tool" --report-api-errors no --error-exitcode 9 \
      "$bin/test_cuda" "[cuda]~[training]~[large]"
  done
}

# The text is the CPU's, with a cache of keys and values and without, and beyond the context.
programs() {
  local small=$work/programs write split line how
  mkdir -p "$small/text"
  for split in train valid test; do
    for line in {1..400}; do
      echo "line $line of the $split split: $((line * 7919 % 1000)) small words, one after another"
    done >"$small/text/$split.txt"
  done
  step small_gpt "$bin/train_gpt" --data "$small/text" --vocab 400 --width 64 --depth 2 --heads 2 --context 64 --batch 8 \
    --steps 60 --device cuda --out "$small/gpt"
  step compress "$bin/compress" --in "$small/gpt/model.safetensors" --layer blast:blocks=2,rank=16 --data "$small/text" \
    --device cuda --out "$small/blast"
  step calibrate "$bin/compress" --in "$small/gpt/model.safetensors" --layer low_rank:rank=16 --calibrate "$small/text" \
    --samples 32 --device cuda --out "$small/low_rank"
  write=("$bin/generate" --model "$small/blast" --tokens 100)
  step generate_cpu "${write[@]}"
  for how in "" --no-cache; do
    step "generate_cuda$how" "${write[@]}" --device cuda $how
    step "same_text$how" diff "$logs/generate_cpu.log" "$logs/generate_cuda$how.log"
  done
  step generate_bf16 "${write[@]}" --device cuda --dtype bf16
}

# train NAME PROGRAM OPTION…: a step, and the median rate of its training lines after step 20.
train() {
  local name=$1 program=$bin/$2
  shift 2
  step "$name" "$program" "$@" --out "$work/run" --overwrite
  grep -m 1 'not recorded' "$logs/$name.log" >"$work/recorded" && note "        $(cat "$work/recorded")"
  [ -f "$work/run/metrics.jsonl" ] || return
  cp "$work/run/metrics.jsonl" "$logs/$name.jsonl"
  rm -r "$work/run"
  note "        $(python3 tests/compare/median_rate.py "$logs/$name.jsonl" 2>&1 | tail -n 1)"
}

gpt2_torch=(python3 tests/compare/gpt2_torch.py --batch 32)
# Compiling takes PyTorch a minute: it may do so, and keep the result, while nothing is measured.
torch=no
start_torch() {
  timeout -k 10 60 python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null || return
  torch=yes
  timeout -k 10 170 "${gpt2_torch[@]}" --steps 2 >"$logs/torch_warm_up.log" 2>&1 </dev/null &
}

# What matters most comes first: time may run out.
benchmarks() {
  local bench=("$bin/bench_layers" --device cuda --dtype bf16 --tokens 8192 --shapes 768x768,768x3072,3072x768,3072x3072 --table)
  local round fused gpt2 vit_s
  local blast=(--layer "blast:blocks=6,rank=192" --layer-at qkv,fc1,fc2)
  gpt2=(train_gpt --tokenizer "$work/tokenizer" --width 768 --depth 12 --heads 12 --context 1024 --batch 32 --dtype bf16
    --device cuda --optimizer adamw --lr 0.0003 --log-every 5 --steps 60 --eval-windows 32)
  # Without a class token, as in examples/configs: 64 tokens an image.
  vit_s=(train_vit --width 384 --depth 12 --heads 6 --patch 4 --no-class-token --batch 1024 --dtype bf16 --device cuda
    --optimizer adamw --lr 0.0003 --log-every 5 --steps 60)
  step tokenizer python3 tests/compare/pairs_tokenizer.py "$work/tokenizer"
  wait
  [ $torch = yes ] || note "skipped PyTorch: python3 has none that sees the GPU"

  # Twice each and by turns: what heats up or slows down the card meets all of them. With sums in any order attention's
  # backward is cuDNN's, as PyTorch's is not in a fixed order either.
  for round in 1 2; do
    train "gpt2_dense_$round" "${gpt2[@]}"
    [ $torch = no ] || { step "gpt2_torch_$round" "${gpt2_torch[@]}" --steps 60 &&
      note "        $(tail -n 1 "$logs/gpt2_torch_$round.log")"; }
    train "gpt2_blast_$round" "${gpt2[@]}" "${blast[@]}"
    train "gpt2_dense_any_order_$round" "${gpt2[@]}" --allow-nondeterministic
    train "gpt2_blast_any_order_$round" "${gpt2[@]}" "${blast[@]}" --allow-nondeterministic
    train "vit_s_$round" "${vit_s[@]}"
    [ "$round" = 1 ] || continue
    step bench_layers "${bench[@]}" --layers "$(printf '%s;' {low_rank:,blast:blocks=6\,,monarch:blocks=4\,,ss1:}ratio={0.5,0.25})" &&
      note "$(cat "$logs/bench_layers.log")"
  done
  train vit_s_tanh "${vit_s[@]}" --gelu tanh
  train vit_s_class_token "${vit_s[@]}" --class-token
  # Where the fused kernels pay is a count so far (kernels/fusion.h).
  for fused in on off; do
    ASHLAR_FUSED=$fused train "gpt2_blast_fused_$fused" "${gpt2[@]}" "${blast[@]}"
    ASHLAR_FUSED=$fused step "bench_layers_fused_$fused" "${bench[@]}" --repeats 5 \
      --layers "blast:blocks=6,ratio=0.5;blast:blocks=6,ratio=0.25;ss1:reduction=4" && note "$(cat "$logs/bench_layers_fused_$fused.log")"
  done
  ASHLAR_CUDNN=off train gpt2_own_attention "${gpt2[@]}"
  ASHLAR_CUDNN=off train vit_s_own_attention "${vit_s[@]}"
  # What replaying the recorded step saves.
  train vit_s_op_by_op "${vit_s[@]}" --no-cuda-graph
  # SOAP stands for the optimizers whose decompositions the host does.
  step bench_optimizers "$bin/bench_optimizers" --device cuda --dtype bf16 --optimizers adamw,muon,soap --threads "$(nproc)" \
    --table && note "$(cat "$logs/bench_optimizers.log")"
}

note "commit $(cat "$bundle/revision" 2>/dev/null || git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)"
note "$(timeout -k 10 30 nvidia-smi --query-gpu=name,driver_version,memory.total,persistence_mode --format=csv,noheader 2>/dev/null ||
  echo 'nvidia-smi not found')"
step missing_libraries bash -c "! ldd '$bin/cuda_link' '$bin/test_cuda' '$bin/train_gpt' | grep 'not found'"
seen=$(timeout -k 10 60 "${own[@]}" "$bin/cuda_link" 2>&1 || echo "cuda_link ended with $?")
if [ "$seen" != "cuda:0 can be used" ]; then
  note "FAILED  nothing was tried, for want of a GPU: $seen"
  exit 1
fi
case " $parts " in *" benchmarks "*) start_torch ;; esac
for part in $parts; do "$part"; done
[ $alone = no ] || tests_alone
note ""
note "$passed steps passed, $failed failed, $skipped skipped, in $SECONDS s; logs in ${OUT:-$logs}"
[ $((failed + skipped)) = 0 ]
