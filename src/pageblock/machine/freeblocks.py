"""Free blocks of the buddy allocator from the set of free pages.

Below the pageblock order two free buddies always merge (mm/page_alloc.c, __free_one_page), so
cutting each maximal free range into its largest naturally aligned blocks is exact there. From the
pageblock order up the types of the two pageblocks decide; /proc/buddyinfo tells how many merged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import Migratetype, PageClass

from .kpageflags import SCAN_ZERO
from .runs import I64, U8, PageRuns, concat, make_runs

__all__ = ["FreeBlocks", "decompose", "heads_only", "order_counts", "rebuild_from_heads", "unmerge"]

#: Types that __free_one_page never merges with another type from the pageblock order up
#: (migratetype_is_mergeable, 5.18 and later).
UNMERGEABLE = (Migratetype.HIGHATOMIC, Migratetype.CMA, Migratetype.ISOLATE)


@dataclass(frozen=True)
class FreeBlocks:
    """Free blocks: first pfn and order, ascending."""

    pfn: I64
    order: U8

    def __len__(self) -> int:
        return len(self.pfn)

    @property
    def nr_pages(self) -> I64:
        """Pages of each block."""
        return np.int64(1) << self.order.astype(np.int64)


def order_counts(blocks: FreeBlocks, max_order: int) -> I64:
    """Blocks per order, 0 to max_order."""
    return np.bincount(blocks.order, minlength=max_order + 1).astype(np.int64)


def decompose(start: I64, nr_pages: I64, max_order: int) -> FreeBlocks:
    """Cut free ranges that do not touch each other into maximal aligned blocks.

    O(ranges x orders) plus the number of blocks.
    """
    start = start.copy()
    end = start + nr_pages
    pfns: list[I64] = []
    orders: list[U8] = []

    def emit(pfn: I64, order: int) -> None:
        pfns.append(pfn)
        orders.append(np.full(len(pfn), order, np.uint8))

    for order in range(max_order):
        size = np.int64(1 << order)
        low = ((start & size) != 0) & (start + size <= end)
        emit(start[low], order)
        start[low] += size
        high = ((end & size) != 0) & (end - size >= start)
        end[high] -= size
        emit(end[high], order)
    count = (end - start) >> max_order
    index = np.repeat(np.arange(len(start)), count)
    nth = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    emit(start[index] + (nth << max_order), max_order)
    return in_order(np.concatenate(pfns), np.concatenate(orders))


def in_order(pfn: I64, order: U8) -> FreeBlocks:
    ascending = np.argsort(pfn)
    return FreeBlocks(pfn[ascending], order[ascending])


def heads_only(nr_buddy_words: int, counts: tuple[int, ...]) -> bool:
    """Whether this kernel sets KPF_BUDDY on the first page of a free block only (4.1 to 4.x).

    Decided by what the number of BUDDY words is nearer to: the free blocks or the free pages.
    """
    blocks = sum(counts)
    pages = sum(count << order for order, count in enumerate(counts))
    if nr_buddy_words == 0 or pages < 2 * blocks:
        return False
    return abs(nr_buddy_words - blocks) < abs(nr_buddy_words - pages)


def rebuild_from_heads(runs: PageRuns, max_order: int, counts: tuple[int, ...]) -> tuple[FreeBlocks, PageRuns]:
    """Blocks where only their heads are marked, and the runs with those blocks made FREE.

    A block takes the largest order that its alignment, the all-zero words after its head and the
    orders that buddyinfo has at all allow: its tail words are 0. A smaller block followed by plain
    kernel pages looks the same, so this is an upper bound.
    """
    is_head = runs.page_class == PageClass.FREE
    is_zero = (runs.flags & SCAN_ZERO) != 0
    index = np.flatnonzero(is_head)
    per_run = runs.nr_pages[index]
    owner = np.repeat(index, per_run)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(per_run) - per_run, per_run)
    pfn = runs.start_pfn[owner] + nth
    following = np.minimum(owner + 1, len(runs) - 1)
    zeros_follow = (
        (pfn + 1 == runs.end_pfn[owner])
        & (following > owner)
        & is_zero[following]
        & (runs.start_pfn[following] == pfn + 1)
    )
    room = 1 + np.where(zeros_follow, runs.nr_pages[following], 0)
    highest = max((order for order, count in enumerate(counts) if count), default=max_order)
    order = np.zeros(len(pfn), np.uint8)
    for step in range(1, highest + 1):
        size = np.int64(1 << step)
        order[((pfn & (size - 1)) == 0) & (room >= size)] = step
    blocks = FreeBlocks(pfn, order)
    used = np.zeros(len(runs), np.int64)
    used[following[zeros_follow]] = (blocks.nr_pages - 1)[zeros_follow]
    rest = PageRuns(
        runs.start_pfn + used,
        runs.nr_pages - used,
        runs.page_class,
        runs.order,
        runs.flags,
        runs.migratetype,
    ).take(~is_head & (runs.nr_pages > used))
    return blocks, concat([rest, make_runs(pfn, blocks.nr_pages, PageClass.FREE)])


def unmerge(
    blocks: FreeBlocks,
    types: U8,
    first_block: int,
    pageblock_order: int,
    counts: tuple[int, ...],
) -> tuple[FreeBlocks, int]:
    """Split blocks above the pageblock order until their numbers agree with buddyinfo.

    A block is split only where that mends two orders at once: too many of its own, too few of the
    one below. Blocks that join pageblocks of types that do not merge come first. ``types`` are the
    pageblocks' from ``first_block`` (pfn >> pageblock_order) on. Also gives how many of the splits
    had no such reason.
    """
    guessed = 0
    unmergeable = np.isin(types, np.array(UNMERGEABLE, np.uint8))
    for order in range(len(counts) - 1, pageblock_order, -1):
        have = order_counts(blocks, len(counts) - 1)
        wanted = min(have[order] - counts[order], (counts[order - 1] - have[order - 1]) // 2)
        if wanted <= 0:
            continue
        index = np.flatnonzero(blocks.order == order)
        half = np.int64(1 << (order - 1))
        low = types[(blocks.pfn[index] >> pageblock_order) - first_block]
        at_high = ((blocks.pfn[index] + half) >> pageblock_order) - first_block
        high = types[at_high]
        low_at = (blocks.pfn[index] >> pageblock_order) - first_block
        reason: NDArray[np.bool_] = (low != high) & (unmergeable[low_at] | unmergeable[at_high])
        ranked = index[np.argsort(~reason * 2 - (low != high), kind="stable")]
        split = ranked[:wanted]
        guessed += max(0, int(wanted) - int(reason.sum()))
        order_column = blocks.order.copy()
        order_column[split] = order - 1
        blocks = in_order(
            np.append(blocks.pfn, blocks.pfn[split] + half),
            np.append(order_column, np.full(len(split), order - 1, np.uint8)),
        )
    return blocks, guessed
