#!/usr/bin/env bash
# The files of a run and what reads them: generate and compare_runs.
#   files_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"
train vit
train gpt

# ---- files of a run
for file in config.json metrics.jsonl model.safetensors report.html checkpoint/state.safetensors; do
  if [ -s "$work/vit-a/$file" ]; then ok; else bad "no $file in a finished run"; fi
done
expect 0 "" "$bin/train_vit" --config "$work/vit-a/config.json" --out "$work/again"
same "a run from its resolved config" "$work/vit-a/model.safetensors" "$work/again/model.safetensors"
# What Hugging Face's transformers would take for token 50256.
if [ "$(grep -cE '"(bos|eos)_token_id": 299' "$work/gpt-a/config.json")" -eq 2 ]; then ok; else bad "the token between texts: $(cat "$work/gpt-a/config.json")"; fi
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 5 --seed 3
cp "$work/out" "$work/first"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 5 --seed 3
same "generate with one seed" "$work/first" "$work/out"
# More tokens than the context of 16 holds.
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 40 --seed 3
cp "$work/out" "$work/first"
expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 40 --seed 3 --no-cache
same "generate with a cache and without" "$work/first" "$work/out"
# write NAME OPTION…: a text of 40 tokens.
write() {
  expect 0 "" "$bin/generate" --model "$work/gpt-a" --tokens 40 "${@:2}"
  cp "$work/out" "$work/text-$1"
}
write likeliest --temperature 0 --seed 3
write one --temperature 9 --top-k 1 --seed 4
same "the likeliest tokens" "$work/text-likeliest" "$work/text-one"
write three --temperature 1 --top-k 0 --seed 3
write four --temperature 1 --top-k 0 --seed 4
write two --temperature 1 --top-k 2 --seed 3
write cold --temperature 0.01 --top-k 0 --seed 3
write share --temperature 1 --top-k 0 --top-p 0.5 --seed 3
write whole --temperature 1 --top-k 0 --top-p 1 --seed 3
write least --temperature 9 --top-k 0 --top-p 0 --seed 4
same "the likeliest token of a share of 0" "$work/text-likeliest" "$work/text-least"
same "--top-p 1 and all" "$work/text-whole" "$work/text-three"
differs "--top-p 0.5 and all" "$work/text-share" "$work/text-three"
expect 0 "note: the model sees 16 tokens at a time, the last ones of the prompt's " "$bin/generate" --model "$work/gpt-a" --tokens 1 --prompt "$(printf 'word %.0s' {1..40})"
expect 2 "--top-p: needs at most 1, got 1.5" "$bin/generate" --model "$work/gpt-a" --top-p 1.5
write narrow --temperature 0 --device cpu --dtype bf16
same "the first word in bf16 and f32" <(head -c 4 "$work/text-narrow") <(head -c 4 "$work/text-likeliest")
differs "other seeds" "$work/text-three" "$work/text-four"
differs "--top-k 2 and all" "$work/text-two" "$work/text-three"
differs "other temperatures" "$work/text-cold" "$work/text-three"
# The tokenizer under the names of OpenAI, in a tokenizer.json, or under none.
cp -r "$work/gpt-a" "$work/gpt-names"
mv "$work/gpt-names/vocab.json" "$work/gpt-names/encoder.json"
mv "$work/gpt-names/merges.txt" "$work/gpt-names/vocab.bpe"
expect 0 "" "$bin/generate" --model "$work/gpt-names" --tokens 40 --seed 3
same "generate with encoder.json and vocab.bpe" "$work/first" "$work/out"
python3 - "$work/gpt-names" <<'PY'
import json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
merges = (folder / "vocab.bpe").read_text().splitlines()[1:]
model = {"type": "BPE", "vocab": json.loads((folder / "encoder.json").read_text()), "merges": [m.split(" ") for m in merges]}
(folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", "added_tokens": [], "model": model}))
PY
rm "$work/gpt-names/encoder.json"
expect 0 "" "$bin/generate" --model "$work/gpt-names" --tokens 40 --seed 3
same "generate with tokenizer.json" "$work/first" "$work/out"
rm "$work/gpt-names/tokenizer.json"
expect 2 "has neither vocab.json (with merges.txt) nor encoder.json (with vocab.bpe) nor tokenizer.json" "$bin/generate" --model "$work/gpt-names" --tokens 1
# The end of a text ends what is generated; given in a prompt, a new text begins after it.
printf 'a<|endoftext|>%.0s' {1..4000} >"$work/ends.txt"
expect 0 "" "$bin/train_gpt" --data "$work/ends.txt" --vocab 257 --width 16 --depth 1 --heads 1 --context 8 --batch 8 --steps 60 --lr 0.02 --out "$work/gpt-ends"
for prompt in a "" "a<|endoftext|>"; do
  expect 0 "" "$bin/generate" --model "$work/gpt-ends" --prompt "$prompt" --tokens 9 --temperature 0
  same "what is generated after '$prompt', to its end" <(echo "${prompt%a}a") "$work/out"
done
# Every byte of a text is printed, and weights that are not numbers, or give none, write none.
echo '{"prompt": "a\u0000b"}' >"$work/prompt.json"
expect 0 "" "$bin/generate" --config "$work/prompt.json" --model "$work/gpt-a" --tokens 1
if [ "$(head -c 3 "$work/out" | od -An -tx1 | tr -d ' ')" = 610062 ]; then ok; else bad "a prompt with a zero byte: $(od -c "$work/out" | head -2)"; fi
cp -r "$work/gpt-a" "$work/gpt-nan"
for tensor in ln_f.bias wte.weight; do set_first "$work/gpt-nan/model.safetensors" $tensor 3e38; done
expect 2 "gpt-nan/model.safetensors: these weights give logits that are not finite" "$bin/generate" --model "$work/gpt-nan" --tokens 3
set_first "$work/gpt-nan/model.safetensors" ln_f.bias nan
expect 2 "gpt-nan/model.safetensors: ln_f.bias has a value that is not finite" "$bin/generate" --model "$work/gpt-nan" --tokens 3
# Hugging Face's names of dtypes in its config.json, read back as ours.
if grep -q '"dtype": "float32"' "$work/gpt-a/config.json"; then ok; else bad "no dtype that transformers know: $(grep dtype "$work/gpt-a/config.json")"; fi
expect 0 "" "${gpt[@]}" --dtype bfloat16 --steps 1 --no-save --out "$work/narrow"
if grep -q '"dtype": "bfloat16"' "$work/narrow/config.json" && grep -q '"dtype":"bf16"' "$work/narrow/metrics.jsonl"; then ok; else bad "--dtype bfloat16"; fi
# How images are normalised is taken from a config too, ours or one of timm.
python3 - "$work" <<'PY'
import json, sys
mean, std = [0.25, 0.5, 0.75], [0.2, 0.3, 0.4]
json.dump({"image_mean": mean, "image_std": std}, open(f"{sys.argv[1]}/ours.json", "w"))
PY
expect 0 "" "${vit[@]}" --config "$work/ours.json" --steps 1 --out "$work/shifted"
if tr -d ' \n' <"$work/shifted/config.json" | grep -q '"image_mean":\[0.25,0.5,0.75\]'; then ok; else bad "image_mean of a config: $(grep -A3 image_mean "$work/shifted/config.json")"; fi
touch "$work/a-file"
expect 0 "" "$bin/compare_runs" --out "$work/report.html" "$work/vit-a" "$work/a-file" "$work/gpt-a"
if grep -q "^note: $work/a-file is a file" "$work/out"; then ok; else bad "a file among runs: $(cat "$work/out")"; fi
mkdir "$work/odd"
echo '{"event":"eval","step":1,"split":"test","loss":1,"perplexity":1.7e308}' >"$work/odd/metrics.jsonl"
expect 0 "" timeout 60 "$bin/compare_runs" --out "$work/report.html" "$work/odd"
echo '{"event":"eval","step":1,"split":3}' >"$work/odd/metrics.jsonl"
expect 2 "odd/metrics.jsonl line 1: key 'split': needs a text, got 3" "$bin/compare_runs" --out "$work/report.html" "$work/odd"
expect 0 "" "$bin/compare_runs" --out="$work/report.html" "$work/vit-a/" "$work/gpt-a"
if grep -q "^vit-a " "$work/out" && grep -q "^gpt-a " "$work/out"; then ok; else bad "compare_runs: $(cat "$work/out")"; fi
mkdir "$work/twin"
cp -r "$work/vit-a" "$work/twin/"
expect 0 "" "$bin/compare_runs" --out="$work/report.html" "$work/vit-a" "$work/twin/vit-a" "$work/gpt-a" "$work/gpt-a/."
if grep -q "^$(basename "$work")/vit-a " "$work/out" && grep -q "^twin/vit-a " "$work/out"; then ok; else bad "compare_runs: $(cat "$work/out")"; fi
if grep -q "<title>train_vit" "$work/vit-a/report.html" && grep -q "<th>vit-a</th>" "$work/vit-a/report.html"; then ok; else bad "no name in $work/vit-a/report.html"; fi
# Names are padded to columns of a screen, not to bytes.
cp -r "$work/vit-a" "$work/größe"
expect 0 "" "$bin/compare_runs" --out="$work/report.html" "$work/vit-a" "$work/größe"
sed 's/größe/vit-a/' "$work/out" | grep "^vit-a " >"$work/rows"
if [ "$(wc -l <"$work/rows")" -eq 2 ] && [ "$(sort -u "$work/rows" | wc -l)" -eq 1 ]; then ok; else bad "compare_runs: $(cat "$work/out")"; fi
expect 0 "" "$bin/compare_runs" -h
expect 2 "did you mean --out?" "$bin/compare_runs" --ot "$work/report.html" "$work/vit-a"
expect 2 "no runs given" "$bin/compare_runs"
expect 2 "has no metrics.jsonl" "$bin/compare_runs" "$work/text"

finish
