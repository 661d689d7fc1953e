"""What ``pageblock doctor --why`` prints: the answer, each step of the kernel, and what lies in the way."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.reason_causes import Because
from ..doctor.why import Walk
from ..machine import Snapshot
from .causes_json import because_json

__all__ = ["show", "to_json"]


def to_json(snapshot: Snapshot, walks: Sequence[Walk]) -> dict[str, Any]:
    """The whole answer; see docs/doctor.md."""
    return {
        "source": snapshot.source,
        "kernel": snapshot.kernel,
        "page_size": snapshot.page_size,
        "walks": [_walk(walk) for walk in walks],
        "remarks": [asdict(remark) for remark in snapshot.remarks],
    }


def _walk(walk: Walk) -> dict[str, Any]:
    found = asdict(walk)
    found["cause"] = None if walk.cause is None else because_json(walk.cause)
    for told, one in zip(found["obstacles"], walk.obstacles, strict=True):
        told["cause"] = None if one.cause is None else because_json(one.cause)
    return found


def show(snapshot: Snapshot, walks: Sequence[Walk], console: Console) -> None:
    """Print each walk, then what is not certain."""
    kernel = f"Linux {snapshot.kernel}" if snapshot.kernel else "kernel unknown"
    console.print(f"{snapshot.source} · {kernel}", soft_wrap=True, highlight=False)
    for walk in walks:
        console.print()
        _show_walk(walk, snapshot.page_size, console)
    console.print()
    for remark in snapshot.remarks:
        if remark.topic == "source":
            console.print(Text(f"source: {remark.text}"), soft_wrap=True, highlight=False)


def _show_walk(walk: Walk, page_size: int, console: Console) -> None:
    mib = (walk.end_pfn - walk.start_pfn) * page_size / (1 << 20)
    asked = f"[{walk.start_pfn:#x}, {walk.end_pfn:#x}) {mib:,.4g} MiB of {walk.zone}, {walk.migratetype}, under {walk.release}"
    console.print(Text(f"{asked}: {_answer(walk)}", style="bold"), soft_wrap=True)
    if walk.page:
        inside = walk.start_pfn <= (walk.pfn or 0) < walk.end_pfn
        where = "" if inside else ", outside the request"
        console.print(f"  pfn {walk.pfn:#x}{where}: {walk.page}", soft_wrap=True, highlight=False)
        console.print(f"  {walk.rule}", soft_wrap=True, highlight=False)
    if walk.cause is not None:
        _show_cause(walk.cause, console)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for i, step in enumerate(walk.steps, 1):
        table.add_row(str(i), step.function, Text(step.what))
    console.print()
    console.print(table)
    console.print()
    console.print(
        f"In the range: {walk.free:,} pages free, {walk.move:,} to move, {walk.drop:,} clean file pages to drop, "
        f"{walk.refused:,} that isolation refuses.",
        soft_wrap=True,
        highlight=False,
    )
    said = "" if walk.cause is None else walk.cause.words
    for one in walk.obstacles:
        pages = one.end_pfn - one.start_pfn
        outside = "" if walk.start_pfn <= one.start_pfn < walk.end_pfn else " (outside the range, in its pageblocks)"
        console.print(
            f"  [{one.start_pfn:#x}, {one.end_pfn:#x}) {pages:,} × {one.what}{outside}", soft_wrap=True, highlight=False
        )
        if one.cause is not None and one.cause.words != said:
            said = one.cause.words
            console.print(Text(f"    → {said}", style="dim"), soft_wrap=True, highlight=False)
    if walk.more:
        console.print(f"  and {walk.more:,} stretches more", highlight=False)


def _show_cause(because: Because, console: Console) -> None:
    """The cause with what speaks for and against it, and what would settle it."""
    lines = [("cause", f"{because.words}{'; passes by itself' if because.passes else ''}")]
    lines += [("for", words) for words in because.speaks_for]
    lines += [("against", words) for words in because.against]
    lines += [("settles", words) for words in because.settles]
    for name, words in lines:
        console.print(Text(f"  {name:<8} {words}"), soft_wrap=True, highlight=False)


def _answer(walk: Walk) -> str:
    cost = f"{walk.moved:,} pages moved, {walk.dropped:,} dropped"
    if walk.errno == 0:
        return f"granted, {cost}"
    if walk.errno is None:
        return f"the kernel stops with a BUG in {walk.function}"
    return (
        f"-{walk.errno} by {walk.function}; {cost} for nothing" if walk.moved else f"-{walk.errno} by {walk.function}"
    )
