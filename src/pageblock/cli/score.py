"""``pageblock score``."""

import json
from pathlib import Path

import click

from ..doctor.score import score
from ..machine import read_machine
from ..machine.truth import read_truth
from ..view.progress import page_progress
from ..view.score import show, to_json
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="score")
@click.argument("folder", metavar="DIR")
@click.option("--release", metavar="REL", help="Whose rules. [default: those nearest to the machine's kernel]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/score.md).")
def command(folder: str, release: str | None, as_json: bool) -> int:
    """Judge a recorded machine from its /proc files, and compare with what its own kernel answered (truth_*.txt).

    Exits 1 only where a verdict that was given as certain was wrong.
    """
    path = Path(folder)
    truth = read_truth(path)
    with page_progress("reading kpageflags") as progress:
        snapshot = read_machine(path, progress=progress)
    found = score(snapshot, truth, release)
    if as_json:
        click.echo(json.dumps(to_json(found), ensure_ascii=False))
    else:
        show(found, snapshot.page_size, stdout())
    return 1 if found.wrong else 0
