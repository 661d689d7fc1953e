"""CMA areas: what their bitmaps say, and what they would answer."""

from typing import Any

from rich.console import Console
from rich.text import Text

from ..doctor.cma import AreaAnswer, AreaReport
from ..doctor.report import Report
from ..doctor.sizes import size_name
from .causes_json import because_json

__all__ = ["answer_words", "area_words", "areas_json", "show_areas"]


def show_areas(report: Report, console: Console) -> None:
    """Print each area with its answers; nothing where no area is known."""
    if not report.areas:
        return
    release = report.areas[0].release
    console.print(
        Text(f"CMA areas, by their bitmaps (rules of {release}; aligned as dma_alloc_contiguous does)", style="bold")
    )
    for area in report.areas:
        console.print(Text(f"  {area_words(area, report.page_size)}"), soft_wrap=True, highlight=False)
        for one in area.answers:
            console.print(Text(f"    {answer_words(one, report.page_size)}"), soft_wrap=True, highlight=False)
    console.print()


def area_words(area: AreaReport, page_size: int) -> str:
    """Where an area lies and what of it is given out."""
    places = ", ".join(f"[{start:#x}, {end:#x})" for start, end in area.ranges)
    words = (
        f"{area.name} {places} {_size(area.nr_pages, page_size)}: {area.used:,} of {area.nr_pages:,} pages given out, "
    )
    words += f"the longest of {area.runs:,} free runs is {area.largest:,} pages"
    return f"{words}; not asked: {area.unasked}" if area.unasked else words


def answer_words(one: AreaAnswer, page_size: int) -> str:
    """What a request would get, or why it would not."""
    name = f"{_size(one.nr_pages, page_size):>8}"
    if not one.errno:
        return f"{name}  given at pfn {one.pfn or 0:#x}, {one.moved:,} pages moved; fits in {one.places:,} places"
    because = one.because
    if because is None:
        return f"{name}  -{one.errno}; fits in {one.places:,} places"
    settles = f". Would settle it: {'; '.join(because.settles)}" if because.settles else ""
    return f"{name}  -{one.errno}, {because.words}: {'; '.join(because.speaks_for)}{settles}"


def _size(nr_pages: int, page_size: int) -> str:
    """A size by its name, or where it has none in MiB."""
    return (
        size_name(nr_pages, page_size)
        if nr_pages & (nr_pages - 1) == 0
        else f"{nr_pages * page_size / (1 << 20):,.1f} MiB"
    )


def areas_json(report: Report) -> list[dict[str, Any]] | None:
    """The same as plain values; None where the source does not tell of areas."""
    if report.areas is None:
        return None
    return [
        {
            "name": area.name,
            "release": area.release,
            "ranges": [list(span) for span in area.ranges],
            "nr_pages": area.nr_pages,
            "used": area.used,
            "free_runs": area.runs,
            "longest_run": area.largest,
            "unasked": area.unasked,
            "answers": [
                {
                    "nr_pages": one.nr_pages,
                    "align": one.align,
                    "errno": one.errno,
                    "pfn": one.pfn,
                    "places": one.places,
                    "tries": one.tries,
                    "moved": one.moved,
                    "cause": None if one.because is None else because_json(one.because),
                }
                for one in area.answers
            ],
        }
        for area in report.areas
    ]
