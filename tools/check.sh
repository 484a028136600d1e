#!/usr/bin/env bash
# Static checks of the source: format, lint, forbidden patterns, order of the folders, file sizes, places of the mutants.
# Usage: tools/check.sh   (after a build in build/, for the generated headers and the objects)
# Runs every check and lists all findings before it fails.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc)
status=0

mapfile -t sources < <(find . -path './build*' -prune -o -name '*.[ch]' -printf '%P\n' | sort)
mapfile -t program < <(printf '%s\n' "${sources[@]}" | grep -E '^(host|models)/.*\.c$')
mapfile -t library < <(printf '%s\n' "${program[@]}" | grep -v '^host/cli/')
mapfile -t scripts < <(find . -path './build*' -prune -o \( -name '*.sh' -o -path ./.ci/run \) -printf '%P\n' | sort)

check() { # NAME COMMAND…
  local name=$1 start=$SECONDS
  shift
  if "$@"; then
    printf 'check: %-20s ok %4d s\n' "$name" $((SECONDS - start))
  else
    printf 'check: %-20s FAILED\n' "$name"
    status=1
  fi
}

format() { printf '%s\0' "${sources[@]}" | xargs -0 -n 16 -P "$jobs" clang-format-14 --dry-run -Werror; }

# The options are given here because the compilation database holds every file several times (float, double and one
# per instruction set). One file a run: with several, clang-tidy 14 reports va_lists that va_start has set. The
# analyzer may visit 30,000 instead of 225,000 nodes in a function, which makes it four times faster.
tidy() {
  local options
  options="-std=gnu17 -D_GNU_SOURCE -DFACET_VERSION=\"0\" -DFACET_ISA=portable -fopenmp -Iinclude -Ihost -Ibuild/generated
    $(pkg-config --cflags yaml-0.1 jansson libprotobuf-c libxxhash) -isystem /usr/include/hdf5/serial
    -Xclang -analyzer-config -Xclang max-nodes=30000"
  # shellcheck disable=SC2086 # options is a list of words
  printf '%s\0' "${program[@]}" | xargs -0 -n 1 -P "$jobs" sh -c \
    'options=$1; shift; clang-tidy-14 --quiet "$@" -- $options 2>&1 | grep -v "warnings\? generated" | grep . && exit 1 || exit 0' \
    tidy "$options"
}

# Headers of libraries are not read (unknownMacro, DNNL_VERSION_MAJOR); scratch memory is cut up by casts.
cpp_check() {
  cppcheck -q -j "$jobs" --std=c11 --error-exitcode=1 --inline-suppr --enable=warning,portability \
    --suppress=missingInclude --suppress=unknownMacro --suppress=invalidPointerCast -D_GNU_SOURCE -DDNNL_VERSION_MAJOR=2 \
    -DFACET_ISA=portable -DFACET_VERSION='"0"' -Iinclude -Ihost "${program[@]}"
}

# forbid PATTERN WHY FILES…: a match outside comment lines is a finding.
forbid() {
  local pattern=$1 why=$2
  shift 2
  [ $# -gt 0 ] || return 0
  ! grep -nHP "^(?!\s*(\*|/\*|//)).*(?<![\w>.])($pattern)" "$@" || { echo "  $why"; return 1; }
}

patterns() {
  local found=0
  mapfile -t seam < <(printf '%s\n' "${sources[@]}" | grep -E '^(host|include)/')
  mapfile -t no_allocator < <(printf '%s\n' "${program[@]}" | grep -v '^host/base/memory.c$')
  forbid 'cuda_runtime|cudaStream|cudaError|nccl\.h|ncclComm' \
    'host/ and include/ name no CUDA or NCCL symbol' "${seam[@]}" || found=1
  forbid '(malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup|asprintf)\s*\(' \
    'allocate through facet/memory.h (free is for what a library allocated)' "${no_allocator[@]}" || found=1
  # mapping.c: a shard that shrinks while mapped can only be answered in its signal handler
  mapfile -t no_handler < <(printf '%s\n' "${library[@]}" | grep -v '^host/data/mapping.c$')
  forbid '(_?exit|_Exit|abort|assert)\s*\(' 'libraries return a status' "${no_handler[@]}" || found=1
  forbid '(printf|puts|putchar|vprintf)\s*\(|stdout\b' 'libraries do not write to standard output' "${library[@]}" || found=1
  if grep -nHwE 'TODO|FIXME|XXX' "${sources[@]}"; then echo '  left open'; found=1; fi
  return "$found"
}

sizes() {
  local found=0 file lines
  for file in "${sources[@]}" "${scripts[@]}"; do
    lines=$(wc -l <"$file")
    [ "$lines" -le 600 ] || echo "  $file has $lines lines; is it one thing?"
    [ "$lines" -le 800 ] || found=1
  done
  return "$found"
}

# The folders in order: code may use what stands left of it, and its own. Read from the symbols of the objects, so that
# what the source hides (a declaration in a public header) counts too; the generated registries are left out.
layers() {
  local object source
  find build/CMakeFiles/facet.dir build/CMakeFiles/facet_host.dir build/CMakeFiles/facet_host_*.dir -name '*.c.o' \
    -not -path '*_f64*' | while read -r object; do
    source=${object#*.dir/}
    [ ! -e "${source%.o}" ] || echo "$object" # else it is of a file that was moved or of the generated ones
  done | xargs nm -A | sed -E 's#^[^:]*\.dir/(host/)?([a-z]*)/([^:]*):#\2 \3 #' | awk '
    BEGIN { n = split("base cpu data graph ops blocks models train bench cli", name); for (i = 1; i <= n; i++) place[name[i]] = i }
    !($1 in place) { print "  " $1 "/" $2 ": this folder has no place in the order"; bad = 1 }
    $3 == "U" { uses[$1 " " $2 " " $4] }
    $4 ~ /^[TDRBCV]$/ { home[$5] = $1; defined++ }
    END { for (use in uses) { split(use, u); to = home[u[3]]
            if (place[to] > place[u[1]]) { print "  " u[1] "/" u[2] " uses " u[3] " of " to; bad = 1 } }
          if (!defined) { print "  there are no objects in build/: build first"; bad = 1 }
          exit bad }'
}

cuda_pairs() {
  local found=0 file
  for file in cuda/ops/*.cu; do
    [ -e "$file" ] || continue
    [ -e "host/ops/$(basename "$file" .cu).c" ] || { echo "  $file has no host/ops/$(basename "$file" .cu).c"; found=1; }
  done
  return "$found"
}

check clang-format format
check patterns patterns
check sizes sizes
check 'cuda pairs' cuda_pairs
check layers layers
check mutants tools/mutants.sh --check
check shellcheck shellcheck -S warning "${scripts[@]}"
check cppcheck cpp_check
check clang-tidy tidy
exit $status
