"""A small world to try operations in: a zone's geometry and boot state, for the model and for the reference."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ..errors import InputError
from ..mm import Migratetype, PageClass, Zone
from .invariants import Circumstances
from .reference import RELEASES, Reference, Rules, rules_of
from .reference.percpu import FREE_HIGH_BATCH, PAGE_ALLOC_COSTLY_ORDER
from .reference.request import Marks

__all__ = ["World", "random_world"]

MOVABLE, CMA = int(Migratetype.MOVABLE), int(Migratetype.CMA)
RESERVED = int(PageClass.RESERVED)


@dataclass(frozen=True, slots=True)
class World:
    """Release and geometry; ``cma``: pageblock-aligned ranges of pfns that are CMA at boot; ``reserved``: pages in use for ever.

    Ranges are half open, absolute, ascending and do not overlap. ``minimum``, ``low``: watermarks, pages.
    ``zone_movable``: the zone is ZONE_MOVABLE, where only reserved pages stand in the way of isolation.
    ``pcp``: batch, lowest and highest high mark (pages) and flags of the per-cpu lists of one CPU; None: pages go past them.
    ``model``: the model's release where it is to differ from the reference's, to see that a difference is found.
    ``special``: pageblocks are isolated by themselves and HIGHATOMIC ones given up; ``foreign_cma``: CMA requests come for any
    memory, not for that of areas only, as a kernel's do. Both decide which invariants a release promises.
    """

    release: str
    nr_pages: int
    start_pfn: int = 0
    max_order: int = 10
    pageblock_order: int = 9
    cma: tuple[tuple[int, int], ...] = ()
    reserved: tuple[tuple[int, int], ...] = ()
    minimum: int = 0
    low: int = 0
    model: str | None = None
    zone_movable: bool = False
    pcp: tuple[int, int, int, int] | None = None
    special: bool = True
    foreign_cma: bool = True

    @property
    def circumstances(self) -> Circumstances:
        """What decides which invariants hold here, where all kinds of operations are drawn."""
        inside = (1 << self.pageblock_order) - 1
        cut = bool(self.start_pfn & inside or self.end_pfn & inside)
        return Circumstances(
            cut,
            ranges=True,
            isolations=self.special,
            foreign_cma=self.foreign_cma,
            unreserved=self.special,
            large_per_cpu=self.pcp is not None and self.pageblock_order < PAGE_ALLOC_COSTLY_ORDER,
            large_isolations=self.special and self.max_order > self.pageblock_order + 1,
            shared_windows=(self.special or self.pcp is not None)
            and any(pfn & ((1 << max(self.max_order, self.pageblock_order)) - 1) for area in self.cma for pfn in area),
        )

    def in_area(self, start: int, end: int) -> bool:
        """Whether a CMA area holds all of a range of pfns."""
        return any(first <= start and end <= last for first, last in self.cma)

    @property
    def end_pfn(self) -> int:
        """First pfn behind the zone."""
        return self.start_pfn + self.nr_pages

    @property
    def high(self) -> int:
        """The high watermark, as far above the low one as that is above the min one."""
        return self.low + (self.low - self.minimum)

    @property
    def rules(self) -> Rules:
        """The reference's rules."""
        rules = rules_of(self.release)
        if rules is None:
            raise InputError(f"the reference has no release {self.release}: choose one of {', '.join(RELEASES)}")
        return rules

    def free_ranges(self) -> Iterator[tuple[int, int]]:
        """What is neither reserved nor CMA, ascending."""
        at = self.start_pfn
        for start, end in sorted(self.cma + self.reserved):
            if at < start:
                yield at, start
            at = end
        if at < self.end_pfn:
            yield at, self.end_pfn

    def free_blocks(self) -> Iterator[tuple[int, int]]:
        """Blocks that the boot hands to the allocator, in its order: pfn and order."""
        for start, end in self.free_ranges():
            while start < end:
                order = self.max_order
                while start & ((1 << order) - 1) or start + (1 << order) > end:
                    order -= 1
                yield start, order
                start += 1 << order

    def zone(self) -> Zone:
        """The model's zone after boot."""
        plain = not (self.cma or self.reserved)
        zone = Zone(
            self.nr_pages,
            self.model or self.release,
            self.start_pfn,
            self.max_order,
            self.pageblock_order,
            populate=plain,
            zone_movable=self.zone_movable,
        )
        if not plain:
            blocks = ((self.end_pfn - 1) >> self.pageblock_order) + 1 - (self.start_pfn >> self.pageblock_order)
            zone.load_pageblocks([MOVABLE] * blocks)
            taken = self.cma + self.reserved
            zone.load_pages(
                [start for start, _ in taken],
                [end - start for start, end in taken],
                [RESERVED] * len(taken),
                [0] * len(taken),
                [0] * len(taken),
            )
            free = list(self.free_blocks())
            zone.load_free([pfn for pfn, _ in free], [order for _, order in free], [MOVABLE] * len(free))
            for start, end in self.cma:
                for pfn in range(start, end, 1 << self.pageblock_order):
                    zone.init_cma_reserved_pageblock(pfn)
        if self.low:
            zone.set_watermarks(self.minimum, self.low, self.high)
        if self.pcp is not None:
            batch, high_min, high_max, flags = self.pcp
            zone.set_pcp(high_min, batch, high_min=high_min, high_max=high_max, flags=flags)
        return zone

    def reference(self) -> Reference:
        """The reference's zone after boot."""
        zone = Reference(self.rules, self.start_pfn, self.nr_pages, self.max_order, self.pageblock_order)
        for pfn, order in self.free_blocks():
            zone.free_one_page(pfn, order, MOVABLE, tail=True)
        for start, end in self.reserved:
            for pfn in range(start, end):
                zone.used[pfn] = (0, RESERVED, None)
        size = 1 << self.pageblock_order
        for start, end in self.cma:
            for pfn in range(start, end, size):
                zone.types[pfn >> self.pageblock_order] = CMA
                piece = min(self.max_order, self.pageblock_order)
                for at in range(pfn, pfn + size, 1 << piece):
                    zone.free_one_page(at, piece, CMA)
        zone.zone_movable = self.zone_movable
        zone.marks = Marks(self.minimum, self.low, self.high)
        if self.pcp is not None:
            zone.set_pcp(*self.pcp)
        return zone


def random_world(release: str, random: Random, model: str | None = None) -> World:
    """A world of a few hundred pages whose ends, holes and CMA areas lie where boundaries meet."""
    rules = World(release, 1).rules
    pageblock_order = random.choice((1, 2, 2, 3, 3, 4, 4, 5, 6, 9 if random.random() < 0.1 else 3))
    max_order = pageblock_order + random.choice((0, 1, 1, 1, 2, 3))
    if not rules.single and not rules.as_posted and random.random() < 0.05:
        max_order = max(0, pageblock_order - 1)
    block, largest = 1 << pageblock_order, 1 << max(max_order, pageblock_order)
    nr_pages = largest * random.randint(1, 3 if pageblock_order > 6 else 12)
    start = largest * random.randrange(4)
    if random.random() < 0.3:
        # the zone begins or ends inside a max order block, perhaps inside a pageblock
        start += block * random.randrange(largest // block)
        nr_pages += block * random.randrange(largest // block)
        if random.random() < 0.5:
            nr_pages += random.randrange(block)
    end = start + nr_pages
    cma: list[tuple[int, int]] = []
    reserved: list[tuple[int, int]] = []
    for first in range(-(-start // block) * block, end - block + 1, block):
        kind = random.random()
        if kind < 0.04:
            at = first + random.randrange(block)
            reserved.append((at, min(first + block, at + random.randint(1, block))))
    if random.random() < 0.4:
        first = random.randrange(-(-start // block), end // block) * block if end // block > -(-start // block) else end
        last = min(end // block * block, first + block * random.randint(1, 4))
        if not rules.always_compare and rules.windows:
            first, last = first // largest * largest, last // largest * largest
        if start <= first < last:
            cma.append((first, last))
            reserved = [(a, b) for a, b in reserved if b <= first or a >= last]
    minimum = low = 0
    if random.random() < 0.4:
        minimum = nr_pages // random.choice((8, 16, 32))
        low = minimum + max(1, minimum // random.choice((1, 2, 4)))
    return World(
        release,
        nr_pages,
        start,
        max_order,
        pageblock_order,
        tuple(cma),
        tuple(reserved),
        minimum,
        low,
        model,
        zone_movable=random.random() < 0.1,
        pcp=random_pcp(random, rules, nr_pages) if random.random() < 0.5 else None,
        special=random.random() < 0.5,
        foreign_cma=bool(cma) and random.random() < 0.5,
    )


def random_pcp(random: Random, rules: Rules, nr_pages: int) -> tuple[int, int, int, int]:
    """Batch, high marks and flags of per-cpu lists, as a kernel sizes them; smaller, so that they overflow in a small zone.

    A batch is one less than a power of two, or 1; the high mark is at least four of them (zone_batchsize, zone_highsize), 0
    while the lists are disabled (zone_pcp_disable).
    """
    if random.random() < 0.05:
        return 1, 0, 0, 0
    small = [batch for batch in (1, 3, 7, 15) if 16 * batch <= nr_pages]
    batch = random.choice(small if small and random.random() < 0.85 else (1, 3, 7, 15, 31, 63))
    low = 4 * batch + random.choice((0, 0, 1, batch, random.randrange(64)))
    high = (
        low
        if random.random() < 0.2 or not rules.self_tuning
        else low + random.choice((1, batch, 4 * batch, 40 * batch))
    )
    return batch, low, high, random.choice((0, FREE_HIGH_BATCH)) if rules.self_tuning else 0
