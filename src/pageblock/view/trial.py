"""What ``pageblock try`` prints: the answer, the steps that led to it, and how the releases differ."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..consumers import Step, Trial
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
    for number, step in _ends(trial.steps):
        if step is None:
            table.add_row("…", f"{number:,} more", "", "", "")
            continue
        end = step.start_pfn + step.nr_pages
        why = "; ".join(filter(None, (step.rule, step.note)))
        table.add_row(
            str(number),
            step.function,
            f"[{step.start_pfn:#x}, {end:#x}) {step.nr_pages * page_size / (1 << 20):,.4g} MiB",
            _outcome(step),
            why,
        )
    return table


def _ends(steps: tuple[Step, ...]) -> Iterator[tuple[int, Step | None]]:
    """Number and step; of a long list the middle as (how many, None)."""
    for i, step in enumerate(steps, 1):
        if len(steps) <= 2 * _SHOWN or i <= _SHOWN or i > len(steps) - _SHOWN:
            yield i, step
        elif i == _SHOWN + 1:
            yield len(steps) - 2 * _SHOWN, None


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
