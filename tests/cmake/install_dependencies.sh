#!/usr/bin/env bash
# Installs what Ashlar is built on and is not there yet, through apt, as root or with sudo. Without either it says what
# to install and fails. On systems without apt it says what is needed and leaves the rest to CMake, which names whatever
# it does not find. (The same list as dependencies.cmake, beside this file.)
set -euo pipefail

packages=(g++ cmake ninja-build git curl ca-certificates libdnnl-dev libhwy-dev liblapacke-dev libopenblas-dev
  nlohmann-json3-dev libstb-dev libpcre2-dev libboost-context-dev catch2 python3)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "This system has no apt; Ashlar needs what Debian calls: ${packages[*]}"
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  # sudo may ask for a password only where somebody can type it.
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    echo "These packages are missing; install them and try again:" >&2
    echo "  apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
echo "Installing ${missing[*]}"
run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 "$@"; }
run update
run install -y --no-install-recommends "${missing[@]}"
