"""Captures: Parquet files with a snapshot, and the ways in which they go bad."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...machine import read_machine
from ...machine.snapshot_file import FILE_SCHEMA, SnapshotFile, write_snapshot
from .machine import Invocation, ask_machine, small_machine, spoil_files, write_folder
from .mutate import NUMBERS, odd_value, spoil_bytes, spoil_json, spoil_text

__all__ = ["ask_dump", "ask_snapshot", "spoil_parquet"]

TYPES = (
    pa.int8(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint64(),
    pa.float64(),
    pa.string(),
    pa.binary(),
    pa.bool_(),
    pa.null(),
)


def ask_dump(folder: Path, out: Path, random: Random) -> Invocation:
    """A folder of /proc files, some of them broken, and a command that reads it."""
    source = folder / "machine"
    write_folder(source, spoil_files(small_machine(random), random), random)
    return ask_machine(source, out, random)


def ask_snapshot(folder: Path, out: Path, random: Random) -> Invocation:
    """A capture, broken, and a command that reads it."""
    source = folder / "machine"
    files = small_machine(random)
    if random.random() < 0.2:
        del files["kpageflags"]
    if not files["page_owner"]:
        # a machine without any owner has no such file
        del files["page_owner"]
    source.mkdir()
    for name, data in files.items():
        (source / name).write_bytes(data)
    path = folder / "machine.parquet"
    write_snapshot(path, SnapshotFile(read_machine(source), {"zoneinfo": files["zoneinfo"].decode()}, {"live": False}))
    spoil_parquet(path, b"pageblock.snapshot", random)
    return ask_machine(path, out, random)


def spoil_parquet(path: Path, described: bytes | None, random: Random) -> None:
    """A Parquet file by its bytes, rows or description. ``described``: the key of the latter; None: the first there is."""
    how = random.randrange(5)
    if how == 0:
        data = path.read_bytes()
        # the footer says how all else is to be read
        cut = len(data) - random.choice((0, 8, min(600, len(data)), len(data)))
        path.write_bytes(data[:cut] + spoil_bytes(data[cut:], random))
    else:
        rewrite(path, described, random, columns=how in (1, 2), metadata=how > 2)


def rewrite(path: Path, described: bytes | None, random: Random, *, columns: bool, metadata: bool) -> None:
    """The file with other rows, or with another description, but in itself whole."""
    table = pq.ParquetFile(path).read()
    told = dict(table.schema.metadata or {})
    table = table.replace_schema_metadata(None)
    if columns:
        for _ in range(random.choice((1, 1, 2))):
            table = spoil_table(table, random)
    if described is None and told:
        described = min(told)
    if metadata and described in told:
        key = described if random.random() < 0.9 else random.choice(list(told))
        how = random.random()
        if how < 0.75 and key == described:
            value = json.loads(told[key])
            for _ in range(random.choice((1, 1, 2, 4))):
                value = spoil_json(value, random)
            told[key] = json.dumps(value).encode("utf-8", "replace")
        elif how < 0.85:
            told.pop(key, None)
        else:
            told[key] = spoil_text(told[key], random)
    table = table.replace_schema_metadata(told)
    pq.write_table(table, path, compression=random.choice(("zstd", "none", "gzip")), store_schema=random.random() < 0.5)


def spoil_table(table: pa.Table, random: Random) -> pa.Table:
    """The rows with others, fewer or more of them, in another order, or a column that is another, of another type or missing."""
    how = random.randrange(8)
    rows = table.num_rows
    if how == 0:
        return table.slice(random.randrange(rows + 1), random.randrange(rows + 1))
    if how == 1:
        return pa.concat_tables([table, table])
    if how == 2 and rows:
        return table.take(pa.array(np.array([random.randrange(rows) for _ in range(rows)])))
    names = table.column_names
    if not names:
        return table
    name = random.choice(names)
    at = names.index(name)
    if how == 3:
        return table.remove_column(at)
    if how == 4:
        return table.rename_columns([random.choice(names) if n == name else n for n in names])
    if how == 5:
        kind = random.choice(TYPES)
        try:
            return table.set_column(at, name, table.column(at).cast(kind, safe=False))
        except (pa.ArrowException, NotImplementedError):
            return table.set_column(at, name, pa.nulls(rows, kind))
    values = table.column(at).to_pylist()
    for _ in range(random.choice((1, 1, 3, rows)) if rows else 0):
        values[random.randrange(rows)] = random.choice((None, *NUMBERS)) if name != "owner" else odd_text(random)
    kind = FILE_SCHEMA.field(name).type if name in FILE_SCHEMA.names else table.schema.field(at).type
    try:
        return table.set_column(at, name, pa.array(values, kind))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        limit = [value if type(value) is int and 0 <= value < 256 else None for value in values]
        return table.set_column(at, name, pa.array(limit, pa.uint8()))


def odd_text(random: Random) -> str | None:
    """A name as no kernel has it, or none."""
    value = odd_value(random)
    return None if value is None else str(value).encode("utf-8", "replace").decode()
