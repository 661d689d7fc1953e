"""The doctor's answer where there is no kpageflags: what the counters tell, and what they can't."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.counts import Bound
from ..doctor.report import Report
from ..doctor.sizes import size_name
from ..machine import ZoneInfo
from ..mm import Migratetype

__all__ = ["show_counts"]


def show_counts(report: Report, console: Console) -> None:
    """Print what is known of every size, each zone's memory, pageblocks by type and free blocks by order and type."""
    title = "What every page holds is not known (no kpageflags). What the counters tell of each size:"
    console.print(Text(title, style="bold"), soft_wrap=True)
    console.print(_sizes(report))
    console.print(
        "by types: how many the MOVABLE pageblocks and free ones of other types are good for; kernel pages among them make it "
        "fewer, movable pages elsewhere more.",
        soft_wrap=True,
        highlight=False,
    )
    console.print()
    console.print(_zones(report))
    console.print()
    if any(zone.block_counts for zone in report.zones):
        console.print(_pageblocks(report))
        console.print()
    if any(zone.buddy_counts or zone.free_counts for zone in report.zones):
        console.print(_free_blocks(report))
        console.print()
    remedy = "run as root" if report.live else "record kpageflags as root"
    console.print(
        f"Which ranges can be had, what they cost and what blocks the rest needs /proc/kpageflags: {remedy}.",
        soft_wrap=True,
        highlight=False,
    )
    console.print()


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _sizes(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("size", "ranges in RAM", "free now", "by types", "never: kernel image, reserved"):
        table.add_column(title, justify="right", no_wrap=True)
    for bound in report.bounds:
        table.add_row(
            size_name(bound.nr_pages, report.page_size),
            _number(bound.ranges),
            _free(bound),
            _number(bound.by_types),
            "–" if bound.reserved_at_least is None else f"{bound.reserved_at_least:,} or more",
        )
    return table


def _free(bound: Bound) -> str:
    if bound.free_at_least == bound.free_at_most:
        return f"{bound.free_at_least:,}"
    return f"{bound.free_at_least:,} to {bound.free_at_most:,}"


def _zones(report: Report) -> Table:
    """How much of each zone is free, on LRU lists (movable, if nobody pins it) and neither."""
    table = Table(title="Memory, MiB", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for title in ("zone", "managed", "free", "on LRU lists", "kernel and huge pages", "largest free block"):
        table.add_column(title, justify="left" if title == "zone" else "right", no_wrap=True)
    for zone in report.zones:
        rest = None
        if zone.lru_pages is not None:
            rest = max(0, zone.managed - zone.free_pages - zone.pcp_count - zone.lru_pages)
        largest = max((order for order, count in enumerate(zone.buddy_counts) if count), default=None)
        table.add_row(
            zone.label,
            *(_mib(pages, report) for pages in (zone.managed, zone.free_pages, zone.lru_pages, rest)),
            "–" if largest is None else size_name(1 << largest, report.page_size),
        )
    return table


def _mib(pages: int | None, report: Report) -> str:
    return "–" if pages is None else f"{pages * report.page_size / (1 << 20):,.1f}"


def _pageblocks(report: Report) -> Table:
    name = size_name(1 << report.pageblock_order, report.page_size)
    table = Table(title=f"Pageblocks of {name}", title_justify="left", box=None, pad_edge=False, header_style="bold")
    types = [t for t in Migratetype if any((zone.block_counts or {}).get(t) for zone in report.zones)]
    table.add_column("zone", no_wrap=True)
    for migratetype in types:
        table.add_column(migratetype.name, justify="right", no_wrap=True)
    for zone in report.zones:
        table.add_row(zone.label, *(_number((zone.block_counts or {}).get(t)) for t in types))
    return table


def _free_blocks(report: Report) -> Table:
    table = Table(title="Free blocks by order", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for title in ("zone", "type"):
        table.add_column(title, no_wrap=True)
    for order in range(report.max_order + 1):
        table.add_column(str(order), justify="right", no_wrap=True)
    for zone in report.zones:
        for title, counts in _lists(zone):
            table.add_row(zone.label, title, *(f"{count:,}" if count else "·" for count in counts))
    return table


def _lists(zone: ZoneInfo) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The zone's free lists that are not empty; without pagetypeinfo all types together."""
    if zone.free_counts is None:
        if zone.buddy_counts:
            yield "all", zone.buddy_counts
        return
    for migratetype, counts in zone.free_counts.items():
        if any(counts):
            yield Migratetype(migratetype).name, counts
