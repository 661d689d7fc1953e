"""The doctor's answer on a terminal: the answer first, then the reason, then the map."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.anywhere import Anywhere
from ..doctor.causes import Certainty
from ..doctor.reason_causes import CauseGroup
from ..doctor.remedies import Remedy
from ..doctor.report import Blocker, Report, Row, ZoneMap
from ..doctor.sizes import size_name
from ..errors import printable
from .anywhere import show_anywhere
from .areas import show_areas
from .counts import show_counts
from .remedies import show_remedies

__all__ = ["UNINITIALISED_COLUMN", "answer", "cause_line", "headline", "percent", "row_cells", "show"]

_CELLS = {
    "F": ("█", "green"),
    "c": ("▓", "cyan"),
    "m": ("▒", "yellow"),
    "b": ("░", "red"),
    "u": ("·", "blue"),
    "-": (" ", "dim"),
}

#: Cells of a map on one line; half of them on a narrow terminal.
_LINE = 64

#: Columns of the table: title, short title, and what is left out first on a narrow terminal (0: never).
_COLUMNS = (
    ("size", "size", 0),
    ("release", "rel.", 0),
    ("ranges", "ranges", 3),
    ("free now", "free", 0),
    ("movable", "mov.", 0),
    ("least / median pages", "least/med.", 4),
    ("total to move", "total", 1),
    ("blocked", "block.", 0),
    ("uninitialised", "uninit.", 0),
    ("more than 5.15", "+5.15", 2),
)
#: Which of them is left out where nothing is uninitialised.
UNINITIALISED_COLUMN = 8


def show(report: Report, console: Console, remedies: Sequence[Remedy] = (), elsewhere: Sequence[Anywhere] = ()) -> None:
    """Print a report, what would help, and what could be had at other alignments."""
    console.print(" · ".join([report.source, *headline(report)]), soft_wrap=True, highlight=False)
    console.print()
    if report.rows:
        console.print(_answers(report), soft_wrap=True)
        if report.rules is not None:
            console.print(f"{report.rules[0].upper()}{report.rules[1:]}.", soft_wrap=True, highlight=False)
        console.print()
        console.print(_table(report, console))
        for zone_map in report.maps:
            console.print(_map(zone_map, report.page_size, _LINE if console.width > _LINE + 2 else _LINE // 2))
        legend = "█ free   ▓ at most a quarter moves   ▒ more moves   ░ blocked   "
        if any("u" in zone_map.cells for zone_map in report.maps):
            legend += "· not initialised yet   "
        console.print(f"{legend}(a cell is judged as one range)", highlight=False)
        console.print()
        _show_blockers(report, console)
        show_areas(report, console)
        show_anywhere(elsewhere, report.page_size, console)
        show_remedies(report, remedies, console)
        _show_cheapest(report, console)
    else:
        show_counts(report, console)
    _show_remarks(report, console)


def headline(report: Report) -> list[str]:
    """Facts of the machine and of the reading, each a few words."""
    zones = ", ".join(f"{zone.node}:{zone.name}" for zone in report.zones)
    present = sum(zone.present for zone in report.zones) * report.page_size
    later = sum(end - start for zone in report.zones for start, end in zone.uninitialised) * report.page_size
    parts = [
        f"Linux {printable(report.kernel)}" if report.kernel else "kernel unknown",
        f"{present / (1 << 30):.1f} GiB" + (f", {later / (1 << 30):.1f} of them not initialised yet" if later else ""),
        f"zones {zones}",
        f"pageblock {size_name(1 << report.pageblock_order, report.page_size)}",
        f"max order block {size_name(1 << report.max_order, report.page_size)}",
        f"read {report.seconds_read:.1f} s, judged {report.seconds_judged:.2f} s",
    ]
    if report.confidence is not None:
        parts.append(f"confidence {percent(report.confidence)}")
    return parts


def percent(share: float) -> str:
    """A share of certainty; 100 % only where nothing is in doubt."""
    return "100%" if share == 1 else f"{min(share, 0.999):.1%}"


def answer(row: Row, page_size: int) -> tuple[bool, str]:
    """Whether a range of the row's size can be had, and how or why not."""
    if row.free:
        return True, f"{row.free:,} free now"
    if row.movable:
        return True, f"after moving {row.least or 0:,} pages ({_mib(row.least or 0, page_size)})"
    if row.ranges:
        return False, f"all {row.ranges:,} ranges are blocked"
    if row.uninitialised:
        return False, f"the memory of all {row.uninitialised:,} ranges is not initialised yet"
    return False, "no zone holds an aligned range"


def _answers(report: Report) -> Text:
    """Yes or no for each size, under the newest release asked for."""
    release = report.releases[-1]
    parts: list[str] = []
    for row in report.rows:
        if row.release == release:
            yes, how = answer(row, report.page_size)
            name = size_name(row.nr_pages, report.page_size)
            parts.append(f"YES for {name}{', ' if row.free else ' '}{how}" if yes else f"NO for {name}: {how}")
    return Text(f"Release {release}: " + " · ".join(parts), style="bold")


def _ranges(count: int) -> str:
    return f"{count:,} range" if count == 1 else f"{count:,} ranges"


def _mib(pages: int, page_size: int) -> str:
    return f"{pages * page_size / (1 << 20):,.1f} MiB"


def _table(report: Report, console: Console) -> Table:
    """The rows, with short titles and fewer columns where the terminal is too narrow for all."""
    shown = [
        i for i in range(len(_COLUMNS)) if i != UNINITIALISED_COLUMN or any(row.uninitialised for row in report.rows)
    ]
    table = _table_of(report, shown, False)
    leave_out = sorted((i for i in shown if _COLUMNS[i][2]), key=lambda i: _COLUMNS[i][2])
    unbounded = console.options.update_width(1000)
    while console.measure(table, options=unbounded).maximum > console.width:
        if table.columns[1].header == _COLUMNS[1][0]:
            table = _table_of(report, shown, True)
        elif leave_out:
            shown.remove(leave_out.pop(0))
            table = _table_of(report, shown, True)
        else:
            break
    return table


def row_cells(row: Row, page_size: int, with_size: bool) -> tuple[str, ...]:
    """A row of the table of every size and release, one text a column."""
    return (
        size_name(row.nr_pages, page_size) if with_size else "",
        row.release,
        f"{row.ranges:,}",
        f"{row.free:,}",
        f"{row.movable:,}",
        "–" if row.least is None else f"{row.least:,} / {row.median:,}",
        "–" if row.least is None else _mib(row.total, page_size),
        f"{row.blocked:,}",
        f"{row.uninitialised:,}",
        "–" if row.more_than_old_rule is None else f"{row.more_than_old_rule:+,}",
    )


def _table_of(report: Report, shown: list[int], short: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i in shown:
        title, short_title, _ = _COLUMNS[i]
        table.add_column(short_title if short else title, justify="left" if i == 1 else "right", no_wrap=True)
    last = None
    for row in report.rows:
        cells = row_cells(row, report.page_size, row.nr_pages != last)
        table.add_row(*(cells[i] for i in shown))
        last = row.nr_pages
    return table


def _map(zone_map: ZoneMap, page_size: int, line: int) -> Text:
    text = Text(
        f"\n{zone_map.zone}, one cell = {size_name(zone_map.nr_pages, page_size)}, release {zone_map.release}\n"
    )
    for start in range(0, len(zone_map.cells), line):
        text.append("  ")
        for cell in zone_map.cells[start : start + line]:
            text.append(*_CELLS[cell])
        text.append("\n")
    return text


def _last_rows(report: Report) -> list[Row]:
    return [row for row in report.rows if row.release == report.releases[-1]]


def _show_blockers(report: Report, console: Console) -> None:
    """Each reason with an example, below it the cause; what would settle a cause is said once."""
    told: set[str] = set()
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
        left = {blocker.reason: blocker for blocker in row.blockers}
        for group in row.causes:
            for reason in group.reasons:
                if reason in left:
                    _show_blocker(left.pop(reason), console)
            if group.because is not None:
                console.print(Text(f"    → {cause_line(group, told)}", style="dim"), soft_wrap=True, highlight=False)
    console.print()


def cause_line(group: CauseGroup, told: set[str]) -> str:
    """How sure, which cause, in how many ranges where its reasons do not say so; what would settle it, if not ``told`` yet."""
    because = group.because
    assert because is not None
    # where the reason says it already, only how sure it is
    words = because.certainty.value if group.reasons == (because.title,) and not because.or_else else because.words
    if len(group.reasons) > 1 or group.kinds:
        words += f"; in {_ranges(group.ranges)}, the only cause in {group.alone:,}"
    if group.kinds and because.speaks_for:
        words += f"; {because.speaks_for[0]}"
    if because.passes:
        words += "; passes by itself"
    if because.settles and because.cause not in told:
        told.add(because.cause)
        more = "Would settle it" if because.certainty is not Certainty.CERTAIN else "To know more"
        words += f". {more}: {'; '.join(because.settles)}"
    return words


def _show_blocker(blocker: Blocker, console: Console) -> None:
    line = (
        f"  {blocker.reason}: in {_ranges(blocker.ranges)}, the only reason in {blocker.alone:,}; "
        f"e.g. pfn {blocker.example_pfn:#x}"
    )
    if blocker.example_owner is not None:
        line += f" of {blocker.example_owner}"
    if blocker.example_alone is not None:
        start, end = blocker.example_alone
        line += f"; {blocker.alone_by_one_page:,} by one page alone, as [{start:#x}, {end:#x})"
    console.print(line, soft_wrap=True, highlight=False, markup=False)
    if blocker.holders:
        most = ", ".join(f"{holder.name} in {_ranges(holder.ranges)}" for holder in blocker.holders)
        console.print(Text(f"    allocated by {most}"), soft_wrap=True, highlight=False)


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


def _show_remarks(report: Report, console: Console) -> None:
    doubts = [remark for remark in report.remarks if remark.certain is None or remark.certain < 1]
    if doubts:
        console.print(Text("What is not certain", style="bold"))
    for remark in doubts:
        sure = "" if remark.certain is None else f" ({percent(remark.certain)} sure)"
        console.print(f"  {remark.topic}: {remark.text}{sure}", soft_wrap=True, highlight=False)
