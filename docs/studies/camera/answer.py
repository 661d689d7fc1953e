"""What the camera study found: the numbers of its sweeps, its page and its picture.

``python -m docs.studies.camera.answer DIR`` makes them anew; in DIR lie the results of each sweep file, in a folder of its stem.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pageblock.consumers.kernel import cma_min_alignment_pages
from pageblock.lab.sweep import Results, read_results
from pageblock.lab.sweep.curves import CONFIDENCE, interval
from pageblock.lab.workload import Workload, load_workload
from pageblock.mm import Geometry
from pageblock.view.plot import Curve, draw_curves

from ..pages import write
from .packing import MIB, Demand, buffers, cameras, demand, packed

__all__ = ["draw", "page", "summary"]

HERE = Path(__file__).parent

#: What "succeeds" means: the share of requests that are served.
WANTED = 0.999

#: Ticks of a run, and seeds of the runs by the bitmap alone.
TICKS, BITMAP_SEEDS = 300, 30

#: Sizes of an area beside what its buffers need at once, each a rule of thumb: (words, factor, largest buffers beyond it).
RULES = (
    ("what is alive at once", 1.0, 0),
    ("and 10 %", 1.1, 0),
    ("and 15 %", 1.15, 0),
    ("and 25 %", 1.25, 0),
    ("and 50 %", 1.5, 0),
    ("and the largest buffer once more", 1.0, 1),
    ("and the largest buffer twice more", 1.0, 2),
)

#: Cameras drawn at random to try the rules on, requests of each, and the seed of the draw.
CAMERAS, REQUESTS, DRAW = 100, 10_000, 1

#: How a request ends: columns of a run.
ENDS = ("success", "fail_no_room", "fail_fragmented", "fail_unaligned", "fail_busy", "fail_no_memory")

#: Machines whose alignment is told: (words, page size, max order, pageblock order).
MACHINES = (
    ("x86-64, arm64 with pages of 4 KiB", 4096, 10, 9),
    ("arm (32 bit)", 4096, 10, 10),
    ("arm64 with pages of 16 KiB", 16384, 11, 11),
    ("arm64 with pages of 64 KiB", 65536, 13, 13),
)


# ---- a cell: the runs of one release, size and machine ----


def _cells(results: Results, names: Sequence[str]) -> list[dict[str, Any]]:
    """A row for each combination of these parameters, summed over the seeds."""
    runs = results.runs.to_pylist()
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        rows.setdefault(tuple(run[name] for name in names), []).append(run)
    found = []
    for key, cell in sorted(rows.items(), key=lambda item: [_sortable(value) for value in item[0]]):
        row: dict[str, Any] = dict(zip(names, key, strict=True))
        row["runs"] = len(cell)
        row |= {how.removeprefix("fail_"): sum(run[f"cma_{how}"] for run in cell) for how in ENDS}
        row["asked"] = sum(row[how] for how in ("success", "no_room", "busy", "no_memory"))
        row["failed"] = row["asked"] - row["success"]
        row["moved_a_request"] = round(sum(run["pages_moved"] for run in cell) / row["asked"])
        row["busy_tries"] = sum(run["tries_busy"] for run in cell)
        row["starts"], row["starts_failed"] = (sum(count) for count in zip(*map(_starts, cell), strict=True))
        shares = [1 - run["cma_success_rate"] for run in cell]
        row["runs_without_failure"] = sum(share == 0 for share in shares)
        row["design_effect"] = _design_effect(shares, row["asked"] / len(cell))
        row["_shares"] = shares
        found.append(row)
    return found


def _sortable(value: Any) -> Any:
    return [int(part) for part in value.split(".")] if isinstance(value, str) and value[0].isdigit() else value


def _starts(run: dict[str, Any]) -> tuple[int, int]:
    """Times at which buffers were asked for, and those at which one was refused: a stream that lacks one cannot start."""
    times: dict[float, bool] = {}
    for sample in run["series"]:
        for one in sample["attempts"]:
            times[one["tick"]] = times.get(one["tick"], False) or one["errno"] != 0
    return len(times), sum(times.values())


def _design_effect(shares: Sequence[float], asked: float) -> float:
    """How many times more the mean of these runs' shares varies than if each request failed by itself; at least 1."""
    mean = float(np.mean(shares))
    if len(shares) < 2 or not 0 < mean < 1:
        return 1.0
    return round(max(1.0, float(np.var(shares, ddof=1)) * asked / (mean * (1 - mean))), 2)


def _bounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add share, low and high: the share of requests that fail, and its 95 % interval over runs.

    The wider of two: a percentile bootstrap over the seeds, and the exact binomial interval for as many independent requests as
    these are worth: their number over the largest design effect of these rows. The second says something where nothing failed.
    """
    effect = max(row["design_effect"] for row in rows)
    for row in rows:
        shares = row.pop("_shares")
        low, high = (float(bound[0]) for bound in interval(np.array(shares)[:, None]))
        worth, failed = row["asked"] / effect, row["failed"] / effect
        tail = (1 - CONFIDENCE) / 2
        exact_low = float(stats.beta.ppf(tail, failed, worth - failed + 1)) if failed else 0.0
        exact_high = float(stats.beta.ppf(1 - tail, failed + 1, worth - failed))
        row["share"] = row["failed"] / row["asked"]
        row["low"], row["high"] = round(min(low, exact_low), 7), round(max(high, exact_high), 7)
        row["enough"] = 1 - row["high"] >= WANTED
    return rows


def _smallest(rows: Sequence[dict[str, Any]], needs: Demand) -> dict[str, Any] | None:
    """The smallest size from which on all are enough; None: there is none."""
    found = None
    for row in sorted(rows, key=lambda row: -int(row["cma"])):
        if not row["enough"]:
            break
        found = int(row["cma"]) >> 12
    if found is None:
        return None
    return {
        "mib": found / MIB,
        "of_peak": round(found / needs.peak_pages, 3),
        "of_mean": round(found / needs.mean_pages, 2),
    }


# ---- without a machine ----


def _needs(workload: Workload) -> Demand:
    """The most of all seeds, and the mean over them."""
    found = [demand(workload, buffers(workload, seed, TICKS), TICKS) for seed in range(BITMAP_SEEDS)]
    most = max(one.peak_pages for one in found)
    return replace(found[0], peak_pages=most, mean_pages=float(np.mean([one.mean_pages for one in found])))


def _bitmap(workload: Workload, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """The share that finds no place in the bitmap alone, by size and CONFIG_CMA_ALIGNMENT."""
    asked = [buffers(workload, seed, TICKS) for seed in range(BITMAP_SEEDS)]
    rows = []
    for size in sizes:
        row: dict[str, Any] = {"cma": size, "asked": sum(map(len, asked))}
        for align in (0, 8, 12):
            row[f"align_{align}"] = sum(packed(one, size >> 12, align).failed for one in asked)
        rows.append(row)
    return rows


def _rules() -> list[dict[str, Any]]:
    """How many cameras drawn at random each rule serves, by the bitmap alone."""
    rows = [{"rule": words, "enough": 0, "enough_large": 0} for words, _, _ in RULES]
    large = 0
    for workload in cameras(CAMERAS, DRAW):
        ticks = TICKS * REQUESTS // len(buffers(workload, 0, TICKS))
        asked = buffers(workload, 0, ticks)
        needs = demand(workload, asked, ticks)
        is_large = needs.peak_pages >= 32 * MIB
        large += is_large
        for row, (_, factor, more) in zip(rows, RULES, strict=True):
            pages = needs.peak_pages * factor + more * needs.largest_pages
            # an area is whole pageblocks
            enough = packed(asked, -int(-pages // 512) * 512).failed <= (1 - WANTED) * len(asked)
            row["enough"] += enough  # type: ignore[operator]
            row["enough_large"] += enough and is_large  # type: ignore[operator]
    return [{**row, "cameras": CAMERAS, "cameras_large": large} for row in rows]


def _alignments() -> list[dict[str, Any]]:
    """What the size of an area is a multiple of, bytes."""
    return [
        {
            "machine": words,
            **{
                release: cma_min_alignment_pages(release, Geometry(1 << 20, 0, most, block, size, None)) * size
                for release in ("5.15", "6.1")
            },
        }
        for words, size, most, block in MACHINES
    ]


# ---- the study ----

#: Sweeps beside the main one, with what each changes.
VARIANTS = {
    "sweep-memory": "memory",
    "sweep-pageblocks": "pageblock_order",
    "sweep-pins": "workload",
    "sweep-held": "workload",
}

#: A run of each release whose numbers at the end the summary keeps, to be computed again.
KEPT = {"cma": 192 << 20, "seed": 0}
KEPT_NUMBERS = (*(f"cma_{how}" for how in ENDS), "tries_busy", "pages_moved", "pages_dropped", "free_pages")


def summary(folder: Path) -> dict[str, Any]:
    """All numbers of the page. ``folder`` holds the results of each sweep file in a folder of its stem."""
    camera, other = (load_workload(HERE / name) for name in ("camera.toml", "doorbell.toml"))
    needs, others = _needs(camera), _needs(other)
    main = read_results(folder / "sweep")
    rows = _cells(main, ("release", "cma"))
    releases = list(dict.fromkeys(row["release"] for row in rows))
    by_release = {release: _bounded([row for row in rows if row["release"] == release]) for release in releases}
    variants = []
    for stem in VARIANTS:
        results = read_results(folder / stem)
        found = _cells(results, (VARIANTS[stem], "cma"))
        for value in dict.fromkeys(row[VARIANTS[stem]] for row in found):
            cell = _bounded([row for row in found if row[VARIANTS[stem]] == value])
            variants.append({"by": VARIANTS[stem], "value": value, "rows": cell, "smallest": _smallest(cell, needs)})
    held_back = _bounded(_cells(read_results(folder / "sweep-held-back"), ("cma",)))
    return {
        "demand": {"camera": _told(needs), "doorbell": _told(others)},
        "releases": {
            release: {"rows": cell, "smallest": _smallest(cell, needs)} for release, cell in by_release.items()
        },
        "variants": variants,
        "held_back": {"rows": held_back, "smallest": _smallest(held_back, others)},
        "bitmap": _bitmap(camera, sorted({row["cma"] for row in rows})),
        "rules": _rules(),
        "alignments": _alignments(),
        "kept": _kept(main),
    }


def _told(needs: Demand) -> dict[str, float]:
    return {
        "peak_mib": round(needs.peak_pages / MIB, 2),
        "mean_mib": round(needs.mean_pages / MIB, 2),
        "sum_mib": round(needs.sum_pages / MIB, 2),
        "largest_mib": round(needs.largest_pages / MIB, 2),
    }


def _kept(results: Results) -> list[dict[str, Any]]:
    kept = [run for run in results.runs.to_pylist() if all(run[name] == value for name, value in KEPT.items())]
    names = ("release", "cma", "seed", *KEPT_NUMBERS)
    return sorted(({name: run[name] for name in names} for run in kept), key=lambda run: _sortable(run["release"]))


# ---- the page ----

#: Columns of a table of runs.
COLUMNS = (
    "`cma=`",
    "requests",
    "fail",
    "95 % interval",
    "no room",
    "of these in pieces",
    "-EBUSY",
    "stream starts that fail",
    "runs without a failure",
    "pages moved a request",
)


def page(found: dict[str, Any]) -> str:
    """The tables, in Markdown."""
    releases = found["releases"]
    parts = [
        _alive(found["demand"]),
        "### Smallest size of those tried with 99.9 %",
        _table(
            ("release", "`cma=`", "of the most alive at once", "of the average"),
            [(release, *_answer(one["smallest"])) for release, one in releases.items()],
        ),
        "### Requests that fail, and why",
        _table(
            ("release", *COLUMNS),
            [(release, *_row(row)) for release, one in releases.items() for row in one["rows"]],
        ),
        "### The bitmap alone, by CONFIG_CMA_ALIGNMENT",
        _table(
            ("`cma=`", "requests", "not aligned", "8: 1 MiB, the default", "12: 16 MiB, the most"),
            [
                (
                    _mib(row["cma"]),
                    f"{row['asked']:,}",
                    *(_percent(row[f"align_{n}"] / row["asked"]) for n in (0, 8, 12)),
                )
                for row in found["bitmap"]
            ],
        ),
        "### What it depends on (release 6.12)",
        _table(
            ("changed", *COLUMNS),
            [(_changed(one), *_row(row)) for one in found["variants"] for row in one["rows"]],
        ),
        "### Another camera, held back (release 6.12)",
        _table(
            ("of the most alive at once", *COLUMNS),
            [
                (f"{(row['cma'] >> 20) / found['demand']['doorbell']['peak_mib']:.2f} ×", *_row(row))
                for row in found["held_back"]["rows"]
            ],
        ),
        f"### Rules of thumb on {CAMERAS} cameras drawn at random (the bitmap alone)",
        _table(
            ("the area is", "of all, 99.9 % of the requests served", "of those that need 32 MiB or more"),
            [
                (
                    row["rule"],
                    f"{row['enough']} of {row['cameras']}",
                    f"{row['enough_large']} of {row['cameras_large']}",
                )
                for row in found["rules"]
            ],
        ),
        "### What an area's size is rounded up to",
        _table(
            ("machine", "5.15", "6.1, 6.12, 6.19"),
            [(row["machine"], _mib(row["5.15"]), _mib(row["6.1"])) for row in found["alignments"]],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _alive(needs: dict[str, dict[str, float]]) -> str:
    lines = [
        (
            f"`{name}.toml`",
            *(f"{told[f'{what}_mib']:,.1f} MiB" for what in ("sum", "peak", "mean", "largest")),
        )
        for name, told in needs.items()
    ]
    return _table(("camera", "all its buffers", "most alive at once", "average", "largest buffer"), lines)


def _answer(smallest: dict[str, Any] | None) -> tuple[str, str, str]:
    if smallest is None:
        return "none of these", "–", "–"
    return f"{smallest['mib']:,.0f} MiB", f"{smallest['of_peak']:.2f} ×", f"{smallest['of_mean']:.1f} ×"


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        _mib(row["cma"]),
        f"{row['asked']:,}",
        _percent(row["share"]),
        f"{_percent(row['low'])} – {_percent(row['high'])}",
        f"{row['no_room']:,}",
        f"{row['fragmented']:,}",
        f"{row['busy']:,}",
        _percent(row["starts_failed"] / row["starts"]),
        f"{row['runs_without_failure']} of {row['runs']}",
        f"{row['moved_a_request']:,}",
    )


def _mib(size: int) -> str:
    return f"{size >> 20:,} MiB"


def _percent(share: float) -> str:
    return f"{share:.3%}" if share else "0"


def _changed(one: dict[str, Any]) -> str:
    value = one["value"]
    if one["by"] == "memory":
        return f"memory {_mib(value)}"
    return f"pageblocks of {4 << value >> 10} MiB" if one["by"] == "pageblock_order" else f"`{value}`"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)]), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def draw(found: dict[str, Any], path: Path) -> None:
    """The share of requests that fail against the size, by release, and with pages that are held for minutes."""
    # releases of which every share is the same are one curve
    same: dict[tuple[float, ...], list[str]] = {}
    for release, one in found["releases"].items():
        same.setdefault(tuple(row["share"] for row in one["rows"]), []).append(release)
    rows = {", ".join(alike): found["releases"][alike[0]]["rows"] for alike in same.values()}
    held = next(one for one in found["variants"] if one["value"] == "camera-held.toml")
    rows["6.12, ten pages held for minutes"] = held["rows"]
    # what never failed has no place on a logarithmic scale: it is drawn as half a request
    least = 0.5 / max(row["asked"] for cell in rows.values() for row in cell)
    curves: list[Curve] = []
    for name, cell in rows.items():
        share, low, high = (np.maximum([row[what] for row in cell], least) for what in ("share", "low", "high"))
        curves.append((name, np.array([row["cma"] >> 20 for row in cell]), share, low, high, "linear"))
    draw_curves(
        path,
        curves,
        "cma=, MiB",
        "share of requests that fail",
        f"A camera whose buffers need {found['demand']['camera']['peak_mib']:,.0f} MiB at once",
        force=True,
        limits=(least / 2, 0.1),
        log=True,
        mark=(1 - WANTED, "99.9 % served"),
    )


def main(folder: Path) -> None:
    """Write summary, page and picture."""
    write(HERE, summary(folder), page, draw, "fails.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
