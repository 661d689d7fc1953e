"""``pageblock import``."""

import json
from pathlib import Path

import click

from ..machine.alloc_events import write_events
from ..machine.trace_import import import_events
from ..output import check_output
from ..view.alloc_events import show, to_json
from ..view.progress import byte_progress
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="import")
@click.argument("trace", metavar="FILE")
@click.argument("out", metavar="OUT.parquet")
@click.option(
    "--page-size", type=click.Choice(["4096", "16384", "65536"]), help="Bytes, of a machine that may have several."
)
@click.option("--force", is_flag=True, help="Replace OUT.parquet if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/traces.md).")
def command(trace: str, out: str, page_size: str | None, force: bool, as_json: bool) -> None:
    """A trace of allocation that others recorded, as pageblock record would have written it.

    FILE is what trace-cmd report, perf script, or the kernel's trace and trace_pipe print (also packed by zstd, gzip or
    xz), or LLFree's 128-bit replay records.
    """
    path = Path(out)
    check_output(path, force=force)
    with byte_progress("reading the trace") as progress:
        events = import_events(Path(trace), page_size=int(page_size) if page_size else None, progress=progress)
    nr_bytes = write_events(path, events, force=force)
    if as_json:
        click.echo(json.dumps(to_json(path, events, nr_bytes), ensure_ascii=False))
    else:
        show(path, events, nr_bytes, stdout())
