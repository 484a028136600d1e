#!/usr/bin/env bash
# From a clone to a trained model: installs what is missing, builds, makes a data set, trains, evaluates, and sums up.
# Usage: tools/demo.sh    about two minutes on two cores, installation aside. Everything it makes is in build/ and demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

step "1/5 packages"
tools/install.sh build

step "2/5 build (Release, build/)"
mkdir -p demo
# FACET_TESTS needs Criterion, which the demo does without; an existing build keeps its setting
[ -e build/CMakeCache.txt ] || cmake -G Ninja -B build -DCMAKE_BUILD_TYPE=Release -DFACET_TESTS=OFF >demo/build.log 2>&1 ||
  { cat demo/build.log; exit 1; }
ninja -C build facet >demo/build.log 2>&1 || { tail -n 50 demo/build.log; exit 1; }
facet=build/facet

step "3/5 synthetic logs (demo/data)"
[ -e demo/data/schema.yaml ] || $facet synthesize datasets/synthetic/demo.yaml --output demo/data

step "4/5 train (demo/run)"
rm -rf demo/run # otherwise a second demo would only say that the run is finished
$facet train models/mean_pooling.yaml --set data.path="$PWD/demo/data" --output demo/run

step "5/5 evaluate on the test split"
$facet evaluate demo/run | tee demo/evaluate.txt

# ---- summary -----------------------------------------------------------------------------------------------------
truth() { awk -F'[:,]' -v key="\"$1\"" '$1 ~ key { printf "%.4f", $2 }' demo/data/truth.json; }
rate=$(sed -nE 's/.*"samples_per_second": *([0-9]+).*/\1/p' demo/run/metrics.jsonl | sort -n | tail -n 1)
step "summary (${SECONDS} s in all)"
cat <<END
  test AUC                $(awk '$1 == "auc" { printf "%.4f", $2 }' demo/evaluate.txt)   mean pooling, after training
                          $(truth without_history_auc)   best that is possible without the history
                          $(truth target_aware_auc)   best of a model that looks at the history through the target
                          $(truth best_auc)   best reachable: the probabilities that drew the clicks
  training                up to $rate samples/s on $(nproc) cores

  data set                demo/data                  $facet inspect demo/data
  run                     demo/run                   metrics.jsonl, TensorBoard events, resolved config.yaml
  best checkpoint         demo/run/checkpoints/best

  next: change a key      $facet train models/mean_pooling.yaml --set model.dropout=0.2 --output demo/run2
        score samples     $facet predict demo/run --output demo/scores.tsv
        your own logs     docs/convert.md, datasets/ml-100k/
        every key         docs/config.md
END
