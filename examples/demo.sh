#!/usr/bin/env bash
# From nothing to trained models: installs what is missing, builds, trains a BLAST ViT, its dense twin and a small GPT,
# and prints a table. About three minutes of training on two cores.
#
# Data: the folder in ASHLAR_DATA if set; what data/download.sh has fetched; else what the programs make themselves.
#   MINUTES=0.9   training time of each model
#   OUT=runs/demo where the runs and the report go
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes=${MINUTES:-0.9}
out=${OUT:-runs/demo}

bash tests/cmake/install_dependencies.sh
generator=()
if command -v ninja >/dev/null && [ ! -f build/release/CMakeCache.txt ]; then generator=(-G Ninja); fi
cmake --preset release "${generator[@]}" -DASHLAR_TESTS=OFF >/dev/null
cmake --build --preset release -j "$(nproc)"
bin=build/release/bin

images=()
text=()
if [ -n "${ASHLAR_DATA:-}" ]; then
  if [ -f "$ASHLAR_DATA/cifar10-jpeg.tar.gz" ]; then
    if [ ! -d "$out/cifar10/test" ]; then
      echo "unpacking $ASHLAR_DATA/cifar10-jpeg.tar.gz"
      mkdir -p "$out/cifar10.part"
      tar -xzf "$ASHLAR_DATA/cifar10-jpeg.tar.gz" -C "$out/cifar10.part"
      mv "$out/cifar10.part" "$out/cifar10"
    fi
    images=(--data "$out/cifar10")
  fi
  if [ -d "$ASHLAR_DATA/wikitext-2" ]; then text=(--data "$ASHLAR_DATA/wikitext-2"); fi
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
