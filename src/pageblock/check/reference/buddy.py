"""The buddy lists: which page is where, freeing with merging, taking with splitting, moving the free pages of a pageblock."""

from collections import OrderedDict

from ...mm import Migratetype, PageClass, PageFlag
from .rules import Rules

__all__ = ["Buddy", "Used"]

UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC, CMA, ISOLATE = (int(t) for t in Migratetype)

#: An allocated block: order, class and flags in one byte (as in ``pageblock.OPERATION``), owner's handle.
Used = tuple[int, int, int | None]

#: Low bits of a flags byte: the class.
CLASS = 15
COMPOUND = int(PageFlag.COMPOUND)
LRU = {int(PageClass.ANON), int(PageClass.FILE), int(PageClass.THP)}
BY_DRIVER = int(PageClass.MOVABLE_OPS)
RESERVED = int(PageClass.RESERVED)


class Buddy:
    """Free lists, pageblock types and counters of one zone ``[start, end)``; pfns are absolute."""

    def __init__(self, rules: Rules, start: int, nr_pages: int, max_order: int, pageblock_order: int) -> None:
        self.rules = rules
        self.start, self.end = start, start + nr_pages
        self.max_order, self.pageblock_order = max_order, pageblock_order
        self.pageblock = 1 << pageblock_order
        #: a list's pfns in order, by order and type
        self.lists: list[list[OrderedDict[int, None]]] = [
            [OrderedDict() for _ in Migratetype] for _ in range(max_order + 1)
        ]
        #: free blocks: pfn of the head -> order, and -> type of the list that it is on
        self.free_order: dict[int, int] = {}
        self.list_of: dict[int, int] = {}
        #: blocks in use: pfn of the head -> what it is
        self.used: dict[int, Used] = {}
        #: pageblock number -> type, ISOLATE while it is isolated; ``beneath``: the type that the bit covers (6.17)
        self.types = dict.fromkeys(
            range(self.start >> pageblock_order, ((self.end - 1) >> pageblock_order) + 1), MOVABLE
        )
        self.beneath: dict[int, int] = {}
        self.nr_free = 0
        self.nr_free_cma = 0
        self.nr_free_highatomic = 0
        self.nr_isolated = 0
        #: type of the list from which the last block was taken
        self.taken_from = MOVABLE

    # ---- lists ----

    def put(self, pfn: int, order: int, mt: int, tail: bool) -> None:
        """Put a free block on a list."""
        entries = self.lists[order][mt]
        entries[pfn] = None
        if not tail:
            entries.move_to_end(pfn, last=False)
        self.free_order[pfn] = order
        self.list_of[pfn] = mt

    def unlink(self, pfn: int) -> int:
        """Take a free block off its list; its order."""
        order = self.free_order.pop(pfn)
        del self.lists[order][self.list_of.pop(pfn)][pfn]
        return order

    def count(self, nr_pages: int, mt: int) -> None:
        """Count pages that become free (or, negative, that cease to be) under a type."""
        if mt == ISOLATE:
            return
        self.nr_free += nr_pages
        if mt == CMA:
            self.nr_free_cma += nr_pages
        elif mt == HIGHATOMIC:
            self.nr_free_highatomic += nr_pages

    def type_at(self, pfn: int) -> int:
        """Type of the pageblock that holds a pfn of the zone."""
        return self.types[pfn >> self.pageblock_order]

    def retype(self, pfn: int, order: int, mt: int) -> None:
        """Give all pageblocks of a block of at least a pageblock a type (change_pageblock_range)."""
        first = pfn >> self.pageblock_order
        for block in range(first, first + (1 << (order - self.pageblock_order))):
            self.types[block] = mt

    # ---- freeing ----

    def may_merge(self, mt: int, other: int) -> bool:
        """Whether blocks of at least a pageblock of these types become one."""
        if mt == other:
            return True
        if self.rules.always_compare:
            return mt <= RECLAIMABLE and other <= RECLAIMABLE
        return not self.nr_isolated or (mt != ISOLATE and other != ISOLATE)

    def free_one_page(self, pfn: int, order: int, mt: int, tail: bool = False) -> None:
        """__free_one_page: merge with free buddies, then go to the list of ``mt``."""
        self.count(1 << order, mt)
        free_order = self.free_order
        while order < self.max_order:
            buddy = pfn ^ (1 << order)
            if free_order.get(buddy) != order:
                break
            if order >= self.pageblock_order:
                other = self.type_at(buddy)
                if not self.may_merge(mt, other):
                    break
                if self.rules.hygiene and other != mt:
                    self.retype(buddy, order, mt)
            self.unlink(buddy)
            pfn &= ~(1 << order)
            order += 1
        if not tail and order < self.max_order - 1:
            # buddy_merge_likely: the block above is all but free
            parent = pfn & ~(1 << order)
            tail = free_order.get(parent ^ (2 << order)) == order + 1
        self.put(pfn, order, mt, tail)

    def free_block(self, pfn: int, order: int) -> None:
        """Free a block under the types of its pageblocks: the first one's, or each its own (split_large_buddy, 6.10)."""
        if not self.rules.hygiene or order <= self.pageblock_order:
            self.free_one_page(pfn, order, self.type_at(pfn))
            return
        for piece in range(pfn, pfn + (1 << order), self.pageblock):
            self.free_one_page(piece, self.pageblock_order, self.type_at(piece))

    # ---- taking ----

    def expand(self, pfn: int, low: int, high: int, mt: int) -> None:
        """Put the upper halves of a block that is cut down from order ``high`` to ``low`` on the lists of ``mt``."""
        while high > low:
            high -= 1
            self.put(pfn + (1 << high), high, mt, False)

    def take(self, pfn: int, order: int, mt: int) -> int:
        """Take the first pages of a free block from the list of ``mt``; the rest stays there. Its pfn."""
        high = self.unlink(pfn)
        self.expand(pfn, order, high, mt)
        self.count(-(1 << order), mt)
        self.taken_from = mt
        return pfn

    def smallest(self, order: int, mt: int) -> int | None:
        """__rmqueue_smallest: the first block of the smallest order of a type that is large enough."""
        for high in range(order, self.max_order + 1):
            entries = self.lists[high][mt]
            if entries:
                return self.take(next(iter(entries)), order, mt)
        return None

    # ---- pageblocks ----

    def move_to(self, pfn: int, mt: int) -> int:
        """Move a free block to the tail of another type's list; its pages."""
        order = self.unlink(pfn)
        self.put(pfn, order, mt, True)
        return 1 << order

    def heads_in(self, start: int, end: int) -> list[int]:
        """Heads of free blocks in a range, ascending."""
        heads = []
        pfn = start
        get = self.free_order.get
        while pfn < end:
            order = get(pfn)
            if order is None:
                pfn += 1
            else:
                heads.append(pfn)
                pfn += 1 << order
        return heads

    def block_in_zone(self, pfn: int) -> bool:
        """Whether the whole pageblock of a pfn lies in the zone."""
        first = pfn >> self.pageblock_order << self.pageblock_order
        return self.start <= first and first + self.pageblock <= self.end

    def move_freepages_block(self, pfn: int, mt: int) -> int:
        """Move the free pages whose heads lie in a pageblock to another type's lists; pages (until 6.9: not counted)."""
        first = pfn >> self.pageblock_order << self.pageblock_order
        last = first + self.pageblock
        if last > self.end:
            return 0
        if first < self.start:
            first = pfn
        return sum([self.move_to(head, mt) for head in self.heads_in(first, last)])

    def convert_block(self, pfn: int, mt: int, old: int | None = None) -> int:
        """__move_freepages_block (6.10): move and count the free pages of a pageblock, and give it a type; pages.

        ``old``: the type that they were counted under, if it is not the pageblock's.
        """
        first = pfn >> self.pageblock_order << self.pageblock_order
        if old is None:
            old = self.type_at(pfn)
        moved = 0
        for head in self.heads_in(first, first + self.pageblock):
            nr_pages = self.move_to(head, mt)
            self.count(-nr_pages, old)
            self.count(nr_pages, mt)
            moved += nr_pages
        self.types[pfn >> self.pageblock_order] = mt
        return moved

    def find_head(self, pfn: int) -> int | None:
        """Head of the block in use that covers a pfn, if there is one."""
        for order in range(32):
            head = pfn >> order << order
            block = self.used.get(head)
            if block is not None:
                return head if head + (1 << block[0]) > pfn else None
            if head == 0:
                break
        return None

    def looks_movable(self, start: int, end: int) -> int:
        """Pages of a range that a steal counts as movable: on the LRU (with all their tails) or movable by a driver."""
        nr_pages = 0
        head = self.find_head(start)
        pfn = start if head is None else head
        while pfn < end:
            block = self.used.get(pfn)
            if block is None:
                pfn += 1 << self.free_order.get(pfn, 0)
                continue
            order, flags, _ = block
            last = pfn + (1 << order)
            if flags & CLASS in LRU:
                nr_pages += min(last, end) - max(pfn, start)
            elif flags & CLASS == BY_DRIVER and pfn >= start:
                nr_pages += 1
            if self.rules.movable_pair and order == 1 and flags & COMPOUND and flags & CLASS not in LRU:
                nr_pages += start <= pfn + 1 < end
            pfn = last
        return nr_pages
