"""Columns of page runs and the few operations on them, all in numpy: no loop over pages or runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pageblock.mm.types import PageClass, PageFlag

__all__ = ["PageRuns", "clip", "concat", "fill_holes", "make_runs", "merge", "pieces"]

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class PageRuns:
    """Runs [start_pfn, start_pfn + nr_pages) made of units of 1 << order pages.

    ``flags`` holds PageFlag bits and, until inference has used it up, the scan's zero-word mark;
    ``migratetype`` is 255 where unknown.
    """

    start_pfn: I64
    nr_pages: I64
    page_class: U8
    order: U8
    flags: U8
    migratetype: U8

    def __len__(self) -> int:
        return len(self.start_pfn)

    @property
    def end_pfn(self) -> I64:
        """First pfn after each run."""
        return self.start_pfn + self.nr_pages

    def take(self, index: I64 | NDArray[np.bool_]) -> "PageRuns":
        """The runs at these places."""
        return PageRuns(
            self.start_pfn[index],
            self.nr_pages[index],
            self.page_class[index],
            self.order[index],
            self.flags[index],
            self.migratetype[index],
        )


def make_runs(
    start: I64,
    nr_pages: I64,
    page_class: int | U8,
    order: int | U8 = 0,
    flags: int | U8 = 0,
    migratetype: int | U8 = 255,
) -> PageRuns:
    """Runs from columns; a plain number fills its whole column."""

    def column(value: int | U8) -> U8:
        return np.broadcast_to(np.asarray(value, np.uint8), start.shape)

    return PageRuns(
        np.asarray(start, np.int64),
        np.asarray(nr_pages, np.int64),
        column(page_class),
        column(order),
        column(flags),
        column(migratetype),
    )


def concat(parts: Sequence[PageRuns]) -> PageRuns:
    """All runs of the parts, sorted by start."""
    joined = PageRuns(
        np.concatenate([p.start_pfn for p in parts]),
        np.concatenate([p.nr_pages for p in parts]),
        np.concatenate([p.page_class for p in parts]),
        np.concatenate([p.order for p in parts]),
        np.concatenate([p.flags for p in parts]),
        np.concatenate([p.migratetype for p in parts]),
    )
    return joined.take(np.argsort(joined.start_pfn, kind="stable"))


def merge(runs: PageRuns) -> PageRuns:
    """Join neighbours that touch and are alike in every column. ``runs`` ascend."""
    if len(runs) == 0:
        return runs
    fresh = np.ones(len(runs), np.bool_)
    fresh[1:] = runs.start_pfn[1:] != runs.end_pfn[:-1]
    for name in ("page_class", "order", "flags", "migratetype"):
        column = getattr(runs, name)
        fresh[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(fresh)
    merged = runs.take(first)
    pages = np.add.reduceat(runs.nr_pages, first)
    return PageRuns(
        merged.start_pfn,
        pages,
        merged.page_class,
        merged.order,
        merged.flags,
        merged.migratetype,
    )


def clip(runs: PageRuns, start_pfn: int, end_pfn: int) -> PageRuns:
    """The parts of runs inside [start_pfn, end_pfn). A compound that is cut becomes order 0."""
    first = int(np.searchsorted(runs.end_pfn, start_pfn, "right"))
    last = int(np.searchsorted(runs.start_pfn, end_pfn, "left"))
    inside = runs.take(np.arange(first, last))
    start = np.maximum(inside.start_pfn, start_pfn)
    pages = np.minimum(inside.end_pfn, end_pfn) - start
    unit_mask = (np.int64(1) << inside.order.astype(np.int64)) - 1
    cut = ((start & unit_mask) != 0) | ((pages & unit_mask) != 0)
    return PageRuns(
        start,
        pages,
        inside.page_class,
        np.where(cut, np.uint8(0), inside.order),
        np.where(cut, inside.flags & np.uint8(0xFF & ~PageFlag.COMPOUND), inside.flags),
        inside.migratetype,
    )


def fill_holes(runs: PageRuns, start_pfn: int, end_pfn: int) -> PageRuns:
    """``runs`` plus HOLE runs wherever [start_pfn, end_pfn) is not covered."""
    before = np.append(np.int64(start_pfn), runs.end_pfn)
    after = np.append(runs.start_pfn, np.int64(end_pfn))
    gap = after > before
    if not gap.any():
        return runs
    return concat([runs, make_runs(before[gap], (after - before)[gap], PageClass.HOLE)])


def pieces(start: I64, nr_pages: I64, shift: int) -> tuple[I64, I64, I64]:
    """Cut ranges at multiples of 1 << shift: index of the range, start and pages of each piece."""
    end = start + nr_pages
    first = start >> shift
    per_range = ((end - 1) >> shift) - first + 1
    index = np.repeat(np.arange(len(start)), per_range)
    nth = np.arange(len(index)) - np.repeat(np.cumsum(per_range) - per_range, per_range)
    block = first[index] + nth
    piece_start = np.maximum(start[index], block << shift)
    piece_end = np.minimum(end[index], (block + 1) << shift)
    return index, piece_start, piece_end - piece_start
