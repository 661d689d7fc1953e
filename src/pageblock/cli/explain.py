"""``pageblock explain``."""

import json

import click

from ..doctor.explain import LogReport, explain_log
from ..doctor.kernel import kernel_version
from ..errors import InputError
from ..machine.kernel_log import parse_log
from ..machine.log_text import read_log
from ..view.explain import show, to_json
from ..view.progress import byte_progress
from ..view.terminal import stdout
from . import complain

__all__ = ["command"]


@click.command(name="explain")
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@click.option(
    "--kernel", metavar="RELEASE", help="The kernel that wrote the log, as 5.15.16, where the log does not say."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one object a log (docs/explain.md).")
def command(logs: tuple[str, ...], kernel: str | None, as_json: bool) -> int:
    """What a kernel log says about contiguous memory: what failed, why, how sure that is, and what to do.

    LOG: dmesg, journalctl, syslog, console or mail text, plain or compressed; - for standard input. Exits 1 if nothing is
    recognised, 2 if a log can't be read.
    """
    if kernel is not None and kernel_version(kernel) is None:
        raise InputError(f"--kernel {kernel!r} is no release: write for example 5.15.16 or 6.1.0-18-amd64")
    reports: list[LogReport] = []
    unreadable = 0
    for name in logs:
        try:
            with byte_progress(name) as progress:
                log = parse_log(read_log(name, progress))
        except InputError as error:
            # the other logs are read all the same
            complain(error)
            unreadable += 1
            continue
        if kernel is not None:
            log.facts.kernel, log.facts.kernel_from = kernel, "--kernel"
        reports.append(explain_log(log, "standard input" if name == "-" else name))
    recognised = [report for report in reports if report.recognised]
    if as_json and reports:
        documents = [to_json(report) for report in reports]
        click.echo(json.dumps(documents[0] if len(logs) == 1 else documents, ensure_ascii=False))
    else:
        _print(recognised)
    for report in reports:
        if not report.recognised:
            complain(f"{report.source}: nothing recognised in {report.lines:,} lines")
    if unreadable:
        return 2
    return 0 if len(recognised) == len(reports) else 1


def _print(reports: list[LogReport]) -> None:
    console = stdout()
    for i, report in enumerate(reports):
        if i:
            console.print()
        show(report, console)
