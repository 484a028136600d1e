#!/usr/bin/env python3
"""Trains DiffuMIN with facet and with PyTorch in turns, on the same data, shape, gradient path and threads, and prints
the samples per second of both. tools/bench_cpu.sh runs it.

PyTorch gets what is in its favour: batches are assembled before the clock starts; biases, norms, attention and Adam are
fused, the query, key and value maps are one product; what the steps of sampling share is computed once; its best form counts:
  eager       float32, sparse gradients of the tables, lazy Adam as in facet
  dense       the same with dense gradients and fused Adam on whole tables (rows without gradient move, too)
  bf16        dense in autocast to bfloat16
  compile     dense with the denoiser, the encoder and the MLP compiled by torch.compile, the denoiser's attention
              written for the compiler

Last line: ratio L=<L> <facet / best of torch> facet <samples/s> torch <samples/s> share_of_peak <facet's FLOPs / peak>"""
import argparse
import contextlib
import json
import logging
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from diffumin_torch import DiffuMIN  # noqa: E402
from facet_files import Schema, Split, Trace  # noqa: E402
from peer import tensors, trainer_of, training_step  # noqa: E402

N_BATCHES = 8  # in memory, used in turns
COMPILE_SECONDS = 150


class Form:
    """One way to run the peer."""

    def __init__(self, name, trace, schema, batches):
        self.name, self.batches, self.n_steps, self.rates, self.failure = name, batches, 0, [], None
        self.model, self.optimizers = trainer_of(DiffuMIN, trace, schema, sparse_tables=name == "eager")
        self.generator = torch.Generator().manual_seed(1)
        if name == "compile":
            self.model.compiled = True
            for part in ("denoise", "encode", "mlp"):
                setattr(self.model, part, torch.compile(getattr(self.model, part), dynamic=False))

    def step(self):
        batch = self.batches[self.n_steps % len(self.batches)]
        self.n_steps += 1
        autocast = torch.autocast("cpu", torch.bfloat16) if self.name == "bf16" else contextlib.nullcontext()
        draws = self.model.random_draws(len(batch["valid"]), "cpu", self.generator)
        return training_step(self.model, self.optimizers, batch, draws, autocast)

    def warm_up(self, n_steps):
        """Two steps at least; a compiler that fails or takes too long is reported."""
        def stop(*_):
            raise TimeoutError(f"not done after {COMPILE_SECONDS} s")
        start = time.perf_counter()
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.alarm(COMPILE_SECONDS if self.name == "compile" else 0)
            for _ in range(n_steps):
                loss = self.step()
        except Exception as error:  # noqa: BLE001 whatever the compiler says
            if self.name != "compile":
                raise
            self.failure = f"{type(error).__name__}: {error}".splitlines()[0]
            return
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        print(f"torch {self.name}: {n_steps} steps to warm up took {time.perf_counter() - start:.1f} s, loss {loss:.4f}",
              flush=True)

    def window(self, n_steps):
        start = time.perf_counter()
        for _ in range(n_steps):
            self.step()
        self.rates.append(n_steps * len(self.batches[0]["valid"]) / (time.perf_counter() - start))

    def rate(self):
        return statistics.median(self.rates) if self.rates else 0.0


def run_facet(arguments, steps, timed_steps):
    command = [arguments.facet, "bench", arguments.config, "--set", f"data.path={arguments.data}", "--json",
               "--steps", str(steps), "--warmup", "3", "--timed-steps", str(timed_steps)]
    for change in arguments.set:
        command += ["--set", change]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def prepare(arguments):
    trace, schema = Trace(arguments.trace), Schema(arguments.data)
    newest_first = DiffuMIN(trace.config["model"], schema, {"": torch.zeros(1)}, {}).newest_first
    split = Split(arguments.data, schema, trace.config["data"]["train"], newest_first)
    n = len(trace.inputs["valid"])
    order = np.random.default_rng(1).permutation(split.n_rows)[:N_BATCHES * n].reshape(N_BATCHES, n)
    batches = [tensors(split.batch(rows), torch.float32) for rows in order]
    return [Form(name, trace, schema, batches) for name in arguments.forms.split(",")], batches


def show(name, rates, shares):
    rates = sorted(rates)
    print(f"{name:14} {statistics.median(rates):8.0f} samples/s median, {rates[-1]:8.0f} best of {len(rates)} windows, "
          f"{100 * shares * statistics.median(rates):5.1f} % of the peak", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facet", required=True, help="the program")
    parser.add_argument("--config", required=True, help="configuration of a training run")
    parser.add_argument("--data", required=True, help="data set")
    parser.add_argument("--trace", required=True, help="of the configuration on the data set: parameters for the peer")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for facet alone")
    parser.add_argument("--rounds", type=int, default=5, help="of facet and every form of the peer in turn")
    parser.add_argument("--steps", type=int, default=4, help="of the peer in a round; facet does five times as many")
    parser.add_argument("--forms", default="eager,dense,bf16,compile")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("torch").setLevel(logging.ERROR)
    threads = int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
    torch.set_num_threads(threads)
    forms, batches = prepare(arguments)
    length = int(max(x.max() for name, x in batches[0].items() if name.endswith(".length")))
    full = np.mean([float((x == length).float().mean()) for batch in batches for name, x in batch.items()
                    if name.endswith(".length")])
    print(f"\n== L = {length}: {len(batches[0]['valid'])} samples a step, {100 * full:.0f} % of the histories full, "
          f"{threads} threads, torch {torch.__version__}")
    for form in forms:
        form.warm_up(3)
        if form.failure:
            print(f"torch {form.name}: failed: {form.failure}", flush=True)
    forms = [form for form in forms if not form.failure]
    facet, peak, results = [], 0.0, []
    for _ in range(arguments.rounds):
        results.append(run_facet(arguments, 5 * arguments.steps, 2))
        facet += results[-1]["windows"]
        for form in forms:
            form.window(arguments.steps)
    peak = max(result["peak_flops_per_second"] for result in results)
    share = results[0]["flops_per_sample"] / peak
    print(f"{results[0]['flops_per_sample'] / 1e6:.1f} MFLOP a sample; peak {peak / 1e9:.1f} GFLOP/s")
    show("facet", facet, share)
    for form in forms:
        show("torch " + form.name, form.rates, share)
    best = max(forms, key=Form.rate)
    rate = statistics.median(facet)
    print(f"best form of torch: {best.name}")
    print(f"ratio L={length} {rate / best.rate():.2f} facet {rate:.0f} torch {best.rate():.0f} "
          f"share_of_peak {share * rate:.3f}")


if __name__ == "__main__":
    main()
