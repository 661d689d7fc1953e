"""What an ``N`` line of a trace counts: the accounting of isolated pageblocks, page by page over the whole zone."""

import numpy as np
import numpy.typing as npt

from ..mm import Migratetype, Zone

__all__ = ["accounting"]

#: Handles from here on hold no page of the zone.
_NO_PAGE = 0xFFFFFFFE


def accounting(zone: Zone, handles: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> dict[str, int]:
    """The recorder's counts, by its names.

    ``nr_isolate``, ``stat``: the counters; ``isoblk``: isolated pageblocks; ``isolist``: pages on ISOLATE lists, ``lost``:
    those of them outside isolated pageblocks; ``leak``: pages of isolated pageblocks on other lists, ``wrong``: others on another
    list than their pageblock's; ``cnt``: pages on lists but ISOLATE; ``drift``: stat - cnt; and see ``_misplaced``.

    Args:
        handles: frame of each handle's first page, counted from ``zone.base()``.
        sizes: pages of each handle.
    """
    types = zone.pageblock_types
    block = 1 << zone.geometry.pageblock_order
    first_block = zone.start_pfn // block
    found = dict.fromkeys(("isolist", "lost", "leak", "wrong", "cnt"), 0)
    for order in range(zone.geometry.max_order + 1):
        for mt in Migratetype:
            pfns = zone.free_list(order, mt).astype(np.int64)
            pages = len(pfns) << order
            if order > zone.geometry.pageblock_order:
                # page by page, as far as types can differ
                steps = np.arange(0, 1 << order, block, dtype=np.int64)
                pfns = (pfns[:, None] + steps).reshape(-1)
            piece = min(1 << order, block)
            lies_in = types[pfns // block - first_block] if len(pfns) else np.zeros(0, np.uint8)
            other = int((lies_in != mt).sum()) * piece
            isolated = int((lies_in == Migratetype.ISOLATE).sum()) * piece
            if mt == Migratetype.ISOLATE:
                found["isolist"] += pages
                found["lost"] += other
            else:
                found["cnt"] += pages
                found["leak"] += isolated
                found["wrong"] += other - isolated
    found |= _misplaced(zone, handles, sizes)
    found["nr_isolate"] = zone.nr_isolate_pageblock
    found["isoblk"] = int((types == Migratetype.ISOLATE).sum())
    found["stat"] = zone.vm_stats()[0]
    found["drift"] = found["stat"] - found["cnt"]
    return found


def _misplaced(zone: Zone, handles: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> dict[str, int]:
    """``olap``: listed pages that a handle owns; ``twice``: pages listed twice; ``mis``: entries not aligned to their size."""
    nr_pages = zone.geometry.nr_pages
    # +1 where a block begins and -1 behind its end: the running sum says how often a page is covered
    listed = np.zeros(nr_pages + 1, np.int64)
    misaligned = 0
    for order in range(zone.geometry.max_order + 1):
        for mt in Migratetype:
            pfns = zone.free_list(order, mt).astype(np.int64)
            misaligned += int((pfns % (1 << order) != 0).sum())
            np.add.at(listed, pfns - zone.start_pfn, 1)
            np.subtract.at(listed, np.minimum(pfns - zone.start_pfn + (1 << order), nr_pages), 1)
    owned = np.zeros(nr_pages + 1, np.int64)
    live = np.flatnonzero(handles < _NO_PAGE)
    starts = handles[live].astype(np.int64) - (zone.start_pfn - zone.base())
    np.add.at(owned, starts, 1)
    np.subtract.at(owned, starts + sizes[live], 1)
    times = np.cumsum(listed)
    return {
        "olap": int(((times > 0) & (np.cumsum(owned) > 0)).sum()),
        "twice": int((times > 1).sum()),
        "mis": misaligned,
    }
