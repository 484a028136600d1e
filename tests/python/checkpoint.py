"""Checkpoints and shards are readable with h5py as docs/data_format.md says, and hold all that a score needs: the logits
recomputed from them in numpy equal those of `facet predict`.
Usage: checkpoint.py FACET"""
import json
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np

FACET = sys.argv[1]
CONFIG = """\
model: {name: mean_pooling, mlp: [16, 8], batch_norm: true, embedding_init: 0.1}
data: {path: data}
optimizer: {learning_rate: 0.01}
train: {batch_size: 64, epochs: 3, threads: 1}
"""
VOCABULARIES = {"user": 62, "item": 82, "category": 10, "hour": 26, "position": 12}
PARAMETERS = {"mlp.0.weight": (56, 16), "mlp.0.bias": (16,), "mlp.0.norm.gamma": (16,), "mlp.0.norm.beta": (16,),
              "mlp.1.weight": (16, 8), "mlp.1.bias": (8,), "mlp.1.norm.gamma": (8,), "mlp.1.norm.beta": (8,),
              "logit.weight": (8, 1), "logit.bias": (1,)}
STATES = {"mlp.0.norm.mean": (16,), "mlp.0.norm.variance": (16,), "mlp.1.norm.mean": (8,), "mlp.1.norm.variance": (8,)}
TRAIN_STATE = ("step", "epoch", "position", "samples", "seed", "n_train_samples", "plateau_factor", "plateau_waiting",
               "evaluations_waiting", "best_metric", "best_step", "last_evaluation_step", "finished")
NORM_EPSILON = 1e-5


def run(*arguments):
    done = subprocess.run([FACET, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"facet {arguments} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def expect_shapes(group, shapes):
    found = {name: group[name].shape for name in group}
    assert found == shapes, f"{group.name}: {found}"
    assert all(group[name].dtype == np.float32 for name in group), group.name


def check_layout(checkpoint, file):
    assert file.attrs["facet_format"] == b"checkpoint" and file.attrs["facet_version"] == 1
    assert file.attrs["model"] == b"mean_pooling" and file.attrs["program_version"]
    missing = [name for name in TRAIN_STATE if name not in file.attrs]
    assert not missing, missing
    assert file.attrs["step"] == 69 and file.attrs["epoch"] == 3 and file.attrs["position"] == 0
    assert file.attrs["samples"] == 3 * file.attrs["n_train_samples"] and file.attrs["finished"] == 1
    expect_shapes(file["parameters"], PARAMETERS)
    expect_shapes(file["states"], STATES)
    assert sorted(file["optimizer"]) == ["m", "v"]
    for moment in ("m", "v"):
        expect_shapes(file["optimizer"][moment], PARAMETERS)
    assert sorted(file["tables"]) == sorted(f"embedding.{name}" for name in VOCABULARIES)
    for name, size in VOCABULARIES.items():
        table = file[f"tables/embedding.{name}"]
        assert table["rows"].shape == (size, 8) and table["rows"].dtype == np.float32
        assert (table["rows"][0] == 0).all(), f"{name}: padding is not zero"
        assert table["m"].shape == (size, 8) and table["v"].shape == (size, 8), sorted(table)
        assert file[f"vocabularies/{name}"].attrs["size"] == size
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert manifest["facet_checkpoint"] == 1 and manifest["train_seconds"] > 0
    assert sorted(manifest["files"]) == ["config.yaml", "model.h5", "schema.yaml"]
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == (checkpoint / name).stat().st_size and len(entry["xxh3_128"]) == 32


def check_shard(path):
    with h5py.File(path) as file:
        assert file.attrs["facet_format"] == b"shard" and file.attrs["facet_version"] == 1
        n, m = file.attrs["num_samples"], file.attrs["num_events.history"]
        types = {"label": "f4", "time": "i8", "user_id": "i4", "item_id": "i4", "hour": "i4", "position": "i4"}
        for name, dtype in types.items():
            assert file[f"samples/{name}"].shape == (n,) and file[f"samples/{name}"].dtype == dtype, name
        start, length = file["samples/history/start"][:], file["samples/history/length"][:]
        assert start.dtype == np.int64 and length.dtype == np.int32
        assert (start >= 0).all() and (start + length <= m).all() and (length <= 20).all()
        time = file["events/history/time"][:]
        assert len(time) == m and file["events/history/item_id"].shape == (m,)
        last = start + length - 1
        assert (time[last[length > 0]] < file["samples/time"][:][length > 0]).all(), "a window holds later events"


def recompute(data, file):
    """Logits of the test split: embeddings of the sample, means over the window, the layers with running statistics."""
    rows = {name: file[f"tables/embedding.{name}"]["rows"][:].astype(np.float64) for name in VOCABULARIES}
    value = {name: file["parameters"][name][:].astype(np.float64) for name in PARAMETERS}
    state = {name: file["states"][name][:].astype(np.float64) for name in STATES}
    with h5py.File(data / "tables.h5") as tables, h5py.File(data / "test/part-00000.h5") as shard:
        category = tables["item/category"][:]
        samples = shard["samples"]
        user, item, hour, position = (samples[name][:] for name in ("user_id", "item_id", "hour", "position"))
        start, length = samples["history/start"][:], samples["history/length"][:]
        events = shard["events/history/item_id"][:]
        x = [rows["user"][user], rows["item"][item], rows["category"][category[item]], rows["hour"][hour],
             rows["position"][position]]
    mean = np.zeros((len(user), 16))
    for i in range(len(user)):
        window = events[start[i]:start[i] + length[i]]
        if len(window):
            mean[i] = np.concatenate([rows["item"][window], rows["category"][category[window]]], 1).mean(0)
    x = np.concatenate([*x, mean], 1)
    for layer in ("mlp.0", "mlp.1"):
        x = x @ value[f"{layer}.weight"] + value[f"{layer}.bias"]
        x = (x - state[f"{layer}.norm.mean"]) / np.sqrt(state[f"{layer}.norm.variance"] + NORM_EPSILON)
        x = np.maximum(x * value[f"{layer}.norm.gamma"] + value[f"{layer}.norm.beta"], 0)
    return (x @ value["logit.weight"] + value["logit.bias"])[:, 0]


with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    (root / "c.yaml").write_text(CONFIG)
    options = "users=60 items=80 clusters=16 categories=8 events=40 impressions=30 max_length=20".split()
    run("synthesize", "--output", root / "data", *(word for option in options for word in ("--set", option)))
    run("train", root / "c.yaml", "--output", root / "run")
    checkpoint = root / "run/checkpoints/step-00000069"
    for path in sorted((root / "data").glob("*/part-*.h5")):
        check_shard(path)
    run("predict", checkpoint, "--output", root / "scores.h5")
    with h5py.File(checkpoint / "model.h5") as file, h5py.File(root / "scores.h5") as scores:
        check_layout(checkpoint, file)
        logit = recompute(root / "data", file)
        difference = np.abs(logit - scores["logit"][:]).max()
        assert np.ptp(logit) > 0.5 and difference < 2e-5, f"logits differ by {difference}, their range is {np.ptp(logit)}"
    print(f"{len(logit)} logits agree within {difference:.1e}")
