#!/usr/bin/env bash
# How good the models are: mean pooling, DIN, DiffuMIN and DiffuMIN without each of its parts, on several data sets, each
# tuned with the same budget and trained with three seeds. Writes the tables of docs/results/quality.md.
# Usage: tools/quality.sh [--plan | --only-page] [--data DIR] [--sets NAME,…] [--jobs N] [--facet PROGRAM]
#                         [--directory DIR] [--page FILE]
#   --plan         prints what would be run and what it costs; for that it makes the data and times a few steps of each row
#   --only-page    writes the page from what has been run, and runs nothing
#   --data DIR     the raw files of the real sets, in the folders ml-100k, amazon-sports and mind-small-5k of DIR; a set
#                  whose folder is missing is skipped with a line. The synthetic set needs none.
#   --sets NAME,…  only these of synthetic, ml-100k, amazon-sports, mind-small
#   --jobs N       trainings side by side, each with one thread (default: the cores)
#   --facet        the program (default: build/facet, which is built)
#   --directory    where data and runs are kept (default: build/quality); a second call goes on where the first stopped
#   --page FILE    the page (default: docs/results/quality.md); text outside its markers stays
# --plan says how long it takes (an hour on the two cores of docs/results/quality.md). Needs python3, no packages.
set -euo pipefail
cd "$(dirname "$0")/.."
case " $* " in
  *' --facet '*) ;;
  *)
    mkdir -p build/quality
    tools/build.sh build/quality/build.log
    ;;
esac
exec python3 tools/quality.py "$@"
