"""``pageblock watch``."""

import itertools
import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..doctor import Report, diagnose, parse_size
from ..doctor.kernel import nearest_release
from ..doctor.report import DEFAULT_RELEASES
from ..doctor.watch import Round, rounds
from ..machine import read_machine
from ..view import watch as view_watch
from ..view.progress import page_progress
from ..view.terminal import stdout

__all__ = ["command"]

LONGEST = 86400.0


def seconds(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """A pause between two rounds."""
    if not (math.isfinite(value) and 0.1 <= value <= LONGEST):
        raise click.BadParameter(f"{value:g} is not between 0.1 and {LONGEST:.0f} seconds")
    return value


@click.command(name="watch")
@click.option("--from", "source", metavar="PATH", help="Read recorded files again and again; without it, this machine.")
@click.option("--every", type=float, default=10.0, show_default=True, callback=seconds, metavar="SECONDS")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N rounds.")
@click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    help="2M, 64MiB, 1GiB …; several times for several. [default: pageblock, max order block, 64M, 1G]",
)
@click.option(
    "--release",
    "releases",
    metavar="REL",
    multiple=True,
    help="Whose rules; several times for several. [default: those nearest to the machine's kernel]",
)
@click.option("--zone", "zones", metavar="ZONE", multiple=True, help="Normal, 0:Normal …; several times for several.")
@click.option("--jsonl", "--json", "as_json", is_flag=True, help="Print one JSON object a round (docs/doctor.md).")
def command(
    source: str | None,
    every: float,
    count: int | None,
    sizes: tuple[str, ...],
    releases: tuple[str, ...],
    zones: tuple[str, ...],
    as_json: bool,
) -> int:
    """The doctor's counts again and again: what changed, and which blockers came or went.

    Ends with Ctrl-C, and exits 0 then.
    """
    path = Path(source) if source is not None else None

    def look(progress: Callable[[int, int], None] | None = None) -> Report:
        snapshot = read_machine(path, progress=progress)
        own = nearest_release(snapshot.kernel) if snapshot.kernel else None
        wanted = [parse_size(text, snapshot.page_size) for text in sizes]
        return diagnose(snapshot, wanted, releases or (own or DEFAULT_RELEASES[-1],), zones)

    def first_then_again() -> Iterator[Callable[[], Report]]:
        yield lambda: _with_progress(look)
        yield from itertools.repeat(look)

    looks = first_then_again()
    with _ends_on_signal():
        began = time.monotonic()
        found = rounds(lambda: next(looks)())
        # what is wrong with the arguments is said before the screen is taken
        first = next(found)
        each = itertools.chain([first], _paced(found, every, began, count))
        console = stdout()
        if as_json:
            for one in each:
                click.echo(json.dumps(view_watch.to_json(one), ensure_ascii=False))
        elif console.is_terminal:
            with view_watch.Screen(console, every) as screen:
                for one in each:
                    screen.show(one)
        else:
            for one in each:
                click.echo("\n".join(view_watch.lines(one)))
    return 0


def _with_progress(look: Callable[[Callable[[int, int], None] | None], Report]) -> Report:
    """The first look, which has no table above it yet."""
    with page_progress("reading kpageflags") as progress:
        return look(progress)


def _paced(later: Iterator[Round], every: float, began: float, count: int | None) -> Iterator[Round]:
    """The rounds after the first, ``every`` seconds from start to start; one that takes longer is followed at once."""
    due = began
    for _ in itertools.count() if count is None else range(count - 1):
        due = max(due + every, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
        yield next(later)


@contextmanager
def _ends_on_signal() -> Iterator[None]:
    """Ctrl-C and a polite kill end the work inside, as if it were done."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
