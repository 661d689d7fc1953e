"""Isolation of pageblocks (mm/page_isolation.c of 5.15.16, 6.1, 6.12 and 6.19)."""

from ...mm import PageClass
from .buddy import CLASS, CMA, COMPOUND, ISOLATE, LRU, MOVABLE, RECLAIMABLE, RESERVED
from .request import Request

__all__ = ["EBUSY", "Isolation"]

EBUSY = -16

HUGETLB = int(PageClass.HUGETLB)
HOLE = int(PageClass.HOLE)
BY_DRIVER = int(PageClass.MOVABLE_OPS)


class Isolation(Request):
    """A zone whose pageblocks can be isolated. Functions that may be refused return 0 or a negative errno."""

    zone_movable = False

    # ---- looking ----

    def is_isolated(self, pfn: int) -> bool:
        """Whether a pfn lies in an isolated pageblock."""
        return self.types.get(pfn >> self.pageblock_order) == ISOLATE

    def first_valid(self, block_pfn: int) -> int | None:
        """First page of a pageblock that lies in the zone and is no hole (__first_valid_page)."""
        for pfn in range(max(block_pfn, self.start), min(block_pfn + self.pageblock, self.end)):
            block = self.used.get(pfn)
            if block is None or block[1] & CLASS != HOLE:
                return pfn
        return None

    def covering_free(self, pfn: int) -> int:
        """Head of the free block that covers a pfn; the pfn itself if there is none (find_large_buddy)."""
        for order in range(self.max_order + 1):
            head = pfn >> order << order
            size = self.free_order.get(head)
            if size is not None:
                return head if head + (1 << size) > pfn else pfn
        return pfn

    def is_unmovable(self, flags: int) -> bool:
        """Whether a page in use of these flags stands in the way of an isolation for alloc_contig_range."""
        kind = flags & CLASS
        if kind in (RESERVED, HOLE):
            return True
        if self.zone_movable:
            return False
        if kind in LRU or kind == HUGETLB:
            return False
        return kind != BY_DRIVER or (bool(flags & COMPOUND) and not self.rules.movable_compound)

    def has_unmovable(self, start: int, end: int, mt: int) -> bool:
        """has_unmovable_pages for pages of one pageblock."""
        if self.type_at(min(max(start, self.start), self.end - 1)) == CMA:
            return mt != CMA
        pfn = max(start, self.start)
        end = min(end, self.end)
        head = self.find_head(pfn) if pfn < end else None
        if head is not None and self.used[head][1] & COMPOUND:
            pfn = head
        while pfn < end:
            block = self.used.get(pfn)
            if block is None:
                # free, or a tail without references
                pfn += 1 << self.free_order.get(pfn, 0)
                continue
            order, flags, _ = block
            if self.is_unmovable(flags):
                return True
            pfn += 1 << order if flags & COMPOUND else 1
        return False

    # ---- one pageblock ----

    def isolate_block(self, page: int, mt: int, start: int, end: int) -> int:
        """set_migratetype_isolate of the pageblock of ``page`` for a request of ``[start, end)``."""
        number = page >> self.pageblock_order
        block_end = (number + 1) << self.pageblock_order
        if self.types[number] == ISOLATE:
            return EBUSY
        first, last = page, block_end
        if self.rules.single:
            first, last = max(page, start), min(block_end, end)
        elif self.rules.only_requested:
            # patch 3 looks from the request's start on, also for a pageblock that ends before it
            first = max(page, start)
            last = min(((first >> self.pageblock_order) + 1) << self.pageblock_order, end)
        if self.has_unmovable(first, last, mt):
            return EBUSY
        old = self.types[number]
        if self.rules.hygiene:
            if not self.block_in_zone(page):
                return EBUSY
            if self.rules.bit:
                self.beneath[number] = old
            self.change_isolation(page, ISOLATE)
        else:
            self.beneath[number] = old
            self.types[number] = ISOLATE
            self.count(-self.move_freepages_block(page, ISOLATE), old)
        self.nr_isolated += 1
        return 0

    def change_isolation(self, page: int, mt: int) -> None:
        """move_freepages_block_isolate (6.10): a free page over the pageblock's ends is cut; else its pages move."""
        number = page >> self.pageblock_order
        start = number << self.pageblock_order
        if self.pageblock_order < self.max_order:
            head = self.covering_free(start)
            order = self.free_order.get(head)
            if order is not None and order > self.pageblock_order and head + (1 << order) > start:
                self.count(-(1 << order), self.list_of[head])
                self.unlink(head)
                self.types[number] = mt
                self.free_block(head, order)
                return
        self.convert_block(start, mt)

    def take_isolated(self, pfn: int) -> int:
        """__isolate_free_page of a free block that begins in an isolated pageblock; its order."""
        order = self.unlink(pfn)
        if order >= self.pageblock_order - 1:
            for at in range(pfn, pfn + (1 << order) - 1, self.pageblock):
                if self.type_at(at) <= RECLAIMABLE:
                    self.types[at >> self.pageblock_order] = MOVABLE
        return order

    def give_block_back(self, page: int, mt: int) -> None:
        """unset_migratetype_isolate: the pageblock of ``page`` gets ``mt``, or with an own bit its type."""
        number = page >> self.pageblock_order
        if self.types[number] != ISOLATE:
            return
        if self.rules.bit:
            mt = self.beneath[number]
        order = self.free_order.get(page)
        alone = True
        if order is not None and self.pageblock_order <= order < self.max_order:
            buddy = page ^ (1 << order)
            if not self.rules.free_buddy or self.free_order.get(buddy) == order:
                alone = self.is_isolated(buddy)
        if not alone:
            order = self.take_isolated(page)
            self.types[number] = mt
            self.free_one_page(page, order, mt, tail=True)
        elif self.rules.hygiene:
            self.change_isolation(page, mt)
        else:
            self.count(self.move_freepages_block(page, mt), mt)
            self.types[number] = mt
        self.nr_isolated -= 1

    # ---- ranges ----

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A range rounded as this release's alloc_contig_range rounds it for isolation."""
        unit = self.pageblock
        if self.rules.windows:
            unit = max(unit, 1 << self.max_order)
        return start // unit * unit, -(-end // unit) * unit

    def isolate_range(self, start: int, end: int, mt: int, keep_types: bool = False) -> int:
        """start_isolate_page_range of a range as the callers of this release round it.

        ``keep_types``: pageblocks that were isolated get their own types back if a later one refuses, not ``mt``.
        """
        if self.rules.single:
            return self.isolate_ends_first(start, end, mt)
        first, last = self.span(start, end)
        for pfn in range(first, last, self.pageblock):
            page = self.first_valid(pfn)
            if page is None:
                # behind the zone's ends the memory map goes on with reserved pages
                refused = not self.rules.only_requested
            else:
                refused = self.isolate_block(page, mt, start, end) != 0
            if refused:
                for undo in range(first, pfn, self.pageblock):
                    if self.first_valid(undo) == undo:
                        self.give_block_back(undo, self.beneath[undo >> self.pageblock_order] if keep_types else mt)
                return EBUSY
        return 0

    def undo_range(self, start: int, end: int, mt: int) -> None:
        """undo_isolate_page_range of the pageblocks that a range touches."""
        unit = self.pageblock
        for pfn in range(start // unit * unit, end, unit):
            page = self.first_valid(pfn)
            if page is not None:
                self.give_block_back(page, mt)

    def isolate_ends_first(self, start: int, end: int, mt: int) -> int:
        """start_isolate_page_range since 5.19: first pageblock, last pageblock, those between."""
        unit = self.pageblock
        first, last = start // unit * unit, -(-end // unit) * unit
        error = self.isolate_single(first, False, False, mt)
        if error:
            return error
        error = self.isolate_single(last, True, first == last - unit, mt)
        if error:
            self.give_block_back(max(first, self.start), mt)
            return error
        for pfn in range(first + unit, last - unit, unit):
            page = self.first_valid(pfn)
            if page is not None and self.isolate_block(page, mt, start, end):
                self.undo_range(first, pfn, mt)
                self.give_block_back(last - unit, mt)
                return EBUSY
        return 0

    def isolate_single(self, boundary: int, before: bool, skip: bool, mt: int) -> int:
        """isolate_single_pageblock: isolate the pageblock before or after a boundary, and see to what crosses it."""
        target = boundary - self.pageblock if before else boundary
        page = max(target, self.start)
        if not skip:
            error = self.isolate_block(page, mt, target, target + self.pageblock)
            if error:
                return error
        other_side = boundary if before else boundary - 1
        if not self.start <= other_side < self.end:
            return 0
        if not self.clear_boundary(max(target >> self.max_order << self.max_order, self.start), boundary):
            if not skip:
                self.give_block_back(page, mt)
            return EBUSY
        return 0

    def clear_boundary(self, pfn: int, boundary: int) -> bool:
        """Cut or migrate what crosses the boundary, from ``pfn`` on; False: something stays."""
        while pfn < boundary:
            order = self.free_order.get(pfn)
            if order is not None:
                if pfn + (1 << order) > boundary and not self.rules.hygiene:
                    self.split_free_page(pfn, order, boundary - pfn)
                pfn += 1 << order
                continue
            block = self.used.get(pfn)
            if block is None or not block[1] & COMPOUND:
                pfn += 1
                continue
            after = pfn + (1 << block[0])
            kind = block[1] & CLASS
            if after > boundary and not (self.rules.hygiene and kind == HUGETLB):
                if self.rules.hygiene or not (kind in LRU or kind in (HUGETLB, BY_DRIVER)):
                    return False
                if not self.migrate_straddler(pfn, after):
                    return False
                at = self.covering_free(pfn)
                if at not in self.free_order:
                    return False
                pfn = at
                continue
            pfn = after
        return True

    def migrate_straddler(self, start: int, end: int) -> bool:
        """Migrate one compound page while its first pageblock is isolated; whether it has gone."""
        mt = self.type_at(start)
        isolate = mt != ISOLATE
        if isolate and self.isolate_block(start, mt, start, end):
            return False
        error = self.migrate_range(start, end)
        if isolate:
            self.give_block_back(start, mt)
        return error == 0

    def migrate_range(self, start: int, end: int) -> int:
        """__alloc_contig_migrate_range, see ``migration``."""
        raise NotImplementedError

    def split_free_page(self, pfn: int, order: int, offset: int) -> None:
        """split_free_page (5.19 to 6.9): free the pieces before and behind an offset, each under its pageblock's type."""
        self.count(-(1 << order), self.type_at(pfn))
        self.unlink(pfn)
        end = pfn + (1 << order)
        left = offset
        while pfn < end:
            piece = left.bit_length() - 1
            if pfn:
                piece = min(piece, (pfn & -pfn).bit_length() - 1)
            else:
                piece = min(piece, order)
            self.free_one_page(pfn, piece, self.type_at(pfn))
            pfn += 1 << piece
            left -= 1 << piece
            if left == 0:
                left = end - pfn

    def test_isolated(self, start: int, end: int) -> bool:
        """test_pages_isolated: every pageblock is isolated and every page is free."""
        for pfn in range(start, end, self.pageblock):
            if not self.is_isolated(pfn):
                return False
        pfn = start
        while pfn < end:
            order = self.free_order.get(pfn)
            if order is None:
                return False
            pfn += 1 << order
        return True
