"""What the granularity study found: the numbers of its states, of its sweep and of the rules of alignment, and its page."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from pageblock.consumers.kernel import cma_min_alignment_pages
from pageblock.lab.sweep import read_results
from pageblock.mm import Geometry
from pageblock.view.plot import Curve, draw_curves

from ..frozen import Asked, Machine, ask, falsely, figure, granted, percent, ranges, share, size_words, state_of, table
from ..pages import write

__all__ = ["draw", "main", "page", "summary"]

HERE = Path(__file__).parent

#: s390x has the largest gap between pageblock (1 MiB) and max order block (4 MiB) of the common configurations.
MACHINES = (
    Machine("x86-64", 4096, 10, 9, 512 << 20, 9),
    Machine("s390x", 4096, 10, 8, 512 << 20, 8),
)

#: Kernel pages in few pageblocks, and everywhere.
WORKLOADS = ("mix", "full")

RELEASES = ("5.15", "seed", "6.1", "6.12", "6.19")

#: States, ticks that each is run for, ranges put to each.
SEEDS, TICKS, COUNT = 16, 400, 128

#: Sizes asked for, bytes, each aligned to itself.
SIZES = (256 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20, 32 << 20)

#: A small part of the states, which a test asks again: machine, use, states, and sizes.
KEPT = (MACHINES[0], "full", 2, (256 << 10, 2 << 20))

#: Machines whose alignment is told: (words, page size, max order, pageblock order).
ALIGNED = (
    ("x86-64, arm64 with pages of 4 KiB", 4096, 10, 9),
    ("x86-64 without hugetlb, arm (32 bit)", 4096, 10, 10),
    ("s390x", 4096, 10, 8),
    ("powerpc64, pages of 64 KiB, radix", 65536, 8, 5),
    ("powerpc64, pages of 64 KiB, hash", 65536, 8, 8),
    ("arm64, pages of 16 KiB", 16384, 11, 11),
    ("arm64, pages of 64 KiB", 65536, 13, 13),
)

#: Sizes of areas, bytes, over which rounding is averaged: every page up to this.
MOST_AREA = 64 << 20


def cell(machine: Machine, workload: str, seeds: int = SEEDS, sizes: tuple[int, ...] = SIZES) -> list[dict[str, Any]]:
    """A row for each size: what is given under each release in the same states."""
    states = [state_of(HERE / f"{workload}.toml", machine, seed, TICKS, "6.12") for seed in range(seeds)]
    rows = []
    for size in sizes:
        answers: dict[str, list[Asked]] = {
            release: [
                ask(machine, release, state, ranges(machine, size, size, COUNT, seed))
                for seed, state in enumerate(states)
            ]
            for release in RELEASES
        }
        row: dict[str, Any] = {"machine": machine.words, "workload": workload, "size": size}
        for release, found in answers.items():
            row[f"granted_{release}"] = share([granted(one) for one in found])
            false = [falsely(one, alone) for one, alone in zip(found, answers["seed"], strict=True)]
            row[f"false_{release}"] = share(false)
        rows.append(row)
    return rows


def unplugged(machine: Machine, workload: str, seeds: int = SEEDS) -> dict[str, Any]:
    """Memory that virtio-mem could take back in the same states, in the steps of each rule: MiB of all."""
    found: dict[str, Any] = {"machine": machine.words, "workload": workload, "memory": machine.memory_bytes}
    states = [state_of(HERE / f"{workload}.toml", machine, seed, TICKS, "6.12") for seed in range(seeds)]
    free: dict[str, Any] = {}
    for release, step in (("5.15", machine.window_bytes), ("6.12", machine.pageblock_bytes)):
        every = [(at, at + step // machine.page_size) for at in range(0, machine.nr_pages, step // machine.page_size)]
        free[release] = np.array([granted(ask(machine, release, state, every)).sum() * step for state in states])
        found[f"step_{release}"] = step
        found[f"bytes_{release}"] = figure(free[release])
    found["gain"] = figure(free["6.12"] - free["5.15"])
    return found


def alignments() -> list[dict[str, Any]]:
    """What a CMA area, a step of virtio-mem and fadump's memory are multiples of, bytes; and what rounding adds on average."""
    rows = []
    for words, size, most, block in ALIGNED:
        row: dict[str, Any] = {"machine": words}
        for release in ("5.15", "6.1"):
            unit = cma_min_alignment_pages(release, Geometry(1 << 20, 0, most, block, size, None)) * size
            asked = np.arange(size, MOST_AREA + 1, size)
            row[f"unit_{release}"] = unit
            row[f"waste_{release}"] = round(float((-asked % unit).mean()))
        rows.append(row)
    return rows


def over_time(folder: Path) -> list[dict[str, Any]]:
    """The sweep: each release on a machine of its own from the same seeds; how many of its requests were given."""
    runs = read_results(folder).runs.to_pylist()
    shares = {}
    moved = {}
    for release in RELEASES:
        mine = sorted((run for run in runs if run["release"] == release), key=lambda run: run["seed"])
        asked = np.array([run["contig_success"] + run["contig_fail_busy"] + run["contig_fail_other"] for run in mine])
        given = np.array([run["contig_success"] for run in mine])
        shares[release] = given / asked
        moved[release] = np.array([run["pages_moved"] for run in mine]) / given
    return [
        {
            "release": release,
            "runs": len(one),
            "granted": figure(one),
            "more": figure(one - shares["5.15"]),
            "moved": figure(moved[release]),
        }
        for release, one in shares.items()
    ]


def summary(folder: Path) -> dict[str, Any]:
    """All numbers of the page; ``folder``: what ``pageblock sweep docs/studies/granularity/sweep.toml`` wrote."""
    cells = [(machine, workload) for machine in MACHINES for workload in WORKLOADS]
    return {
        "states": [row for machine, workload in cells for row in cell(machine, workload)],
        "over_time": over_time(folder),
        "unplugged": [unplugged(machine, workload) for machine, workload in cells],
        "alignments": alignments(),
        "kept": cell(*KEPT),
    }


def page(found: dict[str, Any]) -> str:
    """The tables in Markdown."""
    states = table(
        ("machine, use", "range", *(f"given: {release}" for release in RELEASES), "false -EBUSY: 5.15", "6.12"),
        (
            (
                f"{row['machine']}, {row['workload']}",
                size_words(row["size"]),
                *(percent(row[f"granted_{release}"]) for release in RELEASES),
                percent(row["false_5.15"]),
                percent(row["false_6.12"]),
            )
            for row in found["states"]
        ),
    )
    over = table(
        ("release", "runs", "given", "more than 5.15", "pages moved for each"),
        (
            (
                row["release"],
                str(row["runs"]),
                percent(row["granted"], 2),
                "–" if row["release"] == "5.15" else percent(row["more"], 2),
                f"{row['moved'][0]:,.0f} ({row['moved'][1]:,.0f} – {row['moved'][2]:,.0f})",
            )
            for row in found["over_time"]
        ),
    )
    plugs = table(
        ("machine, use", "steps", "can be unplugged: 5.15", "6.1 and later", "more"),
        (
            (
                f"{row['machine']}, {row['workload']}",
                f"{size_words(row['step_5.15'])}, {size_words(row['step_6.12'])}",
                *(_mib(row[f"bytes_{release}"], row["memory"]) for release in ("5.15", "6.12")),
                _mib(row["gain"], row["memory"]),
            )
            for row in found["unplugged"]
        ),
    )
    sizes = table(
        ("machine", "multiple of: 5.15", "6.1 and later", "rounding adds: 5.15", "6.1 and later"),
        (
            (
                row["machine"],
                *(size_words(row[f"unit_{release}"]) for release in ("5.15", "6.1")),
                *(f"{row[f'waste_{release}'] / (1 << 20):.1f} MiB" for release in ("5.15", "6.1")),
            )
            for row in found["alignments"]
        ),
    )
    parts = (
        ("The same states", states),
        ("Each on a machine of its own", over),
        ("Memory that virtio-mem can take back", plugs),
        ("What a CMA area is a multiple of", sizes),
    )
    return "\n".join(f"### {title}\n\n{rows}\n" for title, rows in parts)


def _mib(figure: list[float], memory: int) -> str:
    middle, low, high = (value / (1 << 20) for value in figure)
    return f"{middle:,.0f} MiB ({low:,.0f} – {high:,.0f}) of {memory >> 20:,}"


def draw(found: dict[str, Any], path: Path) -> None:
    """The share of requests that 5.15 and 6.12 refuse for nothing in the range, against their size."""
    curves: list[Curve] = []
    for machine in MACHINES:
        for release in ("5.15", "6.12"):
            rows = [row for row in found["states"] if (row["machine"], row["workload"]) == (machine.words, "full")]
            middle, low, high = (np.array([100 * row[f"false_{release}"][i] for row in rows]) for i in range(3))
            at = np.array([np.log2(row["size"] / (1 << 20)) for row in rows])
            curves.append((f"{release}, {machine.words}", at, middle, low, high, "linear"))
    draw_curves(
        path,
        curves,
        "size of the range, log2 of MiB",
        "% of requests refused for nothing in the range",
        "A full machine: -EBUSY for a page that nobody asked for",
        force=True,
    )


def main(folder: Path) -> None:
    """Write summary, page and picture."""
    write(HERE, summary(folder), page, draw, "false-busy.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
