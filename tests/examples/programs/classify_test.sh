#!/usr/bin/env bash
# classify from outside: the classes that training saw, of images of any size and format, and what it refuses.
#   classify_test.sh BIN   (the folder with the programs)
source "$(dirname "${BASH_SOURCE[0]}")/support.sh"
vit+=(--lr 0.01)
train vit
classify=("$bin/classify" --model "$work/vit-a")

# ---- what the run's evaluation found is found again; all classes, in their order and in columns, are 100 % together
cd "$work/images/test" || exit 1
expect 0 "" "${classify[@]}" --top 9 --threads 1 */*.bmp
cp "$work/out" "$work/both"
figure() { grep '"eval"' "$work/vit-a/metrics.jsonl" | tail -n 1 | grep -o "\"$1\":[0-9.]*" | cut -d: -f2; }
if [ "$(grep -cE '^(cat|dog)/[0-4]\.bmp   (cat|dog) [ 0-9]{3}\.[0-9]{2} %   (cat|dog) [ 0-9]{3}\.[0-9]{2} %$' "$work/both")" -eq 10 ] &&
  awk -v accuracy="$(figure accuracy)" -v loss="$(figure loss)" '
    { split($1, path, "/"); right += path[1] == $2; found -= log((path[1] == $2 ? $3 : $6) / 100)
      if ($3 + $6 < 99.98 || $3 + $6 > 100.02 || $3 < $6 || $2 == $5) exit 1 }
    END { exit !(accuracy > 0.5 && (right / NR - accuracy) ^ 2 < 1e-12 && (found / NR - loss) ^ 2 < 1e-6) }' "$work/both"; then
  ok
else
  bad "accuracy $(figure accuracy), loss $(figure loss): $(cat "$work/both")"
fi
expect 0 "" "${classify[@]}" --top 1 */*.bmp
same "the likeliest class alone" <(sed 's/ %  *.*/ %/' "$work/both") "$work/out"
expect 0 "" "${classify[@]}" --top 9 --dtype bf16 */*.bmp
if paste "$work/both" "$work/out" | awk '
    { if ($1 != $8 || $2 != $9 || ($3 - $10) ^ 2 > 0.25) exit 1; others += $3 != $10 } END { exit !(NR == 10 && others > 0) }'; then
  ok
else
  bad "in f32 and bf16: $(paste "$work/both" "$work/out")"
fi

# ---- other formats, depths and sizes of one image are one image
python3 - "$work" <<'PY'
import struct, sys, zlib
def chunk(name, data): return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
def png(name, width, height, kind, pixel):  # kind 0: grey, 2: RGB, 6: RGBA
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    open(f"{sys.argv[1]}/{name}", "wb").write(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
shade = lambda x, y: (x * 9 + y * 17) % 256
flat = lambda x, y: 3 * (90,)
png("small.png", 8, 8, 2, lambda x, y: 3 * (shade(x, y),))
png("grey.png", 8, 8, 0, lambda x, y: (shade(x, y),))
png("alpha.png", 8, 8, 6, lambda x, y: 3 * (shade(x, y),) + (x * 30,))
png("wide.png", 28, 8, 2, lambda x, y: 3 * (shade(x - 10, y),) if 10 <= x < 18 else (255, 0, 0))
png("flat.png", 8, 8, 2, flat)
png("large.png", 1200, 900, 2, flat)
png("dot.png", 1, 1, 2, flat)
import os, random
random.seed(1)
for split, count in ("train", 24), ("test", 5):
    for name, least in ("cat", 30), ("dog", 150):
        os.makedirs(f"{sys.argv[1]}/mixed/{split}/{name}")
        for i in range(count):
            pixel = lambda x, y: [least + random.randrange(40) for _ in range(3)]
            png(f"mixed/{split}/{name}/{i}.png", random.randrange(5, 40), random.randrange(5, 40), 2, pixel)
PY
cd "$work" || exit 1
of() { grep "^$1" "$work/out" | sed 's/^[^ ]* *//'; }
expect 0 "" "${classify[@]}" small.png grey.png alpha.png wide.png flat.png large.png dot.png
cp "$work/out" "$work/all"
for other in grey alpha wide; do same "$other.png" <(of small.png) <(of $other.png); done
for other in large dot; do same "$other.png" <(of flat.png) <(of $other.png); done
differs "two images" <(of small.png) <(of flat.png)
if [ "$(awk '{ print length($0) }' "$work/out" | sort -u | wc -l)" -eq 1 ]; then ok; else bad "columns: $(cat "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/vit-a/model.safetensors" --layer dense --out "$work/dense"
expect 0 "" "$bin/classify" --model "$work/dense" small.png grey.png alpha.png wide.png flat.png large.png dot.png
same "a compressed ViT" "$work/all" "$work/out"

# ---- more images than are looked at together
mapfile -t many < <(for _ in {1..70}; do echo small.png; done)
expect 0 "" "${classify[@]}" "${many[@]}"
if [ "$(sort -u "$work/out" | wc -l) $(wc -l <"$work/out")" = "1 70" ]; then ok; else bad "many images: $(sort "$work/out" | uniq -c)"; fi

# ---- what is refused; other images are classified
echo "no image" >text.png
expect 2 "cannot decode text.png (9 bytes): unknown image type; give a PNG, JPEG or BMP file" "${classify[@]}" small.png text.png
if [[ "$(cat "$work/out")" = "small.png   "* ]]; then ok; else bad "beside an image that cannot be read: $(cat "$work/out")"; fi
expect 2 "cannot decode text.png (9 bytes): unknown image type; give a PNG, JPEG or BMP file; cannot read none.png" "${classify[@]}" text.png small.png none.png
expect 2 "cannot decode text.png" "${classify[@]}" text.png
if [ -s "$work/out" ]; then bad "something was told of no image: $(cat "$work/out")"; else ok; fi
head -c 60 small.png >cut.png
expect 2 "cannot decode cut.png" "${classify[@]}" cut.png
expect 2 "cannot read missing.png: No such file" "${classify[@]}" missing.png
expect 2 "cannot read $work/images: Is a directory" "${classify[@]}" "$work/images"
expect 2 "no images given; name the files of some" "${classify[@]}"
expect 2 "IMAGE: the path is empty" "${classify[@]}" ""
expect 2 "--model DIR is needed, the --out of train_vit" "$bin/classify" small.png
expect 2 "--model $work/vit-a/model.safetensors is a file; give its folder, $work/vit-a" "$bin/classify" --model "$work/vit-a/model.safetensors" small.png
expect 2 "--top: needs at least 1" "${classify[@]}" --top 0 small.png
cp -r "$work/vit-a" "$work/nan"
for tensor in norm.bias head.weight; do set_first "$work/nan/model.safetensors" $tensor 3e38; done
expect 2 "nan/model.safetensors: these weights give logits that are not finite" "$bin/classify" --model "$work/nan" small.png
set_first "$work/nan/model.safetensors" head.bias nan
expect 2 "nan/model.safetensors: head.bias has a value that is not finite" "$bin/classify" --model "$work/nan" small.png
train gpt
expect 2 "gpt-a/config.json: belongs to a GPT-2, a model of train_gpt; give a ViT, such as train_vit leaves, or use generate" \
  "$bin/classify" --model "$work/gpt-a" small.png

# ---- images of differing sizes, at the size that the run has
mixed=("${vit[0]}" --data "$work/mixed" "${vit[@]:3}")
expect 2 "; all must have one size, or be given one with --image N" "${mixed[@]}" --steps 1 --out "$work/x"
expect 2 "--image: needs at most 65536" "${mixed[@]}" --image 65537 --steps 1 --out "$work/x"
expect 2 "image size 10 must be a multiple of patch 4" "${mixed[@]}" --image 10 --steps 1 --out "$work/x"
expect 0 "" "${mixed[@]}" --decay constant --warmup 0 --image 12 --steps 20 --out "$work/mixed-a"
if grep -q "2 class folders of 12x12 images" "$work/out"; then ok; else bad "no word of the size: $(cat "$work/out")"; fi
expect 0 "" "${mixed[@]}" --decay constant --warmup 0 --image 12 --steps 10 --out "$work/mixed-b"
expect 0 "" "$bin/train_vit" --resume --steps 20 --out "$work/mixed-b"
same "resumed at its size" "$work/mixed-a/model.safetensors" "$work/mixed-b/model.safetensors"
expect 0 "" "$bin/classify" --model "$work/mixed-a" --top 1 mixed/test/*/*.png
if [ "$(awk '{ split($1, path, "/"); right += path[3] == $2 } END { print right }' "$work/out")" -ge 8 ]; then ok; else bad "images of differing sizes: $(cat "$work/out")"; fi
expect 0 "" "$bin/compress" --in "$work/mixed-a/model.safetensors" --layer dense --data "$work/mixed" --batch 8 --out "$work/mixed-dense"
same "an evaluation at the model's size" <(grep -o 'test loss .*' "$work/out" | head -n 1) \
  <(awk -F'[:,]' '/"eval"/ { for (i = 1; i < NF; ++i) { if ($i == "\"loss\"") l = $(i + 1); if ($i == "\"accuracy\"") a = $(i + 1) }
      printf "test loss %.6g, accuracy %.6g %%\n", l, 100 * a }' "$work/mixed-a/metrics.jsonl" | tr -d '}')

# ---- a run from before its config told of its data: both remedies
cp -r "$work/vit-a" "$work/old"
python3 - "$work/old/config.json" <<'PY'
import json, sys
config = json.load(open(sys.argv[1]))
for key in ("image_mean", "image_std", "class_names"): del config[key]
json.dump(config, open(sys.argv[1], "w"))
PY
expect 2 "old/config.json: key 'image_mean': is missing" "$bin/classify" --model "$work/old" small.png
expect 0 "" "$bin/train_vit" --config "$work/old/config.json" --init-from "$work/old/model.safetensors" --steps 0 --out "$work/new"
expect 0 "" "$bin/train_vit" --resume --out "$work/old"
for remedy in new old; do
  expect 0 "" "$bin/classify" --model "$work/$remedy" small.png grey.png alpha.png wide.png flat.png large.png dot.png
  same "a config that was completed ($remedy)" "$work/all" "$work/out"
done

finish
