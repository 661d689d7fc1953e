"""A zone's state in the plainest form: what each page heads, the lists, the pageblock types, the counters.

The invariants read nothing else, so that they share no line with the core, and judge any allocator that fills it in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..mm import Migratetype, Zone
from ..mm import constants as k

__all__ = ["FREE", "IN_USE", "PER_CPU", "Block", "Listed", "State", "state_of"]

#: What a block is.
FREE, IN_USE, PER_CPU = "free", "in use", "per-cpu"


@dataclass(frozen=True, slots=True)
class Block:
    """What begins at a page: FREE, IN_USE or PER_CPU; its order; of one in use the class and flags byte, and the owner."""

    kind: str
    order: int
    flags: int = 0
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A list, head first: pfns, as far as its links lead. ``broken``: where they do not agree, None: they do."""

    pfns: tuple[int, ...] = ()
    broken: int | None = None


@dataclass(frozen=True, slots=True)
class State:
    """Everything that the invariants are about; pfns are absolute.

    ``release``: whose promises count. ``blocks``: by first pfn, ascending. ``lists``: by order and migratetype; lists that are
    empty may be left out. ``pcp``: by index. ``types``: of each pageblock, from the one that holds ``start_pfn``; ``beneath``:
    the types that isolated pageblocks have beneath (6.17). Counters in pages, ``nr_isolate_pageblock`` in pageblocks.
    """

    release: str
    start_pfn: int
    end_pfn: int
    max_order: int
    pageblock_order: int
    blocks: dict[int, Block]
    lists: dict[tuple[int, int], Listed]
    pcp: dict[int, Listed]
    types: tuple[int, ...]
    beneath: tuple[int, ...]
    nr_free_pages: int
    nr_free_cma_pages: int
    nr_isolate_pageblock: int
    nr_pcp_pages: int

    @property
    def pageblock_nr_pages(self) -> int:
        """Pages of a pageblock."""
        return 1 << self.pageblock_order

    def block_index(self, pfn: int) -> int:
        """Index in ``types`` of the pageblock that holds a pfn."""
        return (pfn >> self.pageblock_order) - (self.start_pfn >> self.pageblock_order)

    def type_at(self, pfn: int) -> int | None:
        """Type of the pageblock that holds a pfn; None: it lies outside the zone."""
        at = self.block_index(pfn)
        return self.types[at] if 0 <= at < len(self.types) else None

    def types_in(self, start: int, end: int) -> set[int]:
        """Types of the pageblocks that a range of pfns touches, as far as they lie in the zone."""
        first, last = self.block_index(start), self.block_index(end - 1)
        return set(self.types[max(first, 0) : last + 1])

    def pageblock_pfn(self, index: int) -> int:
        """First pfn of a pageblock, by its index in ``types``."""
        return (self.start_pfn >> self.pageblock_order) + index << self.pageblock_order

    def types_of(self, pfn: int, order: int) -> list[tuple[int, int, int]]:
        """A block, pageblock by pageblock: (first pfn, pages of it there, type). What lies outside the zone is left out."""
        step = min(1 << order, self.pageblock_nr_pages)
        found = ((at, step, self.type_at(at)) for at in range(pfn, pfn + (1 << order), step))
        return [(at, pages, mt) for at, pages, mt in found if mt is not None]


def state_of(zone: Zone) -> State:
    """The state of a zone. Costs a few hundred bytes a block and is meant for small zones, or now and then."""
    saved = zone.saved_state()
    nxt, prv, state, flags, _ = (array.tolist() for array in saved["arrays"])
    base, frames, g = zone.base(), len(state), zone.geometry
    blocks: dict[int, Block] = {}
    for at in np.flatnonzero(saved["arrays"][2]).tolist():
        s = state[at]
        kind = FREE if s & k.BUDDY else IN_USE if s & k.ALLOC else PER_CPU
        used = kind == IN_USE
        owner = nxt[at] if used and nxt[at] != k.NONE else None
        blocks[base + at] = Block(kind, s & k.ORDER_MASK, flags[at] if used else 0, owner)
    areas = [(order, int(mt)) for order in range(g.max_order + 1) for mt in Migratetype]
    heads = {area: frames + k.NR_PCP_LISTS + area[0] * k.FREE_AREA_HEADS + area[1] for area in areas}
    first = g.start_pfn - base >> g.pageblock_order
    beneath = saved["beneath"].tolist()
    types = zone.pageblock_types.tolist()
    return State(
        zone.release,
        g.start_pfn,
        g.start_pfn + g.nr_pages,
        g.max_order,
        g.pageblock_order,
        blocks,
        {area: _listed(nxt, prv, head, frames, base) for area, head in heads.items()},
        {i: _listed(nxt, prv, frames + i, frames, base) for i in range(k.NR_PCP_LISTS)},
        tuple(types),
        tuple(beneath[first : first + len(types)]),
        zone.nr_free_pages,
        zone.nr_free_cma_pages,
        zone.nr_isolate_pageblock,
        zone.nr_pcp_pages,
    )


def _listed(nxt: Sequence[int], prv: Sequence[int], head: int, frames: int, base: int) -> Listed:
    """Follow a list's links from its head; they must lead back to it, in both directions."""
    pfns: list[int] = []
    broken: int | None = None
    before, at = head, nxt[head]
    while at != head:
        if at >= frames or len(pfns) > frames:
            return Listed(tuple(pfns), base + min(at, before))
        if prv[at] != before and broken is None:
            broken = base + at
        pfns.append(base + at)
        before, at = at, nxt[at]
    return Listed(tuple(pfns), base + before if prv[head] != before and broken is None else broken)
