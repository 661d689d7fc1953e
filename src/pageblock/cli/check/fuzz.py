"""``pageblock check fuzz``."""

import json
import os
import time
from pathlib import Path

import click

from ...check.fuzz import CASES, OPERATIONS, Campaign, Case, Finding, Log, campaign, draw_case, known_releases, shortest
from ...mm import release as find_release
from ...view.fuzz import finding_json, show_finding
from ...view.progress import operation_progress
from ...view.terminal import stdout

__all__ = ["command"]


@click.command(name="fuzz")
@click.option("--release", "releases", multiple=True, metavar="REL", help="Whose rules; repeatable. [default: all]")
@click.option("--ops", default=1_000_000, show_default=True, type=click.IntRange(1), help="Operations in all.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="What the chances are drawn from.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. [default: one a CPU]")
@click.option(
    "--interval",
    default=1000,
    show_default=True,
    type=click.IntRange(1),
    help="Operations between comparisons of the whole states.",
)
@click.option("--case", "number", type=click.IntRange(0), help="Run this one case.")
@click.option("--model", metavar="REL", help="Other rules for the model, to see that the difference is found.")
@click.option(
    "--log", "log_file", metavar="FILE", help="One line a finished chunk; those that are there are not run again."
)
@click.option("--keep-going", is_flag=True, help="Go on after a difference.")
@click.option("--no-shrink", is_flag=True, help="Show the sequence as it was found.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/check.md).")
def command(
    releases: tuple[str, ...],
    ops: int,
    seed: int,
    jobs: int | None,
    interval: int,
    number: int | None,
    model: str | None,
    log_file: str | None,
    keep_going: bool,
    no_shrink: bool,
    as_json: bool,
) -> int:
    """Run random operations on the model and on a plain reference allocator, and compare every answer.

    What is drawn depends on the releases and the seed alone. Exits 1 if the two differ.
    """
    names = known_releases(releases)
    if model is not None:
        model = find_release(model).name
    plan = Campaign(names, seed, interval, model)
    findings: list[Finding] = []
    done = 0
    began = time.monotonic()
    interrupted = False
    if number is not None:
        for name in names:
            operations, finding = draw_case(Case(name, seed, number, model), interval)
            done += operations
            findings += [] if finding is None else [finding]
    else:
        log = Log(Path(log_file) if log_file else None, plan)
        chunks = -(-ops // (OPERATIONS * CASES))
        missing = [at for at in range(chunks) if at not in log.done]
        done = before = sum(log.done[at] for at in range(chunks) if at in log.done)
        try:
            with operation_progress("comparing") as progress:
                for chunk in campaign(plan, missing, jobs or os.cpu_count() or 1):
                    done += chunk.operations
                    log.add(chunk)
                    if progress is not None:
                        progress(done, chunks * OPERATIONS * CASES)
                    if chunk.finding is not None:
                        findings.append(chunk.finding)
                        if not keep_going:
                            break
        except KeyboardInterrupt:
            interrupted = True
    seconds = time.monotonic() - began
    shown = [finding if no_shrink else shortest(finding) for finding in findings]
    if as_json:
        report = {
            "releases": names,
            "seed": seed,
            "operations": done,
            "interval": interval,
            "interrupted": interrupted,
            "differences": [finding_json(finding) for finding in shown],
        }
        click.echo(json.dumps(report))
    else:
        console = stdout()
        for finding in shown:
            show_finding(finding, console)
        rate = (done - (0 if number is not None else before)) / seconds if seconds else 0
        console.print(
            f"{'interrupted: ' if interrupted else ''}{done:,} operations on {', '.join(names)}, seed {seed}, states compared "
            f"every {interval:,}: {len(findings)} differences ({rate:,.0f} operations/s)",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if interrupted:
        return 2
    return 1 if findings else 0
