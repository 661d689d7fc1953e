"""From a request to a page: watermarks, fallback and stealing, the HIGHATOMIC reserve (mm/page_alloc.c)."""

from dataclasses import dataclass

from .buddy import CMA, HIGHATOMIC, ISOLATE, MOVABLE, RECLAIMABLE, UNMOVABLE
from .percpu import PAGE_ALLOC_COSTLY_ORDER, PerCpu

__all__ = ["Marks", "Request"]

#: Where a request goes when its own lists are empty.
FALLBACKS = {
    UNMOVABLE: (RECLAIMABLE, MOVABLE),
    MOVABLE: (RECLAIMABLE, UNMOVABLE),
    RECLAIMABLE: (UNMOVABLE, MOVABLE),
}

#: Where a refill of a per-cpu list goes on looking (6.12: enum rmqueue_mode).
OWN, FROM_CMA, CLAIM, STEAL = range(4)


@dataclass(frozen=True, slots=True)
class Marks:
    """Watermarks, in pages, and the pages that the allocator manages (None: all of the zone)."""

    minimum: int = 0
    low: int = 0
    high: int = 0
    managed: int | None = None


class Request(PerCpu):
    """A zone that answers requests."""

    marks = Marks()
    mode = OWN
    nr_reserved_highatomic = 0

    # ---- watermarks ----

    def watermark_ok(self, order: int, mt: int, mark: int, reserves: bool) -> bool:
        """zone_watermark_fast for GFP_KERNEL, or GFP_ATOMIC in the slow path (``reserves``)."""
        free = max(0, self.nr_free)
        unusable = 0
        if not reserves:
            unusable += self.nr_free_highatomic if self.rules.hygiene else self.nr_reserved_highatomic
        if mt != MOVABLE:
            unusable += max(0, self.nr_free_cma)
        if order == 0:
            usable = free - unusable
            if usable > mark or (usable < 0 and self.rules.unsigned_mark):
                return True
        if reserves:
            mark -= mark // 2
            mark -= mark // 4
        if free - unusable - ((1 << order) - 1) <= mark:
            return False
        if order == 0:
            return True
        types = [UNMOVABLE, MOVABLE, RECLAIMABLE]
        if mt == MOVABLE:
            types.append(CMA)
        if reserves:
            types.append(HIGHATOMIC)
        return any(self.lists[high][t] for high in range(order, self.max_order + 1) for t in types)

    # ---- fallback ----

    def suitable_fallback(self, order: int, mt: int) -> tuple[int, bool] | None:
        """find_suitable_fallback: the first type with a block of exactly this order, and whether its pageblock may be taken."""
        for other in FALLBACKS[mt]:
            if self.lists[order][other]:
                whole = order >= self.pageblock_order or order >= self.pageblock_order // 2 or mt != MOVABLE
                return other, whole
        return None

    def fallback(self, order: int, mt: int) -> bool:
        """__rmqueue_fallback, until 6.9: bring a block of another type to the lists of ``mt``."""
        for high in range(self.max_order, order - 1, -1):
            found = self.suitable_fallback(high, mt)
            if found is None:
                continue
            if not found[1] and mt == MOVABLE and high > order:
                high = next(o for o in range(order, self.max_order + 1) if self.suitable_fallback(o, mt) is not None)
                found = self.suitable_fallback(high, mt)
                assert found is not None
            self.steal(next(iter(self.lists[high][found[0]])), mt, found[1])
            return True
        return False

    def alike(self, start: int, free: int, mt: int, old: int) -> int:
        """Pages in use in the pageblock at ``start`` that suit a request of type ``mt``."""
        movable = self.looks_movable(start, start + self.pageblock)
        if mt == MOVABLE:
            return movable
        return self.pageblock - (free + movable) if old == MOVABLE else 0

    def steal(self, pfn: int, mt: int, whole: bool) -> None:
        """steal_suitable_fallback, until 6.9."""
        order = self.free_order[pfn]
        old = self.type_at(pfn)
        if old != HIGHATOMIC:
            if order >= self.pageblock_order:
                self.retype(pfn, order, mt)
            elif whole:
                start = pfn >> self.pageblock_order << self.pageblock_order
                if start < self.start:
                    start = pfn
                free = self.move_freepages_block(pfn, mt)
                if free:
                    if free + self.alike(start, free, mt, old) >= self.pageblock // 2:
                        self.types[pfn >> self.pageblock_order] = mt
                    return
        self.move_to(pfn, mt)

    def claim(self, order: int, mt: int) -> int | None:
        """__rmqueue_claim (6.12): take over the pageblock of the largest block of another type."""
        for high in range(self.max_order, order - 1, -1):
            found = self.suitable_fallback(high, mt)
            if found is None:
                continue
            if not found[1]:
                return None
            pfn = next(iter(self.lists[high][found[0]]))
            taken = self.claim_block(pfn, high, order, mt)
            if taken is not None:
                return taken
        return None

    def claim_block(self, pfn: int, high: int, order: int, mt: int) -> int | None:
        """try_to_steal_block (6.12), try_to_claim_block (6.19): the latter goes by the list that the block is on."""
        old = self.list_of[pfn] if self.rules.bit else self.type_at(pfn)
        if old == HIGHATOMIC:
            return None
        if high >= self.pageblock_order:
            self.count(-(1 << high), old)
            self.unlink(pfn)
            self.retype(pfn, high, mt)
            self.expand(pfn, order, high, mt)
            self.count((1 << high) - (1 << order), mt)
            self.taken_from = mt
            return pfn
        if not self.block_in_zone(pfn):
            return None
        start = pfn >> self.pageblock_order << self.pageblock_order
        free = sum(1 << self.free_order[head] for head in self.heads_in(start, start + self.pageblock))
        if free + self.alike(start, free, mt, old) < self.pageblock // 2:
            return None
        self.convert_block(pfn, mt, old)
        return self.smallest(order, mt)

    def steal_smallest(self, order: int, mt: int) -> int | None:
        """__rmqueue_steal (6.12): the smallest block of another type; its rest stays there."""
        for high in range(order, self.max_order + 1):
            found = self.suitable_fallback(high, mt)
            if found is not None:
                return self.take(next(iter(self.lists[high][found[0]])), order, found[0])
        return None

    # ---- requests ----

    def rmqueue(self, order: int, mt: int, mode: int = OWN) -> int | None:
        """__rmqueue: the type's own lists, CMA for movable requests, other types.

        ``mode``: where it begins; ``self.mode`` is where the next block of the same refill is to be looked for.
        """
        self.mode = mode
        if mt == MOVABLE and max(0, self.nr_free_cma) > max(0, self.nr_free) // 2:
            pfn = self.smallest(order, CMA)
            if pfn is not None:
                return pfn
        pfn = self.smallest(order, mt) if mode == OWN else None
        if pfn is not None:
            return pfn
        if mode <= FROM_CMA and mt == MOVABLE:
            pfn = self.smallest(order, CMA)
            if pfn is not None:
                self.mode = FROM_CMA
                return pfn
        if not self.rules.hygiene:
            return self.smallest(order, mt) if self.fallback(order, mt) else None
        if mode <= CLAIM:
            pfn = self.claim(order, mt)
            if pfn is not None:
                self.mode = OWN
                return pfn
        pfn = self.steal_smallest(order, mt)
        if pfn is not None:
            self.mode = STEAL
        return pfn

    def rmqueue_many(self, order: int, mt: int, most: int) -> list[int]:
        """rmqueue_bulk: until 6.9 NR_FREE_PAGES sinks at the end, and each block is looked for from the start."""
        taken: list[int] = []
        mode = OWN
        uncounted = 0
        while len(taken) < most:
            pfn = self.rmqueue(order, mt, mode)
            if pfn is None:
                break
            taken.append(pfn)
            self.remember(pfn, self.taken_from)
            if self.rules.hygiene:
                mode = self.mode
            else:
                uncounted += 1 << order
                self.nr_free += 1 << order
        self.nr_free -= uncounted
        return taken

    def from_zone(self, order: int, mt: int) -> int | None:
        """rmqueue without reserves: a per-cpu list, if the order has one, and the buddy lists behind it (6.0)."""
        if self.passes_pcp(order):
            pfn = self.from_pcp(order, mt)
            if pfn is not None or self.rules.per_cpu_only:
                return pfn
        return self.rmqueue(order, mt)

    def above_high(self) -> bool:
        return self.watermark_ok(0, UNMOVABLE, self.marks.high, False)

    def get_page(self, order: int, mt: int, atomic: bool) -> int | None:
        """A free block: above the low watermark, else above the min watermark, for which GFP_ATOMIC has reserves."""
        if not self.below_high and not self.watermark_ok(order, mt, self.marks.high, False):
            self.below_high = True
        if self.watermark_ok(order, mt, self.marks.low, False):
            pfn = self.from_zone(order, mt)
            if pfn is not None:
                return pfn
        # the slow path tries once before it looks at who may dip into reserves, and once after
        for _ in range(2):
            if self.watermark_ok(order, mt, self.marks.minimum, atomic):
                pfn = self.get_page_atomic(order, mt) if atomic else self.from_zone(order, mt)
                if pfn is not None:
                    if atomic and order > 0:
                        self.reserve_highatomic(pfn, order)
                    return pfn
        return None

    def get_page_atomic(self, order: int, mt: int) -> int | None:
        """rmqueue for GFP_ATOMIC in the slow path."""
        if order <= PAGE_ALLOC_COSTLY_ORDER or order == self.pageblock_order:
            pfn = self.rmqueue(order, mt) if self.pcp is None else self.from_pcp(order, mt)
            if pfn is not None or self.rules.per_cpu_only:
                return pfn
        pfn = self.smallest(order, HIGHATOMIC) if order > 0 else None
        if pfn is None:
            pfn = self.rmqueue(order, mt)
        if pfn is None and self.rules.atomic_last:
            pfn = self.smallest(order, HIGHATOMIC)
        return pfn

    def alloc(self, order: int, mt: int, flags: int, owner: int | None, atomic: bool = False) -> int | None:
        """Allocate a block; its pfn, None: there is none."""
        pfn = self.get_page(order, mt, atomic)
        if pfn is not None:
            self.used[pfn] = (order, flags, owner)
        return pfn

    # ---- HIGHATOMIC ----

    def reserve_highatomic(self, pfn: int, order: int) -> None:
        """reserve_highatomic_pageblock: set the pageblock of a page apart for high-order atomic requests."""
        managed = self.end - self.start if self.marks.managed is None else self.marks.managed
        one_percent = managed // 100
        if self.rules.hygiene:
            if one_percent < self.pageblock:
                return
            most = -(-one_percent // self.pageblock) * self.pageblock
        else:
            most = one_percent + self.pageblock
        old = self.type_at(pfn)
        if self.nr_reserved_highatomic >= most or old in (HIGHATOMIC, CMA, ISOLATE):
            return
        if not self.rules.hygiene:
            self.nr_reserved_highatomic += self.pageblock
            self.types[pfn >> self.pageblock_order] = HIGHATOMIC
            self.move_freepages_block(pfn, HIGHATOMIC)
        elif order < self.pageblock_order:
            if self.block_in_zone(pfn):
                self.convert_block(pfn, HIGHATOMIC)
                self.nr_reserved_highatomic += self.pageblock
        else:
            self.retype(pfn, order, HIGHATOMIC)
            self.nr_reserved_highatomic += 1 << order

    def unreserve_highatomic(self, mt: int, force: bool) -> bool:
        """unreserve_highatomic_pageblock: give one pageblock back, to a type; whether there was one."""
        if not force and self.nr_reserved_highatomic <= self.pageblock:
            return False
        for order in range(self.max_order + 1):
            entries = self.lists[order][HIGHATOMIC]
            if not entries:
                continue
            pfn = next(iter(entries))
            old = self.type_at(pfn)
            if old == HIGHATOMIC:
                size = max(self.pageblock, 1 << order) if self.rules.hygiene else self.pageblock
                self.nr_reserved_highatomic -= min(size, self.nr_reserved_highatomic)
            if not self.rules.hygiene:
                self.types[pfn >> self.pageblock_order] = mt
                if self.move_freepages_block(pfn, mt):
                    return True
            elif order < self.pageblock_order:
                if self.block_in_zone(pfn) and self.convert_block(pfn, mt):
                    return True
            else:
                self.count(-(1 << order), old)
                self.count(self.move_to(pfn, mt), mt)
                self.retype(pfn, order, mt)
                return True
        return False
