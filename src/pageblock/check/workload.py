"""Random operations that go where boundaries meet: ends of pageblocks, of max order blocks, of free pages and of the zone."""

from random import Random

from ..mm import Migratetype, PageClass, PageFlag
from .lockstep import (
    ALLOC,
    ATOMIC,
    CONTIG,
    CONTIG_PAGES,
    DRAIN,
    FREE,
    FREE_CONTIG,
    ISOLATE,
    UNDO,
    UNRESERVE,
    Lockstep,
    Operation,
)

__all__ = ["HANDLES", "Workload"]

#: Handles of a case: blocks and ranges that can be held at once.
HANDLES = 256

UNMOVABLE, MOVABLE, RECLAIMABLE = (
    int(t) for t in (Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.RECLAIMABLE)
)
CMA = int(Migratetype.CMA)
KERNEL, ANON, FILE, THP, SLAB = (
    int(c) for c in (PageClass.KERNEL, PageClass.ANON, PageClass.FILE, PageClass.THP, PageClass.SLAB)
)
BY_DRIVER, PGTABLE, OTHER, PAGEVEC = (
    int(c) for c in (PageClass.MOVABLE_OPS, PageClass.PGTABLE, PageClass.COMPOUND, PageClass.PAGEVEC)
)
PINNED, COMPOUND, CLEAN = int(PageFlag.PINNED), int(PageFlag.COMPOUND), int(PageFlag.CLEAN)

#: Flags bytes by migratetype: of single pages, and of larger blocks. Repeated where they are more frequent.
SINGLE = {
    UNMOVABLE: (KERNEL, KERNEL, PGTABLE, SLAB),
    MOVABLE: (ANON, ANON, ANON, FILE, FILE | CLEAN, ANON | PINNED, BY_DRIVER, PAGEVEC, KERNEL),
    RECLAIMABLE: (SLAB, SLAB, KERNEL, FILE),
}
LARGER = {
    UNMOVABLE: (KERNEL, KERNEL | COMPOUND, SLAB | COMPOUND),
    MOVABLE: (THP | COMPOUND, THP | COMPOUND, THP | COMPOUND, THP | COMPOUND | PINNED, OTHER | COMPOUND, KERNEL),
    RECLAIMABLE: (SLAB | COMPOUND, KERNEL),
}


class Workload:
    """Draws operations for one pair of zones, of which it sees the reference."""

    def __init__(self, pair: Lockstep, random: Random) -> None:
        self.pair = pair
        self.world = pair.world
        self.random = random
        self.empty = list(range(HANDLES))
        self.blocks: list[int] = []
        self.ranges: list[tuple[int, int]] = []
        self.isolated: list[tuple[int, int]] = []
        # a case has its own mix: how full, how large, of which types, how often ranges
        self.fullness = random.choice((0.3, 0.6, 0.8, 0.95, 1.0))
        self.large = random.choice((0.0, 0.2, 0.5))
        self.types = random.choice(((MOVABLE,), (MOVABLE, MOVABLE, UNMOVABLE), (UNMOVABLE, MOVABLE, RECLAIMABLE)))
        self.often = random.choice((0.01, 0.03, 0.1))
        self.atomic = random.choice((0.0, 0.0, 0.05, 0.3)) if self.world.low else random.choice((0.0, 0.02))
        self.used = 0.0
        # with tides many allocations, then many frees follow each other: what the sizes of per-cpu lists go by
        self.tides = self.world.pcp is not None and random.random() < 0.5
        self.rising = True

    def draw(self) -> Operation:
        """The next operation, done on the reference."""
        random = self.random
        chance = random.random()
        if chance < self.often:
            return self.draw_range(random.random())
        if self.empty and (not self.blocks or random.random() < self.share()):
            return self.draw_alloc()
        if self.blocks:
            at = random.randrange(len(self.blocks))
            handle = self.blocks[at]
            self.blocks[at] = self.blocks[-1]
            self.blocks.pop()
            self.empty.append(handle)
            return self.do((FREE, 0, 0, 0, handle, 0, 0))
        return self.draw_range(random.random())

    def do(self, operation: Operation) -> Operation:
        self.answer = self.pair.apply(operation)
        return operation

    def share(self) -> float:
        """How likely the next operation allocates: less, the fuller the zone is."""
        if self.tides:
            if self.random.random() < 0.02:
                self.rising = not self.rising
            return 0.9 if self.rising else 0.1
        reference = self.pair.reference
        free = reference.nr_free + (0 if reference.pcp is None else reference.pcp.count)
        return 0.65 if free > (1 - self.fullness) * self.world.nr_pages else 0.35

    def draw_alloc(self) -> Operation:
        random = self.random
        order = 0
        if random.random() < self.large:
            order = random.randint(0, self.world.max_order)
        mt = random.choice(self.types)
        flags = random.choice((LARGER if order else SINGLE)[mt])
        kind = ATOMIC if self.atomic and random.random() < self.atomic else ALLOC
        handle = self.empty.pop()
        operation = self.do((kind, order, mt, flags, handle, 0, 0))
        if self.answer >= 0:
            self.blocks.append(handle)
        else:
            self.empty.append(handle)
        return operation

    def draw_range(self, chance: float) -> Operation:
        """An operation on a range."""
        random = self.random
        if self.ranges and chance < 0.35:
            handle, nr_pages = self.ranges.pop(random.randrange(len(self.ranges)))
            self.empty.append(handle)
            return self.do((FREE_CONTIG, 0, 0, 0, handle, 0, nr_pages))
        if self.world.pcp is not None and random.random() < 0.1:
            return self.do((DRAIN, 0, 0, 0, 0, 0, 0))
        if self.world.special and chance < 0.5:
            return self.draw_special(random.random())
        start, nr_pages = self.draw_place()
        mt = self.draw_type(start, nr_pages)
        if not self.empty:
            return self.do((UNDO, 0, mt, 0, 0, start, nr_pages))
        handle = self.empty.pop()
        operation = self.do((CONTIG, 0, mt, KERNEL, handle, start, nr_pages))
        if self.answer >= 0:
            self.ranges.append((handle, nr_pages))
        else:
            self.empty.append(handle)
        return operation

    def draw_special(self, chance: float) -> Operation:
        """Isolation by itself, alloc_contig_pages, the HIGHATOMIC reserve."""
        random = self.random
        if self.isolated and chance < 0.4:
            start, nr_pages = self.isolated.pop(random.randrange(len(self.isolated)))
            return self.do((UNDO, 0, self.draw_type(start, nr_pages), 0, 0, start, nr_pages))
        if chance < 0.75:
            start, nr_pages = self.draw_place()
            mt = self.draw_type(start, nr_pages)
            operation = self.do((ISOLATE, 0, mt, 0, 0, start, nr_pages))
            if self.answer == 0:
                self.isolated.append((start, nr_pages))
            return operation
        if chance < 0.9 or not self.empty:
            return self.do(
                (UNRESERVE, 0, random.choice((UNMOVABLE, MOVABLE, RECLAIMABLE)), random.randrange(2), 0, 0, 0)
            )
        handle = self.empty.pop()
        nr_pages = 1 << random.randint(0, self.world.max_order)
        operation = self.do(
            (CONTIG_PAGES, 0, 0, KERNEL, handle, 0, min(nr_pages, 1 << (self.world.nr_pages.bit_length() - 1)))
        )
        if self.answer >= 0:
            self.ranges.append((handle, operation[6]))
        else:
            self.empty.append(handle)
        return operation

    def draw_type(self, start: int, nr_pages: int) -> int:
        """What a range is asked for as: MOVABLE or CMA; where CMA requests keep to areas, these get no others."""
        world = self.world
        if not world.foreign_cma:
            first = world.start_pfn + start
            return CMA if world.in_area(first, first + nr_pages) else MOVABLE
        return CMA if world.cma and self.random.random() < 0.5 else MOVABLE

    def draw_place(self) -> tuple[int, int]:
        """A range of the zone, counted from its first page, near a boundary."""
        random, world = self.random, self.world
        block = 1 << world.pageblock_order
        anchor = self.draw_anchor(random.random())
        length = random.choice(
            (1, 1, 2, block // 2, block - 1, block, block, block + 1, 2 * block, 3 * block, 1 << world.max_order)
        )
        if random.random() < 0.2:
            length = random.randint(1, 3 * block)
        start = anchor + random.choice((0, 0, 0, -length, -length // 2, -1, 1))
        start = min(max(start, world.start_pfn), world.end_pfn - 1)
        end = min(start + max(1, length), world.end_pfn)
        return start - world.start_pfn, end - start

    def draw_anchor(self, chance: float) -> int:
        """A pfn where something begins or ends."""
        random, world = self.random, self.world
        if chance < 0.4:
            return random.randrange(world.start_pfn, world.end_pfn) >> world.pageblock_order << world.pageblock_order
        if chance < 0.55:
            return random.randrange(world.start_pfn, world.end_pfn) >> world.max_order << world.max_order
        if chance < 0.65:
            return random.choice((world.start_pfn, world.end_pfn))
        if chance < 0.9:
            # the largest free blocks: those that cross pageblocks
            for order in range(world.max_order, -1, -1):
                for entries in self.pair.reference.lists[order]:
                    if entries and random.random() < 0.5:
                        head = next(iter(entries)) if random.random() < 0.5 else next(reversed(entries))
                        return head + random.choice((0, 1 << order, 1 << order >> 1))
        return random.randrange(world.start_pfn, world.end_pfn)
