#!/usr/bin/env bash
# Trains DiffuMIN with facet and with PyTorch in turns and compares them (docs/results/cpu.md).
# Usage: tools/bench_cpu.sh [--markdown] [L…]    default: L = 50 and 512; five minutes on two cores once all is built
#   --markdown   also writes the measured blocks of docs/results/cpu.md anew
# The last lines, one for each L: ratio L=<L> <facet / torch> facet <samples/s> torch <samples/s> share_of_peak <share>
# Everything it makes is in build/bench. OMP_NUM_THREADS sets the threads of both.
set -euo pipefail
cd "$(dirname "$0")/.."
markdown=false
lengths=()
for argument in "$@"; do
  case $argument in
  --markdown) markdown=true ;;
  [1-9]*) lengths+=("$argument") ;;
  *) sed -n 's/^# Usage: */usage: /p' "$0" >&2; exit 2 ;;
  esac
done
[ ${#lengths[@]} -gt 0 ] || lengths=(50 512)
directory=build/bench
facet=build/facet
train=datasets/synthetic/train_bench.yaml
mkdir -p $directory

tools/build.sh $directory/build.log
python=$(tools/python_env.sh)

data() { # L USERS: the data set with histories of L events, kept from run to run
  local made="$directory/L$1.yaml"
  { cat datasets/synthetic/bench.yaml; echo "# users $2, L $1"; } >"$made.new"
  if ! cmp -s "$made.new" "$made"; then
    rm -rf "$directory/L$1"
    $facet synthesize datasets/synthetic/bench.yaml --set users="$2" --set max_length="$1" --set events=$(($1 * 4)) \
      --output "$directory/L$1" 2>"$directory/L$1.log" || { cat "$directory/L$1.log"; exit 1; }
    mv "$made.new" "$made"
  fi
}

{
  echo "date       $(date -u '+%Y-%m-%d %H:%M') UTC, commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
  echo "cpu        $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc --all) cores, ${OMP_NUM_THREADS:-$(nproc)} threads, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
  echo "vectors    $(grep -m1 '^flags' /proc/cpuinfo | grep -owE 'avx2|avx512f|avx512_bf16|amx_bf16' | tr '\n' ' ')"
  echo "facet      $($facet --version), $(cc --version | head -n 1)"
  $python -c 'import torch; print(f"torch      {torch.__version__}, " + ", ".join(x.strip(" -") for x in
    torch.__config__.show().splitlines() if "Math Kernel" in x or "MKL-DNN" in x))' 2>/dev/null
} | tee $directory/machine.txt

compare() { # L OPTIONS…: facet and PyTorch in turns
  local length=$1
  shift
  $python tools/peers/bench.py --facet $facet --config $train --data "$directory/L$length" --trace "$directory/step.h5" "$@"
}

for length in "${lengths[@]}"; do
  data "$length" 600
  rm -f "$directory/step.h5"
  FACET_LOG=quiet $facet trace $train --set data.path="$directory/L$length" --output "$directory/step.h5"
  compare "$length" | tee "$directory/ratio.L$length.txt"
  $facet bench $train --set data.path="$directory/L$length" --steps 50 --timed-steps 40 >"$directory/bench.L$length.txt"
  cat "$directory/bench.L$length.txt"
  if grep -qw avx512_bf16 /proc/cpuinfo; then
    {
      compare "$length" --set train.precision=bf16 --forms dense,compile
      $facet bench $train --set data.path="$directory/L$length" --steps 50 --timed-steps 40 --set train.precision=bf16 |
        sed '/^$/,$d'
    } | tee "$directory/bf16.L$length.txt"
  fi
done

printf '\n== L = 5000, 512 samples a step: memory\n'
data 5000 80
$facet bench $train --set data.path=$directory/L5000 --set train.batch_size=512 --steps 3 --warmup 1 --timed-steps 2 \
  >$directory/bench.L5000.txt
cat $directory/bench.L5000.txt

block() { # NAME FILE: replaces the code block after the marker of this name in the page
  python3 - "$1" "$2" <<'END'
import re, sys
page, name, text = "docs/results/cpu.md", sys.argv[1], open(sys.argv[2]).read().strip("\n")
old = open(page).read()
new, n = re.subn(rf"(<!-- measured: {name} -->\n```\n).*?(\n```)", lambda m: m[1] + text + m[2], old, flags=re.S)
assert n == 1, f"{page} has no place for {name}"
open(page, "w").write(new)
END
}
if $markdown; then
  block machine $directory/machine.txt
  for length in 50 512; do
    [ ! -e "$directory/ratio.L$length.txt" ] || block "ratio L=$length" "$directory/ratio.L$length.txt"
    [ ! -e "$directory/bench.L$length.txt" ] || block "step L=$length" "$directory/bench.L$length.txt"
    [ ! -e "$directory/bf16.L$length.txt" ] || block "bf16 L=$length" "$directory/bf16.L$length.txt"
  done
  block 'memory L=5000' $directory/bench.L5000.txt
fi
printf '\n'
for length in "${lengths[@]}"; do grep '^ratio' "$directory/ratio.L$length.txt"; done
