"""What every ``pageblock try`` has in common: the options, the reading, the printing."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ...consumers.dma import early_cma
from ...doctor.kernel import nearest_release
from ...errors import InputError
from ...lab.trial import TRIED_RELEASES, Question, try_releases
from ...machine import Snapshot, read_machine
from ...view.progress import page_progress
from ...view.terminal import stdout
from ...view.trial import show, to_json
from ..doctor import recorded_machine

__all__ = ["MOST", "answer", "block_size_option", "machine_options", "read", "tried_releases", "whole_pages"]

#: Bytes that 52 bits of physical address reach.
MOST = 1 << 52

Command = TypeVar("Command", bound=Callable[..., Any])


def machine_options(command: Command) -> Command:
    """--from, --recorded, --release and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/try.md)."),
        click.option(
            "--release",
            "releases",
            metavar="REL",
            multiple=True,
            help="Whose rules; several times for several: the first answers, the others are compared. "
            f"[default: the one nearest to the machine's kernel, then {', '.join(TRIED_RELEASES)}]",
        ),
        click.option("--recorded", is_flag=True, help="Use the recorded machine that the package ships."),
        click.option("--from", "source", metavar="PATH", help="A recorded machine; without it, this machine."),
    ):
        command = option(command)
    return command


def block_size_option(command: Command) -> Command:
    """--block-size, of memory blocks."""
    return click.option(
        "--block-size",
        metavar="SIZE",
        help="Of a memory block. [default: what this kernel says; of a recorded machine what x86-64 would choose]",
    )(command)


def read(source: str | None, recorded: bool) -> Snapshot:
    """The machine that the options name."""
    if source is not None and recorded:
        raise click.UsageError("--from and --recorded exclude each other")
    path = recorded_machine() if recorded else Path(source) if source is not None else None
    with page_progress("reading kpageflags") as progress:
        return read_machine(path, progress=progress)


def tried_releases(snapshot: Snapshot, releases: Sequence[str]) -> Sequence[str]:
    """Those asked for, or the one nearest to the machine's kernel and then the usual ones; the first answers."""
    if releases:
        return releases
    own = nearest_release(snapshot.kernel) if snapshot.kernel else None
    return [own, *(name for name in TRIED_RELEASES if name != own)] if own else TRIED_RELEASES


def answer(
    snapshot: Snapshot, releases: Sequence[str], question: str, ask: Question, assumptions: Sequence[str], as_json: bool
) -> int:
    """Ask, print, and the exit code: 0 if the first release gives all, else 1."""
    if not releases:
        own = nearest_release(snapshot.kernel) if snapshot.kernel else None
        releases = [own, *(name for name in TRIED_RELEASES if name != own)] if own else TRIED_RELEASES
    known = [remark.text for remark in snapshot.remarks if remark.topic == "source"]
    if snapshot.lists is not None:
        assumptions = [
            line.replace("free lists in pfn order", "free lists as they are in the dump") for line in assumptions
        ]
    tried = try_releases(snapshot, releases, question, ask, [*assumptions, *known])
    if as_json:
        click.echo(json.dumps(to_json(tried), ensure_ascii=False))
    else:
        show(tried, stdout())
    return 0 if tried.answer.had else 1


def whole_pages(option: str, text: str, snapshot: Snapshot) -> int:
    """Whole pages of a size with a suffix."""
    wanted = early_cma(text)
    if wanted.rest or wanted.base or not text[:1].isdigit() or "@" in text:
        raise InputError(f"{option} {text[:80]!r} is not a size: write for example 64K, 2M or 1G")
    if wanted.size > MOST or wanted.size < snapshot.page_size or wanted.size % snapshot.page_size:
        raise InputError(
            f"{option} {text[:80]}: give a multiple of the page of {snapshot.page_size} bytes, at most {MOST >> 40}T"
        )
    return wanted.size // snapshot.page_size
