#!/usr/bin/env bash
# tests/gpu.sh on a machine without a GPU: a bundle of programs that only pretend, and what the summary makes of it when they
# work, fail, crash or disagree.
set -uo pipefail
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tests" "$work/fake/bin" "$work/path"
# A copy, so that the logs of a real run stay.
cp -r "$tests/gpu.sh" "$tests/gpu" "$tests/compare" "$work/tests/"

cat >"$work/fake/bin/fake" <<'FAKE'
#!/usr/bin/env bash
# One program for all names. FAKE says how it behaves.
arguments=" $* "
value_of() { sed -n "s/.* $1 \([^ ]*\) .*/\1/p" <<<"$arguments"; }
passes() { echo "<TestCase name=\"$1\" tags=\"[cuda]\"><OverallResult success=\"true\"/></TestCase>"; }
train() {
  local step out steps every loss=$RANDOM
  out=$(value_of --out) steps=$(value_of --steps) every=$(value_of --log-every)
  case $arguments in
    *" cuda:99 "*) echo "cuda:99 is no device" >&2; exit 2 ;;
    *" 1e30 "*) echo "the loss is nan; lower --lr" >&2; exit 1 ;;
  esac
  [ "${ASHLAR_CUDA_LOG:-0}" = 0 ] || printf 'cuda: cuDNN: forward of attention: taken\ncuda: cuBLASLt: GELU: NOT_SUPPORTED\n' >&2
  if [[ $FAKE$arguments = fail*" blast:blocks=6"* ]]; then echo "train_gpt: cuda: an illegal access" >&2; exit 1; fi
  [ "$FAKE" = differ ] || loss=5
  mkdir -p "$out"
  for ((step = 1; step <= steps; ++step)); do
    ((step > 1 && step % ${every:-10})) || echo "{\"event\":\"train\",\"step\":$step,\"loss\":1.$loss,\"tokens_per_s\":7}"
  done >"$out/metrics.jsonl"
  echo '{"event":"end"}' >>"$out/metrics.jsonl"
  echo weights >"$out/model.safetensors"
}
case $(basename "$0")$arguments in
  cuda_link*) echo "a warning" >&2; [ "$FAKE" = nothing ] || echo "cuda:0 can be used" ;;
  test_cuda*--list-tags*) printf ' 2 [#a_test]\n 2 [#b_test]\n 4 [cuda]\n' ;;
  test_cuda*--list-test-names-only*) printf 'sums, of [any] <order>\nan error that is wanted\nbefore\nbehind\n'; exit 4 ;;
  test_cuda*--list-tests*) printf 'All available test cases:\n  before\n4 test cases\n\n'; exit 4 ;;
  test_cuda*"[#a_test]"*)
    echo '<?xml version="1.0"?>'
    if [ "$FAKE" != fail ]; then passes "sums, of [any] &lt;order&gt;"; passes "an error that is wanted"; exit; fi
    echo '<TestCase name="sums, of [any] &lt;order&gt;"><Info>bf16</Info>
      <Expression success="false"><Original>a &lt;= b</Original><Expanded>2 &lt;= 1</Expanded></Expression>
      <OverallResult success="false"/></TestCase>
      <TestCase name="an error that is wanted"><Exception filename="f">cuda: illegal</Exception><OverallResult success="false"/></TestCase>'
    exit 2 ;;
  test_cuda*"[#b_test]"*)
    echo '<?xml version="1.0"?>'
    passes before
    if [ "$FAKE" = crash ]; then echo '<TestCase name="behind">'; kill -SEGV $$; fi
    passes behind ;;
  test_cuda*--reporter*"sums\\, of"*) [ "$FAKE" != fail ] || [ "${ASHLAR_ISA:-}" = avx2 ] || { echo "f:1: failed: 2 <= 1"; exit 1; } ;;
  train_*) train ;;
  bench_layers*) echo "table of $arguments"; [[ $FAKE$arguments != fail*" blast"* ]] || exit 1 ;;
esac
exit 0
FAKE
for program in cuda_link test_cuda test_kernels train_gpt train_vit generate compress bench_layers bench_optimizers; do
  ln -s fake "$work/fake/bin/$program"
done
chmod +x "$work/fake/bin/fake"
ln -s "$work/fake/bin/fake" "$work/path/compute-sanitizer"
cat >"$work/path/python3" <<PYTHON
#!/usr/bin/env bash
[[ "\$*" != *gpt2_torch.py* ]] || { echo "\${TORCH:-100 tokens_per_s}"; [ -z "\${TORCH:-}" ]; exit; }
exec $(command -v python3) "\$@"
PYTHON
chmod +x "$work/path/python3"

# run CODE HOW PART…: tests/gpu.sh with programs that behave so; has WHAT: a line of its summary.
failed=0
bad() { failed=$((failed + 1)); echo "FAILED: $1"; }
run() {
  how=$2
  # From another folder than the repository's, by paths that count from there.
  (cd "$work/fake" && PATH=$work/path:$PATH FAKE=$2 OUT=../out bash ../tests/gpu.sh . "${@:3}") >"$work/said" 2>&1
  local code=$?
  [ $code = "$1" ] || bad "$how: exit code $code instead of $1"
}
has() { grep -qE -- "$1" "$work/out/summary.txt" || bad "$how: the summary lacks '$1'"; }
lacks() { ! grep -qE -- "$1" "$work/out/summary.txt" || bad "$how: the summary has '$1'"; }

run 0 work
has "^passed  gpt2_torch_2 "
has "^passed  vit_same_weights "
has "^passed  gpt2_blast_2_as_gpt2_blast_1 "
has "^        cuda: cuBLASLt: GELU: NOT_SUPPORTED"
has "^[0-9]+ steps passed, 0 failed, 0 skipped"
lacks "have not passed| alone_"
[[ $(tar -tzf "$work/out/logs.tar.gz") = *gpt2_dense_1.jsonl* ]] || bad "no metrics in logs.tar.gz"

TORCH="torch sees no GPU" run 1 fail tests benchmarks
has "^FAILED  cases_a_test with 2 .*: sums, of \[any\] <order>: 2 <= 1 \(bf16\)"
has "^        an error that is wanted: cuda: illegal"
has "^FAILED  alone_sums__of__any___order_ "
has "^FAILED  blocking_sums__of__any___order_ "
has "^passed  avx2_sums__of__any___order_ "
has "^passed  alone_an_error_that_is_wanted "
has "^skipped PyTorch: torch sees no GPU"
has "^FAILED  gpt2_blast_1 with 1 .*: train_gpt: cuda: an illegal access"
has "^FAILED  bench_layers_blast "
has "^table of .* blast:blocks=6,ratio=0.5"
has "^passed  bench_layers_ss1 "

run 1 crash tests
has "^FAILED  cases_b_test with 139 .*: behind: began, and the report ends"
has "^passed  alone_behind "
has "^6 steps passed, 1 failed"

run 1 differ programs benchmarks
has "^FAILED  small_gpt_cuda_f32_as_small_gpt_cpu_f32 with 1 .*: the first that differ, step 1"
has "^FAILED  gpt2_dense_2_as_gpt2_dense_1 "

run 1 nothing
has "^FAILED  nothing was tried, for want of a GPU: a warning"

ASHLAR_GPU_DEADLINE=20 run 1 work tests
has "^SKIPPED cases_a_test: too little time is left"

[ $failed = 0 ] || cat "$work/said"
[ $failed = 0 ] && echo "tests/gpu.sh tells what works, fails, crashes and disagrees"
