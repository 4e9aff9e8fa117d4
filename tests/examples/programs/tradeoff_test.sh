#!/usr/bin/env bash
# tradeoff on a toy: what it trains, keeps, resumes and refuses.
#   tradeoff_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"

layers=(--layers "dense; low_rank:ratio=*; dense --width 24" --ratios 0.5,1)
options=(--data "$work/images" --batch 8 --width 32 --depth 1 --heads 2 --patch 4 --dropout 0.1)
study=("$bin/tradeoff" "${layers[@]}" --lrs 0.01,1e30 --seeds 2 --out "$work/study")
table() { grep '^|' "$1" | tail -n +3; }

expect 0 "" "${study[@]}" -- "${options[@]}" --steps 10
table "$work/out" >"$work/table"
if [ "$(grep -cE '^\| (dense|low_rank:ratio=0.5|low_rank:ratio=1|dense --width 24) +\| .*% +\| 0\.01 \| .* ± .* ± ' "$work/table")" -eq 4 ]; then ok; else bad "$(cat "$work/out")"; fi
if [ "$(grep -c 'lr 1e30, seed 1: failed, see .*: train_vit: .*gradient' "$work/out")" -eq 4 ]; then ok; else bad "no word of diverged runs: $(cat "$work/out")"; fi
if [ "$(grep -c 'lr 0.01, seed 2: training loss' "$work/out")" -eq 4 ]; then ok; else bad "second seeds: $(cat "$work/out")"; fi
# The better of two rates was the lower one: a still lower one is tried, and is worse.
if [ "$(grep -c 'lr 0.001, seed 1: training loss' "$work/out")" -eq 4 ]; then ok; else bad "no rate beyond the best: $(cat "$work/out")"; fi
if grep -q "<title>Trade-off" "$work/study/report.html"; then ok; else bad "no report"; fi
if [ -z "$(find "$work/study" -path '*1e30*' -name model.safetensors)" ]; then ok; else bad "a diverged run has a model"; fi

# Every run is what the training program makes of the same options.
expect 0 "" "$bin/train_vit" "${options[@]}" --steps 10 --layer low_rank:ratio=0.5 --lr 0.01 --seed 2 --out "$work/one"
same "a run of its own" "$work/one/model.safetensors" "$work/study/low_rank_ratio=0.5__lr_0.01__seed_2/model.safetensors"

# What is there is kept, diverged or not, and shown without training; more can be added to it.
expect 0 "" "${study[@]}" -- "${options[@]}" --steps 10
same "the table with diverged runs" "$work/table" <(table "$work/out")
if grep -q seed "$work/out"; then bad "diverged again: $(cat "$work/out")"; else ok; fi
expect 0 "" "${study[@]}" --lrs 0.01 -- "${options[@]}" --steps 10
same "the table of kept runs" "$work/table" <(table "$work/out")
if grep -q seed "$work/out"; then bad "trained again: $(cat "$work/out")"; else ok; fi
expect 0 "" "${study[@]}" --layers "dense; ss1:reduction=2" --lrs 0.01 --seeds 1 -- "${options[@]}" --steps 10
if [ "$(grep -c seed "$work/out")" -eq 1 ] && [ "$(table "$work/out" | wc -l)" -eq 2 ]; then ok; else bad "one more: $(cat "$work/out")"; fi

# The best rate is looked for where it is, also by a command that is given again.
search=("$bin/tradeoff" --layers dense --lrs 1e-5,1e-4 --out "$work/search" -- "${options[@]}" --steps 10)
expect 0 "" "${search[@]}"
table "$work/out" >"$work/table"
best=$(sed 's/ *|/|/g' "$work/table" | cut -d'|' -f6 | tr -d ' ')
if [ -d "$work/search/dense__lr_0.001__seed_1" ] && [ -d "$work/search/dense__lr_$(awk -v x="$best" 'BEGIN { printf "%g", 10 * x }')__seed_1" ]; then ok; else bad "the rates of $best: $(ls "$work/search")"; fi
expect 0 "" "${search[@]}"
same "the table of a search that is over" "$work/table" <(table "$work/out")
if grep -q seed "$work/out"; then bad "searched again: $(cat "$work/out")"; else ok; fi

# Stopped or killed at some moment, it goes on where it was and ends the same.
for signal in TERM INT KILL; do
  stopped=("$bin/tradeoff" --layers dense --out "$work/$signal" -- "${options[@]}" --steps 400 --checkpoint-every 20)
  env --default-signal=INT "${stopped[@]}" >"$work/out" 2>"$work/err" &
  victim=$!
  state=$work/$signal/dense__seed_1/checkpoint/state.safetensors
  for wait in {1..3000}; do [ -s "$state" ] && break; sleep 0.02; done
  [ -s "$state" ] || bad "no checkpoint in a minute: $(cat "$work/out" "$work/err")"
  kill -$signal $victim
  wait $victim 2>/dev/null
  code=$?
  if [ $signal = KILL ]; then
    # The training is still at work there, which nobody joins.
    expect 2 "$work/KILL/dense__seed_1: another program is at work in it" "${stopped[@]}"
    pkill -9 -f "train_vit .*--out $work/KILL/" && sleep 0.2
  elif [ $code -ne $((128 + $(kill -l $signal))) ] || ! grep -q "^stopped; the same command goes on" "$work/out"; then bad "$signal: exit code $code, $(cat "$work/out" "$work/err")"; fi
  if grep -q '"stopped_by":"steps"' "$work/$signal/dense__seed_1/metrics.jsonl"; then echo "note: too fast for $signal"; fi
  expect 0 "" "${stopped[@]}"
  if [ "$(table "$work/out" | wc -l)" -eq 1 ]; then ok; else bad "after $signal: $(cat "$work/out")"; fi
done
same "stopped and never stopped" "$work/KILL/dense__seed_1/model.safetensors" "$work/TERM/dense__seed_1/model.safetensors"
same "stopped in two ways" "$work/INT/dense__seed_1/model.safetensors" "$work/TERM/dense__seed_1/model.safetensors"

# What is wrong is said at once where it can be, and keeps nobody from another try.
expect 2 "unknown kind 'lowrank'" "$bin/tradeoff" --layers "dense; lowrank:ratio=*" --out "$work/x" -- "${options[@]}" --steps 1
expect 2 "needs at least one spec" "$bin/tradeoff" --layers ";" --out "$work/x"
expect 2 "--ratios: needs a number to put for the * of low_rank:ratio=*" "$bin/tradeoff" --layers "dense; low_rank:ratio=*" --ratios , --out "$work/x"
expect 2 "dense, seed 1: train_vit: option --stepss is unknown; did you mean --steps?" "$bin/tradeoff" --layers dense --out "$work/x" -- "${options[@]}" --stepss 1
expect 0 "" "$bin/tradeoff" --layers dense --out "$work/x" -- "${options[@]}" --steps 1
expect 1 "no training came to its end" "$bin/tradeoff" --layers dense --lrs 1e30 --out "$work/diverged" -- "${options[@]}" --steps 30 --clip 0 --warmup 0
expect 0 "" "$bin/tradeoff" --layers dense --lrs 1e30 --out "$work/diverged" -- "${options[@]}" --steps 1
expect 0 "" "$bin/tradeoff" --layers dense --out "$work/diverged" -- "${options[@]}" --steps 1
expect 2 "--seed is set by tradeoff" "$bin/tradeoff" --out "$work/x" -- "${options[@]}" --seed=3
expect 2 "the runs there were trained with" "${study[@]}" -- "${options[@]}" --steps 11
expect 2 "did you mean 'vit'" "$bin/tradeoff" --task vitt
expect 2 "--lrs: 'fast' is no learning rate; give numbers above 0" "$bin/tradeoff" --lrs 0.01,fast --out "$work/x"
expect 2 "--lrs: '0' is no learning rate" "$bin/tradeoff" --lrs 0,0.1 --out "$work/x"

# One that cannot be trained does not take the others with it.
expect 2 "dense --width 33, seed 1: train_vit: " "$bin/tradeoff" --layers "dense; dense --width 33; dense --width 24" --out "$work/odd" -- "${options[@]}" --steps 1
if [ "$(table "$work/out" | wc -l)" -eq 2 ]; then ok; else bad "beside one that cannot be trained: $(cat "$work/out")"; fi

# Runs of another config, or of other data by the same options, do not get into one table.
echo '{"data": "images", "steps": 1}' >"$work/config.json"
mkdir "$work/elsewhere"
cp -r "$work/images" "$work/elsewhere/"
of_config=(--out "$work/configured" -- "${options[@]:2}" --config "$work/config.json")
cd "$work" || exit 1
expect 0 "" "$bin/tradeoff" --layers dense "${of_config[@]}"
cd elsewhere || exit 1
expect 2 "ss1:reduction=2, seed 1 was trained on $work/elsewhere/images, and dense, seed 1 on $work/images; give --data" "$bin/tradeoff" --layers "dense; ss1:reduction=2" "${of_config[@]}"
cd "$work" || exit 1
echo '{"data": "images", "steps": 2}' >"$work/config.json"
expect 2 "the runs there were trained with" "$bin/tradeoff" --layers dense "${of_config[@]}"

cp "$bin/tradeoff" "$work/"
expect 2 "cannot run $work/train_gpt" "$work/tradeoff" --task gpt --layers dense --out "$work/alone"

# A GPT too.
expect 0 "" "$bin/tradeoff" --task gpt --layers "dense; blast:blocks=2,ratio=*" --ratios 0.9 --out "$work/gpt" -- --data "$work/text" \
  --batch 4 --width 32 --depth 1 --heads 2 --context 16 --vocab 300 --steps 5
if grep -q "| word perplexity | tokens/s |" "$work/out" && [ "$(table "$work/out" | wc -l)" -eq 2 ]; then ok; else bad "$(cat "$work/out")"; fi

finish
