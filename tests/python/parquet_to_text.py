"""Parquet files become the text that facet convert reads: list columns, missing values, times; and what is refused.
Usage: parquet_to_text.py FACET"""
import datetime
import pathlib
import subprocess
import sys
import tempfile

import h5py
import pyarrow
import pyarrow.parquet

facet = sys.argv[1]
tool = pathlib.Path(__file__).resolve().parents[2] / "tools/parquet_to_text.py"
CONFIG = """\
convert: {name: test, min_history: 0, split: time, valid_fraction: 0, test_fraction: 0}
impressions: {file: behaviors.tsv, impression: id, user: user, time: when, shown: seen, clicked: hits,
              columns: {device: {}}}
history: {file: history.tsv, key: user, items: past, time: at, columns: {read: {type: float, missing: 0}}}
"""


def run(*arguments, expect=0):
    done = subprocess.run([sys.executable, str(tool), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == expect, f"{arguments} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def at(second, microsecond=0):
    return datetime.datetime(2023, 2, 27, 3, 23, second, microsecond)


def expect_text(path, text):
    assert path.read_text() == text, f"{path} holds\n{path.read_text()}expected\n{text}"


with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    large = pyarrow.large_list(pyarrow.int32())
    table = pyarrow.table({
        "id": pyarrow.array([7, 8, 9], pyarrow.uint32()),
        "user": ["u1", "u2", "u1"],
        "when": pyarrow.array([at(1, 999999), at(2), at(3)], pyarrow.timestamp("us")),
        "seen": pyarrow.array([[10, 11, 12], [10], []], large),
        "hits": pyarrow.array([[12], None, []], large),
        "device": pyarrow.array([2, None, 1], pyarrow.int8()),
        "paid": [True, False, None],
        "share": pyarrow.array([0.5, float("nan"), None], pyarrow.float32()),
        "day": [datetime.date(1970, 1, 2), None, datetime.date(1969, 12, 31)],
        "tags": [["a", None], [""], None],
        "code": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
    })
    pyarrow.parquet.write_table(table, root / "behaviors.parquet", compression="zstd", row_group_size=2)
    done = run(root / "behaviors.parquet", root / "behaviors.tsv")
    assert done.stdout == f"{root}/behaviors.tsv: 3 rows, 11 columns\n", done.stdout
    expected = ("id\tuser\twhen\tseen\thits\tdevice\tpaid\tshare\tday\ttags\tcode\n"
                "7\tu1\t1677468181\t10 11 12\t12\t2\t1\t0.5\t86400\ta \tx\n"
                "8\tu2\t1677468182\t10\t\t\t0\t\t\t\ty\n"
                "9\tu1\t1677468183\t\t\t1\t\t\t-86400\t\tx\n")
    expect_text(root / "behaviors.tsv", expected)
    run(root / "behaviors.parquet", root / "behaviors.tsv", "--rows", 1)  # other batches, the same text
    expect_text(root / "behaviors.tsv", expected)
    run(root / "behaviors.parquet", root / "some.csv", "--columns", "seen,id", "--separator", "semicolon",
        "--list-separator", "comma")
    expect_text(root / "some.csv", "seen;id\n10,11,12;7\n10;8\n;9\n")

    history = pyarrow.table({
        "user": ["u1", "u2"],
        "past": pyarrow.array([[10, 13], [11]], pyarrow.list_(pyarrow.int64())),
        "at": pyarrow.array([[at(0), at(1)], [at(2)]], pyarrow.list_(pyarrow.timestamp("ms"))),
        "read": pyarrow.array([[1.5, None], [None]], pyarrow.list_(pyarrow.float64())),
    })
    pyarrow.parquet.write_table(history, root / "history.parquet")
    run(root / "history.parquet", root / "history.tsv")
    expect_text(root / "history.tsv", "user\tpast\tat\tread\nu1\t10 13\t1677468180 1677468181\t1.5 \nu2\t11\t1677468182\t\n")

    (root / "config.yaml").write_text(CONFIG)
    done = subprocess.run([facet, "convert", str(root / "config.yaml"), "--output", str(root / "out")],
                          capture_output=True, text=True)
    assert done.returncode == 0 and "1 dropped: nothing was shown" in done.stdout, done.stdout + done.stderr
    with h5py.File(root / "out/train/part-00000.h5") as part:
        samples, events = part["samples"], part["events/history"]
        assert samples["label"][:].tolist() == [0, 0, 1, 0]
        assert samples["impression"][:].tolist() == [7, 7, 7, 8]
        assert samples["device"][:].tolist() == [2, 2, 2, 1], "a missing value is unknown"
        assert samples["history/length"][:].tolist() == [1, 1, 1, 0], "an event of the same second is not before"
        assert events["read"][:].tolist() == [1.5] and events["time"][:].tolist() == [1677468180]

    # what is refused: nothing is written, and the message names column, row and value
    for name, column, text in (("text", ["a", "b\tc"], "column x, row 1: 'b\\tc' holds a separator"),
                               ("lists", [["a"], [], ["b", "c d"]], "column x, row 2: 'c d' holds a separator"),
                               ("lines", ["a\nb"], "column x, row 0: 'a\\nb' holds a separator"),
                               ("nested", [[[1]]], "column x has type list"), ("struct", [{"a": 1}], "column x has type struct")):
        pyarrow.parquet.write_table(pyarrow.table({"x": column}), root / f"{name}.parquet")
        done = run(root / f"{name}.parquet", root / "bad.tsv", expect=3)
        assert f"{name}.parquet: {text}" in done.stderr, done.stderr
    pyarrow.parquet.write_table(pyarrow.table({"x": ["a", "b", None], "y": [1, None, 3]}), root / "null.parquet")
    for column, row in (("x", 2), ("y", 1)):
        done = run(root / "null.parquet", root / "bad.tsv", "--columns", column, "--rows", 2, expect=3)
        assert f"null.parquet: column {column}, row {row}: an empty value makes an empty line" in done.stderr, done.stderr
    run(root / "null.parquet", root / "two.tsv")
    expect_text(root / "two.tsv", "x\ty\na\t1\nb\t\n\t3\n")
    done = run(root / "history.parquet", root / "bad.tsv", "--columns", "user,pst", expect=2)
    assert "has no column pst; it has user, past, at, read" in done.stderr, done.stderr
    run(root / "history.parquet", root / "bad.tsv", "--list-separator", "tab", expect=2)
    done = run(root / "config.yaml", root / "bad.tsv", expect=3)
    assert "config.yaml" in done.stderr, done.stderr
    run(root / "none.parquet", root / "bad.tsv", expect=4)
    run(root / "history.parquet", root / "none/bad.tsv", expect=4)
    assert not list(root.glob("bad*")) and not list(root.glob("*.tmp-*")), list(root.iterdir())
