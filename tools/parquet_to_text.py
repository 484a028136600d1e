#!/usr/bin/env python3
"""Writes a Parquet file as delimited text that facet convert reads: a line of column names, then a line per row.

A list becomes its values with the list separator between them. A missing value (null, and a float that is NaN) becomes
an empty field, or an empty value of a list. Times become whole seconds since 1970 (UTC where they have no zone), dates
too; true and false become 1 and 0. Text that holds a separator or a line break is an error with column and row, and so is
an empty field that would be alone on its line, which facet skips.

Needs pyarrow (tools/requirements.txt). Memory is bounded by --rows rows of the file. Exit status: 2 usage, 3 data, 4 files."""
import argparse
import os
import sys

import pyarrow
import pyarrow.compute as compute
import pyarrow.parquet

NAMED = {"tab": "\t", "comma": ",", "space": " ", "semicolon": ";"}


class Fault(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def is_list(kind):
    return pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)


def to_text(values, name):
    """Array of scalars as an array of text, null where a value is missing."""
    kind = values.type
    if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind):
        seconds = values.cast(pyarrow.timestamp("us", tz=getattr(kind, "tz", None))).cast(pyarrow.int64())
        values = compute.floor(compute.divide(compute.cast(seconds, pyarrow.float64()), 1e6)).cast(pyarrow.int64())
    elif pyarrow.types.is_boolean(kind):
        values = values.cast(pyarrow.int8())
    elif pyarrow.types.is_floating(kind):
        values = compute.if_else(compute.is_nan(values), pyarrow.scalar(None, kind), values)
    elif pyarrow.types.is_dictionary(kind):
        return to_text(values.dictionary_decode(), name)
    elif not (pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise Fault(3, f"column {name} has type {kind}, expected numbers, text, times or lists of them (--columns leaves it out)")
    return values.cast(pyarrow.string())


def check_text(values, name, forbidden, first_row, rows=None):
    """No value may hold a separator. `rows`: the row of each value, where they are values of lists."""
    pattern = "[" + "".join("\\x{%x}" % ord(c) for c in sorted(set(forbidden))) + "]"
    found = compute.index(compute.match_substring_regex(values, pattern), True).as_py()
    if found < 0:
        return
    row = first_row + (rows[found].as_py() if rows is not None else found)
    raise Fault(3, f"column {name}, row {row}: {values[found].as_py()!r} holds a separator or a line break; choose another separator")


def column_text(values, name, separator, list_separator, first_row):
    breaks = separator + "\r\n"
    if not is_list(values.type):
        text = to_text(values, name)
        check_text(text, name, breaks, first_row)
        return compute.fill_null(text, "")
    text = to_text(compute.list_flatten(values), name)
    check_text(text, name, breaks + list_separator, first_row, compute.list_parent_indices(values))
    lengths = compute.fill_null(compute.list_value_length(values), 0).cast(pyarrow.int32())
    offsets = pyarrow.concat_arrays([pyarrow.array([0], pyarrow.int32()), compute.cumulative_sum(lengths)])
    lists = pyarrow.ListArray.from_arrays(offsets, compute.fill_null(text, ""))
    return compute.binary_join(lists, list_separator)


def write_rows(file, out, columns, separator, list_separator, batch_rows):
    first_row = 0
    out.write((separator.join(columns) + "\n").encode())
    for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
        texts = [column_text(batch.column(name), name, separator, list_separator, first_row) for name in columns]
        lines = compute.binary_join_element_wise(*texts, separator)
        empty = compute.index(lines, "").as_py()
        if empty >= 0:
            raise Fault(3, f"column {columns[0]}, row {first_row + empty}: an empty value makes an empty line, which is no row; export another column beside it")
        out.write(("\n".join(lines.to_pylist()) + "\n").encode() if len(lines) > 0 else b"")
        first_row += len(batch)
    return first_row


def convert(arguments):
    separator = NAMED.get(arguments.separator, arguments.separator)
    list_separator = NAMED.get(arguments.list_separator, arguments.list_separator)
    if not separator or not list_separator or separator in list_separator or list_separator in separator:
        raise Fault(2, "--separator and --list-separator must not be empty and must differ")
    file = pyarrow.parquet.ParquetFile(arguments.input)
    known = file.schema_arrow.names
    columns = arguments.columns.split(",") if arguments.columns else known
    for name in columns:
        if name not in known:
            raise Fault(2, f"{arguments.input} has no column {name}; it has {', '.join(known)}")
        if separator in name or "\n" in name:
            raise Fault(3, f"{arguments.input}: the name of column {name!r} holds a separator")
    temporary = f"{arguments.output}.tmp-{os.getpid()}"
    try:
        with open(temporary, "xb") as out:
            n = write_rows(file, out, columns, separator, list_separator, arguments.rows)
        os.replace(temporary, arguments.output)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
    print(f"{arguments.output}: {n} rows, {len(columns)} columns")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", help="Parquet file")
    parser.add_argument("output", help="text file, which is replaced")
    parser.add_argument("--columns", default="", help="names separated by commas, in the order to write; default: all")
    parser.add_argument("--separator", default="tab", help="between fields: tab, comma, semicolon, space or the characters")
    parser.add_argument("--list-separator", default="space", help="between the values of a list, in the same words")
    parser.add_argument("--rows", type=int, default=16384, help="rows held in memory (default 16384)")
    arguments = parser.parse_args()
    try:
        convert(arguments)
    except Fault as fault:
        print(f"parquet_to_text: {arguments.input}: {fault}" if fault.status == 3 else f"parquet_to_text: {fault}",
              file=sys.stderr)
        return fault.status
    except pyarrow.ArrowInvalid as fault:
        print(f"parquet_to_text: {arguments.input}: {fault}", file=sys.stderr)
        return 3
    except OSError as fault:
        print(f"parquet_to_text: {fault}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
