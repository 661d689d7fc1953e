"""The seed's seven patches and the faults of the posted version: what each changes, on a small zone and on a machine.

Source: "remove the MAX_ORDER - 1 alignment requirement for CMA and alloc_contig_range()" (linux-mm, January 2022).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from ..check.shortest import Found, Menu, consequences
from ..machine import Snapshot
from ..mm import FAULTS, PATCHES
from .alignment import Alignment, alignment
from .passes import Pass, Setting, take_and_give_back

__all__ = ["SEED", "WORLDS", "Row", "Series", "series"]

#: The series with everything on: what each row is compared with.
SEED = "seed"

#: Small zones on which sequences are tried, the next where the one before shows nothing: two pageblocks of two pages to a max
#: order block as on x86-64 (there 512 pages each), four, and longer sequences.
WORLDS = (Menu(cma=True), Menu(max_order=3), Menu(depth=3))


@dataclass(frozen=True, slots=True)
class Row:
    """One switch of the series.

    ``switch``: "patch 4 off", "fault c on", …, "all off", "as posted"; ``release``: the rules that it makes. ``found``: a
    shortest sequence for each symptom that the series does not show, on the small zone ``world``. ``whole``, ``inside``: see
    ``Series``. ``note``: why there is nothing to show.
    """

    switch: str
    title: str
    release: str
    found: tuple[Found, ...] = ()
    world: Menu | None = None
    whole: Pass | None = None
    inside: Pass | None = None
    alignment: Alignment | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """All rows. ``whole``: every pageblock of the machine taken under ``seed``; ``inside``: the middle half of each."""

    source: str
    kernel: str | None
    page_size: int
    pageblock_order: int
    max_order: int
    whole: Pass
    inside: Pass
    rows: tuple[Row, ...]


def series(snapshot: Snapshot, progress: Callable[[int, int], None] | None = None, jobs: int | None = None) -> Series:
    """Turn each patch off and each fault on, one at a time, and see what follows.

    ``progress(done, total)`` is called with rows; ``jobs``: processes, None: one a CPU. Raises InputError for a snapshot
    without pages.
    """
    switches = list(_switches())
    whole, inside = (take_and_give_back(snapshot, SEED, setting) for setting in _settings(snapshot))
    rows: list[Row] = []
    # a row takes seconds, and none needs another
    with ProcessPoolExecutor(jobs or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for i, row in enumerate(pool.map(_Task(snapshot, whole), switches)):
            rows.append(row)
            if progress is not None:
                progress(i + 1, len(switches))
    return Series(
        snapshot.source,
        snapshot.kernel,
        snapshot.page_size,
        snapshot.pageblock_order,
        snapshot.max_order,
        whole,
        inside,
        tuple(rows),
    )


def _settings(snapshot: Snapshot) -> tuple[Setting, Setting]:
    """Every pageblock, and the middle half of every pageblock."""
    block = 1 << snapshot.pageblock_order
    return Setting(block, 0, block), Setting(block, block // 4, max(block // 2, 1))


@dataclass(frozen=True, slots=True)
class _Task:
    """Makes the row of a switch, in a process of its own."""

    snapshot: Snapshot
    whole: Pass

    def __call__(self, switch: tuple[str, str, str, str]) -> Row:
        name, title, release, note = switch
        aligned = None if note else alignment(self.snapshot, release, SEED, self.whole)
        if note or aligned:
            return Row(name, title, release, alignment=aligned, note=note)
        found, world = _sequences(release)
        whole, inside = (take_and_give_back(self.snapshot, release, setting) for setting in _settings(self.snapshot))
        return Row(name, title, release, found, world, whole, inside)


def _switches() -> Iterator[tuple[str, str, str, str]]:
    """Of each row: the switch, its title, the release that it makes, why it shows nothing."""
    for number, patch in PATCHES.items():
        yield f"patch {number} off", patch.title, f"{SEED}-p{number}", patch.not_modelled
    for letter, fault in FAULTS.items():
        yield f"fault {letter} on", fault.title, f"{SEED}+f{letter}", fault.not_modelled
    yield "all off", "the kernel before the series", "5.15", ""
    yield "as posted", "the series with all of these faults, but e", "seed-as-posted", ""


def _sequences(release: str) -> tuple[tuple[Found, ...], Menu | None]:
    """The shortest sequences on the first world that shows any."""
    for world in WORLDS:
        found = consequences(release, SEED, world)
        if found:
            return found, world
    return (), None
