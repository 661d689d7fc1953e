"""Snapshots as zones of the allocator model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm import Zone
from pageblock.mm.memory import KINDS, Member, Memory
from pageblock.mm.types import Migratetype, PageClass

from .kpageflags import KEPT_MARKS
from .lists import FreeLists, pcp_index
from .runs import PageRuns
from .snapshot import Snapshot, ZoneInfo

__all__ = ["free_blocks", "load_zone", "snapshot_memory", "snapshot_zones", "zone_runs"]

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]

#: Classes of pages that are not loaded as allocated ones.
NOT_ALLOCATED = [PageClass.FREE, PageClass.HOLE, PageClass.PCP]


@dataclass(frozen=True)
class FreeBlocks:
    """Free blocks, one entry each, as ``Zone.load_free`` takes them."""

    pfn: I64
    order: U8
    migratetype: U8


def zone_runs(snapshot: Snapshot, index: int) -> PageRuns:
    """The runs of one zone. Raises InputError for a snapshot without runs."""
    runs = snapshot.runs
    if runs is None:
        raise InputError(f"{snapshot.source}: no page is known without kpageflags; record it as root")
    first, last = np.searchsorted(runs["zone"].to_numpy(), [index, index + 1]).tolist()
    mine = runs.slice(first, last - first)
    columns = {name: mine[name].to_numpy() for name in mine.column_names}
    return PageRuns(
        columns["start_pfn"].view(np.int64),
        columns["nr_pages"].view(np.int64),
        columns["class"],
        columns["order"],
        columns["flags"],
        columns["migratetype"],
    )


def free_blocks(runs: PageRuns) -> FreeBlocks:
    """The blocks of the free runs among these: a free run is a row of blocks of one order."""
    free = runs.take(runs.page_class == PageClass.FREE)
    order = free.order.astype(np.int64)
    per_run = free.nr_pages >> order
    owner = np.repeat(np.arange(len(free)), per_run)
    nth = np.arange(len(owner)) - np.repeat(np.cumsum(per_run) - per_run, per_run)
    return FreeBlocks(free.start_pfn[owner] + (nth << order[owner]), free.order[owner], free.migratetype[owner])


def load_zone(snapshot: Snapshot, info: ZoneInfo, release: str, runs: PageRuns, start_pfn: int, end_pfn: int) -> Zone:
    """A model zone of the pfns [start_pfn, end_pfn) of a recorded one, with the pages of these runs but nothing free in it.

    Per-cpu pages go onto per-cpu lists of their pageblock's type, as single pages, unless the source knows the real lists.
    """
    zone = Zone(
        end_pfn - start_pfn,
        release=release,
        start_pfn=start_pfn,
        max_order=snapshot.max_order,
        pageblock_order=snapshot.pageblock_order,
        page_size=snapshot.page_size,
        populate=False,
        name=info.label,
        zone_movable=info.name == "Movable",
    )
    if info.block_types is not None:
        shift = snapshot.pageblock_order
        origin = info.start_pfn >> shift
        zone.load_pageblocks(info.block_types[(start_pfn >> shift) - origin : ((end_pfn - 1) >> shift) + 1 - origin])
    used = runs.take(~np.isin(runs.page_class, NOT_ALLOCATED))
    zone.load_pages(
        used.start_pfn, used.nr_pages, used.page_class, used.order, used.flags & np.uint8(0xFF & ~KEPT_MARKS)
    )
    return zone


def load_free_pages(zone: Zone, info: ZoneInfo, runs: PageRuns) -> None:
    """Put the free pages of these runs onto their lists in pfn order, and per-cpu pages onto those of their pageblock's type."""
    free = free_blocks(runs)
    zone.load_free(free.pfn, free.order, free.migratetype)
    load_pcp(zone, info, runs.take(runs.page_class == PageClass.PCP))


def snapshot_zones(snapshot: Snapshot, release: str) -> list[Zone]:
    """One model zone for each of the snapshot's, with its pages, free lists and watermarks.

    Free lists are filled in pfn order, unless the source knows their real one: /proc does not tell it. Raises InputError for
    a snapshot without runs, and the model's own errors for a geometry that it refuses.
    """
    zones: list[Zone] = []
    for i, info in enumerate(snapshot.zones):
        runs = zone_runs(snapshot, i)
        zone = load_zone(snapshot, info, release, runs, info.start_pfn, info.end_pfn)
        if snapshot.lists is not None:
            load_lists(zone, snapshot.lists.take(snapshot.lists.zone == i))
        else:
            load_free_pages(zone, info, runs)
        zone.set_watermarks(
            info.wmark_min, info.wmark_low, info.wmark_high, lowmem_reserve=0, managed_pages=info.managed or None
        )
        zones.append(zone)
    return zones


def load_lists(zone: Zone, lists: FreeLists) -> None:
    """Put free blocks and per-cpu pages onto their lists in the order that the kernel has them in."""
    buddy = lists.take(~lists.pcp)
    zone.load_free(buddy.pfn, buddy.order, buddy.migratetype)
    pcp = lists.take(lists.pcp)
    for order, migratetype in np.unique(np.stack([pcp.order, pcp.migratetype]), axis=1).T.tolist():
        pfns = pcp.pfn[(pcp.order == order) & (pcp.migratetype == migratetype)]
        zone.load_pcp(pcp_index(order, migratetype), pfns.tolist())


def load_pcp(zone: Zone, info: ZoneInfo, pcp: PageRuns) -> None:
    """Put the pages of these runs onto the per-cpu lists of order 0, one a type; CMA pages go with MOVABLE."""
    if info.block_types is None or not len(pcp):
        return
    pfn = np.repeat(pcp.start_pfn, pcp.nr_pages)
    pfn += np.arange(len(pfn)) - np.repeat(np.cumsum(pcp.nr_pages) - pcp.nr_pages, pcp.nr_pages)
    shift = zone.geometry.pageblock_order
    types = info.block_types[(pfn >> shift) - (info.start_pfn >> shift)]
    types = np.where(types > Migratetype.RECLAIMABLE, np.uint8(Migratetype.MOVABLE), types)
    for migratetype in np.unique(types).tolist():
        zone.load_pcp(migratetype, pfn[types == migratetype].tolist())


def snapshot_memory(snapshot: Snapshot, release: str) -> Memory:
    """The snapshot's zones as one memory of the model; zones of kinds that no request goes to are left out.

    Raises:
        InputError: no page is known, or no zone is left.
    """
    zones = snapshot_zones(snapshot, release)
    # zoneinfo lists a zone's protection against each kind that the kernel was built with; only x86-64's order is known
    known = all(info.name in ("DMA", "DMA32", "Normal", "Movable", "Device") for info in snapshot.zones)
    members = [
        Member(zone, info.node, info.name, info.protection[:4] if known and len(info.protection) >= 4 else ())
        for zone, info in zip(zones, snapshot.zones, strict=True)
        if info.name in KINDS
    ]
    if not members:
        raise InputError(f"{snapshot.source}: no zone of a kind that requests go to ({', '.join(KINDS)})")
    return Memory(members)
