#!/usr/bin/env bash
# Builds build/facet (Release). A new build directory leaves out the tests, which need Criterion; an existing one keeps its
# settings. What the tools print goes to LOG, and is shown if they fail.
# Usage: tools/build.sh LOG
set -euo pipefail
log=$(realpath "$1")
cd "$(dirname "$0")/.."
{
  [ -e build/CMakeCache.txt ] || cmake -G Ninja -B build -DCMAKE_BUILD_TYPE=Release -DFACET_TESTS=OFF
  ninja -C build facet
} >"$log" 2>&1 || { tail -n 50 "$log"; exit 1; }
