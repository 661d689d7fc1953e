"""``pageblock capture``."""

import json
from pathlib import Path

import click

from ..machine.capture import capture_machine, redacted
from ..machine.snapshot_file import write_snapshot
from ..output import check_output
from ..view.capture import show, to_json
from ..view.progress import reading_progress
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="capture")
@click.argument("out", metavar="OUT.parquet")
@click.option("--from", "source", metavar="PATH", help="Convert a recorded machine; without it, this machine is read.")
@click.option("--symbols", metavar="VMLINUX", help="Of a kernel dump, where drgn does not find its debug information.")
@click.option("--redact", is_flag=True, help="Leave out command lines and names (docs/snapshot.md says which).")
@click.option("--force", is_flag=True, help="Replace OUT.parquet if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/snapshot.md).")
def command(out: str, source: str | None, symbols: str | None, redact: bool, force: bool, as_json: bool) -> None:
    """One snapshot of a machine in a Parquet file, which every command takes with --from.

    The running machine is read twice, and what changed between the readings is recorded as uncertainty.
    """
    path = Path(out)
    check_output(path, force=force)
    with reading_progress() as progress:
        content = capture_machine(
            Path(source) if source is not None else None,
            progress,
            symbols=Path(symbols) if symbols is not None else None,
        )
    if redact:
        content = redacted(content)
    nr_bytes = write_snapshot(path, content, force=force)
    if as_json:
        click.echo(json.dumps(to_json(path, content, nr_bytes), ensure_ascii=False))
    else:
        show(path, content, nr_bytes, stdout())
