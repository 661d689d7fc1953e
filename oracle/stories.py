"""Lists of requests that aim at one rule each, where a random walk comes by too seldom.

What they count on holds on a zone that nothing has used: requests take the lowest free page of the
largest order and fill it in ascending order, as long as each pageblock's requests come largest
first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from .requests import MAX_ORDER, MAX_ORDER_PAGES, PAGEBLOCK_ORDER, PAGEBLOCK_PAGES, Requests

__all__ = [
    "compact",
    "compact_large",
    "edges",
    "highatomic",
    "isolated_neighbours",
    "isolated_plain_block",
    "isolations",
    "past_end",
    "pcp_overflow",
    "steal_threshold",
]

HALF_BLOCK = PAGEBLOCK_PAGES // 2


@dataclass
class Block:
    """A pageblock: the handles whose return sets the scene, and who is to steal from it then."""

    thieves: str
    orders: tuple[int, ...]
    go: list[int] = field(default_factory=list)


def _fill_block(rng: Random, req: Requests, go: list[int], stay: list[tuple[int, str]], kind: str) -> list[int]:
    """Fill one pageblock: blocks of the orders in ``go``, ``stay``, and for the rest single pages.

    Returns the handles of ``go``.
    """
    handles = []
    wanted = [(order, kind, True) for order in go]
    wanted += [(order, stay_kind, False) for order, stay_kind in stay]
    rest = PAGEBLOCK_PAGES - sum(1 << order for order, _, _ in wanted)
    assert rest >= 0, "more than a pageblock"
    wanted += [(0, kind, False)] * rest
    # largest first keeps each one aligned, and the block in one piece; ties in any order
    rng.shuffle(wanted)
    wanted.sort(key=lambda want: -want[0])
    for order, want_kind, goes in wanted:
        handle = req.alloc(order, want_kind)
        if goes:
            handles.append(handle)
    return handles


def _free_orders(rng: Random, pages: int, largest: int) -> list[int]:
    """Orders of blocks that make up exactly ``pages`` pages, none above ``largest``."""
    orders = []
    while pages:
        order = min(rng.randrange(largest + 1), pages.bit_length() - 1)
        orders.append(order)
        pages -= 1 << order
    return orders


def _movable_block(rng: Random, req: Requests) -> Block:
    """A MOVABLE pageblock for UNMOVABLE and RECLAIMABLE requests to steal from.

    They claim it when the pages that are neither free nor movable, and the free ones, make half a
    pageblock: so when at most half of its pages count as movable. Of a compound page only the head
    carries the driver's mark, so only the head counts.
    """
    movable = HALF_BLOCK + rng.choice((-2, -1, 0, 0, 1, 2))
    free = _free_orders(rng, rng.randrange(8, 60), rng.choice((1, 3, 4, 5)))
    heads = rng.choice((0, 0, 4, 15))
    stay = [(rng.choice((1, 1, 2, 3)), "M") for _ in range(heads)]
    stay += [(0, "m")] * (movable - heads)
    return Block("ur", (0, 0, 0, 1, 2), _fill_block(rng, req, free, stay, "p"))


def _kernel_block(rng: Random, req: Requests, kind: str) -> Block:
    """An UNMOVABLE or RECLAIMABLE pageblock, with half its pages to become free, more or less.

    Movable requests above order 0 steal from it: single pages they find in the sponge.
    """
    free = _free_orders(rng, HALF_BLOCK + rng.choice((-2, -1, 0, 0, 1, 2)), rng.choice((3, 4, 5, 7)))
    thieves = "MMMp" + ("r" if kind == "u" else "u")
    return Block(thieves, (1, 1, 1, 2, 3, 4), _fill_block(rng, req, free, [], kind))


def steal_threshold(rng: Random, req: Requests, nr_ops: int) -> None:
    """Pageblocks at the threshold of steal_suitable_fallback(), then requests that must steal.

    Nothing but the pageblock aimed at has a free page above order 0: what the low watermark keeps
    free is spread as single pages ("sponge").
    """
    while req.nr_ops < nr_ops:
        _steal_round(rng, req)
        req.free_at_random(rng, max(0, nr_ops - req.nr_ops))


def _steal_round(rng: Random, req: Requests) -> None:
    pairs = req.zone_pages // MAX_ORDER_PAGES
    # 6.12 hands over a zone whose first two pageblocks are UNMOVABLE, three pages of them in use
    for _ in range(MAX_ORDER_PAGES - 3):
        req.alloc(0, "u")
    nr_sponge = pairs // 6
    sponge: list[int] = []
    scenes: list[Block] = []
    for pair in range(1, pairs - pairs // 8):
        kind = rng.choice("mmmur")  # the two pageblocks of a pair are split from one free page
        for _ in range(2):
            if pair <= nr_sponge:
                sponge += [req.alloc(0, "p") for _ in range(PAGEBLOCK_PAGES)][::2]
            elif kind == "m":
                scenes.append(_movable_block(rng, req))
            else:
                scenes.append(_kernel_block(rng, req, kind))
    req.free_handles(sponge)
    for order in range(MAX_ORDER, 0, -1):
        for _ in range(pairs // 8 + 2 if order >= PAGEBLOCK_ORDER else 3):
            req.alloc(order, "p")
    rng.shuffle(scenes)
    for scene in scenes:
        rng.shuffle(scene.go)
        before = req.pages
        req.free_handles(scene.go)
        # ask for as much as became free, so that the next scene finds the lists empty again
        while req.pages < before:
            req.alloc(rng.choice(scene.orders), rng.choice(scene.thieves))
    # and once more, from what that left behind
    for _ in range(len(scenes) * 20):
        if rng.random() < 0.5:
            req.free(rng.randrange(len(req.live)))
        else:
            req.alloc(rng.choice((0, 0, 0, 0, 1, 2, 3, 5)), rng.choice("uurrmm"))


def highatomic(rng: Random, req: Requests, nr_ops: int) -> None:
    """Atomic requests while ordinary ones already fail: they reserve pageblocks for themselves."""
    orders = (0, 0, 0, 0, 1, 1, 2, 3)
    for _ in range(req.zone_pages * 6 // 10 >> PAGEBLOCK_ORDER):
        req.alloc(PAGEBLOCK_ORDER, rng.choice("pppu"))
    while req.pages < req.zone_pages * 0.95:
        order = rng.choice((*orders, 4, 5))
        req.alloc(order, rng.choice("uurmmp"))
    ranges: list[int] = []
    while req.nr_ops < nr_ops:
        step = rng.random()
        if step < 0.3:  # down to the watermark and into it
            for _ in range(rng.randrange(5, 200)):
                req.alloc(rng.choice(orders), rng.choice("uurmmp"))
        elif step < 0.65:
            for _ in range(rng.randrange(1, 30)):
                order = rng.choice((0, 1, 1, 2, 2, 3, 4, 5))
                req.alloc(order, rng.choice("hhhH") if order else "h")
        elif step < 0.92:
            for _ in range(min(len(req.live), rng.randrange(10, 220))):
                # the first ones are huge: mostly leave them
                low = 0 if rng.random() < 0.01 else len(req.live) // 8
                req.free(rng.randrange(low, len(req.live)))
        elif ranges and rng.random() < 0.4:
            req.release(ranges.pop(rng.randrange(len(ranges))))
        else:
            block = rng.randrange(req.zone_pages // PAGEBLOCK_PAGES)
            ranges.append(req.contig(block * PAGEBLOCK_PAGES, PAGEBLOCK_PAGES))


def isolations(rng: Random, req: Requests, nr_ops: int) -> None:
    """Pageblocks that stay isolated while others allocate, free, isolate the neighbours and ask for ranges.

    Isolations overlap, and are given back in other pieces than they were made in, as two callers would.
    """
    nr_pageblocks = req.zone_pages // PAGEBLOCK_PAGES
    isolated: list[tuple[int, int]] = []
    ranges: list[int] = []
    target = 0.0
    while req.nr_ops < nr_ops:
        if rng.random() < 1 / 400:
            target = rng.uniform(0.1, 1.0) * req.zone_pages
        step = rng.random()
        if step < 0.03 and len(isolated) < 10:
            start = rng.randrange(nr_pageblocks)
            if isolated and rng.random() < 0.4:  # beside one, or over it
                start = min(nr_pageblocks - 1, max(0, isolated[-1][0] + rng.choice((-1, 1))))
            count = min(rng.choice((1, 1, 1, 2, 3, 4)), nr_pageblocks - start)
            req.isolate(start * PAGEBLOCK_PAGES, count * PAGEBLOCK_PAGES)
            isolated.append((start, count))
        elif step < 0.06 and isolated:
            start, count = isolated.pop(rng.randrange(len(isolated)))
            if count > 1 and rng.random() < 0.3:
                isolated.append((start + 1, count - 1))
                count = 1
            req.undo_isolation(start * PAGEBLOCK_PAGES, count * PAGEBLOCK_PAGES)
        elif step < 0.07 and (len(ranges) > 4 or (ranges and rng.random() < 0.5)):
            req.release(ranges.pop(rng.randrange(len(ranges))))
        elif step < 0.07:
            first = rng.randrange(nr_pageblocks) * PAGEBLOCK_PAGES + rng.choice((0, 0, 1, 256))
            length = rng.choice((1, 256, PAGEBLOCK_PAGES, 2 * PAGEBLOCK_PAGES))
            ranges.append(req.contig(first, min(length, req.zone_pages - first)))
        elif rng.random() < (0.65 if req.pages < target else 0.35) or not req.live:
            order = rng.choices((0, 1, 3, 5, PAGEBLOCK_ORDER, MAX_ORDER), (60, 10, 10, 8, 6, 6))[0]
            req.alloc(order, rng.choice("uUrmmmpP" if order else "urmmm"))
        else:
            req.free(rng.randrange(len(req.live)))


def isolated_plain_block(_rng: Random, req: Requests, _nr_ops: int) -> None:
    """An unmovable block above pageblock order that is no compound page, isolated in part and freed whole.

    Its tails have no reference, so that its second pageblock can be isolated. Up to 6.9 freeing it counts all of it under
    the type of its first pageblock, and the isolated one is allocated from (`pageblock check explore --plain`).
    """
    block = req.alloc(MAX_ORDER, "u")
    req.isolate(PAGEBLOCK_PAGES, PAGEBLOCK_PAGES)
    req.free_handles([block])
    req.dump()
    req.alloc(MAX_ORDER, "u")
    req.dump()


def isolated_neighbours(_rng: Random, req: Requests, _nr_ops: int) -> None:
    """Two callers isolate the halves of one block of the largest order, and the first gives its own back.

    Pages freed under ISOLATE merge, so up to 6.9 both halves are one free page by then, which goes along whole: it is
    counted, and the pageblock that the second caller holds isolated is allocated from (`pageblock check explore --isolations 2`).
    The unmovable blocks keep free memory above the watermarks while the MOVABLE lists run empty.
    """
    first = req.alloc(MAX_ORDER, "p")
    spare = [req.alloc(MAX_ORDER, "u") for _ in range(4)]
    while req.pages < req.zone_pages - 2 * MAX_ORDER_PAGES:
        req.alloc(MAX_ORDER, "p")
    req.free_handles([*spare, first])
    req.isolate(0, PAGEBLOCK_PAGES)
    page = req.alloc(0, "m")
    req.isolate(PAGEBLOCK_PAGES, PAGEBLOCK_PAGES)
    req.free_handles([page])
    req.dump()
    req.undo_isolation(0, PAGEBLOCK_PAGES)
    req.dump()
    for _ in range(3):
        req.alloc(MAX_ORDER, "p")
    req.dump()


def pcp_overflow(rng: Random, req: Requests, nr_ops: int) -> None:
    """Bursts through the per-cpu lists around their limit, which is near the low watermark."""
    limit = req.zone_pages // 16
    while req.nr_ops < nr_ops:
        order = rng.choices((0, 1, 2, 3, 9), (60, 10, 10, 10, 10))[0]
        size = rng.choice((1, 7, 8, 63, limit - 1, limit, limit + 1, limit + 70, limit * 3 // 2))
        count = min(size, req.zone_pages * 3 // 4) >> (3 if order == 9 else order)
        count = max(1, min(count, req.zone_pages * 3 // 4 >> order))
        kinds = rng.choice(("u", "m", "r", "umr", "ump"))
        burst = [req.alloc(order, rng.choice(kinds)) for _ in range(count)]
        how = rng.random()
        if how < 0.35:
            burst.reverse()
        elif how < 0.7:
            rng.shuffle(burst)
        # an allocation in between slows the draining down again
        pause = rng.choice((0, 0, 5, 60))
        for number, handle in enumerate(burst):
            req.free_handles([handle])
            if pause and number % pause == pause - 1:
                req.alloc(rng.choice((0, 0, 1, 3)), rng.choice(kinds))
        if rng.random() < 0.5:
            req.release(req.contig(*_edge_range(rng, req.zone_pages)))
        while req.pages > req.zone_pages * 0.2 and len(req.live) > 1:
            req.free_at_random(rng, 1)


def _edge_range(rng: Random, zone_pages: int) -> tuple[int, int]:
    """A range with both ends within a page of a boundary, or empty away from one."""
    unit = rng.choice((PAGEBLOCK_PAGES, MAX_ORDER_PAGES))
    start = rng.randrange(zone_pages // unit) * unit + rng.choice((-1, 0, 0, 1))
    length = rng.choice((0, 1, 2, unit // 2, unit, unit, 2 * unit, 3 * unit))
    start = max(start, 0)
    end = min(start + max(0, length + rng.choice((-1, 0, 0, 1))), zone_pages)
    if start == end and start % PAGEBLOCK_PAGES == 0:
        # an empty range at a boundary would leave two pageblocks isolated
        end = min(start + 1, zone_pages)
        start = end - 1
    return start, end - start


def edges(rng: Random, req: Requests, nr_ops: int) -> None:
    """Ranges around every boundary, some over ranges that are held, some twice."""
    ranges: list[tuple[int, int, int]] = []
    level = 0.6
    while req.nr_ops < nr_ops:
        step = rng.random()
        if step < 0.06:
            if ranges and rng.random() < 0.25:  # shift one that was asked for
                _, start, count = rng.choice(ranges)
                start = min(max(0, start + rng.choice((-512, -1, 0, 1, 512))), req.zone_pages - 1)
                count = max(1, min(count, req.zone_pages - start))
            else:
                start, count = _edge_range(rng, req.zone_pages)
            ranges.append((req.contig(start, count), start, count))
        elif ranges and step < 0.12 and (len(ranges) > 12 or rng.random() < 0.5):
            req.release(ranges.pop(rng.randrange(len(ranges)))[0])
        elif req.pages < req.zone_pages * level or not req.live:
            order = rng.choices((0, 1, 3, 5, 9), (80, 5, 6, 6, 3))[0]
            req.alloc(order, rng.choices("mMupr", (600, 400, 2, 2, 2))[0])
        else:
            req.free(rng.randrange(len(req.live)))
        if rng.random() < 1 / 4000:
            req.dump()
        if rng.random() < 1 / 1000:
            level = rng.uniform(0.1, 0.7)


#: Pages at both ends of a zone that is there at boot where others hold some, and where requests are to go.
EARLY_HEAD, EARLY_TAIL = 3584, 6400


def past_end(rng: Random, req: Requests, nr_ops: int) -> None:
    """Ranges that reach past the zone's end, from pageblocks of all types, free or with movable pages in them.

    Most of the zone is taken first, so that what follows lies before its end.
    """
    req.contig(EARLY_HEAD, req.zone_pages - EARLY_TAIL - EARLY_HEAD)
    while req.nr_ops < nr_ops:
        retyped = [req.alloc(PAGEBLOCK_ORDER, rng.choice("ur")) for _ in range(12)]
        rng.shuffle(retyped)
        req.free_handles(retyped)
        singles = [req.alloc(0, "m") for _ in range(rng.choice((0, 1, 40, 300)))]
        for _ in range(4):
            block = req.zone_pages - EARLY_TAIL + rng.randrange(1, 8) * PAGEBLOCK_PAGES
            start = block + rng.choice((-1, 0, 1, HALF_BLOCK))
            req.past_end(start, req.zone_pages - start + rng.choice((1, HALF_BLOCK, PAGEBLOCK_PAGES, MAX_ORDER_PAGES)))
            req.dump() if rng.random() < 0.2 else req.hash()
        req.free_handles(singles)


def compact(rng: Random, req: Requests, nr_ops: int) -> None:
    """Compaction, again and again: full zones and empty ones, torn everywhere or in some stretches only.

    What is compacted once is full at its end: there the next compaction must look for targets in pageblocks that have
    few or none.
    """
    _compact(rng, req, nr_ops, "P")


def compact_large(rng: Random, req: Requests, nr_ops: int) -> None:
    """The same with large movable pages: 6.1 passes them over, 6.12 gives up when it has only smaller targets left."""
    _compact(rng, req, nr_ops, "M")


def _compact(rng: Random, req: Requests, nr_ops: int, large: str) -> None:
    """``large``: kind of the movable pages above order 0."""

    def alloc(order: int, kind: str) -> None:
        req.alloc(order, large if kind == "m" and 0 < order < PAGEBLOCK_ORDER else kind)

    ranges: list[int] = []
    while req.nr_ops < nr_ops:
        _fill(rng, req, alloc, rng.choice((0.3, 0.6, 0.8, 0.9, 0.97)))
        for _ in range(rng.choice((1, 2, 3))):
            if rng.random() < 0.8:
                _tear(rng, req)
            req.compact()
            for _ in range(rng.randrange(200)):
                if rng.random() < 0.5 and req.live:
                    req.free(rng.randrange(len(req.live)))
                else:
                    alloc(rng.choice((0, 0, 0, 1, 3)), rng.choice("mmmpur"))
            for _ in range(rng.randrange(4)):
                ranges.append(req.contig(*_edge_range(rng, req.zone_pages)))
            while len(ranges) > rng.randrange(6):
                req.release(ranges.pop(rng.randrange(len(ranges))))
        if rng.random() < 0.2:
            req.dump()


def _fill(rng: Random, req: Requests, alloc: Callable[[int, str], None], level: float) -> None:
    """Runs of blocks of one kind and order, until the zone is that full: large ones where much is missing."""
    while req.pages < req.zone_pages * level:
        missing = int(req.zone_pages * level) - req.pages
        order = rng.choices((0, 1, 2, 3, 5, 8, 9), (50, 5, 5, 5, 7, 12, 16))[0]
        kind = rng.choices("mpur", (80, 12, 5, 3))[0]
        size = rng.choice((1, 5, 31, 64, 250))
        for _ in range(max(1, min(size, missing) >> order)):
            alloc(order, kind)


def _tear(rng: Random, req: Requests) -> None:
    """Free single pages in some stretches of what was allocated in a row; now and then all of a stretch."""
    handles = sorted(handle for handle, _ in req.live)
    stretch = rng.choice((64, 512, 1500, 4000))
    torn = rng.choice((0.1, 0.3, 0.6))
    for first in range(0, len(handles), stretch):
        if rng.random() < torn:
            share = rng.choice((0.03, 0.1, 0.5, 0.5, 0.9, 1.0))
            some = [handle for handle in handles[first : first + stretch] if rng.random() < share]
            if rng.random() < 0.5:
                rng.shuffle(some)
            req.free_handles(some)
