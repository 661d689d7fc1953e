"""CMA areas on a recorded machine: those that it has, or one that could have been reserved at boot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..consumers.cma import CmaArea
from ..consumers.dma import CmaParameter
from ..consumers.kernel import cma_min_alignment_pages, kernel_version
from ..mm import Zone
from ..mm.memory import Memory
from ..mm.types import Migratetype, PageClass

__all__ = ["NoPlace", "place_area", "recorded_areas"]

_4G = 1 << 32

#: Classes of pages that CMA lends out: whatever else lies in a CMA pageblock was allocated from the area.
_LENT = (
    PageClass.FREE,
    PageClass.PCP,
    PageClass.ANON,
    PageClass.FILE,
    PageClass.THP,
    PageClass.MOVABLE_OPS,
    PageClass.PAGEVEC,
)


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why a machine has no place for an area."""

    rule: str


def recorded_areas(memory: Memory) -> list[CmaArea]:
    """Each run of CMA pageblocks as an area of a bit a page; in use: pages of a kind that CMA does not lend out."""
    areas: list[CmaArea] = []
    for member in memory.members:
        zone = member.zone
        order = zone.geometry.pageblock_order
        is_cma = np.concatenate([[False], zone.pageblock_types == Migratetype.CMA, [False]])
        edges = np.flatnonzero(np.diff(is_cma.astype(np.int8)))
        for first, last in edges.reshape(-1, 2).tolist():
            block = zone.start_pfn >> order
            start, end = max((block + first) << order, zone.start_pfn), min((block + last) << order, zone.end_pfn)
            area = CmaArea(memory, start, end - start, name=f"cma{len(areas)}")
            area.load_bitmap(_in_use(zone, start, end))
            areas.append(area)
    return areas


def _in_use(zone: Zone, start: int, end: int) -> NDArray[np.bool_]:
    """For each page whether an area must have given it away."""
    bits = np.zeros(end - start, bool)
    pfn = start
    while pfn < end:
        page = zone.page(pfn)
        # a tail of nothing known stands for itself
        last = min(end, max(page.head_pfn + (1 << page.order), pfn + 1))
        bits[pfn - start : last - start] = page.page_class not in _LENT
        pfn = last
    return bits


def place_area(memory: Memory, wanted: CmaParameter, page_size: int) -> CmaArea | NoPlace:
    """Make an area where boot would have, among places that hold only pages which CMA lends out; what is there stays.

    The order is that of cma_declare_contiguous_nid: above 4 GiB upwards where memory reaches that far, else from the limit
    downwards; a fixed base is taken or refused. Size and base follow the release's alignment, the size rounded up.
    """
    zone = memory.members[0].zone
    align = cma_min_alignment_pages(zone.release, zone.geometry) * page_size
    if wanted.fixed and wanted.base % align:
        return NoPlace(
            f"cma_declare_contiguous_nid: region at {wanted.base:#x} must be aligned to {align:#x} bytes (-22)"
        )
    base, size = -(-wanted.base // align) * align, -(-wanted.size // align) * align
    memory_end = max(member.zone.end_pfn for member in memory.members) * page_size
    limit = wanted.limit // align * align
    if limit == 0 or limit > memory_end:
        limit = memory_end
    if base + size > limit:
        return NoPlace(
            f"cma_declare_contiguous_nid: size {size:#x} of the region at {base:#x} exceeds the limit {limit:#x} (-22)"
        )
    starts = _places(memory, size // page_size, align // page_size)
    if wanted.fixed and base:
        found = starts[starts == base // page_size]
        why = "the fixed place holds a page that CMA does not lend out, so it was not reserved at boot"
    else:
        inside = starts[(starts * page_size >= base) & (starts * page_size + size <= limit)]
        high = inside[inside * page_size >= _4G]
        reaches = limit if kernel_version(zone.release) >= (6, 15) else memory_end
        upwards = high[:1] if reaches >= _4G + size else high[:0]
        found = upwards if len(upwards) else inside[-1:]
        why = f"no range of {size >> 20:,} MiB, aligned to {align >> 20:,} MiB, holds only pages that CMA lends out"
    if not len(found):
        return NoPlace(why)
    start, nr = int(found[0]), size // page_size
    memory.member_of(start).zone.load_cma(start, start + nr)
    return CmaArea(memory, start, nr, name="reserved")


def _places(memory: Memory, nr_pages: int, align: int) -> NDArray[np.int64]:
    """First pfns, ascending, of the aligned ranges in one zone where every page is free or can be migrated."""
    found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for member in memory.members:
        zone = member.zone
        first = -(-zone.start_pfn // align) * align
        count = (zone.end_pfn - first) // align
        if count < nr_pages // align:
            continue
        units = zone.survey(first, align, count)
        # nothing that isolation or migration refuses, all of it in the zone, and nothing that reaches in from below
        good = (units[:, 3] == 0) & (units[:, 6] == 0xFFFFFFFF) & (units[:, 7] == align) & (units[:, 8] == 0)
        blocks = align >> zone.geometry.pageblock_order
        before = (first >> zone.geometry.pageblock_order) - (zone.start_pfn >> zone.geometry.pageblock_order)
        types = zone.pageblock_types[before : before + count * blocks].reshape(count, blocks)
        good &= (types < Migratetype.HIGHATOMIC).all(axis=1)
        run = nr_pages // align
        total = np.concatenate([[0], np.cumsum(good)])
        starts = np.flatnonzero(total[run:] - total[:-run] == run)
        # nor anything that reaches out at the end
        ends = [zone.page(first + (int(i) + run) * align - 1) for i in starts]
        whole = [
            page.head_pfn + (1 << page.order) <= first + (int(i) + run) * align or page.page_class == PageClass.FREE
            for i, page in zip(starts, ends, strict=True)
        ]
        found.append(first + starts[np.array(whole, bool)].astype(np.int64) * align)
    return np.sort(np.concatenate(found))
