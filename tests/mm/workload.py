"""A seeded random workload for ``Zone.run``: allocations, frees and contig ranges, biased to boundaries."""

import random

import numpy as np
import numpy.typing as npt

from pageblock import OPERATION, PageClass, Zone

#: (migratetype, class, may be of order > 0)
KINDS = (
    (0, PageClass.KERNEL, True),
    (2, PageClass.SLAB, True),
    (1, PageClass.ANON, False),
    (1, PageClass.FILE, False),
    (1, PageClass.THP, True),
    (1, PageClass.MOVABLE_OPS, False),
)


def operations(seed: int, count: int, zone: Zone, contig_share: float = 0.01) -> npt.NDArray[np.void]:
    """``count`` operations for a zone of this geometry. Replays from the seed alone."""
    rng = random.Random(seed)
    g = zone.geometry
    block = 1 << g.pageblock_order
    window = max(block, 1 << g.max_order)
    ops = np.zeros(count, OPERATION)
    live: list[tuple[int, int]] = []
    ranges: list[tuple[int, int, int]] = []
    used, handle, target = 0, 0, 0.5
    for op in ops:
        if rng.random() < 0.001:
            target = rng.uniform(0.05, 0.98)
        if rng.random() < contig_share:
            if ranges and rng.random() < 0.5:
                h, start, nr = ranges.pop(rng.randrange(len(ranges)))
                op["op"], op["handle"], op["start"], op["nr"] = 4, h, start, nr
                continue
            start, nr = contig_range(rng, g.nr_pages, block, window)
            op["op"], op["migratetype"], op["flags"] = 3, 1, PageClass.KERNEL
            op["handle"], op["start"], op["nr"] = handle, start, nr
            ranges.append((handle, start, nr))
            handle += 1
        elif live and rng.random() < (0.3 if used < target * g.nr_pages else 0.7):
            i = len(live) - 1 if rng.random() < 0.3 else rng.randrange(len(live))
            live[i], live[-1] = live[-1], live[i]
            h, order = live.pop()
            used -= 1 << order
            op["op"], op["handle"] = 2, h
        else:
            mt, page_class, large = rng.choice(KINDS)
            order = min(rng.choice((0, 0, 0, 0, 1, 2, 3, 4, 8, 9, 10)), g.max_order) if large else 0
            if page_class == PageClass.THP and order == 0:
                page_class = PageClass.ANON
            compound = order and page_class in (PageClass.THP, PageClass.SLAB)
            op["op"], op["order"], op["migratetype"], op["handle"] = 1, order, mt, handle
            op["flags"] = page_class | (0x20 if compound else 0) | (0x10 if rng.random() < 0.01 else 0)
            live.append((handle, order))
            used += 1 << order
            handle += 1
    return ops


def contig_range(rng: random.Random, nr_pages: int, block: int, window: int) -> tuple[int, int]:
    """Start and length of a range: one page, a block, several, unaligned, across a window's end, at the zone's ends."""
    style = rng.randrange(6)
    if style == 0:
        return rng.randrange(nr_pages), 1
    if style == 1:
        return rng.randrange(nr_pages // block) * block, block
    if style == 2:
        nr = block * rng.choice((2, 3, 4))
        return rng.randrange(max(1, (nr_pages - nr) // block)) * block, min(nr, nr_pages)
    if style == 3:
        nr = rng.randrange(1, 2 * window)
        start = rng.randrange(max(1, nr_pages - nr))
        return start, min(nr, nr_pages - start)
    if style == 4:
        at = rng.randrange(1, max(2, nr_pages // window)) * window
        before, after = rng.randrange(1, block + 1), rng.randrange(1, block + 1)
        start = max(0, at - before)
        return start, min(at + after, nr_pages) - start
    nr = rng.randrange(1, block + 1)
    return rng.choice((0, nr_pages - nr)), nr
