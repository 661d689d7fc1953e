"""The bounds of an exploration: the small zone, what may happen in it, how much at once."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...mm import Migratetype, Zone, release
from ...mm import constants as k
from ..shortest import Menu, boot
from . import codes as c
from .promises import promised

__all__ = ["OPERATIONS", "Bounds"]

#: Operations that can be asked for by name; each with what gives back what it took.
OPERATIONS = ("alloc", "isolate", "contig", "cma", "interrupt")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is explored.

    Args:
        operations: of ``OPERATIONS``; "cma" makes a CMA area at boot, the last pageblocks that the release allows; "interrupt"
            is a contig range whose caller has a fatal signal pending.
        types: migratetypes that are allocated.
        lengths: pages of the ranges that alloc_contig_range is asked for; (): one page, a pageblock, a max order block.
        requests: allocations and ranges held at once, at most.
        isolations: ranges held isolated at once, at most.
        depth: operations of a sequence, at most; None: no bound.
        across: ranges also cross the borders of windows (the larger of max order block and pageblock); then windows
            are not exchanged.
        plain: unmovable blocks above order 0 are no compound pages.
        fold: states that differ by an exchange of windows count as one.
        promises: HOLDS_* bits that are checked; None: the release's own.

    Raises:
        InputError: no such zone, or nothing to do in it.
        GeometryError, ReleaseError: as for ``Zone``.
    """

    release: str = "6.1"
    nr_pages: int = 16
    pageblock_order: int = 1
    max_order: int = 2
    operations: tuple[str, ...] = ("alloc", "isolate", "contig")
    types: tuple[int, ...] = (int(Migratetype.UNMOVABLE), int(Migratetype.MOVABLE))
    lengths: tuple[int, ...] = ()
    requests: int = 2
    isolations: int = 1
    depth: int | None = None
    across: bool = False
    plain: bool = False
    fold: bool = True
    promises: int | None = None

    def __post_init__(self) -> None:
        if not 8 <= self.nr_pages <= c.MOST_PAGES:
            raise InputError(f"a zone of {self.nr_pages} pages is not explored: choose 8 to {c.MOST_PAGES}")
        if self.window_order > 6:
            raise InputError(
                f"a window of order {self.window_order} has more than {c.MOST_PAGES} pages: lower pageblock order or max order"
            )
        Zone(self.nr_pages, self.release, 0, self.max_order, self.pageblock_order)
        if self.nr_pages % (1 << self.pageblock_order):
            raise InputError(
                f"{self.nr_pages} pages are no whole number of pageblocks of {1 << self.pageblock_order}: choose a multiple"
            )
        if self.depth is not None and self.depth < 0:
            raise InputError(f"depth is {self.depth}: choose 0 or more")
        if self.requests < 1:
            raise InputError(f"{self.requests} requests at once leave nothing to explore: choose 1 or more")
        if self.isolations < 0:
            raise InputError(f"isolations is {self.isolations}: choose 0 or more")
        if not self.operations or not self.types:
            raise InputError(
                f"without operations and types there is nothing to explore: choose of {', '.join(OPERATIONS)}"
            )
        for name in self.operations:
            if name not in OPERATIONS:
                raise InputError(f"there is no operation {name!r}: choose of {', '.join(OPERATIONS)}")
        for length in self.lengths:
            if not 1 <= length <= self.nr_pages:
                raise InputError(f"a range of {length} pages does not fit {self.nr_pages}: choose 1 to that")
        if "cma" in self.operations and (1 << self.cma_order) * 2 > self.nr_pages:
            raise InputError(
                f"release {self.release} aligns CMA areas to {1 << self.cma_order} pages, half of {self.nr_pages} at least: "
                "give the zone more pages"
            )

    @property
    def window_order(self) -> int:
        """Order of the larger of a max order block and a pageblock."""
        return max(self.max_order, self.pageblock_order)

    @property
    def unit_order(self) -> int:
        """To what isolation rounds (rule "span")."""
        whole = release(self.release).rules[k.RULE_SPAN] == k.SPAN_MAX_ORDER
        return self.window_order if whole else self.pageblock_order

    @property
    def cma_order(self) -> int:
        """To what a CMA area is aligned (rule "cma alignment")."""
        whole = release(self.release).rules[k.RULE_CMA_ALIGN] == k.ALIGN_MAX_ORDER
        return self.window_order if whole else self.pageblock_order

    @property
    def area(self) -> tuple[int, int] | None:
        """The CMA area [start, end): the last stretch of its alignment."""
        if "cma" not in self.operations:
            return None
        size = 1 << self.cma_order
        end = self.nr_pages // size * size
        return end - size, end

    @property
    def held_to(self) -> int:
        """HOLDS_* bits that are checked."""
        return promised(release(self.release)) if self.promises is None else self.promises

    @property
    def nr_folded(self) -> int:
        """Windows, from the first on, that may be exchanged: whole ones without a CMA pageblock."""
        if not self.fold or self.across:
            return 0
        free = self.nr_pages if self.area is None else self.area[0]
        return free >> self.window_order

    def table(self) -> npt.NDArray[np.uint8]:
        """All operations: rows of DO_* and two numbers."""
        rows: list[tuple[int, int, int]] = []
        pages = range(self.nr_pages)
        if "alloc" in self.operations:
            rows += [(c.DO_ALLOC, order, mt) for order in range(self.max_order + 1) for mt in self.types]
            rows += [(c.DO_FREE, pfn, 0) for pfn in pages]
        if "isolate" in self.operations:
            size = 1 << self.unit_order
            for what in (c.DO_ISOLATE, c.DO_UNDO):
                rows += [(what, start, min(size, self.nr_pages - start)) for start in range(0, self.nr_pages, size)]
        if "contig" in self.operations:
            lengths = self.lengths or (1, 1 << self.pageblock_order, 1 << self.max_order)
            for length in sorted(set(lengths)):
                for start in range(self.nr_pages - length + 1):
                    inside = start >> self.window_order == (start + length - 1) >> self.window_order
                    if inside or self.across:
                        rows.append((c.DO_CONTIG, start, length))
            rows += [(c.DO_FREE_CONTIG, pfn, 0) for pfn in pages]
        if "interrupt" in self.operations:
            size = 1 << self.pageblock_order
            rows += [(c.DO_INTERRUPTED, start, size) for start in range(0, self.nr_pages, size)]
        if self.area is not None:
            rows += [(c.DO_CMA_ALLOC, count, 0) for count in sorted({1, 1 << self.pageblock_order})]
            rows += [(c.DO_CMA_RELEASE, pfn, 0) for pfn in range(*self.area)]
        return np.array(rows, np.uint8).reshape(-1, 3)

    def boot(self) -> Zone:
        """The zone as at boot."""
        return boot(self.release, Menu(self.nr_pages, self.pageblock_order, self.max_order), self.area)

    def settings(self) -> dict[str, int]:
        """What ``Explorer.settle`` takes."""
        start, end = self.area or (0, 0)
        return {
            "promises": self.held_to,
            "window_order": self.window_order,
            "nr_folded": self.nr_folded,
            "most_requests": self.requests,
            "most_isolated": self.isolations,
            "unit_order": self.unit_order,
            "kernel_flags": k.C_KERNEL if self.plain else k.C_KERNEL | k.PG_COMPOUND,
            "cma_start": start,
            "cma_end": end,
        }

    def told(self) -> dict[str, Any]:
        """All of it, for JSON and checkpoints."""
        return asdict(self)
