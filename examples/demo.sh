#!/usr/bin/env bash
# From nothing to trained models: installs what is missing, builds, trains a BLAST ViT, its dense twin and a small GPT,
# and prints a table. About three minutes of training on two cores.
#
# Data: the folder in ASHLAR_DATA if set, with cifar10-jpeg.tar.gz or images, and text, as --data takes them, in it or in
# folders of it; what data/download.sh has fetched; else what the programs make themselves.
#   MINUTES=0.9   training time of each model
#   OUT=runs/demo where the runs and the report go
set -euo pipefail
# Paths that are given count from where the demo is started.
ASHLAR_DATA=${ASHLAR_DATA:+$(realpath -m "$ASHLAR_DATA")}
out=${OUT:+$(realpath -m "$OUT")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${MINUTES:-0.9}
out=${out:-runs/demo}
if [ -n "$ASHLAR_DATA" ] && [ ! -d "$ASHLAR_DATA" ]; then
  echo "ASHLAR_DATA: there is no folder $ASHLAR_DATA" >&2
  exit 2
fi

bash tests/cmake/install_dependencies.sh --build
options=()
if [ ! -f build/release/CMakeCache.txt ]; then  # else with the tests or without, as it is
  options=(-DASHLAR_TESTS=OFF)
  if command -v ninja >/dev/null; then options+=(-G Ninja); fi
fi
cmake --preset release "${options[@]}" >/dev/null
cmake --build --preset release -j "$(nproc)" --target train_vit train_gpt generate compare_runs
bin=build/release/bin

# has FOLDER PATTERN: from within, as the folder's own name may have the characters of a pattern.
has() { (cd "$1" 2>/dev/null && compgen -G "$2" >/dev/null); }
# The first of ASHLAR_DATA and the folders in it that has a file or folder of one of these patterns.
data_folder() {
  local folder pattern
  for folder in "$ASHLAR_DATA" "$ASHLAR_DATA/wikitext-2" "$ASHLAR_DATA"/*/; do
    for pattern; do
      if has "$folder" "$pattern"; then echo "$folder"; return; fi
    done
  done
  echo "ASHLAR_DATA: no $what in $ASHLAR_DATA and its folders (looked for $*); taking fetched or made-up $what" >&2
}

images=()
text=()
if [ -n "$ASHLAR_DATA" ]; then
  if [ -f "$ASHLAR_DATA/cifar10-jpeg.tar.gz" ]; then
    if [ ! -d "$out/cifar10/test" ]; then
      echo "unpacking $ASHLAR_DATA/cifar10-jpeg.tar.gz"
      mkdir -p "$out/cifar10.part"
      tar -xzf "$ASHLAR_DATA/cifar10-jpeg.tar.gz" -C "$out/cifar10.part"
      mv "$out/cifar10.part" "$out/cifar10"
    fi
    images=(--data "$out/cifar10")
  else
    found=$(what=images data_folder data_batch_1.bin train.bin 'train/*/')
    if [ -n "$found" ]; then images=(--data "$found"); fi
  fi
  alone=("$ASHLAR_DATA"/*.txt)
  if [ ${#alone[@]} = 1 ] && [ -f "${alone[0]}" ] && ! has "$ASHLAR_DATA" '*.bin'; then found=${alone[0]}
  else found=$(what=text data_folder 'wiki.train.*' '*train*.txt'); fi
  if [ -n "$found" ]; then text=(--data "$found"); fi
fi

vit=(--minutes "$minutes" --batch 64 --depth 4 --width 128 --heads 4 --no-class-token --label-smoothing 0 --log-every 5)
gpt=(--minutes "$minutes" --batch 8 --depth 4 --width 128 --heads 4 --context 128 --vocab 2048 --log-every 5 --eval-windows 64)
echo "== ViT with BLAST weights at half the multiply-accumulates"
"$bin/train_vit" "${images[@]}" "${vit[@]}" --layer blast:blocks=4,ratio=0.5 --overwrite --out "$out/vit_blast"
echo "== its dense twin"
"$bin/train_vit" "${images[@]}" "${vit[@]}" --overwrite --out "$out/vit_dense"
echo "== GPT with BLAST weights"
"$bin/train_gpt" "${text[@]}" "${gpt[@]}" --layer blast:blocks=4,ratio=0.5 --overwrite --out "$out/gpt_blast"
echo "== some text from it"
"$bin/generate" --model "$out/gpt_blast" --prompt "The " --tokens 60
echo
"$bin/compare_runs" --out "$out/report.html" "$out/vit_blast" "$out/vit_dense" "$out/gpt_blast"
