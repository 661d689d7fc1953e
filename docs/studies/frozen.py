"""One state of a machine, asked under several releases: what their rules differ in, apart from what each has led to.

Two releases that run the same workload part at the first request that they answer differently; from then on they have
different machines, and a comparison at the end mixes the rule with its history. Here a machine is run once, and each request
is put to that state anew under every release.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from pageblock.lab.run import Settings, prepared
from pageblock.lab.sweep.curves import interval
from pageblock.lab.workload import Anonymous, load_workload
from pageblock.mm import Zone
from pageblock.mm.errors import ContigRefused

__all__ = [
    "ENDS",
    "Asked",
    "Machine",
    "Range",
    "ask",
    "falsely",
    "figure",
    "granted",
    "percent",
    "ranges",
    "share",
    "size_words",
    "state_of",
    "table",
]

Range = tuple[int, int]

EBUSY = 16

#: How a request ends: given; -EBUSY for a page inside it; for one outside; no place to move its pages to.
ENDS = ("granted", "inside", "outside", "no_memory")


@dataclass(frozen=True, slots=True)
class Machine:
    """A geometry: page size in bytes, orders, memory in bytes; ``thp_order``: of the huge pages of its programs."""

    words: str
    page_size: int
    max_order: int
    pageblock_order: int
    memory_bytes: int
    thp_order: int

    @property
    def nr_pages(self) -> int:
        return self.memory_bytes // self.page_size

    @property
    def pageblock_bytes(self) -> int:
        return self.page_size << self.pageblock_order

    @property
    def window_bytes(self) -> int:
        """What 5.15 isolates at once: the larger of a max order block and a pageblock."""
        return self.page_size << max(self.max_order, self.pageblock_order)

    def zone(self, release: str) -> Zone:
        """Its one zone, without the memory of a past."""
        orders = (self.max_order, self.pageblock_order)
        return Zone(self.nr_pages, release, 0, *orders, page_size=self.page_size, populate=False)


def state_of(workload: Path, machine: Machine, seed: int, ticks: int, release: str) -> dict[str, Any]:
    """The saved state of the machine after so many ticks of a workload under a release."""
    settings = Settings(
        release=release,
        max_order=machine.max_order,
        pageblock_order=machine.pageblock_order,
        memory_bytes=machine.memory_bytes,
        page_size=machine.page_size,
        seed=seed,
        ticks=ticks,
    )
    mix = load_workload(workload)
    actors = tuple(
        replace(actor, thp_order=machine.thp_order) if isinstance(actor, Anonymous) else actor for actor in mix.actors
    )
    engine, _ = prepared(replace(mix, actors=actors), settings)
    for tick in range(ticks):
        engine.tick(tick)
    (zone,) = engine.zones
    state = zone.saved_state()
    # a zone that takes over what may not be written works on copies
    for array in (*state["arrays"], state["beneath"]):
        array.setflags(write=False)
    return state


def ranges(machine: Machine, size_bytes: int, align_bytes: int, count: int, seed: int) -> list[Range]:
    """Random ranges of a size, aligned, as [start, end) of pfns; each place as likely as the others."""
    pages, align = size_bytes // machine.page_size, align_bytes // machine.page_size
    places = (machine.nr_pages - pages) // align + 1
    random = Random(f"{size_bytes}/{align_bytes}/{seed}")
    starts = random.sample(range(places), min(count, places))
    return [(start * align, start * align + pages) for start in sorted(starts)]


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers of one state, range by range.

    ``ends``: how each ended, an index into ``ENDS``; ``moved``: pages moved for it, if it was given; ``moved_outside``: those of
    them that lay outside the range.
    """

    ends: npt.NDArray[np.int8]
    moved: npt.NDArray[np.int64]
    moved_outside: npt.NDArray[np.int64]


def ask(machine: Machine, release: str, state: dict[str, Any], asked: Sequence[Range]) -> Asked:
    """Put each range to the state anew, under the rules of a release."""
    ends = np.zeros(len(asked), np.int8)
    moved, outside = np.zeros((2, len(asked)), np.int64)
    zone = machine.zone(release)
    for i, (start, end) in enumerate(asked):
        zone.take_state(state)
        try:
            done = zone.alloc_contig_range(start, end)
        except ContigRefused as refused:
            how = "no_memory" if refused.errno != EBUSY else "inside" if start <= refused.pfn < end else "outside"
            ends[i] = ENDS.index(how)
            continue
        moved[i] = sum(1 << order for _, _, order in done.moved)
        outside[i] = sum(1 << order for source, _, order in done.moved if not start <= source < end)
    return Asked(ends, moved, outside)


def granted(one: Asked) -> npt.NDArray[np.bool_]:
    """Which ranges were given."""
    return np.equal(one.ends, 0)


def falsely(one: Asked, alone: Asked) -> npt.NDArray[np.bool_]:
    """Which were refused although nothing in the range itself stands in the way: ``alone`` looks at nothing else (the seed)."""
    return granted(alone) & ~granted(one)


def share(states: Sequence[npt.NDArray[np.bool_]]) -> list[float]:
    """Share of the ranges, with its 95 % interval: a bootstrap over the states, not over the ranges, which share a state."""
    return figure([float(one.mean()) for one in states])


def figure(values: Any) -> list[float]:
    """The mean of a value a state or a run, with its 95 % interval."""
    array = np.asarray(values, float)
    low, high = (float(bound[0]) for bound in interval(array[:, None]))
    return [round(value, 6) for value in (float(array.mean()), low, high)]


def size_words(size: int) -> str:
    """Bytes, as a person says them."""
    return f"{size >> 20:,} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def percent(figure: Sequence[float], digits: int = 1) -> str:
    """A share and its interval; 0 where it never happened."""
    if not any(figure):
        return "0"
    middle, low, high = (f"{100 * value:.{digits}f}" for value in figure)
    return f"{middle} % ({low} – {high})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the first column is words, the others are numbers."""
    lines: Iterator[str] = (" | ".join(row) for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows))
    return "\n".join(f"| {line} |" for line in lines)
