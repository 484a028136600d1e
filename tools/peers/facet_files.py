"""Reads what facet writes, with h5py, numpy and PyYAML: schemas, traces, shards. docs/data_format.md and
include/facet/trace.h describe the files; nothing here needs facet itself."""
import pathlib

import h5py
import numpy as np
import yaml

MODEL_ROLES = ("user", "item", "context")


class Feature:
    """One feature of schema.yaml that a model reads. `name` is its input in a trace: "hour", "history.item_id"."""

    def __init__(self, field, entry, sequence=None, embedding_width=None):
        self.sequence = sequence
        self.name = f"{sequence}.{field}" if sequence else field
        self.role = entry.get("role", "behaviour")
        self.vocabulary = entry.get("vocabulary")
        self.is_id = self.vocabulary is not None
        self.table = "embedding." + (entry.get("embedding") or self.vocabulary) if self.is_id else None
        self.width = entry.get("width", embedding_width) if self.is_id else entry.get("length", 1)
        self.bag = entry.get("bag")  # at most so many ids
        self.pooling = entry.get("pooling", "mean")
        self.column = entry.get("column", field)
        self.join = entry.get("join")


class Schema:
    def __init__(self, path):
        text = yaml.safe_load(pathlib.Path(path, "schema.yaml").read_text())
        width = text.get("embedding_width")
        self.features = [Feature(name, entry, embedding_width=width) for name, entry in text["features"].items()]
        self.max_length = {}
        for sequence, entry in text.get("sequences", {}).items():
            self.max_length[sequence] = entry["max_length"]
            self.features += [Feature(name, field, sequence, width) for name, field in entry["features"].items()]
        self.user = next((f.name for f in self.features
                          if f.role == "user" and f.is_id and not f.sequence and not f.bag and not f.join), None)

    def role(self, role):
        """Features of the sample with this role, in the order of the schema."""
        return [f for f in self.features if f.role == role and f.sequence is None]

    def events(self, sequence):
        return [f for f in self.features if f.role == "behaviour" and f.sequence == sequence]


class Trace:
    """One training step: configuration, parameters, tables, inputs, draws, and facet's own results."""

    def __init__(self, path):
        with h5py.File(path) as file:
            assert file.attrs["facet_format"] == b"trace", f"{path} is no trace"
            self.config = yaml.safe_load(file.attrs["config"].decode())
            self.n_rows = int(file.attrs["n_rows"])
            self.inputs = _group(file, "inputs")
            self.draws = _group(file, "draws")
            self.parameters = _group(file, "parameters")
            self.states = _group(file, "states")
            self.tables = _group(file, "tables")
            self.activations = _group(file, "activations")
            self.losses = {name: float(value[0]) for name, value in _group(file, "losses").items()}
            self.monitors = {name: float(value[0]) for name, value in _group(file, "monitors").items()}
            self.gradients = _group(file, "gradients/parameters")
            self.activation_gradients = _group(file, "gradients/activations")
            for name, group in file.get("gradients/tables", {}).items():
                dense = np.zeros_like(self.tables[name])
                dense[group["slot"][:]] = group["rows"][:]
                self.gradients[name] = dense


def _group(file, name):
    entries = file[name].items() if name in file else []
    return {key: value[()] for key, value in entries if isinstance(value, h5py.Dataset)}


class Column:
    """A column of a shard or table: values [N] or [N, length], or bags of ids as values and offsets [N + 1]."""

    def __init__(self, pieces):
        if isinstance(pieces[0], h5py.Group):
            values = [piece["values"][:] for piece in pieces]
            offsets = [piece["offsets"][:] for piece in pieces]
            before = np.cumsum([0] + [len(part) for part in values])
            self.offsets = np.concatenate([[0]] + [part[1:] + first for part, first in zip(offsets, before)])
            self.values = np.concatenate(values)
        else:
            self.values, self.offsets = np.concatenate([piece[:] for piece in pieces]), None

    def take(self, index, bag):
        """Values at index (any shape); bags are padded with 0 to [.., bag]."""
        if self.offsets is None:
            return self.values[index]
        position = self.offsets[index][..., None] + np.arange(bag)
        inside = position < self.offsets[index + 1][..., None]
        return np.where(inside, self.values[np.where(inside, position, 0)], 0)


class Split:
    """A split of a data set in memory; batch(rows) makes what facet's graphs read: windows into the
    histories, joins. newest_first: the sequence that stands in that order; the others have the oldest event first."""

    def __init__(self, path, schema, split, newest_first=None, max_length=0):
        self.schema, self.newest_first = schema, newest_first
        files = [h5py.File(part) for part in sorted(pathlib.Path(path, split).glob("part-*.h5"))]
        self.n_rows = sum(int(file.attrs["num_samples"]) for file in files)
        self.window = {}
        for sequence, longest in schema.max_length.items():
            n_events = [int(file.attrs[f"num_events.{sequence}"]) for file in files]
            before = np.cumsum([0, *n_events[:-1]])
            start = np.concatenate([file[f"samples/{sequence}/start"][:] + n for file, n in zip(files, before)])
            length = np.concatenate([file[f"samples/{sequence}/length"][:] for file in files])
            self.window[sequence] = start, length, min(longest, max_length) if max_length else longest
        self.features = {f.name: f for f in schema.features}
        self.columns = {}
        tables = h5py.File(pathlib.Path(path, "tables.h5")) if pathlib.Path(path, "tables.h5").exists() else {}
        for f in schema.features:
            if f.join:
                pieces = [tables[f"{self.joined(f).vocabulary}/{f.column}"]]
            else:
                path_of_column = f"events/{f.sequence}/{f.column}" if f.sequence else f"samples/{f.column}"
                pieces = [file[path_of_column] for file in files]
            self.columns[f.name] = Column(pieces)

    def joined(self, feature):
        return self.features[f"{feature.sequence}.{feature.join}" if feature.sequence else feature.join]

    def values(self, feature, index):
        if feature.join:
            index = self.values(self.joined(feature), index)
        return self.columns[feature.name].take(index, feature.bag)

    def batch(self, rows):
        """The inputs of a batch of these rows, all valid; named as in a trace."""
        inputs = {"valid": np.ones(len(rows), np.float32)}
        index = {None: (rows, None)}
        for sequence, (start, length, n_slots) in self.window.items():
            n, slot = np.minimum(length[rows], n_slots)[:, None], np.arange(n_slots)
            end = (start + length)[rows][:, None]
            position = end - 1 - slot if sequence == self.newest_first else end - n + slot
            index[sequence] = np.where(slot < n, position, 0), slot < n
            inputs[f"{sequence}.length"] = n[:, 0]
        for f in self.schema.features:
            if f.role in ("time", "group"):
                continue
            position, present = index[f.sequence]
            values = self.values(f, position)
            if present is not None:
                values = np.where(present.reshape(present.shape + (1,) * (values.ndim - 2)), values, 0)
            inputs[f.role if f.role in ("label", "weight") else f.name] = values
        inputs.setdefault("weight", np.ones(len(rows), np.float32))
        return inputs
