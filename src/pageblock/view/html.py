"""The doctor's answer as one page that needs nothing else: tables as text, and the verdict of every range for its map.

Everything in the page that comes from a machine is escaped: text by the template, the data as JSON without ``<``, and a
content security policy lets only the page's own script run, by its hash.
"""

import base64
import hashlib
import importlib.metadata
import shlex
import zlib
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ..doctor.anywhere import Anywhere
from ..doctor.remedies import Remedy
from ..doctor.report import Report, Row
from ..doctor.sizes import size_name
from ..doctor.verdict import BLOCKED, MOVABLE, REASONS, Verdicts
from ..errors import InputError
from ..mm import constants as k
from .areas import answer_words, area_words
from .doctor import UNINITIALISED_COLUMN, answer, headline, percent, row_cells
from .remedies import gains, lost_sizes, toll
from .svg import map_svg, map_title

__all__ = ["MAX_RANGES", "to_html"]

#: Most ranges of all sizes and releases together that a page can show; they take 17 bytes each in the browser.
MAX_RANGES = 4_000_000

#: In the column of blockers: no one page.
NO_BLOCKER = 1 << 31


def to_html(report: Report, remedies: Sequence[Remedy] = (), elsewhere: Sequence[Anywhere] = ()) -> str:
    """The page.

    Raises:
        InputError: more ranges than a page can show.
    """
    room = jinja2.Environment(
        loader=jinja2.PackageLoader("pageblock.view", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    style, script = (_own(room, name) for name in ("doctor.css", "doctor.js"))
    data, ranges = _data(report)
    page_size = report.page_size
    uninitialised = any(row.uninitialised for row in report.rows)
    shown = [i for i in range(UNINITIALISED_COLUMN + 2) if i != UNINITIALISED_COLUMN or uninitialised]
    table: list[dict[str, Any]] = []
    for i, row in enumerate(report.rows):
        first = i == 0 or report.rows[i - 1].nr_pages != row.nr_pages
        cells = row_cells(row, page_size, first)
        table.append({"first": first, "cells": [cells[column] for column in shown]})
    return room.get_template("doctor.html.j2").render(
        report=report,
        version=importlib.metadata.version("pageblock"),
        facts=headline(report),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        cards=[_card(row, page_size) for row in report.rows if row.release == report.releases[-1]],
        maps=[{"title": map_title(m, page_size), "svg": map_svg(m, page_size)} for m in report.maps],
        sections=[
            {"title": f"{size_name(row.nr_pages, page_size)} under release {row.release}", "row": row}
            for row in report.rows
        ],
        uninitialised=uninitialised,
        table=table,
        bounds=[
            {"size": size_name(b.nr_pages, page_size), "free": _between(b.free_at_least, b.free_at_most)}
            for b in report.bounds
        ],
        remarks=[
            {"topic": r.topic, "text": r.text, "sure": "" if r.certain is None else percent(r.certain)}
            for r in report.remarks
            if r.certain is None or r.certain < 1
        ],
        remedies=[(remedy, gains(remedy, page_size), toll(remedy)) for remedy in remedies],
        lost=list(lost_sizes(report, remedies)) if remedies else [],
        elsewhere=_elsewhere(elsewhere, page_size),
        areas=[
            (area_words(area, page_size), [answer_words(one, page_size).strip() for one in area.answers])
            for area in report.areas or ()
        ],
        data=data,
        ranges=ranges,
    )


def _own(room: jinja2.Environment, name: str) -> Markup:
    """A file of ours, to stand in the page as it is."""
    assert room.loader is not None
    return Markup(room.loader.get_source(room, name)[0])


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _card(row: Row, page_size: int) -> dict[str, Any]:
    yes, how = answer(row, page_size)
    bar: list[tuple[str, float, float]] = []
    total = row.ranges + row.uninitialised
    at = 0.0
    for kind, count in (("free", row.free), ("movable", row.movable), ("blocked", row.blocked)):
        width = round(100 * count / total, 2) if total else 0
        bar.append((kind, round(at, 2), width))
        at += width
    return {"size": size_name(row.nr_pages, page_size), "yes": yes, "how": how, "bar": bar}


def _between(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _elsewhere(found: Sequence[Anywhere], page_size: int) -> dict[str, Any] | None:
    """The table of ranges at other alignments."""
    if not found:
        return None
    rows = [
        {
            "size": size_name(one.nr_pages, page_size),
            "release": one.release,
            "counts": [f"{count:,}" for count in (one.side_by_side, one.aligned, one.had, one.places)],
            "cheapest": [f"{r.start_pfn:#x} {r.cost:,}" for r in one.cheapest[:3]],
        }
        for one in found
    ]
    return {"step": size_name(found[0].align, page_size), "rows": rows}


def _data(report: Report) -> tuple[dict[str, Any], str]:
    """What the page's script reads: the plain values, and the columns of all ranges, deflated, in base64."""
    count = sum(len(v.verdict) for row in report.rows for v in row.zones)
    if count > MAX_RANGES:
        raise InputError(
            f"--html: {count:,} ranges to show, more than {MAX_RANGES:,}; choose larger sizes with --size or one --release"
        )
    pool = _Pool()
    rows = [
        {
            "nr_pages": row.nr_pages,
            "release": report.releases.index(row.release),
            "answer": answer(row, report.page_size),
            "bar": _card(row, report.page_size)["bar"],
            "causes": _causes(row),
            "zones": [{"first": v.first_pfn, "n": len(v.verdict)} | pool.columns(v) for v in row.zones],
        }
        for row in report.rows
    ]
    # a folder's name may hold anything that a shell would read
    source = "" if report.live else f" --from {shlex.quote(report.source)}"
    data = {
        "page_size": report.page_size,
        "zones": [zone.label for zone in report.zones],
        "releases": list(report.releases),
        "sizes": [
            {"nr_pages": n, "name": size_name(n, report.page_size)}
            for n in dict.fromkeys(row.nr_pages for row in report.rows)
        ],
        "reasons": {str(int(bit)): words for bit, words in REASONS.items()},
        "no_blocker": NO_BLOCKER,
        "why": f"pageblock doctor{source}",
        "rows": rows,
    }
    return data, base64.b64encode(zlib.compress(bytes(pool.bytes), 6)).decode()


def _causes(row: Row) -> dict[str, list[str]]:
    """For each reason, by its bit, the causes that it may have, with how sure they are."""
    bits = {words: str(int(bit)) for bit, words in REASONS.items()}
    found: dict[str, list[str]] = {}
    for group in row.causes:
        if group.because is not None:
            for reason in group.reasons:
                found.setdefault(bits[reason], []).append(group.because.words)
    return found


class _Pool:
    """Columns of bytes, one behind the other; one that is there already is not stored again, as releases often agree."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.places: dict[bytes, int] = {}

    def put(self, column: npt.NDArray[Any]) -> int:
        """Where the column lies; numbers as planes of bytes, the lowest first, which deflate well."""
        planes = column.reshape(-1, 1).view(np.uint8) if column.itemsize > 1 else column.reshape(-1, 1)
        content = planes.T.tobytes()
        if content not in self.places:
            self.places[content] = len(self.bytes)
            self.bytes += content
        return self.places[content]

    def columns(self, v: Verdicts) -> dict[str, int]:
        """Where the columns of one zone lie: a byte a verdict, four for each other number.

        Costs only where the range is movable, reasons and blockers only where it is blocked. Blockers count from the
        range's start, modulo 2^32; the model's zones have fewer frames than that.
        """
        movable, blocked = v.verdict == MOVABLE, v.verdict == BLOCKED
        starts = v.first_pfn - v.origin + np.arange(len(v.verdict), dtype=np.int64) * v.nr_pages
        ahead = (v.blocker_at.astype(np.int64) - starts) % (1 << 32)
        known = blocked & (v.blocker_at != k.NONE)
        return {
            "verdict": self.put(v.verdict),
            "cost": self.put(np.where(movable, v.cost, 0).astype("<u4")),
            "dropped": self.put(np.where(movable, v.dropped, 0).astype("<u4")),
            "reasons": self.put(np.where(blocked, v.reasons, 0).astype("<u4")),
            "blocker": self.put(np.where(known, ahead, NO_BLOCKER).astype("<u4")),
        }
