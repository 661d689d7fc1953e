"""Put a recorded state into a zone, set what the allocator is told from outside, take the state out again."""

from typing import Any

import cython
import numpy as np

from pageblock.mm.errors import RangeError, UsageError
from pageblock.mm.saved import check_saved

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        BUDDY,
        ALLOC_NOFRAGMENT,
        CLASS_MASK,
        CMA,
        C_HOLE,
        HIGHATOMIC,
        ISOLATE,
        MARK_FREE,
        MOVABLE,
        NONE,
        NR_MIGRATETYPES,
        NR_PCP_LISTS,
        ONPCP,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        RECLAIMABLE,
        RULE_HIGHATOMIC_MARK,
        RULE_PCP_TUNING,
        TUNING_AUTO,
    )
    from .zone import get_pageblock_migratetype, list_head, ptr64s, ptr8, zone_bind
    from .freelist import add_to_free_list_tail, del_page_from_free_list, list_insert
    from .watermark import update_far_mark, zone_page_state
    from .overlap import overlap_bind, overlap_init
    from .pcplist import drain_all_pages, pcp_head, pindex_to_order
    from .gfp import get_page_from_freelist, unreserve_highatomic_pageblock
    from .arguments import flags_fit, integer, one_length, whole_numbers
    from .load import place_free_blocks, place_runs
    from .bare_zone import BareZone


@cython.cclass
class LoadedZone(BareZone):
    """Loading, settings and saving. ``model.Zone`` is what is used."""

    # ---- load a state that was recorded ----

    def load_pageblocks(self, types: Any) -> None:
        """Set the pageblock types: uint8 array, one a pageblock from the one that holds ``start_pfn``.

        Raises:
            UsageError: another length, or a value that is no migratetype. Call it before ``load_free``.
        """
        first = self.zone_start >> self.pageblock_order
        last = (self.zone_end - 1) >> self.pageblock_order
        array = whole_numbers("types", types)
        if len(array) != last + 1 - first or int(array.max()) >= NR_MIGRATETYPES:
            raise UsageError(
                f"{self.name_} has {last + 1 - first} pageblocks of types 0 to {NR_MIGRATETYPES - 1}: got {len(array)} values"
            )
        self.pageblock_array[first : last + 1] = array
        self.nr_isolate_pageblock = int((array == ISOLATE).sum())

    def load_pages(self, start_pfn: Any, nr_pages: Any, page_class: Any, order: Any, flags: Any) -> None:
        """Place allocated pages: arrays of equal length; each entry a run of blocks of ``order`` from ``start_pfn``.

        Class FREE means pages that nobody refers to and that are on no list: tails of a block that is not compound.

        Raises:
            RangeError: a run leaves the zone.
            UsageError: a run is not a whole number of aligned blocks, or a page of it was loaded before.
        """
        starts = whole_numbers("start_pfn", start_pfn)
        counts = whole_numbers("nr_pages", nr_pages)
        orders = whole_numbers("order", order)
        classes = whole_numbers("page_class", page_class)
        bits = whole_numbers("flags", flags)
        one_length(starts, counts, orders)
        one_length(starts, classes, bits)
        if not len(starts):
            return
        if int(classes.max()) > CLASS_MASK or int((bits & ~(PG_PINNED | PG_COMPOUND | PG_CLEAN)).max()):
            raise UsageError("a page class is 0 to 15, and flags are those of PageFlag: found others")
        first, end = self.base_pfn + self.zone_start, self.base_pfn + self.zone_end
        outside = (starts < first) | (counts < 1) | (starts >= end)
        outside |= counts > end - np.minimum(starts, end)
        if outside.any():
            i = int(np.argmax(outside))
            raise RangeError(f"run {i} of {counts[i]} pages at pfn {starts[i]} leaves {self.name_}: clip it")
        sizes = np.int64(1) << np.minimum(orders, ORDER_MASK)
        uneven = (orders > ORDER_MASK) | (counts % sizes != 0) | (starts % sizes != 0)
        if uneven.any():
            i = int(np.argmax(uneven))
            raise UsageError(
                f"run {i} of {counts[i]} pages at pfn {starts[i]} is no whole number of aligned order-{orders[i]} blocks"
            )
        starts = starts - self.base_pfn
        bytes_ = (classes | bits).astype(np.uint8)
        at, pages, sizes_at = ptr64s(starts), ptr64s(counts), ptr64s(orders)
        kinds = ptr8(bytes_)
        n: cython.longlong = len(starts)
        bad: cython.longlong
        with cython.nogil:
            bad = place_runs(self, at, pages, sizes_at, kinds, n)
        if bad >= 0:
            raise UsageError(
                f"a page of the run at pfn {starts[bad] + self.base_pfn} is in use or free already: load each page once"
            )

    def load_free(self, pfn: Any, order: Any, migratetype: Any) -> None:
        """Put free blocks at the tails of their lists, in the order given: arrays of equal length.

        Raises:
            RangeError: a block leaves the zone, is misaligned or above max order.
            UsageError: a page of it is in use or free already.
        """
        starts = whole_numbers("pfn", pfn)
        orders = whole_numbers("order", order)
        types = whole_numbers("migratetype", migratetype)
        one_length(starts, orders, types)
        if not len(starts):
            return
        first, end = self.base_pfn + self.zone_start, self.base_pfn + self.zone_end
        sizes = np.int64(1) << np.minimum(orders, ORDER_MASK)
        wrong = (orders > self.max_order) | (types >= NR_MIGRATETYPES) | (starts < first) | (starts >= end)
        wrong |= (sizes > end - np.minimum(starts, end)) | (starts % sizes != 0)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise RangeError(f"free block {i} at pfn {starts[i]} of order {orders[i]} does not fit {self.name_}")
        starts = starts - self.base_pfn
        bad = place_free_blocks(self, ptr64s(starts), ptr64s(orders), ptr64s(types), len(starts))
        if bad >= 0:
            raise UsageError(f"a page of the free block at pfn {starts[bad] + self.base_pfn} is in use or free already")

    def load_cma(self, start_pfn: Any, end_pfn: Any) -> None:
        """Make CMA pageblocks of ``[start_pfn, end_pfn)`` as if they had been so before; what is in them stays.

        The per-cpu lists are drained. Free pages go to the tails of the CMA lists, ascending; one that reaches out of the
        range is cut into the largest blocks that lie inside or outside, as merging would leave them.

        Raises:
            RangeError: not a range of whole pageblocks in the zone.
            UsageError: a pageblock is CMA, HIGHATOMIC or isolated already.
        """
        start, end = self.checked_range(start_pfn, end_pfn)
        n: cython.uint = self.pageblock_nr_pages
        if start & (n - 1) or end & (n - 1):
            raise RangeError(f"[{start_pfn}, {end_pfn}) is no range of whole pageblocks of {n} pages: align it")
        types = self.pageblock_array[start >> self.pageblock_order : end >> self.pageblock_order]
        if (types >= HIGHATOMIC).any():
            raise UsageError(f"a pageblock of [{start_pfn}, {end_pfn}) is CMA, HIGHATOMIC or isolated already")
        self.drain_all_pages()
        largest = 1 << self.max_order
        first = max(start // largest * largest, self.zone_start)
        heads = (np.flatnonzero(self.state_array[first:end] & BUDDY) + first).tolist()
        types[:] = CMA
        pfn: cython.uint
        for pfn in heads:
            order: cython.uint = self.state[pfn] & ORDER_MASK
            last: cython.uint = pfn + (1 << order)
            if last <= start:
                continue
            del_page_from_free_list(self, pfn, order)
            while pfn < last:
                edge: cython.uint = start if pfn < start else end if pfn < end else last
                size: cython.uint = order
                while pfn & ((1 << size) - 1) or pfn + (1 << size) > edge:
                    size -= 1
                mt: cython.uint = get_pageblock_migratetype(self, pfn)
                add_to_free_list_tail(self, pfn, size, mt)
                if mt == CMA:
                    self.nr_free_cma_pages += 1 << size
                pfn += 1 << size

    def set_watermarks(
        self,
        wmark_min: Any,
        wmark_low: Any,
        wmark_high: Any = 0,
        *,
        lowmem_reserve: Any = 0,
        managed_pages: Any = None,
        boost: Any = 0,
        boost_factor: Any = 0,
    ) -> None:
        """Watermarks, lowmem reserve and managed pages, in pages. Allocation keeps min, migration targets low.

        ``boost``: what the watermarks are raised by at present; ``boost_factor``: vm.watermark_boost_factor, 0: off.
        ``managed_pages`` bounds the HIGHATOMIC reserve; default: all pages of the zone.
        """
        managed = self.zone_end - self.zone_start if managed_pages is None else managed_pages
        values = (wmark_min, wmark_low, wmark_high, lowmem_reserve, managed, boost, boost_factor)
        marks = [integer("watermark", value) for value in values]
        if not 0 <= min(marks) <= max(marks) < 1 << 52:
            raise UsageError(f"watermarks must lie between 0 and 2^52 pages: {marks}")
        self.wmark_min, self.wmark_low, self.wmark_high, self.lowmem_reserve = marks[:4]
        self.managed_pages, self.watermark_boost, self.watermark_boost_factor = marks[4:]
        update_far_mark(self)

    def set_highatomic(self, nr_reserved: Any, nr_free: Any = 0) -> None:
        """Pages of the pageblocks reserved for high-order atomic requests, and free pages in them (6.12)."""
        reserved, free = self.counter("nr_reserved", nr_reserved), self.counter("nr_free", nr_free)
        self.nr_reserved_highatomic = reserved
        self.nr_free_highatomic = free
        update_far_mark(self)

    def set_counters(
        self, *, nr_free_pages: Any = None, nr_free_cma_pages: Any = None, nr_isolate_pageblock: Any = None
    ) -> None:
        """Counters as a kernel has them, where they differ from what lies on its lists; None: as loaded."""
        pages = None if nr_free_pages is None else self.counter("nr_free_pages", nr_free_pages)
        cma = None if nr_free_cma_pages is None else self.counter("nr_free_cma_pages", nr_free_cma_pages)
        if nr_isolate_pageblock is not None:
            self.nr_isolate_pageblock = self.counter("nr_isolate_pageblock", nr_isolate_pageblock)
        if pages is not None:
            self.nr_free_pages = pages
        if cma is not None:
            self.nr_free_cma_pages = cma
            update_far_mark(self)

    @cython.cfunc
    def counter(self, what: str, value: Any) -> int:
        """A counter as a kernel may have it, below zero too, or UsageError."""
        number = integer(what, value)
        if not -(1 << 52) < number < 1 << 52:
            raise UsageError(f"{what} is {number}: no kernel counts beyond 2^52 pages")
        return number

    def set_pcp(
        self,
        high: Any,
        batch: Any,
        *,
        free_factor: Any = 0,
        high_min: Any = None,
        high_max: Any = None,
        free_count: Any = 0,
        alloc_factor: Any = 0,
        flags: Any = 0,
    ) -> None:
        """Put per-cpu lists in front of the buddy lists, or size them anew.

        Args:
            high: pages on the lists from which on frees overflow.
            batch: pages of a refill.
            free_factor, high_min, high_max, free_count, alloc_factor, flags: the state of their tuning, as in
                ``struct per_cpu_pages`` (5.15, 6.1: the first; 6.12: the others; high_min and high_max default to high).
        """
        values = [
            high,
            batch,
            free_factor,
            high if high_min is None else high_min,
            high if high_max is None else high_max,
        ]
        numbers = [integer("per-cpu setting", value) for value in (*values, free_count, alloc_factor, flags)]
        if min(numbers) < 0 or numbers[1] < 1 or max(numbers) >= 1 << 31 or max(numbers[2], numbers[6]) > 31:
            raise UsageError(f"per-cpu lists cannot have these settings: {numbers}")
        self.pcp_used = True
        self.pcp_high, self.pcp_batch, self.pcp_free_factor, self.pcp_high_min, self.pcp_high_max = numbers[:5]
        self.pcp_free_count, self.pcp_alloc_factor, self.pcp_flags = numbers[5:]

    def load_pcp(self, pindex: Any, pfns: Any) -> None:
        """Put pages onto one per-cpu list, in list order from its head. Their frames must be holes so far."""
        index = integer("pindex", pindex)
        if not 0 <= index < NR_PCP_LISTS:
            raise UsageError(f"pindex is {index}: there are {NR_PCP_LISTS} per-cpu lists")
        order: cython.uint = pindex_to_order(self, index)
        head: cython.uint = pcp_head(self, index)
        at: cython.uint
        end: cython.uint
        heads = whole_numbers("pfns", pfns).tolist()
        if len(set(heads)) != len(heads):
            raise UsageError("a pfn is given twice: load each per-cpu page once")
        for pfn in heads:
            at = self.checked_pfn(pfn)
            end = at + (1 << order)
            if at & ((1 << order) - 1) or end > self.zone_end or not (self.flags_array[at:end] == C_HOLE).all():
                raise UsageError(f"a page of the per-cpu page at pfn {pfn} is in use or free already")
        for pfn in heads:
            at = self.checked_pfn(pfn)
            end = at + (1 << order)
            self.state_array[at:end] = 0
            self.flags_array[at:end] = 0
            self.state[at] = ONPCP | order
            self.flags[at] = get_pageblock_migratetype(self, at)
            list_insert(self, at, self.prv[head], head)
            self.pcp_count += 1 << order

    def pcp_list(self, pindex: Any) -> Any:
        """Pfns of one per-cpu list, head first: uint64 array."""
        index = integer("pindex", pindex)
        if not 0 <= index < NR_PCP_LISTS:
            raise UsageError(f"pindex is {index}: there are {NR_PCP_LISTS} per-cpu lists")
        return self.listed(pcp_head(self, index))

    @property
    def nr_pcp_pages(self) -> int:
        """Pages on the per-cpu lists."""
        return self.pcp_count

    def pcp_state(self) -> dict[str, int]:
        """Count and tuning of the per-cpu lists, under the names of ``struct per_cpu_pages``."""
        state = {"count": self.pcp_count, "high": self.pcp_high, "batch": self.pcp_batch}
        if self.rules[RULE_PCP_TUNING] == TUNING_AUTO:
            return state | {
                "high_min": self.pcp_high_min,
                "high_max": self.pcp_high_max,
                "free_count": self.pcp_free_count,
                "alloc_factor": self.pcp_alloc_factor,
                "flags": self.pcp_flags,
            }
        return state | {"free_factor": self.pcp_free_factor}

    def reserves(self) -> dict[str, int]:
        """Watermark boost and the HIGHATOMIC reserve, pages; what is free in it where the release keeps count."""
        found = {"boost": self.watermark_boost, "highatomic": self.nr_reserved_highatomic}
        if self.rules[RULE_HIGHATOMIC_MARK] == MARK_FREE:
            found["free_highatomic"] = self.nr_free_highatomic
        return found

    def base(self) -> int:
        """Absolute pfn that the core counts from; ``run`` keeps handles relative to it."""
        return self.base_pfn

    def blocks_in(self, start_pfn: Any, end_pfn: Any) -> tuple[Any, Any]:
        """Blocks that begin in [start_pfn, end_pfn), free or in use: pfns (int64) and orders (uint8), ascending.

        Raises RangeError outside the zone.
        """
        start, end = self.checked_range(start_pfn, end_pfn)
        part = self.state_array[start:end]
        heads = np.flatnonzero(part)
        return heads + (self.base_pfn + start), part[heads] & np.uint8(ORDER_MASK)

    def drain_all_pages(self) -> None:
        """Give the pages of the per-cpu lists to the buddy lists."""
        self.begin(False)
        drain_all_pages(self)
        self.finish()

    def unreserve_highatomic_pageblock(self, migratetype: Any = MOVABLE, force: Any = False) -> bool:
        """Give one pageblock of the HIGHATOMIC reserve to a type; whether there was one."""
        return bool(
            unreserve_highatomic_pageblock(self, self.checked_migratetype(migratetype, HIGHATOMIC), bool(force))
        )

    def set_targets_may_spill(self, spill: Any) -> None:
        """Whether another zone takes migration targets that this one refuses below its low watermark."""
        self.targets_may_spill = bool(spill)

    def set_spill_target(self, find: Any) -> None:
        """Who finds migration targets in other zones: ``find(order, flags, owner) -> pfn or -1``; None: somebody does.

        It is asked when this zone has none above its low watermark and ``set_targets_may_spill`` is on.
        """
        self.spill_target = find

    def set_stat_threshold(self, threshold: Any) -> None:
        """How many pages a CPU holds back before the counters that watermarks read change (vm_stat_diff); 0: none."""
        value = integer("threshold", threshold)
        if not 0 <= value <= 125:
            raise UsageError(f"threshold is {value}: the kernel has 0 to 125")
        self.stat_threshold = value
        update_far_mark(self)
        self.refresh_vm_stats()

    def vm_stats(self) -> tuple[int, int]:
        """NR_FREE_PAGES and NR_FREE_CMA_PAGES as watermarks and /proc read them: see ``zone_page_state``."""
        return (
            int(zone_page_state(self.nr_free_pages, self.stat_free_diff)),
            int(zone_page_state(self.nr_free_cma_pages, self.stat_cma_diff)),
        )

    def refresh_vm_stats(self) -> None:
        """Fold what is held back into the counters, as the kernel does once a second."""
        self.stat_free_diff = 0
        self.stat_cma_diff = 0

    def get_page(
        self,
        order: Any,
        migratetype: Any,
        flags: Any,
        owner: Any = None,
        *,
        low: Any = True,
        lowmem_reserve: Any = 0,
        nofragment: Any = False,
    ) -> int | None:
        """One attempt above the low (or min) watermark, as get_page_from_freelist makes in each zone; pfn or None.

        ``flags``: class and flags byte; ``lowmem_reserve``: of this zone against the request's highest zone;
        ``nofragment``: ALLOC_NOFRAGMENT, no fallback below pageblock order.
        """
        o = self.checked_order(order)
        mt = self.checked_migratetype(migratetype, RECLAIMABLE + 1)
        byte = integer("flags", flags)
        if not 0 <= byte < 256 or not flags_fit(o, byte):
            raise UsageError(f"a page of order {o} cannot have flags {byte:#x}")
        kept = self.lowmem_reserve
        self.lowmem_reserve = integer("lowmem_reserve", lowmem_reserve)
        self.begin(False)
        mark: cython.longlong = (self.wmark_low if low else self.wmark_min) + self.watermark_boost
        alloc_flags: cython.uint = (ALLOC_CMA if mt == MOVABLE else 0) | (ALLOC_NOFRAGMENT if nofragment else 0)
        pfn: cython.uint = get_page_from_freelist(self, o, mt, mark, alloc_flags)
        self.lowmem_reserve = kept
        if pfn == NONE:
            self.finish()
            return None
        self.state[pfn] = ALLOC | o
        self.flags[pfn] = byte
        self.nxt[pfn] = self.checked_owner(owner)
        self.finish()
        return self.base_pfn + pfn

    def set_signal_pending(self, pending: Any) -> None:
        """Whether a fatal signal waits for the caller: alloc_contig_range then ends with -EINTR after isolation."""
        self.signal_pending = bool(pending)

    # ---- the whole state ----

    def saved_state(self) -> dict[str, Any]:
        """Everything that ``restored_zone`` needs."""
        g = self.geometry_
        return {
            "geometry": (g.nr_pages, self.release, g.start_pfn, g.max_order, g.pageblock_order),
            "options": {
                "page_size": g.page_size,
                "section_size": g.section_size,
                "name": self.name_,
                "zone_movable": bool(self.zone_movable),
            },
            "counters": (
                self.nr_free_pages,
                self.nr_free_cma_pages,
                self.nr_isolate_pageblock,
                self.targets_may_spill,
                self.signal_pending,
                self.stat_threshold,
                self.stat_free_diff,
                self.stat_cma_diff,
                self.nr_reserved_highatomic,
                self.nr_free_highatomic,
                self.managed_pages,
                self.wmark_min,
                self.wmark_low,
                self.wmark_high,
                self.watermark_boost,
                self.watermark_boost_factor,
                self.lowmem_reserve,
                self.below_high,
                self.pcp_used,
                self.pcp_count,
                self.pcp_high,
                self.pcp_batch,
                self.pcp_free_factor,
                self.pcp_high_min,
                self.pcp_high_max,
                self.pcp_free_count,
                self.pcp_alloc_factor,
                self.pcp_flags,
            ),
            "beneath": self.beneath_array.copy(),
            "overlap": (
                (self.covered_array.copy(), self.used_array.copy(), self.used_owner_array.copy())
                if self.overlapping
                else None
            ),
            "arrays": tuple(
                a.copy()
                for a in (
                    self.nxt_array,
                    self.prv_array,
                    self.state_array,
                    self.flags_array,
                    self.pageblock_array,
                )
            ),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a state that ``saved_state`` gave. Raises UsageError for one of another geometry, and for a damaged one."""
        heads = np.zeros(len(self.nxt_array) - self.nr_frames, np.uint8)
        for pindex in range(NR_PCP_LISTS):
            heads[pcp_head(self, pindex) - self.nr_frames] = ONPCP | pindex_to_order(self, pindex)
        for order in range(self.max_order + 1):
            for mt in range(NR_MIGRATETYPES):
                heads[list_head(self, order, mt) - self.nr_frames] = BUDDY | order
        room = (np.zeros(self.nr_frames >> self.pageblock_order, np.uint8), np.zeros((2, self.nr_frames), np.uint8))
        mine = {
            "arrays": (self.nxt_array, self.prv_array, self.state_array, self.flags_array, self.pageblock_array),
            "overlap": (*room, np.zeros(self.nr_frames, np.uint32)),
            "beneath": self.beneath_array,
        }
        frames = (self.zone_start, self.zone_end)
        check_saved(state, mine, frames, self.max_order, heads, (ORDER_MASK, ALLOC, BUDDY, ONPCP))
        self.take_state(state)

    def take_state(self, state: dict[str, Any]) -> None:
        """As ``load_state``, for a state that this process saved of such a zone and nobody changed: nothing is checked."""
        arrays = [a if a.flags.writeable else a.copy() for a in state["arrays"]]
        (
            self.nr_free_pages,
            self.nr_free_cma_pages,
            self.nr_isolate_pageblock,
            self.targets_may_spill,
            self.signal_pending,
            self.stat_threshold,
            self.stat_free_diff,
            self.stat_cma_diff,
            self.nr_reserved_highatomic,
            self.nr_free_highatomic,
            self.managed_pages,
            self.wmark_min,
            self.wmark_low,
            self.wmark_high,
            self.watermark_boost,
            self.watermark_boost_factor,
            self.lowmem_reserve,
            self.below_high,
            self.pcp_used,
            self.pcp_count,
            self.pcp_high,
            self.pcp_batch,
            self.pcp_free_factor,
            self.pcp_high_min,
            self.pcp_high_max,
            self.pcp_free_count,
            self.pcp_alloc_factor,
            self.pcp_flags,
        ) = state["counters"]
        (
            self.nxt_array,
            self.prv_array,
            self.state_array,
            self.flags_array,
            self.pageblock_array,
        ) = arrays
        self.beneath_array = state["beneath"].copy()
        zone_bind(self)
        if state["overlap"] is not None:
            overlap_init(self)
            self.covered_array, self.used_array, self.used_owner_array = (a.copy() for a in state["overlap"])
            overlap_bind(self)
        update_far_mark(self)
