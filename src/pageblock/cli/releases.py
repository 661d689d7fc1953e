"""``pageblock releases``."""

import json

import click

from ..view.releases import show, to_json
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="releases")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/rules.md).")
def command(as_json: bool) -> None:
    """What --release takes: kernel releases, the seed's patches and faults as switches, and bugs to plant.

    Each difference between releases is a row of docs/rules.md.
    """
    if as_json:
        click.echo(json.dumps(to_json(), ensure_ascii=False))
    else:
        show(stdout(120))
