#!/usr/bin/env bash
# Packs what tests/gpu.sh needs of a CUDA build into build/gpu_bundle.tar.xz: the stripped programs and the shared
# libraries that they use, except those of C and C++, which every Linux with CUDA has, and cuBLASLt, which is part of the
# machine. So is cuDNN, but for the small library that loads the others: with it alone the programs start, and find none.
# What is not up to date is built first: the bundle has the name of the commit, and must not be of an older one.
#
#   cmake --preset cuda -DASHLAR_TESTS=ON && bash tests/bundle_gpu.sh build/cuda
set -euo pipefail
# A path that is given counts from where the script is started.
build=${1:+$(realpath -m "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${build:-build/cuda}
[ -d "$build" ] || { echo "tests/bundle_gpu.sh: there is no $build; cmake --preset cuda -DASHLAR_TESTS=ON makes build/cuda" >&2; exit 1; }
programs=(cuda_link test_cuda test_kernels train_gpt train_vit generate compress bench_layers bench_optimizers)
if ! grep -qs sm_90a "$build/build.ninja" && ! grep -rqs --include=flags.make sm_90a "$build"; then
  echo "tests/bundle_gpu.sh: $build has no code for 9.0a: a Hopper would compile it in every process, for 8.0;" \
    "configure without CMAKE_CUDA_ARCHITECTURES" >&2
  exit 1
fi
if ! cmake --build "$build" -j "$(nproc)" --target "${programs[@]}"; then
  echo "tests/bundle_gpu.sh: $build cannot be built; if it has not all of these targets, configure it with -DASHLAR_TESTS=ON" >&2
  exit 1
fi
bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
mkdir -p "$bundle/bin" "$bundle/lib/last"
for program in "${programs[@]}"; do strip -o "$bundle/bin/$program" "$build/bin/$program"; done
ldd "$bundle"/bin/* | sed -nE 's|.* => (/.*) \(0x.*|\1|p' | sort -u |
  grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|ld-linux[^/]*)\.so|libcublas' | xargs -d '\n' -I{} cp -L {} "$bundle/lib/"
for library in "$bundle"/lib/libcudnn*; do [ ! -e "$library" ] || mv "$library" "$bundle/lib/last/"; done
git describe --always --dirty >"$bundle/revision"
# The programs have most of their code in common: a dictionary that spans them all halves the file.
tar -C "$bundle" -cf - . | xz -T1 --lzma2=preset=1,dict=256MiB >build/gpu_bundle.tar.xz
du -h build/gpu_bundle.tar.xz
