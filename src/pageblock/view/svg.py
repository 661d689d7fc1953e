"""A zone's map as an inline SVG: rows of cells, neighbours alike drawn as one rectangle."""

from itertools import groupby

from markupsafe import Markup

from ..doctor.report import ZoneMap
from ..doctor.sizes import size_name

__all__ = ["KINDS", "map_svg", "map_title"]

#: Letter of a cell (``doctor.report.draw_map``) -> name of what it is, the class of its rectangle.
KINDS = {"F": "free", "c": "cheap", "m": "movable", "b": "blocked", "u": "uninitialised", "-": "hole"}

#: Cells of one row, and the edge of a cell in px.
COLUMNS, EDGE = 64, 10


def map_title(zone_map: ZoneMap, page_size: int) -> str:
    """Which zone, and what one cell is."""
    return f"{zone_map.zone}, one cell = {size_name(zone_map.nr_pages, page_size)}"


def map_svg(zone_map: ZoneMap, page_size: int, colours: dict[str, str] | None = None) -> Markup:
    """The map. Without ``colours`` (name of a kind -> colour) a style sheet colours the classes."""
    rows = -(-len(zone_map.cells) // COLUMNS)
    width, height = min(COLUMNS, len(zone_map.cells)) * EDGE, rows * EDGE
    parts: list[Markup] = []
    for row in range(rows):
        at = 0
        for letter, cells in groupby(zone_map.cells[row * COLUMNS : (row + 1) * COLUMNS]):
            count = len(list(cells))
            kind = KINDS[letter]
            look = Markup(' fill="{}"').format(colours[kind]) if colours is not None else ""
            parts.append(
                Markup('<rect class="{}"{} x="{}" y="{}" width="{}" height="{}"/>').format(
                    kind, look, at * EDGE, row * EDGE, count * EDGE - 1, EDGE - 1
                )
            )
            at += count
    return Markup('<svg viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-label="{2}">{3}</svg>').format(
        width, height, map_title(zone_map, page_size), Markup("").join(parts)
    )
