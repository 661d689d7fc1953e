"""What the boundary study found: the numbers of its states and of its sweep, and its page."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pageblock.lab.sweep import read_results
from pageblock.view.plot import Curve, draw_curves

from ..frozen import Asked, Machine, ask, falsely, figure, granted, percent, ranges, share, size_words, state_of, table
from ..pages import write

__all__ = ["draw", "main", "page", "summary"]

HERE = Path(__file__).parent
MIXES = HERE.parent / "granularity"

MACHINES = (
    Machine("x86-64", 4096, 10, 9, 512 << 20, 9),
    Machine("x86-64 without hugetlb", 4096, 10, 10, 512 << 20, 9),
    Machine("arm64, pages of 64 KiB", 65536, 13, 13, 16 << 30, 9),
)

#: Kernel pages in few pageblocks, and everywhere.
WORKLOADS = ("mix", "full")

#: States, ticks that each is run for, ranges put to each.
SEEDS, TICKS, COUNT = 16, 400, 128

#: Parts of a pageblock that are asked for, anywhere.
PARTS = (1 / 32, 1 / 8, 1 / 2, 1.0, 2.0)

#: Looks in the range alone (patch 3); in all of the pageblocks at its ends, as it was merged; in all of the window that is
#: isolated, as the series without patch 3 does, and 5.15.
ALONE, BLOCKS, WINDOWS = "seed", "6.12", "seed-p3"

#: A small part of the states, which a test asks again: machine, use, states, and sizes.
KEPT = (MACHINES[0], "full", 2, (1 / 8, 1.0))


def cell(machine: Machine, workload: str, seeds: int = SEEDS, parts: tuple[float, ...] = PARTS) -> list[dict[str, Any]]:
    """A row for each size: what is given under each rule, and what the wider look costs."""
    states = [state_of(MIXES / f"{workload}.toml", machine, seed, TICKS, "6.12") for seed in range(seeds)]
    rows = []
    for part in parts:
        size = int(machine.pageblock_bytes * part)
        answers: dict[str, list[Asked]] = {
            release: [
                ask(machine, release, state, ranges(machine, size, machine.page_size, COUNT, seed))
                for seed, state in enumerate(states)
            ]
            for release in (ALONE, BLOCKS, WINDOWS)
        }
        row: dict[str, Any] = {"machine": machine.words, "workload": workload, "part": part, "size": size}
        row |= {f"granted_{release}": share([granted(one) for one in found]) for release, found in answers.items()}
        for release in (BLOCKS, WINDOWS):
            lost = [falsely(one, alone) for one, alone in zip(answers[release], answers[ALONE], strict=True)]
            row[f"lost_{release}"] = share(lost)
        # the other way round: given by the wide look and not by the narrow one
        row["gained"] = share(
            [granted(wide) & ~granted(alone) for wide, alone in zip(answers[WINDOWS], answers[ALONE], strict=True)]
        )
        rows.append(row)
    return rows


def over_time(folder: Path) -> list[dict[str, Any]]:
    """The sweep: each release on a machine of its own from the same seeds; how many of its requests were given."""
    runs = read_results(folder).runs.to_pylist()
    rows = []
    for order in sorted({run["pageblock_order"] for run in runs}):
        shares = {}
        for release in (ALONE, BLOCKS, WINDOWS):
            mine = sorted(
                (run for run in runs if run["release"] == release and run["pageblock_order"] == order),
                key=lambda run: run["seed"],
            )
            shares[release] = np.array(
                [
                    run["contig_success"] / (run["contig_success"] + run["contig_fail_busy"] + run["contig_fail_other"])
                    for run in mine
                ]
            )
        row: dict[str, Any] = {"pageblock_order": order, "runs": len(shares[ALONE])}
        for release, one in shares.items():
            row[f"granted_{release}"] = figure(one)
        row[f"difference_{WINDOWS}"] = figure(shares[ALONE] - shares[WINDOWS])
        row[f"difference_{BLOCKS}"] = figure(shares[ALONE] - shares[BLOCKS])
        rows.append(row)
    return rows


def summary(folder: Path) -> dict[str, Any]:
    """All numbers of the page; ``folder``: what ``pageblock sweep docs/studies/boundary/sweep.toml`` wrote."""
    return {
        "states": [row for machine in MACHINES for workload in WORKLOADS for row in cell(machine, workload)],
        "over_time": over_time(folder),
        "kept": cell(*KEPT),
    }


def page(found: dict[str, Any]) -> str:
    """The tables in Markdown."""
    states = table(
        (
            "machine, use",
            "range",
            "given: range alone",
            "whole pageblocks",
            "as merged",
            "lost by whole",
            "lost as merged",
        ),
        (
            (
                f"{row['machine']}, {row['workload']}",
                size_words(row["size"]),
                percent(row[f"granted_{ALONE}"]),
                percent(row[f"granted_{BLOCKS}"]),
                percent(row[f"granted_{WINDOWS}"]),
                percent(row[f"lost_{BLOCKS}"]),
                percent(row[f"lost_{WINDOWS}"]),
            )
            for row in found["states"]
        ),
    )
    over = table(
        (
            "pageblocks of",
            "runs",
            "given: range alone",
            "whole pageblocks",
            "whole windows",
            "lost by whole pageblocks",
            "by whole windows",
        ),
        (
            (
                size_words(4096 << row["pageblock_order"]),
                str(row["runs"]),
                *(percent(row[f"granted_{release}"]) for release in (ALONE, BLOCKS, WINDOWS)),
                *(percent(row[f"difference_{release}"]) for release in (BLOCKS, WINDOWS)),
            )
            for row in found["over_time"]
        ),
    )
    return f"### The same states\n\n{states}\n\n### Each on a machine of its own\n\n{over}\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """The share of requests that the wider look loses against their size, for each machine and use."""
    curves: list[Curve] = []
    for machine in MACHINES:
        for workload in WORKLOADS:
            rows = [row for row in found["states"] if (row["machine"], row["workload"]) == (machine.words, workload)]
            middle, low, high = (np.array([100 * row[f"lost_{BLOCKS}"][i] for row in rows]) for i in range(3))
            at = np.array([np.log2(row["part"]) for row in rows])
            curves.append((f"{machine.words}, {workload}", at, middle, low, high, "linear"))
    draw_curves(
        path,
        curves,
        "size of the range, log2 of pageblocks",
        "% of requests lost",
        "What looking in whole boundary pageblocks costs",
        force=True,
    )


def main(folder: Path) -> None:
    """Write summary, page and picture."""
    write(HERE, summary(folder), page, draw, "lost.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
