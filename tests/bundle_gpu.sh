#!/usr/bin/env bash
# Packs what tests/gpu.sh needs of a CUDA build into build/gpu_bundle.tar.xz: the stripped programs and the shared
# libraries that they use, except those of C and C++, which every Linux with CUDA has, and cuBLASLt, which is CUDA's.
#
#   bash tests/bundle_gpu.sh build/cuda
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-build/cuda}
programs=(test_cuda test_kernels train_gpt train_vit generate compress bench_layers bench_optimizers)
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
mkdir "$bundle/bin" "$bundle/lib"
for program in "${programs[@]}"; do
  [ -x "$build/bin/$program" ] || { echo "tests/bundle_gpu.sh: $build/bin/$program is missing; build it first" >&2; exit 1; }
  strip -o "$bundle/bin/$program" "$build/bin/$program"
done
ldd "$bundle"/bin/* | awk '$3 ~ /^\// { print $3 }' | sort -u |
  grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux[^/]*)\.so|libcublas' | xargs -I{} cp -L {} "$bundle/lib/"
git describe --always --dirty >"$bundle/revision"
tar -C "$bundle" -cf - . | xz -T1 -6 >build/gpu_bundle.tar.xz
du -h build/gpu_bundle.tar.xz
