"""What would help, as the doctor prints it and as JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.remedies import Remedy
from ..doctor.report import Report
from ..doctor.sizes import size_name

__all__ = ["gains", "lost_sizes", "remedies_json", "show_remedies", "toll"]


def remedies_json(remedies: Sequence[Remedy]) -> list[dict[str, Any]]:
    """Each remedy as plain values; see docs/doctor.md."""
    return [{**asdict(remedy), "helps": remedy.helps} for remedy in remedies]


def show_remedies(report: Report, remedies: Sequence[Remedy], console: Console) -> None:
    """Print what helps, then the sizes for which nothing does."""
    if not remedies:
        return
    console.print(
        Text(f"Would help here, predicted by doing it in the model (release {report.releases[-1]})", style="bold")
    )
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column(overflow="fold", ratio=1)
    table.add_column(overflow="fold", ratio=1)
    for i, remedy in enumerate(filter(lambda one: one.helps, remedies), 1):
        what = f"{remedy.title}\n{remedy.command}" if remedy.command else remedy.title
        table.add_row(f"{i}.", Text(what), Text(_yield(remedy, report.page_size)))
    console.print(table)
    for remedy in remedies:
        if not remedy.helps:
            console.print(f"  no range: {remedy.title}", highlight=False)
    for words in lost_sizes(report, remedies):
        console.print(words, soft_wrap=True, highlight=False)
    console.print()


def _yield(remedy: Remedy, page_size: int) -> str:
    """Ranges gained, what it takes, what the risk is."""
    return f"{' · '.join(gains(remedy, page_size))}\n{toll(remedy)}"


def gains(remedy: Remedy, page_size: int) -> list[str]:
    """Ranges gained, a text for each size that gains any."""
    parts: list[str] = []
    for effect in remedy.effects:
        name = size_name(effect.nr_pages, page_size)
        gained = [
            f"{effect.had:+,} to be had" if effect.had else "",
            f"{effect.free:+,} free" if effect.free else "",
        ]
        if any(gained):
            parts.append(f"{name}: {', '.join(filter(None, gained))}")
    return parts


def toll(remedy: Remedy) -> str:
    """What it takes, what the risk is, what the figures leave out."""
    parts = [
        f"moves {remedy.moved:,} pages" if remedy.moved else "",
        f"drops {remedy.freed:,} pages" if remedy.freed else "",
        f"risk: {remedy.risk}",
        remedy.note,
    ]
    return "; ".join(filter(None, parts))


def lost_sizes(report: Report, remedies: Sequence[Remedy]) -> Iterator[str]:
    """Sizes of which no range can be had: whether anything gives one, and what."""
    for row in report.rows:
        if row.release != report.releases[-1] or row.free or row.movable or not row.blocked:
            continue
        helpful = [
            remedy.title.partition(":")[0]
            for remedy in remedies
            if any(effect.nr_pages == row.nr_pages and effect.had > 0 for effect in remedy.effects)
        ]
        name = size_name(row.nr_pages, report.page_size)
        yield (
            f"Nothing gives a range of {name} here but to {helpful[0]}."
            if helpful
            else f"Nothing gives a range of {name} here."
        )
