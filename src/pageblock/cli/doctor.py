"""``pageblock doctor``."""

import json
import os
from pathlib import Path

import click

from ..doctor import Report, diagnose, parse_size
from ..doctor.anywhere import Anywhere, anywhere
from ..doctor.kernel import nearest_release
from ..doctor.remedies import Remedy, remedies
from ..doctor.report import DEFAULT_RELEASES
from ..doctor.why import parse_range, walk
from ..machine import Snapshot, read_machine
from ..output import check_output, whole_file
from ..view import why as view_why
from ..view.doctor import show
from ..view.doctor_json import to_json
from ..view.progress import page_progress, row_progress
from ..view.terminal import stdout

__all__ = ["command", "recorded_machine"]


def recorded_machine() -> Path:
    """Folder of the recorded machine that the package ships."""
    return Path(__file__).resolve().parent.parent / "recorded" / "guest-6.1.192"


@click.command(name="doctor")
@click.option("--from", "source", metavar="PATH", help="A recorded machine; without it, this machine.")
@click.option("--recorded", is_flag=True, help="Use the recorded machine that the package ships.")
@click.option(
    "--recorded-if-unreadable", is_flag=True, help="As --recorded, if this machine's /proc/kpageflags can't be read."
)
@click.option(
    "--size",
    "sizes",
    metavar="SIZE",
    multiple=True,
    help="2M, 64MiB, 1GiB …; several times for several. [default: pageblock, max order block, 64M, 1G]",
)
@click.option(
    "--release",
    "releases",
    metavar="REL",
    multiple=True,
    help="Whose rules; several times for several. [default: 5.15, seed, 6.1]",
)
@click.option(
    "--zone",
    "zones",
    metavar="ZONE",
    multiple=True,
    help="Normal, 0:Normal …; several times for several. [default: all]",
)
@click.option(
    "--align",
    metavar="SIZE",
    help="Judge also ranges that begin at multiples of SIZE, at least a pageblock, instead of their own size.",
)
@click.option(
    "--anywhere", "at_pageblocks", is_flag=True, help="As --align with a pageblock: wherever a range can begin."
)
@click.option(
    "--why",
    metavar="PFN|RANGE",
    help="Walk one request instead: 0x4800-0x4a00 (the end not included), or the range of --size that holds a pfn.",
)
@click.option(
    "--remedies/--no-remedies", "with_remedies", default=True, help="Try what would help, in the model. [default: yes]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/doctor.md).")
@click.option("--ranges", is_flag=True, help="With --json: cost and blocker of every movable or blocked range.")
@click.option("--html", metavar="FILE", help="Write one page with the map of every zone instead.")
@click.option(
    "--metrics", metavar="FILE", help="Write counts for Prometheus' textfile collector instead; - prints them."
)
@click.option("--force", is_flag=True, help="With --html: replace FILE if it is there.")
def command(
    source: str | None,
    recorded: bool,
    recorded_if_unreadable: bool,
    sizes: tuple[str, ...],
    releases: tuple[str, ...],
    zones: tuple[str, ...],
    align: str | None,
    at_pageblocks: bool,
    why: str | None,
    with_remedies: bool,
    as_json: bool,
    ranges: bool,
    html: str | None,
    metrics: str | None,
    force: bool,
) -> None:
    """Which contiguous ranges a machine can still give, at what cost, and what is in the way.

    Exits 0 once it has answered, whatever the verdicts.
    """
    if ranges and not as_json:
        raise click.UsageError("--ranges goes with --json")
    if source is not None and recorded:
        raise click.UsageError("--from and --recorded exclude each other")
    if align is not None and at_pageblocks:
        raise click.UsageError("--align and --anywhere exclude each other")
    if why is not None and (align is not None or at_pageblocks or zones or ranges or len(sizes) > 1):
        raise click.UsageError("--why goes with one --size, and not with --zone, --align, --anywhere or --ranges")
    if why is not None and (html is not None or metrics is not None):
        raise click.UsageError("--why goes neither with --html nor with --metrics")
    if force and html is None:
        raise click.UsageError("--force goes with --html")
    if as_json and metrics == "-":
        raise click.UsageError("--json and --metrics - both print: choose one")
    if html is not None:
        check_output(Path(html), force=force)
    if metrics is not None and metrics != "-":
        # the collector's file is there from the last time
        check_output(Path(metrics), force=True)
    path = Path(source) if source is not None else None
    if recorded or (recorded_if_unreadable and path is None and not os.access("/proc/kpageflags", os.R_OK)):
        path = recorded_machine()
    with page_progress("reading kpageflags") as progress:
        snapshot: Snapshot = read_machine(path, progress=progress)
    wanted = [parse_size(text, snapshot.page_size) for text in sizes]
    if why is not None:
        _walk(snapshot, why, wanted[0] if wanted else 1 << snapshot.pageblock_order, releases, as_json)
        return
    report = diagnose(
        snapshot,
        wanted,
        releases or DEFAULT_RELEASES,
        zones,
    )
    elsewhere: tuple[Anywhere, ...] = ()
    if align is not None or at_pageblocks:
        step = parse_size(align, snapshot.page_size) if align is not None else 1 << snapshot.pageblock_order
        judged = list(dict.fromkeys(row.nr_pages for row in report.rows))
        elsewhere = anywhere(snapshot, judged, report.releases, step, zones)
    printed = html is None and metrics is None
    tried: tuple[Remedy, ...] = ()
    if with_remedies and (printed or as_json or html is not None):
        with row_progress("trying remedies in the model") as rows:
            tried = remedies(snapshot, report, rows)
    if html is not None:
        from ..view.html import to_html

        # a folder's name may hold bytes that are no text
        page = to_html(report, tried, elsewhere).encode("utf-8", "replace")
        with whole_file(Path(html), force=force) as out:
            out.write(page)
    if metrics is not None:
        _write_metrics(report, metrics)
    if as_json:
        click.echo(json.dumps(to_json(report, ranges, tried, elsewhere), ensure_ascii=False))
    elif printed:
        show(report, stdout(), tried, elsewhere)


def _write_metrics(report: Report, file: str) -> None:
    """Write or, for ``-``, print the counts."""
    from ..view.metrics import to_metrics

    if file == "-":
        click.echo(to_metrics(report), nl=False)
    else:
        counts = to_metrics(report).encode()
        with whole_file(Path(file), force=True) as out:
            out.write(counts)


def _walk(snapshot: Snapshot, why: str, nr_pages: int, releases: tuple[str, ...], as_json: bool) -> None:
    """Walk one request under each release, without any under the one nearest to the machine's kernel."""
    start, end = parse_range(why, nr_pages)
    own = nearest_release(snapshot.kernel) if snapshot.kernel else None
    walks = [walk(snapshot, name, start, end) for name in releases or (own or DEFAULT_RELEASES[-1],)]
    if as_json:
        click.echo(json.dumps(view_why.to_json(snapshot, walks), ensure_ascii=False))
    else:
        view_why.show(snapshot, walks, stdout())
