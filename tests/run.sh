#!/usr/bin/env bash
# Installs what is missing, builds the release preset and runs all tests, in under 15 minutes on two cores. Tests that
# read real data find it through ASHLAR_DATA and skip without it.
#
#   bash tests/run.sh          optimised
#   bash tests/run.sh dev      with ASan, UBSan and warnings as errors, without the slow tests: about 20 minutes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

preset=${1:-release}
case "$preset" in
  release | dev) ;;
  *) echo "tests/run.sh: unknown preset $preset; valid: release, dev" >&2; exit 2 ;;
esac

bash tests/cmake/install_dependencies.sh
if ! printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*//p')" | sort -VC; then
  echo "tests/run.sh: needs CMake 3.25 or newer (Debian 12, Ubuntu 24.04), found $(cmake --version | head -1)" >&2
  exit 1
fi

jobs=$(nproc)
options=()
if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
generator=()
if command -v ninja >/dev/null && [ ! -f "build/$preset/CMakeCache.txt" ]; then generator=(-G Ninja); fi
cmake --preset "$preset" -DASHLAR_TESTS=ON "${generator[@]}" "${options[@]}"
cmake --build --preset "$preset" -j "$jobs"
# One test at a time: the programs use all cores themselves.
select=()
[ "$preset" = release ] || select=(-LE slow)
failed=0
ctest --preset "$preset" "${select[@]}" || failed=1
echo "tests/run.sh took $SECONDS seconds"
exit "$failed"
