"""Compares a PyTorch model with a training step that facet traced, and trains it like facet. The command line of the
peers: see diffumin_torch.py."""
import argparse
import contextlib
import math
import sys
import time
from typing import NamedTuple

import numpy as np
import torch

from facet_files import Schema, Split, Trace

# ---- comparison with a trace -----------------------------------------------------------------------------------------
LOSS_TOLERANCE, TOLERANCE = 1e-4, 1e-3
# The gradient of a bias is a sum over rows. Before a BatchNorm it is 0 because the terms cancel, and both sides hold
# only rounding: what is below this share of the sum of the terms' sizes is compared with that share.
ROUNDING = 1e-3
# A ReLU whose argument is within this of 0 may have either slope: float32 does not decide the sign. Among the millions
# of ReLUs of a step there are a few.
KINK = 3e-6


def tensors(arrays, dtype, device="cpu"):
    """numpy → torch: floats as dtype, ids as int64."""
    return {name: torch.as_tensor(x).to(device, dtype if x.dtype.kind == "f" else torch.int64)
            for name, x in arrays.items()}


def copies(arrays, dtype, device="cpu"):
    return {name: x.clone() for name, x in tensors(arrays, dtype, device).items()}


def parameters_of(trace, dtype, device="cpu"):
    p = copies(trace.parameters | trace.tables, dtype, device)
    for name in trace.tables:
        p[name][0] = 0  # padding
    for value in p.values():
        value.requires_grad_()
    return p


def model_of(build, trace, schema, dtype, device="cpu", **more):
    """The model with the parameters of a trace. build: a subclass of blocks.Peer."""
    states = copies(trace.states, dtype, device)
    return build(trace.config["model"], schema, parameters_of(trace, dtype, device), states, **more)


def run_step(build, trace, schema, dtype, kink=0.0):
    """Forward and backward of the traced step: the model and its losses."""
    model = model_of(build, trace, schema, dtype)
    model.keep_gradients, model.kink = True, kink
    losses = model.forward(tensors(trace.inputs, dtype), tensors(trace.draws, dtype))
    losses["total"].backward()
    return model, losses


def gradients_of(model):
    """(kind, name) → gradient; zeros where nothing flows."""
    values = {("gradient", name): x for name, x in model.p.items()}
    values |= {("gradient of value", name): x for name, x in model.node.items() if x.is_floating_point()}
    return {key: torch.zeros_like(x) if x.grad is None else x.grad for key, x in values.items()}


def size_of_terms(terms):
    """‖Σ |g|‖ over the rows g of the gradients of what a bias is added to: the gradient of the bias is their sum."""
    grads = [x.grad.abs().reshape(-1, x.shape[-1]).sum(0) for x in terms if x.grad is not None]
    return sum(grads).norm().item() if grads else 0.0


def relative_difference(ours, theirs, least=0.0, allowed=0.0):
    """‖a − b‖ / max(‖b‖, least); 0 where both are exactly 0."""
    difference, size = (ours - theirs).norm().item(), max(theirs.norm().item(), least)
    if difference <= allowed:
        return 0.0
    return (difference - allowed) / size if size > 0 and math.isfinite(difference) else math.inf


class Row(NamedTuple):
    kind: str
    name: str
    difference: float  # relative
    tolerance: float
    allowed: float = 0.0  # what the slopes of ReLUs at 0 explain; not counted in the difference


def compare(build, trace, schema, dtype=torch.float32, tolerance=TOLERANCE):
    """Runs the step of a trace; returns rows."""
    model, losses = run_step(build, trace, schema, dtype)
    rows = []
    for name, value in losses.items():
        theirs = torch.tensor(trace.losses.get(name, trace.monitors.get(name)), dtype=torch.float64)
        rows.append(Row("loss", name, relative_difference(value, theirs), min(tolerance, LOSS_TOLERANCE)))
    valid = torch.as_tensor(trace.inputs["valid"]) > 0
    for name, x in model.node.items():  # padded rows hold anything
        theirs = torch.as_tensor(trace.activations[name]).to(dtype)
        difference = relative_difference(x.detach()[valid], theirs[valid])
        rows.append(Row("value", name, difference, tolerance if x.is_floating_point() else 0))
    theirs = {"gradient": trace.gradients, "gradient of value": trace.activation_gradients}
    slopes = None
    for (kind, name), ours in gradients_of(model).items():
        facet = theirs[kind].get(name)
        if facet is None:  # a value that facet keeps no gradient of
            continue
        facet = torch.as_tensor(facet).to(dtype)
        least = ROUNDING * size_of_terms(model.shifted.get(name, [])) if kind == "gradient" else 0
        allowed = 0.0
        difference = relative_difference(ours, facet, least)
        if difference > tolerance:
            slopes = slopes or [gradients_of(run_step(build, trace, schema, dtype, kink)[0]) for kink in (-KINK, KINK)]
            allowed = (slopes[0][kind, name] - slopes[1][kind, name]).norm().item()
            difference = relative_difference(ours, facet, least, allowed)
        rows.append(Row(kind, name, difference, tolerance, allowed))
    return rows


def report(rows, verbose=False):
    """Prints what differs; returns how many."""
    failures = [row for row in rows if not row.difference <= row.tolerance]
    shown = rows if verbose else failures[:20]
    for row in shown:
        print(f"{row.kind} {row.name}: relative difference {row.difference:.1e}, "
              f"{'expected at most' if row in failures else 'within'} {row.tolerance:.0e}")
    if len(failures) > len(shown):
        print(f"… and {len(failures) - len(shown)} more")
    return len(failures)


def summary(rows):
    loss = max(row.difference for row in rows if row.kind == "loss")
    worst = max((row for row in rows if row.kind != "loss"), key=lambda row: row.difference)
    kinks = sum(row.allowed > 0 for row in rows)
    return (f"{len(rows)} agree; losses within {loss:.0e}, all else within {worst.difference:.0e} "
            f"({worst.kind} {worst.name})" + (f", {kinks} of them but for ReLUs at 0" if kinks else ""))


# ---- training --------------------------------------------------------------------------------------------------------
CHUNK = 16  # steps between two looks at the clock; their batches are assembled before it starts


class LazyAdam:
    """Adam for the rows of embedding tables that a step touches; the others, and their moments, stay as they are.
    (torch.optim.SparseAdam adds ε before the correction of the bias, facet after it, as Adam does.)"""

    def __init__(self, tables, rate, betas, eps):
        self.tables, self.rate, self.betas, self.eps, self.n_steps = tables, rate, betas, eps, 0
        self.moments = [(torch.zeros_like(table), torch.zeros_like(table)) for table in tables]

    def zero_grad(self):
        for table in self.tables:
            table.grad = None

    @torch.no_grad()
    def step(self):
        self.n_steps += 1
        first, second = (1 - beta**self.n_steps for beta in self.betas)
        for table, (mean, square) in zip(self.tables, self.moments):
            gradient = table.grad.coalesce()
            rows, g = gradient.indices()[0], gradient.values()
            m, v = mean[rows].lerp(g, 1 - self.betas[0]), square[rows].lerp(g * g, 1 - self.betas[1])
            mean[rows], square[rows] = m, v
            table[rows] -= self.rate * (m / first) / ((v / second).sqrt() + self.eps)


def optimizers_of(model, config, tables):
    """facet's optimizers: Adam for the dense parameters (AdamW decays matrices only), lazy Adam for the tables; where
    their gradients are dense, Adam for them, too."""
    option = config["optimizer"]
    assert option["dense"] in ("adam", "adamw") and option["sparse"] == "lazy_adam", "only Adam is implemented here"
    assert option["schedule"] == "constant" and not option["warmup_steps"] and not float(option["clip_norm"])
    assert not float(option["l2"]) and not float(option["l2_embedding"])
    rate = float(option["learning_rate"])
    settings = {"betas": (float(option["beta1"]), float(option["beta2"])), "eps": float(option["epsilon"])}
    dense = [x for name, x in model.p.items() if name not in tables]
    decay = float(option["weight_decay"]) if option["dense"] == "adamw" else 0.0
    groups = [{"params": [x for x in dense if x.dim() > 1], "weight_decay": decay},
              {"params": [x for x in dense if x.dim() <= 1], "weight_decay": 0.0}]
    tables, sparse_rate = [model.p[name] for name in tables], float(option["sparse_learning_rate"]) or rate
    if not model.sparse_tables:
        groups.append({"params": tables, "lr": sparse_rate, "weight_decay": 0.0})
    dense = torch.optim.AdamW(groups, lr=rate, fused=True, **settings)
    return [dense, LazyAdam(tables, sparse_rate, **settings)] if model.sparse_tables else [dense]


def training_step(model, optimizers, batch, draws, autocast=contextlib.nullcontext()):
    """The loss before the update."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    with autocast:
        loss = model.forward(batch, draws)["total"]
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return loss.detach()


def trainer_of(build, trace, schema, dtype=torch.float32, device="cpu", sparse_tables=True):
    """The model with the parameters of a trace, and its optimizers."""
    model = model_of(build, trace, schema, dtype, device, sparse_tables=sparse_tables)
    return model, optimizers_of(model, trace.config, list(trace.tables))


def train(build, trace, path, n_steps, batch_size, device):
    """Trains on random batches of the training split. Assembling them (windows, joins, copy to the device) is not
    timed, drawing the noise is."""
    schema, data = Schema(path), trace.config["data"]
    model, optimizers = trainer_of(build, trace, schema, device=device)
    split = Split(path, schema, data["train"], model.newest_first, data["max_length"])
    assert batch_size <= split.n_rows, f"{split.n_rows} rows are fewer than a batch of {batch_size}"
    rng, generator = np.random.default_rng(1), torch.Generator(device).manual_seed(1)
    order, seconds, rate = rng.permutation(split.n_rows), 0.0, None
    for first in range(0, n_steps, CHUNK):
        batches = []
        for step in range(first, min(first + CHUNK, n_steps)):
            at = step * batch_size % (split.n_rows - batch_size + 1)
            batches.append(tensors(split.batch(order[at:at + batch_size]), torch.float32, device))
        if device != "cpu":
            torch.cuda.synchronize()
        start = time.perf_counter()
        losses = [training_step(model, optimizers, batch, model.random_draws(batch_size, device, generator))
                  for batch in batches]
        losses = torch.stack(losses).tolist()  # waits for the device
        elapsed = time.perf_counter() - start
        for step, loss in enumerate(losses, first + 1):
            print(f"step {step} loss {loss:.6f}")
        if first > 0:  # the first steps warm up
            seconds += elapsed
            rate = (first + len(batches) - CHUNK) * batch_size / seconds
        print(f"{len(batches) * batch_size / elapsed:.0f} samples/s", flush=True)
    if rate:
        print(f"{rate:.0f} samples/s after the first {CHUNK} steps")


def main(build, description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", help="written by `facet trace`")
    parser.add_argument("--data", help="data set (default: the one that the trace names)")
    parser.add_argument("--double", action="store_true", help="in float64")
    parser.add_argument("--verbose", action="store_true", help="every difference, not only those beyond the tolerance")
    parser.add_argument("--train", metavar="DATASET", help="train on this data set instead of comparing")
    parser.add_argument("--steps", type=int, default=64, help="of the training (default 64)")
    parser.add_argument("--batch-size", type=int, help="of the training (default: the trace's)")
    parser.add_argument("--device", default="cpu", help="of the training: cpu (default) or cuda")
    arguments = parser.parse_args()
    trace = Trace(arguments.trace)
    if arguments.train:
        batch_size = arguments.batch_size or len(trace.inputs["valid"])
        train(build, trace, arguments.train, arguments.steps, batch_size, arguments.device)
        return
    rows = compare(build, trace, Schema(arguments.data or trace.config["data"]["path"]),
                   torch.float64 if arguments.double else torch.float32)
    if report(rows, arguments.verbose):
        sys.exit(1)
    print(f"{arguments.trace}: {summary(rows)}")
