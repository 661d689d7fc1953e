"""Progress of long work: a bar on a terminal, silence otherwise."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = [
    "byte_progress",
    "operation_progress",
    "page_progress",
    "reading_progress",
    "recording_progress",
    "row_progress",
    "state_progress",
]


@contextmanager
def _progress(what: str, amount: ProgressColumn) -> Iterator[Callable[[int, int], None] | None]:
    """A function ``progress(done, total)`` that draws on stderr, or None where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def page_progress(what: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Progress counted in pages."""
    return _progress(what, MofNCompleteColumn())


def row_progress(what: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Progress counted in rows of a table."""
    return _progress(what, MofNCompleteColumn())


def operation_progress(what: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Progress counted in operations."""
    return _progress(what, MofNCompleteColumn())


def byte_progress(what: str) -> AbstractContextManager[Callable[[int, int], None] | None]:
    """Progress counted in bytes of a file."""
    return _progress(what, DownloadColumn())


@contextmanager
def recording_progress() -> Iterator[tuple[Callable[[int, int], None], Callable[[int, int], None]]]:
    """Progress of recording, in milliseconds, and then of understanding what was recorded, in pages: one bar after the other."""
    bars = ExitStack()
    shown: dict[str, Callable[[int, int], None] | None] = {}

    def of_stage(what: str, amount: ProgressColumn) -> Callable[[int, int], None]:
        def told(done: int, total: int) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(_progress(what, amount))
            bar = shown[what]
            if bar is not None:
                bar(done, total)

        return told

    try:
        yield of_stage("recording", TimeElapsedColumn()), of_stage("reading the ring buffers", MofNCompleteColumn())
    finally:
        bars.close()


@contextmanager
def state_progress(what: str) -> Iterator[Callable[[int, int, int], None]]:
    """Progress of an exploration: a function ``progress(states, transitions, depth)``, silent where stderr is no terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda states, transitions, depth: None
        return
    with console.status(what) as line:
        yield lambda states, transitions, depth: line.update(
            f"{what}: {states:,} states, {transitions:,} transitions, depth {depth}"
        )


@contextmanager
def reading_progress() -> Iterator[Callable[[int], Callable[[int, int], None] | None]]:
    """For each reading of a machine, by number, its progress in pages."""
    bars = ExitStack()
    try:

        def of_reading(number: int) -> Callable[[int, int], None] | None:
            bars.close()
            return bars.enter_context(page_progress("reading kpageflags" + (" again" if number > 1 else "")))

        yield of_reading
    finally:
        bars.close()
