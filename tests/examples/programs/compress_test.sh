#!/usr/bin/env bash
# compress from outside: there and back, on from what it wrote, what it refuses.
#   compress_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"
train vit
train gpt
cp -r "$work/vit-a" "$work/vit-b"

# ---- compress, there and back, and on from what it wrote
expect 0 "" "$bin/compress" --in "$work/vit-a/model.safetensors" --layer dense --out "$work/vit-dense" --data "$work/images"
if grep -q "relative error 0.0000" "$work/out" && [ "$(grep -c "test loss" "$work/out")" -eq 2 ]; then ok; else bad "compress to dense: $(cat "$work/out")"; fi
if grep -qE "^compress: cpu, [0-9]+ threads?, f32, " "$work/out"; then ok; else bad "compress does not tell its device: $(head -1 "$work/out")"; fi
of_data() { python3 -c "import json, sys; c = json.load(open(sys.argv[1])); print(c['image_mean'], c['image_std'], c['class_names'])" "$1/config.json"; }
same "what a compressed ViT knows of its data" <(of_data "$work/vit-a") <(of_data "$work/vit-dense")
expect 0 "" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --out "$work/vit-again" --device cpu
same "dense to dense" "$work/vit-dense/model.safetensors" "$work/vit-again/model.safetensors"
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer blast:blocks=2,rank=8 --layer-at fc1,fc2 --out "$work/gpt-blast" --data "$work/text"
expect 0 "" "$bin/generate" --model "$work/gpt-blast" --tokens 5
expect 0 "" "$bin/train_gpt" --config "$work/gpt-blast/config.json" --init-from "$work/gpt-blast/model.safetensors" --steps 2 --out "$work/gpt-on"
expect 0 "" "$bin/train_vit" --config "$work/vit-dense/config.json" --init-from "$work/vit-dense/model.safetensors" --lr 0 --steps 1 --out "$work/vit-on"
same "training on at learning rate 0" "$work/vit-dense/model.safetensors" "$work/vit-on/model.safetensors"
expect 2 "and not dense; project them with compress" "$bin/train_vit" --config "$work/vit-dense/config.json" --init-from "$work/vit-a/model.safetensors" --steps 1 --out "$work/x"
expect 2 "rank must be from 1 to" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer low_rank:rank=99 --out "$work/y"
expect 2 "is the folder of --in" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --out "$work/vit-dense"
expect 2 "--layer-at: names no place" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --layer-at "" --out "$work/y"
expect 2 "--weighting and --samples need --calibrate" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --samples 8 --out "$work/y"
expect 2 "--layer-at: 'fc3' is unknown" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer dense --layer-at fc3 --out "$work/y"
expect 2 "layer 'low_rank:ratio=0.1' for blocks.0.attn.qkv (16 -> 48): no rank that is a multiple of 8 keeps 0.1" "$bin/compress" --in "$work/vit-dense/model.safetensors" --layer low_rank:ratio=0.1 --out "$work/y"
# weighted errors, learned from data
dense="$work/vit-dense/model.safetensors"
for weighting in activation fisher; do
  expect 0 "" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/images" --weighting $weighting --samples 12 --out "$work/vit-$weighting"
  if [ "$(grep -c "low_rank:rank=4: relative error .*, weighted 0" "$work/out")" -eq 8 ]; then ok; else bad "compress --weighting $weighting: $(cat "$work/out")"; fi
done
differs "both weightings" "$work/vit-activation/model.safetensors" "$work/vit-fisher/model.safetensors"
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer low_rank:rank=4 --layer-at fc1,fc2 --calibrate "$work/text" --samples 8 --out "$work/gpt-weighted"
for spec in monarch:blocks=2 blast:blocks=2,rank=4 ss1:reduction=2 block_diagonal:blocks=2; do
  expect 0 "" "$bin/compress" --in "$dense" --layer $spec --calibrate "$work/images" --samples 12 --out "$work/vit-weighted" --overwrite
  if [ "$(grep -c ": relative error .*, weighted 0" "$work/out")" -eq 8 ]; then ok; else bad "compress --calibrate to $spec: $(cat "$work/out")"; fi
done
for samples in "20 30" "999 45"; do  # of 48 images, three batches of 15 at most
  expect 0 "" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/images" --batch 15 --samples ${samples% *} --out "$work/vit-samples" --overwrite
  if grep -qE "calibrated by the inputs of ${samples#* } samples" "$work/out"; then ok; else bad "--samples ${samples% *}: $(grep calibrated "$work/out")"; fi
done
expect 2 "Valid: activation, fisher" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/images" --weighting row --out "$work/y"
expect 2 "--calibrate: all matrices are dense already" "$bin/compress" --in "$dense" --layer dense --calibrate "$work/images" --out "$work/y"
# what would do nothing is refused
expect 2 "--factorize is how BLAST is found, and --layer is low_rank:rank=4" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --factorize als --out "$work/y"
expect 2 "--eval-windows needs --data" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer dense --eval-windows 2 --out "$work/y"
expect 2 "--batch needs --data DIR or --calibrate DIR" "$bin/compress" --in "$dense" --layer dense --batch 2 --out "$work/y"
expect 2 "--tokenizer and --eval-windows are for a GPT-2" "$bin/compress" --in "$dense" --layer dense --tokenizer "$work/gpt-a" --out "$work/y"
expect 2 "$work/empty2" "$bin/compress" --in "$dense" --layer low_rank:rank=4 --calibrate "$work/empty2" --out "$work/y"
for factorize in precgd als; do
  expect 0 "" "$bin/compress" --in "$dense" --layer blast:blocks=2,rank=4 --factorize $factorize --out "$work/vit-$factorize"
done
differs "both factorisations" "$work/vit-precgd/model.safetensors" "$work/vit-als/model.safetensors"
# every structure there and back: dense again, and the same network as the structure was
for spec in low_rank:rank=4 monarch:blocks=2 blast:blocks=2,rank=4 ss1:reduction=2,classes=2 block_diagonal:blocks=2,shuffle=1; do
  expect 0 "" "$bin/compress" --in "$dense" --layer $spec --out "$work/there" --data "$work/images"
  there=$(grep -o "^after.*test loss.*" "$work/out" | grep -o "loss .*")
  expect 0 "" "$bin/compress" --in "$work/there/model.safetensors" --layer dense --out "$work/back" --data "$work/images"
  back=$(grep -o "^after.*test loss.*" "$work/out" | grep -o "loss .*")
  if awk -v a="${there//[!0-9. ]/}" -v b="${back//[!0-9. ]/}" 'BEGIN { split(a, x, " "); split(b, y, " "); d = x[1] - y[1]; exit !(x[1] > 0 && d * d < 1e-8) }'; then ok; else bad "$spec and back: '$there' and '$back'"; fi
  rm -r "$work/there" "$work/back"
done
# weights that are not finite are named, and nothing is written; zeros have a projection
for name in nan zero; do
  mkdir "$work/vit-$name"
  cp "$(dirname "$dense")/config.json" "$dense" "$work/vit-$name/"
done
set_first "$work/vit-nan/model.safetensors" blocks.1.mlp.fc1.weight nan
expect 2 "vit-nan/model.safetensors: blocks.1.mlp.fc1.weight has a value that is not finite" \
  "$bin/compress" --in "$work/vit-nan/model.safetensors" --layer low_rank:rank=4 --out "$work/y"
if [ -e "$work/y" ]; then bad "a refused compress made --out"; else ok; fi
python3 - "$work/vit-zero/model.safetensors" <<'PY'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
begin, end = (8 + size + offset for offset in json.loads(raw[8:8 + size])["blocks.1.mlp.fc1.weight"]["data_offsets"])
open(sys.argv[1], "wb").write(raw[:begin] + bytes(end - begin) + raw[end:])
PY
for spec in low_rank:rank=4 blast:blocks=2,rank=4 monarch:blocks=2; do
  expect 0 "" "$bin/compress" --in "$work/vit-zero/model.safetensors" --layer $spec --out "$work/vit-of-zero" --overwrite
done
# a GPT-2 in the names and the config of Hugging Face, with the prefix, tied head and masks that some files have
golden=$(cd "$(dirname "$0")/../../golden/gpt2" && pwd)
mkdir "$work/hf"
cp "$golden/config.json" "$work/hf/"
python3 - "$golden/model.safetensors" "$work/hf/model.safetensors" <<'PY'
import json, struct, sys
raw = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", raw[:8])[0]
header, data = json.loads(raw[8:8 + size]), raw[8 + size:]
header = {name if name == "__metadata__" else "transformer." + name: entry for name, entry in header.items()}
begin, end = header["transformer.wte.weight"]["data_offsets"]
for name, shape, values in (("lm_head.weight", header["transformer.wte.weight"]["shape"], data[begin:end]),
                            ("transformer.h.0.attn.bias", [1, 1, 4, 4], bytes(64))):
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
    data += values
text = json.dumps(header).encode()
open(sys.argv[2], "wb").write(struct.pack("<Q", len(text)) + text + data)
PY
expect 0 "" "$bin/compress" --in "$work/hf/model.safetensors" --layer low_rank:rank=8 --out "$work/hf-low"
if [ "$(grep -c "dense -> low_rank:rank=8: relative error 0" "$work/out")" -eq 8 ]; then ok; else bad "compress of a Hugging Face GPT-2: $(cat "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/hf/model.safetensors" --layer dense --out "$work/hf-dense"
expect 0 "" "$bin/compress" --in "$golden/model.safetensors" --layer dense --out "$work/hf-golden"
same "with prefix and without" "$work/hf-dense/model.safetensors" "$work/hf-golden/model.safetensors"
if python3 -c "
import json, sys
c = json.load(open(sys.argv[1]))
assert (c['width'], c['depth'], c['heads'], c['context']) == (c['n_embd'], c['n_layer'], c['n_head'], c['n_positions'])
assert c['linear']['fc1'] == 'low_rank:rank=8'
assert c['bos_token_id'] == c['eos_token_id'] == 96
" "$work/hf-low/config.json"; then ok; else bad "config of a compressed Hugging Face GPT-2: $(cat "$work/hf-low/config.json")"; fi
# variants of GPT-2 that ours is not, and values of another type, are refused by file, key and value
mkdir "$work/hf-other"
cp "$work/hf/model.safetensors" "$work/hf-other/"
sed 's/"gelu_new"/"relu"/' "$work/hf/config.json" >"$work/hf-other/config.json"
expect 2 "hf-other/config.json: key 'activation_function': 'relu' is not possible; use gelu_new" "$bin/compress" --in "$work/hf-other/model.safetensors" --layer dense --out "$work/y"
sed 's/"n_inner": null/"linear": "dense"/' "$work/hf/config.json" >"$work/hf-other/config.json"
expect 2 "hf-other/config.json: key 'linear': needs an object, got \"dense\"" "$bin/compress" --in "$work/hf-other/model.safetensors" --layer dense --out "$work/y"
expect 2 "$work/hf/config.json/y: Not a directory" "$bin/compress" --in "$work/hf/model.safetensors" --layer dense --out "$work/hf/config.json/y"
if [ -s "$work/out" ]; then bad "compress began before it looked at --out: $(cat "$work/out")"; else ok; fi
if [ -e "$work/y" ]; then bad "a refused compress left $work/y"; else ok; fi
# the command that it prints trains on: from a run of ours, whose folder stays as it was, and from a GPT-2 that is not
train_on() {
  expect 0 "" "$bin/compress" --layer dense "$@"
  printed=$(grep -o "train_[a-z]* .*--config .*" "$work/out")
  # Of a model that no program here has trained the data are not known.
  eval "expect 0 '' \"\$bin\"/${printed/ --data DIR / --data $work/text } --steps 1"
}
# and on the data that a GPT-2 of nobody's run was evaluated with
expect 0 "" "$bin/compress" --in "$work/gpt-a/model.safetensors" --layer dense --out "$work/bare"
python3 - "$work/bare/config.json" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
sizes = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
json.dump({key: config[key] for key in sizes}, open(sys.argv[1], "w"))
PY
train_on --in "$work/bare/model.safetensors" --data "$work/text" --out "$work/bare-on"
if grep -q "\"data\": \"$work/text\"" "$work/bare-on-trained/config.json"; then ok; else bad "trained on other data than those of compress: $(cat "$work/bare-on-trained/config.json")"; fi
cp -r "$work/vit-a" "$work/vit-copy"
train_on --in "$work/vit-copy/model.safetensors" --out "$work/vit-small/"
train_on --in "$work/vit-copy/model.safetensors" --out "$work/vit of a user's"
if diff -r "$work/vit-a" "$work/vit-copy" && [ -s "$work/vit-small-trained/model.safetensors" ]; then ok; else bad "training on from a compressed ViT"; fi
# a head that was new when training began is trained now, and stays
expect 0 "" "${vit[@]}" --init-from "$work/vit-a/model.safetensors" --new-head --steps 1 --out "$work/vit-head"
expect 0 "" "$bin/compress" --in "$work/vit-head/model.safetensors" --layer dense --out "$work/vit-head-dense"
if grep -q '"new_head": true' "$work/vit-head/config.json" && ! grep -q new_head "$work/vit-head-dense/config.json"; then ok; else bad "the config of a compressed run that began with a new head"; fi
# once more, from a run that began with weights of another
train_on --in "$work/vit-small-trained/model.safetensors" --out "$work/vit-smaller"
mkdir "$work/hf-words"
cp "$work/gpt-a/vocab.json" "$work/hf-words/vocab.json"
cp "$work/gpt-a/merges.txt" "$work/hf-words/merges.txt"
"$bin/compress" --in "$work/gpt-a/model.safetensors" --layer dense --out "$work/gpt-dense" >/dev/null
# Hugging Face has the dense model, and must not take the others for it.
if grep -q '"model_type": "gpt2"' "$work/gpt-dense/config.json" && ! grep -q '"gpt2"' "$work/gpt-blast/config.json"; then ok; else bad "model_type"; fi
cp "$work/gpt-dense/model.safetensors" "$work/hf-words/"
python3 -c "
import json, sys
hf, ours = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
json.dump({key: ours[key] if key.startswith('n_') or key == 'vocab_size' else value for key, value in hf.items()}, sys.stdout)
" "$golden/config.json" "$work/gpt-dense/config.json" >"$work/hf-words/config.json"
train_on --in "$work/hf-words/model.safetensors" --out "$work/hf-small"
if grep -q "train_gpt --data DIR --config" <<<"$printed"; then ok; else bad "what is printed for a model of unknown data: $printed"; fi
mkdir "$work/hf-words/bare"
cp "$work/hf-words/"{config.json,model.safetensors} "$work/hf-words/bare/"
expect 2 "$work/hf-small holds a vocabulary and $work/hf-words/bare none" "$bin/compress" --in "$work/hf-words/bare/model.safetensors" --layer dense --out "$work/hf-small" --overwrite
same "the vocabulary of a compressed GPT-2" "$work/hf-words/merges.txt" "$work/hf-small-trained/merges.txt"
expect 2 "--out $work/vit-b holds the checkpoint of an earlier run" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-b"
expect 2 "--out $work/vit-zero holds model.safetensors" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-zero"
same "a run that compress was not to replace" "$work/vit-a/model.safetensors" "$work/vit-b/model.safetensors"
expect 0 "" "$bin/compress" --in "$dense" --layer dense --out "$work/vit-b" --overwrite
same "what compress was to replace" "$dense" "$work/vit-b/model.safetensors"
if [ -z "$(ls "$work/vit-b" | grep -v -e config.json -e model.safetensors -e checkpoint)" ]; then ok; else bad "of a replaced run stays $(ls "$work/vit-b")"; fi

finish
