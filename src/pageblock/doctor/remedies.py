"""What would help on this machine: each remedy done in the model, and the ranges counted again.

Nothing is ever done to the machine. What would take away one kind of blocker, and what only a reboot gives, is counted
from the reasons of the blocked ranges; what another place would give, by judging that place.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa

from ..machine import Snapshot
from ..machine.kpageflags import SCAN_MAPPED
from ..machine.zones import snapshot_zones
from ..mm import PageClass, PageFlag, Zone
from .anywhere import anywhere
from .report import Report, Row, diagnose, free_targets, huge_targets
from .survey import ZoneSurvey
from .verdict import BLOCKED, FREE, MOVABLE, REASONS, judge

__all__ = ["Effect", "Remedy", "remedies"]

#: Reasons that no reboot takes away: what firmware and the kernel itself reserve, what is broken, what is not there.
AT_EVERY_BOOT = (1 << PageClass.RESERVED) | (1 << PageClass.HWPOISON) | (1 << PageClass.HOLE)

#: What the running kernel allocates for itself, and never in memory that is online as movable.
KERNELS_OWN = sum(1 << c for c in (PageClass.KERNEL, PageClass.SLAB, PageClass.PGTABLE, PageClass.COMPOUND))

#: Remedies that are tried at most.
MOST = 11


@dataclass(frozen=True, slots=True)
class Effect:
    """What a remedy does to the ranges of one size: how many more are free at once, how many more can be had at all.

    ``least``: pages that the cheapest range that is not free then costs, None: there is none.
    """

    nr_pages: int
    free: int
    had: int
    least: int | None


@dataclass(frozen=True, slots=True)
class Remedy:
    """Something to do. ``command``: "" where there is none; ``risk`` in words; ``moved``, ``freed``: pages on the way.

    ``note``: what the figures leave out. ``effects``: one a size, as in the report.
    """

    title: str
    command: str
    risk: str
    effects: tuple[Effect, ...]
    moved: int = 0
    freed: int = 0
    note: str = ""

    @property
    def helps(self) -> bool:
        """Whether a range of some size is gained."""
        return any(effect.free > 0 or effect.had > 0 for effect in self.effects)


#: What is done to a zone: pages moved, pages freed.
Action = Callable[[Zone], tuple[int, int]]


def remedies(
    snapshot: Snapshot, report: Report, progress: Callable[[int, int], None] | None = None
) -> tuple[Remedy, ...]:
    """What may help, the harmless first; then what a reboot gives. () without kpageflags.

    Everything is judged under the last release of the report, for the report's zones and sizes. ``progress(done, total)``
    is called with remedies.
    """
    if not report.rows:
        return ()
    found: list[Remedy] = []
    for remedy in chain(
        _now(snapshot, report),
        _elsewhere(snapshot, report),
        _holders(report),
        _without(report),
        _at_boot(report),
    ):
        found.append(remedy)
        if progress is not None:
            progress(len(found), MOST)
    return tuple(found)


def _now(snapshot: Snapshot, report: Report) -> Iterator[Remedy]:
    """What can be done at once: run in the model, on zones of its own each time."""
    assert snapshot.runs is not None
    if (snapshot.runs["class"].to_numpy() == PageClass.PAGEVEC).any():
        yield _done(
            snapshot, report, _Drain(), "ask again: pages in per-cpu LRU batches are on the LRU then", "", "none"
        )
    yield _done(
        snapshot, report, _Compact(), "compact memory", "echo 1 > /proc/sys/vm/compact_memory", "some seconds of CPU"
    )
    droppable = _without_mapped(snapshot)
    dropped = _done(
        droppable,
        report,
        _Drop(),
        "drop the page cache",
        "echo 1 > /proc/sys/vm/drop_caches",
        "files are read from disk again",
        "pages that are mapped stay; at most: so do those that are busy, which is not told",
    )
    if dropped.freed:
        yield dropped
        yield _done(
            droppable,
            report,
            _Drop(then=_Compact()),
            "drop the page cache, then compact memory",
            "echo 1 > /proc/sys/vm/drop_caches; echo 1 > /proc/sys/vm/compact_memory",
            "files are read from disk again",
            "at most, likewise",
        )


def _without_mapped(snapshot: Snapshot) -> Snapshot:
    """The snapshot with clean file pages that are mapped as those that cannot be dropped.

    mm/truncate.c, mapping_evict_folio: drop_caches passes over mapped pages, unlike alloc_contig_range, which unmaps them.
    """
    assert snapshot.runs is not None
    flags = snapshot.runs["flags"].to_numpy()
    kept = np.where(flags & SCAN_MAPPED != 0, flags & np.uint8(0xFF & ~(PageFlag.CLEAN | SCAN_MAPPED)), flags)
    at = snapshot.runs.column_names.index("flags")
    return replace(snapshot, runs=snapshot.runs.set_column(at, snapshot.runs.schema.field(at), pa.array(kept)))


class _Drain:
    """lru_add_drain_all: any alloc_contig_range does it, but only after it has looked for unmovable pages."""

    def __call__(self, zone: Zone) -> tuple[int, int]:
        zone.lru_cache_disable()
        return 0, 0


class _Compact:
    """The zone compacted as /proc/sys/vm/compact_memory does."""

    def __call__(self, zone: Zone) -> tuple[int, int]:
        return zone.compact_quietly(), 0


@dataclass(frozen=True, slots=True)
class _Drop:
    """Clean file pages freed, and something done after it."""

    then: Action | None = None

    def __call__(self, zone: Zone) -> tuple[int, int]:
        dropped = zone.drop_clean_pages()
        moved = self.then(zone)[0] if self.then is not None else 0
        return moved, dropped


def _done(
    snapshot: Snapshot, report: Report, action: Action, title: str, command: str, risk: str, note: str = ""
) -> Remedy:
    """A remedy with its effects: the action on every zone, then every range judged again."""
    release = report.releases[-1]
    labels = [zone.label for zone in report.zones]
    chosen = [i for i, zone in enumerate(snapshot.zones) if zone.label in labels]
    zones = snapshot_zones(snapshot, release)
    moved = freed = 0
    targets: dict[int, int] = {}
    for i, zone in enumerate(zones):
        done = action(zone)
        moved, freed = moved + done[0], freed + done[1]
        # what was freed can take pages that move, in its own zone at least
        targets[i] = free_targets(snapshot, i) + done[1]
    # what is done may free more in the other zones: not counted
    surveys = {
        i: ZoneSurvey(
            zones[i],
            snapshot.zones[i].uninitialised,
            huge_pool=snapshot.huge_pool,
            huge_targets=huge_targets(snapshot, i),
        )
        for i in chosen
    }
    effects: list[Effect] = []
    for row in _rows(report):
        verdicts = [judge(surveys[i], release, row.nr_pages, targets[i]) for i in chosen]
        costs = [int(v.cost[v.verdict == MOVABLE].min()) for v in verdicts if (v.verdict == MOVABLE).any()]
        free, had = sum(v.count(FREE) for v in verdicts), sum(v.had for v in verdicts)
        effects.append(Effect(row.nr_pages, free - row.free, had - row.free - row.movable, min(costs, default=None)))
    return Remedy(title, command, risk, tuple(effects), moved, freed, note)


def _rows(report: Report) -> list[Row]:
    """The rows of the release that answers, one a size."""
    return [row for row in report.rows if row.release == report.releases[-1]]


def _holders(report: Report) -> Iterator[Remedy]:
    """Ranges that one page of the kernel holds back, and nothing else."""
    rows = _rows(report)
    # what goes by itself needs nobody to be stopped
    transient = REASONS[PageClass.PAGEVEC]
    single = [[b for b in row.blockers if b.alone_by_one_page and b.reason != transient] for row in rows]
    effects = tuple(
        Effect(row.nr_pages, 0, sum(b.alone_by_one_page for b in found), None)
        for row, found in zip(rows, single, strict=True)
    )
    largest = next((found for found in reversed(single) if found), None)
    if largest is not None:
        yield Remedy(
            "free the one page that holds a range back: stop or unload who has it",
            "",
            "depends on who has it",
            effects,
            note=f"e.g. pfn {largest[0].example_pfn:#x}: {largest[0].reason}; whose it is, page_owner=on at boot tells",
        )


def _elsewhere(snapshot: Snapshot, report: Report) -> Iterator[Remedy]:
    """The same request for another alignment, and where only some zones were asked for, in the others."""
    release, rows = report.releases[-1], _rows(report)
    sizes = [row.nr_pages for row in rows]
    block = 1 << report.pageblock_order
    names = [f"{zone.node}:{zone.name}" for zone in report.zones]
    finer = {one.nr_pages: one for one in anywhere(snapshot, sizes, [release], block, names)}
    effects = tuple(
        Effect(size, 0, max(0, finer[size].side_by_side - finer[size].aligned) if size in finer else 0, None)
        for size in sizes
    )
    if any(effect.had for effect in effects):
        yield Remedy(
            "ask for ranges that begin at any pageblock instead of at multiples of their size",
            "",
            "the caller must do without that alignment; a gigantic huge page and an aligned CMA request cannot",
            effects,
            note="ranges side by side, without those that begin at multiples of their size",
        )
    others = [f"{zone.node}:{zone.name}" for zone in snapshot.zones if f"{zone.node}:{zone.name}" not in names]
    if others:
        there = diagnose(snapshot, sizes, [release], others).rows
        effects = tuple(
            Effect(row.nr_pages, row.free, row.free + row.movable, 0 if row.free else row.least) for row in there
        )
        if any(effect.had for effect in effects):
            yield Remedy(
                f"ask in another zone or on another node: {', '.join(others)}",
                "",
                "the caller must be able to use that memory: a device its addresses, a processor the way to another node",
                effects,
            )


#: Reasons that go together, and what takes them away: title, command, risk, what the figures leave out.
REMOVABLE: tuple[tuple[int, str, str, str, str], ...] = (
    (
        1 << PageClass.SLAB,
        "shrink the slab caches",
        "echo 2 > /proc/sys/vm/drop_caches",
        "inodes and directory entries are read from disk again",
        "at most: a slab goes when all objects in it are dropped; SUnreclaim in /proc/meminfo never does",
    ),
    (
        1 << PageClass.OFFLINE,
        "take memory back that the host holds",
        "deflate the balloon, or plug the virtio-mem device, on the host",
        "the host must have that memory to spare",
        "at most: as much as the host gives back",
    ),
    (
        KERNELS_OWN,
        "keep kernel pages out: bring memory that can be added and removed online as movable, and nothing else",
        "memhp_default_state=online_movable, or movablecore=SIZE on the kernel command line",
        "a reboot, or offlining these blocks first; the kernel's own allocations have that much less room",
        "at most: all memory that it can be done with; afterwards these ranges are movable for ever",
    ),
)


def _without(report: Report) -> Iterator[Remedy]:
    """What takes away one kind of blocker: the ranges in which there is no other."""
    rows = _rows(report)
    for kinds, title, command, risk, note in REMOVABLE:
        effects = tuple(Effect(row.nr_pages, 0, _blocked_only_by(row, kinds), None) for row in rows)
        if any(effect.had for effect in effects):
            yield Remedy(title, command, risk, effects, note=note)


def _blocked_only_by(row: Row, kinds: int) -> int:
    """Blocked ranges with no reason beyond these."""
    blocked = [v.reasons[v.verdict == BLOCKED] for v in row.zones]
    return sum(int((reasons & ~np.uint32(kinds) == 0).sum()) for reasons in blocked)


def _at_boot(report: Report) -> Iterator[Remedy]:
    """What was free when the machine booted and can be kept so."""
    effects: list[Effect] = []
    for row in _rows(report):
        blocked = [v.reasons[v.verdict == BLOCKED] for v in row.zones]
        gained = sum(int((reasons & np.uint32(AT_EVERY_BOOT) == 0).sum()) for reasons in blocked)
        effects.append(Effect(row.nr_pages, gained + row.movable, gained, None))
    if any(effect.had for effect in effects):
        yield Remedy(
            "reserve at boot, before anything else lies there",
            "hugepagesz=1G hugepages=N, or cma=SIZE on the kernel command line",
            "a reboot; huge pages are lost to everything else, CMA pages to kernel memory",
            tuple(effects),
            note="of these ranges, as many as are asked for; what the kernel reserves at every boot is left out",
        )
