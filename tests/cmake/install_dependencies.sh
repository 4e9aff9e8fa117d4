#!/usr/bin/env bash
# Installs what Ashlar is built on and is not there yet, through apt, as root or with sudo. Without either it says what
# to install and fails. On systems without apt it says what is needed and leaves the rest to CMake, which names whatever
# it does not find. (The same list as dependencies.cmake, beside this file.)
#
#   install_dependencies.sh              for the programs and the tests
#   install_dependencies.sh --programs   for the programs alone
#   install_dependencies.sh --list       only names the packages
set -euo pipefail

packages=(g++ cmake ninja-build git ca-certificates libdnnl-dev libhwy-dev liblapacke-dev libopenblas-dev nlohmann-json3-dev
  libstb-dev libpcre2-dev)
[ "${1:-}" = --programs ] || packages+=(curl libboost-context-dev catch2 python3)

if [ "${1:-}" = --list ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

check_cmake() {
  printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*//p')" | sort -VC ||
    { echo "Ashlar needs CMake 3.25 or newer (Debian 12, Ubuntu 24.04), found $(cmake --version | head -1)" >&2; exit 1; }
}
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "This system has no apt; Ashlar needs what Debian calls: ${packages[*]}"
  check_cmake
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || { check_cmake; exit 0; }

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
# On a machine that has just started the system itself may be installing something: that is waited for.
run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"; }
run update
if ! run install -y --no-install-recommends "${missing[@]}"; then
  if grep -qs '^ID=ubuntu' /etc/os-release; then echo "On Ubuntu some of these are in universe: add-apt-repository universe" >&2; fi
  exit 1
fi
check_cmake
