"""What an ``A`` line of a trace says must hold, asked of a zone by its public methods."""

import numpy as np

from ..machine.trace import Promised
from ..mm import Migratetype, Zone
from ..mm.errors import InvariantError

__all__ = ["broken_promise"]


def broken_promise(zone: Zone, promise: Promised) -> str | None:
    """What is there instead of what was promised; empty: it holds; None: no such promise.

    invariants: ``Zone.check`` finds nothing. isolated PFN…: these pageblocks, and no others, are isolated. types T…: of the
    pageblocks in order, - for any. outside TYPE PFN PAGES: these lie in no pageblock of the type. held: every page is free or in
    use. unmixed: no free page spans pageblocks that cannot fall back to each other.
    """
    numbers = [-1 if word == "-" else int(word) for word in promise.numbers]
    types = zone.pageblock_types.tolist()
    size = 1 << zone.geometry.pageblock_order
    if promise.name == "invariants" and not numbers:
        return _invariants(zone)
    if promise.name == "isolated":
        isolated = [i * size for i, mt in enumerate(types) if mt == Migratetype.ISOLATE]
        return "" if isolated == numbers else f"isolated: {_pageblocks(isolated)}"
    if promise.name == "types" and len(numbers) == len(types):
        for i, (was, now) in enumerate(zip(numbers, types, strict=True)):
            if was not in (-1, now):
                return f"pageblock {i} is {Migratetype(now).name}"
        return ""
    if promise.name == "outside" and len(numbers) == 3:
        wrong, start, count = numbers
        if count < 1 or not 0 <= start <= zone.geometry.nr_pages - count:
            return None
        blocks = range(start // size, (start + count - 1) // size + 1)
        inside = [i for i in blocks if types[i] == wrong]
        return f"pageblock {inside[0]} is {Migratetype(wrong).name}" if inside else ""
    if promise.name == "held" and not numbers:
        return _held(zone)
    if promise.name == "unmixed" and not numbers:
        return _unmixed(zone, types)
    return None


def _pageblocks(pfns: list[int]) -> str:
    return "no pageblock" if not pfns else "the pageblocks at pfn " + ", ".join(map(str, pfns))


def _invariants(zone: Zone) -> str:
    try:
        zone.check()
    except InvariantError as broken:
        return str(broken)
    return ""


def _held(zone: Zone) -> str:
    """The blocks that there are, free or in use, leave no gap."""
    pfn = zone.start_pfn
    while pfn < zone.end_pfn:
        page = zone.page(pfn)
        if page.head_pfn != pfn:
            return f"pfn {pfn - zone.start_pfn} lies inside the block at {page.head_pfn - zone.start_pfn}"
        if page.order == 0 and page.owner is None and not _is_listed(zone, pfn):
            return f"pfn {pfn - zone.start_pfn} is neither free nor held"
        pfn += 1 << page.order
    return ""


def _is_listed(zone: Zone, pfn: int) -> bool:
    return any(bool((zone.free_list(0, mt) == np.uint64(pfn)).any()) for mt in Migratetype)


def _unmixed(zone: Zone, types: list[int]) -> str:
    """No free page covers pageblocks of which one is ISOLATE, CMA or HIGHATOMIC and another is not."""
    g = zone.geometry
    for order in range(g.pageblock_order + 1, g.max_order + 1):
        for mt in Migratetype:
            for pfn in zone.free_list(order, mt).tolist():
                at = pfn - zone.start_pfn
                covered = set(types[at >> g.pageblock_order : (at + (1 << order)) >> g.pageblock_order])
                if len(covered) > 1 and max(covered) >= Migratetype.HIGHATOMIC:
                    names = " and ".join(Migratetype(t).name for t in sorted(covered))
                    return f"the free page of order {order} at pfn {at} spans {names}"
    return ""
