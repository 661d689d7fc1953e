"""What ``pageblock try`` prints: the answer, the steps that led to it, and how the releases differ."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..consumers import Step, Trial
from ..doctor.sizes import size_name
from ..lab.trial import Tried

__all__ = ["show", "to_json"]

#: Steps shown at the beginning and at the end of a long list.
_SHOWN = 12


def to_json(tried: Tried) -> dict[str, Any]:
    """The whole answer; see docs/try.md."""
    return {**asdict(tried), "had": tried.answer.had}


def show(tried: Tried, console: Console) -> None:
    """Print the answer of the first release, its steps, and one line for each release."""
    kernel = f"Linux {tried.kernel}" if tried.kernel else "kernel unknown"
    console.print(f"{tried.source} · {kernel} · {tried.question}", soft_wrap=True, highlight=False)
    for line in tried.assumptions:
        console.print(f"Assumed: {line}", soft_wrap=True, highlight=False)
    console.print()
    first = tried.answer
    console.print(Text(f"{_verdict(first)} under {first.release}: {first.explanation}", style="bold"), soft_wrap=True)
    if first.steps:
        console.print()
        console.print(_steps(first, tried.page_size))
    if len(tried.trials) > 1:
        console.print()
        console.print(_releases(tried))


def _verdict(trial: Trial) -> str:
    word = "YES" if trial.had else "PART" if trial.got else "NO"
    return f"{word}, {trial.got:,} of {trial.asked:,} {trial.unit}"


def _outcome(step: Step) -> str:
    """What came of it; a range that was refused may have been moved in part."""
    at = f" at pfn {step.pfn:#x}" if step.pfn is not None else ""
    word = f"-{step.errno}{at}" if step.errno else f"passed over{at}" if step.rule else "ok"
    moved = [f"moved {step.moved:,}" if step.moved else "", f"dropped {step.dropped:,}" if step.dropped else ""]
    return ", ".join([word, *filter(None, moved)])


def _steps(trial: Trial, page_size: int) -> Table:
    table = Table(title="What was done", title_justify="left", box=None, pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("function")
    table.add_column("range")
    table.add_column("answer")
    table.add_column("why", overflow="fold")
    for row in _ends(_alike(trial.steps)):
        if isinstance(row, int):
            table.add_row("…", f"{row:,} more", "", "", "")
            continue
        number, first, last, count = row
        where = f"[{first.start_pfn:#x}, {last.start_pfn + last.nr_pages:#x}) {size_name(first.nr_pages, page_size)}"
        table.add_row(
            str(number) if count == 1 else f"{number}–{number + count - 1}",
            first.function,
            where if count == 1 else f"{where} each, {count:,} ranges",
            _outcome(first) if count == 1 else f"{_outcome(first)} and so on",
            "; ".join(filter(None, (first.rule, first.note))),
        )
    return table


#: Number of the first step, the first and the last of those alike, how many.
_Row = tuple[int, Step, Step, int]


def _alike(steps: tuple[Step, ...]) -> list[_Row]:
    """Steps, those in a row that ended in the same way without moving anything as one."""
    rows: list[_Row] = []
    for number, step in enumerate(steps, 1):
        if rows:
            begin, first, last, count = rows[-1]
            same = (step.function, step.errno, step.rule, step.note, step.nr_pages) == (
                first.function,
                first.errno,
                first.rule,
                first.note,
                first.nr_pages,
            )
            refused = step.rule and not (step.moved or step.dropped or first.moved or first.dropped)
            if same and refused and step.start_pfn == last.start_pfn + last.nr_pages:
                rows[-1] = (begin, first, step, count + 1)
                continue
        rows.append((number, step, step, 1))
    return rows


def _ends(rows: list[_Row]) -> Iterator[_Row | int]:
    """The rows; of a long list the middle as how many steps it has."""
    if len(rows) <= 2 * _SHOWN:
        yield from rows
        return
    yield from rows[:_SHOWN]
    yield sum(count for _, _, _, count in rows[_SHOWN:-_SHOWN])
    yield from rows[-_SHOWN:]


def _releases(tried: Tried) -> Table:
    table = Table(title="Release by release", title_justify="left", box=None, pad_edge=False)
    for title in ("release", "got", "moved", "why"):
        table.add_column(title, justify="right" if title == "moved" else "left", overflow="fold")
    said: dict[str, str] = {}
    for trial in tried.trials:
        as_before = said.setdefault(trial.explanation, trial.release)
        why = trial.explanation if as_before == trial.release else f"as {as_before}"
        table.add_row(trial.release, f"{trial.got:,} of {trial.asked:,}", f"{trial.moved:,}", why)
    return table
