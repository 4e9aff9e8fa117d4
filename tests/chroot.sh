#!/usr/bin/env bash
# Runs tests/run.sh in a fresh clone on another release of Debian or Ubuntu: what other versions of the compiler and of the
# libraries make of what is committed. About 10 minutes on two cores, no part of tests/run.sh. As root, on Debian or Ubuntu: it
# installs mmdebstrap and unpacks that system (2 GB) below build/chroot. CUDA is left out.
#
#   bash tests/chroot.sh trixie
#   bash tests/chroot.sh noble MIRROR --components=main,universe --keyring=FILE    from Debian; mmdebstrap's options
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suite=${1:-}
if [ -z "$suite" ] || [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "usage, as root on Debian or Ubuntu: bash tests/chroot.sh RELEASE [MIRROR] [option of mmdebstrap]…" >&2
  exit 2
fi
shift

root=$PWD/build/chroot/$suite
if [ ! -f "$root/unpacked" ]; then
  bash tests/cmake/install_dependencies.sh --only mmdebstrap
  rm -rf "$root"
  mkdir -p "$root"
  mmdebstrap --variant=apt --include=ca-certificates,git "$suite" "$root" "$@"
  touch "$root/unpacked"
fi
for file in /etc/resolv.conf /etc/hosts; do cp "$file" "$root/etc/"; done
rm -rf "$root/root/ashlar"
git clone -q . "$root/root/ashlar"

# The mounts are this process's own and end with it: no later `rm -r build` can meet them.
# shellcheck disable=SC2016
unshare --mount bash -euc '
  mount --bind /proc "$1/proc"
  mount --bind /dev "$1/dev"
  exec chroot "$1" env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin ASHLAR_CUDA=off \
    bash -c "cd /root/ashlar && bash tests/run.sh"' - "$root"
