"""What the comparisons of models with their PyTorch peers share: data with padded rows, empty, short and tied histories,
repeated users, weights, bags and floats; one step; twenty steps of training; the command line."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import h5py
import numpy as np

try:
    import torch
except ImportError as error:
    print(f"no torch: {error}")
    sys.exit(77)

SOURCE = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(SOURCE / "tools/peers"))
from facet_files import Schema, Split, Trace  # noqa: E402
from peer import compare, report, tensors, trainer_of, training_step  # noqa: E402

FACET, FACET_DOUBLE = sys.argv[1], sys.argv[1] + "_f64"
TOLERANCE = {FACET: 1e-3, FACET_DOUBLE: 1e-9}
TRAINING_TOLERANCE = 1e-7
N_SAMPLES, N_USERS, MAX_LENGTH = 63, 24, 120
SIZES = {"user": N_USERS + 2, "item": 80, "category": 12, "shop": 22, "hour": 26, "level": 9, "tag": 15, "query": 30}
SCHEMA = f"""\
facet_schema: 1
name: golden
embedding_width: 8
vocabularies:
{"".join(f"  {name}: {{size: {size}}}{chr(10)}" for name, size in SIZES.items())}\
features:
  label: {{role: label}}
  weight: {{role: weight}}
  time: {{role: time}}
  user_id: {{role: user, vocabulary: user}}
  user_level: {{role: user, vocabulary: level, join: user_id, width: 4}}
  user_tags: {{role: user, vocabulary: tag, bag: 3, pooling: sum, width: 6}}
  user_spent: {{role: user, type: float, join: user_id}}
  item_id: {{role: item, vocabulary: item}}
  category: {{role: item, vocabulary: category, join: item_id}}
  shop: {{role: item, vocabulary: shop}}
  item_tags: {{role: item, vocabulary: tag, bag: 4, join: item_id, width: 6}}
  image: {{role: item, type: float, length: 3, join: item_id}}
  hour: {{role: context, vocabulary: hour}}
  distance: {{role: context, type: float}}
sequences:
  history:
    max_length: {MAX_LENGTH}
    features:
      item_id: {{vocabulary: item}}
      category: {{vocabulary: category, join: item_id}}
      shop: {{vocabulary: shop}}
      hour: {{vocabulary: hour}}
      level: {{vocabulary: level, embedding: behaviour_level}}
      price: {{type: float}}
      time: {{role: time}}
  searches:
    max_length: 5
    features:
      query: {{vocabulary: query, width: 5}}
      words: {{vocabulary: tag, bag: 3, width: 6}}
      time: {{role: time}}
"""


def bags(rng, n, longest, size):
    length = rng.integers(0, longest + 1, n)
    values = rng.integers(1, size, length.sum()).astype(np.int32)
    return {"offsets": np.concatenate([[0], np.cumsum(length)]), "values": values}


def write(path, facet_format, attributes, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["facet_format"] = facet_format
        file.attrs["facet_version"] = 1
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, value in columns.items():
            for part, array in (value.items() if isinstance(value, dict) else [("", value)]):
                file[f"{name}/{part}".rstrip("/")] = array


def write_data(root, n_samples):
    rng = np.random.default_rng(5)

    def ids(vocabulary, n):  # 1: unknown tokens occur
        return rng.integers(1, SIZES[vocabulary], n).astype(np.int32)

    # one history per user: empty, one event, short, long, and of one event over and over (equal similarities)
    length = rng.integers(2, 150, N_USERS)
    length[:4] = 0, 1, 90, 130
    first = np.concatenate([[0], np.cumsum(length)])
    n_events = first[-1]
    events = {"item_id": ids("item", n_events), "shop": ids("shop", n_events), "hour": ids("hour", n_events),
              "level": ids("level", n_events)}
    for column in events.values():
        column[first[2]:first[3]] = column[first[2]]  # all equal
        column[first[3] + 60:first[3] + 110] = column[first[3] + 60]  # fifty equal ones among others
    user = np.concatenate([np.arange(N_USERS), rng.integers(0, N_USERS, n_samples - N_USERS)])
    window = np.minimum(length[user], MAX_LENGTH)
    window[N_USERS:] = rng.integers(window[N_USERS:] // 2, window[N_USERS:] + 1)  # the same user at other times
    searches = rng.integers(0, 6, n_samples)
    weight = rng.choice([0, 0.5, 1, 3], n_samples, p=[0.15, 0.25, 0.3, 0.3]).astype(np.float32)
    columns = {
        "label": rng.integers(0, 2, n_samples).astype(np.float32), "weight": weight,
        "time": np.full(n_samples, 10_000, np.int64), "user_id": (2 + user).astype(np.int32),
        "user_tags": bags(rng, n_samples, 3, SIZES["tag"]),
        "item_id": ids("item", n_samples), "shop": ids("shop", n_samples),
        "hour": ids("hour", n_samples), "distance": rng.normal(2, 3, n_samples).astype(np.float32),
        "history": {"start": first[user] + length[user] - window, "length": window.astype(np.int32)},
        "searches": {"start": np.cumsum(searches) - searches, "length": searches.astype(np.int32)}}
    columns["user_id"][40:43] = 1  # unknown users
    events |= {"price": rng.normal(0, 1, n_events).astype(np.float32), "time": np.arange(n_events, dtype=np.int64)}
    n_searches = searches.sum()
    queries = {"query": ids("query", n_searches), "words": bags(rng, n_searches, 3, SIZES["tag"]),
               "time": np.arange(n_searches, dtype=np.int64)}
    root.mkdir()
    (root / "schema.yaml").write_text(SCHEMA)
    write(root / "tables.h5", "tables", {}, {
        "user/user_level": ids("level", SIZES["user"]), "item/category": ids("category", SIZES["item"]),
        "user/user_spent": rng.normal(0, 1, SIZES["user"]).astype(np.float32),
        "item/item_tags": bags(rng, SIZES["item"], 4, SIZES["tag"]),
        "item/image": rng.normal(0, 1, (SIZES["item"], 3)).astype(np.float32)})
    attributes = {"num_samples": n_samples, "num_events.history": n_events, "num_events.searches": n_searches}
    shard = {"schema": np.frombuffer(SCHEMA.encode(), np.uint8)}
    shard |= {f"samples/{name}": value for name, value in columns.items()}
    shard |= {f"events/history/{name}": value for name, value in events.items()}
    shard |= {f"events/searches/{name}": value for name, value in queries.items()}
    for split in ("train", "valid", "test"):
        write(root / split / "part-00000.h5", "shard", attributes, shard)


PERTURB = 0.2  # parameters that are all random
COMMON = ["data.order=chronological", "train.batch_size=64", "model.mlp=[64,32]"]


def facet(program, *words):
    done = subprocess.run([str(word) for word in (program, *words)], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, f"{program} {words} exits with {done.returncode}: {done.stderr}"


def run_case(build, root, program, preset, switches, settings, perturb, schema):
    """Differences between facet and the peer in one step. build: the peer's class."""
    path = root / "step.h5"
    path.unlink(missing_ok=True)
    settings = [f"data.path={root / 'data'}", *COMMON, *settings, *(f"model.{switch}" for switch in switches)]
    facet(program, "trace", SOURCE / "models" / f"{preset}.yaml", "--output", path, "--perturb", perturb,
          *(word for setting in settings for word in ("--set", setting)))
    trace = Trace(path)
    assert trace.n_rows == N_SAMPLES and len(trace.inputs["valid"]) == N_SAMPLES + 1
    dtype = torch.float32 if program == FACET else torch.float64
    return compare(build, trace, schema, dtype, TOLERANCE[program])


N_STEPS, STEP_BATCH = 20, 32


def check_training(build, root, preset):
    """facet trains; the peer takes the parameters, batches and noise of traces of the same steps, and its losses agree;
    then its scores, which need the running averages. Returns the largest relative difference of losses and logits. In
    float32 rounding would grow from step to step until the two part after about four. The peer's reader makes the same
    batches from the shards."""
    write_data(root / "long", N_STEPS * STEP_BATCH)
    schema = Schema(root / "long")
    config = SOURCE / "models" / f"{preset}.yaml"
    settings = [f"data.path={root / 'long'}", "data.max_length=30", f"train.batch_size={STEP_BATCH}",
                "model.mlp=[64,32]", "optimizer.learning_rate=0.003", f"train.max_steps={N_STEPS}", "train.log_every=1"]
    settings = [word for setting in settings for word in ("--set", setting)]
    facet(FACET_DOUBLE, "train", config, "--output", root / "run", *settings)
    lines = [json.loads(line) for line in (root / "run/metrics.jsonl").read_text().splitlines()]
    theirs = [line["loss"] for line in lines if "loss" in line]
    ours, model = [], None
    for step in range(N_STEPS):
        facet(FACET_DOUBLE, "trace", config, "--output", root / f"{step}.h5", "--batch", step, *settings)
        trace = Trace(root / f"{step}.h5")
        if model is None:
            model, optimizers = trainer_of(build, trace, schema, torch.float64)
            split = Split(root / "long", schema, "train", model.newest_first, 30)
        batch = split.batch(trace.inputs["row"])
        for name, value in trace.inputs.items():
            same = name == "row" or np.array_equal(batch[name].reshape(value.shape), value)
            assert same, f"step {step}: {name} differs"
        inputs, draws = tensors(trace.inputs, torch.float64), tensors(trace.draws, torch.float64)
        ours.append(training_step(model, optimizers, inputs, draws).item())
    ours, theirs = np.array(ours), np.array(theirs)
    assert theirs.shape == ours.shape and theirs[-1] < theirs[0], theirs
    facet(FACET_DOUBLE, "predict", root / "run", "--output", root / "scores.h5")
    with h5py.File(root / "scores.h5") as file:
        logit = file["logit"][:]
    split = Split(root / "long", schema, "test", model.newest_first, 30)
    batch = tensors(split.batch(np.arange(len(logit))), torch.float64)
    model.training = False
    with torch.no_grad():
        no_noise = {name: torch.zeros(len(logit), *x.shape[1:], dtype=torch.float64) for name, x in draws.items()}
        score = model.score(batch, no_noise)[:, 0].numpy()
    return np.abs(ours / theirs - 1).max(), np.linalg.norm(score - logit) / np.linalg.norm(logit)


def main(build, cases, training_preset):
    """cases: (program, preset, switches, settings, perturb) each; then training with a preset."""
    torch.set_num_threads(1)  # the tensors are small
    wanted, n_failed, n_cases, worst = sys.argv[2:], 0, 0, 0.0
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        write_data(root / "data", N_SAMPLES)
        schema = Schema(root / "data")
        for program, preset, switches, settings, perturb in cases:
            name = " ".join([preset, *switches, *(["in double"] if program == FACET_DOUBLE else [])])
            name += "" if perturb else ", initial values"
            if wanted and not any(word in name for word in wanted):
                continue
            n_cases += 1
            rows = run_case(build, root, program, preset, switches, settings, perturb, schema)
            failed, largest = report(rows), max(row.difference for row in rows)
            worst = max(worst, largest if program == FACET else 0)
            n_failed += failed > 0
            kinks = sum(row.allowed > 0 for row in rows)
            print(f"{name}: {f'{failed} of {len(rows)} differ' if failed else 'ok'}, largest {largest:.1e}"
                  + (f", {kinks} but for ReLUs at 0" if kinks else ""), flush=True)
        print(f"{n_cases} cases, {n_failed} failed; largest relative difference {worst:.1e}")
        if not wanted:
            loss, score = check_training(build, root, training_preset)
            print(f"{N_STEPS} steps of training: relative difference of losses {loss:.1e}, then of scores {score:.1e}")
            n_failed += not (loss < TRAINING_TOLERANCE and score < TRAINING_TOLERANCE)
    sys.exit(1 if n_failed or not n_cases else 0)

