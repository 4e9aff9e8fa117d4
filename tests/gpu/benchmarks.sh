# shellcheck shell=bash
# The parts benchmarks and variants of tests/gpu.sh, which has what they call.

gpt2_torch=(python3 tests/compare/gpt2_torch.py --batch 32)
# start_torch LIMIT: compiling takes PyTorch a minute: it may do so, and keep the result, while nothing is measured, for LIMIT
# seconds.
start_torch() {
  local limit=$1 threads=$((($(nproc) + 3) / 4))
  TORCHINDUCTOR_COMPILE_THREADS=$threads timeout -k 5 $((limit < 170 ? limit : 170)) "${gpt2_torch[@]}" --steps 2 \
    >"$work/torch_warm_up.log" 2>&1 </dev/null &
  torch_job=$!
}

# Waits for that; `torch` says what it came to.
torch=no
join_torch() {
  local status=0
  wait "$torch_job" || status=$?
  cp "$work/torch_warm_up.log" "$logs/"
  case $status in
    0) torch=ready ;;
    124 | 137) torch=late; note "        PyTorch had not compiled by now: it is measured last" ;;
    *) note "skipped PyTorch: $(tail -n 1 "$logs/torch_warm_up.log")" ;;
  esac
}
measure_torch() { step "$1" "${gpt2_torch[@]}" --steps 60 && note "$(tail -n 2 "$logs/$1.log" | sed 's/^/        /')"; }

# train NAME PROGRAM OPTION…: a run, and the median rate of its training lines after step 20.
train() {
  trained "$1" "$work/run" "${@:2}" --overwrite --no-save
  rm -rf "$work/run"
  [ ! -f "$logs/$1.jsonl" ] || note "        $(python3 tests/compare/median_rate.py "$logs/$1.jsonl" 2>&1 | tail -n 1)"
}

# layers NAME SPECS [OPTION…]: the table of bench_layers, as far as it came. Only to the summary: it is long.
layers() {
  step "$1" "$bin/bench_layers" --device cuda --dtype bf16 --tokens 8192 --shapes 768x768,768x3072,3072x768,3072x3072 --table \
    --layers "${@:2}"
  [ ! -f "$logs/$1.log" ] || cat "$logs/$1.log" >>"$summary"
}

# plans BASE: what the libraries choose for such a run, in three steps of one block. Sums may take any order, so that cuDNN is
# asked for attention's backward too. All answers go to the summary; cuDNN's, and what cuBLASLt has no plan for, are shown.
plans() {
  local -n base=$1
  ASHLAR_CUDA_LOG=1 trained "plans_$1" "$work/run" "${base[@]}" --depth 1 --steps 3 --allow-nondeterministic --overwrite
  rm -rf "$work/run"
  grep '^cuda: ' "$logs/plans_$1.log" >"$work/plans" 2>/dev/null || return 0
  grep '^cuda: cuDNN' "$work/plans" >"$work/shown" || echo "cuDNN was not asked" >"$work/shown"
  echo "cuBLASLt: $(grep -c '^cuda: cuBLASLt.*SUCCESS' "$work/plans") plans; none for:" >>"$work/shown"
  grep '^cuda: cuBLASLt' "$work/plans" | grep -v SUCCESS >>"$work/shown" || echo "nothing" >>"$work/shown"
  note "$(sed 's/^/        /' "$work/shown")"
  cat "$work/plans" >>"$summary"
}

# variant NAME BASE TOLERANCE [OPTION…]: BASE, an array with a command, trained with OPTIONs; its losses are those of BASE_1.
variant() {
  local -n base=$2
  train "$2_$1" "${base[@]}" "${@:4}"
  agree "$2_$1" "$2_1" "$3"
}

# clocks: whether the card was as fast as it can be.
clocks() {
  note "        $(timeout -k 10 30 nvidia-smi --format=csv,noheader \
    --query-gpu=clocks.sm,clocks.mem,power.draw,temperature.gpu,clocks_event_reasons.active 2>&1 | tail -n 1)"
}

# The models that are measured.
prepare_models() {
  [ ! -d "$work/tokenizer" ] || return 0
  gpt2_dense=(train_gpt --tokenizer "$work/tokenizer" --width 768 --depth 12 --heads 12 --context 1024 --batch 32 --dtype bf16
    --device cuda --optimizer adamw --lr 0.0003 --log-every 5 --steps 60 --eval-windows 32)
  # shellcheck disable=SC2034  # used by its name
  gpt2_blast=("${gpt2_dense[@]}" --layer "blast:blocks=6,rank=192" --layer-at "qkv,fc1,fc2")
  # Without a class token, as in examples/configs: 64 tokens an image.
  vit_s=(train_vit --width 384 --depth 12 --heads 6 --patch 4 --no-class-token --batch 1024 --dtype bf16 --device cuda
    --optimizer adamw --lr 0.0003 --log-every 20 --steps 300)
  step tokenizer python3 tests/compare/pairs_tokenizer.py "$work/tokenizer"
}

# What matters most comes first: time may run out.
benchmarks() {
  local round kind model long=$seconds seconds=$((${ASHLAR_GPU_MINUTES:-1} * 60))
  prepare_models
  for model in gpt2_dense gpt2_blast vit_s; do plans $model; done
  join_torch

  # Twice each and by turns: what heats up or slows down the card meets all of them. The second time the bits are the same.
  for round in 1 2; do
    variant $round gpt2_dense 0
    [ $torch != ready ] || measure_torch "gpt2_torch_$round"
    variant $round gpt2_blast 0
    variant $round vit_s 0
    train "vit_s_tanh_$round" "${vit_s[@]}" --gelu tanh
    [ $round = 2 ] || for kind in low_rank: "blast:blocks=6," "monarch:blocks=4," ss1:; do
      layers "bench_layers_${kind%%:*}" "${kind}ratio=0.5;${kind}ratio=0.25"
    done
    # Attention's backward is then cuDNN's, as PyTorch's is not in a fixed order either.
    for model in gpt2_dense gpt2_blast; do variant any_order_$round $model 2e-2 --allow-nondeterministic; done
    clocks
    # It compiles in what is measured here, before the twentieth step.
    if [ $torch = late ]; then seconds=$long measure_torch "gpt2_torch_$round" && torch=ready || torch=no; fi
  done
}

variants() {
  local setting model long=$seconds seconds=$((${ASHLAR_GPU_MINUTES:-1} * 60))
  prepare_models
  for model in gpt2_dense gpt2_blast vit_s; do [ -f "$logs/${model}_1.jsonl" ] || variant 1 $model 0; done
  # Where the fused kernels pay is a count so far (kernels/fusion.h).
  for setting in on off; do
    ASHLAR_FUSED=$setting variant fused_$setting gpt2_blast 2e-2
    ASHLAR_FUSED=$setting layers bench_layers_fused_$setting \
      "blast:blocks=6,ratio=0.5;blast:blocks=6,ratio=0.25;ss1:reduction=4" --repeats 5
  done
  # What it brings to have biases and GELU inside the library's products.
  for setting in none bias; do
    for model in gpt2_dense gpt2_blast vit_s; do ASHLAR_EPILOGUES=$setting variant epilogues_$setting $model 2e-2; done
  done
  for model in gpt2_dense vit_s; do ASHLAR_CUDNN=off variant own_attention $model 2e-2; done
  # What replaying the recorded step saves.
  variant op_by_op vit_s 0 --no-cuda-graph
  train vit_s_class_token "${vit_s[@]}" --class-token
  # SOAP stands for the optimizers whose decompositions the host does.
  seconds=$long step bench_optimizers "$bin/bench_optimizers" --device cuda --dtype bf16 --optimizers adamw,muon,soap --threads "$(nproc)" \
    --table
  [ ! -f "$logs/bench_optimizers.log" ] || cat "$logs/bench_optimizers.log" >>"$summary"
  clocks
}
