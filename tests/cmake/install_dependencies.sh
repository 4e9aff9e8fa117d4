#!/usr/bin/env bash
# Installs what Ashlar is built on and is not there yet, through apt, as root or with sudo. Without either it says what
# to install and fails. On systems without apt it says what is needed and leaves the rest to CMake, which names whatever
# it does not find. (The same list as dependencies.cmake, beside this file.) Last it looks whether CMake is new enough.
#
#   install_dependencies.sh            for run.sh
#   install_dependencies.sh --build    for a build with ASHLAR_TESTS=OFF
#   install_dependencies.sh --list     prints the packages, all of them, and installs none
#   install_dependencies.sh --only PACKAGE…    installs these instead
set -euo pipefail

packages=(g++ cmake ninja-build libdnnl-dev libhwy-dev liblapacke-dev libopenblas-dev nlohmann-json3-dev libstb-dev libpcre2-dev)
[ "${1:-}" = --build ] || packages+=(git curl ca-certificates libboost-context-dev catch2 python3)
if [ "${1:-}" = --list ]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi
[ "${1:-}" != --only ] || packages=("${@:2}")

# install PACKAGE…
install() {
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    # sudo may ask for a password only where somebody can type it.
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      as_root=(sudo)
    else
      echo "These packages are missing; install them and try again:" >&2
      echo "  apt-get install $*" >&2
      exit 1
    fi
  fi
  echo "Installing $*"
  run() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@"; }
  run update
  run install -y --no-install-recommends "$@" || {
    if grep -qsx 'ID=ubuntu' /etc/os-release; then
      echo "If a package was not located: enable the component universe (add-apt-repository universe)" >&2
    fi
    exit 1
  }
}

missing=()
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
  done
else
  echo "This system has no apt; Ashlar needs what Debian calls: ${packages[*]}"
fi
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
[ "${1:-}" != --only ] || exit 0
if ! printf '3.25\n%s\n' "$(cmake --version | sed -n '1s/[^0-9]*//p')" | sort -VC; then
  echo "Ashlar needs CMake 3.25 or newer (Debian 12, Ubuntu 24.04), found $(cmake --version | head -1)" >&2
  exit 1
fi
