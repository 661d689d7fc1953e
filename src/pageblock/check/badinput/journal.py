"""A log of finished chunks, so that a search that was cut short counts and goes on."""

import json
import operator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..fuzz import lines_so_far
from .campaign import BATCH, ENDS, KINDS, Case, Finding, Result

__all__ = ["Journal"]


class Journal:
    """A file with one line of JSON for each finished chunk of cases.

    ``done``: chunk -> what came of it, findings too; ``path`` None: nothing is kept. A line is written at once, and one that
    was cut short is cut off when the log is read: a process may be killed at any moment and loses the chunk that it is in.
    """

    def __init__(self, path: Path | None, kinds: tuple[str, ...], seed: int) -> None:
        """Read what is there. Raises InputError: it is no such log, or lines cannot be added."""
        self.path = path
        self.key: dict[str, Any] = {"seed": seed, "chunk": BATCH, "kinds": {kind: KINDS[kind] for kind in kinds}}
        self.done: dict[int, Result] = {}
        for number, line in enumerate([] if path is None else lines_so_far(path), 1):
            try:
                row = json.loads(line)
                if row["plan"] == self.key:
                    self.done[_count(row["chunk"])] = _result(row, seed)
                elif not isinstance(row["plan"], dict) or row["plan"].keys() != self.key.keys():
                    raise ValueError
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise InputError(
                    f"{path}, line {number}: this is no line of a log of check bad-input: name another file"
                ) from None

    def add(self, chunk: int, result: Result) -> None:
        """Write the line of a chunk. Raises InputError where that fails."""
        if self.path is None:
            return
        row = {
            "plan": self.key,
            "chunk": chunk,
            "ended": result.ended,
            "slowest": {kind: list(found) for kind, found in result.slowest.items()},
            "findings": [
                [f.case.kind, f.case.number, f.kind, f.text, result.repeated[f.kind]] for f in result.findings
            ],
        }
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(json.dumps(row).encode("ascii") + b"\n")
        except OSError as error:
            raise InputError(
                f"{self.path}: {error.strerror or error}; make room, and call again with this log"
            ) from error


def _count(value: object) -> int:
    """A number from 0. Raises ValueError or TypeError."""
    if isinstance(value, bool) or (number := operator.index(value)) < 0:  # type: ignore[arg-type]
        raise ValueError
    return number


def _result(row: dict[str, Any], seed: int) -> Result:
    """What a line tells. Raises ValueError, TypeError or KeyError where it is none."""
    result = Result()
    for kind, counts in row["ended"].items():
        if kind not in KINDS or not set(counts) <= set(ENDS):
            raise ValueError
        result.ended[kind] = {end: _count(count) for end, count in counts.items()}
        result.cases[kind] = sum(result.ended[kind].values())
        seconds, number = row["slowest"][kind]
        if not 0 <= seconds < 1e9:
            raise ValueError
        result.slowest[kind] = float(seconds), _count(number)
    for kind, number, sort, text, times in row["findings"]:
        if kind not in result.ended or not isinstance(sort, str) or not isinstance(text, str):
            raise ValueError
        result.findings.append(Finding(Case(kind, seed, _count(number)), _printable(sort), _printable(text)))
        result.repeated[_printable(sort)] = _count(times)
    if result.total > BATCH:
        raise ValueError
    return result


def _printable(text: str) -> str:
    """As a terminal may show it."""
    return text if text.isprintable() else repr(text)
