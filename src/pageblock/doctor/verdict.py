"""What alloc_contig_range(MOVABLE) would answer for every aligned range of one size.

Computed from one survey of the zone (``Zone.survey``) and prefix sums over it; which pageblocks a request
isolates, and where unmovable pages are looked for, is asked of the release's rules.
"""

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..mm import Migratetype, PageClass, Zone, release
from ..mm import constants as k

__all__ = ["BLOCKED", "FREE", "HOLE", "MOVABLE", "NO_PFN", "REASONS", "Verdicts", "judge"]

FREE, MOVABLE, BLOCKED, HOLE = 0, 1, 2, 3

#: In ``blocker_pfn``: no page.
NO_PFN = np.uint64((1 << 64) - 1)

#: Bits of ``reasons`` beyond those of the page classes, with their words.
CMA_BLOCK, ISOLATED_BLOCK, NOT_MIGRATABLE, NO_TARGET = 16, 17, 18, 19
REASONS: dict[int, str] = {
    PageClass.KERNEL: "kernel pages (drivers, stacks, vmalloc)",
    PageClass.SLAB: "kernel objects (slab)",
    PageClass.PGTABLE: "page tables",
    PageClass.RESERVED: "reserved or boot memory",
    PageClass.COMPOUND: "kernel compound pages",
    PageClass.OFFLINE: "offline pages (balloon, virtio-mem)",
    PageClass.HWPOISON: "poisoned memory",
    PageClass.HOLE: "no memory",
    PageClass.PAGEVEC: "pages in a per-cpu LRU batch (transient)",
    CMA_BLOCK: "CMA pageblock (the request is not CMA)",
    ISOLATED_BLOCK: "pageblock isolated already",
    NOT_MIGRATABLE: "pages that pass isolation and cannot migrate (pinned, gigantic, cut by the range's start)",
    NO_TARGET: "no free page to migrate to",
}

_Words = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of one zone, release and size; arrays with one entry a range, ascending.

    ``start_pfn`` uint64; ``verdict`` FREE, MOVABLE, BLOCKED or HOLE; ``cost`` pages to migrate; ``dropped`` clean file
    pages that would be dropped; ``reasons`` bit set, see ``REASONS``; ``nr_blockers`` pages that isolation refuses (0
    where something else blocks); ``blocker_pfn`` the first thing in the way.
    """

    zone: str
    release: str
    nr_pages: int
    start_pfn: npt.NDArray[np.uint64]
    verdict: npt.NDArray[np.uint8]
    cost: _Words
    dropped: _Words
    reasons: npt.NDArray[np.uint32]
    nr_blockers: _Words
    blocker_pfn: npt.NDArray[np.uint64]

    def count(self, verdict: int) -> int:
        """Ranges with this verdict."""
        return int((self.verdict == verdict).sum())

    @property
    def had(self) -> int:
        """Ranges that can be had, free or by migration."""
        return self.count(FREE) + self.count(MOVABLE)


class _Sums:
    """Prefix sums over stretches, so that any run of them is a difference."""

    def __init__(self, values: npt.ArrayLike) -> None:
        self.sums = np.concatenate([[0], np.cumsum(np.asarray(values, np.int64))])

    def over(self, first: _Words, last: _Words) -> _Words:
        """Sum over stretches [first, last)."""
        return np.asarray(self.sums[last] - self.sums[first], np.int64)


class _Stretches:
    """A zone's survey in stretches of ``unit`` pages from ``origin`` (absolute pfn), ready for sums."""

    def __init__(self, zone: Zone, origin: int, unit: int, count: int) -> None:
        table = zone.survey(origin, unit, count)
        self.unit = unit
        self.origin = origin
        self.count = count
        self.free, self.move, self.drop, self.refused = (table[:, i].astype(np.int64) for i in range(4))
        self.first_refused, self.first_stuck = table[:, 4], table[:, 6]
        self.classes = table[:, 5]
        self.in_zone = table[:, 7].astype(np.int64)
        self.cut_order = table[:, 8]
        self.holes = (self.classes >> np.uint32(PageClass.HOLE) & 1 > 0) | (self.in_zone < unit)

    def without_empty(self) -> "_Stretches":
        """The same, but stretches without any page refuse nothing: isolation passes over them (__first_valid_page)."""
        same = copy.copy(self)
        empty = (self.classes == 1 << PageClass.HOLE) & (self.refused == self.in_zone)
        same.classes = np.where(empty, np.uint32(0), self.classes)
        same.refused = np.where(empty, 0, self.refused)
        same.first_refused = np.where(empty, np.uint32(k.NONE), self.first_refused)
        return same

    def next_at(self, marked: npt.NDArray[np.bool_]) -> _Words:
        """For each stretch, the first marked one at or after it; ``count`` if there is none."""
        index = np.where(marked, np.arange(self.count), self.count)
        return np.append(np.minimum.accumulate(index[::-1])[::-1], self.count)


def _type_reasons(zone: Zone, blocks: _Stretches) -> npt.NDArray[np.uint32]:
    """Per pageblock of ``blocks``, the reasons that its type alone gives."""
    types = np.full(blocks.count, Migratetype.MOVABLE, np.uint8)
    block = 1 << zone.geometry.pageblock_order
    first = (zone.start_pfn // block * block - blocks.origin) // block
    known = zone.pageblock_types
    types[first : first + len(known)] = known
    reasons = np.zeros(blocks.count, np.uint32)
    reasons[types == Migratetype.CMA] |= np.uint32(1 << CMA_BLOCK)
    reasons[types == Migratetype.ISOLATE] |= np.uint32(1 << ISOLATED_BLOCK)
    return reasons


def judge(zone: Zone, release_name: str, nr_pages: int, free_targets: int | None = None) -> Verdicts:
    """The verdict for every range of ``nr_pages`` (a power of two), aligned to its size, inside the zone.

    Args:
        zone: the state; its own release does not matter here.
        release_name: whose rules are applied.
        nr_pages: size of a range.
        free_targets: free pages of the zone and of those that its pages may move to, above their watermarks;
            None: no limit.

    The survey stands for has_unmovable_pages, page by page; the rules "span" and "check scope" say over which
    pages (mm/page_isolation.c, start_isolate_page_range). Reclaim for migration targets is not modelled.
    """
    rules = release(release_name).rules
    g = zone.geometry
    block = 1 << g.pageblock_order
    window = block
    if rules[k.RULE_SPAN] == k.SPAN_MAX_ORDER:
        window = max(block, 1 << g.max_order)
    only_request = rules[k.RULE_CHECK_SCOPE] == k.SCOPE_REQUEST
    grid = max(block, 1 << g.max_order)
    origin = zone.start_pfn // grid * grid
    count = (zone.end_pfn - origin + grid - 1) // grid * (grid // block)

    blocks = _Stretches(zone, origin, block, count)
    starts = np.arange(-(-zone.start_pfn // nr_pages) * nr_pages, zone.end_pfn - nr_pages + 1, nr_pages, dtype=np.int64)
    # the request itself, in pieces no larger than a pageblock
    pieces = blocks if nr_pages >= block else _Stretches(zone, origin, nr_pages, count * (block // nr_pages))
    first = (starts - origin) // pieces.unit
    last = (starts + nr_pages - origin) // pieces.unit
    # the pageblocks that are isolated with it
    iso_first = (starts // window * window - origin) // block
    iso_last = (-(-(starts + nr_pages) // window) * window - origin) // block

    types = _type_reasons(zone, blocks)
    where, a, b = (pieces, first, last) if only_request else (blocks.without_empty(), iso_first, iso_last)
    reasons = np.zeros(len(starts), np.uint32)
    for bit in REASONS:
        if bit < CMA_BLOCK:
            reasons |= np.where(
                _Sums(where.classes >> np.uint32(bit) & 1).over(a, b) > 0, np.uint32(1 << bit), np.uint32(0)
            )
    for bit in (CMA_BLOCK, ISOLATED_BLOCK):
        reasons |= np.where(
            _Sums(types >> np.uint32(bit) & 1).over(iso_first, iso_last) > 0, np.uint32(1 << bit), np.uint32(0)
        )
    stuck = _Sums(pieces.first_stuck != k.NONE).over(first, last) > 0
    # migration passes over the tails of a compound page that begins before the range; 6.1 has moved it already if it
    # crosses a pageblock boundary, as every one above pageblock order does here
    cut = pieces.cut_order[first]
    passed_over = cut > 0
    if rules[k.RULE_SCHEME] == k.SCHEME_SINGLE_PAGEBLOCK:
        passed_over &= cut <= g.pageblock_order
    stuck |= passed_over
    reasons |= np.where(stuck, np.uint32(1 << NOT_MIGRATABLE), np.uint32(0))

    cost = _Sums(pieces.move).over(first, last)
    dropped = _Sums(pieces.drop).over(first, last)
    if free_targets is not None:
        # what is free in the isolated pageblocks is no target
        left = free_targets - _Sums(blocks.free).over(iso_first, iso_last)
        reasons |= np.where((cost > 0) & (cost > left), np.uint32(1 << NO_TARGET), np.uint32(0))

    hole = _Sums(pieces.holes).over(first, last) > 0
    verdict = np.where(reasons > 0, BLOCKED, np.where(cost + dropped > 0, MOVABLE, FREE)).astype(np.uint8)
    verdict[hole] = HOLE
    return Verdicts(
        zone.name,
        release_name,
        nr_pages,
        starts.astype(np.uint64),
        verdict,
        cost,
        dropped,
        reasons,
        _Sums(where.refused).over(a, b),
        _first_blocker(where, a, b, blocks, types, iso_first, iso_last, pieces, first, last),
    )


def _first_blocker(
    where: _Stretches,
    a: _Words,
    b: _Words,
    blocks: _Stretches,
    types: npt.NDArray[np.uint32],
    iso_first: _Words,
    iso_last: _Words,
    pieces: _Stretches,
    first: _Words,
    last: _Words,
) -> npt.NDArray[np.uint64]:
    """Lowest pfn of what blocks each range, NO_PFN where nothing does."""
    best = np.full(len(a), NO_PFN, np.uint64)
    for stretches, values, lo, hi in (
        (where, where.first_refused, a, b),
        (pieces, pieces.first_stuck, first, last),
        (blocks, np.where(types > 0, np.arange(blocks.count) * blocks.unit, k.NONE), iso_first, iso_last),
    ):
        at = stretches.next_at(values != k.NONE)[lo]
        found = at < hi
        pfn = np.append(values, 0)[at].astype(np.uint64) + np.uint64(stretches.origin)
        best = np.where(found & (pfn < best), pfn, best)
    return best
