"""``pageblock series``."""

import json
from pathlib import Path

import click

from ..lab.series import series
from ..machine import read_machine
from ..view.progress import page_progress, row_progress
from ..view.series import show, to_json
from ..view.terminal import stdout
from .doctor import recorded_machine

__all__ = ["command"]


@click.command(name="series")
@click.option(
    "--from",
    "source",
    metavar="PATH",
    help="A recorded machine; without it, the machine that the package ships.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/series.md).")
def command(source: str | None, as_json: bool) -> None:
    """What each patch of the seed's series does: turn it off, and see what breaks and what it costs.

    So with each fault of the version that was posted, which is turned on. Exits 0 once it has answered.
    """
    with page_progress("reading kpageflags") as progress:
        snapshot = read_machine(Path(source) if source is not None else recorded_machine(), progress=progress)
    with row_progress("turning switches") as rows:
        found = series(snapshot, rows)
    if as_json:
        click.echo(json.dumps(to_json(found), ensure_ascii=False))
    else:
        show(found, stdout(140))
