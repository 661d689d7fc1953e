"""Pages that somebody holds beyond what maps and caches them, where a source counts references (kernel dumps)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_HELD", "HeldPage", "HeldPages"]

I64 = NDArray[np.int64]

#: Held pages of which references are kept; the flag of a run says it of all.
MOST_HELD = 1 << 16


@dataclass(frozen=True, slots=True)
class HeldPage:
    """One of them: the fields of ``HeldPages`` as numbers."""

    pfn: int
    order: int
    refcount: int
    mapcount: int
    pins: int
    extra: int
    word: int


@dataclass(frozen=True)
class HeldPages:
    """Heads of pages with references that nothing explains, by ascending pfn; arrays of one length.

    ``order`` of its compound page; ``refcount`` and ``mapcount`` (of all its pages together) as the kernel counts them; ``pins``:
    FOLL_PIN, where it has a count of its own (large pages; -1: it has none); ``extra``: references beyond those of mappings,
    page or swap cache, buffers and LRU batches; ``word``: what kpageflags would show.
    """

    pfn: I64
    order: I64
    refcount: I64
    mapcount: I64
    pins: I64
    extra: I64
    word: I64

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeldPages) and self.rows() == other.rows()

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.pfn)

    def rows(self) -> list[list[int]]:
        """A list a page, in the order of the fields."""
        found: list[list[int]] = np.column_stack([getattr(self, f.name) for f in fields(self)]).tolist()
        return found

    @classmethod
    def of_rows(cls, rows: Sequence[Sequence[Any]] | I64) -> "HeldPages":
        """What ``rows`` gave. Raises ValueError for anything else."""
        table = np.array(rows, np.int64).reshape(-1, len(fields(cls)))
        if (np.diff(table[:, 0]) <= 0).any():
            raise ValueError("held pages are not in order")
        return cls(*(np.ascontiguousarray(column) for column in table.T))

    def take(self, index: I64 | NDArray[np.bool_]) -> "HeldPages":
        """The pages at these places."""
        return HeldPages(*(getattr(self, f.name)[index] for f in fields(self)))

    def index(self, pfns: I64) -> I64:
        """The place of the page that holds each pfn, -1 where none does."""
        at = np.searchsorted(self.pfn, pfns, "right") - 1
        if not len(self):
            return np.full(len(pfns), -1, np.int64)
        inside = (at >= 0) & (pfns < self.pfn[at] + (np.int64(1) << self.order[at]))
        return np.where(inside, at, -1)

    def of(self, pfn: int) -> HeldPage | None:
        """The page that holds a pfn; None where none does."""
        at = int(self.index(np.array([pfn], np.int64))[0])
        return None if at < 0 else HeldPage(*(int(getattr(self, f.name)[at]) for f in fields(self)))
