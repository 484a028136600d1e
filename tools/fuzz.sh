#!/usr/bin/env bash
# Fuzzes facet's readers with libFuzzer, one process at a time (docs/fuzzing.md). Needs clang-14.
# Usage: tools/fuzz.sh [TARGET…] [--seconds N] [--raw] [--merge] [--coverage]
#   TARGET…     of tests/fuzz/*.c (default: all)
#   --seconds N of each target (default 60)
#   --raw       targets that read HDF5: changes bytes of files, so that the library's own parser is reached too, which is
#               known to crash; each run goes on after a crash
#   --merge     instead: the smallest part of build/fuzz/corpus with the same coverage becomes tests/fuzz/corpus
#   --coverage  instead: lines of the readers that the corpora reach (llvm-cov)
# New inputs go to build/fuzz/corpus/TARGET, crashes to build/fuzz/crashes/TARGET; exit code 1 if there was one.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60 mode=run raw=() targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?} && shift ;;
    --raw) raw=(-fork=1 -ignore_crashes=1 -ignore_timeouts=1 -ignore_ooms=1) ;;
    --merge | --coverage) mode=${1#--} ;;
    -*) echo "fuzz: unknown argument '$1'" >&2; exit 2 ;;
    *) [ -e "tests/fuzz/$1.c" ] || { echo "fuzz: there is no tests/fuzz/$1.c" >&2; exit 2; }
       targets+=("$1") ;;
  esac
  shift
done
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(basename -s .c tests/fuzz/*.c)

build() { # DIRECTORY CMAKE_OPTIONS…
  local directory=$1
  shift
  CC=clang-14 cmake -G Ninja -B "$directory" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_FLAGS_RELEASE="-O1 -g" \
    -DFACET_WERROR=OFF "$@" >"$directory.log" &&
    ninja -C "$directory" "${targets[@]/#/fuzz_}" >>"$directory.log" || { tail -n 40 "$directory.log"; exit 1; }
}

temporary=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/facet-fuzz-XXXXXX")
trap 'rm -rf "$temporary"' EXIT
export TMPDIR=$temporary OMP_NUM_THREADS=1
[ ${#raw[@]} = 0 ] || export FACET_FUZZ_RAW=1
mkdir -p build/fuzz/logs

# ---- coverage ----------------------------------------------------------------------------------------------------
# The readers: files that the targets reach and that parse what comes from outside.
readers=(host/base/{yaml,yaml_node,options,arguments}.c host/train/{config,checkpoint_read,checkpoint_manifest,run_log}.c
  host/train/{event_file,inspect_checkpoint,trace_compare}.c
  host/data/{schema,schema_text,delimited,convert_config,convert_read,convert_tables,convert_users}.c
  host/data/{convert_fields,convert_impressions,convert_impressions_write}.c
  host/data/{hdf5_check,hdf5_attribute,hdf5_dataset,chunk,column,shard_reader,shard_verify,tables,vocabulary}.c
  host/data/{assemble,batch_columns,inspect_shard,inspect_tables,inspect_vocabulary}.c)
if [ "$mode" = coverage ]; then
  flags="-fprofile-instr-generate -fcoverage-mapping"
  build build/fuzz-coverage -DCMAKE_C_FLAGS="$flags" -DCMAKE_EXE_LINKER_FLAGS="$flags"
  programs=() profiles=()
  for target in "${targets[@]}"; do
    program=build/fuzz-coverage/tests/fuzz_$target profile=$temporary/$target.profile
    LLVM_PROFILE_FILE=$profile "$program" "tests/fuzz/corpus/$target" "build/fuzz/corpus/$target" >"$temporary/out" 2>&1 ||
      { tail -n 5 "$temporary/out" && exit 1; }
    programs+=("$program")
    profiles+=("$profile")
  done
  llvm-profdata-14 merge -o "$temporary/all" "${profiles[@]}"
  # a line of the report: name, then of regions, functions, lines and branches the number, those missed and the share
  llvm-cov-14 report "${programs[0]}" "${programs[@]/#/--object=}" -instr-profile "$temporary/all" |
    awk -v readers="${readers[*]}" '
      function row(name, n, missed, branches, branches_missed) {
        printf "%-38s %5d lines %6.1f %%  %5d branches %6.1f %%\n", name, n, 100 * (1 - missed / n), branches,
               100 * (1 - branches_missed / branches)
      }
      BEGIN { split(readers, list, " "); for (i in list) wanted[list[i]] = 1 }
      { sub(/^.*host\//, "host/") }
      $1 in wanted { row($1, $8, $9, $11, $12); lines += $8; missed += $9; branches += $11; branches_missed += $12 }
      END { row("all readers", lines, missed, branches, branches_missed) }'
  exit 0
fi

# ---- fuzzing -----------------------------------------------------------------------------------------------------
build build/fuzz -DFACET_FUZZ=ON -DFACET_SANITIZE=address,undefined

run_target() { # TARGET SECONDS: once, until the time is over or it crashes
  local target=$1 log=build/fuzz/logs/$1.log corpus=build/fuzz/corpus/$1 known=()
  [ ! -d "tests/fuzz/corpus/$target" ] || known=("tests/fuzz/corpus/$target")
  [ ${#raw[@]} = 0 ] || { corpus=build/fuzz/corpus/$target-raw && known=(); }
  mkdir -p "$corpus" "build/fuzz/crashes/$target"
  FACET_FUZZ_SEEDS=$corpus nice -n 15 "build/fuzz/tests/fuzz_$target" -max_total_time="$2" -timeout=10 -rss_limit_mb=3000 \
    -detect_leaks=0 -close_fd_mask=3 -print_final_stats=1 -artifact_prefix="build/fuzz/crashes/$target/" "${raw[@]}" \
    "$corpus" "${known[@]}" >"$log" 2>&1
}

merge_target() {
  local target=$1 merged=$temporary/merged
  rm -rf "$merged" && mkdir -p "$merged"
  nice -n 15 "build/fuzz/tests/fuzz_$target" -set_cover_merge=1 -use_counters=0 -detect_leaks=0 -close_fd_mask=3 "$merged" \
    "build/fuzz/corpus/$target" >build/fuzz/logs/merge.log 2>&1 || { tail -n 20 build/fuzz/logs/merge.log; exit 1; }
  mkdir -p "tests/fuzz/corpus/$target"
  cp -n "$merged"/* "tests/fuzz/corpus/$target"
  printf '%-12s %5d inputs, %6d bytes\n' "$target" "$(find "tests/fuzz/corpus/$target" -type f | wc -l)" \
    "$(cat "tests/fuzz/corpus/$target"/* | wc -c)"
}

found=0
touch "$temporary/start"
for target in "${targets[@]}"; do
  [ "$mode" = run ] || { merge_target "$target" && continue; }
  end=$((SECONDS + seconds)) runs=0 coverage=0 crashes=0
  while [ $SECONDS -lt $end ] && [ "$crashes" -lt 5 ]; do
    run_target "$target" $((end - SECONDS)) || crashes=$((crashes + 1))
    log=build/fuzz/logs/$target.log
    # neither is in the log of a target that ends on its corpus
    n=$(sed -nE 's/^stat::number_of_executed_units: *//p; s/^#([0-9]+): cov.*/\1/p' "$log" | tail -n 1)
    runs=$((runs + ${n:-0}))
    n=$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1)
    coverage=${n:-$coverage}
    grep -hE 'SUMMARY:|tests/fuzz/.*: ' "$log" | tail -n 3 || true
  done
  printf '%-12s %9d executions %7d /s  %6d edges  %d crashes\n' "$target" "$runs" $((runs / seconds)) "$coverage" "$crashes"
  found=$((found + crashes))
done
if [ "$found" -gt 0 ]; then
  echo "fuzz: kept in build/fuzz/crashes:"
  find build/fuzz/crashes -type f -newer "$temporary/start" -printf '  %p\n'
  exit 1
fi
