"""``pageblock fit``."""

import json
from pathlib import Path

import click

from ..doctor.kernel import nearest_release
from ..lab.fit import fit
from ..lab.workload import Amount, to_toml
from ..machine import read_machine
from ..mm import release as find_release
from ..output import check_output, whole_file
from ..view.fit import show, to_json
from ..view.progress import page_progress, row_progress
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="fit")
@click.argument("machine", metavar="DIR")
@click.option("--release", metavar="REL", help="Whose rules; default: those nearest to the machine's kernel, else 6.1.")
@click.option(
    "--ticks", type=click.IntRange(1, 1 << 30), metavar="N", default=80, show_default=True, help="Length of each run."
)
@click.option(
    "--trials",
    type=click.IntRange(10, 1 << 30),
    metavar="N",
    default=600,
    show_default=True,
    help="Models that are run.",
)
@click.option("--memory", metavar="SIZE", default="128M", show_default=True, help="Size of the models in the search.")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True, help="Of the search.")
@click.option(
    "--held-back",
    "held_back",
    metavar="DIR",
    multiple=True,
    help="Measure the result on this machine, too; may be repeated.",
)
@click.option("--out", metavar="FILE", help="Write the workload as TOML, for pageblock run.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/lab.md).")
def command(
    machine: str,
    release: str | None,
    ticks: int,
    trials: int,
    memory: str,
    seed: int,
    held_back: tuple[str, ...],
    out: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Find a workload that leaves behind the free lists and pageblock types of a recorded machine, and say how near it comes.

    DIR is what the other commands take with --from; it needs pagetypeinfo.
    """
    if out is not None:
        check_output(Path(out), force=force)
    if release is not None:
        find_release(release)
    with page_progress("reading kpageflags") as reading:
        snapshot = read_machine(Path(machine), progress=reading)
    others = [read_machine(Path(other)) for other in held_back]
    name = Path(out).stem if out is not None else "fitted"
    with row_progress("trying workloads") as progress:
        found = fit(
            snapshot,
            release=release or (nearest_release(snapshot.kernel) if snapshot.kernel else None) or "6.1",
            ticks=ticks,
            trials=trials,
            memory_bytes=Amount.bytes_of(memory),
            seed=seed,
            name=name,
            held_back=others,
            progress=progress,
        )
    if out is not None:
        with whole_file(Path(out), force=force) as file:
            file.write(to_toml(found.workload).encode())
    if as_json:
        click.echo(json.dumps(to_json(found), ensure_ascii=False))
    else:
        show(found, stdout(120), out)
