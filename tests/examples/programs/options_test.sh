#!/usr/bin/env bash
# The options of train_vit and train_gpt arrive where they work: with each a run is another one, or ends where it should.
#   options_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"

# run NAME OPTION…: a run of the command at hand, in $work/NAME. 3 steps at one learning rate, unless the options say otherwise.
run() { expect 0 "" "${command[@]}" --warmup 0 --decay constant --steps 3 "${@:2}" --out "$work/$1"; }
weights() { echo "$work/$1/model.safetensors"; }
losses() { grep -o '"event":"train".*"loss":[^,]*' "$work/$1/metrics.jsonl"; }
steps_of() { grep "\"event\":\"$2\"" "$work/$1/metrics.jsonl" | grep -o '"step":[0-9]*' | grep -o '[0-9]*' | tr '\n' ' '; }

common=("--clip 0.01" "--weight-decay 0.5" "--dtype bf16" "--dropout 0" "--seed 2" "--lr 0.002" "--lr-scale" "--optimizer sgd"
  "--optim.beta1 0.5" "--decay linear" "--decay cosine" "--warmup 0.9" "--groups role=norm,lr=0.5" "--batch 2" "--hidden 32")
for place in qkv proj fc1 fc2; do common+=("--linear.$place ss1:reduction=2"); done
of_vit=("--label-smoothing 0.5" "--no-flip" "--cutmix 1" "--crop-padding 1" "--mixup 0" "--drop-path 0.5" "--gelu tanh" "--no-class-token" "--image 12" "--valid-fraction 0.25")
for name in vit gpt; do
  declare -n command=$name
  run $name
  own=()
  [ $name = gpt ] || own=("${of_vit[@]}")
  for options in "${common[@]}" "${own[@]}"; do
    read -ra words <<<"$options"
    run "$name $options" "${words[@]}"
    differs "$options ($name)" "$(weights $name)" "$(weights "$name $options")"
  done
  run $name-final --decay cosine --final-lr 0.5
  differs "--final-lr ($name)" "$(weights $name-final)" "$(weights "$name --decay cosine")"
  # Under a schedule that falls, biases whose own does not.
  run $name-biases --decay cosine --groups "name=*.bias,decay=constant"
  differs "a group's decay ($name)" "$(weights $name-biases)" "$(weights "$name --decay cosine")"

  # A step in parts is the same step.
  run $name-whole --dropout 0
  run $name-parts --dropout 0 --accumulate 2
  if python3 "$(dirname "${BASH_SOURCE[0]}")/../../gpu/losses.py" 1e-4 "$work/$name-parts/metrics.jsonl" "$work/$name-whole/metrics.jsonl" >"$work/said" 2>&1; then
    ok
  else
    bad "--accumulate ($name): $(cat "$work/said")"
  fi
  expect 2 "--accumulate 3 must divide --batch" "${command[@]}" --accumulate 3 --steps 1 --out "$work/x"

  # An average of the weights is what is evaluated and saved, and not what is trained.
  for ema in 0.9 0.1; do
    run $name-ema-$ema --ema $ema
    same "losses with --ema ($name)" <(losses $name) <(losses $name-ema-$ema)
    differs "--ema $ema ($name)" "$(weights $name)" "$(weights $name-ema-$ema)"
  done
  differs "the decay of --ema ($name)" "$(weights $name-ema-0.9)" "$(weights $name-ema-0.1)"
  run $name-of-average --init-from "$(weights $name-ema-0.9)" --steps 0
  same "the evaluation of an average ($name)" <(grep '"eval"' "$work/$name-ema-0.9/metrics.jsonl" | sed 's/.*"loss"//') \
    <(grep '"eval"' "$work/$name-of-average/metrics.jsonl" | sed 's/.*"loss"//')

  run $name-often --steps 5 --eval-every 2 --log-every 2 --threads 1
  is "steps with an evaluation ($name)" "$(steps_of $name-often eval)" "2 4 5 $([ $name = vit ] || echo "5 ")"
  is "steps that are logged ($name)" "$(steps_of $name-often train)" "1 2 4 5 "
  is "threads ($name)" "$(grep -o '"threads":[0-9]*' "$work/$name-often/metrics.jsonl" | head -n 1)" '"threads":1'
  expect 0 "" "${command[@]}" --minutes 0.01 --out "$work/$name-minutes"
  is "what ended a run of 0.6 s ($name)" "$(grep -o '"stopped_by":"[a-z]*"' "$work/$name-minutes/metrics.jsonl")" '"stopped_by":"minutes"'
done
expect 0 "" "${vit[@]}" --epochs 1 --out "$work/epoch"
is "steps of an epoch of 48 images" "$(steps_of epoch train)" "1 2 3 4 5 6 "
expect 0 "" "${vit[@]}" --epochs 1 --accumulate 2 --out "$work/epoch-parts"
is "steps of an epoch, each in parts" "$(steps_of epoch-parts train)" "1 2 3 4 5 6 "
expect 0 "" "${vit[@]}" --epochs 0.5 --out "$work/half"
is "steps of half an epoch" "$(steps_of half train)" "1 2 3 "

# Images kept for validation are judged by while it trains, and those of the test at the end.
declare -n command=vit
splits_of() { grep '"event":"eval"' "$work/$1/metrics.jsonl" | grep -oE '"step":[0-9]*|"split":"[a-z]*"' | sed 's/.*://' | tr -d '"' | tr '\n' ' '; }
normalisation() { grep -A 8 '"image_mean"' "$work/$1/config.json"; }
run held --valid-fraction 0.25 --steps 4 --eval-every 2 --keep-best
if grep -q "36 training, 12 validation and 10 test images" "$work/out"; then ok; else bad "images: $(cat "$work/out")"; fi
is "splits that are evaluated" "$(splits_of held)" "2 valid 4 valid 4 test "
differs "the normalisation by the images that are left" <(normalisation vit) <(normalisation held)
run held-half --valid-fraction 0.25 --steps 2
same "an evaluation at the end and on the way" <(grep '"step":2,"split":"valid"' "$work/held/metrics.jsonl") <(grep '"split":"valid"' "$work/held-half/metrics.jsonl")
expect 0 "" "$bin/train_vit" --resume --steps 4 --out "$work/held-half"
run held-whole --valid-fraction 0.25 --steps 4
same "a resumed run with images for validation" "$(weights held-whole)" "$(weights held-half)"
expect 2 "--resume and --valid-fraction 0.5, with which the run did not begin, exclude each other" "$bin/train_vit" --resume --steps 6 --valid-fraction 0.5 --out "$work/held-half"
expect 2 "--resume and --valid-fraction 0, with which the run did not begin" "$bin/train_vit" --resume --steps 6 --valid-fraction 0 --out "$work/held-half"
expect 2 "--resume and --seed 2, with which the run did not begin" "$bin/train_vit" --resume --steps 6 --seed 2 --out "$work/held-half"
expect 0 "" "$bin/train_vit" --resume --steps 6 --seed 1 --valid-fraction 0.25 --out "$work/held-half"
expect 2 "--valid-fraction 0.01: of the 24 training images of class 'cat' none would be left for validation; give a larger" "${vit[@]}" --valid-fraction 0.01 --out "$work/x"
expect 2 "of the 24 training images of class 'cat' none would be left for training" "${vit[@]}" --valid-fraction 0.99 --out "$work/x"

# So are those of a folder of their own, which do without others for the end.
cp -r "$work/images" "$work/three"
cp -r "$work/images/test" "$work/three/val"
expect 0 "" "${vit[@]}" --data "$work/three" --steps 2 --out "$work/three-run"
if grep -q "48 training, 10 validation and 10 test images" "$work/out"; then ok; else bad "images: $(cat "$work/out")"; fi
is "splits of three folders" "$(splits_of three-run)" "2 valid 2 test "
expect 2 "have validation images of their own; leave it out" "${vit[@]}" --data "$work/three" --valid-fraction 0.25 --out "$work/x"
rm -r "$work/three/test"
expect 0 "" "${vit[@]}" --data "$work/three" --steps 2 --eval-every 1 --out "$work/two-run"
if grep -q "48 training and 10 validation images" "$work/out"; then ok; else bad "images: $(cat "$work/out")"; fi
is "splits of training and validation" "$(splits_of two-run)" "1 valid 2 valid "
expect 0 "" "$bin/compress" --in "$work/two-run/model.safetensors" --layer dense --data "$work/three" --out "$work/two-dense"
if grep -q "; valid " "$work/out"; then ok; else bad "images that compress evaluates with: $(cat "$work/out")"; fi

# Without other images, a tenth of the training images is kept for validation: in every run with this seed, and by compress.
run alone --data "$work/images/train" --steps 4
if grep -q "44 training and 4 validation images" "$work/out"; then ok; else bad "no tenth of class folders is kept: $(head -3 "$work/out")"; fi
run tenth --data "$work/images/train" --valid-fraction 0.1 --steps 4
same "a tenth by itself and when asked for" "$(weights alone)" "$(weights tenth)"
run alone-half --data "$work/images/train" --steps 2
expect 0 "" "$bin/train_vit" --resume --steps 4 --out "$work/alone-half"
same "a resumed run with a tenth" "$(weights alone)" "$(weights alone-half)"
expect 2 "--resume and --seed 2, with which the run did not begin" "$bin/train_vit" --resume --steps 6 --seed 2 --out "$work/alone-half"
expect 0 "" "$bin/compress" --in "$work/alone/model.safetensors" --layer dense --data "$work/images/train" --out "$work/alone-dense"
loss=$(grep '"split":"valid"' "$work/alone/metrics.jsonl" | grep -oE '"loss":[0-9]\.[0-9]{3}')
if grep -q "; valid loss ${loss#*:}" "$work/out"; then ok; else bad "images that compress evaluates with: $(cat "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/alone/model.safetensors" --layer low_rank:rank=4 --calibrate "$work/images/train" --batch 1 --samples 99 --out "$work/alone-low"
if grep -q "inputs of 44 samples" "$work/out"; then ok; else bad "images that compress calibrates with: $(cat "$work/out")"; fi

declare -n command=gpt
run recompute --recompute
same "activations that are computed again" "$(weights gpt)" "$(weights recompute)"
# Without --data there is some.
expect 0 "" "${gpt[0]}" "${gpt[@]:3}" --steps 1 --eval-windows 1 --out "$work/made-up"
finish
