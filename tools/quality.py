"""The work of tools/quality.sh, which says what it does and takes the same arguments."""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import textwrap
from typing import NamedTuple

SOURCE = pathlib.Path(__file__).resolve().parents[1]
RATES, SEEDS = ("0.001", "0.003", "0.01"), (1, 2, 3)
STUDENT_T = 4.303  # 97.5 % quantile with two degrees of freedom, for three seeds
BATCH, EVALUATIONS, PATIENCE = 256, 6, 2
COMMON = {"model.mlp": "[128, 64]", "model.activation": "dice", "model.batch_norm": "true", "model.dropout": "0",
          "train.batch_size": BATCH, "train.epochs": 1000, "train.early_stop": PATIENCE, "train.monitor": "auc",
          "train.threads": 1, "train.keep_checkpoints": 1, "data.test": ""}
BEGIN, END = "<!-- begin: written by tools/quality.sh -->", "<!-- end: written by tools/quality.sh -->"


class Set(NamedTuple):
    name: str
    config: str  # of facet convert or facet synthesize
    folder: str  # of the raw files; "": synthetic
    max_length: int
    steps: int
    valid: int  # rows of the splits that are used, the first ones; 0: all
    test: int


class Row(NamedTuple):
    name: str
    title: str
    preset: str
    settings: dict
    like: str = ""  # takes the learning rate that was chosen for this row


SETS = [Set("synthetic", "datasets/synthetic/demo.yaml", "", 50, 1500, 10000, 30000),
        Set("ml-100k", "datasets/ml-100k/convert.yaml", "ml-100k", 20, 1500, 0, 0),
        Set("amazon-sports", "datasets/amazon-sports/convert.yaml", "amazon-sports", 20, 1500, 10000, 30000),
        Set("mind-small", "datasets/mind-small/convert.yaml", "mind-small-5k", 20, 600, 10000, 30000)]
REFERENCE = "diffumin"
ROWS = [Row("mean_pooling", "mean pooling", "mean_pooling", {}),
        Row("din", "DIN", "din", {}),
        Row("diffumin", "**DiffuMIN**, recommended", "diffumin", {}),
        Row("no_diffusion", "without diffusion: r* = r̂", "diffumin", {"model.r_star": "interest"}),
        Row("noise", "noise for r*", "diffumin", {"model.r_star": "noise"}),
        Row("no_dmig", "without DMIG: no r*, no contrast", "diffumin", {"model.r_star": "none"}),
        Row("no_cmic", "without CMIC: no contrast", "diffumin", {"model.lambda_contrast": "0"}),
        Row("no_omie", "without OMIE: one interest, the mean", "diffumin",
            {"model.channels": "1", "model.agg_weight": "one"}),
        Row("not_orthogonal", "channels not orthogonal", "diffumin", {"model.orthogonal": "false"}),
        Row("paper", "DiffuMIN, the paper's setting", "diffumin_paper", {}),
        Row("official", "DiffuMIN, the published code's behaviour", "diffumin_official", {})]
BF16 = Row("bf16", "DiffuMIN in bf16", "diffumin", {"train.precision": "bf16"}, like="diffumin")


class Failure(Exception):
    pass


def cpu_seconds():
    """Processor time of the programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def has_bf16():
    has = "avx512_bf16" in pathlib.Path("/proc/cpuinfo").read_text()
    if not has:
        print("bf16: skipped, this CPU has no AVX512-BF16")
    return has


# ---- running ---------------------------------------------------------------------------------------------------------
class Runner:
    def __init__(self, arguments):
        self.facet, self.directory = arguments.facet.resolve(), arguments.directory.resolve()
        self.raw, self.jobs = arguments.data, arguments.jobs
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
        self.commit = self.directory / "commit.txt"

    def call(self, *words):
        done = subprocess.run([str(word) for word in (self.facet, *words)], capture_output=True, text=True,
                              env=self.environment)
        if done.returncode:
            raise Failure(f"facet {' '.join(map(str, words))} exits with {done.returncode}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def data(self, data_set):
        """The converted data set; None where its files are missing."""
        path, source = self.directory / "data" / data_set.name, SOURCE / data_set.config
        if (path / "test").exists():
            return path
        if not data_set.folder:
            self.call("synthesize", source, "--output", path)
            return path
        raw = self.raw / data_set.folder if self.raw else None
        if raw is None or not raw.is_dir() or not source.exists():
            return None
        self.call("convert", source, "--input", raw, "--output", path)
        return path

    def words(self, data_set, row, rate, seed, steps):
        settings = COMMON | row.settings | {
            "data.path": self.data(data_set), "data.max_length": data_set.max_length, "optimizer.learning_rate": rate,
            "train.seed": seed, "train.max_steps": steps, "train.evaluate_every": max(1, data_set.steps // EVALUATIONS),
            "train.log_every": 20, "evaluate.max_samples": data_set.valid}
        return [SOURCE / "models" / f"{row.preset}.yaml",
                *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]

    def path(self, data_set, row, rate, seed):
        return self.directory / data_set.name / row.name / rate / str(seed)

    def valid_auc(self, data_set, row, rate, seed):
        """The best validation AUC of a finished run; None if it is not finished."""
        file = self.path(data_set, row, rate, seed) / "metrics.jsonl"
        last = json.loads(file.read_text().splitlines()[-1]) if file.exists() else {}
        return last.get("best") if last.get("type") == "summary" else None

    def train(self, data_set, row, rate, seed):
        path = self.path(data_set, row, rate, seed)
        if self.valid_auc(data_set, row, rate, seed) is None:
            self.call("train", *self.words(data_set, row, rate, seed, data_set.steps), "--output", path)
            auc = self.valid_auc(data_set, row, rate, seed)
            print(f"{path.relative_to(self.directory)}: valid AUC {auc:.4f}", flush=True)

    def test(self, data_set, row, rate, seed):
        """Metrics of the best checkpoint on the test split."""
        file = self.path(data_set, row, rate, seed) / "test.json"
        if not file.exists():
            text = self.call("evaluate", file.parent, "--split", "test", "--json", "--set",
                             f"evaluate.max_samples={data_set.test}")
            file.with_suffix(".part").write_text(text)
            file.with_suffix(".part").rename(file)
        return json.loads(file.read_text())

    def chosen(self, data_set, row):
        """The learning rate with the best validation AUC of seed 1; None before all are finished."""
        name = row.like or row.name
        row = next(r for r in ROWS if r.name == name)
        scores = {rate: self.valid_auc(data_set, row, rate, SEEDS[0]) for rate in RATES}
        return None if None in scores.values() else max(RATES, key=scores.get)

    def samples_per_second(self, data_set, row):
        """Of training, per second of processor time, from a few steps; measured once."""
        file = self.directory / data_set.name / row.name / "rate.json"
        if not file.exists():
            path, steps, before = self.directory / data_set.name / row.name / "rate", 20, cpu_seconds()
            shutil.rmtree(path, ignore_errors=True)  # of a call that was stopped: a finished run would take no time
            self.call("train", *self.words(data_set, row, RATES[0], 1, steps), "--set", "data.valid=", "--output", path)
            file.write_text(json.dumps(steps * BATCH / (cpu_seconds() - before)))
        return json.loads(file.read_text())


def in_parallel(jobs, function, tasks):
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(function, *task) for task in tasks]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def trainings(runner, data_set, rows):
    """(row, rate, seed) that are not finished; a row whose rate is not chosen yet counts with the first one."""
    for row in rows:
        tuned = [] if row.like else [(rate, SEEDS[0]) for rate in RATES]
        chosen = runner.chosen(data_set, row) or RATES[0]
        for rate, seed in tuned + [(chosen, seed) for seed in SEEDS[bool(tuned):]]:
            if runner.valid_auc(data_set, row, rate, seed) is None:
                yield row, rate, seed


def print_plan(runner, sets, rows):
    total = 0.0
    for data_set in sets:
        left = list(trainings(runner, data_set, rows))
        seconds = sum(data_set.steps * BATCH / runner.samples_per_second(data_set, row) for row, _, _ in left)
        minutes = 1.25 * seconds / 60 / runner.jobs  # evaluation and start
        total += minutes
        n_runs = len(rows) * (len(RATES) + len(SEEDS) - 1)
        print(f"{data_set.name}: {len(left)} of at most {n_runs} trainings left, of {data_set.steps} steps of {BATCH} "
              f"samples; about {minutes:.0f} min", flush=True)
    print(f"in all about {total:.0f} min, {runner.jobs} side by side, on cores that nothing else uses", flush=True)


def run_row(runner, data_set, row):
    """Chooses the learning rate, unless another row does, then trains and tests with every seed."""
    for rate in () if row.like else RATES:
        runner.train(data_set, row, rate, SEEDS[0])
    rate = runner.chosen(data_set, row)
    for seed in SEEDS:
        runner.train(data_set, row, rate, seed)
        runner.test(data_set, row, rate, seed)
    print(f"{data_set.name}/{row.name}: done, learning rate {rate}", flush=True)


# ---- the page --------------------------------------------------------------------------------------------------------
def wrap(text):
    return textwrap.fill(text, 120, break_on_hyphens=False)


def spread(values, digits=4):
    text = f"{statistics.mean(values):.{digits}f}"
    return f"{text} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else text


def difference(runs, reference):
    """AUC against the reference: mean and standard error over the seeds that both have; bold where all seeds are there and
    Student's t says that 0 is outside the 95 % interval."""
    d = [runs[seed]["auc"] - reference[seed]["auc"] for seed in runs if seed in reference]
    if not d:
        return ""
    text = f"{statistics.mean(d):+.4f}".replace("-", "−")
    if len(d) == 1:
        return text
    error = statistics.stdev(d) / math.sqrt(len(d))
    bold = len(d) == len(SEEDS) and abs(statistics.mean(d)) > STUDENT_T * error
    return f"**{text} ± {error:.4f}**" if bold else f"{text} ± {error:.4f}"


def auc_error(auc, n_positives, n_negatives):
    """Standard error of one AUC from the size of the split (Hanley and McNeil 1982), as if its rows were independent."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    variance = auc * (1 - auc) + (n_positives - 1) * (q1 - auc * auc) + (n_negatives - 1) * (q2 - auc * auc)
    return math.sqrt(variance / (n_positives * n_negatives))


def results(runner, data_set, row):
    """{seed: test metrics} of a row, as far as it was run."""
    rate = runner.chosen(data_set, row)
    files = {seed: runner.path(data_set, row, rate, seed) / "test.json" for seed in SEEDS} if rate else {}
    return {seed: json.loads(file.read_text()) for seed, file in files.items() if file.exists()}


def table(runner, data_set, rows):
    reference = results(runner, data_set, next(row for row in ROWS if row.name == REFERENCE))
    lines = ["| model | learning rate | valid AUC | test AUC | test GAUC | test log loss | test AUC − DiffuMIN's |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        runs, rate = results(runner, data_set, row), runner.chosen(data_set, row)
        if not runs:
            continue
        valid = [runner.valid_auc(data_set, row, rate, seed) for seed in runs]
        title = row.title if len(runs) == len(SEEDS) else f"{row.title} (seeds {', '.join(map(str, runs))})"
        auc, gauc, loss = (spread([run[key] for run in runs.values()]) for key in ("auc", "gauc", "logloss"))
        against = "" if row.name == REFERENCE else difference(runs, reference)
        lines.append(f"| {title} | {rate} | {statistics.mean(valid):.4f} | {auc} | {gauc} | {loss} | {against} |")
    return lines if len(lines) > 2 else None


def section(runner, data_set, rows):
    lines = table(runner, data_set, rows)
    if not lines:
        return []
    run = next(iter(next(filter(None, (results(runner, data_set, row) for row in rows))).values()))
    n, positives = run["n_samples"], run["n_positives"]
    error = auc_error(run["auc"], positives, n - positives)
    valid = f"the first {data_set.valid:,} samples" if data_set.valid else "the whole split"
    text = (f"At most {data_set.steps} steps of {BATCH} samples, the {data_set.max_length} newest behaviours; validation on "
            f"{valid}, test on the first {n:,} samples, {positives:,} positive (standard error of one AUC from the size of "
            f"the test split: about {error:.4f}, common to all rows).")
    if not data_set.folder:
        truth = json.loads((runner.data(data_set) / "truth.json").read_text())
        text += (f" Oracles, on the whole split: {truth['without_history_auc']:.4f} without the history, "
                 f"{truth['target_aware_auc']:.4f} with the history through the target, {truth['best_auc']:.4f} the true "
                 "probabilities.")
    return [f"### {data_set.name}", "", wrap(text), "", *lines, ""]


def bf16_lines(runner, sets):
    lines, reference = [], next(row for row in ROWS if row.name == REFERENCE)
    for data_set in sets:
        full, half = results(runner, data_set, reference), results(runner, data_set, BF16)
        if full and half:
            a, b = (spread([run["auc"] for run in runs.values()]) for runs in (full, half))
            lines.append(f"| {data_set.name} | {a} | {b} | {difference(half, full)} |")
    if not lines:
        return []
    return ["### bf16", "", "DiffuMIN with `train.precision: bf16`, at the learning rate chosen in float32. Test AUC:", "",
            "| data set | float32 | bf16 | difference |", "|---|---|---|---|", *lines, ""]


def write_page(runner, page, sets, commit):
    text = (f"Commit {commit}. All rows: embeddings of width 8 per field, hidden layers of 128 and 64 with BatchNorm and "
            f"Dice, batches of {BATCH}, Adam and lazy Adam; {EVALUATIONS} evaluations, the best checkpoint counts, "
            f"{PATIENCE} without improvement end the run. {len(RATES)} learning rates ({', '.join(RATES)}) on seed "
            f"{SEEDS[0]}, the one with the best validation AUC, then seeds {', '.join(map(str, SEEDS))}. Mean ± standard "
            "deviation over the seeds; in the last column the difference seed by seed, mean ± standard error, bold where the "
            "95 % interval of Student's t excludes 0.")
    body = [wrap(text), ""]
    for data_set in sets:
        body += section(runner, data_set, ROWS)
    text = "\n".join([BEGIN, "", *body, *bf16_lines(runner, sets), END])
    old = page.read_text() if page.exists() else f"# How good the models are\n\n{BEGIN}\n{END}\n"
    if old.count(BEGIN) != 1 or old.count(END) != 1:
        raise Failure(f"{page} has no part between '{BEGIN}' and '{END}', expected one")
    page.write_text(re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: text, old, flags=re.DOTALL))


def commit_of(runner, of_this_tree=False):
    """The commits that runs were made with; with of_this_tree also that of this call."""
    now = subprocess.run(["git", "-C", SOURCE, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    commits = runner.commit.read_text().split() if runner.commit.exists() else []
    if of_this_tree and now.returncode == 0 and now.stdout.strip() not in commits:
        commits.append(now.stdout.strip())
        runner.commit.write_text("\n".join(commits))
    return ", ".join(commits) or "unknown"


def parse():
    parser = argparse.ArgumentParser(prog="tools/quality.sh", description="see the first lines of tools/quality.sh")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--only-page", action="store_true")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--sets", default=",".join(s.name for s in SETS))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--facet", type=pathlib.Path, default=SOURCE / "build/facet")
    parser.add_argument("--directory", type=pathlib.Path, default=SOURCE / "build/quality")
    parser.add_argument("--page", type=pathlib.Path, default=SOURCE / "docs/results/quality.md")
    arguments = parser.parse_args()
    unknown = set(arguments.sets.split(",")) - {s.name for s in SETS}
    if unknown:
        parser.error(f"--sets: no set {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in SETS)}")
    return arguments


def main():
    arguments = parse()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    runner, sets = Runner(arguments), []
    if arguments.only_page:
        write_page(runner, arguments.page, SETS, commit_of(runner))
        return
    for data_set in SETS:
        if data_set.name in arguments.sets.split(","):
            if runner.data(data_set):
                sets.append(data_set)
            else:
                print(f"{data_set.name}: skipped, expected its files in --data DIR/{data_set.folder}, and {data_set.config}")
    rows = ROWS + ([BF16] if has_bf16() else [])
    print_plan(runner, sets, rows)
    if arguments.plan:
        return
    commit = commit_of(runner, of_this_tree=True)
    for data_set in sets:
        in_parallel(runner.jobs, run_row, [(runner, data_set, row) for row in ROWS])
        in_parallel(runner.jobs, run_row, [(runner, data_set, row) for row in rows if row.like])
        write_page(runner, arguments.page, SETS, commit)


try:
    main()
except (Failure, OSError) as failure:
    print(f"quality: {failure}", file=sys.stderr)
    sys.exit(1)
