"""The script in docs/data_format.md writes a data set that facet trains on, and that has the histories it should have.
Usage: data_format.py FACET"""
import pathlib
import re
import subprocess
import sys
import tempfile

import h5py

facet = sys.argv[1]
source = pathlib.Path(__file__).resolve().parents[2]
page = (source / "docs/data_format.md").read_text()
scripts = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
assert len(scripts) == 1, f"docs/data_format.md has {len(scripts)} Python blocks, expected 1"


def run(*arguments, expect=0):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == expect, f"{arguments} exits with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


with tempfile.TemporaryDirectory() as directory:
    root = pathlib.Path(directory)
    script = root / "make_tiny.py"
    script.write_text(scripts[0])
    run(sys.executable, str(script), str(root / "tiny"))
    done = run(facet, "inspect", str(root / "tiny"), "--verify")
    assert "verified     7 files, no fault" in done.stdout, done.stdout
    train = [facet, "train", str(source / "models/mean_pooling.yaml"), "--set", f"data.path={root / 'tiny'}", "--output"]
    done = run(*train, str(root / "run"))
    assert "train: 6 samples in 1 part" in done.stderr, done.stderr
    run(facet, "evaluate", str(root / "run"), "--split", "valid")

    part = root / "tiny/train/part-00000.h5"
    with h5py.File(part, "r+") as file:
        assert file["samples/history/length"][:].tolist() == [1, 2, 3, 0, 1, 2], "windows end before their sample"
        file["samples/item_id"][4] = 7  # outside the vocabulary
    done = run(*train, str(root / "damaged"), expect=3)
    assert "part-00000.h5: /samples/item_id: row 4: id 7" in done.stderr, done.stderr
    with h5py.File(part, "r+") as file:
        del file["schema"]
    done = run(*train, str(root / "unknown"), expect=3)
    assert "has neither attribute schema_hash nor /schema" in done.stderr, done.stderr
