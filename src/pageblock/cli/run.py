"""``pageblock run``."""

import json
from pathlib import Path

import click

from ..errors import InputError
from ..lab.run import RunResult, Settings, run
from ..lab.series_file import write_series
from ..lab.workload import SHIPPED, Amount, Workload, load_workload
from ..machine import read_machine
from ..mm import release as find_release
from ..output import check_output
from ..view.progress import page_progress, row_progress
from ..view.run import show, to_json
from ..view.terminal import stdout

__all__ = ["command"]

#: Keys of --geometry, with the setting that each is.
GEOMETRY = {"max-order": "max_order", "pageblock-order": "pageblock_order", "page-size": "page_size"}


@click.command(name="run")
@click.argument("workload", metavar="WORKLOAD")
@click.option("--release", metavar="REL", default="6.1", show_default=True, help="Whose rules.")
@click.option(
    "--geometry",
    metavar="KEY=N,...",
    help="max-order, pageblock-order and page-size of the machine, for example max-order=10,pageblock-order=9 (the default).",
)
@click.option("--memory", metavar="SIZE", help="Memory of the machine; default: 1G.")
@click.option("--cma", metavar="SIZE", help="A CMA area, as with cma=SIZE on the kernel's command line.")
@click.option("--reserved", metavar="SIZE", help="Memory at the end that the allocator never gets.")
@click.option(
    "--from", "source", metavar="PATH", help="Begin with a recorded machine; default: one that comes out of boot."
)
@click.option(
    "--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True, help="Of all that is random."
)
@click.option(
    "--ticks", type=click.IntRange(1, 1 << 40), metavar="N", help="Length, in ticks of model time; default: 500."
)
@click.option("--for", "duration", metavar="TIME", help="Length in model time: 90s, 30m, 12h, 7d.")
@click.option(
    "--every", type=click.IntRange(1, 1 << 40), metavar="N", help="Ticks between samples; default: a hundredth."
)
@click.option("--size", "sizes", metavar="SIZE", multiple=True, help="Judge ranges of this size; may be given again.")
@click.option("--out", metavar="FILE", help="Write the series to a Parquet file (docs/lab.md).")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/lab.md).")
def command(
    workload: str,
    release: str,
    geometry: str | None,
    memory: str | None,
    cma: str | None,
    reserved: str | None,
    source: str | None,
    seed: int,
    ticks: int | None,
    duration: str | None,
    every: int | None,
    sizes: tuple[str, ...],
    out: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Run a workload on a modelled machine, and tell what becomes of its contiguous memory.

    WORKLOAD is one that is shipped, a TOML file (docs/lab.md), or a recorded trace.
    """
    if out is not None:
        check_output(Path(out), force=force)
    find_release(release)
    loaded, length = load_any(workload)
    if ticks is not None and duration is not None:
        raise InputError("--ticks and --for both say how long: give one")
    if source is not None and (memory is not None or geometry is not None or reserved is not None):
        raise InputError("--from brings memory and geometry of its own: leave out --memory, --geometry and --reserved")
    if duration is not None:
        ticks = max(1, round(seconds_of(duration) / loaded.tick_seconds))
    ticks = ticks or length or 500
    settings = Settings(
        release=release,
        memory_bytes=Amount.bytes_of(memory) if memory is not None else 1 << 30,
        cma_bytes=Amount.bytes_of(cma) if cma is not None else 0,
        reserved_bytes=Amount.bytes_of(reserved) if reserved is not None else 0,
        seed=seed,
        ticks=ticks,
        sample_every=every or max(1, ticks // 100),
        size_bytes=tuple(Amount.bytes_of(size) for size in sizes),
        **geometry_of(geometry),
    )
    start = None
    if source is not None:
        with page_progress("reading kpageflags") as reading:
            start = read_machine(Path(source), progress=reading)
    with row_progress("running") as progress:
        done = run(loaded, settings, start, progress)
    if out is not None:
        write_series(Path(out), done, force=force)
    report(done, as_json, out)


def report(done: RunResult, as_json: bool, out: str | None) -> None:
    """Print the run."""
    if as_json:
        click.echo(json.dumps(to_json(done), ensure_ascii=False))
    else:
        show(done, stdout(120), out)


def load_any(name: str) -> tuple[Workload, int | None]:
    """A workload by name or from a file, or a recorded trace as one, and the ticks that a trace has."""
    path = Path(name)
    if name in SHIPPED or path.suffix == ".toml" or not path.is_file():
        return load_workload(name), None
    from ..lab.traced import load_trace

    return load_trace(path)


def geometry_of(text: str | None) -> dict[str, int]:
    """The settings of ``max-order=10,pageblock-order=9,page-size=4K``."""
    found: dict[str, int] = {}
    for part in text.split(",") if text else ():
        key, _, value = part.strip().partition("=")
        if key not in GEOMETRY:
            raise InputError(f"--geometry has {part.strip()[:60]!r}: write KEY=N with a key of {', '.join(GEOMETRY)}")
        if key != "page-size" and not (value.isascii() and value.isdecimal() and len(value) < 4):
            raise InputError(f"--geometry has {key} {value[:20]!r}: give a whole number")
        found[GEOMETRY[key]] = Amount.bytes_of(value) if key == "page-size" else int(value)
    return found


def seconds_of(text: str) -> float:
    """Seconds of ``90s``, ``30m``, ``12h`` or ``7d``; a number alone is seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        value = float(number) if number.isascii() else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value < 1e12:
        raise InputError(f"--for {text[:40]!r} is no time: write for example 90s, 30m, 12h or 7d")
    return value * units[unit]
