"""Take ranges of a machine one after the other and give each back: what was had, and what that has broken."""

from dataclasses import dataclass

import numpy as np

from ..check.shortest import BUG
from ..machine import Snapshot
from ..machine.zones import snapshot_memory
from ..mm import OPERATION, Migratetype, PageClass, Zone

__all__ = ["Pass", "Setting", "really_free", "take_and_give_back"]


@dataclass(frozen=True, slots=True)
class Setting:
    """Ranges asked for one after the other: of each stretch of ``stride`` pages the ``nr_pages`` from ``offset`` on."""

    stride: int
    offset: int
    nr_pages: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Ranges of a machine taken by alloc_contig_range and given back, one after the other, under one release.

    ``ranges`` were asked for; of these ``granted`` and ``refused``; with ``bugs`` the kernel would have stopped, after ``broken``
    a free page lies over pages in use. At the end NR_FREE_PAGES is wrong by ``drift`` pages, ``isolated`` pageblocks are
    isolated, and ``retyped`` have another type than before.
    """

    ranges: int
    granted: int
    refused: int
    bugs: int
    broken: int
    drift: int
    isolated: int
    retyped: int

    def __add__(self, other: "Pass") -> "Pass":
        return Pass(
            self.ranges + other.ranges,
            self.granted + other.granted,
            self.refused + other.refused,
            self.bugs + other.bugs,
            self.broken + other.broken,
            self.drift + other.drift,
            self.isolated + other.isolated,
            self.retyped + other.retyped,
        )


def take_and_give_back(snapshot: Snapshot, release: str, setting: Setting) -> Pass:
    """Ask for every range of a setting that lies inside a zone, and give each back at once."""
    total = Pass(0, 0, 0, 0, 0, 0, 0, 0)
    for member in snapshot_memory(snapshot, release).members:
        total += _take_zone(member.zone, setting)
    return total


def _take_zone(zone: Zone, setting: Setting) -> Pass:
    first = -(-(zone.start_pfn - setting.offset) // setting.stride) * setting.stride + setting.offset
    before = zone.saved_state()
    types = zone.pageblock_types
    granted = refused = bugs = broken = 0
    drift = -(zone.nr_free_pages - really_free(zone))
    starts = range(max(first, setting.offset), zone.end_pfn - setting.nr_pages + 1, setting.stride)
    for start in starts:
        given = _take(zone, start, setting.nr_pages)
        granted += given >= 0
        refused += BUG < given < 0
        bugs += given == BUG
        overlap = given >= 0 and _blocks_overlap(zone, start, start + setting.nr_pages)
        broken += overlap
        if overlap or given == BUG:
            # what such a kernel does next says nothing about the next range: that is asked of the machine as it was
            zone.take_state({**before, "arrays": tuple(a.copy() for a in before["arrays"])})
    after = zone.pageblock_types
    drift += zone.nr_free_pages - really_free(zone)
    isolated = int((after == Migratetype.ISOLATE).sum())
    retyped = int(((after != types) & (after != Migratetype.ISOLATE)).sum())
    return Pass(len(starts), granted, refused, bugs, broken, drift, isolated, retyped)


def _take(zone: Zone, start_pfn: int, nr_pages: int) -> int:
    """Take a range and give it back: its pfn, or a negated errno. A range in a CMA pageblock is asked for as CMA."""
    of_block = zone.page(start_pfn).pageblock_type
    rows = np.zeros(2, OPERATION)
    rows["op"] = (3, 4)
    rows["migratetype"] = Migratetype.CMA if of_block == Migratetype.CMA else Migratetype.MOVABLE
    rows["flags"] = (int(PageClass.KERNEL), 0)
    rows["start"] = start_pfn - zone.start_pfn
    rows["nr"] = nr_pages
    return int(zone.run(rows)[0])


def _blocks_overlap(zone: Zone, start_pfn: int, end_pfn: int) -> bool:
    """Whether a block begins inside another one, in the largest windows around a range: a free page over pages in use."""
    size = 1 << max(zone.geometry.max_order, zone.geometry.pageblock_order)
    first, end = max(start_pfn // size * size, zone.start_pfn), min(-(-end_pfn // size) * size, zone.end_pfn)
    pfns, orders = zone.blocks_in(first, end)
    return bool((pfns[:-1] + (np.int64(1) << orders[:-1].astype(np.int64)) > pfns[1:]).any())


def really_free(zone: Zone) -> int:
    """Pages in free blocks outside isolated pageblocks."""
    shift = zone.geometry.pageblock_order
    first = zone.start_pfn >> shift
    counted = zone.pageblock_types != Migratetype.ISOLATE
    before = np.concatenate([[0], np.cumsum(counted)])
    pages = 0
    for order in range(zone.geometry.max_order + 1):
        for migratetype in Migratetype:
            pfns = zone.free_list(order, migratetype).astype(np.int64)
            block = (pfns >> shift) - first
            if order <= shift:
                pages += int(counted[block].sum()) << order
            else:
                pages += int((before[block + (1 << (order - shift))] - before[block]).sum()) << shift
    return pages
