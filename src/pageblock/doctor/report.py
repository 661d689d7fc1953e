"""From a snapshot to the doctor's answer: rows, cheapest ranges, blockers, maps and what is uncertain."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..machine import Remark, Snapshot, ZoneInfo
from ..machine.zones import snapshot_zones
from ..mm import Zone
from ..mm import release as find_release
from .sizes import default_sizes
from .verdict import BLOCKED, CMA_BLOCK, FREE, HOLE, MOVABLE, NO_PFN, REASONS, Verdicts, judge

__all__ = ["Blocker", "Bound", "CheapRange", "Report", "Row", "ZoneMap", "diagnose"]

#: Whose windows the others are compared with.
OLD_RULE = "5.15"

DEFAULT_RELEASES = ("5.15", "seed", "6.1")

#: Largest number of cells of a zone's map.
MAP_CELLS = 128


@dataclass(frozen=True)
class CheapRange:
    """A range that can be had: ``[start_pfn, start_pfn + nr_pages)``, pages to migrate and clean pages dropped."""

    zone: str
    start_pfn: int
    nr_pages: int
    cost: int
    dropped: int


@dataclass(frozen=True)
class Blocker:
    """One reason that ranges are refused: how many ranges, how many it alone holds back, and an example pfn.

    ``alone_by_one_page``: ranges that one single page of this kind holds back; ``example_alone``: such a range.
    """

    reason: str
    ranges: int
    alone: int
    alone_by_one_page: int
    example_pfn: int
    example_alone: tuple[int, int] | None


@dataclass(frozen=True)
class Row:
    """Verdicts of one size under one release, all zones together. Costs in pages, None where nothing is movable."""

    release: str
    nr_pages: int
    ranges: int
    free: int
    movable: int
    blocked: int
    least: int | None
    median: int | None
    total: int
    more_than_old_rule: int | None
    cheapest: tuple[CheapRange, ...]
    blockers: tuple[Blocker, ...]
    zones: tuple[Verdicts, ...]


@dataclass(frozen=True)
class Bound:
    """What can be said of a size without kpageflags: free ranges at least, and at most by the free pages."""

    nr_pages: int
    free_at_least: int
    free_at_most: int


@dataclass(frozen=True)
class ZoneMap:
    """A zone drawn in cells of ``nr_pages``: one character a cell (see ``view.doctor``)."""

    zone: str
    nr_pages: int
    release: str
    cells: str


@dataclass(frozen=True)
class Report:
    """The doctor's answer. ``confidence`` is the least certain of the remarks that could change a verdict."""

    source: str
    kernel: str | None
    page_size: int
    max_order: int
    pageblock_order: int
    zones: tuple[ZoneInfo, ...]
    releases: tuple[str, ...]
    rows: tuple[Row, ...]
    bounds: tuple[Bound, ...]
    maps: tuple[ZoneMap, ...]
    remarks: tuple[Remark, ...]
    missing: tuple[str, ...]
    seconds_read: float
    seconds_judged: float = field(compare=False)

    @property
    def confidence(self) -> float | None:
        """Share of certainty, 0 to 1; None where nothing was judged."""
        known = [remark.certain for remark in self.remarks if remark.certain is not None]
        return min(known) if known and self.rows else None


def choose_zones(snapshot: Snapshot, wanted: Sequence[str]) -> list[int]:
    """Indexes of the zones named (``Normal``, ``0:Normal`` or ``node 0 Normal``); all if none is named.

    Raises:
        InputError: a name that no zone has.
    """
    if not wanted:
        return list(range(len(snapshot.zones)))
    chosen: list[int] = []
    for name in wanted:
        found = [
            i
            for i, z in enumerate(snapshot.zones)
            if name.lower() in (z.name.lower(), f"{z.node}:{z.name}".lower(), z.label.lower())
        ]
        if not found:
            raise InputError(
                f"no zone {name!r} here: choose from {', '.join(f'{z.node}:{z.name}' for z in snapshot.zones)}"
            )
        chosen += [i for i in found if i not in chosen]
    return chosen


def free_targets(snapshot: Snapshot, index: int) -> int:
    """Free pages that a page of this zone may migrate to: its own zone and lower ones, above their min watermarks.

    alloc_migration_target asks without __GFP_THISNODE, so other nodes' zones of the same or a lower kind count too
    (mm/migrate.c, 6.1). The lowmem reserve protects lower zones.
    """
    ranks = ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"]

    def rank(zone: ZoneInfo) -> int:
        return ranks.index(zone.name) if zone.name in ranks else ranks.index("Normal")

    mine = rank(snapshot.zones[index])
    total = 0
    for zone in snapshot.zones:
        if rank(zone) <= mine:
            reserve = zone.protection[mine] if rank(zone) < mine and mine < len(zone.protection) else 0
            total += max(0, zone.free_pages - zone.wmark_min - reserve)
    return total


def diagnose(
    snapshot: Snapshot,
    sizes: Sequence[int] = (),
    releases: Sequence[str] = DEFAULT_RELEASES,
    zones: Sequence[str] = (),
) -> Report:
    """Judge every aligned range of each size (pages, powers of two) under each release.

    Raises:
        InputError: an unknown zone. ReleaseError: an unknown release.
    """
    began = time.perf_counter()
    for name in releases:
        find_release(name)
    wanted = list(sizes) or default_sizes(snapshot.page_size, snapshot.pageblock_order, snapshot.max_order)
    chosen = choose_zones(snapshot, zones)
    rows: list[Row] = []
    bounds: list[Bound] = []
    maps: list[ZoneMap] = []
    if snapshot.runs is None:
        bounds = [bound(snapshot, chosen, size) for size in wanted]
    else:
        # the state does not depend on the release; 5.15 takes every geometry
        models = snapshot_zones(snapshot, OLD_RULE)
        for size in wanted:
            old: int | None = None
            for name in dict.fromkeys((OLD_RULE, *releases)):
                verdicts = [judge(models[i], name, size, free_targets(snapshot, i)) for i in chosen]
                had = sum(v.had for v in verdicts)
                if name == OLD_RULE:
                    old = had
                if name in releases:
                    more = had - old if old is not None and name != OLD_RULE else None
                    rows.append(summarize(name, size, verdicts, [models[i] for i in chosen], more))
        maps = [draw_map(models[i], releases[-1]) for i in chosen]
    return Report(
        source=snapshot.source,
        kernel=snapshot.kernel,
        page_size=snapshot.page_size,
        max_order=snapshot.max_order,
        pageblock_order=snapshot.pageblock_order,
        zones=tuple(snapshot.zones[i] for i in chosen),
        releases=tuple(releases),
        rows=tuple(rows),
        bounds=tuple(bounds),
        maps=tuple(maps),
        remarks=snapshot.remarks,
        missing=snapshot.missing,
        seconds_read=snapshot.seconds_read,
        seconds_judged=time.perf_counter() - began,
    )


def summarize(
    release: str, nr_pages: int, verdicts: Sequence[Verdicts], models: Sequence[Zone], more: int | None
) -> Row:
    """One row from the zones' verdicts."""
    costs = np.concatenate([v.cost[v.verdict == MOVABLE] for v in verdicts] or [np.zeros(0, np.int64)])
    hole = sum(v.count(HOLE) for v in verdicts)
    return Row(
        release=release,
        nr_pages=nr_pages,
        ranges=sum(len(v.verdict) for v in verdicts) - hole,
        free=sum(v.count(FREE) for v in verdicts),
        movable=sum(v.count(MOVABLE) for v in verdicts),
        blocked=sum(v.count(BLOCKED) for v in verdicts),
        least=int(costs.min()) if len(costs) else None,
        median=int(np.median(costs)) if len(costs) else None,
        total=int(costs.sum()),
        more_than_old_rule=more,
        cheapest=cheapest(verdicts, 5),
        blockers=blockers(verdicts, models),
        zones=tuple(verdicts),
    )


def cheapest(verdicts: Sequence[Verdicts], count: int) -> tuple[CheapRange, ...]:
    """The ranges that cost least, free ones first, then by cost, by clean pages dropped, by pfn."""
    found: list[CheapRange] = []
    for v in verdicts:
        had = np.flatnonzero((v.verdict == FREE) | (v.verdict == MOVABLE))
        best = had[np.lexsort((v.start_pfn[had], v.dropped[had], v.cost[had]))[:count]]
        found += [CheapRange(v.zone, int(v.start_pfn[i]), v.nr_pages, int(v.cost[i]), int(v.dropped[i])) for i in best]
    return tuple(sorted(found, key=lambda r: (r.cost, r.dropped, r.start_pfn))[:count])


def blockers(verdicts: Sequence[Verdicts], models: Sequence[Zone]) -> tuple[Blocker, ...]:
    """What blocks the blocked ranges, the most frequent first."""
    found: list[Blocker] = []
    for bit, words in REASONS.items():
        ranges = alone = by_one = 0
        example: int | None = None
        example_alone: tuple[int, int] | None = None
        for v, zone in zip(verdicts, models, strict=True):
            blocked = v.verdict == BLOCKED
            has = blocked & (v.reasons >> np.uint32(bit) & 1 > 0)
            only = blocked & (v.reasons == 1 << bit)
            single = only & (v.nr_blockers == 1)
            ranges += int(has.sum())
            alone += int(only.sum())
            by_one += int(single.sum())
            if example_alone is None and single.any():
                i = int(np.argmax(single))
                example_alone = (int(v.start_pfn[i]), int(v.start_pfn[i]) + v.nr_pages)
                example = int(v.blocker_pfn[i])
            if example is None and has.any():
                example = example_pfn(zone, v, bit, int(np.argmax(only if only.any() else has)))
        if ranges and example is not None:
            found.append(Blocker(words, ranges, alone, by_one, example, example_alone))
    return tuple(sorted(found, key=lambda b: (-b.ranges, b.reason)))


def example_pfn(zone: Zone, v: Verdicts, bit: int, index: int) -> int:
    """First pfn in the way of one range for one reason: of that page class, or what the verdict names."""
    start = int(v.start_pfn[index])
    if bit < CMA_BLOCK:
        # the rule may look beyond the range, to the end of its max order window
        window = max(1 << zone.geometry.max_order, 1 << zone.geometry.pageblock_order, v.nr_pages)
        start = max(start // window * window, zone.start_pfn)
        stretch = zone.survey(start, 1, min(window, zone.end_pfn - start))
        hits = np.flatnonzero(stretch[:, 5] >> np.uint32(bit) & 1)
        if len(hits):
            return start + int(hits[0])
    known = v.blocker_pfn[index]
    return start if known == NO_PFN else int(known)


def bound(snapshot: Snapshot, chosen: Sequence[int], nr_pages: int) -> Bound:
    """Free ranges of a size as far as buddyinfo tells: blocks of that order or more; above max order, none is sure."""
    order = nr_pages.bit_length() - 1
    # below pageblock order free buddies always merge; from there up two of them may stand side by side
    smallest = min(order, snapshot.pageblock_order)
    least = most = 0
    for i in chosen:
        counts = snapshot.zones[i].buddy_counts
        least += sum(count << (o - order) for o, count in enumerate(counts) if o >= order)
        most += sum(count << o for o, count in enumerate(counts) if o >= smallest) // nr_pages
    return Bound(nr_pages, least, most)


def draw_map(zone: Zone, release: str) -> ZoneMap:
    """The zone in cells of a power of two of pageblocks, each the verdict of the range that it stands for.

    ``F`` free, ``c`` cheap (at most a quarter of its pages move), ``m`` movable, ``b`` blocked, ``-`` no memory.
    """
    cell = 1 << zone.geometry.pageblock_order
    while zone.geometry.nr_pages // cell > MAP_CELLS:
        cell *= 2
    v = judge(zone, release, cell)
    letters = np.array(list("Fmb-"))[v.verdict]
    letters[(v.verdict == MOVABLE) & (v.cost * 4 <= cell)] = "c"
    return ZoneMap(zone.name, cell, release, "".join(letters.tolist()))
