#!/usr/bin/env bash
# Bad usage, bad input and bad luck: exit code 2 or 1, one line on stderr, nothing half-written.
#   errors_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"
train vit
train gpt

# ---- a device that is not there, told by all programs alike and before anything is done
for program in train_vit train_gpt generate classify compress bench_layers bench_optimizers; do
  expect 2 "device 'gpu' is unknown; use cpu, cuda or cuda:N" "$bin/$program" --device gpu
  expect 2 "device 'cuda:99': " "$bin/$program" --device cuda:99
  if grep -q "; use --device cpu$" "$work/err" && [ ! -s "$work/out" ]; then ok; else bad "$program --device cuda:99: $(cat "$work/err")"; fi
done

# ---- bad usage and bad input: code 2, one line, nothing half-written
expect 0 "" "$bin/train_vit" --help
expect 0 "" "$bin/train_vit" --version
if grep -q "^train_vit: .*, \(g++\|clang++\) [0-9.]*, " "$work/out"; then ok; else bad "--version: $(cat "$work/out")"; fi
# More than all images in a step.
expect 0 "" "${vit[@]}" --batch 96 --steps 1 --out "$work/all"
if grep -q "note: a step takes all of the training data 2 times" "$work/out"; then ok; else bad "a batch larger than the data: $(cat "$work/out")"; fi
expect 0 "" "${vit[@]}" --batch 48 --steps 1 --overwrite --out "$work/all"
if grep -q "note: a step takes all" "$work/out"; then bad "a batch of all the data: $(cat "$work/out")"; else ok; fi
expect 2 "did you mean --layer?" "${vit[@]}" --layr dense
expect 2 "--width: needs a whole number, got \"sixteen\"" "${vit[@]}" --width sixteen
expect 2 "missing does not exist; give another, or fetch data with data/download.sh" \
  "$bin/train_vit" --data "$work/missing" --out "$work/x"
mkdir "$work/empty"
expect 2 "images: the folder $work/empty is empty" "$bin/train_vit" --data "$work/empty" --out "$work/x"
expect 2 "text: the folder $work/empty is empty" "$bin/train_gpt" --data "$work/empty" --out "$work/x"
# What has nothing to do with the data is told before they are read.
expect 2 "width 30 must be a multiple of heads 4" "$bin/train_gpt" --data "$work/empty" --width 30 --heads 4 --out "$work/x"
expect 2 "adamw: betas must be in [0, 1), got 0.9 and 3" "$bin/train_gpt" --data "$work/empty" --optim.beta2 3 --out "$work/x"
expect 2 "did you mean 'rank'?" "$bin/train_vit" --data "$work/empty" --layer blast:blocks=3,rnk=2 --out "$work/x"
expect 2 "image size 10 must be a multiple of patch 4" "$bin/train_vit" --data "$work/empty" --image 10 --out "$work/x"
mkdir "$work/cifar"
head -c 5000 /dev/zero >"$work/cifar/test_batch.bin"
for i in 1 2 3 4 5; do head -c 5000 /dev/zero >"$work/cifar/data_batch_$i.bin"; done
expect 2 "data_batch_1.bin has 5000 bytes, not a multiple of 3073" "$bin/train_vit" --data "$work/cifar" --out "$work/x"
cp -r "$work/images" "$work/broken"
echo "no image" >"$work/broken/train/cat/3.bmp"
expect 2 "train/cat/3.bmp (9 bytes): unknown image type; give a PNG, JPEG or BMP file" \
  "$bin/train_vit" --data "$work/broken" --out "$work/x"
# Four rows of eight pixels.
for image in wide/{train,test}/cat/0.bmp; do
  mkdir -p "$work/${image%/*}"
  python3 -c "
import struct, sys
open(sys.argv[1], 'wb').write(b'BM' + struct.pack('<IHHIIiiHHIIiiII', 150, 0, 0, 54, 40, 8, 4, 1, 24, 0, 96, 0, 0, 0, 0) + bytes(96))
" "$work/$image"
done
expect 2 "images must be square, these have 8x4 pixels; --image N makes them so" "$bin/train_vit" --data "$work/wide" --out "$work/x"
cp -r "$work/images" "$work/hole"
rm "$work"/hole/train/dog/*
expect 2 "the class folder $work/hole/train/dog holds no images" "$bin/train_vit" --data "$work/hole" --out "$work/x"
echo '{"widht": 16}' >"$work/config.json"
expect 2 "key 'widht' is unknown; did you mean width?" "${vit[@]}" --config "$work/config.json"
expect 2 "rank must be from 1 to 16" "${vit[@]}" --layer low_rank:rank=17 --out "$work/x"
expect 2 "blocks must be from 1 to" "${vit[@]}" --layer blast:blocks=17,rank=2 --out "$work/x"
expect 2 "unknown kind 'blst'; did you mean 'blast'?" "${vit[@]}" --layer blst:blocks=2,rank=2 --out "$work/x"
for size in monarch:blocks=4294967296 ss1:reduction=576460752303423488 blast:blocks=4000000000,ratio=0.5; do
  expect 2 "must be a whole number of at least 1 and at most 2147483647" "${vit[@]}" --layer $size --out "$work/x"
done
expect 2 "crop padding must be from 0 to the side of the images, 8" "${vit[@]}" --crop-padding 3000000000 --out "$work/x"
latin1=$work/caf$'\xe9'
cp -r "$work/images" "$latin1"
expect 2 "--data: '$latin1' is not valid UTF-8" "$bin/train_vit" --data "$latin1" --out "$work/x"
kept=$work/model-caf$'\xe9'
expect 0 "" "$bin/compress" --in "$work/vit-a/model.safetensors" --layer dense --out "$kept"
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer dense --out "$kept" --overwrite
if [ -s "$kept/model.safetensors" ] && [ ! -e "$kept/new.safetensors" ]; then ok; else bad "a model in its place: $(ls "$kept")"; fi
mkdir "$work/latin1"
cp -r "$work/images"/* "$work/latin1/"
for split in train test; do mv "$work/latin1/$split/cat" "$work/latin1/$split/caf"$'\xe9'; done
expect 2 "--data $work/latin1: class: 'caf"$'\xe9'"' is not valid UTF-8" "$bin/train_vit" --data "$work/latin1" --out "$work/x"
mkdir "$work/tokenizer"
cp "$work/gpt-a/vocab.json" "$work/tokenizer/"
{ cat "$work/gpt-a/merges.txt"; echo "zz qq"; } >"$work/tokenizer/merges.txt"
expect 2 "merges 'zz', which $work/tokenizer/vocab.json lacks; the two files do not match" \
  "${gpt[@]}" --tokenizer "$work/tokenizer" --out "$work/x"
expect 2 "; leave --resume out to begin a new run" "${vit[@]}" --resume --out "$work/x"
expect 2 "--overwrite replaces the run" "${vit[@]}" --steps 1 --out "$work/vit-a"
expect 2 "exclude each other" "${vit[@]}" --steps 1 --overwrite --resume --out "$work/vit-a"
expect 2 "exclude each other" "${vit[@]}" --steps 1 --resume --init-from "$work/vit-a/model.safetensors" --out "$work/vit-a"
cp -r "$work/vit-a" "$work/other"
expect 2 "of another shape" "${vit[@]}" --width 32 --steps 30 --resume --out "$work/other"
same "a refused checkpoint" "$work/vit-a/checkpoint/state.safetensors" "$work/other/checkpoint/state.safetensors"
# A file where a folder is meant, a folder where a file is, and what belongs to the other model: told what to give instead.
expect 2 "--model $work/gpt-a/model.safetensors is a file; give its folder, $work/gpt-a" "$bin/generate" --model "$work/gpt-a/model.safetensors"
mkdir "$work/at-work"
cp "$work/gpt-a/config.json" "$work/at-work"
expect 2 "--model $work/at-work: there are no weights, model.safetensors; a run of train_gpt leaves them when it ends" "$bin/generate" --model "$work/at-work"
expect 2 "--model $work/gpt-a/checkpoint: there is no config.json; give a folder that has one" "$bin/generate" --model "$work/gpt-a/checkpoint"
expect 2 "vit-a/config.json: belongs to a ViT, a model of train_vit; give a GPT-2" "$bin/generate" --model "$work/vit-a"
for program in "train_vit --steps 1 --init-from" "compress --layer dense --in"; do
  option=${program##* }
  expect 2 "$option $work/vit-a is a folder; give the file with its weights, $work/vit-a/model.safetensors" "$bin/"$program "$work/vit-a" --out "$work/x"
  expect 2 "$option $work/vit-a/checkpoint/state.safetensors is the checkpoint of a run; give $work/vit-a/model.safetensors" \
    "$bin/"$program "$work/vit-a/checkpoint/state.safetensors" --out "$work/x"
done
expect 2 "gpt-a/config.json: belongs to a run of train_gpt; run that, or give train_vit a run or a config of its own" "$bin/train_vit" --resume --out "$work/gpt-a"
expect 2 "vit-a/config.json: belongs to a run of train_vit; run that, or give train_gpt a run" "$bin/train_gpt" --resume --out "$work/vit-a"
expect 2 "belongs to a run of train_vit" "$bin/train_gpt" --config "$work/vit-a/config.json" --out "$work/x"
# An empty path, as of a variable that is not set.
for option in out data init-from config; do expect 2 "--$option: the path is empty; give one, or leave it out" "${vit[@]}" --steps 1 --out "$work/x" --$option ""; done
expect 2 "RUN: the path is empty" "$bin/compare_runs" ""
touch "$work/file"
expect 2 "cannot write to folder $work/file/run: Not a directory" "${vit[@]}" --steps 1 --out "$work/file/run"
if [ -e "$work/x/model.safetensors" ]; then bad "a refused run wrote weights"; else ok; fi
# What is refused leaves an earlier run whole, its vocabulary too.
expect 0 "" "${gpt[@]}" --steps 1 --tokenizer "$work/gpt-a" --out "$work/own"
cp -r "$work/own" "$work/own-before"
expect 2 "--overwrite replaces the run" "${gpt[@]}" --vocab 280 --steps 1 --out "$work/own"
same "the vocabulary of a run that stays" "$work/own-before/vocab.json" "$work/own/vocab.json"
expect 2 "--warmup: needs at most 0.99" "${gpt[@]}" --overwrite --warmup 1 --steps 1 --out "$work/own"
expect 2 "would remove" "${gpt[@]}" --overwrite --steps 1 --init-from "$work/own/model.safetensors" --out "$work/own"
expect 2 "fits no parameter" "${gpt[@]}" --overwrite --steps 1 --groups "name=head.*.weight,lr=2" --out "$work/own"
if diff -r "$work/own" "$work/own-before"; then ok; else bad "a refused run changed another"; fi
expect 2 "there is no checkpoint $work/x/checkpoint" "${gpt[@]}" --resume --out "$work/x"
# Without its config nobody knows what a run was trained on.
cp -r "$work/vit-a" "$work/nameless"
rm "$work/nameless/config.json"
expect 2 "there is no $work/nameless/config.json, which tells what the run was trained on" "${vit[@]}" --resume --out "$work/nameless"
# What is wrong with weights is told before what is not beside them.
given=("${gpt[@]}" --steps 0 --out "$work/x" --init-from)
expect 2 "cannot read $work/none.safetensors: No such file" "${given[@]}" "$work/none.safetensors"
expect 2 "is a folder; give the file with its weights, $work/own/model.safetensors" "${given[@]}" "$work/own"
expect 2 "is the checkpoint of a run; give $work/own/model.safetensors" "${given[@]}" "$work/own/checkpoint/state.safetensors"
# Weights that are given keep the vocabulary that lies beside them; without one it has to be named.
expect 0 "" "${gpt[@]}" --vocab 270 --init-from "$work/own/model.safetensors" --steps 0 --out "$work/evaluated"
same "the vocabulary of given weights" "$work/own/vocab.json" "$work/evaluated/vocab.json"
mkdir "$work/alone"
cp "$work/own/model.safetensors" "$work/alone/"
expect 2 "no vocabulary lies beside these weights" "${gpt[@]}" --init-from "$work/alone/model.safetensors" --steps 0 --out "$work/x"
if head -c 100 "$work/own/model.safetensors" | grep -q '"format":"pt"'; then ok; else bad "transformers does not load weights without their format"; fi
# A report that is not the run's stays.
mkdir "$work/reports"
echo mine >"$work/reports/report.html"
expect 2 "holds report.html" "${vit[@]}" --steps 1 --out "$work/reports"
if [ "$(cat "$work/reports/report.html")" = mine ]; then ok; else bad "a run replaced a report"; fi
# A resumed run has the vocabulary it began with, also when that came from elsewhere; a finished one is not evaluated again.
"${gpt[@]}" --vocab 280 --steps 1 --out "$work/elsewhere" >/dev/null
mkdir "$work/words"
cp "$work"/own/{vocab.json,merges.txt} "$work/words/"
expect 0 "" "${gpt[@]}" --steps 1 --tokenizer "$work/words" --out "$work/given"
cp "$work"/elsewhere/{vocab.json,merges.txt} "$work/words/"
for attempt in 1 2; do expect 0 "" "$bin/train_gpt" --resume --steps 2 --out "$work/given"; done
same "the vocabulary of a resumed run" "$work/own/merges.txt" "$work/given/merges.txt"
if [ "$(grep -c '"eval","step":2,"split":"valid"' "$work/given/metrics.jsonl")" -eq 1 ]; then ok; else bad "evaluations: $(grep eval "$work/given/metrics.jsonl")"; fi
# A vocabulary that lies in --out is not replaced, but may be the run's.
expect 2 "$work/words holds a vocabulary, which the run's own would replace" "${gpt[@]}" --steps 1 --out "$work/words"
expect 0 "" "${gpt[@]}" --steps 1 --tokenizer "$work/words" --out "$work/words"
same "a vocabulary in --out" "$work/elsewhere/merges.txt" "$work/words/merges.txt"
# Given weights may have rows for more tokens than the vocabulary, not for fewer.
expect 0 "" "${gpt[@]}" --init-from "$work/own/model.safetensors" --tokenizer "$work/elsewhere" --steps 1 --out "$work/padded"
expect 0 "" "$bin/train_gpt" --resume --steps 2 --out "$work/padded"
if grep -q "goes on with other options: .*steps 1 -> 2" "$work/out"; then ok; else bad "no word of other options: $(cat "$work/out")"; fi
expect 0 "" "$bin/generate" --model "$work/padded" --tokens 2
expect 2 "elsewhere/model.safetensors: the embedding has 280 rows and the vocabulary 300 tokens; give" "${gpt[@]}" --init-from "$work/elsewhere/model.safetensors" --tokenizer "$work/own" --steps 1 --out "$work/x"
expect 2 "elsewhere/model.safetensors: the embedding has 280 rows and the vocabulary 300 tokens; give" "$bin/generate" --model "$work/elsewhere" --tokenizer "$work/own"
expect 2 "elsewhere/model.safetensors: the embedding has 280 rows and the vocabulary 300 tokens; give" "$bin/compress" --in "$work/elsewhere/model.safetensors" --layer low_rank:rank=4 --tokenizer "$work/own" --out "$work/x"
expect 2 "; resume with the --optimizer that the run began with" "${vit[@]}" --resume --optimizer sgd --out "$work/vit-a"
# A vocabulary of the bytes alone can be given, not learned.
mkdir "$work/bytes"
python3 -c "
import json, sys
json.dump({token: i for token, i in json.load(open(sys.argv[1])).items() if i < 256}, open(sys.argv[2], 'w'))
" "$work/own/vocab.json" "$work/bytes/vocab.json"
head -n 1 "$work/own/merges.txt" >"$work/bytes/merges.txt"
expect 0 "" "${gpt[@]}" --tokenizer "$work/bytes" --steps 1 --out "$work/of-bytes"
expect 0 "" "$bin/train_gpt" --resume --steps 2 --out "$work/of-bytes"
expect 2 "--vocab 100: a vocabulary of bytes has at least 257 tokens" "${gpt[@]}" --vocab 100 --steps 1 --out "$work/x"
# The report of a run is not that of a comparison.
expect 2 "--out $work/vit-a holds metrics.jsonl, so it is the folder of a run" "$bin/tradeoff" --layers dense --out "$work/vit-a" -- "${vit_data[@]:1}" --steps 1
expect 2 "option --steps is unknown; options of the other program follow a --; did you mean --seeds?" "$bin/tradeoff" --layers dense --steps 3
expect 2 "--out $work/vit-a/report.html is the report of a run" "$bin/compare_runs" "$work/vit-a" --out "$work/vit-a/report.html"
# Two runs in one folder: the second is refused, also when it may replace the first; nothing is left of the lock.
env --default-signal=HUP "${vit[@]}" --minutes 5 --steps 100000 --out "$work/busy" >/dev/null 2>&1 &
busy=$!
for wait in {1..200}; do [ -s "$work/busy/metrics.jsonl" ] && break; sleep 0.1; done
expect 2 "another program is at work in it" "${vit[@]}" --steps 1 --overwrite --out "$work/busy"
expect 2 "another program is at work in it" "$bin/compress" --in "$work/vit-a/model.safetensors" --layer dense --overwrite --out "$work/busy"
kill -HUP $busy  # by the shell and by the system
kill -HUP $busy
wait $busy 2>/dev/null
code=$?
if [ $code -eq $((128 + 1)) ] && grep -q '"stopped_by":"signal"' "$work/busy/metrics.jsonl"; then ok; else bad "a closed terminal: exit code $code"; fi
expect 0 "" "${vit[@]}" --steps 1 --overwrite --out "$work/busy"
# Ctrl-C also ends a program by its signal that was started to ignore it, as scripts start what they put in the background.
env --ignore-signal=INT "${vit[@]}" --minutes 5 --steps 100000 --out "$work/ignoring" >/dev/null 2>&1 &
busy=$!
for wait in {1..200}; do grep -q '"step":1,' "$work/ignoring/metrics.jsonl" 2>/dev/null && break; sleep 0.1; done
kill -INT $busy
wait $busy 2>/dev/null
code=$?
if [ $code -eq $((128 + 2)) ] && grep -q '"stopped_by":"signal"' "$work/ignoring/metrics.jsonl"; then ok; else bad "an ignored SIGINT: exit code $code"; fi
# The reader of the output goes away: the run goes on. Output that is lost is told.
"${vit[@]}" --steps 20 --overwrite --out "$work/busy" 2>"$work/err" | head -n 0
if [ "${PIPESTATUS[0]}" -eq 0 ] && [ -s "$work/busy/report.html" ] && [ ! -s "$work/err" ]; then ok; else bad "a run ended with its reader: $(cat "$work/err")"; fi
if [ -w /dev/full ]; then
  for call in "train_vit --help" "compare_runs $work/vit-a --out $work/report.html" "generate --model $work/gpt-a --tokens 2"; do
    "$bin/"$call >/dev/full 2>"$work/err"
    code=$?
    if [ $code -eq 1 ] && grep -q "cannot write all of the output" "$work/err"; then ok; else bad "$call >/dev/full: exit code $code, $(cat "$work/err")"; fi
  done
fi
# A loss that blows up stops the run, names a gradient and keeps the checkpoint.
expect 1 "the largest gradient is that of" "${vit[@]}" --steps 200 --lr 1e30 --clip 0 --warmup 0 --dropout 0 --checkpoint-every 1 --out "$work/nan"
if [ -s "$work/nan/checkpoint/state.safetensors" ]; then ok; else bad "the last good checkpoint is gone"; fi
# A full disk: the old checkpoint stays.
if [ -w /dev/full ] && mkdir "$work/full" && mount -t tmpfs -o size=400k tmpfs "$work/full" 2>/dev/null; then
  "${vit[@]}" --steps 2 --out "$work/full/run" >/dev/null 2>&1
  cp "$work/full/run/checkpoint/state.safetensors" "$work/kept" 2>/dev/null
  head -c 400k /dev/zero >"$work/full/filler" 2>/dev/null
  "${vit[@]}" --steps 4 --resume --out "$work/full/run" >/dev/null 2>"$work/err"
  code=$?
  if [ $code -eq 1 ] && [ "$(wc -l <"$work/err")" -eq 1 ]; then ok; else bad "a full disk: exit code $code, $(cat "$work/err")"; fi
  same "checkpoint after a full disk" "$work/kept" "$work/full/run/checkpoint/state.safetensors"
  umount "$work/full"
else
  echo "skipped: a full disk (needs the right to mount)"
fi

finish
