"""What words that are 0 in kpageflags stand for.

Four things look alike: plain kernel pages, free pages on per-cpu lists, memory that a late
initialising guest has not touched yet, and, on kernels that no longer report NOPAGE (6.18 here),
pfns without memory. Counters and iomem tell how many of each there are, place and rank which.

A zone's managed pages are free or used, so its zero words are managed - free - used, less those that are not
managed; a page on a per-cpu list has the word 0, so at most what its count leaves of them are kernel pages.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import Migratetype, PageClass

from .kpageflags import SCAN_ZERO
from .procfs import IomemEntry
from .runs import I64, U8, PageRuns, concat, make_runs, pieces

__all__ = ["block_spans", "choose_pcp_blocks", "mark_holes", "ram_pages", "split_zero_runs", "untouched_blocks"]

#: Smallest memory section of any architecture (powerpc, 16 MiB), in 4 KiB pages: holes and memory
#: not yet initialised come in at least such pieces.
SECTION_PAGES = 4096


def ram_pages(iomem: Sequence[IomemEntry] | None, page_size: int) -> list[tuple[int, int]] | None:
    """Pfn ranges [start, end) of System RAM, ascending; None where iomem hides them."""
    if iomem is None:
        return None
    found = sorted((e.start // page_size, -(-e.end // page_size)) for e in iomem if e.label.startswith("System RAM"))
    joined: list[tuple[int, int]] = []
    for start, end in found:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined or None


def mark_holes(runs: PageRuns, absent_pages: int, ram: Sequence[tuple[int, int]] | None) -> tuple[PageRuns, int]:
    """Runs of a zone with zero words made HOLE where there is no memory, and how many.

    ``absent_pages``: pages that the zone spans without having them (spanned - present). Nothing
    changes where the HOLE words (NOPAGE) make them up already. Else zero words outside System RAM
    are holes, then the longest stretches of zero words, from their ends.
    """
    budget = absent_pages - int(runs.nr_pages[runs.page_class == PageClass.HOLE].sum())
    is_zero = (runs.flags & SCAN_ZERO) != 0
    if budget <= 0 or not is_zero.any():
        return runs, 0
    holes: list[tuple[int, int]] = []
    zeros = runs.take(is_zero & (runs.nr_pages >= SECTION_PAGES))
    stretches = list(zip(zeros.start_pfn.tolist(), zeros.end_pfn.tolist(), strict=True))
    if ram is not None:
        outside = [gap for stretch in stretches for gap in without(stretch, ram)]
        holes = [gap for gap in outside if gap[1] - gap[0] >= SECTION_PAGES]
        stretches = [piece for stretch in stretches for piece in without(stretch, holes)]
        budget -= sum(end - start for start, end in holes)
    for start, end in sorted(stretches, key=lambda s: s[0] - s[1]):
        end -= end % SECTION_PAGES
        start = max(start + -start % SECTION_PAGES, end - budget)
        start += -start % SECTION_PAGES
        if budget < SECTION_PAGES or end - start < SECTION_PAGES:
            break
        holes.append((start, end))
        budget -= end - start
    if not holes:
        return runs, 0
    return cut_out(runs, sorted(holes)), sum(end - start for start, end in holes)


def without(stretch: tuple[int, int], ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of a stretch that no range covers; ranges ascend."""
    start, end = stretch
    parts: list[tuple[int, int]] = []
    for low, high in ranges:
        if high <= start or low >= end:
            continue
        if low > start:
            parts.append((start, low))
        start = max(start, high)
    if start < end:
        parts.append((start, end))
    return parts


def cut_out(runs: PageRuns, holes: Sequence[tuple[int, int]]) -> PageRuns:
    """Runs with the holes, each inside one run, made HOLE."""
    start = np.array([low for low, _ in holes], np.int64)
    end = np.array([high for _, high in holes], np.int64)
    inside = np.searchsorted(runs.start_pfn, start, "right") - 1
    touched = np.unique(inside)
    keep = np.ones(len(runs), np.bool_)
    keep[touched] = False
    parts: list[PageRuns] = [runs.take(keep), make_runs(start, end - start, PageClass.HOLE)]
    for run in touched.tolist():
        left = without(
            (int(runs.start_pfn[run]), int(runs.end_pfn[run])),
            [hole for hole, at in zip(holes, inside.tolist(), strict=True) if at == run],
        )
        low = np.array([piece[0] for piece in left], np.int64)
        high = np.array([piece[1] for piece in left], np.int64)
        parts.append(make_runs(low, high - low, int(runs.page_class[run]), 0, SCAN_ZERO))
    return concat(parts)


def untouched_blocks(whole_zero: NDArray[np.bool_], number: int) -> NDArray[np.bool_]:
    """Which wholly zero pageblocks the kernel has not initialised yet, given how many.

    Their memory map is all zero, so pagetypeinfo does not count them. The longest stretches are
    taken first, from their ends, since a guest initialises upwards.
    """
    chosen = np.zeros(len(whole_zero), np.bool_)
    edges = np.flatnonzero(np.diff(np.pad(whole_zero.astype(np.int8), 1)))
    starts, ends = edges[::2], edges[1::2]
    for at in np.argsort(starts - ends, kind="stable"):
        if number <= 0:
            break
        take = min(number, int(ends[at] - starts[at]))
        chosen[ends[at] - take : ends[at]] = True
        number -= take
    return chosen


def block_spans(chosen: NDArray[np.bool_], first_block: int, pageblock_order: int) -> tuple[tuple[int, int], ...]:
    """Chosen pageblocks as pfn ranges [start, end), ascending, that do not touch."""
    edges = (np.flatnonzero(np.diff(np.pad(chosen.astype(np.int8), 1))) + first_block) << pageblock_order
    return tuple(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def choose_pcp_blocks(
    zero_pages: I64, kernel_pages: I64, types: U8, pages_per_block: int, pcp_count: int
) -> NDArray[np.bool_]:
    """Pageblocks whose zero words are free pages on per-cpu lists.

    Kernel pages belong in UNMOVABLE and RECLAIMABLE blocks, so zero words in MOVABLE and CMA blocks
    are per-cpu pages, as long as zoneinfo counts that many: whole blocks, those with the fewest
    other kernel pages and then those that are not all zero first.
    """
    movable = np.isin(types, np.array([Migratetype.MOVABLE, Migratetype.CMA], np.uint8))
    candidates = np.flatnonzero(movable & (zero_pages > 0))
    whole = zero_pages[candidates] == pages_per_block
    ranked = candidates[np.lexsort((zero_pages[candidates], whole, kernel_pages[candidates]))]
    fits = int(np.searchsorted(np.cumsum(zero_pages[ranked]), pcp_count, "right"))
    chosen = np.zeros(len(types), np.bool_)
    chosen[ranked[:fits]] = True
    return chosen


def split_zero_runs(
    runs: PageRuns,
    is_pcp: NDArray[np.bool_],
    untouched: NDArray[np.bool_],
    first_block: int,
    pageblock_order: int,
) -> PageRuns:
    """All runs but the free ones; zero words become PCP or HOLE (not initialised) in the chosen pageblocks, else KERNEL."""
    is_zero = (runs.flags & SCAN_ZERO) != 0
    others = runs.take(~is_zero & (runs.page_class != PageClass.FREE))
    zeros = runs.take(is_zero)
    _, start, nr_pages = pieces(zeros.start_pfn, zeros.nr_pages, pageblock_order)
    block = (start >> pageblock_order) - first_block
    page_class = np.where(is_pcp[block], np.uint8(PageClass.PCP), np.uint8(PageClass.KERNEL))
    page_class[untouched[block]] = PageClass.HOLE
    return concat([others, make_runs(start, nr_pages, page_class)])
