"""Two settings compared, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..lab.sweep import Same
from ..lab.sweep.curves import Difference, shown

__all__ = ["same_json", "same_text", "show_differences", "to_json"]


def same_json(found: Same) -> dict[str, Any]:
    """Two folders number by number as plain values; see docs/sweep.md."""
    return {"same": found.same, **asdict(found)}


def same_text(found: Same, a: str, b: str) -> str:
    """Two folders number by number, in one line or a few."""
    if found.same:
        return f"the same: {found.runs:,} runs, {found.columns} columns each, samples included"
    lines = ["not the same"]
    if found.differ:
        columns = ", ".join(found.where[:5]) + (" …" if len(found.where) > 5 else "")
        lines.append(f"{found.differ:,} of {found.runs:,} runs differ, the first in {columns}: {found.first}")
    lines += [f"{count:,} runs only in {name}" for count, name in ((found.only_a, a), (found.only_b, b)) if count]
    return "\n".join(lines)


def to_json(found: Sequence[Difference]) -> list[dict[str, Any]]:
    """Each difference as plain values; see docs/sweep.md."""
    return [asdict(one) for one in found]


def show_differences(found: Sequence[Difference], name: str, console: Console) -> None:
    """Print a row a value, and when the two part."""
    first = found[0]
    a, b = (f"{first.by} {shown(first.by, value)}" for value in (first.a, first.b))
    console.print(Text(f"{name}: {b} against {a}, {first.pairs} pairs of runs with the same seed", style="bold"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("at the end")
    for head in (a, b, "difference", "95 % interval"):
        table.add_column(head, justify="right")
    for one in found:
        sure = "" if one.low is None or one.high is None or one.low <= 0 <= one.high else " *"
        numbers = (f"{one.mean_a:,.6g}", f"{one.mean_b:,.6g}", f"{one.difference:+,.6g}{sure}")
        known = one.low is not None and one.high is not None
        table.add_row(one.value, *numbers, f"{one.low:+,.6g} … {one.high:+,.6g}" if known else "– (one pair)")
    console.print(table)
    if first.first_tick is None:
        console.print("No pair parts: every sample is the same.")
        return
    console.print(
        f"{first.parted} of {first.pairs} pairs part, the first at tick {first.first_tick:,}, half of them by tick "
        f"{first.median_tick:,.0f}.  * the interval leaves out 0"
    )
