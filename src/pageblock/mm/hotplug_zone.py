"""The steps of memory hotplug and of virtio-mem on one zone; ``consumers`` put them together.

Pfns are absolute here and relative to the zone's base in ``memory_hotplug.py``.
"""

from typing import Any

import cython
import numpy as np

from pageblock.mm.errors import ContigRefused, RangeError, UsageError
from pageblock.mm.results import MigratedRange, contig_result

if not cython.compiled:
    from .constants import (
        ALLOC,
        CLASS_MASK,
        C_HOLE,
        C_HUGETLB,
        C_OFFLINE,
        EBUSY,
        MEMORY_OFFLINE,
        MOVABLE,
        NONE,
        ORDER_MASK,
        PG_CLEAN,
        WHY_NONE,
    )
    from .zone import ptr32
    from .pcplist import drain_all_pages
    from .page_isolation import test_pages_isolated, undo_isolate_page_range
    from .memory_hotplug import (
        all_class,
        do_migrate_range,
        drop_clean_pages,
        generic_online_page,
        isolate_for_offline,
        lru_add_drain,
        move_pfn_range_to_zone,
        offline_isolated_pages,
        scan_movable_pages,
    )
    from .arguments import integer
    from .loaded_zone import LoadedZone


@cython.cclass
class HotplugZone(LoadedZone):
    """Offlining and onlining, step by step. ``model.Zone`` is what is used."""

    @cython.cfunc
    def checked_blocks(self, start_pfn: Any, end_pfn: Any) -> tuple[int, int]:
        """Relative range of whole pageblocks, or RangeError."""
        start, end = self.checked_range(start_pfn, end_pfn)
        if (start | end) & (self.pageblock_nr_pages - 1):
            raise RangeError(f"range [{start_pfn}, {end_pfn}) is no whole number of pageblocks: align it")
        return start, end

    # ---- before and after ----

    def zone_pcp_disable(self) -> bool:
        """Drain the per-cpu lists and go past them (high 0, batch 1); whether they were in use, for ``zone_pcp_enable``."""
        used = bool(self.pcp_used)
        self.begin(False)
        drain_all_pages(self)
        self.finish()
        self.pcp_used = False
        return used

    def zone_pcp_enable(self, used: Any) -> None:
        """Use the per-cpu lists again, if they were in use before."""
        self.pcp_used = bool(used)

    def lru_cache_disable(self) -> int:
        """Put pages that wait in per-cpu LRU batches onto the LRU; how many."""
        return lru_add_drain(self)

    def drop_clean_pages(self) -> int:
        """Free every clean file page, ascending, as drop_caches does with those that nobody maps or holds; how many.

        Source: fs/drop_caches.c drop_pagecache_sb, mm/truncate.c invalidate_mapping_pages (6.1), which goes file by file: the
        order of the frees, and so that of the free lists, is another there.
        """
        self.begin(False)
        dropped: cython.longlong = drop_clean_pages(self)
        self.finish()
        return dropped

    def set_targets_elsewhere(self, elsewhere: Any) -> None:
        """Whether migration targets are asked of ``set_spill_target`` only, and not of this zone first."""
        self.targets_elsewhere = bool(elsewhere)

    def get_spill_target(self) -> Any:
        """Who finds migration targets in other zones at present."""
        return self.spill_target

    # ---- offlining ----

    def isolate_for_offline(self, start_pfn: Any, end_pfn: Any) -> tuple[int, ...]:
        """Isolate whole pageblocks for offlining (MEMORY_OFFLINE); first pfns, in the order in which they were isolated.

        Raises:
            RangeError: outside the zone, or not whole pageblocks.
            ContigRefused: an unmovable page, or a pageblock that is isolated already.
        """
        start, end = self.checked_blocks(start_pfn, end_pfn)
        self.begin(True)
        rc = isolate_for_offline(self, start, end)
        refusal = self.refusal(-rc) if rc else None
        rows = self.finish()
        if refusal is not None:
            raise refusal
        return contig_result(0, 0, rows, self.base_pfn).isolated

    def undo_isolate_for_offline(self, start_pfn: Any, end_pfn: Any) -> None:
        """Give the isolated pageblocks of a range back as MOVABLE: after a failure, and at the end of onlining."""
        start, end = self.checked_blocks(start_pfn, end_pfn)
        self.begin(False)
        undo_isolate_page_range(self, start, end, MOVABLE)
        self.finish()

    def set_hugetlb_free(self, pfn: Any, free: Any = True) -> None:
        """Whether a huge page lies unused in its pool (HPageFreed): offlining dissolves it instead of moving it.

        Raises UsageError if no page of class HUGETLB starts there.
        """
        at: cython.uint = self.checked_pfn(pfn)
        if not self.state[at] & ALLOC or self.flags[at] & CLASS_MASK != C_HUGETLB:
            raise UsageError(f"pfn {pfn} heads no huge page: name the first page of one")
        self.flags[at] = self.flags[at] | PG_CLEAN if free else self.flags[at] & ~PG_CLEAN

    def scan_movable_pages(self, start_pfn: Any, end_pfn: Any, let_go: Any = False) -> int | None:
        """First pfn of a page that can be migrated, None: there is none.

        ``let_go``: the driver of the range's PageOffline pages has dropped its references (MEM_GOING_OFFLINE).

        Raises:
            ContigRefused: a PageOffline page that its driver still refers to: "unmovable page".
        """
        start, end = self.checked_range(start_pfn, end_pfn)
        pfn: cython.uint = scan_movable_pages(self, start, end, bool(let_go))
        if pfn != NONE:
            return self.base_pfn + pfn
        if self.refused_why == WHY_NONE:
            return None
        raise ContigRefused(
            EBUSY,
            "scan_movable_pages",
            self.base_pfn + self.refused_pfn,
            "the page is PageOffline and its driver keeps it",
        )

    def do_migrate_range(self, start_pfn: Any, end_pfn: Any) -> MigratedRange:
        """Migrate all of a range that can be, as one list; what failed stays."""
        start, end = self.checked_range(start_pfn, end_pfn)
        # each page once, and once more if a huge page is split into it
        sources = np.empty(2 * (end - start) + 1, np.uint32)
        found = np.zeros(2, np.uint32)
        self.begin(False)
        do_migrate_range(self, start, end, ptr32(sources), ptr32(found))
        self.finish()
        if not found[1]:
            return MigratedRange(int(found[0]), 0, None, "")
        _, why, pfn = self.last_refusal()
        return MigratedRange(int(found[0]), int(found[1]), pfn, why)

    def why_not_isolated(self, start_pfn: Any, end_pfn: Any) -> ContigRefused | None:
        """test_pages_isolated with MEMORY_OFFLINE: the first page that is neither free nor may stay, None: all are."""
        start, end = self.checked_range(start_pfn, end_pfn)
        self.begin(False)
        rc = test_pages_isolated(self, start, end, MEMORY_OFFLINE)
        self.finish()
        if rc == 0:
            return None
        step, why, pfn = self.last_refusal()
        return ContigRefused(-rc, step, pfn, why)

    def offline_isolated_pages(self, start_pfn: Any, end_pfn: Any) -> int:
        """Take a range out of the allocator (__offline_isolated_pages): holes remain; managed pages that left.

        Raises:
            UsageError: not all of it is isolated and free, HWPoison or PageOffline.
        """
        start, end = self.checked_blocks(start_pfn, end_pfn)
        if test_pages_isolated(self, start, end, MEMORY_OFFLINE):
            raise UsageError(f"range [{start_pfn}, {end_pfn}) is not isolated and free: empty it first")
        return offline_isolated_pages(self, start, end)

    # ---- onlining, PageOffline pages ----

    def move_pfn_range_to_zone(self, start_pfn: Any, end_pfn: Any) -> None:
        """Give a range of holes PageOffline pages in isolated pageblocks: the first step of onlining.

        Raises:
            RangeError: outside the zone, or not whole pageblocks.
            UsageError: a page of it is online.
        """
        start, end = self.checked_blocks(start_pfn, end_pfn)
        if not all_class(self, start, end, C_HOLE):
            raise UsageError(f"range [{start_pfn}, {end_pfn}) has online pages: offline it first")
        move_pfn_range_to_zone(self, start, end)

    def generic_online_page(self, pfn: Any, order: Any) -> None:
        """Hand a block of PageOffline pages that were never in use to the allocator, at the tail; they are managed then.

        Raises:
            RangeError: outside the zone, or not aligned.
            UsageError: a page of it is not PageOffline.
        """
        at: cython.uint = self.checked_pfn(pfn)
        o = self.checked_order(order)
        if at & ((1 << o) - 1) or at + (1 << o) > self.zone_end:
            raise RangeError(f"pfn {pfn} does not start a block of order {o} in {self.name_}: align it")
        if not all_class(self, at, at + (1 << o), C_OFFLINE):
            raise UsageError(f"block of order {o} at pfn {pfn} is not PageOffline throughout")
        self.begin(False)
        generic_online_page(self, at, o)
        self.finish()

    def adjust_managed_page_count(self, nr_pages: Any) -> None:
        """Add to the zone's managed pages (mm/page_alloc.c); negative: take away."""
        self.managed_pages = self.counter("managed pages", self.managed_pages + integer("nr_pages", nr_pages))

    @property
    def nr_managed_pages(self) -> int:
        """Pages that the allocator manages, as far as the zone was told."""
        return self.managed_pages

    def first_hole(self, start_pfn: Any, end_pfn: Any) -> int | None:
        """First pfn of the range that is not online, or None."""
        start, end = self.checked_range(start_pfn, end_pfn)
        found = np.flatnonzero(self.frames_of_class(start, end, C_HOLE))
        return self.base_pfn + start + int(found[0]) if len(found) else None

    def nr_holes(self, start_pfn: Any, end_pfn: Any) -> int:
        """Pages of the range that are not online."""
        start, end = self.checked_range(start_pfn, end_pfn)
        return int(self.frames_of_class(start, end, C_HOLE).sum())

    def nr_free_hugetlb(self, order: Any) -> int:
        """Huge pages of an order that lie unused in their pool."""
        heads = self.frames_of_class(self.zone_start, self.zone_end, C_HUGETLB)
        frames = slice(self.zone_start, self.zone_end)
        unused = self.flags_array[frames] & PG_CLEAN != 0
        return int((heads & unused & (self.state_array[frames] & ORDER_MASK == integer("order", order))).sum())

    @property
    def is_zone_movable(self) -> bool:
        """Whether it is ZONE_MOVABLE."""
        return bool(self.zone_movable)

    @cython.cfunc
    def frames_of_class(self, start: int, end: int, page_class: int) -> Any:
        """Which frames of [start, end) head allocated pages of a class: bool array."""
        heads = self.state_array[start:end] & ALLOC != 0
        return heads & (self.flags_array[start:end] & CLASS_MASK == page_class)

    def is_offline(self, start_pfn: Any, end_pfn: Any) -> bool:
        """Whether no page of the range is online."""
        start, end = self.checked_range(start_pfn, end_pfn)
        return bool(all_class(self, start, end, C_HOLE))
