#!/usr/bin/env bash
# Whether cuDNN has kernels for all attention that the project asks it for, on an A100 and an H200, without a GPU: builds
# the plans, carries out none. Needs a configured build/cuda that found cuDNN; fetches the whole of cuDNN and NVRTC (about
# 460 MB for 9.19) into build/cudnn_plans. Not a part of tests/run.sh.
#
#   bash tests/cuda/cudnn_plans/check.sh [VERSION…]      of cuDNN; 9.19.* if none is named
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

cmake --build build/cuda --target cudnn_plans -j "$(nproc)"
folder=build/cudnn_plans
for version in "${@:-9.19.*}"; do
  packages=$folder/${version%.\*}
  if [ ! -d "$packages/nvidia" ]; then
    rm -rf "$packages" "$packages.new"
    python3 -m pip download -q --no-deps -d "$packages.new" "nvidia-cudnn-cu13==$version" "nvidia-cuda-nvrtc==13.0.*"
    for wheel in "$packages.new"/*.whl; do python3 -m zipfile -e "$wheel" "$packages.new"; done
    rm "$packages.new"/*.whl
    mv "$packages.new" "$packages"
  fi
  libraries=build/cuda/tests/cuda/cudnn_plans:$packages/nvidia/cudnn/lib:$packages/nvidia/cu13/lib
  LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} build/cuda/bin/cudnn_plans
done
