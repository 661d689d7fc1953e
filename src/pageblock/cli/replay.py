"""``pageblock replay``."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from ..errors import InputError
from ..lab.replay import Replay, replay
from ..mm import release as find_release
from ..view.progress import byte_progress
from ..view.replay import describe
from . import complain

__all__ = ["command"]


@click.command(name="replay")
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...")
@click.option("--release", metavar="REL", help="Whose rules; default: those that each trace's header names.")
@click.option("--until", type=click.IntRange(min=1), metavar="N", help="Stop after N operations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a trace.")
def command(traces: tuple[str, ...], release: str | None, until: int | None, as_json: bool) -> int:
    """Run recorded traces of real kernels on the model and compare every answer.

    Exits 1 if one diverges, 2 if one can't be read.
    """
    if release is not None:
        find_release(release)
    done: list[Replay] = []
    unreadable = 0
    for name in traces:
        try:
            with byte_progress(Path(name).name) as progress:
                result = replay(Path(name), release, until, progress)
        except InputError as error:
            # the other traces are replayed all the same
            complain(error)
            unreadable += 1
            continue
        done.append(result)
        if not as_json:
            click.echo(describe(result))
    if as_json and (done or not unreadable):
        click.echo(json.dumps([asdict(result) for result in done]))
    elif len(done) > 1:
        operations = sum(result.operations for result in done)
        diverged = sum(result.divergence is not None for result in done)
        click.echo(f"{len(done)} traces, {operations:,} operations, {diverged} divergences")
    if unreadable:
        return 2
    return 1 if any(result.divergence for result in done) else 0
