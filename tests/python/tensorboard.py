"""TensorBoard's own readers see in a run's event files what metrics.jsonl holds: tags, steps and values, once each, also
after a run was stopped and resumed from an older checkpoint.
Usage: tensorboard.py FACET"""
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

# this file must not hide the package of the same name
sys.path = [path for path in sys.path if pathlib.Path(path or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import numpy as np  # noqa: E402
from tensorboard.backend.event_processing import event_accumulator, event_file_loader  # noqa: E402

FACET = sys.argv[1]
SOURCE = pathlib.Path(__file__).resolve().parents[2]
CONFIG = """\
model: {name: diffumin, mlp: [8], steps: 2}
data: {path: data}
train: {batch_size: 64, max_steps: 60, epochs: 9, log_every: 1, evaluate_every: 20, checkpoint_every: 20, threads: 1}
"""
TAGS = {"loss": "loss/total", "lr": "lr/dense", "lr_sparse": "lr/sparse", "grad_norm": "global_gradient_norm"}
NO_TAG = {"type", "split", "step", "epoch", "samples", "n_samples", "n_positives", "final"}


def expected(run):
    """{(tag, step): value} of metrics.jsonl."""
    values = {}
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        if line["type"] == "summary":
            continue
        prefix = {"train": "", "evaluate": "test/" if line.get("final") else "eval/"}[line["type"]]
        for name, value in line.items():
            if name not in NO_TAG and value is not None:
                values[prefix + TAGS.get(name, name) if not prefix else prefix + name, line["step"]] = np.float32(value)
    return values


def equal(ours, theirs):
    return np.isclose(ours, theirs, rtol=1e-6, atol=0)  # the text has ten digits, the events are float32


def check(run):
    wanted = expected(run)
    records = []
    for file in sorted(run.glob("events.out.tfevents.*")):
        for event in event_file_loader.LegacyEventFileLoader(str(file)).Load():
            records += [((value.tag, event.step), value.simple_value) for value in event.summary.value]
    seen = dict(records)
    assert len(seen) == len(records), "a value stands in the event files twice"
    assert seen.keys() == wanted.keys(), sorted(seen.keys() ^ wanted.keys())[:10]
    for key, value in wanted.items():
        assert equal(seen[key], value), (key, seen[key], value)

    shown = event_accumulator.EventAccumulator(str(run), size_guidance={event_accumulator.SCALARS: 0})
    shown.Reload()
    assert set(shown.Tags()["scalars"]) == {tag for tag, _ in wanted}
    for tag in shown.Tags()["scalars"]:
        events = shown.Scalars(tag)
        assert [e.step for e in events] == [step for t, step in wanted if t == tag], tag
        assert all(equal(e.value, wanted[tag, e.step]) for e in events), tag
        assert all(abs(time.time() - e.wall_time) < 3600 for e in events), tag
    return len(wanted)


def train(root, run):
    return subprocess.Popen([FACET, "train", str(root / "c.yaml"), "--output", str(run)], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def finish(process, status):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == status, f"facet train exits with {process.returncode}, expected {status}:\n{errors}"


def main():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        run = root / "run"
        subprocess.run([FACET, "synthesize", str(SOURCE / "datasets/synthetic/small.yaml"), "--output", str(root / "data")],
                       check=True, capture_output=True)
        (root / "c.yaml").write_text(CONFIG)

        process = train(root, run)  # killed between two checkpoints
        while process.poll() is None and (not (run / "metrics.jsonl").exists() or
                                          '"step":26,' not in (run / "metrics.jsonl").read_text()):
            time.sleep(0.005)
        process.kill()
        finish(process, -signal.SIGKILL)
        lost = max(step for _, step in expected(run))
        assert 26 <= lost < 60, lost
        finish(train(root, run), 0)  # from step 20 (or 40): steps that were logged before are logged again
        n = check(run)
        steps = {step for tag, step in expected(run) if tag == "loss/total"}
        assert steps == set(range(1, 61)), sorted(set(range(1, 61)) - steps)
        tags = {tag for tag, _ in expected(run)}
        assert {"loss/total", "loss/bce", "loss/diffusion", "lr/dense", "samples_per_second", "eval/auc",
                "monitor/routing_entropy"} <= tags, tags
        print(f"{n} values of {len(tags)} tags, killed after step {lost} and resumed")


main()
