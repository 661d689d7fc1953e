"""An exploration in a file, to be gone on with: what was seen, what is left, where each state came from.

The file is a numpy archive. It is written beside the old one and takes its name when it is whole, so that whatever happens one
whole file is there. Each array's digest is in it, too: the compiled loop trusts the states that it is given, so that nothing goes
there that ``save`` did not write.
"""

import hashlib
import json
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...output import whole_file
from .bounds import Bounds
from .explore import Batch, Search

__all__ = ["load", "save"]

_FORMAT = "pageblock exploration 2"


def save(search: Search, path: Path, stopped: str) -> None:
    """Write the search as it stands between two rounds. Raises InputError if it cannot be written."""
    arrays: dict[str, Any] = {}
    told: dict[str, Any] = {
        "format": _FORMAT,
        "bounds": search.bounds.told(),
        "jobs": search.jobs,
        "depth": search.depth,
        "seconds": search.seconds,
        "stopped": stopped,
        "workers": [],
    }
    for i, (worker, origins) in enumerate(zip(search.workers, search.origins(), strict=True)):
        pairs = worker.table.reshape(-1, 2)
        arrays[f"seen{i}"] = pairs[pairs[:, 0] != 0]
        arrays[f"origins{i}"] = origins
        for name, batches in (("now", worker.now), ("next", worker.next)):
            records = [batch.peek() for batch in batches]
            arrays[f"{name}{i}"] = np.concatenate(records) if records else np.zeros(0, np.uint8)
            arrays[f"{name}_numbers{i}"] = np.array([batch.number for batch in batches], np.uint64)
            arrays[f"{name}_bytes{i}"] = np.array([len(r) for r in records], np.int64)
        out = worker.out
        arrays[f"out{i}"] = np.concatenate([np.zeros(0, np.uint8), *(records for records, _ in out)])
        arrays[f"out_from{i}"] = np.concatenate([np.zeros(0, np.uint64), *(origins for _, origins in out)])
        told["workers"].append({"at": worker.at, "states": worker.states, **worker.explorer.counts()})
    told["digests"] = {name: _digest(array) for name, array in arrays.items()}
    arrays["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    arrays["digest"] = np.frombuffer(_digest(arrays["told"]).encode(), np.uint8)
    with whole_file(path, force=True) as file:
        np.savez(file, **arrays)


def _digest(array: Any) -> str:
    """Of an array's bytes, type and shape."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, key=f"{array.dtype.str}{array.shape}".encode()).hexdigest()


class _ChangedError(ValueError):
    """An array is not as it was written."""


class _Arrays:
    """The arrays of a file, each as it was written. ``[name]`` raises ``_ChangedError`` where it is not."""

    def __init__(self, file: Any) -> None:
        self.file = file
        if bytes(file["digest"]) != _digest(file["told"]).encode():
            raise _ChangedError("its description was changed")
        self.told: dict[str, Any] = json.loads(bytes(file["told"]))

    def __getitem__(self, name: str) -> Any:
        array = self.file[name]
        if _digest(array) != self.told["digests"][name]:
            raise _ChangedError(f"{name} was changed")
        return array


def load(path: Path, depth: int | None, memory: int) -> tuple[Search, str]:
    """The search that a file holds, and why it had ended; ``depth``: a new bound, None: the file's.

    Raises:
        InputError: no such file, or no exploration, or not enough memory allowed.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            if json.loads(bytes(file["told"]))["format"] != _FORMAT:
                raise InputError(f"{path}: made by another version of pageblock: explore anew")
            arrays = _Arrays(file)
            return _restored(path, arrays, arrays.told, depth, memory)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file: name one that --out wrote") from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        EOFError,
        # of an archive's header that is broken: another version, encrypted, another compression, terabytes
        RuntimeError,
        MemoryError,
        OverflowError,
        struct.error,
        # numpy reads an array's header with Python's own tokenizer
        tokenize.TokenError,
        SyntaxError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        why = f" ({error})" if isinstance(error, _ChangedError) else ""
        raise InputError(f"{path}: this is no whole exploration{why}: name a file that --out wrote") from None


def _restored(path: Path, file: _Arrays, told: dict[str, Any], depth: int | None, memory: int) -> tuple[Search, str]:
    told["bounds"] = {key: tuple(v) if isinstance(v, list) else v for key, v in told["bounds"].items()}
    if depth is not None:
        told["bounds"]["depth"] = depth
    search = Search(Bounds(**told["bounds"]), told["jobs"], memory)
    search.depth = told["depth"]
    search.seconds = told["seconds"]
    for i, (worker, counted) in enumerate(zip(search.workers, told["workers"], strict=True)):
        seen = file[f"seen{i}"]
        slots = len(worker.table) // 2
        while len(seen) + 2 * len(search.table) >= slots // 3 * 2:
            slots *= 2
        if 16 * slots > memory:
            raise InputError(f"{path}: {len(seen):,} states need more than --memory allows: raise it")
        worker.table = np.zeros(2 * slots, np.uint64)
        worker.explorer.fill_table(worker.table, np.ascontiguousarray(seen).reshape(-1))
        worker.origins = [file[f"origins{i}"]]
        worker.at, worker.states = counted["at"], counted["states"]
        worker.explorer.recount(counted["transitions"], counted["weak"], counted["weak_state"], counted["weak_op"])
        for name, batches in (("now", worker.now), ("next", worker.next)):
            records = file[f"{name}{i}"]
            begin = 0
            numbers, sizes = file[f"{name}_numbers{i}"].tolist(), file[f"{name}_bytes{i}"].tolist()
            for number, size in zip(numbers, sizes, strict=True):
                batches.append(Batch(records[begin : begin + size].copy(), number))
                begin += size
        if len(file[f"out_from{i}"]):
            worker.out = [(file[f"out{i}"], file[f"out_from{i}"])]
    return search, told["stopped"]
