"""``pageblock check explore``."""

import json
import math
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ...check.explorer import OPERATIONS, Bounds, Exploration
from ...check.explorer.checkpoint import load, save
from ...check.explorer.explore import Search, finish
from ...check.explorer.promises import promised
from ...check.explorer.trace_out import trace_text
from ...check.search import Broken, first_broken
from ...check.shortest import Menu
from ...errors import InputError
from ...mm import Migratetype
from ...mm import release as find_release
from ...output import check_output, whole_file
from ...view.explore import exploration_json, show_exploration
from ...view.progress import state_progress
from ...view.searched import searched_json, show_searched
from .given import refuse

__all__ = ["command"]

#: Options that a file to go on with decides.
_OF_THE_FILE = (
    "release",
    "held_to",
    "pages",
    "pageblock_order",
    "max_order",
    "operations",
    "types",
    "lengths",
    "requests",
    "isolations",
    "across",
    "plain",
    "fold",
    "jobs",
    "out",
)


#: Options that the search for gigantic pages takes.
_OF_GIGANTIC = {"release", "pages", "pageblock_order", "max_order", "depth", "gigantic", "force", "as_json"}


def _finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Seconds, and not the words that floats have beside numbers."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of seconds", ctx, param)
    return value


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Numbers with commas between."""
    try:
        return tuple(int(word) for word in value.split(",")) if value else ()
    except ValueError:
        raise click.BadParameter(f"{value!r} is no list of numbers like 1,2,4", ctx, param) from None


def _types(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Migratetypes with commas between."""
    found = []
    for word in value.split(","):
        mt = Migratetype.__members__.get(word.strip().upper())
        if mt is None or mt > Migratetype.RECLAIMABLE:
            raise click.BadParameter(f"{word!r} is none of unmovable, movable, reclaimable", ctx, param)
        found.append(int(mt))
    return tuple(found)


@click.command(name="explore")
@click.option("--release", default="6.1", show_default=True, metavar="REL", help="Whose rules.")
@click.option("--held-to", metavar="REL", help="Whose promises. [default: the release's own]")
@click.option("--pages", type=int, default=16, show_default=True, metavar="N", help="Of the zone, 8 to 64.")
@click.option("--pageblock-order", type=int, default=1, show_default=True, metavar="ORDER")
@click.option("--max-order", type=int, default=2, show_default=True, metavar="ORDER", help="Largest block, inclusive.")
@click.option("--depth", type=int, metavar="K", help="Operations of a sequence, at most. [default: no bound]")
@click.option("--requests", type=int, default=2, show_default=True, metavar="N", help="Held at once, at most.")
@click.option("--isolations", type=int, default=1, show_default=True, metavar="N", help="Held at once, at most.")
@click.option(
    "--operations",
    default="alloc,isolate,contig",
    show_default=True,
    metavar="LIST",
    help=f"Of {', '.join(OPERATIONS)}; each with what gives back. cma makes a CMA area.",
)
@click.option(
    "--types", callback=_types, default="unmovable,movable", show_default=True, metavar="LIST", help="Allocated."
)
@click.option(
    "--lengths",
    callback=_numbers,
    metavar="LIST",
    help="Pages of contig ranges. [default: 1, a pageblock, a largest block]",
)
@click.option("--across", is_flag=True, help="Ranges also cross windows, which then are not exchanged.")
@click.option("--plain", is_flag=True, help="Unmovable blocks above order 0 are no compound pages.")
@click.option(
    "--fold/--no-fold", default=True, show_default=True, help="States that differ by an exchange of windows are one."
)
@click.option(
    "--gigantic",
    is_flag=True,
    help="Pages of hugetlb above max order, too: by a plain search in Python, two operations deep by default.",
)
@click.option("--jobs", type=click.IntRange(1, 2), help="Threads. [default: 2, or 1 on one CPU]")
@click.option(
    "--memory",
    type=click.IntRange(64),
    default=4096,
    show_default=True,
    metavar="MIB",
    help="Beyond it the frontier goes to disk.",
)
@click.option(
    "--time", "seconds", type=click.FloatRange(0), callback=_finite, metavar="SECONDS", help="End after this long."
)
@click.option("--out", metavar="FILE", help="Keep all states here, every minute and at the end, to go on with.")
@click.option("--resume", metavar="FILE", help="Go on with what --out kept.")
@click.option("--trace", metavar="FILE", help="Write a sequence that breaks a promise as a trace for pageblock replay.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/check.md).")
@click.pass_context
def command(
    ctx: click.Context,
    release: str,
    held_to: str | None,
    pages: int,
    pageblock_order: int,
    max_order: int,
    depth: int | None,
    requests: int,
    isolations: int,
    operations: str,
    types: tuple[int, ...],
    lengths: tuple[int, ...],
    across: bool,
    plain: bool,
    fold: bool,
    gigantic: bool,
    jobs: int | None,
    memory: int,
    seconds: float | None,
    out: str | None,
    resume: str | None,
    trace: str | None,
    force: bool,
    as_json: bool,
) -> int:
    """Look at every state of a small zone that operations can reach from boot, the shortest sequences first.

    Exits 0 if nothing breaks what the release promises, as far as was looked, 1 with the shortest sequence that does.
    """
    if held_to is None and "+bug-" in release:
        held_to = find_release(release).base
    if gigantic:
        refuse(ctx, lambda name: name not in _OF_GIGANTIC, "--gigantic is a search of its own, which does all there is")
        return _gigantic(release, pages, pageblock_order, max_order, 2 if depth is None else depth, as_json)
    keep = out or resume
    if trace is not None and keep is not None and Path(trace).resolve() == Path(keep).resolve():
        raise InputError(f"{trace}: the trace and all states cannot go to one file: name another for --trace")
    for name in (out, trace):
        if name is not None:
            check_output(Path(name), force=force)
    if resume is not None:
        refuse(ctx, lambda name: name in _OF_THE_FILE, "a file to go on with decides this itself")
        search, ended = load(Path(resume), depth, memory << 20)
        if search.bounds.depth is None and ended == "depth":
            ended = "interrupted"
    else:
        names = tuple(word.strip() for word in operations.split(",") if word.strip())
        bounds = Bounds(
            release,
            pages,
            pageblock_order,
            max_order,
            names,
            types,
            lengths,
            requests,
            isolations,
            depth,
            across,
            plain,
            fold,
            None if held_to is None else promised(find_release(held_to)),
        )
        search = Search(bounds, jobs or min(2, os.cpu_count() or 1), memory << 20)
        search.begin()
    with search:
        done = _run(search, None if keep is None else Path(keep), seconds)
    if trace is not None and done.sequence is not None:
        with whole_file(Path(trace), force=force) as file:
            file.write(trace_text(done.bounds, done.sequence).encode())
    more = done.stopped in ("depth", "memory", "time", "interrupted")
    if as_json:
        click.echo(json.dumps(exploration_json(done)))
    else:
        written = trace if trace is not None and done.sequence is not None else ""
        click.echo(show_exploration(done, written or "", keep if keep is not None and more else ""))
    return 1 if done.broken is not None else 0


def _gigantic(release: str, pages: int, pageblock_order: int, max_order: int, depth: int, as_json: bool) -> int:
    """The plain search, with gigantic pages, all operations and the promises of the release's base."""
    if not 8 <= pages <= 64 or depth < 0:
        raise InputError(f"{pages} pages, depth {depth}: give 8 to 64 pages and a depth of 0 or more")
    find_release(release)
    menu = Menu(pages, pageblock_order, max_order, pages, depth, isolation=True, gigantic=True)
    found = first_broken(release, menu)
    click.echo(json.dumps(searched_json(release, found)) if as_json else show_searched(release, found))
    return 1 if isinstance(found, Broken) else 0


def _run(search: Search, keep: Path | None, seconds: float | None) -> Exploration:
    """Search, keep what was found, and report."""
    began = time.monotonic()
    saved = [began]
    pressed: list[int] = []

    def stopped() -> str:
        if pressed:
            return "interrupted"
        return "time" if seconds is not None and time.monotonic() - began >= seconds else ""

    def save_now_and_then() -> None:
        # a file of gigabytes takes its time: that much at most is spent on it
        if keep is not None and time.monotonic() - saved[0] > 60:
            before = time.monotonic()
            save(search, keep, "interrupted")
            saved[0] = time.monotonic() + 4 * (time.monotonic() - before)

    with state_progress("exploring") as progress, _until_pressed(pressed):
        ended = search.run(stopped, progress, save_now_and_then)
    if keep is not None and ended != "violation":
        save(search, keep, ended)
    return finish(search, ended)


@contextmanager
def _until_pressed(pressed: list[int]) -> Iterator[None]:
    """Ctrl-C ends the search at its next round; pressed again, at once."""

    def note(number: int, frame: Any) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
