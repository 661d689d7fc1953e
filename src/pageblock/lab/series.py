"""The seed's seven patches and the faults of the posted version: what each changes, on a small zone and on a machine.

Source: "remove the MAX_ORDER - 1 alignment requirement for CMA and alloc_contig_range()" (linux-mm, January 2022).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from ..check.shortest import BUG, Found, Menu, consequences
from ..machine import Snapshot
from ..mm import FAULTS, OPERATION, PATCHES, Migratetype, PageClass, Zone
from ..mm import constants as k
from ..mm import release as find_release
from .trial import load_memory

__all__ = ["SEED", "WORLDS", "Alignment", "Pass", "Row", "Series", "Setting", "series"]

#: The series with everything on: what each row is compared with.
SEED = "seed"

#: Small zones on which sequences are tried, the next where the one before shows nothing: two pageblocks of two pages to a max
#: order block as on x86-64 (there 512 pages each), four, and longer sequences.
WORLDS = (Menu(cma=True), Menu(max_order=3), Menu(depth=3))


@dataclass(frozen=True, slots=True)
class Setting:
    """Ranges asked for one after the other: of each stretch of ``stride`` pages the ``nr_pages`` from ``offset`` on."""

    stride: int
    offset: int
    nr_pages: int


@dataclass(frozen=True, slots=True)
class Pass:
    """Ranges of a machine taken by alloc_contig_range and given back, one after the other, under one release.

    ``ranges`` were asked for; of these ``granted`` and ``refused``; with ``bugs`` the kernel would have stopped, after ``broken``
    a free page lies over pages in use. At the end NR_FREE_PAGES is wrong by ``drift`` pages, ``isolated`` pageblocks are
    isolated, and ``retyped`` have another type than before.
    """

    ranges: int
    granted: int
    refused: int
    bugs: int
    broken: int
    drift: int
    isolated: int
    retyped: int

    def __add__(self, other: "Pass") -> "Pass":
        return Pass(
            self.ranges + other.ranges,
            self.granted + other.granted,
            self.refused + other.refused,
            self.bugs + other.bugs,
            self.broken + other.broken,
            self.drift + other.drift,
            self.isolated + other.isolated,
            self.retyped + other.retyped,
        )


@dataclass(frozen=True, slots=True)
class Alignment:
    """What a consumer must align to, in pages: with the whole series and without this patch.

    ``figure``: what that costs on the machine, ``with_series`` and ``without``, in ``unit`` ("pages" or "places").
    """

    what: str
    aligned: int
    aligned_before: int
    figure: str
    unit: str
    with_series: int
    without: int


@dataclass(frozen=True, slots=True)
class Row:
    """One switch of the series.

    ``switch``: "patch 4 off", "fault c on", …; ``release``: the rules that it makes. ``found``: a shortest sequence for each
    symptom that the series does not show, on the small zone ``world``. ``whole``, ``inside``: see ``Series``. ``note``: why
    there is nothing to show.
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
        alignment = None if note else _alignment(self.snapshot, release, self.whole)
        if note or alignment:
            return Row(name, title, release, alignment=alignment, note=note)
        found, world = _sequences(release)
        whole, inside = (take_and_give_back(self.snapshot, release, setting) for setting in _settings(self.snapshot))
        return Row(name, title, release, found, world, whole, inside)


def _switches() -> Iterator[tuple[str, str, str, str]]:
    """Of each row: the switch, its title, the release that it makes, why it shows nothing."""
    for number, patch in PATCHES.items():
        yield f"patch {number} off", patch.title, f"{SEED}-p{number}", patch.not_modelled
    for letter, fault in FAULTS.items():
        yield f"fault {letter} on", fault.title, f"{SEED}+f{letter}", fault.not_modelled


def _sequences(release: str) -> tuple[tuple[Found, ...], Menu | None]:
    """The shortest sequences on the first world that shows any."""
    for world in WORLDS:
        found = consequences(release, SEED, world)
        if found:
            return found, world
    return (), None


def _alignment(snapshot: Snapshot, release: str, whole: Pass) -> Alignment | None:
    """What a switch changes that only consumers ask for; None if it is the allocator that changes."""
    block = 1 << snapshot.pageblock_order
    sizes = {k.ALIGN_PAGEBLOCK: block, k.ALIGN_MAX_ORDER: max(1 << snapshot.max_order, block)}
    rules, base = find_release(release).rules, find_release(SEED).rules

    def changed(rule: int) -> bool:
        return rules[rule] != base[rule]

    for rule in filter(changed, (k.RULE_CMA_ALIGN, k.RULE_VIRTIO_SUBBLOCK, k.RULE_FADUMP_ALIGN)):
        now, before = sizes[base[rule]], sizes[rules[rule]]
        if rule == k.RULE_CMA_ALIGN:
            what = "base and size of a CMA area (cma=, shared-dma-pool)"
            places = [
                sum(max(zone.end_pfn // n - -(-zone.start_pfn // n), 0) for zone in snapshot.zones)
                for n in (now, before)
            ]
            return Alignment(what, now, before, "places for an area of that size", "places", *places)
        if rule == k.RULE_VIRTIO_SUBBLOCK:
            what = "smallest step in which virtio-mem plugs and unplugs"
            larger = take_and_give_back(snapshot, release, Setting(before, 0, before))
            figure = "memory that can be unplugged now"
            return Alignment(what, now, before, figure, "pages", whole.granted * now, larger.granted * before)
        what = "base and size of what fadump reserves for CMA"
        return Alignment(what, now, before, "most that rounding adds", "pages", now - 1, before - 1)
    return None


def take_and_give_back(snapshot: Snapshot, release: str, setting: Setting) -> Pass:
    """Ask for every range of a setting that lies inside a zone, and give each back at once."""
    total = Pass(0, 0, 0, 0, 0, 0, 0, 0)
    for member in load_memory(snapshot, release).members:
        total += _take_zone(member.zone, setting)
    return total


def _take_zone(zone: Zone, setting: Setting) -> Pass:
    first = -(-(zone.start_pfn - setting.offset) // setting.stride) * setting.stride + setting.offset
    before = zone.saved_state()
    types = zone.pageblock_types
    granted = refused = bugs = broken = 0
    drift = -(zone.nr_free_pages - really_free(zone))
    starts = range(max(first, setting.offset), zone.end_pfn - setting.nr_pages + 1, setting.stride)
    for start in starts:
        given = _take(zone, start, setting.nr_pages)
        granted += given >= 0
        refused += BUG < given < 0
        bugs += given == BUG
        overlap = given >= 0 and _blocks_overlap(zone, start, start + setting.nr_pages)
        broken += overlap
        if overlap or given == BUG:
            # what such a kernel does next says nothing about the next range: that is asked of the machine as it was
            zone.load_state({**before, "arrays": tuple(a.copy() for a in before["arrays"])})
    after = zone.pageblock_types
    drift += zone.nr_free_pages - really_free(zone)
    isolated = int((after == Migratetype.ISOLATE).sum())
    retyped = int(((after != types) & (after != Migratetype.ISOLATE)).sum())
    return Pass(len(starts), granted, refused, bugs, broken, drift, isolated, retyped)


def _take(zone: Zone, start_pfn: int, nr_pages: int) -> int:
    """Take a range and give it back: its pfn, or a negated errno. A range in a CMA pageblock is asked for as CMA."""
    of_block = zone.page(start_pfn).pageblock_type
    rows = np.zeros(2, OPERATION)
    rows["op"] = (3, 4)
    rows["migratetype"] = Migratetype.CMA if of_block == Migratetype.CMA else Migratetype.MOVABLE
    rows["flags"] = (int(PageClass.KERNEL), 0)
    rows["start"] = start_pfn - zone.start_pfn
    rows["nr"] = nr_pages
    return int(zone.run(rows)[0])


def _blocks_overlap(zone: Zone, start_pfn: int, end_pfn: int) -> bool:
    """Whether a block begins inside another one, in the largest windows around a range: a free page over pages in use."""
    size = 1 << max(zone.geometry.max_order, zone.geometry.pageblock_order)
    first, end = max(start_pfn // size * size, zone.start_pfn), min(-(-end_pfn // size) * size, zone.end_pfn)
    pfns, orders = zone.blocks_in(first, end)
    return bool((pfns[:-1] + (np.int64(1) << orders[:-1].astype(np.int64)) > pfns[1:]).any())


def really_free(zone: Zone) -> int:
    """Pages in free blocks outside isolated pageblocks."""
    shift = zone.geometry.pageblock_order
    first = zone.start_pfn >> shift
    counted = zone.pageblock_types != Migratetype.ISOLATE
    before = np.concatenate([[0], np.cumsum(counted)])
    pages = 0
    for order in range(zone.geometry.max_order + 1):
        for migratetype in Migratetype:
            pfns = zone.free_list(order, migratetype).astype(np.int64)
            block = (pfns >> shift) - first
            if order <= shift:
                pages += int(counted[block].sum()) << order
            else:
                pages += int((before[block + (1 << (order - shift))] - before[block]).sum()) << shift
    return pages
