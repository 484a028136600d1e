#!/usr/bin/env bash
# Installs the Debian packages that are missing. Tested on Debian 12.
# Usage: tools/install.sh [build|test]
#   build  what building and running facet need (default)
#   test   also what tools/test.sh needs
# FACET_SKIP_INSTALL=1 turns this off, for systems where the packages come from elsewhere.
set -euo pipefail

build=(gcc libc6-dev cmake ninja-build pkg-config git libhdf5-dev libdnnl-dev libyaml-dev libjansson-dev
       libprotobuf-c-dev protobuf-c-compiler libxxhash-dev libdeflate-dev)
test=(libcriterion-dev clang-format-14 clang-tidy-14 libomp-14-dev cppcheck shellcheck valgrind python3
      python3-venv ca-certificates clang-14 libclang-rt-14-dev llvm-14)

case ${1:-build} in
  build) packages=("${build[@]}") ;;
  test) packages=("${build[@]}" "${test[@]}") ;;
  *) echo "install: unknown set '$1': expected build or test" >&2; exit 2 ;;
esac
[ "${FACET_SKIP_INSTALL:-0}" != 1 ] || { echo "install: skipped (FACET_SKIP_INSTALL=1)"; exit 0; }

if ! command -v apt-get >/dev/null; then
  system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release 2>/dev/null || true)
  echo "install: ${system:-this system} has no apt-get; facet is tested on Debian 12." >&2
  echo "install: provide the equivalents of these Debian packages and run again with FACET_SKIP_INSTALL=1:" >&2
  echo "         ${packages[*]}" >&2
  exit 1
fi

# dpkg-query exits 1 where a package is unknown, which only means that it is missing
installed=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null || true; } |
  sed -n 's/^installed //p')
mapfile -t missing < <(printf '%s\n' "${packages[@]}" | grep -vxF "$installed" || true)
[ ${#missing[@]} -gt 0 ] || { echo "install: everything is there"; exit 0; }

echo "install: missing: ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || {
    echo "install: needs root, and sudo is not there. As root: apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  }
  as_root=(sudo)
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt_get() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@" >"$log" 2>&1 || {
    cat "$log" >&2
    echo "install: 'apt-get $*' failed; the packages of Debian 12 are expected" >&2
    exit 1
  }
}
apt_get update
apt_get install -y --no-install-recommends "${missing[@]}"
echo "install: done"
