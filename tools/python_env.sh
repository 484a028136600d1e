#!/usr/bin/env bash
# Prints the path of a Python that has the packages of tools/requirements.txt, in a private environment outside the
# source tree, one per list of packages; creates it when it is missing. Exits 77 with one line on stderr when the
# packages cannot be had.
set -euo pipefail
requirements=$(cd "$(dirname "$0")" && pwd)/requirements.txt
environment=${XDG_CACHE_HOME:-$HOME/.cache}/facet/venv-$(sha256sum <"$requirements" | cut -c1-12)

mkdir -p "$(dirname "$environment")"
exec 9>"$environment.lock" # a second caller waits: it would remove what the first installs
flock 9
if ! cmp -s "$requirements" "$environment/requirements.txt"; then
  rm -rf "$environment"
  log=$environment.log
  { python3 -m venv "$environment" && "$environment/bin/pip" install --disable-pip-version-check --retries 1 --timeout 15 \
      -r "$requirements"; } >"$log" 2>&1 || {
    rm -rf "$environment"
    echo "python: no environment: $(grep -vE '^\s*$' "$log" | tail -n 1) (see $log)" >&2
    exit 77
  }
  cp "$requirements" "$environment/requirements.txt"
fi
echo "$environment/bin/python"
