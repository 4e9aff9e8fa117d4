#!/usr/bin/env bash
# Builds for Arm64 on a Debian 12 with an x86-64 processor and runs all rooms' tests under QEMU. That the instructions are
# right is seen so, how fast they are on a real processor is not. About 10 minutes on two cores, no part of tests/run.sh. As
# root: it installs a cross compiler and QEMU, and unpacks Arm64's packages (0.4 GB) below build/arm64.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=/dev/null
. /etc/os-release
if [ "$(dpkg --print-architecture) $ID" != "amd64 debian" ] || [ "$(id -u)" != 0 ]; then
  echo "tests/arm64.sh: needs Debian on x86-64, and root; on an Arm64 machine run tests/run.sh" >&2
  exit 2
fi
bash tests/cmake/install_dependencies.sh
bash tests/cmake/install_dependencies.sh --only g++-aarch64-linux-gnu qemu-user mmdebstrap

root=$PWD/build/arm64/root
if [ ! -f "$root/unpacked" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  cpp="libc6-dev,libgomp1,libstdc++-$(aarch64-linux-gnu-g++ -dumpversion)-dev"
  libraries=$(bash tests/cmake/install_dependencies.sh --list | grep -E '^(lib|nlohmann|catch2)' | paste -sd,)
  mmdebstrap --variant=extract --architectures=arm64 --include="$cpp,$libraries" "$VERSION_CODENAME" "$root"
  # What the packages' scripts would do, which cannot run here: OpenBLAS is the system's BLAS.
  for folder in "$root"/usr/include/aarch64-linux-gnu "$root"/usr/lib/aarch64-linux-gnu; do
    for file in "$folder"/openblas-pthread/*.*; do ln -sf "openblas-pthread/${file##*/}" "$folder/"; done
  done
  touch "$root/unpacked"
fi

cmake -S . -B build/arm64 -G Ninja -DCMAKE_BUILD_TYPE=Release -DASHLAR_TESTS=ON \
  -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_SYSROOT="$root" \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-L;$root" \
  -DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY -DCMAKE_FIND_ROOT_PATH_MODE_PACKAGE=ONLY
rooms=(core kernels autograd layers optim data examples)
cmake --build build/arm64 --target "${rooms[@]/#/test_}"
OMP_NUM_THREADS=$(nproc) ctest --test-dir build/arm64 --output-on-failure -R "^($(IFS='|'; echo "${rooms[*]}"))\$"
echo "tests/arm64.sh took $SECONDS seconds"
