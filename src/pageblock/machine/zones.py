"""Snapshots as zones of the allocator model."""

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm import Zone
from pageblock.mm.memory import KINDS, Member, Memory
from pageblock.mm.types import Migratetype, PageClass

from .lists import FreeLists, pcp_index
from .snapshot import Snapshot, ZoneInfo

__all__ = ["snapshot_memory", "snapshot_zones"]

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]

#: Classes of pages that are not loaded as allocated ones.
NOT_ALLOCATED = [PageClass.FREE, PageClass.HOLE, PageClass.PCP]


def snapshot_zones(snapshot: Snapshot, release: str) -> list[Zone]:
    """One model zone for each of the snapshot's, with its pages, free lists and watermarks.

    Free lists are filled in pfn order, unless the source knows their real one: /proc does not tell it. Per-cpu pages go
    onto per-cpu lists of their pageblock's type, as single pages. Raises InputError for a snapshot without runs, and the
    model's own errors for a geometry that it refuses.
    """
    runs = snapshot.runs
    if runs is None:
        raise InputError(f"{snapshot.source}: no page is known without kpageflags; record it as root")
    zone_column = runs["zone"].to_numpy()
    start = runs["start_pfn"].to_numpy()
    nr_pages = runs["nr_pages"].to_numpy()
    page_class = runs["class"].to_numpy()
    order = runs["order"].to_numpy()
    migratetype = runs["migratetype"].to_numpy()
    flags = runs["flags"].to_numpy()
    zones: list[Zone] = []
    for i, info in enumerate(snapshot.zones):
        zone = Zone(
            info.spanned,
            release=release,
            start_pfn=info.start_pfn,
            max_order=snapshot.max_order,
            pageblock_order=snapshot.pageblock_order,
            page_size=snapshot.page_size,
            populate=False,
            name=info.label,
            zone_movable=info.name == "Movable",
        )
        first, last = np.searchsorted(zone_column, [i, i + 1])
        mine = np.arange(first, last)
        is_free = page_class[mine] == PageClass.FREE
        used = mine[~np.isin(page_class[mine], NOT_ALLOCATED)]
        free = mine[is_free]
        zone.load_pageblocks(info.block_types)
        zone.load_pages(start[used], nr_pages[used], page_class[used], order[used], flags[used])
        # A free run is a row of blocks of one order.
        per_run = (nr_pages[free] >> order[free].astype(np.uint64)).astype(np.int64)
        owner = np.repeat(free, per_run)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(per_run) - per_run, per_run)
        pfn = start[owner] + (nth.astype(np.uint64) << order[owner].astype(np.uint64))
        if snapshot.lists is not None:
            load_lists(zone, snapshot.lists.take(snapshot.lists.zone == i))
        else:
            zone.load_free(pfn, order[owner], migratetype[owner])
            load_pcp(zone, start, nr_pages, mine[page_class[mine] == PageClass.PCP], info)
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


def load_pcp(zone: Zone, start: U64, nr_pages: U64, pcp: I64, info: ZoneInfo) -> None:
    """Put the pages of the runs ``pcp`` onto the per-cpu lists of order 0, one a type; CMA pages go with MOVABLE."""
    if info.block_types is None or not len(pcp):
        return
    pfn = np.repeat(start[pcp], nr_pages[pcp].astype(np.int64))
    first = np.repeat(np.cumsum(nr_pages[pcp]) - nr_pages[pcp], nr_pages[pcp].astype(np.int64))
    pfn += np.arange(len(pfn), dtype=np.uint64) - first
    shift = np.uint64(zone.geometry.pageblock_order)
    types = info.block_types[(pfn >> shift) - np.uint64(info.start_pfn >> zone.geometry.pageblock_order)]
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
