"""What ``pageblock doctor --why`` prints: the answer, each step of the kernel, and what lies in the way."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.why import Walk
from ..machine import Snapshot

__all__ = ["show", "to_json"]


def to_json(snapshot: Snapshot, walks: Sequence[Walk]) -> dict[str, Any]:
    """The whole answer; see docs/doctor.md."""
    return {
        "source": snapshot.source,
        "kernel": snapshot.kernel,
        "page_size": snapshot.page_size,
        "walks": [asdict(walk) for walk in walks],
    }


def show(snapshot: Snapshot, walks: Sequence[Walk], console: Console) -> None:
    """Print each walk, then what is not certain."""
    kernel = f"Linux {snapshot.kernel}" if snapshot.kernel else "kernel unknown"
    console.print(f"{snapshot.source} · {kernel}", soft_wrap=True, highlight=False)
    for walk in walks:
        console.print()
        _show_walk(walk, snapshot.page_size, console)
    console.print()
    console.print(
        "Not known from /proc: pins, and the order of the free lists, which decides where pages move to.",
        soft_wrap=True,
        highlight=False,
    )


def _show_walk(walk: Walk, page_size: int, console: Console) -> None:
    mib = (walk.end_pfn - walk.start_pfn) * page_size / (1 << 20)
    asked = f"[{walk.start_pfn:#x}, {walk.end_pfn:#x}) {mib:,.4g} MiB of {walk.zone}, {walk.migratetype}, under {walk.release}"
    console.print(Text(f"{asked}: {_answer(walk)}", style="bold"), soft_wrap=True)
    if walk.page:
        inside = walk.start_pfn <= (walk.pfn or 0) < walk.end_pfn
        where = "" if inside else ", outside the request"
        console.print(f"  pfn {walk.pfn:#x}{where}: {walk.page}", soft_wrap=True, highlight=False)
        console.print(f"  {walk.rule}", soft_wrap=True, highlight=False)
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
    for one in walk.obstacles:
        pages = one.end_pfn - one.start_pfn
        outside = "" if walk.start_pfn <= one.start_pfn < walk.end_pfn else " (outside the range, in its pageblocks)"
        console.print(
            f"  [{one.start_pfn:#x}, {one.end_pfn:#x}) {pages:,} × {one.what}{outside}", soft_wrap=True, highlight=False
        )
    if walk.more:
        console.print(f"  and {walk.more:,} stretches more", highlight=False)


def _answer(walk: Walk) -> str:
    cost = f"{walk.moved:,} pages moved, {walk.dropped:,} dropped"
    if walk.errno == 0:
        return f"granted, {cost}"
    if walk.errno is None:
        return f"the kernel stops with a BUG in {walk.function}"
    return (
        f"-{walk.errno} by {walk.function}; {cost} for nothing" if walk.moved else f"-{walk.errno} by {walk.function}"
    )
