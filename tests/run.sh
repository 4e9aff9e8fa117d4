#!/usr/bin/env bash
# Installs what is missing, builds the release preset and runs all tests, in under 15 minutes on two cores. Tests that
# read real data find it through ASHLAR_DATA and skip without it. The CUDA kernels run in an emulator; where nvcc is, they
# are compiled and linked too, and running that takes a GPU and tests/gpu.sh. ASHLAR_CUDA=off leaves nvcc out, on insists
# on it; with auto, as without, it is left out, and said to be, where cuBLASLt can neither be found nor fetched.
#
#   bash tests/run.sh          optimised
#   bash tests/run.sh dev      with ASan, UBSan and warnings as errors, without the slow tests: about 20 minutes
#   CXX=clang++ bash tests/run.sh    in a fresh clone: with clang 14 or newer and its libomp-dev
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
case "$preset" in
  release | dev) ;;
  *) echo "tests/run.sh: unknown preset $preset; valid: release, dev" >&2; exit 2 ;;
esac
cuda=${ASHLAR_CUDA:-auto}
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
case "$cuda" in
  auto | off) ;;
  on)
    [ "$preset" = release ] || { echo "tests/run.sh: ASHLAR_CUDA=on, and only the preset release compiles for CUDA" >&2; exit 1; }
    [ -x "$nvcc" ] || { echo "tests/run.sh: ASHLAR_CUDA=on, and there is no nvcc; install the CUDA toolkit" >&2; exit 1; } ;;
  *) echo "tests/run.sh: ASHLAR_CUDA=$cuda is unknown; valid: auto, on, off" >&2; exit 2 ;;
esac

bash tests/cmake/install_dependencies.sh

jobs=$(nproc)
options=()
if command -v ccache >/dev/null; then
  options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}  # else it keeps nothing that a precompiled header is in
  # Else a header whose comments changed leaves its precompiled one in the cache, where g++ takes the two for different files
  # and reads both.
  export CCACHE_COMMENTS=1
fi
generator=()
if command -v ninja >/dev/null && [ ! -f "build/$preset/CMakeCache.txt" ]; then generator=(-G Ninja); fi
cmake --preset "$preset" -DASHLAR_TESTS=ON "${generator[@]}" "${options[@]}"
cmake --build --preset "$preset" -j "$jobs"
select=()
[ "$preset" = release ] || select=(-LE slow)
failed=0
ctest --preset "$preset" -j "$jobs" "${select[@]}" || failed=1
grep -h 'skipped: ' "build/$preset/Testing/Temporary/LastTest.log" | sort | uniq -c || true
# The CUDA kernels: all compiled and linked into one program; what is built on them is the same code as above.
if [ "$preset" = release ] && [ "$cuda" != off ] && [ -x "$nvcc" ]; then
  if command -v ccache >/dev/null; then options+=(-DCMAKE_CUDA_COMPILER_LAUNCHER=ccache); fi
  generator=()
  if command -v ninja >/dev/null && [ ! -f build/cuda_link/CMakeCache.txt ]; then generator=(-G Ninja); fi
  if ! bash tests/cmake/install_cuda.sh; then
    echo "tests/run.sh: the CUDA kernels were not compiled: no cuBLASLt" >&2
    [ "$cuda" = auto ] || failed=1
  else
    # Only to compile and link what CUDA concerns: the host's code stays as it is written, and kernels are optimised as little as
    # nvcc can. No source asks for the GPU's architecture, so what compiles for the oldest does for all.
    if "$nvcc" --help | grep -e --Ofast-compile >/dev/null; then options+=(-DCMAKE_CUDA_FLAGS=--Ofast-compile=max); fi
    { cmake --preset cuda -B build/cuda_link -DASHLAR_TESTS=ON -DCMAKE_BUILD_TYPE=None -DCMAKE_CUDA_ARCHITECTURES=80 \
        -DASHLAR_CPU_BUILD="$PWD/build/release" "${generator[@]}" "${options[@]}" &&
      cmake --build build/cuda_link -j "$jobs" --target cuda_link && build/cuda_link/bin/cuda_link; } || failed=1
  fi
fi
echo "tests/run.sh took $SECONDS seconds"
exit "$failed"
