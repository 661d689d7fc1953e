"""The names that --release takes: a table, and JSON."""

from typing import Any

from rich.console import Console
from rich.table import Table

from ..mm import FAULTS, PATCHES, PLANTED, RELEASES

__all__ = ["show", "to_json"]


def to_json() -> dict[str, Any]:
    """``releases`` and ``bugs`` (names that --release takes), ``patches`` and ``faults`` (switches of some of them)."""
    return {
        "releases": [{"name": one.name, "summary": one.summary} for one in RELEASES.values()],
        "patches": [
            {"switch": f"p{number}", "title": patch.title, "not_modelled": patch.not_modelled or None}
            for number, patch in PATCHES.items()
        ],
        "faults": [
            {"switch": f"f{letter}", "title": fault.title, "not_modelled": fault.not_modelled or None}
            for letter, fault in FAULTS.items()
        ],
        "bugs": [
            {"name": f"{bug.base}+bug-{name}", "title": bug.title, "since": bug.since} for name, bug in PLANTED.items()
        ],
    }


def show(console: Console) -> None:
    """Print all of it."""
    table = _table("release", "what it is")
    for release in RELEASES.values():
        table.add_row(release.name, release.summary)
    console.print(table)
    console.print("\nPatches of the series, off in seed-p4, on in 5.15+p1, seed-p1-p3 …", highlight=False)
    table = _table("switch", "patch")
    for number, patch in PATCHES.items():
        table.add_row(f"p{number}", patch.title)
    console.print(table)
    console.print("\nFaults of patch 4 as posted, on in seed+fa, off in seed-as-posted-fc …", highlight=False)
    table = _table("switch", "fault")
    for letter, fault in FAULTS.items():
        off = " (not modelled)" if fault.not_modelled else ""
        table.add_row(f"f{letter}", fault.title + off)
    console.print(table)
    console.print(
        "\nBugs of Linux's history, planted to be found (docs/bugs.md); no kernel bears such a name", highlight=False
    )
    table = _table("release", "what goes wrong", "where it was")
    for name, bug in PLANTED.items():
        table.add_row(f"{bug.base}+bug-{name}", bug.title, bug.since)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, no_wrap=i == 0)
    return table
