"""What ``pageblock fit`` prints: the distances, beside those of an unused machine and of machines that were held back."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from ..lab.fit import Fit
from ..lab.state import DISTANCES, total
from ..lab.workload import to_toml

__all__ = ["FORMAT", "show", "to_json"]

#: Version of the JSON; a change that breaks a reader raises it.
FORMAT = 1

_TITLES = {
    "free_lists_tv": "free lists",
    "free_order_emd": "free order",
    "pageblock_types_tv": "types",
    "free_memory": "free memory",
    "blockers_ks": "blockers",
}


def to_json(found: Fit) -> dict[str, Any]:
    """The fit as plain values; see docs/lab.md."""
    return {
        "format": FORMAT,
        "source": found.source,
        "zone": found.zone,
        "kernel": found.kernel,
        "settings": asdict(found.settings),
        "trials": found.trials,
        "trial_memory_bytes": found.memory_bytes,
        "values": found.values,
        "workload": to_toml(found.workload),
        "distances": _with_mean(found.distances),
        "spread": found.spread,
        "boot": _with_mean(found.boot),
        "nearest_shipped": {"workload": found.nearest[0], "distances": _with_mean(found.nearest[1])},
        "held_back": [
            {"source": one.source, "of_model": _with_mean(one.of_model), "of_machine": _with_mean(one.of_machine)}
            for one in found.held_back
        ],
    }


def _with_mean(distances: dict[str, float]) -> dict[str, float]:
    return {**distances, "mean": total(distances)}


def show(found: Fit, console: Console, out: str | None) -> None:
    """Print the fit."""
    kernel = f"Linux {found.kernel}" if found.kernel else "kernel unknown"

    def say(text: str) -> None:
        console.print(text, soft_wrap=True, highlight=False)

    say(f"{found.source} · {kernel} · {found.zone} · release {found.settings.release}")
    say(
        f"{found.trials:,} workloads tried on {found.memory_bytes >> 20:,} MiB; measured at the zone's "
        f"{found.settings.memory_bytes >> 20:,} MiB with seeds that the search never saw (0: alike, 1: nothing in common)"
    )
    console.print()
    known = [name for name in DISTANCES if name in found.distances]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("distance of", no_wrap=True)
    for name in known:
        table.add_column(_TITLES[name], justify="right", no_wrap=True)
    table.add_column("mean", justify="right", no_wrap=True)

    def row(title: str, distances: dict[str, float]) -> None:
        cells = [f"{distances[name]:.3f}" if name in distances else "–" for name in known]
        table.add_row(title, *cells, f"{total(distances):.3f}")

    row("the fitted workload", found.distances)
    row(f"the nearest shipped, {found.nearest[0]}", found.nearest[1])
    row("a machine out of boot", found.boot)
    for one in found.held_back:
        row(f"the workload to {one.source}", one.of_model)
        row("  the fitted machine to it", one.of_machine)
    console.print(table)
    console.print()
    for name in known:
        say(f"  {_TITLES[name]}: {DISTANCES[name]}")
    say(f"The mean differs by {found.spread:.3f} between seeds.")
    if out is not None:
        say(f"The workload is in {out}: pageblock run {out}")
