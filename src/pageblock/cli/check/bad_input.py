"""``pageblock check bad-input``."""

import json
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from ...check.badinput.arguments import Parameter
from ...check.badinput.campaign import BATCH, KINDS, Case, Result, Target, campaign, cases_of
from ...check.badinput.journal import Journal
from ...view.bad_input import result_json, show_result
from ...view.progress import operation_progress
from ...view.terminal import stdout
from .. import cli, main

__all__ = ["command"]

#: What commands import when they need it, in seconds.
SLOW_IMPORTS = ("matplotlib.figure", "pageblock.lab.sweep.curves", "pyarrow.parquet", "scipy.stats")


def surface() -> dict[tuple[str, ...], list[Parameter]]:
    """Every subcommand, by the words that name it, and what it takes."""
    return dict(_subcommands(cli, ()))


def _subcommands(group: click.Command, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Parameter]]]:
    context = click.Context(group)
    if isinstance(group, click.Group):
        yield words, []
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            if found is not None:
                yield from _subcommands(found, (*words, name))
        return
    yield words, [_parameter(parameter) for parameter in group.params]


def _parameter(parameter: click.Parameter) -> Parameter:
    if isinstance(parameter, click.Option):
        takes = not (parameter.is_flag or parameter.count)
        return Parameter(max(parameter.opts, key=len), takes, str(parameter.metavar or ""))
    return Parameter("", True, str(parameter.metavar or ""))


@click.command(name="bad-input")
@click.option("--cases", default=2000, show_default=True, type=click.IntRange(1, 10**8), help="How many.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="What the chances are drawn from.")
@click.option(
    "--kind", "kinds", multiple=True, type=click.Choice(list(KINDS)), help="Of what; repeatable. [default: all]"
)
@click.option("--case", "number", type=click.IntRange(0), help="Run this one case of a kind.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. [default: one a CPU]")
@click.option(
    "--limit", default=60.0, show_default=True, type=click.FloatRange(1), help="Seconds that a case may take."
)
@click.option(
    "--log", "log_file", metavar="FILE", help="A line a finished chunk; those that are there are not run again."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/bad-input.md).")
def command(
    cases: int,
    seed: int,
    kinds: tuple[str, ...],
    number: int | None,
    jobs: int | None,
    limit: float,
    log_file: str | None,
    as_json: bool,
) -> int:
    """Break whatever pageblock reads or is given, and look that it is answered or refused, in one line, and nothing else.

    What is drawn depends on kind, seed and number alone. Exits 1 if a case broke a rule,
    also one that the log tells of.
    """
    names = tuple(dict.fromkeys(kinds)) or tuple(KINDS)
    if number is not None:
        if len(names) != 1:
            raise click.UsageError("--case goes with one --kind")
        if log_file is not None:
            raise click.UsageError("--case is one case, --log keeps a search: leave out one of them")
        drawn = [Case(names[0], seed, number)]
    else:
        drawn = cases_of(names, seed, cases)
    journal = Journal(Path(log_file) if log_file is not None else None, names, seed)
    target = Target(main, surface())
    if len(drawn) > BATCH:
        # once here instead of once a process
        for name in SLOW_IMPORTS:
            import_module(name)
    result = Result()
    interrupted = False
    try:
        with operation_progress("breaking") as progress:
            for result in campaign(drawn, target, jobs or os.cpu_count() or 1, limit, journal.done, journal.add):
                if progress is not None:
                    progress(result.total, len(drawn))
    except KeyboardInterrupt:
        interrupted = True
    if as_json:
        click.echo(json.dumps(result_json(result, seed, interrupted)))
    else:
        show_result(result, seed, interrupted, stdout())
    if interrupted:
        return 2
    return 1 if result.findings else 0
