"""What every ``pageblock try`` has in common: the options, the reading, the printing."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from ...doctor.kernel import nearest_release
from ...lab.trial import TRIED_RELEASES, Question, try_releases
from ...machine import Snapshot, read_machine
from ...view.progress import page_progress
from ...view.terminal import stdout
from ...view.trial import show, to_json
from ..doctor import recorded_machine

__all__ = ["answer", "machine_options", "read"]

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


def read(source: str | None, recorded: bool) -> Snapshot:
    """The machine that the options name."""
    if source is not None and recorded:
        raise click.UsageError("--from and --recorded exclude each other")
    path = recorded_machine() if recorded else Path(source) if source is not None else None
    with page_progress("reading kpageflags") as progress:
        return read_machine(path, progress=progress)


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
