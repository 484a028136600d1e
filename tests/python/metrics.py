"""AUC, GAUC, logloss, normalised entropy and calibration of `facet evaluate` equal scikit-learn's on the scores that
`facet predict` writes: on synthetic logs, with sample weights and a group feature, with many ties, with one class.
Usage: metrics.py FACET"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import h5py
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

FACET = sys.argv[1]
COLUMNS = ("row", "label", "group", "logit", "probability")
CONFIG = """\
model: {name: mean_pooling, mlp: [16, 8], embedding_init: 0.1}
data: {path: plain}
optimizer: {learning_rate: 0.01}
train: {batch_size: 64, epochs: 6, threads: 1}
"""
random = np.random.default_rng(1)


def run(*arguments):
    done = subprocess.run([FACET, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"facet {arguments} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def parts(data):
    return sorted(data.glob("*/part-*.h5"))


def add_weights_and_groups(data):
    """A weight per sample (some zero) and a group feature that is not the user. The shards get the new schema as text."""
    schema = (data / "schema.yaml").read_text()
    schema = schema.replace("features:\n", "features:\n  weight: {role: weight}\n  session: {role: group}\n", 1)
    (data / "schema.yaml").write_text(schema)
    for path in parts(data):
        with h5py.File(path, "r+") as file:
            n = file.attrs["num_samples"]
            file["samples/weight"] = random.choice([0, 0.25, 1, 2.5], n).astype(np.float32)
            file["samples/session"] = random.integers(0, 40, n) * 1_000_000_007_000
            del file.attrs["schema_hash"]
            if "schema" in file:
                del file["schema"]
            file["schema"] = np.frombuffer(schema.encode(), np.uint8)


def make_ties(data):
    """Test samples of one user at one hour and position without history: they differ in three items only."""
    for path in parts(data):
        if path.parent.name != "test":
            continue
        with h5py.File(path, "r+") as file:
            n = file.attrs["num_samples"]
            file["samples/item_id"][:] = random.integers(2, 5, n)
            for name in ("hour", "position", "user_id"):
                file[f"samples/{name}"][:] = 2
            file["samples/history/length"][:] = 0


def make_one_class(data):
    for path in parts(data):
        if path.parent.name == "test":
            with h5py.File(path, "r+") as file:
                file["samples/label"][:] = 0


def read_scores(root, name, sets):
    """The scores as HDF5 and as text, which must be the same numbers."""
    run("predict", root / "run", "--output", root / f"{name}.h5", *sets)
    run("predict", root / "run", "--output", root / f"{name}.csv", *sets)
    with h5py.File(root / f"{name}.h5") as file:
        assert file.attrs["facet_format"] == b"scores" and file.attrs["facet_version"] == 1
        scores = {column: file[column][:] for column in COLUMNS}
    text = np.genfromtxt(root / f"{name}.csv", delimiter=",", names=True, dtype=np.float64)
    assert text.dtype.names == COLUMNS
    for column in COLUMNS:
        same = text[column].astype(scores[column].dtype) == scores[column]
        assert same.all(), f"{name}: column {column} differs in rows {np.flatnonzero(~same)}"
    assert (scores["row"] == np.arange(len(scores["row"]))).all()
    return scores


def auc(label, logit, weight):
    used = weight > 0
    if len(set(label[used])) < 2:
        return None
    return roc_auc_score(label, logit, sample_weight=weight)


def gauc(label, logit, weight, group, weighting):
    """Mean over the groups with both classes, weighted by their samples, their positives, or not."""
    total = divisor = 0.0
    for one in np.unique(group):
        of_group = group == one
        value = auc(label[of_group], logit[of_group], weight[of_group])
        if value is None:
            continue
        share = {"samples": weight[of_group].sum(), "positives": weight[of_group][label[of_group] == 1].sum(), "none": 1.0}
        total += share[weighting] * value
        divisor += share[weighting]
    return total / divisor if divisor else None


def expected(scores, weight, weighting, rate):
    label, logit = scores["label"].astype(np.float64), scores["logit"].astype(np.float64)
    p = 1 / (1 + np.exp(-logit))
    p = p / (p + (1 - p) / rate)
    mean = np.average(label, weights=weight)
    loss = log_loss(label, p, sample_weight=weight, labels=[0, 1])
    entropy = -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)) if 0 < mean < 1 else None
    return {
        "auc": auc(label, logit, weight),
        "gauc": gauc(label, logit, weight, scores["group"], weighting),
        "logloss": loss,
        "ne": loss / entropy if entropy else None,
        "calibration": (weight * p).sum() / (weight * label).sum() if label.any() else None,
        "n_samples": len(label),
        "n_positives": int(label.sum()),
    }


def compare(root, name):
    data = root / name
    data_set = ["--set", f"data.path={data}"]
    scores = read_scores(root, name, data_set)
    weight = np.ones(len(scores["row"]))
    labels, groups = [], []
    for path in sorted((data / "test").glob("part-*.h5")):
        with h5py.File(path) as file:
            labels.append(file["samples/label"][:])
            groups.append(file["samples/session" if "samples/session" in file else "samples/user_id"][:])
    if "weight" in (data / "schema.yaml").read_text():
        with_weight = [h5py.File(path)["samples/weight"][:] for path in sorted((data / "test").glob("part-*.h5"))]
        weight = np.concatenate(with_weight).astype(np.float64)
    assert (scores["label"] == np.concatenate(labels)).all() and (scores["group"] == np.concatenate(groups)).all()
    n_compared = 0
    for weighting in ("samples", "positives", "none"):
        for rate in (1, 0.1):
            sets = [*data_set, "--set", f"evaluate.gauc_weight={weighting}", "--set", f"evaluate.negative_sampling_rate={rate}"]
            found = json.loads(run("evaluate", root / "run", "--json", *sets))
            for key, value in expected(scores, weight, weighting, rate).items():
                message = f"{name}, weight {weighting}, rate {rate}: {key} is {found[key]}, scikit-learn has {value}"
                assert (found[key] is None) == (value is None), message
                assert value is None or abs(found[key] - value) <= 2e-6 * max(1, abs(value)), message
                n_compared += 1
    print(f"{name}: {len(scores['row'])} samples, {len(set(scores['logit']))} different scores, {n_compared} numbers agree")
    return scores


with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    (root / "c.yaml").write_text(CONFIG)
    options = "users=60 items=80 clusters=16 categories=8 events=40 impressions=100 max_length=20 part_samples=400".split()
    run("synthesize", "--output", root / "plain", *(word for option in options for word in ("--set", option)))
    run("train", root / "c.yaml", "--output", root / "run")
    for name, change in (("weighted", add_weights_and_groups), ("ties", make_ties), ("one_class", make_one_class)):
        shutil.copytree(root / "plain", root / name)
        change(root / name)
    plain = compare(root, "plain")
    assert len(set(plain["logit"])) > 500
    assert len(set(compare(root, "ties")["logit"])) == 3
    compare(root, "one_class")
    # weights and groups are part of the schema: a run of its own
    shutil.rmtree(root / "run")
    run("train", root / "c.yaml", "--output", root / "run", "--set", f"data.path={root / 'weighted'}")
    compare(root, "weighted")
