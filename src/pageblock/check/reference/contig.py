"""alloc_contig_range and what is built on it (mm/page_alloc.c)."""

from .buddy import CLASS, COMPOUND, ISOLATE, MOVABLE, RESERVED
from .isolation import EBUSY, HOLE, HUGETLB
from .migration import Migration

__all__ = ["KernelStops", "Reference"]

ENOENT = -2
EEXIST = -17
ENOMEM = -12


class KernelStops(Exception):
    """VM_BUG_ON: nothing that follows means anything."""


class Reference(Migration):
    """One zone under one release's rules; answers as ``Zone.run`` does: a pfn or a negative errno.

    ``overlapping``: a free page covers pages that are not free, so that what follows is not defined.
    """

    overlapping = False

    # ---- alloc_contig_range ----

    def alloc_contig_range(self, start: int, end: int, mt: int, flags: int, owner: int | None) -> int:
        """Take exactly ``[start, end)``: 0, or a negative errno."""
        if self.rules.as_posted:
            return self.alloc_contig_range_as_posted(start, end, mt, flags, owner)
        error = self.isolate_range(start, end, mt, self.rules.save_outer)
        if error:
            if self.rules.undo_failed:
                self.undo_range(*self.span(start, end), mt)
            return error
        self.drain()
        error = self.migrate_range(start, end)
        if error == EBUSY:
            error = 0
        if self.rules.save_outer:
            self.restore_outer(start, end, cut=not error)
        if not error:
            error = self.take_range(start, end, flags, owner)
        if not self.rules.save_outer:
            self.undo_range(*self.span(start, end), mt)
            return error
        for pfn in range(start // self.pageblock * self.pageblock, end, self.pageblock):
            page = self.first_valid(pfn)
            if page is not None:
                self.give_block_back(page, self.beneath[page >> self.pageblock_order] if error else mt)
        return error

    def restore_outer(self, start: int, end: int, cut: bool) -> None:
        """The seed's patch 4 as described: cut what crosses the request's pageblocks, give the blocks beside it back."""
        unit = self.pageblock
        first, last = start // unit * unit, -(-end // unit) * unit
        for boundary in (first, last) if cut else ():
            head = self.covering_free(boundary)
            if head < boundary and self.free_order[head] > self.pageblock_order:
                self.cut_into_pageblocks(head)
        lower, upper = self.span(start, end)
        for pfn in (*range(lower, first, unit), *range(last, upper, unit)):
            page = self.first_valid(pfn)
            if page is not None:
                self.give_block_back(page, self.beneath[page >> self.pageblock_order])

    def cut_into_pageblocks(self, head: int) -> None:
        """Cut an isolated free block into pageblocks, which lie at the head of their list, the lowest first."""
        order = self.unlink(head)
        for pfn in range(head + (1 << order) - self.pageblock, head - 1, -self.pageblock):
            self.put(pfn, self.pageblock_order, ISOLATE, False)

    # ---- the seed's patch 4 as posted ----

    def alloc_contig_range_as_posted(self, start: int, end: int, mt: int, flags: int, owner: int | None) -> int:
        """alloc_contig_range with patch 4 as mailed on 19 January 2022. Raises KernelStops."""
        unit = self.pageblock
        first, last = start // unit * unit, -(-end // unit) * unit
        lower, upper = self.span(start, end)
        outer = [pfn >> self.pageblock_order for pfn in (*range(lower, first, unit), *range(last, upper, unit))]
        saved = {number: self.types[number] for number in outer if number in self.types}
        error = self.isolate_range(start, end, mt)
        if not error:
            self.drain()
            error = self.migrate_range(start, end)
            if error == EBUSY:
                error = 0
            if not error:
                # the types alone: free pages stay on their lists
                self.types.update(saved)
                self.split_at_start(start)
                self.split_from_end(last, upper)
                error = self.take_pageblocks(start, end, first, last, flags, owner)
        self.undo_range(first, last, mt)
        return error

    def split_at_start(self, start: int) -> None:
        """Split the free page that covers the start, unless it begins there."""
        head = self.covering_free(start)
        if head != start:
            self.split_into_pageblocks(head)

    def split_from_end(self, last: int, upper: int) -> None:
        """Walk from the end of the request's pageblocks to the window's end; a free page is met at its second page."""
        pfn = last
        while pfn < upper:
            head = next((h for o in range(self.max_order + 1) if (h := pfn >> o << o) in self.free_order), pfn)
            if head == pfn:
                pfn += 1
                continue
            order = self.free_order[head]
            if head + (1 << order) <= pfn:
                raise KernelStops
            self.split_into_pageblocks(head)
            pfn = head + (1 << order)

    def split_into_pageblocks(self, head: int) -> None:
        """split_free_page_into_pageblocks: free it again, a pageblock at a time, however small it is."""
        order = self.unlink(head)
        for pfn in range(head, head + (1 << order), self.pageblock):
            if pfn % self.pageblock:
                raise KernelStops
            self.free_one_page(pfn, self.pageblock_order, self.type_at(pfn))
        # a page of less than a pageblock now covers what is not free
        self.overlapping |= order < self.pageblock_order

    def take_pageblocks(self, start: int, end: int, first: int, last: int, flags: int, owner: int | None) -> int:
        """Test and take whole pageblocks, and free what the request did not ask for."""
        if not self.test_isolated(first, last):
            return EBUSY
        pfn = first
        while pfn < last:
            order = self.take_isolated(pfn)
            if any(self.is_referenced(page) for page in range(pfn, pfn + (1 << order))):
                raise KernelStops
            pfn += 1 << order
        for page in (*range(first, start), *range(end, last)):
            self.free_pages(page, 0)
        for page in range(start, end):
            self.used[page] = (0, flags, owner)
        return 0

    def take_range(self, start: int, end: int, flags: int, owner: int | None) -> int:
        """Test the isolated range, take its free blocks, free what lies before and behind it."""
        first = self.covering_free(start)
        if not self.test_isolated(first, end):
            return EBUSY
        pfn = first
        while pfn < end:
            pfn += 1 << self.take_isolated(pfn)
        for page in (*range(first, start), *range(end, pfn)):
            self.free_pages(page, 0)
        for page in range(start, end):
            self.used[page] = (0, flags, owner)
        return 0

    def is_referenced(self, page: int) -> bool:
        """Whether set_page_refcounted stops at a page: it has a reference, or is the tail of a compound page."""
        head = self.find_head(page)
        return head is not None and (head == page or bool(self.used[head][1] & COMPOUND))

    def free_contig_range(self, start: int, nr_pages: int) -> None:
        """Free single pages, ascending."""
        for pfn in range(start, start + nr_pages):
            self.free_used(pfn)

    def valid_contig(self, start: int, end: int) -> bool:
        """pfn_range_valid_contig: whether alloc_contig_pages tries a range."""
        avoided = {RESERVED, HOLE, HUGETLB} if self.rules.skip_huge else {RESERVED, HOLE}
        head = self.find_head(start)
        pfn = start if head is None else head
        while pfn < end:
            block = self.used.get(pfn)
            if block is not None and block[1] & CLASS in avoided:
                return False
            pfn += 1 if block is None else 1 << block[0]
        return True

    def alloc_contig_pages(self, nr_pages: int, flags: int, owner: int | None) -> int:
        """The first range, aligned to its size, that can be had; its pfn or -EBUSY."""
        start = -(-self.start // nr_pages) * nr_pages
        while start + nr_pages <= self.end:
            end = start + nr_pages
            if self.valid_contig(start, end) and self.alloc_contig_range(start, end, MOVABLE, flags, owner) == 0:
                return start
            start += nr_pages
        return EBUSY

    # ---- requests with handles, as Zone.run has them ----

    def run_alloc(self, handle: int, order: int, mt: int, flags: int, atomic: bool) -> int:
        """Allocate into a handle."""
        if handle in self.handles:
            return EEXIST
        pfn = self.alloc(order, mt, flags, handle, atomic)
        if pfn is None:
            return ENOMEM
        self.handles[handle] = pfn
        return pfn

    def run_free(self, handle: int) -> int:
        """Free a handle's block, if the page is still the handle's."""
        pfn = self.handles.pop(handle, None)
        block = None if pfn is None else self.used.get(pfn)
        if pfn is None or block is None or block[2] != handle:
            return ENOENT
        self.free_used(pfn)
        return pfn

    def run_contig(self, handle: int, start: int, end: int, mt: int, flags: int) -> int:
        """alloc_contig_range into a handle."""
        if handle in self.handles:
            return EEXIST
        error = self.alloc_contig_range(start, end, mt, flags, handle)
        if error:
            # pages of a split huge page may have had this handle, and moved
            self.handles.pop(handle, None)
            return error
        self.handles[handle] = start
        return start

    def run_free_contig(self, handle: int, nr_pages: int) -> int:
        """Free a handle's contiguous range, if its pages are still the handle's."""
        start = self.handles.get(handle)
        if start is None or any(
            self.used.get(p, (1, 0, None))[::2] != (0, handle) for p in range(start, start + nr_pages)
        ):
            return ENOENT
        self.free_contig_range(start, nr_pages)
        del self.handles[handle]
        return start
