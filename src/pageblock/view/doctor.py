"""The doctor's answer on a terminal: the answer first, then the reason, then the map."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.report import Report, Row, ZoneMap
from ..doctor.sizes import size_name

__all__ = ["show"]

_CELLS = {"F": ("█", "green"), "c": ("▓", "cyan"), "m": ("▒", "yellow"), "b": ("░", "red"), "-": (" ", "dim")}

#: Cells of a map on one line.
_LINE = 64


def show(report: Report, console: Console) -> None:
    """Print a report."""
    console.print(_headline(report), soft_wrap=True)
    console.print()
    if report.rows:
        console.print(_answer(report), soft_wrap=True)
        console.print()
        console.print(_table(report))
        for zone_map in report.maps:
            console.print(_map(zone_map, report.page_size))
        console.print("█ free   ▓ at most a quarter moves   ▒ more moves   ░ blocked   (a cell is judged as one range)")
        console.print()
        _show_blockers(report, console)
        _show_cheapest(report, console)
    else:
        _show_bounds(report, console)
    _show_remarks(report, console)


def _headline(report: Report) -> str:
    zones = ", ".join(f"{zone.node}:{zone.name}" for zone in report.zones)
    present = sum(zone.present for zone in report.zones) * report.page_size
    parts = [
        report.source,
        f"Linux {report.kernel}" if report.kernel else "kernel unknown",
        f"{present / (1 << 30):.1f} GiB",
        f"zones {zones}",
        f"pageblock {size_name(1 << report.pageblock_order, report.page_size)}",
        f"max order block {size_name(1 << report.max_order, report.page_size)}",
        f"read {report.seconds_read:.1f} s, judged {report.seconds_judged:.2f} s",
    ]
    if report.confidence is not None:
        parts.append(f"confidence {report.confidence:.0%}")
    return " · ".join(parts)


def _answer(report: Report) -> Text:
    """Yes or no for each size, under the newest release asked for."""
    release = report.releases[-1]
    parts: list[str] = []
    for row in report.rows:
        if row.release != release:
            continue
        name = size_name(row.nr_pages, report.page_size)
        if row.free:
            parts.append(f"YES for {name}, {row.free:,} free now")
        elif row.movable:
            parts.append(
                f"YES for {name} after moving {row.least or 0:,} pages ({_mib(row.least or 0, report.page_size)})"
            )
        elif row.ranges:
            parts.append(f"NO for {name}: all {row.ranges:,} ranges are blocked")
        else:
            parts.append(f"NO for {name}: no zone holds an aligned range")
    return Text(f"Release {release}: " + " · ".join(parts), style="bold")


def _ranges(count: int) -> str:
    return f"{count:,} range" if count == 1 else f"{count:,} ranges"


def _mib(pages: int, page_size: int) -> str:
    return f"{pages * page_size / (1 << 20):,.1f} MiB"


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (
        ("size", "right"),
        ("release", "left"),
        ("ranges", "right"),
        ("free now", "right"),
        ("movable", "right"),
        ("least / median pages", "right"),
        ("total to move", "right"),
        ("blocked", "right"),
        ("more than 5.15", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    last = None
    for row in report.rows:
        table.add_row(
            size_name(row.nr_pages, report.page_size) if row.nr_pages != last else "",
            row.release,
            f"{row.ranges:,}",
            f"{row.free:,}",
            f"{row.movable:,}",
            "–" if row.least is None else f"{row.least:,} / {row.median:,}",
            "–" if row.least is None else _mib(row.total, report.page_size),
            f"{row.blocked:,}",
            "–" if row.more_than_old_rule is None else f"{row.more_than_old_rule:+,}",
        )
        last = row.nr_pages
    return table


def _map(zone_map: ZoneMap, page_size: int) -> Text:
    text = Text(
        f"\n{zone_map.zone}, one cell = {size_name(zone_map.nr_pages, page_size)}, release {zone_map.release}\n"
    )
    for start in range(0, len(zone_map.cells), _LINE):
        text.append("  ")
        for cell in zone_map.cells[start : start + _LINE]:
            text.append(*_CELLS[cell])
        text.append("\n")
    return text


def _last_rows(report: Report) -> list[Row]:
    return [row for row in report.rows if row.release == report.releases[-1]]


def _show_blockers(report: Report, console: Console) -> None:
    for row in _last_rows(report):
        if not row.blocked:
            continue
        console.print(
            Text(
                f"What blocks {size_name(row.nr_pages, report.page_size)} "
                f"(release {row.release}, {_ranges(row.blocked)})",
                style="bold",
            )
        )
        for blocker in row.blockers:
            line = (
                f"  {blocker.reason}: in {_ranges(blocker.ranges)}, the only reason in {blocker.alone:,}; "
                f"e.g. pfn {blocker.example_pfn:#x}"
            )
            if blocker.example_alone is not None:
                start, end = blocker.example_alone
                line += f"; {blocker.alone_by_one_page:,} by one page alone, as [{start:#x}, {end:#x})"
            console.print(line, soft_wrap=True, highlight=False)
    console.print()


def _show_cheapest(report: Report, console: Console) -> None:
    console.print(Text(f"The cheapest ranges (release {report.releases[-1]}): first pfn, pages to move", style="bold"))
    for row in _last_rows(report):
        places = "   ".join(
            f"{r.start_pfn:#x} {r.cost:,}" + (f" (+{r.dropped:,} dropped)" if r.dropped else "") for r in row.cheapest
        )
        console.print(
            f"  {size_name(row.nr_pages, report.page_size):>8}  {places or 'none'}", soft_wrap=True, highlight=False
        )
    console.print()


def _show_bounds(report: Report, console: Console) -> None:
    console.print(
        Text("What every page holds is not known (no kpageflags), so only free memory can be counted:", style="bold")
    )
    for bound in report.bounds:
        name = size_name(bound.nr_pages, report.page_size)
        if bound.free_at_least == bound.free_at_most:
            console.print(f"  {name:>8}  {bound.free_at_least:,} ranges free now", highlight=False)
        else:
            console.print(
                f"  {name:>8}  {bound.free_at_least:,} to {bound.free_at_most:,} ranges free now", highlight=False
            )
    console.print("What is movable, what it costs and what blocks the rest needs /proc/kpageflags: run as root.")
    console.print()


def _show_remarks(report: Report, console: Console) -> None:
    doubts = [remark for remark in report.remarks if remark.certain is None or remark.certain < 1]
    if doubts:
        console.print(Text("What is not certain", style="bold"))
    for remark in doubts:
        sure = "" if remark.certain is None else f" ({remark.certain:.0%} sure)"
        console.print(f"  {remark.topic}: {remark.text}{sure}", soft_wrap=True, highlight=False)
