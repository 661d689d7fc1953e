"""What the zone's methods return, and the words for what refuses a request or breaks an invariant."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import constants as k
from .types import Migratetype, PageClass, PageFlag

__all__ = ["INVARIANTS", "STEPS", "WHYS", "ContigRange", "MigratedRange", "Page", "contig_result"]

#: Step of alloc_contig_range that refused -> the kernel's function.
STEPS: dict[int, str] = {
    k.STEP_NONE: "alloc_contig_range",
    k.STEP_ISOLATE: "start_isolate_page_range",
    k.STEP_MIGRATE: "__alloc_contig_migrate_range",
    k.STEP_TEST: "test_pages_isolated",
    k.STEP_SIGNAL: "__alloc_contig_migrate_range",
    k.STEP_SPLIT: "split_free_page_into_pageblocks",
    k.STEP_TAKE: "isolate_freepages_range",
}

#: Reason -> the rule in words.
WHYS: dict[int, str] = {
    k.WHY_NONE: "no reason was recorded",
    k.WHY_RESERVED: "the page is reserved (PG_reserved: boot memory, firmware or a hole)",
    k.WHY_CMA_TYPE: "the pageblock is CMA and the request is not",
    k.WHY_HUGETLB: "the huge page cannot be migrated",
    k.WHY_COMPOUND: "the compound page is neither on the LRU nor movable by its driver",
    k.WHY_NOT_LRU: "the page is in use and neither on the LRU nor movable by its driver",
    k.WHY_ISOLATED: "the pageblock is isolated already",
    k.WHY_STRADDLES: "a page that crosses the pageblock boundary cannot be migrated",
    k.WHY_NO_TARGET: "no free page is left to migrate to",
    k.WHY_GIGANTIC: "a gigantic huge page lies in the range",
    k.WHY_BUSY: "the page is still in use after migration",
    k.WHY_NOT_ISOLATED: "the pageblock is not isolated",
    k.WHY_ZONE_EDGE: "the pageblock reaches out of the zone",
    k.WHY_SIGNAL: "a fatal signal is pending",
    k.WHY_BUG_WALK: "VM_BUG_ON(outer_end + (1UL << order) <= begin_pfn) in alloc_contig_range",
    k.WHY_BUG_MISALIGNED: "VM_BUG_ON_PAGE(pfn & ((1 << order) - 1), page) in __free_one_page",
    k.WHY_BUG_REFCOUNT: "VM_BUG_ON_PAGE(page_ref_count(page), page) in set_page_refcounted",
    k.WHY_BUG_ENDLESS: "isolate_single_pageblock comes back to the same tail page for ever",
}

#: Broken invariant -> (its name, what it means).
INVARIANTS: dict[int, tuple[str, str]] = {
    k.INV_LINKS: ("list links", "a free list's links do not agree"),
    k.INV_FREE_BLOCK: ("listed block", "an entry of a free list is not an aligned free block of its order"),
    k.INV_ONE_STATE: ("one state", "a page inside a block heads a block of its own"),
    k.INV_LISTED: ("every free block listed", "free blocks and list entries differ in number"),
    k.INV_ZONE_END: ("zone end", "a block lies outside the zone or crosses its end"),
    k.INV_BUDDIES: ("buddies merged", "two free buddies stand apart that the rules merge"),
    k.INV_ISOLATED_LIST: ("isolated list", "an isolated pageblock's free page is on another list, or the reverse"),
    k.INV_ISOLATE_COUNT: ("nr_isolate_pageblock", "the count of isolated pageblocks is wrong"),
    k.INV_FREE_PAGES: ("NR_FREE_PAGES", "the counter differs from what is free outside isolated pageblocks"),
    k.INV_HYGIENE: ("list hygiene", "a free block is on another type's list than its pageblocks'"),
    k.INV_PCP: ("per-cpu lists", "a per-cpu list's links, entries or count are wrong"),
    k.INV_FREE_CMA: ("NR_FREE_CMA_PAGES", "the counter differs from what is free in CMA pageblocks"),
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page as the rules see it: its block's head (absolute pfn), order, class, flags, owner, pageblock type."""

    pfn: int
    head_pfn: int
    order: int
    page_class: PageClass
    flags: PageFlag
    owner: int | None
    pageblock_type: Migratetype


@dataclass(frozen=True, slots=True)
class MigratedRange:
    """What do_migrate_range did: base pages moved, base pages that stayed, the first of those (absolute pfn) and why."""

    moved: int
    failed: int
    pfn: int | None
    rule: str


@dataclass(frozen=True, slots=True)
class ContigRange:
    """A range that alloc_contig_range gave, and what it took. Absolute pfns; ``[start_pfn, end_pfn)``.

    ``moved``: (source, target, order) in the order in which the pages moved, target None: another zone, unknown where;
    ``reclaimed``: clean file pages that were dropped; ``split``: (pfn, order) of free pages that were cut;
    ``isolated``: first pfns of the pageblocks that were isolated, in that order.
    """

    start_pfn: int
    end_pfn: int
    moved: tuple[tuple[int, int | None, int], ...]
    reclaimed: tuple[int, ...]
    split: tuple[tuple[int, int], ...]
    isolated: tuple[int, ...]

    def base_moves(self) -> tuple[tuple[int, int], ...]:
        """(source, target) of the moves inside the zone."""
        return tuple((source, target) for source, target, _ in self.moved if target is not None)


#: Whether ``contig_result`` reads an event of this number.
_TOLD = np.zeros(32, np.bool_)
_TOLD[[k.EV_MIGRATE_FOLIO, k.EV_MIGRATE_AWAY, k.EV_RECLAIM, k.EV_SPLIT, k.EV_ISOLATE]] = True


def contig_result(start_pfn: int, end_pfn: int, rows: Any, base_pfn: int) -> ContigRange:
    """Read from the log of one request (uint64 array, one row an event) what it moved, split and isolated."""
    moved: list[tuple[int, int | None, int]] = []
    reclaimed: list[int] = []
    split: list[tuple[int, int]] = []
    isolated: list[int] = []
    told = rows[_TOLD[rows[:, 0].astype(np.intp)]]
    for event, pfn, second, third, fourth in told[:, :5].tolist():
        if event == k.EV_MIGRATE_FOLIO:
            moved.append((base_pfn + pfn, base_pfn + second, third))
        elif event == k.EV_MIGRATE_AWAY:
            # an absolute pfn and one in two halves; 0: it is not known where
            away = second << 32 | fourth
            moved.append((base_pfn + pfn, away - 1 if away else None, third))
        elif event == k.EV_RECLAIM:
            reclaimed.append(base_pfn + pfn)
        elif event == k.EV_SPLIT:
            split.append((base_pfn + pfn, second))
        else:
            isolated.append(base_pfn + pfn)
    return ContigRange(start_pfn, end_pfn, tuple(moved), tuple(reclaimed), tuple(split), tuple(isolated))
