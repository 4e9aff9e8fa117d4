#!/usr/bin/env bash
# Proves that every header includes what it needs. A header that some source file of a room includes before anything else is
# proved by the build; the others are compiled on their own here, without generating code. Tests prove nothing: they are built
# with precompiled headers.
# Usage: headers.sh <repository> <compiler> [flags…]
set -euo pipefail
cd "$1"
compiler=$2
shift 2

rooms=()
for room in core kernels autograd layers optim data examples; do [ -d "$room" ] && rooms+=("$room"); done
# Files named -inl.h belong to Highway's foreach_target and are meant to be included in the middle of another file.
headers=$(find "${rooms[@]}" -name '*.h' ! -name '*-inl.h' | sort)
[ -n "$headers" ] || { echo "no headers found"; exit 1; }

unguarded=$(xargs grep -L '^#pragma once' <<<"$headers" || true)
[ -z "$unguarded" ] || { echo "without #pragma once: $unguarded"; exit 1; }

proved=$(find "${rooms[@]}" \( -name '*.cpp' -o -name '*.cu' \) -print0 |
  xargs -0 awk 'FNR == 1 { seen = 0 } !seen && /^#include/ { gsub(/"/, "", $2); print $2; seen = 1 }' | sort -u)
rest=$(comm -23 <(echo "$headers") <(echo "$proved"))

check() {
  header=$1
  shift
  printf '#include "%s"\n' "$header" | "$@" -x c++ -fsyntax-only -I. - || {
    echo "$header does not compile on its own"
    return 1
  }
}
export -f check
if [ -n "$rest" ]; then
  xargs -P "$(nproc)" -I{} bash -c 'check "$@"' _ {} "$compiler" "$@" <<<"$rest"
fi
echo "$(wc -l <<<"$headers") headers include what they need; compiled here: $(grep -c . <<<"$rest" || true)"
