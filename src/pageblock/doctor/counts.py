"""What counters alone tell of a size: without kpageflags, from buddyinfo, pagetypeinfo, zoneinfo and iomem."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..machine import Snapshot, ZoneInfo
from ..mm import Migratetype

__all__ = ["Bound", "bound"]


@dataclass(frozen=True)
class Bound:
    """What can be said of ranges of a size without kpageflags; None where no file tells it.

    ``free_at_least``, ``free_at_most``: free now, by the free blocks; pages on per-cpu
    lists may complete a few more. ``ranges``: that lie in RAM, aligned to their size;
    ``reserved_at_least`` of them hold the kernel's image or what boot reserved, and can never be had. ``by_types``: how many
    the MOVABLE pageblocks and the free pageblocks of other types are good for. That is no bound: kernel pages may stray into
    MOVABLE pageblocks, and pageblocks of other types may hold nothing but movable pages.
    """

    nr_pages: int
    free_at_least: int
    free_at_most: int
    ranges: int | None
    reserved_at_least: int | None
    by_types: int | None


def bound(snapshot: Snapshot, chosen: Sequence[int], nr_pages: int) -> Bound:
    """Ranges of a size in the zones chosen (indexes)."""
    order = nr_pages.bit_length() - 1
    # below pageblock order free buddies always merge; from there up two of them may stand side by side
    smallest = min(order, snapshot.pageblock_order)
    least = most = 0
    zones = [snapshot.zones[i] for i in chosen]
    for zone in zones:
        counts = zone.buddy_counts
        least += sum(count << (o - order) for o, count in enumerate(counts) if o >= order)
        most += sum(count << o for o, count in enumerate(counts) if o >= smallest) // nr_pages
    ranges = reserved = by_types = None
    if snapshot.ram is not None and all(zone.start_known for zone in zones):
        ranges = reserved = 0
        for zone in zones:
            inside = [(max(a, zone.start_pfn), min(b, zone.end_pfn)) for a, b in snapshot.ram]
            places = [(-(-a // nr_pages), b // nr_pages) for a, b in inside if b > a]
            ranges += sum(max(0, last - first) for first, last in places)
            reserved += count_touched(places, snapshot.reserved, nr_pages)
        most = min(most, ranges - reserved)
    if zones and all(zone.block_counts is not None for zone in zones):
        by_types = sum(pages_by_types(zone, snapshot.pageblock_order) // nr_pages for zone in zones)
        if ranges is not None and reserved is not None:
            by_types = min(by_types, ranges - reserved)
        by_types = max(by_types, least)
    return Bound(nr_pages, least, max(least, most), ranges, reserved, by_types)


def count_touched(places: Sequence[tuple[int, int]], reserved: Sequence[tuple[int, int]], nr_pages: int) -> int:
    """How many of the ranges (numbered by their start / size; ``places`` holds stretches of them) reserved pages touch.

    ``reserved``: pfn ranges, ascending.
    """
    total = 0
    for first, last in places:
        done = first
        for start, end in reserved:
            low, high = max(start // nr_pages, done), min(-(-end // nr_pages), last)
            if high > low:
                total += high - low
                done = high
    return total


def pages_by_types(zone: ZoneInfo, pageblock_order: int) -> int:
    """Pages in MOVABLE pageblocks, and free ones in whole pageblocks on the lists of UNMOVABLE and RECLAIMABLE."""
    pages = (zone.block_counts or {}).get(Migratetype.MOVABLE, 0) << pageblock_order
    for migratetype in (Migratetype.UNMOVABLE, Migratetype.RECLAIMABLE):
        counts = (zone.free_counts or {}).get(migratetype, ())
        pages += sum(count << order for order, count in enumerate(counts) if order >= pageblock_order)
    return pages
