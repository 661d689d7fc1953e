"""When which pages come to their end: a calendar in two levels, so that filing many costs little."""

import numpy as np
import numpy.typing as npt

from .workload import TICK

__all__ = ["DUE", "Calendar"]

#: An end: when, in parts of a tick since the start; the handle; which of its uses.
DUE = np.dtype([("due", np.int64), ("handle", np.uint32), ("use", np.uint32)])

Dues = npt.NDArray[np.void]

#: Ticks of a chunk: ends within the present chunk are filed by tick, later ones by chunk.
_CHUNK = 64


class Calendar:
    """Ends by tick. ``take`` is called once a tick, ascending from 0."""

    def __init__(self) -> None:
        self.chunk = 0
        self.near: dict[int, list[Dues]] = {}
        self.far: dict[int, list[Dues]] = {}

    def file(self, dues: Dues) -> None:
        """Remember ends, none of a tick that was taken."""
        tick = dues["due"] // TICK
        far = tick // _CHUNK > self.chunk
        if far.any():
            _file(self.far, dues[far], tick[far] // _CHUNK)
            dues, tick = dues[~far], tick[~far]
        _file(self.near, dues, tick)

    def take(self, tick: int) -> Dues:
        """All ends of a tick, which are forgotten."""
        if tick // _CHUNK > self.chunk:
            self.chunk = tick // _CHUNK
            for dues in self.far.pop(self.chunk, []):
                self.file(dues)
        found = self.near.pop(tick, None)
        return np.concatenate(found) if found else np.zeros(0, DUE)


def _file(where: dict[int, list[Dues]], dues: Dues, keys: npt.NDArray[np.int64]) -> None:
    """Append to the list of each key; entries of one key keep their order."""
    if not len(dues):
        return
    order = np.argsort(keys, kind="stable")
    dues, keys = dues[order], keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(keys)], strict=True):
        where.setdefault(int(keys[start]), []).append(dues[start:end])
