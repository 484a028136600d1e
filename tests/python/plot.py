"""tools/plot_run.py draws two tiny runs as PNG and SVG, with every panel and a color per run; what it cannot draw gives one
line and exit status 2.
Usage: plot.py FACET"""
import pathlib
import subprocess
import sys
import tempfile

import matplotlib.image
import numpy as np

FACET = sys.argv[1]
SOURCE = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
model: {name: mean_pooling, mlp: [8]}
data: {path: data}
train: {batch_size: 256, max_steps: 24, epochs: 9, log_every: 4, evaluate_every: 8, threads: 1}
"""


def run(*words):
    done = subprocess.run([FACET, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"facet {words} exits with {done.returncode}:\n{done.stderr}"


def plot(*words):
    return subprocess.run([sys.executable, SOURCE / "tools/plot_run.py", *map(str, words)], capture_output=True, text=True)


def draw(*words):
    done = plot(*words)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def refuses(message, *words):
    done = plot(*words)
    lines = done.stderr.splitlines()
    assert done.returncode == 2 and len(lines) == 1 and message in lines[0], (words, done.returncode, done.stderr)


def has_color(pixels, color):
    return (np.abs(pixels[..., :3] * 255 - color).max(-1) < 3).sum()


def main():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        run("synthesize", SOURCE / "datasets/synthetic/small.yaml", "--output", root / "data")
        (root / "c.yaml").write_text(CONFIG)
        for name, rate in (("slow", 0.001), ("fast", 0.01)):
            run("train", root / "c.yaml", "--set", f"optimizer.learning_rate={rate}", "--output", root / name)

        draw(root / "slow", root / "fast", "--output", root / "two.png")
        pixels = matplotlib.image.imread(root / "two.png")
        assert pixels.shape[0] > 600 and pixels.shape[1] > 900, pixels.shape
        for color in ((31, 119, 180), (255, 127, 14)):  # the first two of matplotlib's
            assert has_color(pixels, color) > 300, f"{color}: {has_color(pixels, color)} pixels"

        draw(root / "slow", root / "fast/metrics.jsonl", "--output", root / "two.svg")
        text = (root / "two.svg").read_text()
        for title in ("loss (training)", "loss/bce", "AUC (validation)", "log loss (validation)", "samples per second",
                      "norm of the gradient", "slow", "fast"):  # matplotlib names the text that it draws
            assert f"<!-- {title} -->" in text, title

        draw(root / "slow", "--panels", "auc", "--output", root / "one.svg")
        text = (root / "one.svg").read_text()
        assert "<!-- AUC (validation) -->" in text and "<!-- loss (training) -->" not in text

        (root / "empty").mkdir()
        (root / "empty/metrics.jsonl").write_text("")
        (root / "torn").mkdir()
        (root / "torn/metrics.jsonl").write_text('{"type":"train","step":1,"loss":0.5}\n{"type":"tr')
        refuses("nowhere/metrics.jsonl: No such file or directory", root / "nowhere/metrics.jsonl")
        refuses("holds no line of training or evaluation", root / "slow", root / "empty")
        refuses("torn/metrics.jsonl:2: ", root / "torn")
        refuses("no panel recall; there are auc,", root / "slow", "--panels", "auc,recall")
        refuses("a run is named twice", root / "slow", root / "slow")
        refuses("missing/x.png", root / "slow", "--output", root / "missing/x.png")
        refuses("x.text", root / "slow", "--output", root / "x.text")


main()
