#!/usr/bin/env bash
# Everything that needs a GPU, in one command, on a machine that has a GPU, CUDA 13 and Python and nothing of ours:
#
#   here:   cmake --preset cuda -DASHLAR_TESTS=ON && bash tests/bundle_gpu.sh build/cuda
#   there:  bash tests/gpu.sh build/gpu_bundle.tar.xz        (or the folder of a bundle, or a build folder)
#
# Parts, all of them in this order unless some are named after the bundle:
#   tests        the GPU against the CPU, for every kernel and layer
#   programs     small models trained, stopped and resumed, compressed, and made to write: with the losses of the CPU
#   benchmarks   bench_layers and training, next to PyTorch where python3 has it
#   variants     what each choice brings: fused kernels, the library's epilogues, cuDNN, CUDA graphs; and bench_optimizers
#   sanitizers   compute-sanitizer's memcheck and racecheck on the tests' small shapes
#   cpu          the CPU's kernels: this processor may have instructions that the project's machines lack
# It is run in a checkout of what the bundle was built from: the parts are in tests/gpu, PyTorch's side is in tests/compare.
# Full logs go to build/gpu_logs; with OUT set, that folder gets summary.txt, up to date after every step, and logs.tar.gz.
# The exit code is 0 if every step passed.
# ASHLAR_GPU_MINUTES limits a single step (3; most tests and benchmarks 1, sanitizers 2): one that takes longer is stopped and
# counts as failed. ASHLAR_GPU_DEADLINE, in seconds, limits the whole script: what would begin later is skipped.
set -uo pipefail
shopt -s nullglob

usage="usage: bash tests/gpu.sh BUNDLE [tests] [programs] [benchmarks] [variants] [sanitizers] [cpu]"
if [ $# -lt 1 ]; then echo "$usage" >&2; exit 2; fi
# Paths that are given count from where the script is started.
bundle=$(realpath -e "$1" 2>/dev/null) || { echo "tests/gpu.sh: there is no $1; $usage" >&2; exit 2; }
OUT=${OUT:+$(realpath -m "$OUT")}
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
shift
parts=${*:-tests programs benchmarks variants sanitizers cpu}
for part in $parts; do
  case $part in tests | programs | benchmarks | variants | sanitizers | cpu) continue ;; esac
  echo "tests/gpu.sh: no part '$part'; $usage" >&2
  exit 2
done
deadline=${ASHLAR_GPU_DEADLINE:-1000000}
for number in "${ASHLAR_GPU_MINUTES:-3}" "$deadline"; do
  [[ $number =~ ^[1-9][0-9]*$ ]] || { echo "tests/gpu.sh: '$number' is no number of minutes or seconds" >&2; exit 2; }
done
seconds=$((${ASHLAR_GPU_MINUTES:-3} * 60))
logs=build/gpu_logs
rm -rf "$logs"
mkdir -p "$logs" ${OUT:+"$OUT"} || exit 2
# Runs leave gigabytes of weights and checkpoints: in memory where there is room.
free_kib() { df --output=avail -k "$1" 2>/dev/null | tail -n 1; }
if [ "$(free_kib /dev/shm)" -gt $((8 << 20)) ] 2>/dev/null; then work=$(mktemp -d -p /dev/shm); else work=$(mktemp -d); fi
unpacked=$(mktemp -d)  # not in /dev/shm: nothing can be executed there on some machines
trap 'rm -rf "$work" "$unpacked"' EXIT
if [ -f "$bundle" ]; then
  # Python unpacks it where there is no xz.
  tar -C "$unpacked" -xf "$bundle" || python3 -m tarfile -e "$bundle" "$unpacked" || exit 2
  bundle=$unpacked
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
grep -q "libcudnn\.so\.9" < <(ldconfig -p 2>/dev/null) || libraries+=:$bundle/lib/last
# For our programs alone: PyTorch brings libraries of its own.
own=(env "LD_LIBRARY_PATH=$libraries")
export ASHLAR_REQUIRE_GPU=1
unset OMP_NUM_THREADS OMP_THREAD_LIMIT  # nproc heeds them too

# note TEXT: a line to the summary, also to that in OUT: whoever stops this script loses nothing of it, and of the logs, which
# take a while to pack, the last five seconds and the step that runs.
summary=$logs/summary.txt
: >"$summary"
packed=0
pack() {
  [ -n "${OUT:-}" ] || return 0
  packed=$SECONDS
  tar -C "$logs" -czf "$OUT/logs.tmp" . && mv "$OUT/logs.tmp" "$OUT/logs.tar.gz"
}
trap 'pack; rm -rf "$work" "$unpacked"' EXIT
note() {
  echo "$*" | tee -a "$summary"
  [ -z "${OUT:-}" ] || cp "$summary" "$OUT/"
  [ $((SECONDS - packed)) -lt 5 ] || pack
}

# step NAME COMMAND…: output to NAME.log, one line to the summary; returns the command's status.
passed=0 failed=0 skipped=0
in_time() { [ $((deadline - SECONDS)) -gt 20 ]; }
skip() {
  skipped=$((skipped + 1))
  note "SKIPPED $1: too little time is left"
}
step() {
  local name=$1 began=$SECONDS left=$((deadline - SECONDS - 15)) status=0 line=
  local command=("${own[@]}" "${@:2}")
  [ "$2" != python3 ] || command=("${@:2}")
  in_time || { skip "$name"; return 1; }
  # -k: a training program takes the first signal as a wish to finish its step.
  timeout -k 10 $((seconds < left ? seconds : left)) "${command[@]}" >"$logs/$name.log" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    passed=$((passed + 1))
    note "passed  $name ($((SECONDS - began)) s)"
  else
    failed=$((failed + 1))
    case $status in 124 | 137) line="stopped or killed; " ;; esac
    line+=$(reason "$logs/$name.log")
    note "FAILED  $name with $status ($((SECONDS - began)) s): ${line:0:400}"
  fi
  return "$status"
}
# reason LOG: what went wrong, in a line.
reason() {
  if head -n 1 "$1" | grep -q '^<?xml'; then
    python3 tests/gpu/cases.py failed "$1" | head -n 1
  else
    # Lines that begin with cuda: are those of ASHLAR_CUDA_LOG.
    { grep -m 1 -A 2 -E 'error|Error|FAILED|failed:|cuda:' < <(grep -v '^cuda: ' "$1") || tail -n 1 "$1"; } | tr -s '\n ' ' '
  fi
}

# trained NAME FOLDER PROGRAM OPTION…: a training run as a step, left in FOLDER; its metrics go to NAME.jsonl.
trained() {
  local name=$1 folder=$2 program=$bin/$3 status=0
  shift 3
  step "$name" "$program" "$@" --out "$folder" || status=$?
  grep -m 1 'not recorded' "$logs/$name.log" >"$work/recorded" 2>&1 && note "        $(cat "$work/recorded")"
  [ ! -f "$folder/metrics.jsonl" ] || cp "$folder/metrics.jsonl" "$logs/$name.jsonl"
  return "$status"
}

# agree NAME OTHER TOLERANCE: that the losses of two runs agree, as a step, if both runs came to their end. 0: bit for bit.
agree() {
  local file
  [ "$1" != "$2" ] || return 0
  for file in "$logs/$1.jsonl" "$logs/$2.jsonl"; do grep -q '"event":"end"' "$file" 2>/dev/null || return 0; done
  step "$1_as_$2" python3 tests/gpu/losses.py "$3" "$logs/$1.jsonl" "$logs/$2.jsonl"
  [ ! -f "$logs/$1_as_$2.log" ] || note "        $(head -n 1 "$logs/$1_as_$2.log")"
}

source tests/gpu/tests.sh
source tests/gpu/programs.sh
source tests/gpu/benchmarks.sh

note "commit $(cat "$bundle/revision" 2>/dev/null || git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%F)"
note "$(timeout -k 10 30 nvidia-smi --query-gpu=name,driver_version,memory.total,persistence_mode --format=csv,noheader 2>/dev/null ||
  echo 'nvidia-smi not found')"
note "$(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1):$(
  grep -m 1 ^flags /proc/cpuinfo | grep -oE ' (avx2|avx512f|avx512_bf16|amx_bf16)\b' | tr -d '\n')"
step missing_libraries bash -c "! ldd '$bin/cuda_link' '$bin/test_cuda' '$bin/train_gpt' | grep 'not found'"
seen=$(timeout -k 10 60 "${own[@]}" "$bin/cuda_link" 2>&1 || echo "cuda_link ended with $?")
case $seen in
  *"cuda:0 can be used"*) ;;
  *) note "FAILED  nothing was tried, for want of a GPU: $seen"; exit 1 ;;
esac
case " $parts " in
  *" tests "*"benchmarks "*) start_torch $((deadline * 3 / 5)) ;;
  *" benchmarks "*) start_torch $((deadline * 2 / 5)) ;;
esac
for part in $parts; do "$part"; done
[ ! -f "$work/tried" ] || tests_alone "$deadline"
note ""
note "$passed steps passed, $failed failed, $skipped skipped, in $SECONDS s; logs in ${OUT:-$logs}"
[ $((failed + skipped)) = 0 ]
