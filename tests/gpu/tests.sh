# shellcheck shell=bash
# The parts tests, sanitizers and cpu of tests/gpu.sh, which has what they call.

# The names of the cases that no report says have passed.
not_passed() {
  local names
  # Catch2 3 has the second. The first exits with the number of cases in Catch2 2.
  names=$("${own[@]}" "$bin/test_cuda" --list-test-names-only 2>/dev/null)
  [ -n "$names" ] || names=$("${own[@]}" "$bin/test_cuda" --list-tests --verbosity quiet 2>/dev/null)
  grep -vxFf <(python3 tests/gpu/cases.py passed "$logs"/cases_*.log) <<<"$names"
}

# What follows an illegal access fails with it, and what follows a hang never runs: each file of tests has a process of its
# own, and what does not pass there is tried case by case.
tests() {
  local fused threads seconds=$((${ASHLAR_GPU_MINUTES:-1} * 60))
  # PyTorch compiles on the others.
  threads=$((($(nproc) + 1) / 2))
  local -x OMP_NUM_THREADS=$threads
  test_files
  # The cases above have had cuDNN's forward wherever there is cuDNN.
  ASHLAR_CUDNN=off step own_attention "$bin/test_cuda" "attention*"
  : >"$work/tried"
  tests_alone $((SECONDS + 70))
  for fused in on off; do ASHLAR_FUSED=$fused step "layers_fused_$fused" "$bin/test_cuda" "linear maps*,sketches*"; done
}

# The tags of the files of tests: first those that tell whether a model trains and what it is made of.
file_tags() {
  local tags
  tags=$("${own[@]}" "$bin/test_cuda" --list-tags --filenames-as-tags | grep -o '\[#[^]]*\]')
  { grep -E '#(training|steps|products|attention)_' <<<"$tags"; grep -vE '#(training|steps|products|attention)_' <<<"$tags"; } |
    grep . || echo "[cuda]"
}

# In two fifths of the time, so that enough is left to measure.
test_files() {
  local deadline=$((SECONDS + deadline * 2 / 5)) tags tag began
  mapfile -t tags < <(file_tags)
  for tag in "${tags[@]}"; do
    step "cases_${tag//[^a-z0-9_]/}" "$bin/test_cuda" --filenames-as-tags "$tag" --reporter xml --durations yes
  done
  mapfile -t began < <(python3 tests/gpu/cases.py failed "$logs"/cases_*.log)
  [ ${#began[@]} = 0 ] || note "$(printf '        %.200s\n' "${began[@]:0:20}")"
}

# In a filter commas, brackets and backslashes mean something unless escaped.
# shellcheck disable=SC2001
alone() { step "$1_${2//[^a-zA-Z0-9]/_}" "$bin/test_cuda" --reporter compact "$(sed 's/[][\\,]/\\&/g' <<<"$2")"; }

# tests_alone UNTIL: what has not passed and was not tried yet. alone_… shows what fails by itself. blocking_… is that with
# CUDA_LAUNCH_BLOCKING: it shows the kernel to blame, or passes, which hints at a race. avx2_… has the CPU compute the
# reference with the instructions of the project's machines: if it passes, the reference is to blame.
tests_alone() {
  local deadline=$(($1 < deadline ? $1 : deadline)) seconds=40 names name failing=()
  mapfile -t names < <(not_passed | grep -vxFf "$work/tried")
  [ ${#names[@]} = 0 ] || note "        ${#names[@]} cases have not passed; one by one:"
  for name in "${names[@]}"; do
    in_time || break
    echo "$name" >>"$work/tried"
    alone alone "$name"
    case $? in 0 | 124 | 137) ;; *) failing+=("$name") ;; esac
  done
  for name in "${failing[@]}"; do
    in_time || break
    CUDA_LAUNCH_BLOCKING=1 alone blocking "$name"
    ASHLAR_ISA=avx2 alone avx2 "$name"
  done
}

# Of attention it is the project's own kernels that are checked. Not the libraries': racecheck takes some of theirs for races.
# What the CUDA runtime refuses is left to the tests, some of which provoke it. Training and large sizes are left out: a
# sanitizer makes every launch a hundred times slower. File by file, so that what does not come to its end hides nothing else.
sanitizers() {
  local tags tag tool sanitizer seconds=$((${ASHLAR_GPU_MINUTES:-2} * 60))
  sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) ||
    { skipped=$((skipped + 1)); note "SKIPPED compute-sanitizer: not on this machine"; return; }
  mapfile -t tags < <(file_tags | grep -vE '#(training|steps|resume)_')
  for tag in "${tags[@]}"; do
    for tool in memcheck racecheck; do
      ASHLAR_CUDNN=off step "${tool}_${tag//[^a-z0-9_]/}" "$sanitizer" --tool "$tool" --report-api-errors no --error-exitcode 9 \
        --kernel-name-exclude "regex=.*(cublas|cutlass|nvjet|xmma|gemm|gemv).*" \
        "$bin/test_cuda" --filenames-as-tags "$tag~[training]~[large]"
    done
  done
}

# The coverage table is read from the sources, where they were built.
cpu() {
  step test_kernels "$bin/test_kernels" "~[coverage]" ||
    ASHLAR_ISA=avx2 step test_kernels_avx2 "$bin/test_kernels" "~[coverage]"
}
