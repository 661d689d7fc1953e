"""The doctor's answer in a notebook: a small table and the maps, in one piece of HTML that needs no style sheet."""

from markupsafe import Markup

from ..doctor.report import Report
from ..doctor.sizes import size_name
from .doctor import answer, headline
from .svg import map_svg, map_title

__all__ = ["to_notebook"]

#: Colours that show on light and on dark notebooks.
COLOURS = {
    "free": "#2f7fc4",
    "cheap": "#fbd560",
    "movable": "#d99400",
    "blocked": "#a2330c",
    "uninitialised": "#8f88b8",
    "hole": "none",
}

_ROW = Markup("<tr>{}</tr>")
_CELL = Markup('<td style="text-align:{}">{}</td>')
_LEGEND = Markup('<span style="color:{}">&#9632;</span> {} &#160; ')


def to_notebook(report: Report) -> str:
    """HTML of the last release's answer, counts and maps."""
    parts = [Markup("<p><b>{}</b> · {}</p>").format(report.source, " · ".join(headline(report)))]
    if report.rows:
        rows = [row for row in report.rows if row.release == report.releases[-1]]
        head = ("size", f"release {report.releases[-1]}", "ranges", "free", "movable", "blocked")
        lines = [_ROW.format(Markup("").join(Markup("<th>{}</th>").format(title) for title in head))]
        for row in rows:
            yes, how = answer(row, report.page_size)
            words = (size_name(row.nr_pages, report.page_size), f"{'YES' if yes else 'NO'}, {how}")
            counts = (f"{count:,}" for count in (row.ranges, row.free, row.movable, row.blocked))
            cells = [_CELL.format("left", text) for text in words] + [_CELL.format("right", text) for text in counts]
            lines.append(_ROW.format(Markup("").join(cells)))
        parts.append(Markup("<table>{}</table>").format(Markup("").join(lines)))
        for zone_map in report.maps:
            parts.append(Markup("<div>{}</div>").format(map_title(zone_map, report.page_size)))
            parts.append(map_svg(zone_map, report.page_size, COLOURS))
        words_of = {"cheap": "at most a quarter moves", "movable": "more moves", "uninitialised": "not initialised yet"}
        shown = [kind for kind in COLOURS if kind != "hole" and (kind != "uninitialised" or _has_uninitialised(report))]
        legend = [_LEGEND.format(COLOURS[kind], words_of.get(kind, kind)) for kind in shown]
        parts.append(Markup("<div>{}</div>").format(Markup("").join(legend)))
    else:
        bounds = [
            _ROW.format(
                _CELL.format("left", size_name(b.nr_pages, report.page_size))
                + _CELL.format("right", f"{b.free_at_least:,} to {b.free_at_most:,} free")
            )
            for b in report.bounds
        ]
        parts.append(Markup("<table>{}</table>").format(Markup("").join(bounds)))
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def _has_uninitialised(report: Report) -> bool:
    return any("u" in zone_map.cells for zone_map in report.maps)
