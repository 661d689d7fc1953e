"""Operation arrays, and zones in the state that the recorded kernel was measured in.

The kernel's figures come from an untouched zone of 131,072 pages (max order 10), so these do too.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pageblock.mm import OPERATION, Migratetype, PageClass, PageFlag, Zone

__all__ = [
    "EMPTY_HANDLE",
    "KERNEL_ZONE_PAGES",
    "batch",
    "contig",
    "empty_handles",
    "fill_every_other_page",
    "free_contig",
    "mixed_orders",
    "nothing",
    "pairs",
]

Operations = npt.NDArray[Any]
Handles = npt.NDArray[np.uint32]

#: Pages of the zone in which the kernel was measured.
KERNEL_ZONE_PAGES = 131_072

#: A handle that owns nothing.
EMPTY_HANDLE = 2**32 - 1

THP = PageClass.THP | PageFlag.COMPOUND

#: Shares of the orders 0 to 9 in ``mixed_orders``: mostly single pages, few large ones.
ORDER_SHARES = (0.60, 0.08, 0.08, 0.08, 0.04, 0.03, 0.03, 0.02, 0.02, 0.02)

#: Shares of UNMOVABLE, MOVABLE and RECLAIMABLE in ``mixed_orders``.
TYPE_SHARES = (0.30, 0.60, 0.10)


def empty_handles(count: int) -> Handles:
    """Handles that own nothing yet."""
    return np.full(count, EMPTY_HANDLE, np.uint32)


def page_flags(order: int, migratetype: int) -> int:
    """Class and flags of a page of this kind, as ``Zone.alloc`` chooses them."""
    if migratetype == Migratetype.MOVABLE:
        return int(THP if order else PageClass.ANON)
    return int(PageClass.SLAB if migratetype == Migratetype.RECLAIMABLE else PageClass.KERNEL)


def pairs(count: int, order: int = 0) -> Operations:
    """``count`` times: allocate a MOVABLE block, free it."""
    ops = np.zeros(2 * count, OPERATION)
    ops["op"] = np.tile([1, 2], count)
    ops["order"] = order
    ops["migratetype"] = Migratetype.MOVABLE
    ops["flags"] = page_flags(order, Migratetype.MOVABLE)
    return ops


def batch(count: int, order: int = 0) -> Operations:
    """Allocate ``count`` MOVABLE blocks, then free them in the same order."""
    ops = pairs(count, order)
    ops["op"] = np.repeat([1, 2], count)
    ops["handle"] = np.tile(np.arange(count), 2)
    return ops


def mixed_orders(count: int, nr_pages: int, seed: int) -> Operations:
    """About ``count`` operations of mixed orders and types, in the end all freed.

    Until three quarters of the zone are in use, two of three operations allocate; then one of two.
    The free blocks of each type run out again and again, so fallback and stealing are part of it.
    """
    random = np.random.default_rng(seed)
    orders = random.choice(len(ORDER_SHARES), count, p=ORDER_SHARES)
    types = random.choice(len(TYPE_SHARES), count, p=TYPE_SHARES)
    wishes = random.random(count)
    picks = random.random(count)
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    owned: list[tuple[int, int]] = []
    spare: list[int] = []
    used = 0
    for i in range(count):
        order, kind = int(orders[i]), int(types[i])
        fits = used + (1 << order) <= nr_pages * 9 // 10
        wish = wishes[i] < (2 / 3 if used < nr_pages * 3 // 4 else 1 / 2)
        if not owned or (wish and fits):
            handle = spare.pop() if spare else len(owned)
            rows.append((1, order, kind, page_flags(order, kind), handle, 0, 0))
            owned.append((handle, order))
            used += 1 << order
        else:
            at = int(picks[i] * len(owned))
            owned[at], owned[-1] = owned[-1], owned[at]
            handle, order = owned.pop()
            rows.append((2, 0, 0, 0, handle, 0, 0))
            spare.append(handle)
            used -= 1 << order
    rows += [(2, 0, 0, 0, handle, 0, 0) for handle, _ in owned]
    return np.array(rows, OPERATION)


def nothing() -> Operations:
    """One operation that does nothing: free an empty handle. What is left is the call itself."""
    return pairs(1)[1:]


def contig(starts: list[int], nr_pages: int) -> Operations:
    """alloc_contig_range of each range, into a handle of its own."""
    ops = np.zeros(len(starts), OPERATION)
    ops["op"] = 3
    ops["migratetype"] = Migratetype.MOVABLE
    ops["flags"] = PageClass.KERNEL
    ops["handle"] = np.arange(len(starts))
    ops["start"] = starts
    ops["nr"] = nr_pages
    return ops


def free_contig(starts: list[int], nr_pages: int) -> Operations:
    """free_contig_range of what ``contig`` allocated."""
    ops = contig(starts, nr_pages)
    ops["op"] = 4
    return ops


def fill_every_other_page(zone: Zone, start_pfn: int, nr_pages: int, owner: int) -> None:
    """Movable order-0 pages at even pfns, free ones between, as the kernel was measured."""
    end_pfn = start_pfn + nr_pages
    zone.alloc_contig_range(start_pfn, end_pfn, page_class=PageClass.MOVABLE_OPS, owner=owner)
    for pfn in range(start_pfn + 1, end_pfn, 2):
        zone.free(pfn)
