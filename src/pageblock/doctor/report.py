"""From a snapshot to the doctor's answer: rows, cheapest ranges, blockers, maps and what is uncertain."""

import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..machine import Remark, Snapshot, ZoneInfo
from ..machine.slices import SlicedZone
from ..mm import constants as k
from ..mm import release as find_release
from .cma import AreaReport, area_reports
from .counts import Bound, bound
from .kernel import rules_remark
from .owners import Holder, Holders
from .reason_causes import CauseGroup, Joiner
from .sizes import default_sizes, size_name
from .survey import ZoneSurvey
from .targets import WHOLE
from .verdict import (
    BLOCKED,
    CMA_BLOCK,
    FREE,
    LETTERS,
    MOVABLE,
    REASONS,
    UNINITIALISED,
    Verdicts,
    judge,
)

__all__ = ["Blocker", "Bound", "CheapRange", "Report", "Row", "ZoneMap", "diagnose"]

#: Whose windows the others are compared with.
OLD_RULE = "5.15"

DEFAULT_RELEASES = ("5.15", "seed", "6.1")

#: Owners named with one reason.
MOST_HOLDERS = 3

#: Largest number of cells of a zone's map.
MAP_CELLS = 128

#: Most ranges of one size that are judged: a range takes about 50 bytes while its row is made.
MAX_RANGES = 16 << 20


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

    ``alone_by_one_page``: ranges that one single page of this kind holds back; ``example_alone``: such a range. ``holders``: who
    allocated pages of this kind in most of the ranges; ``example_owner``: who allocated the example. Both need a page_owner dump.
    """

    reason: str
    ranges: int
    alone: int
    alone_by_one_page: int
    example_pfn: int
    example_alone: tuple[int, int] | None
    holders: tuple[Holder, ...] = ()
    example_owner: str | None = None


@dataclass(frozen=True)
class Row:
    """Verdicts of one size under one release, all zones together. Costs in pages, None where nothing is movable.

    ``ranges`` are free, movable or blocked; those with memory not initialised yet are ``uninitialised`` and count apart.
    ``causes``: the blockers, grouped by what is behind them.
    """

    release: str
    nr_pages: int
    ranges: int
    free: int
    movable: int
    blocked: int
    uninitialised: int
    least: int | None
    median: int | None
    total: int
    more_than_old_rule: int | None
    cheapest: tuple[CheapRange, ...]
    blockers: tuple[Blocker, ...]
    zones: tuple[Verdicts, ...]
    causes: tuple[CauseGroup, ...] = ()


@dataclass(frozen=True)
class ZoneMap:
    """A zone drawn in cells of ``nr_pages``: one character a cell (see ``view.doctor``)."""

    zone: str
    nr_pages: int
    release: str
    cells: str


@dataclass(frozen=True)
class Report:
    """The doctor's answer. ``rules``: what to say of the releases judged, None where the kernel's own is among them.

    ``pageblocks``: those with memory that can be judged; ``live``: of the running kernel; ``areas``: of CMA, None where
    the source does not tell.
    """

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
    rules: str | None
    pageblocks: int
    live: bool
    seconds_read: float
    seconds_judged: float = field(compare=False)
    areas: tuple[AreaReport, ...] | None = None

    @property
    def confidence(self) -> float | None:
        """Share of the pageblocks whose verdict the remarks leave certain, 0 to 1; None where nothing was judged.

        A remark takes away the pageblocks that it could change, times its uncertainty.
        """
        if not self.rows or not self.pageblocks:
            return None
        doubt = sum(r.pageblocks * (1 - r.certain) for r in self.remarks if r.certain is not None)
        return max(0.0, 1 - doubt / self.pageblocks)

    def _repr_html_(self) -> str:
        """What a notebook shows. Notebooks ask the object itself, so this is the one call up into ``view``."""
        html: str = importlib.import_module("pageblock.view.notebook").to_notebook(self)
        return html


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


def huge_targets(snapshot: Snapshot, index: int) -> tuple[int, ...]:
    """Free blocks by order, larger ones counted in pieces, in the other zones of a zone's node, above their min watermarks.

    A huge page of hugetlb may move to any zone, ZONE_MOVABLE too (include/linux/hugetlb.h, htlb_alloc_mask), unlike other
    pages; an unused one of the pool is replaced on its own node only (mm/hugetlb.c, alloc_and_dissolve_huge_page).
    """
    mine = snapshot.zones[index]
    orders = np.arange(snapshot.max_order + 1)
    total = np.zeros(len(orders), np.int64)
    for i, zone in enumerate(snapshot.zones):
        if i == index or zone.node != mine.node or len(zone.buddy_counts) != len(orders):
            continue
        pages = np.array(zone.buddy_counts, np.int64) << orders
        blocks = pages[::-1].cumsum()[::-1] >> orders
        spare = max(0, zone.free_pages - zone.wmark_min - max(zone.protection, default=0))
        total += np.minimum(blocks, spare >> orders)
    return tuple(total.tolist())


def diagnose(
    snapshot: Snapshot,
    sizes: Sequence[int] = (),
    releases: Sequence[str] = DEFAULT_RELEASES,
    zones: Sequence[str] = (),
) -> Report:
    """Judge every aligned range of each size (pages, powers of two) under each release.

    Raises:
        InputError: an unknown zone, or a size so small that too many ranges would be judged.
        ReleaseError: an unknown release.
    """
    began = time.perf_counter()
    for name in releases:
        find_release(name)
    releases = tuple(dict.fromkeys(releases))
    wanted = list(dict.fromkeys(sizes)) or default_sizes(
        snapshot.page_size, snapshot.pageblock_order, snapshot.max_order
    )
    chosen = choose_zones(snapshot, zones)
    rows: list[Row] = []
    bounds: list[Bound] = []
    maps: list[ZoneMap] = []
    areas: tuple[AreaReport, ...] | None = None
    if snapshot.runs is None:
        bounds = [bound(snapshot, chosen, size) for size in wanted]
    else:
        refuse_small_sizes(snapshot, chosen, wanted)
        surveys = survey_zones(snapshot, chosen)
        holders = Holders(snapshot)
        targets = {i: free_targets(snapshot, i) for i in chosen}
        joiner = Joiner(snapshot, surveys, targets)
        for size in wanted:
            old: int | None = None
            for name in dict.fromkeys((OLD_RULE, *releases)):
                verdicts = [judge(surveys[i], name, size, targets[i]) for i in chosen]
                had = sum(v.had for v in verdicts)
                if name == OLD_RULE:
                    old = had
                if name in releases:
                    more = had - old if old is not None and name != OLD_RULE else None
                    row = summarize(name, size, verdicts, [surveys[i] for i in chosen], more)
                    examples = {blocker.reason: blocker.example_pfn for blocker in row.blockers}
                    causes = joiner.groups(name, list(zip(chosen, verdicts, strict=True)), examples)
                    rows.append(replace(named(row, holders, chosen), causes=causes))
        areas = area_reports(snapshot, joiner, wanted, bool(sizes))
        maps = [draw_map(surveys[i], releases[-1]) for i in chosen]
    labels = {snapshot.zones[i].label for i in chosen}
    return Report(
        source=snapshot.source,
        kernel=snapshot.kernel,
        page_size=snapshot.page_size,
        max_order=snapshot.max_order,
        pageblock_order=snapshot.pageblock_order,
        zones=tuple(snapshot.zones[i] for i in chosen),
        releases=releases,
        rows=tuple(rows),
        bounds=tuple(bounds),
        maps=tuple(maps),
        remarks=tuple(remark for remark in snapshot.remarks if remark.zone is None or remark.zone in labels),
        missing=snapshot.missing,
        rules=rules_remark(snapshot.kernel, releases) if rows else None,
        pageblocks=sum(ready_pages(snapshot.zones[i]) for i in chosen) >> snapshot.pageblock_order,
        live=snapshot.live,
        seconds_read=snapshot.seconds_read,
        seconds_judged=time.perf_counter() - began,
        areas=areas,
    )


def refuse_small_sizes(snapshot: Snapshot, chosen: Sequence[int], sizes: Sequence[int]) -> None:
    """Raise InputError for sizes of which the zones hold more than ``MAX_RANGES`` ranges."""
    pages = sum(snapshot.zones[i].spanned for i in chosen)
    for nr_pages in sizes:
        if pages // nr_pages > MAX_RANGES:
            least = size_name(1 << ((pages - 1) // MAX_RANGES).bit_length(), snapshot.page_size).replace(" ", "")
            raise InputError(
                f"size {size_name(nr_pages, snapshot.page_size)}: {pages // nr_pages:,} ranges to judge, more than "
                f"{MAX_RANGES:,}; choose {least} or more, or one zone with --zone"
            )


def ready_pages(zone: ZoneInfo) -> int:
    """Pages that the zone has and has initialised."""
    return max(0, zone.present - sum(end - start for start, end in zone.uninitialised))


def survey_zones(snapshot: Snapshot, chosen: Sequence[int]) -> dict[int, ZoneSurvey]:
    """One survey a zone, for every size and release: the state depends on neither, and 5.15 takes every geometry."""
    found: dict[int, ZoneSurvey] = {}
    for i in chosen:
        zone = SlicedZone(snapshot, i, OLD_RULE)
        huge = bool(np.isin(zone.runs.page_class, WHOLE).any())
        found[i] = ZoneSurvey(
            zone,
            snapshot.zones[i].uninitialised,
            may_hold_huge=huge,
            huge_pool=snapshot.huge_pool,
            huge_targets=huge_targets(snapshot, i),
        )
    return found


def summarize(
    release: str, nr_pages: int, verdicts: Sequence[Verdicts], surveys: Sequence[ZoneSurvey], more: int | None
) -> Row:
    """One row from the zones' verdicts."""
    costs = np.concatenate([v.cost[v.verdict == MOVABLE] for v in verdicts] or [np.zeros(0, np.int64)])
    free, movable, blocked, uninitialised = (
        sum(v.count(verdict) for v in verdicts) for verdict in (FREE, MOVABLE, BLOCKED, UNINITIALISED)
    )
    return Row(
        release=release,
        nr_pages=nr_pages,
        ranges=free + movable + blocked,
        free=free,
        movable=movable,
        blocked=blocked,
        uninitialised=uninitialised,
        least=int(costs.min()) if len(costs) else None,
        median=int(np.median(costs)) if len(costs) else None,
        total=int(costs.sum(dtype=np.int64)),
        more_than_old_rule=more,
        cheapest=cheapest(verdicts, 5),
        blockers=blockers(verdicts, surveys),
        zones=tuple(verdicts),
    )


def cheapest(verdicts: Sequence[Verdicts], count: int) -> tuple[CheapRange, ...]:
    """The ranges that cost least, free ones first, then by cost, by clean pages dropped, by pfn."""
    found: list[CheapRange] = []
    for v in verdicts:
        best = np.flatnonzero(v.verdict == FREE)[:count]
        if len(best) < count:
            movable = np.flatnonzero(v.verdict == MOVABLE)
            if len(movable) > count:
                dearest = np.partition(v.cost[movable], count)[count]
                movable = movable[v.cost[movable] <= dearest]
            movable = movable[np.lexsort((movable, v.dropped[movable], v.cost[movable]))]
            best = np.append(best, movable[: count - len(best)])
        for i in best.tolist():
            start = v.first_pfn + i * v.nr_pages
            found.append(CheapRange(v.zone, start, v.nr_pages, int(v.cost[i]), int(v.dropped[i])))
    return tuple(sorted(found, key=lambda r: (r.cost, r.dropped, r.start_pfn))[:count])


def blockers(verdicts: Sequence[Verdicts], surveys: Sequence[ZoneSurvey]) -> tuple[Blocker, ...]:
    """What blocks the blocked ranges, the most frequent first."""
    blocked = [np.flatnonzero(v.verdict == BLOCKED) for v in verdicts]
    reasons = [v.reasons[index] for v, index in zip(verdicts, blocked, strict=True)]
    seen = 0
    for sets in reasons:
        seen |= int(np.bitwise_or.reduce(sets)) if len(sets) else 0
    found: list[Blocker] = []
    for bit, words in REASONS.items():
        if not seen >> bit & 1:
            continue
        ranges = alone = by_one = 0
        example: int | None = None
        example_alone: tuple[int, int] | None = None
        for v, survey, index, sets in zip(verdicts, surveys, blocked, reasons, strict=True):
            has = sets & np.uint32(1 << bit) > 0
            only = sets == 1 << bit
            single = only & (v.nr_blockers[index] == 1)
            ranges += int(has.sum())
            alone += int(only.sum())
            by_one += int(single.sum())
            if example_alone is None and single.any():
                i = int(index[np.argmax(single)])
                start = v.first_pfn + i * v.nr_pages
                example_alone = (start, start + v.nr_pages)
                example = v.origin + int(v.blocker_at[i])
            if example is None and has.any():
                example = example_pfn(survey, v, bit, int(index[np.argmax(only if only.any() else has)]))
        if example is not None:
            found.append(Blocker(words, ranges, alone, by_one, example, example_alone))
    return tuple(sorted(found, key=lambda b: (-b.ranges, b.reason)))


def named(row: Row, holders: Holders, chosen: Sequence[int]) -> Row:
    """A row whose blockers name who allocated them, as far as a page_owner dump tells. ``chosen``: the zones' indexes."""
    if holders.owners is None:
        return row
    classes = {words: bit for bit, words in REASONS.items() if bit < CMA_BLOCK}
    zones = list(zip(chosen, row.zones, strict=True))
    found: list[Blocker] = []
    for blocker in row.blockers:
        bit = classes.get(blocker.reason)
        most = () if bit is None else holders.holders(zones, bit, MOST_HOLDERS)
        found.append(replace(blocker, holders=most, example_owner=holders.of(blocker.example_pfn)))
    return replace(row, blockers=tuple(found))


def example_pfn(survey: ZoneSurvey, v: Verdicts, bit: int, index: int) -> int:
    """First pfn in the way of one range for one reason: of that page class, or what the verdict names."""
    start = v.first_pfn + index * v.nr_pages
    if bit < CMA_BLOCK:
        # the rule may look beyond the range, to the end of its max order window
        window = max(survey.window, v.nr_pages)
        begin = start // window * window
        found = survey.first_of_class(bit, start, start + v.nr_pages)
        if found is None:
            found = survey.first_of_class(bit, begin, begin + window)
        if found is not None:
            return found
    known = int(v.blocker_at[index])
    return start if known == k.NONE else v.origin + known


def draw_map(survey: ZoneSurvey, release: str) -> ZoneMap:
    """The zone in cells of a power of two of pageblocks, each the verdict of the range that it stands for.

    ``F`` free, ``c`` cheap (at most a quarter of its pages move), ``m`` movable, ``b`` blocked, ``u`` not initialised yet,
    ``-`` no memory.
    """
    zone = survey.zone
    cell = survey.block
    while zone.geometry.nr_pages // cell > MAP_CELLS:
        cell *= 2
    v = judge(survey, release, cell)
    letters = LETTERS[v.verdict]
    letters[(v.verdict == MOVABLE) & (v.cost * 4 <= cell)] = ord("c")
    return ZoneMap(zone.name, cell, release, letters.tobytes().decode())
