"""``pageblock compare``."""

import json
from pathlib import Path

import click

from ..errors import InputError
from ..view.terminal import stdout

__all__ = ["command"]


@click.command(name="compare")
@click.argument("folder", metavar="DIR")
@click.option(
    "--by", metavar="PARAM", default="release", show_default=True, help="The parameter in which the two differ."
)
@click.option("--a", metavar="VALUE", help="One value of it; default: the lower, where there are two.")
@click.option("--b", metavar="VALUE", help="The other.")
@click.option(
    "--value",
    "values",
    metavar="VALUE",
    multiple=True,
    help="What to compare, as for pageblock plot; may be given again.",
)
@click.option(
    "--with",
    "other",
    metavar="DIR",
    help="Say whether this folder holds the same numbers for the same runs; exit 1 if not.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON (docs/sweep.md).")
@click.pass_context
def command(
    ctx: click.Context,
    folder: str,
    by: str,
    a: str | None,
    b: str | None,
    values: tuple[str, ...],
    other: str | None,
    as_json: bool,
) -> int:
    """Compare two releases or settings on the same workloads, paired by seed: the difference, its interval, where they part."""
    from ..lab.sweep import held_together, read_results
    from ..lab.sweep.curves import compare, default_value
    from ..view.compare import same_json, same_text, show_differences, to_json

    results = read_results(Path(folder))
    if other is not None:
        if a or b or values or ctx.get_parameter_source("by") is click.core.ParameterSource.COMMANDLINE:
            raise InputError("--with compares two folders number by number: leave out --by, --a, --b and --value")
        told = held_together(results, read_results(Path(other)))
        click.echo(json.dumps(same_json(told), ensure_ascii=False) if as_json else same_text(told, folder, other))
        return 0 if told.same else 1
    wanted = values or (default_value(results), "free_pages", "fallbacks", "blocked_pageblocks")
    found = compare(results, by, wanted, a, b)
    if as_json:
        click.echo(json.dumps({"name": results.name, "differences": to_json(found)}, ensure_ascii=False))
    else:
        show_differences(found, results.name, stdout(120))
    return 0
