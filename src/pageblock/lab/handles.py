"""Who owns which page while a workload runs: a table of handles, grown as needed, used again and again."""

import numpy as np
import numpy.typing as npt

__all__ = ["EMPTY", "Handles"]

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]

#: In ``frames``: no page.
EMPTY = 0xFFFFFFFF

_FIRST = 1 << 12


class Handles:
    """Handles of ``Zone.run`` with what is known of their pages.

    Attributes:
        frames: an array a zone, as ``Zone.run`` keeps it; a handle has a page in one of them at most.
        zone, order, actor, spare: zone number, order, actor number, and how often reclaim still passes it over.
        use: counted up whenever a handle is given back, so that what was noted of an earlier use can be told.
        due: end of the page's life, in parts of a tick, or FOREVER.
        in_use: whether it has a page, as far as the engine has heard.
    """

    def __init__(self, nr_zones: int) -> None:
        self.frames = [np.full(_FIRST, EMPTY, np.uint32) for _ in range(nr_zones)]
        self.zone, self.order, self.actor, self.spare = (np.zeros(_FIRST, np.uint8) for _ in range(4))
        self.use = np.zeros(_FIRST, np.uint32)
        self.due = np.zeros(_FIRST, np.int64)
        self.in_use = np.zeros(_FIRST, np.bool_)
        self._pool = np.arange(_FIRST, dtype=np.uint32)[::-1].copy()
        self._left = _FIRST
        self._given: list[U32] = []

    def take(self, count: int) -> U32:
        """``count`` handles that are not in use."""
        while self._left < count:
            self._grow()
        self._left -= count
        return self._pool[self._left : self._left + count][::-1].copy()

    def give(self, handles: U32) -> None:
        """Hand back handles whose pages are gone; none is taken again before ``settle``."""
        if len(handles):
            self.use[handles] += 1
            self._given.append(handles)

    def settle(self) -> None:
        """Let what was handed back be taken again."""
        for handles in self._given:
            end = self._left + len(handles)
            self._pool[self._left : end] = handles
            self._left = end
        self._given = []

    def lost(self, zone: int) -> U32:
        """Handles whose pages in a zone are gone without anybody's having freed them: clean pages of a contiguous range."""
        found = self.in_use & (self.frames[zone] == EMPTY) & (self.zone == zone)
        return np.flatnonzero(found).astype(np.uint32)

    def _grow(self) -> None:
        """Twice as many."""
        old = len(self.use)
        self.frames = [np.concatenate([f, np.full(old, EMPTY, np.uint32)]) for f in self.frames]
        for name in ("zone", "order", "actor", "spare", "use", "due", "in_use"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        pool = np.empty(2 * old, np.uint32)
        # the new ones below those that are left
        pool[:old] = np.arange(2 * old - 1, old - 1, -1, dtype=np.uint32)
        pool[old : old + self._left] = self._pool[: self._left]
        self._pool = pool
        self._left += old
