#!/usr/bin/env bash
# Installs what is missing, builds and runs all tests: the release build, then the fast tests once more with ASan, UBSan
# and warnings as errors. Tests that read real data find it through ASHLAR_DATA and skip without it.
#
#   bash tests/run.sh                  everything, under 15 minutes on two cores
#   bash tests/run.sh --release        the release build alone
#
# The sanitizers are left out, and it says so, when the release build and its tests took longer than 8 minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(release dev)
case "${1:-}" in
  "") ;;
  --release) presets=(release) ;;
  *) echo "tests/run.sh: unknown argument $1; valid: --release" >&2; exit 2 ;;
esac
latest_dev_start=480 # seconds

bash tests/cmake/install_dependencies.sh
if ! printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*//p')" | sort -VC; then
  echo "tests/run.sh: needs CMake 3.25 or newer (Debian 12, Ubuntu 24.04), found $(cmake --version | head -1)" >&2
  exit 1
fi

jobs=$(nproc)
options=()
if command -v ccache >/dev/null; then options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
summary=""
failed=0
for preset in "${presets[@]}"; do
  if [ "$preset" = dev ] && [ "$SECONDS" -gt "$latest_dev_start" ]; then
    summary+="dev: not run, the release build and its tests took $SECONDS seconds"$'\n'
    break
  fi
  echo "== $preset"
  generator=()
  if command -v ninja >/dev/null && [ ! -f "build/$preset/CMakeCache.txt" ]; then generator=(-G Ninja); fi
  cmake --preset "$preset" "${generator[@]}" "${options[@]}"
  cmake --build --preset "$preset" -j "$jobs"
  # One test at a time: the programs use all cores themselves.
  select=()
  [ "$preset" = release ] || select=(-LE slow)
  log="build/$preset/ctest.log"
  ctest --preset "$preset" "${select[@]}" 2>&1 | tee "$log" || failed=1
  summary+=$(sed -n '/tests passed/,$p' "$log" | sed "/^ *$/d; s/^/$preset: /")$'\n'
done
echo
printf '%s' "$summary"
echo "tests/run.sh took $SECONDS seconds"
exit "$failed"
