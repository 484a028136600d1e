#!/usr/bin/env python3
"""Draws runs of facet train: the loss and its parts, the metrics of evaluations, learning rate, gradient norm, monitors and
throughput over the steps, one panel each, several runs over one another.

    $(tools/python_env.sh) tools/plot_run.py RUN… [--output FILE.png|FILE.svg] [--panels NAME,…]

RUN is a run directory, or its metrics.jsonl. Panels are named as in the file: loss, loss/bce, auc, samples_per_second, …
(default: all that vary)."""
import argparse
import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

IS_NO_PANEL = {"type", "split", "step", "epoch", "samples", "n_samples", "n_positives", "final"}
FIRST = ["loss", "loss/bce", "auc", "gauc", "logloss"]
TITLES = {"loss": "loss (training)", "auc": "AUC (validation)", "gauc": "GAUC (validation)",
          "logloss": "log loss (validation)", "ne": "normalised entropy (validation)",
          "calibration": "calibration (validation)",
          "lr": "learning rate", "lr_sparse": "learning rate of the tables", "grad_norm": "norm of the gradient",
          "samples_per_second": "samples per second", "data_wait": "share of time waiting for data"}
COLUMNS, WIDTH, HEIGHT = 3, 4.2, 2.7  # inches per panel


class Failure(Exception):
    pass


def read(path):
    """{panel: ([step…], [value…])} of a run; of evaluations those during training."""
    file = path / "metrics.jsonl" if path.is_dir() else path
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from error
    series = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise Failure(f"{file}:{number}: {error}, expected a JSON object") from error
        if entry.get("type") not in ("train", "evaluate") or entry.get("final"):
            continue
        for name, value in entry.items():
            if name in IS_NO_PANEL:
                continue
            steps, values = series.setdefault(name, ([], []))
            steps.append(entry["step"])
            values.append(math.nan if value is None else value)
    if not series:
        raise Failure(f"{file} holds no line of training or evaluation, expected some")
    return series


def labels_of(paths):
    """Directory names; with as many parents as tell them apart."""
    parts = [(path.parent if path.is_file() else path).resolve().parts for path in paths]
    for n in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-n:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    raise Failure("a run is named twice")


def panels_of(runs, wanted):
    names = list(dict.fromkeys(name for series in runs.values() for name in series))
    if wanted:
        unknown = [name for name in wanted if name not in names]
        if unknown:
            raise Failure(f"no panel {unknown[0]}; there are {', '.join(sorted(names))}")
        return wanted
    varies = [name for name in names if len({v for s in runs.values() for v in s.get(name, ((), ()))[1]}) > 1]
    return sorted(varies or names, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST)))


def draw_panel(axes, name, runs, colors):
    for (label, series), color in zip(runs.items(), colors):
        if name in series:
            steps, values = series[name]
            axes.plot(steps, values, color=color, label=label, linewidth=1.3, marker="o" if len(steps) < 30 else None,
                      markersize=3)
    axes.set_title(TITLES.get(name, name), fontsize=9)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(labelsize=7)
    shown = [v for series in runs.values() for v in series.get(name, ((), ()))[1] if v > 0]
    if name == "samples_per_second" and shown and max(shown) > 20 * min(shown):
        axes.set_yscale("log")
    else:
        axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 7))
    axes.xaxis.set_major_locator(plt.MaxNLocator(5, integer=True))
    axes.grid(True, linewidth=0.4, alpha=0.5)


def draw(runs, panels, output):
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    in_row = min(len(runs), 2 * columns)
    legend = 0.25 * -(-len(runs) // in_row) + 0.15  # inches above the panels
    figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained",
                                figsize=(WIDTH * columns, HEIGHT * rows + legend))
    colors = [plt.get_cmap("tab10" if len(runs) <= 10 else "tab20")(i % 20) for i in range(len(runs))]
    for axis, name in zip(axes.flat, panels):
        draw_panel(axis, name, runs, colors)
    for axis in axes.flat[len(panels):]:
        axis.set_visible(False)
    handles = [plt.Line2D([], [], color=color, linewidth=2) for color in colors]
    figure.legend(handles, runs, loc="outside upper center", ncols=in_row, fontsize=9, frameon=False)
    try:
        figure.savefig(output, dpi=100)
    except (OSError, ValueError) as error:
        raise Failure(f"{output}: {error}") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("run.png"), help="default: run.png")
    parser.add_argument("--panels", type=lambda text: text.split(","), default=[], help="names, with commas")
    arguments = parser.parse_args()
    runs = {label: read(path) for path, label in zip(arguments.runs, labels_of(arguments.runs))}
    draw(runs, panels_of(runs, arguments.panels), arguments.output)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        print(f"plot_run: {failure}", file=sys.stderr)
        sys.exit(2)
