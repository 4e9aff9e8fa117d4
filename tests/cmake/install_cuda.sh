#!/usr/bin/env bash
# Where nvcc is and cuBLASLt is not: fetches the Python package nvidia-cublas of nvcc's version (about 420 MB) into
# build/cuda-packages, where tests/cmake/cuda.cmake looks. Prints nothing and does nothing where it is not needed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
[ -n "$nvcc" ] || { echo "tests/cmake/install_cuda.sh: no nvcc; install the CUDA toolkit first" >&2; exit 1; }
target=build/cuda-packages
for folder in "$target"/nvidia/cu13 "$(dirname "$nvcc")/.." ; do
  [ ! -f "$folder/include/cublasLt.h" ] || exit 0
done

version=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\.[0-9]*\),.*/\1/p')
echo "Fetching nvidia-cublas $version for CUDA $version into $target"
mkdir -p "$target"
folder=$(mktemp -d "$target/download.XXXXXX")
trap 'rm -rf "$folder"' EXIT
python3 -m pip --version >/dev/null 2>&1 || {
  echo "tests/cmake/install_cuda.sh: needs pip (apt-get install python3-pip)" >&2
  exit 1
}
python3 -m pip download -q --no-deps --only-binary=:all: -d "$folder" "nvidia-cublas==$version.*"
python3 -m zipfile -e "$folder"/*.whl "$target"
