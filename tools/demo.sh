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
tools/build.sh demo/build.log
facet=build/facet

step "3/5 synthetic logs (demo/data)"
cmp -s datasets/synthetic/demo.yaml demo/demo.yaml || {
  rm -rf demo/data
  $facet synthesize datasets/synthetic/demo.yaml --output demo/data
  cp datasets/synthetic/demo.yaml demo/demo.yaml
}

train() { # MODEL CONFIG
  rm -rf "demo/$1" # otherwise a second demo would only say that the run is finished
  $facet train "datasets/synthetic/$2" --output "demo/$1"
  $facet evaluate "demo/$1" >"demo/$1.txt"
}
step "4/5 train mean pooling, the baseline (demo/mean_pooling)"
train mean_pooling train.yaml
step "5/5 train DiffuMIN (demo/diffumin)"
train diffumin train_diffumin.yaml

# ---- summary -----------------------------------------------------------------------------------------------------
truth() { awk -F'[:,]' -v key="\"$1\"" '$1 ~ key { printf "%.4f", $2 }' demo/data/truth.json; }
auc() { awk '$1 == "auc" { printf "%.4f", $2 }' "demo/$1.txt"; }
rate() { sed -nE 's/.*"samples_per_second": *([0-9]+).*/\1/p' "demo/$1/metrics.jsonl" | sort -n | tail -n 1; }
step "summary (${SECONDS} s in all)"
cat <<END
  test AUC                $(truth without_history_auc)   best that is possible without the history
                          $(auc mean_pooling)   mean pooling, $(rate mean_pooling) samples/s on $(nproc) cores
                          $(auc diffumin)   DiffuMIN, $(rate diffumin) samples/s
                          $(truth target_aware_auc)   best of a model that looks at the history through the target
                          $(truth best_auc)   best reachable: the probabilities that drew the clicks

  data set                demo/data                  $facet inspect demo/data
  runs                    demo/mean_pooling, demo/diffumin: metrics.jsonl, TensorBoard events, resolved config.yaml
  best checkpoint         demo/diffumin/checkpoints/best

  next: change a key      $facet train datasets/synthetic/train.yaml --set model.dropout=0.2 --output demo/dropout
        score samples     $facet predict demo/diffumin --output demo/scores.tsv
        the model         docs/diffumin.md
        your own logs     docs/convert.md, datasets/ml-100k/
        every key         docs/config.md
END
