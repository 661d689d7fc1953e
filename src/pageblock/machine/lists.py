"""Free lists and per-cpu lists in their exact order, where a source knows it."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import Migratetype

__all__ = ["FreeLists", "pcp_index"]

I64 = NDArray[np.int64]

#: Highest order below that of huge pages that per-cpu lists hold (PAGE_ALLOC_COSTLY_ORDER), and types on them.
COSTLY_ORDER, PCP_TYPES = 3, 3


@dataclass(frozen=True)
class FreeLists:
    """Blocks of all lists, each list's from its head on. ``zone``: index of the snapshot's; ``pcp``: on a per-cpu list.

    Per-cpu lists of several CPUs are one, that of the first CPU in front.
    """

    zone: I64
    pfn: I64
    order: I64
    migratetype: I64
    pcp: NDArray[np.bool_]

    def __eq__(self, other: object) -> bool:
        """Whether every list is the same; in which order the lists themselves stand does not matter."""
        if not isinstance(other, FreeLists):
            return NotImplemented
        mine, theirs = self.sorted(), other.sorted()
        return all(np.array_equal(getattr(mine, f.name), getattr(theirs, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]

    def take(self, index: I64 | NDArray[np.bool_]) -> "FreeLists":
        """The blocks at these places."""
        return FreeLists(*(getattr(self, f.name)[index] for f in fields(self)))

    def sorted(self) -> "FreeLists":
        """List after list, by zone, kind, order and type; the order inside a list stays."""
        return self.take(np.lexsort((self.migratetype, self.order, self.pcp, self.zone)))


def pcp_index(order: int, migratetype: int) -> int:
    """Number of the per-cpu list of an order and type (order_to_pindex, mm/page_alloc.c, 6.1.192 and 6.12)."""
    if order > COSTLY_ORDER:
        return PCP_TYPES * (COSTLY_ORDER + 1) + (migratetype == Migratetype.MOVABLE)
    return PCP_TYPES * order + migratetype
