"""Geometry of a machine and which zone owns which pfns, from its text files.

Zones of one machine may overlap where nodes interleave; /proc does not say whose a pfn is there.
The sysfs of a running kernel does, by memory block.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pageblock.errors import InputError

from .infer import Remark
from .procfs import BuddyRow, IomemEntry, PageTypeInfo, ZoneRow

__all__ = ["Geometry", "Span", "find_geometry", "live_memory_blocks", "own_ranges", "reserved_pages"]

PAGE_SIZES = (4096, 8192, 16384, 65536, 262144)

#: Labels of iomem inside System RAM for what boot reserved and never gave to the allocator.
RESERVED_LABELS = ("Kernel code", "Kernel rodata", "Kernel data", "Kernel bss", "Crash kernel", "Reserved", "reserved")


@dataclass(frozen=True)
class Geometry:
    """Page size in bytes; max order (inclusive) and pageblock order."""

    page_size: int
    max_order: int
    pageblock_order: int


@dataclass(frozen=True)
class Span:
    """Pfns [start, end) of one zone, an index into the list of zones."""

    start: int
    end: int
    zone: int


def find_geometry(
    zones: Sequence[ZoneRow],
    buddy: Sequence[BuddyRow],
    types: PageTypeInfo | None,
    meminfo: Mapping[str, int],
    iomem: Sequence[IomemEntry] | None,
    page_size: int | None = None,
) -> tuple[Geometry, list[Remark]]:
    """Geometry from whichever files there are, a Remark for each guess. ``page_size``: bytes, where it is known.

    Raises InputError when buddyinfo and pagetypeinfo have different numbers of orders.
    """
    remarks: list[Remark] = []
    if page_size is None:
        page_size = find_page_size(zones, types, meminfo, iomem)
    if page_size is None:
        page_size = 4096
        remarks.append(Remark("page size", "no file tells the page size; taken as 4096 bytes", None))
    orders = len(buddy[0].counts) if buddy else 0
    rows = [row for zone in types.free.values() for row in zone.values()] if types else []
    type_orders = {len(row.counts) for row in rows}
    if len(type_orders) > 1 or (orders and type_orders and type_orders != {orders}):
        raise InputError(
            f"pagetypeinfo has {' or '.join(map(str, sorted(type_orders)))} orders, buddyinfo "
            f"{orders or 'none'}; the files are not of one machine, record them together"
        )
    orders = orders or (type_orders.pop() if type_orders else 0)
    if not orders:
        orders = 11
        remarks.append(Remark("max order", "neither buddyinfo nor pagetypeinfo is there; taken as 10", None))
    max_order = orders - 1
    if types is not None and types.pageblock_order is not None:
        return Geometry(page_size, max_order, types.pageblock_order), remarks
    huge = meminfo.get("Hugepagesize", 0) * 1024 // page_size
    pageblock_order = min(huge.bit_length() - 1, max_order) if huge > 1 else max_order
    reason = "the huge page size" if huge > 1 else "the max order, as on kernels without huge pages"
    remarks.append(
        Remark(
            "pageblock order",
            f"without pagetypeinfo (root only) the pageblock order is taken from {reason}: {pageblock_order}",
            None,
        )
    )
    return Geometry(page_size, max_order, pageblock_order), remarks


def find_page_size(
    zones: Sequence[ZoneRow],
    types: PageTypeInfo | None,
    meminfo: Mapping[str, int],
    iomem: Sequence[IomemEntry] | None,
) -> int | None:
    """System RAM is the present pages of all zones; a huge page is mostly a pageblock; MemTotal about the managed ones.

    MemTotal comes last: a guest with lazily initialised memory manages only a part of it.
    """
    managed = sum(zone.managed or 0 for zone in zones)
    present = sum(zone.present for zone in zones)
    total = meminfo.get("MemTotal", 0) * 1024
    huge = meminfo.get("Hugepagesize", 0) * 1024
    ram = sum(e.end - e.start for e in iomem or () if e.label.startswith("System RAM"))
    block = 1 << types.pageblock_order if types is not None and types.pageblock_order is not None else 0
    for nr_bytes, nr_pages in ((ram, present), (huge, block), (total, managed), (total, present)):
        if nr_bytes and nr_pages:
            found = nearest_page_size(nr_bytes / nr_pages)
            if found is not None:
                return found
    return None


def nearest_page_size(ratio: float) -> int | None:
    best = min(PAGE_SIZES, key=lambda size: abs(size - ratio))
    return best if abs(best - ratio) < best / 4 else None


def own_ranges(zones: Sequence[ZoneRow], memory_blocks: Sequence[Span] = ()) -> tuple[list[Span], list[Remark]]:
    """Split the zones' spans into disjoint ascending ranges, each with its owner.

    Where spans overlap, a memory block of sysfs decides, else the zone with the smaller span (a
    node inside another's hole), with a Remark. Neighbouring ranges of one owner are one.
    """
    live = [(z.start_pfn or 0, (z.start_pfn or 0) + z.spanned) for z in zones]
    edges = {edge for span in live for edge in span}
    edges |= {edge for block in memory_blocks for edge in (block.start, block.end)}
    cuts = sorted(edges)
    spans: list[Span] = []
    guessed = 0
    at = 0
    for low, high in pairwise(cuts):
        inside = [i for i, (start, end) in enumerate(live) if start <= low and high <= end]
        if not inside:
            continue
        while at < len(memory_blocks) and memory_blocks[at].end <= low:
            at += 1
        owner = min(inside, key=lambda i: (zones[i].spanned, -(zones[i].start_pfn or 0)))
        if len(inside) > 1:
            if at < len(memory_blocks) and memory_blocks[at].start <= low:
                owner = memory_blocks[at].zone
            else:
                guessed += high - low
        if spans and spans[-1].zone == owner and spans[-1].end == low:
            spans[-1] = Span(spans[-1].start, high, owner)
        else:
            spans.append(Span(low, high, owner))
    if not guessed:
        return spans, []
    text = (
        f"zones overlap over {guessed} pages and /proc does not say whose a page is; the zone with "
        "the smaller span is taken as the owner"
    )
    return spans, [Remark("zone overlap", text, None)]


def live_memory_blocks(
    zones: Sequence[ZoneRow], page_size: int, root: Path = Path("/sys/devices/system/memory")
) -> list[Span]:
    """Online memory blocks of the running kernel with their zones, ascending; empty if unreadable.

    Source: Documentation/admin-guide/mm/memory-hotplug.rst (valid_zones of an online block).
    """
    index = {(zone.node, zone.zone): i for i, zone in enumerate(zones)}
    blocks: list[Span] = []
    try:
        pages = int((root / "block_size_bytes").read_text(), 16) // page_size
        for folder in root.glob("memory[0-9]*"):
            node = next((int(n.name[4:]) for n in folder.glob("node[0-9]*")), 0)
            zone = (folder / "valid_zones").read_text().split()[:1]
            if zone and (node, zone[0]) in index:
                start = int(folder.name[6:]) * pages
                blocks.append(Span(start, start + pages, index[node, zone[0]]))
    except (OSError, ValueError):
        return []
    return sorted(blocks, key=lambda block: block.start)


def reserved_pages(iomem: Sequence[IomemEntry] | None, page_size: int) -> tuple[tuple[int, int], ...]:
    """Pfn ranges [start, end) inside System RAM that iomem names as the kernel's image or reserved at boot, ascending."""
    found: list[tuple[int, int]] = []
    inside = False
    for entry in iomem or ():
        if entry.depth == 0:
            inside = entry.label.startswith("System RAM")
        elif inside and entry.label in RESERVED_LABELS:
            found.append((entry.start // page_size, -(-entry.end // page_size)))
    return tuple(sorted(found))
