"""What ``pageblock run`` prints: how the ranges of each size went, what was refused, what it cost."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.sizes import size_name
from ..lab.run import RunResult
from .watch import sparkline

__all__ = ["FORMAT", "show", "to_json"]

#: Version of the JSON; a change that breaks a reader raises it.
FORMAT = 1

#: Bars of a sparkline.
_BARS = 40


def to_json(done: RunResult) -> dict[str, Any]:
    """The run as plain values; see docs/lab.md."""
    return {
        "format": FORMAT,
        "workload": done.workload,
        "settings": asdict(done.settings),
        "summary": done.summary,
        "series": done.series.to_pylist(),
    }


def show(done: RunResult, console: Console, out: str | None) -> None:
    """Print the run in short."""
    series, s = done.series, done.settings
    last = series.slice(series.num_rows - 1).to_pylist()[0]
    memory = size_name(int(done.summary["total_pages"]), int(done.summary["page_size"]))
    console.print(
        f"{done.workload} · release {s.release} · {memory} · seed {s.seed} · {last['tick']:,} ticks, {_time(last['seconds'])}",
        soft_wrap=True,
        highlight=False,
    )
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("size", "ranges", "free", "movable", "blocked", "median cost"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("can be had, over time", no_wrap=True)
    rows = series.select(["size_bytes", "ranges_free", "ranges_movable"]).to_pylist()
    for i, size in enumerate(last["size_bytes"]):
        had = [row["ranges_free"][i] + row["ranges_movable"][i] for row in rows]
        counts = [f"{last[name][i]:,}" for name in ("ranges", "ranges_free", "ranges_movable", "ranges_blocked")]
        cost = f"{last['median_cost_pages'][i]:,}" if last["ranges_movable"][i] else "–"
        curve = f"{sparkline(_thinned(had))}  {min(had):,} to {max(had):,}"
        table.add_row(size_name(size, 1), *counts, cost, Text(curve))
    console.print(table)
    console.print()
    for line in _lines(done, last):
        console.print(line, soft_wrap=True, highlight=False)
    if out is not None:
        console.print(f"The series is in {out} (docs/lab.md).", soft_wrap=True, highlight=False)


def _lines(done: RunResult, last: dict[str, Any]) -> list[str]:
    """What else there is to say."""
    lines = [
        f"{last['requests']:,} requests, {last['pages_allocated']:,} pages given; {last['pages_reclaimed']:,} reclaimed; "
        f"{last['fallbacks']:,} fallbacks to another type, {last['fallbacks_claimed']:,} of them with the pageblock",
        f"{last['blocked_pageblocks']:,} pageblocks hold pages that cannot move, {last['blocked_by_few']:,} of them 16 at most",
    ]
    refused = [f"{name} {failed:,}" for name, failed in zip(last["actors"], last["failed"], strict=True) if failed]
    if refused:
        lines.append(f"refused for good: {', '.join(refused)}")
    if last["split_huge"]:
        lines.append(f"{last['split_huge']:,} large pages were not to be had and became single ones")
    asked = sum(last[f"cma_{how}"] for how in ("success", "fail_busy", "fail_no_room", "fail_no_memory"))
    if asked:
        lines.append(
            f"cma_alloc: {last['cma_success']:,} of {asked:,} given; busy {last['cma_fail_busy']:,}, "
            f"no room {last['cma_fail_no_room']:,} ({last['cma_fail_fragmented']:,} with pages enough, but in pieces), "
            f"no memory to move to {last['cma_fail_no_memory']:,}"
        )
    asked = last["contig_success"] + last["contig_fail_busy"] + last["contig_fail_other"]
    if asked:
        lines.append(
            f"contiguous ranges: {last['contig_success']:,} of {asked:,} given; busy {last['contig_fail_busy']:,}, "
            f"other {last['contig_fail_other']:,}"
        )
    if last["tries_busy"]:
        lines.append(
            f"-EBUSY {last['tries_busy']:,} times, {last['tries_false_busy']:,} of them for a page outside the range asked for"
        )
    moved = last["pages_moved"] + last["compaction_moved"]
    if moved:
        lines.append(f"{moved:,} pages moved, {last['compaction_moved']:,} of them by compaction")
    return lines


def _thinned(values: list[int]) -> list[int]:
    """At most so many values, evenly over all, the last among them."""
    if len(values) <= _BARS:
        return values
    return [values[i * (len(values) - 1) // (_BARS - 1)] for i in range(_BARS)]


def _time(seconds: float) -> str:
    """Model time in words."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.3g} {unit}"
    return f"{seconds:,.3g} s"
