"""``pageblock export``."""

import json
from pathlib import Path

import click

from ..doctor.kernel import nearest_release
from ..errors import InputError
from ..lab.alloc_trace import AllocationTrace
from ..lab.timeline import SAMPLES, Timeline, is_run_file, replay_timeline, run_timeline, trace_timeline
from ..machine.alloc_events import is_events_file
from ..mm import release as find_release
from ..output import check_output, whole_file
from ..view.perfetto import to_perfetto
from ..view.progress import byte_progress, row_progress

__all__ = ["command"]

PARQUET = b"PAR1"


@click.command(name="export")
@click.argument("run", metavar="RUN")
@click.argument("out", metavar="OUT.perfetto-trace")
@click.option(
    "--release",
    metavar="REL",
    help="Whose rules. [default: those nearest to the recorded kernel, 6.1 where it is not known]",
)
@click.option(
    "--samples",
    type=click.IntRange(2, 1_000_000),
    default=SAMPLES,
    show_default=True,
    metavar="N",
    help="How often the counters are taken.",
)
@click.option("--force", is_flag=True, help="Replace OUT.perfetto-trace if it is there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/traces.md).")
def command(run: str, out: str, release: str | None, samples: int, force: bool, as_json: bool) -> None:
    """A run as a timeline for ui.perfetto.dev: free blocks of each order and type, and each contiguous range that was tried.

    RUN is what pageblock run --out wrote; a trace of pageblock record or import, which is run on the model for this; or a
    recorded kernel's trace, as pageblock replay takes it.
    """
    path = Path(out)
    check_output(path, force=force)
    if release is not None:
        find_release(release)
    timeline = timeline_of(Path(run), release, samples)
    content = to_perfetto(timeline)
    with whole_file(path, force=force, private=True) as file:
        file.write(content)
    told = {
        "file": str(path),
        "bytes": len(content),
        "counters": len(timeline.counters),
        "slices": len(timeline.slices),
        **timeline.about,
    }
    if as_json:
        click.echo(json.dumps(told, ensure_ascii=False))
    else:
        click.echo(
            f"{path}: {len(content) / 1024:,.1f} KiB · {len(timeline.counters)} counters, {len(timeline.slices)} slices"
            f" · release {timeline.about['release']} · open it at https://ui.perfetto.dev"
        )


def timeline_of(run: Path, release: str | None, samples: int) -> Timeline:
    """The timeline of whatever a file holds. Raises InputError where that has none."""
    try:
        with run.open("rb") as file:
            first = file.read(4)
    except OSError as error:
        raise InputError(f"{run}: {error.strerror}; name a trace or a run") from error
    if first != PARQUET:
        try:
            with byte_progress(run.name) as bytes_read:
                return replay_timeline(run, release, samples, bytes_read)
        except InputError as error:
            raise InputError(
                f"{error} (a trace of trace-cmd, perf, ftrace or LLFree goes through pageblock import first)"
            ) from error
    if is_events_file(run):
        with row_progress("running the trace") as operations:
            trace = AllocationTrace.read(run)
            rules = release or nearest_release(trace.events.origin.kernel) or "6.1"
            return trace_timeline(trace, rules, samples, operations)
    if is_run_file(run):
        return run_timeline(run)
    raise InputError(
        f"{run}: a Parquet file, but neither a trace nor a run; make one with pageblock run, record or import"
    )
