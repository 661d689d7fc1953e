"""``pageblock sweep``."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from ..errors import InputError
from ..view.progress import row_progress

__all__ = ["command"]


@click.command(name="sweep")
@click.argument("sweep", metavar="SWEEP.toml")
@click.option("--out", metavar="DIR", required=True, help="Folder for the results, one Parquet file a batch.")
@click.option("--jobs", type=click.IntRange(1, 4096), metavar="N", help="Runs at a time; default: one a processor.")
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="A Dask scheduler (tcp://HOST:PORT) or a Ray cluster (ray:HOST:PORT); default: this machine.",
)
@click.option("--resume", is_flag=True, help="Do what is missing in DIR.")
@click.option("--batch", type=click.IntRange(1, 100_000), metavar="N", help="Runs in one file; default: chosen.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/sweep.md).")
def command(
    sweep: str, out: str, jobs: int | None, cluster: str | None, resume: bool, batch: int | None, as_json: bool
) -> None:
    """Run a workload on many machines: a grid or a random sample of settings, each from several seeds."""
    from ..lab.sweep import carry_out, load_sweep
    from ..lab.sweep.results import finished

    plan = load_sweep(Path(sweep))
    folder = Path(out)
    try:
        with row_progress("running") as progress:
            done = carry_out(plan, folder, jobs or 0, cluster, resume=resume, batch=batch or 0, progress=progress)
    except KeyboardInterrupt:
        count = len(finished(folder) & {run.id for run in plan.runs})
        raise InputError(
            f"interrupted: {count} of {len(plan.runs)} runs are in {folder}; go on with --resume"
        ) from None
    if as_json:
        click.echo(
            json.dumps({"name": plan.name, "out": out, "varied": plan.varied, **asdict(done)}, ensure_ascii=False)
        )
        return
    share = done.busy_seconds / done.seconds / done.jobs if done.jobs and done.seconds else 0.0
    click.echo(f"{plan.name}: {done.total:,} runs, {done.here:,} of them now, in {done.seconds:.1f} s")
    if done.here:
        died = f"; workers died {done.deaths} times, and what they had was done again" if done.deaths else ""
        click.echo(f"{done.jobs} at a time, {share:.1%} of the time in the model{died}")
    click.echo(f"results in {folder}: pageblock plot {folder}")
