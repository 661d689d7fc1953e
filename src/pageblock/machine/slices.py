"""A recorded zone as models of a slice each, made when they are asked for.

A model of a whole zone takes 10 bytes a page, 2.7 GB for 1 TiB. What is asked of every pageblock but of none of its
neighbours needs one slice at a time only, and slices can be had side by side.
"""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pageblock.mm import Zone
from pageblock.mm import constants as k
from pageblock.mm import release as find_release
from pageblock.mm.geometry import Geometry, check_geometry
from pageblock.mm.types import Migratetype, PageClass, PageFlag

from .runs import PageRuns, clip
from .snapshot import Snapshot
from .zones import FreeBlocks, free_blocks, load_free_pages, load_zone, zone_runs

__all__ = ["SlicedZone"]

#: Pages of a slice at least: no compound page is larger (1 GiB on x86, 16 GiB of 64 KiB pages on arm64 and ppc64, 2 GiB on s390).
LEAST_SLICE = 1 << 20

#: Slices kept: one for each thread, and those that the next question may be about.
KEPT = 8

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]


class SlicedZone:
    """One zone of a snapshot, answering as its model would as long as nothing changes it.

    Args:
        snapshot: with runs. Raises InputError without.
        index: of the zone.
        release: whose geometry rules hold.
    """

    def __init__(self, snapshot: Snapshot, index: int, release: str) -> None:
        self.info = snapshot.zones[index]
        self.runs: PageRuns = zone_runs(snapshot, index)
        self.name = self.info.label
        self.start_pfn = self.info.start_pfn
        self.end_pfn = self.info.end_pfn
        self.geometry: Geometry = check_geometry(
            self.info.spanned,
            self.start_pfn,
            snapshot.max_order,
            snapshot.pageblock_order,
            snapshot.page_size,
            None,
            find_release(release),
        )
        largest = int(self.runs.order.max(initial=0))
        self.slice_pages = 1 << max(LEAST_SLICE.bit_length() - 1, largest, snapshot.max_order, snapshot.pageblock_order)

        @lru_cache(KEPT)
        def model(nth: int) -> Zone:
            start = max(nth * self.slice_pages, self.start_pfn)
            end = min((nth + 1) * self.slice_pages, self.end_pfn)
            first, last = np.searchsorted(self.runs.start_pfn, [start + 1, end]).tolist()
            runs = clip(self.runs.take(np.arange(max(0, first - 1), last)), start, end)
            zone = load_zone(snapshot, self.info, release, runs, start, end)
            load_free_pages(zone, self.info, runs)
            return zone

        self.model = model

    @property
    def pageblock_types(self) -> U8:
        """Type of each pageblock, from the one that holds ``start_pfn``."""
        types = self.info.block_types
        if types is None:
            first, last = (
                self.start_pfn >> self.geometry.pageblock_order,
                self.end_pfn - 1 >> self.geometry.pageblock_order,
            )
            return np.full(last + 1 - first, Migratetype.MOVABLE, np.uint8)
        return types

    def survey(self, start_pfn: int, unit: int, count: int) -> U32:
        """What ``Zone.survey`` gives for the same stretches; ``unit`` is a power of two and at most a slice."""
        table = np.zeros((count, k.SURVEY_WORDS), np.uint32)
        per_slice = self.slice_pages // unit
        shift = start_pfn // unit % per_slice
        edges = [0, *range(per_slice - shift, count, per_slice), count]

        def fill(first: int, last: int) -> None:
            start = start_pfn + first * unit
            nth = max(start, self.start_pfn) // self.slice_pages
            part = self.model(nth).survey(start, unit, last - first)
            for column in (4, 6):
                at = part[:, column]
                part[:, column] = np.where(at == k.NONE, at, at + np.uint32(first * unit))
            table[first:last] = part

        spans = list(itertools.pairwise(edges))
        if len(spans) == 1:
            fill(*spans[0])
        else:
            with ThreadPoolExecutor(min(len(spans), os.cpu_count() or 1)) as pool:
                for _ in pool.map(lambda span: fill(*span), spans):
                    pass
        return table

    @cached_property
    def free(self) -> FreeBlocks:
        """All free blocks, ascending."""
        return free_blocks(self.runs)

    def free_list(self, order: int, migratetype: int) -> I64:
        """Pfns of the free blocks of one order and type, ascending: what the real list holds in some order."""
        pfns: I64 = self.free.pfn[(self.free.order == order) & (self.free.migratetype == migratetype)]
        return pfns

    def compound_heads(self) -> tuple[I64, U8, U8, NDArray[np.bool_]]:
        """Pfn, order, class and whether it is CLEAN of every block in use above order 0, ascending."""
        large = self.runs.take((self.runs.order > 0) & (self.runs.page_class != PageClass.FREE))
        per_run = large.nr_pages >> large.order.astype(np.int64)
        owner = np.repeat(np.arange(len(large)), per_run)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(per_run) - per_run, per_run)
        order = large.order[owner]
        clean = large.flags[owner] & np.uint8(PageFlag.CLEAN) != 0
        return large.start_pfn[owner] + (nth << order.astype(np.int64)), order, large.page_class[owner], clean
