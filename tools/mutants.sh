#!/usr/bin/env bash
# Shows that the tests catch wrong formulas, and syncs and checks that are left out. tools/mutants.txt lists changes of one place each ("mutants"); every one is made
# in a copy of the tree, the named test program is built, and the named suite must fail.
# Usage: tools/mutants.sh [--directory DIR] [NAME…]   runs all mutants, or those whose name begins with a NAME
#        tools/mutants.sh --list | --check | --markdown
#   --directory DIR  works in DIR and keeps it, so that ccache knows its paths the next time; else a temporary directory
#   --check          every mutant still has its place, its test, and its line in docs/mutants.md; builds nothing
#   --markdown       prints docs/mutants.md
# Exits 1 if a mutant survives, 2 if the table or the build is wrong. Golden tests run with $PYTHON, else with that of
# tools/python_env.sh; where it lacks what they need (PyTorch) their mutants are skipped.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
table=$root/tools/mutants.txt
golden=tests/python/diffumin_golden.py
seconds_per_test=300 # a mutant may loop for ever
export FACET_FAULT=all # tests/fault: every call

die() {
  echo "mutants: $*" >&2
  exit 2
}

# ---- the table ---------------------------------------------------------------------------------------------------
names=() python=
declare -A file from to what program filter

# Blocks of "key value" lines; a value goes to the end of its line.
read_table() {
  local line key value name='' number=0
  while IFS= read -r line; do
    number=$((number + 1))
    [[ $line =~ ^(#.*)?$ ]] && continue
    [[ $line =~ ^([a-z]+)\ +(.*[^ ])$ ]] || die "$table:$number: '$line', expected a key and a value"
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    [ "$key" = name ] || [ -n "$name" ] || die "$table:$number: '$key' before the first name"
    case $key in
      name)
        name=$value
        [ -z "${file[$name]+set}" ] || die "$table:$number: a second mutant $name"
        names+=("$name") file[$name]='' from[$name]='' to[$name]='' what[$name]='' program[$name]='' filter[$name]=''
        ;;
      file) file[$name]=$value ;;
      from) from[$name]=$value ;;
      to) to[$name]=$value ;;
      what) what[$name]=$value ;;
      test) program[$name]=${value%% *} filter[$name]=${value#* } ;;
      *) die "$table:$number: unknown key '$key', expected name, file, from, to, what or test" ;;
    esac
  done <"$table" || die "cannot read $table"
}

# Says what is wrong with a mutant; fails if anything is.
check_mutant() { # NAME
  local name=$1 key found suite
  for key in file from to what program filter; do
    local -n values=$key
    [ -n "${values[$name]}" ] || { echo "  $name has no $key"; return 1; }
  done
  [ -f "$root/${file[$name]}" ] || { echo "  $name: there is no ${file[$name]}"; return 1; }
  [ "${from[$name]}" != "${to[$name]}" ] || { echo "  $name changes nothing"; return 1; }
  found=$(grep -oF -- "${from[$name]}" "$root/${file[$name]}" | wc -l)
  [ "$found" = 1 ] || { echo "  $name: '${from[$name]}' is $found times in ${file[$name]}, expected once"; return 1; }
  if [ "${program[$name]}" = golden ]; then
    [ -e "$root/$golden" ] || { echo "  $name: there is no $golden"; return 1; }
    return
  fi
  suite=$root/tests/${program[$name]%_f*}/${filter[$name]%%/*}.c
  [ -e "$suite" ] || { echo "  $name: the test ${program[$name]} ${filter[$name]} has no ${suite#"$root/"}"; return 1; }
}

check_table() {
  local name status=0
  for name in "${names[@]}"; do check_mutant "$name" || status=1; done
  if ! cmp -s <(print_markdown) "$root/docs/mutants.md"; then
    echo "  docs/mutants.md is not what the table gives: run tools/mutants.sh --markdown >docs/mutants.md"
    status=1
  fi
  return "$status"
}

test_of() { # NAME
  case ${program[$1]} in
    golden) echo "diffumin_golden.py '${filter[$1]}'" ;;
    *) echo "test_${program[$1]} ${filter[$1]}" ;;
  esac
}

list() {
  local name
  for name in "${names[@]}"; do
    printf '%-28s %-28s %s  [%s]\n' "$name" "${file[$name]}" "${what[$name]}" "$(test_of "$name")"
  done
}

print_markdown() {
  cat <<'END'
# Mutants

Which wrong formulas do the tests notice? Each line is one change of one place, mostly by 1 % or of an index by one, and the
suite that must fail with it. `tools/mutants.sh` makes them one at a time in a copy of the tree, builds the test program
and runs the suite; a mutant that survives is a missing test. All of them take some minutes, a third of it for
the build, so `tools/test.sh` does not run them; `tools/check.sh` verifies that every one still has its place in the
code. `diffumin_golden.py` compares with PyTorch; without it its mutants are skipped.

    tools/mutants.sh                                      all of them
    tools/mutants.sh --directory /tmp/mutants denoise     those whose name begins with denoise; the next run is faster
    tools/mutants.sh --check                              places and tests exist, builds nothing
    tools/mutants.sh --markdown >docs/mutants.md          this page

When a formula changes on purpose, change its mutants in `tools/mutants.txt` with it. A new operator or option deserves
one or two.

END
  local name separator='' source
  while read -r source; do
    printf '%s## %s\n\n| mutant | change | caught by |\n|---|---|---|\n' "$separator" "$source"
    separator=$'\n'
    for name in "${names[@]}"; do
      [ "${file[$name]}" = "$source" ] || continue
      printf '| %s | %s: `%s` → `%s` | `%s` |\n' "$name" "${what[$name]}" "${from[$name]//|/\\|}" "${to[$name]//|/\\|}" \
        "$(test_of "$name")"
    done
  done < <(printf '%s\n' "${file[@]}" | LC_ALL=C sort -u)
}

# ---- running -----------------------------------------------------------------------------------------------------
copy_tree() {
  rm -rf "$scratch/source"
  mkdir -p "$scratch/source" || die "cannot write in $scratch"
  tar -C "$root" -c --exclude-vcs --exclude='./build*' --exclude=./runs --exclude=./demo --exclude=./data . |
    tar -C "$scratch/source" -xm || die "cannot copy the tree to $scratch"
}

targets_of() { # NAME…
  local name
  for name in "$@"; do
    case ${program[$name]} in
      golden) printf '%s\n' facet facet_f64 ;;
      *) echo "test_${program[$name]}" ;;
    esac
  done | sort -u
}

build() { # TARGETS…
  ninja -C "$scratch/build" "$@" >"$scratch/log" 2>&1
}

# Runs the test of a mutant; returns 0 if it passes, 77 if it cannot be run. `culprit`: what failed first.
run_test() { # NAME
  local name=$1 status=0 log=$scratch/log
  if [ "${program[$name]}" = golden ]; then
    [ -n "$python" ] || return 77
    (cd "$scratch/source" && timeout "$seconds_per_test" "$python" "$golden" "$scratch/build/facet" "${filter[$name]}") \
      >"$log" 2>&1 || status=$?
    culprit=$(grep -m 1 differ "$log" || tail -n 1 "$log")
  else
    timeout "$seconds_per_test" "$scratch/build/tests/test_${program[$name]}" --filter "${filter[$name]}" --fail-fast \
      --color=never --timeout "$seconds_per_test" >"$log" 2>&1 || status=$?
    culprit=$(grep -m 1 -oP '^\[FAIL\] \K\w+::\w+' "$log" || tail -n 1 "$log")
    grep -q 'Tested: [1-9]' "$log" || [ "$status" != 0 ] || die "$name: $(test_of "$name") runs no test"
  fi
  [ "$status" != 124 ] || culprit="runs for more than $seconds_per_test s"
  return "$status"
}

# The unchanged code must pass every test that the mutants must fail. Tests that cannot be run are in `missing`.
declare -A missing
run_baseline() { # NAME…
  local name test status
  declare -A done_already
  for name in "$@"; do
    test=$(test_of "$name")
    [ -z "${done_already[$test]+set}" ] || continue
    done_already[$test]=1 status=0
    run_test "$name" || status=$?
    case $status in
      0) ;;
      77) missing[$test]=1 ;;
      *) cat "$scratch/log"; die "the unchanged code fails $test" ;;
    esac
  done
}

n_caught=0 n_survived=0 n_skipped=0
report() { # NAME VERDICT NOTE
  printf '%-28s %-9s %4d s  %s\n' "$1" "$2" $((SECONDS - began)) "$3"
}

run_mutant() { # NAME
  local name=$1 began=$SECONDS place=$scratch/source/${file[$1]} original=$scratch/original.c text status=0
  if [ -n "${missing[$(test_of "$name")]+set}" ]; then
    n_skipped=$((n_skipped + 1))
    report "$name" skipped "$(test_of "$name") cannot be run here"
    return
  fi
  cp "$place" "$original"
  text=$(cat "$original")
  printf '%s\n' "${text/"${from[$name]}"/"${to[$name]}"}" >"$place"
  cmp -s "$place" "$original" && die "$name changes nothing"
  # shellcheck disable=SC2046 # one word a target
  build $(targets_of "$name") || { cat "$scratch/log"; die "$name does not compile"; }
  run_test "$name" || status=$?
  cp "$original" "$place" # with a new time, so that ninja compiles it again
  if [ "$status" = 0 ]; then
    n_survived=$((n_survived + 1))
    report "$name" SURVIVED "${what[$name]}: $(test_of "$name") passes"
  else
    n_caught=$((n_caught + 1))
    report "$name" caught "$culprit"
  fi
}

run_all() { # NAME…
  local name
  for name in "$@"; do
    [ "${program[$name]}" != golden ] || { python=${PYTHON:-$("$root/tools/python_env.sh" 2>/dev/null)}; break; }
  done
  copy_tree
  # a mutant may leave a variable unused: no -Werror
  cmake -G Ninja -S "$scratch/source" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DFACET_WERROR=OFF >"$scratch/log" 2>&1 ||
    { cat "$scratch/log"; die "cannot configure"; }
  # shellcheck disable=SC2046 # one word a target
  build $(targets_of "$@") || { cat "$scratch/log"; die "the unchanged code does not build"; }
  run_baseline "$@"
  echo "unchanged code: built, passes, $SECONDS s"
  for name in "$@"; do run_mutant "$name"; done
  echo "$n_caught caught, $n_survived survived, $n_skipped skipped in $SECONDS s"
  [ "$n_survived" = 0 ]
}

# ---- command line ------------------------------------------------------------------------------------------------
scratch=
read_table
case ${1:-} in
  --list) list; exit ;;
  --check) check_table; exit ;;
  --markdown) print_markdown; exit ;;
  --directory)
    [ -n "${2:-}" ] || die "--directory needs a directory"
    mkdir -p "$2" && scratch=$(cd "$2" && pwd) || die "cannot make $2"
    case $scratch/ in "$root"/*) die "$scratch is in the source tree" ;; esac
    shift 2
    ;;
  -*) die "unknown option $1, expected --directory, --list, --check or --markdown" ;;
esac
selected=()
for name in "${names[@]}"; do
  [ $# -gt 0 ] || selected+=("$name")
  for wanted in "$@"; do [[ $name = "$wanted"* ]] && selected+=("$name") && break; done
done
[ ${#selected[@]} -gt 0 ] || die "no mutant's name begins with $*"
for name in "${selected[@]}"; do check_mutant "$name" || die "the table is wrong"; done
if [ -z "$scratch" ]; then
  scratch=$(mktemp -d) || die "cannot make a temporary directory"
  trap 'rm -rf "$scratch"' EXIT
fi
run_all "${selected[@]}"
