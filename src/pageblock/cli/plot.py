"""``pageblock plot``."""

import json
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np

from ..errors import InputError
from ..output import check_output

__all__ = ["command"]

#: What may be drawn.
KINDS = ("bands", "survival", "heatmap")


@click.command(name="plot")
@click.argument("folder", metavar="DIR")
@click.option("--out", metavar="FILE", help="Picture to write: .png, .svg or .html; default: DIR/KIND.png.")
@click.option("--kind", type=click.Choice(KINDS), default="bands", show_default=True, help="What to draw.")
@click.option(
    "--value",
    metavar="VALUE",
    help="had:SIZE, free:SIZE, blocked:SIZE or a column of the series; default: had:LARGEST.",
)
@click.option(
    "--by",
    metavar="PARAM",
    multiple=True,
    help="A curve for each value of it; may be given again. [default: all that vary]",
)
@click.option("--x", metavar="PARAM", help="heatmap: the parameter across; default: the last that varies.")
@click.option("--y", metavar="PARAM", help="heatmap: the parameter upwards; default: the one before.")
@click.option("--force", is_flag=True, help="Replace FILE.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON; a picture only with --out.")
def command(
    folder: str,
    out: str | None,
    kind: str,
    value: str | None,
    by: tuple[str, ...],
    x: str | None,
    y: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Draw what a sweep found: means over its seeds with their 95 % bands, survival curves, a map of two parameters."""
    from ..lab.sweep import read_results
    from ..lab.sweep.curves import Band, HeatMap, Survival, bands, default_value, heat_map, survival
    from ..view.plot import FORMATS, draw_bands, draw_heat_map, draw_survival

    path = Path(out) if out is not None else Path(folder) / f"{kind}.png"
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: the name says how it is drawn: end it in {', '.join(FORMATS)}")
    results = read_results(Path(folder))
    draws = out is not None or not as_json
    if draws:
        check_output(path, force=force or out is None)
    value = value or default_value(results)
    title = f"{results.name}: {results.runs.num_rows:,} runs"
    force = force or out is None
    found: HeatMap | list[Band] | list[Survival]
    if kind == "heatmap":
        if len(results.varied) < 2 and (x is None or y is None):
            raise InputError(
                f"a map takes two parameters that vary, here {', '.join(results.varied) or 'none'}; draw bands instead"
            )
        found = heat_map(results, x or results.varied[-1], y or results.varied[-2], value)
        if draws:
            draw_heat_map(path, found, title, force=force)
    elif kind == "survival":
        found = survival(results, value, by)
        if draws:
            draw_survival(path, found, value, title, force=force)
    else:
        found = bands(results, value, by)
        if draws:
            draw_bands(path, found, value, title, force=force)
    if as_json:
        told = [asdict(one) for one in (found if isinstance(found, list) else [found])]
        click.echo(json.dumps({"kind": kind, "value": value, "curves": told}, default=_plain, ensure_ascii=False))
    else:
        click.echo(f"{path}: {title}")


def _plain(value: object) -> object:
    """Arrays as lists, without numbers that JSON has not."""
    if isinstance(value, np.ndarray):
        return (
            [_plain(one) for one in value]
            if value.ndim > 1
            else [None if one != one else one for one in value.tolist()]
        )
    return value.item() if isinstance(value, np.generic) else str(value)
