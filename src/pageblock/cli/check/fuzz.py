"""``pageblock check fuzz``."""

import json
import os
import time
from pathlib import Path

import click

from ...check.core import BATCH, CoreFinding, run_core
from ...check.fuzz import Campaign, Case, Finding, Log, campaign, draw_case, known_releases, shortest
from ...errors import InputError
from ...mm import release as find_release
from ...view.fuzz import core_finding_json, finding_json, show_core_finding, show_finding
from ...view.progress import operation_progress
from ...view.terminal import counted, stdout
from .given import refuse

__all__ = ["command"]

#: The one release that is held to no invariant.
POSTED = "seed-as-posted"


@click.command(name="fuzz")
@click.option("--release", "releases", multiple=True, metavar="REL", help="Whose rules; repeatable. [default: all]")
@click.option("--ops", default=1_000_000, show_default=True, type=click.IntRange(1), help="Operations in all.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="What the chances are drawn from.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes. [default: one a CPU]")
@click.option(
    "--interval",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Operations between comparisons of the whole states.",
)
@click.option("--core-only", is_flag=True, help="The model alone, with its own invariants: fast.")
@click.option("--case", "number", type=click.IntRange(0), help="Run this one case.")
@click.option("--model", metavar="REL", help="Other rules for the model, to see that the difference is found.")
@click.option(
    "--log", "log_file", metavar="FILE", help="A line a finished chunk; those that are there are not run again."
)
@click.option("--keep-going", is_flag=True, help="Go on after a difference.")
@click.option("--no-shrink", is_flag=True, help="Show the sequence as it was found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/check.md).")
@click.pass_context
def command(
    ctx: click.Context,
    releases: tuple[str, ...],
    ops: int,
    seed: int,
    jobs: int | None,
    interval: int,
    core_only: bool,
    number: int | None,
    model: str | None,
    log_file: str | None,
    keep_going: bool,
    no_shrink: bool,
    as_json: bool,
) -> int:
    """Run random operations on the model and on a plain reference allocator, and compare every answer.

    What is drawn depends on the release and the seed alone. Exits 1 if the two differ, or an invariant is broken.
    """
    if number is not None:
        refuse(ctx, lambda name: name in ("ops", "jobs", "log_file", "keep_going"), "--case is one case, whole")
    if core_only:
        refuse(ctx, lambda name: name in ("interval", "no_shrink"), "--core-only has checks of its own")
    if model is not None:
        if core_only:
            raise click.UsageError("--core-only compares nothing, so that --model says nothing: leave one of them out")
        model = find_release(model).name
    known = known_releases(releases)
    if core_only and POSTED in known:
        raise InputError(
            f"{POSTED} promises nothing that --core-only could look at, and stops where free pages overlap: leave it out"
        )
    plan = Campaign(known, seed, interval, model, core_only)
    began = time.monotonic()
    if number is None:
        findings, done, before, interrupted = _run(plan, ops, jobs or os.cpu_count() or 1, log_file, keep_going)
    else:
        findings, done, before, interrupted = [], 0, 0, False
        for name in plan.releases:
            finding: Finding | CoreFinding | None
            if core_only:
                operations, finding = run_core(name, seed, number)
            else:
                operations, finding = draw_case(Case(name, seed, number, model), interval)
            done += operations
            findings += [] if finding is None else [finding]
    rate = (done - before) / max(1e-9, time.monotonic() - began)
    findings = [found if no_shrink or isinstance(found, CoreFinding) else shortest(found) for found in findings]
    if as_json:
        report = {
            "releases": plan.releases,
            "seed": seed,
            "operations": done,
            "interval": BATCH if core_only else interval,
            "core_only": core_only,
            "interrupted": interrupted,
            "differences": [
                core_finding_json(found, seed) if isinstance(found, CoreFinding) else finding_json(found)
                for found in findings
            ],
        }
        click.echo(json.dumps(report))
    else:
        _show(plan, findings, done, rate, interrupted)
    if interrupted:
        return 2
    return 1 if findings else 0


def _run(
    plan: Campaign, ops: int, jobs: int, log_file: str | None, keep_going: bool
) -> tuple[list[Finding | CoreFinding], int, int, bool]:
    """Findings, operations done, those of them that the log had, and whether somebody interrupted."""
    log = Log(Path(log_file) if log_file else None, plan)
    chunks = -(-ops // plan.chunk_operations)
    had = {at: operations for at, operations in log.done.items() if at < chunks}
    missing = [at for at in range(chunks) if at not in had]
    findings: list[Finding | CoreFinding] = []
    done = before = sum(had.values())
    try:
        with operation_progress("checking" if plan.core else "comparing") as progress:
            for chunk in campaign(plan, missing, jobs):
                done += chunk.operations
                log.add(chunk)
                if progress is not None:
                    progress(done, chunks * plan.chunk_operations)
                if chunk.finding is not None:
                    findings.append(chunk.finding)
                    if not keep_going:
                        break
    except KeyboardInterrupt:
        return findings, done, before, True
    return findings, done, before, False


def _show(plan: Campaign, findings: list[Finding | CoreFinding], done: int, rate: float, interrupted: bool) -> None:
    """The findings, and one line that says what was done."""
    console = stdout()
    for finding in findings:
        if isinstance(finding, CoreFinding):
            show_core_finding(finding, plan.seed, console)
        else:
            show_finding(finding, console)
    how = f"invariants checked every {BATCH:,}" if plan.core else f"states compared every {plan.interval:,}"
    what = "violation" if plan.core else "difference"
    console.print(
        f"{'interrupted: ' if interrupted else ''}{done:,} operations on {', '.join(plan.releases)}, seed {plan.seed}, "
        f"{how}: {counted(len(findings), what)} ({rate:,.0f} operations/s)",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
