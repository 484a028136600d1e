#!/usr/bin/env bash
# Installs what is missing, builds facet and runs every test and check.
# Usage: tools/test.sh [quick]    quick: only the Release build, its tests and the checks
# Stops at the first stage that fails and shows its output; the output of every stage is build/logs/<stage>.log.
# The last line counts each test once; sanitizers and valgrind run the same tests again.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
case ${1:-} in
  '' | quick) mode=${1:-all} ;;
  *) echo "test: unknown argument '$1': expected nothing or quick" >&2; exit 2 ;;
esac
jobs=$(nproc)
logs=build/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0

# ---- counting ----------------------------------------------------------------------------------------------------
# Adds the results in a log: Criterion's summaries and skips, and the "RESULT pass|fail|skip NAME" lines of run_script.
count() {
  local pass fail skip
  read -r pass fail skip < <(awk '
    /Synthesis: Tested:/ { gsub(/[|:]/, " "); for (i = 1; i < NF; i++) { if ($i == "Passing") p += $(i + 1)
                                                                         if ($i == "Failing") f += $(i + 1) } }
    /^\[SKIP\]/ { s++ } /^RESULT pass/ { p++ } /^RESULT fail/ { f++ } /^RESULT skip/ { s++ }
    END { print p + 0, f + 0, s + 0 }' "$1")
  passed=$((passed + pass)) failed=$((failed + fail)) skipped=$((skipped + skip))
  summary="$pass passed, $fail failed$([ "$skip" = 0 ] || echo ", $skip skipped")"
}

finish() {
  local note=""
  [ "$skipped" = 0 ] || note=", $skipped skipped"
  printf '%d passed, %d failed%s\n' "$passed" "$failed" "$note"
  [ "$failed" = 0 ] && exit 0 || exit 1
}

# stage NAME FUNCTION [count|again]: `count` adds the stage's tests to the total, `again` only shows their number.
stage() {
  local name=$1 log=$logs/$1.log start=$SECONDS status=0 before
  printf '%-12s' "$name"
  "$2" >"$log" 2>&1 || status=$?
  before="$passed $failed $skipped" summary=""
  if [ -n "${3:-}" ]; then
    count "$log"
    [ "$3" = count ] || read -r passed failed skipped <<<"$before"
  fi
  if [ "$status" = 0 ]; then
    printf 'ok %5d s  %s\n' $((SECONDS - start)) "$summary"
    grep -hE '^RESULT skip|^\[SKIP\]' "$log" | sed 's/^/            /' || true
    return
  fi
  printf 'FAILED %d s; the output of %s:\n' $((SECONDS - start)) "$log"
  tail -n 200 "$log"
  [ "$failed" != 0 ] || failed=1
  finish
}

# run_script NAME COMMAND…: one program is one test; exit code 77 means skipped.
run_script() {
  local name=$1 status=0
  shift
  "$@" || status=$?
  case $status in
    0) echo "RESULT pass $name" ;;
    77) echo "RESULT skip $name" ;;
    *) echo "RESULT fail $name (exit code $status)"; return 1 ;;
  esac
}

# ---- stages ------------------------------------------------------------------------------------------------------
build() { # DIRECTORY TARGETS CMAKE_OPTIONS…
  local directory=$1 targets=$2
  shift 2
  # shellcheck disable=SC2086 # targets is a list of words
  cmake -G Ninja -B "$directory" -DFACET_TESTS=ON "$@" && ninja -C "$directory" $targets
}

run_ctest() { ctest --test-dir "$1" --verbose --no-tests=error -E '^tsan_' | sed -u 's/^[0-9]*: //'; }

install_packages() { tools/install.sh test; }
build_release() { build build all -DCMAKE_BUILD_TYPE=Release; }
run_tests() { FACET_FAULT=all run_ctest build; }
run_checks() { tools/check.sh; }

sanitize() {
  build build/sanitize all -DCMAKE_BUILD_TYPE=Debug -DFACET_SANITIZE=address,undefined && run_ctest build/sanitize
}

# The fuzz targets, for what the sanitizers do not see: memory that is read before it is written.
run_valgrind_fuzz() { # DIRECTORY of the reports
  local source target status=0
  for source in tests/fuzz/*.c; do
    target=fuzz_$(basename "$source" .c)
    OMP_NUM_THREADS=1 valgrind -q --log-file="$1/$target.log" "build/tests/$target" "tests/fuzz/corpus/${target#fuzz_}" \
      >"$1.out" 2>&1 || { cat "$1.out" && status=1; }
  done
  return "$status"
}

# tests/valgrind.txt names the suites: "program filter". Criterion ignores the exit code of a test's process, so the
# verdict is whether valgrind wrote anything.
run_valgrind() {
  local program filter reports=$logs/valgrind
  rm -rf "$reports" && mkdir -p "$reports"
  while read -r program filter; do
    [ -x "build/tests/test_$program" ] || { echo "valgrind.txt: there is no test_$program"; return 1; }
    valgrind -q --trace-children=yes --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
      --log-file="$reports/%p.log" "build/tests/test_$program" --filter "$filter" -j"$jobs" 2>"$reports.out" || {
      cat "$reports.out"
      return 1
    }
    cat "$reports.out"
    grep -q 'Tested: [1-9]' "$reports.out" || { echo "valgrind.txt: $program $filter names no test"; return 1; }
  done < <(grep -v '^#' tests/valgrind.txt)
  run_valgrind_fuzz "$reports" || return 1
  [ -z "$(cat "$reports"/*.log)" ] || { cat "$reports"/*.log; return 1; }
}

# Criterion does not start under ThreadSanitizer: tests/tsan holds plain programs.
run_tsan() {
  local program status=0
  build build/thread tsan -DCMAKE_BUILD_TYPE=Debug -DFACET_SANITIZE=thread || return 1
  for program in tests/tsan/*.c; do
    program=$(basename "$program" .c)
    run_script "tsan/$program" env TSAN_OPTIONS="suppressions=$PWD/tests/tsan/suppressions.txt" OMP_NUM_THREADS=1 \
      "build/thread/tests/tsan_$program" || status=1
  done
  return "$status"
}

run_python() {
  local python script status=0
  python=$(tools/python_env.sh) || {
    for script in tests/python/*.py; do echo "RESULT skip $script: no Python environment, see build/logs/python.log"; done
    return 0
  }
  for script in tests/python/*.py; do run_script "$script" "$python" "$script" "$PWD/build/facet" || status=1; done
  return "$status"
}

start=$SECONDS
stage install install_packages
stage build build_release
stage tests run_tests count
stage check run_checks
if [ "$mode" = all ]; then
  stage sanitize sanitize again
  stage valgrind run_valgrind again
  compgen -G 'tests/tsan/*.c' >/dev/null && stage tsan run_tsan count
  compgen -G 'tests/python/*.py' >/dev/null && stage python run_python count
fi
echo "all stages passed in $((SECONDS - start)) s"
finish
