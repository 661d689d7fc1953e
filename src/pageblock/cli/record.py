"""``pageblock record``."""

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from ..machine.alloc_events import write_events
from ..machine.record import BUFFER_KIB, record
from ..output import check_output
from ..view.alloc_events import show, to_json
from ..view.progress import recording_progress
from ..view.terminal import stdout

__all__ = ["command"]

LONGEST = 86400.0


def seconds(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """How long to record."""
    if not (math.isfinite(value) and 0 < value <= LONGEST):
        raise click.BadParameter(f"{value:g} is not between 0 and {LONGEST:.0f} seconds")
    return value


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """A polite kill, or a terminal that goes away, is like Ctrl-C: what was set before is set again."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@click.command(name="record")
@click.argument("out", metavar="OUT.parquet")
@click.option("--seconds", type=float, required=True, callback=seconds, metavar="N", help="How long to record.")
@click.option(
    "--buffer",
    "buffer_mib",
    type=click.IntRange(1, 1 << 20),
    default=BUFFER_KIB >> 10,
    show_default=True,
    metavar="MIB",
    help="Room in the kernel for each CPU, if events are lost.",
)
@click.option("--force", is_flag=True, help="Replace OUT.parquet if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/traces.md).")
def command(out: str, seconds: float, buffer_mib: int, force: bool, as_json: bool) -> None:
    """What this machine allocates and frees, page by page, in a Parquet file: the kernel's own tracepoints, as root.

    Tracing is as it was before when this ends, also by Ctrl-C, which writes nothing.
    """
    path = Path(out)
    check_output(path, force=force)
    with _interrupted_by_signals(), recording_progress() as (recording, decoding):
        events = record(
            seconds, path.absolute().parent, buffer_kib=buffer_mib << 10, recording=recording, decoding=decoding
        )
        nr_bytes = write_events(path, events, force=force)
    if as_json:
        click.echo(json.dumps(to_json(path, events, nr_bytes), ensure_ascii=False))
    else:
        show(path, events, nr_bytes, stdout())
