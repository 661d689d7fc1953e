"""Whether two folders hold the same numbers: of one sweep done in two places, by two backends or two versions."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError
from .plan import PARAMETERS
from .results import Results

__all__ = ["Same", "held_together"]

#: Columns that are not the same each time: how long a run took.
OF_THE_MACHINE = ("busy_seconds",)


@dataclass(frozen=True)
class Same:
    """Two folders, run by run.

    ``runs``: that are in both; ``columns``: that were compared in each; ``only_a``, ``only_b``: runs that one alone has;
    ``differ``: runs with a number that is not the same; ``first``: parameters of the first of these; ``where``: its columns
    that differ.
    """

    runs: int
    columns: int
    only_a: int
    only_b: int
    differ: int
    first: str | None
    where: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether both have the same runs with the same numbers."""
        return not (self.only_a or self.only_b or self.differ)


def held_together(a: Results, b: Results) -> Same:
    """Compare every column but ``busy_seconds`` of the runs that have the same id, samples included.

    Raises:
        InputError: no run is in both: they are two sweeps.
    """
    mine, theirs = (one.runs["id"].combine_chunks() for one in (a, b))
    both = mine.filter(pc.is_in(mine, theirs))
    if not len(both):
        raise InputError("no run is in both folders: they are of two sweeps, or of one with other workloads")
    # ordered by id already
    left, right = (one.runs.filter(pc.is_in(one.runs["id"], both)).combine_chunks() for one in (a, b))
    names = dict.fromkeys([*left.column_names, *right.column_names])
    compared = [name for name in names if name not in OF_THE_MACHINE]
    differing: dict[int, list[str]] = {}
    for name in compared:
        for row in _differing(left, right, name):
            differing.setdefault(row, []).append(name)
    first = min(differing, default=None)
    return Same(
        len(both),
        len(compared),
        len(mine) - len(both),
        len(theirs) - len(both),
        len(differing),
        None if first is None else _label(left, first),
        () if first is None else tuple(differing[first]),
    )


def _differing(left: pa.Table, right: pa.Table, name: str) -> list[int]:
    """Rows in which a column is not the same."""
    if name not in left.column_names or name not in right.column_names:
        return list(range(left.num_rows))
    if left[name].equals(right[name]):
        return []
    pairs = zip(left[name].to_pylist(), right[name].to_pylist(), strict=True)
    return [row for row, (one, other) in enumerate(pairs) if repr(one) != repr(other)]


def _label(runs: pa.Table, row: int) -> str:
    """The parameters of a run in one line."""
    names = [name for name in (*PARAMETERS, "seed") if name in runs.column_names]
    return ", ".join(f"{name}={runs[name][row].as_py()}" for name in names)
