"""What ``pageblock score`` prints: how often the verdicts were right, and each one that was not."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..doctor.score import Differs, Score
from ..doctor.sizes import size_name

__all__ = ["show", "to_json"]


def to_json(found: Score) -> dict[str, Any]:
    """The whole answer; see docs/score.md."""
    plain = asdict(found)
    for size, row in zip(found.sizes, plain["sizes"], strict=True):
        row["ranges"] = size.ranges
        row["table"] = [
            {"verdict": verdict, "errno": errno, "ranges": count} for (verdict, errno), count in size.table.items()
        ]
    return {**plain, "wrong": len(found.wrong)}


def show(found: Score, page_size: int, console: Console) -> None:
    """Print the table, then what differs."""
    kernel = f"Linux {found.kernel}" if found.kernel else "kernel unknown"
    console.print(
        f"{found.source} · {kernel} · judged by the rules of {found.release}", soft_wrap=True, highlight=False
    )
    console.print()
    differs = [one for size in found.sizes for one in size.differs]
    ranges = sum(size.ranges for size in found.sizes)
    wrong = len(found.wrong)
    verdict = f"{ranges - len(differs):,} of {ranges:,} ranges as the kernel answered; {len(differs):,} differ, "
    verdict += f"{wrong:,} of them given as certain" if wrong else "none of them given as certain"
    console.print(Text(verdict, style="bold"))
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("size", "ranges", "judged", "kernel: had", "kernel: refused", "not certain", "not asked (holes)"):
        table.add_column(title, justify="left" if title == "judged" else "right")
    for size in found.sizes:
        rows = list(dict.fromkeys(word for word, _ in size.table))
        for nth, word in enumerate(rows):
            had = size.table.get((word, 0), 0)
            refused = sum(count for (judged, errno), count in size.table.items() if judged == word and errno)
            first = nth == 0
            table.add_row(
                size_name(size.nr_pages, page_size) if first else "",
                f"{size.ranges:,}" if first else "",
                word,
                f"{had:,}",
                f"{refused:,}",
                f"{size.doubted:,}" if first else "",
                f"{size.holes:,}" if first else "",
            )
    console.print(table)
    missed = sum(size.not_judged for size in found.sizes)
    if missed:
        console.print(f"{missed:,} ranges that the kernel was asked for lie in no zone here.", highlight=False)
    if differs:
        console.print()
        console.print(Text("What differs", style="bold"))
    for one in differs:
        console.print(f"  {_line(one, page_size)}", soft_wrap=True, highlight=False)


def _line(one: Differs, page_size: int) -> str:
    answer = "had" if one.errno == 0 else f"refused with -{one.errno}"
    reasons = f" ({'; '.join(one.reasons)})" if one.reasons else ""
    doubt = one.doubt or "given as certain"
    where = f"[{one.start_pfn:#x}, {one.start_pfn + one.nr_pages:#x}) {size_name(one.nr_pages, page_size)}"
    return f"{where}: judged {one.verdict}{reasons}, {answer}: {doubt}"
