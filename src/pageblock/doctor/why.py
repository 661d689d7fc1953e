"""One range: alloc_contig_range walked step by step on a machine's state, and everything in the range's way."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..machine import Snapshot
from ..machine.zones import snapshot_memory
from ..mm import ContigRange, Migratetype, PageClass, Zone
from ..mm import constants as k
from ..mm.errors import ContigRefused, KernelBugError, RangeError
from ..mm.results import WHYS
from .causes import PageState
from .reason_causes import Because, Joiner, because
from .verdict import REASONS

__all__ = ["Obstacle", "Walk", "WalkStep", "parse_range", "walk"]

#: Functions of alloc_contig_range in the order in which they can refuse.
ORDER = ("start_isolate_page_range", "__alloc_contig_migrate_range", "test_pages_isolated", "isolate_freepages_range")

#: Most obstacles that are listed.
MOST_OBSTACLES = 20

#: Most pageblocks, splits and moves that a step names.
SHOWN = 4

PINNED = "pages that pass isolation and cannot migrate (pinned or gigantic)"


@dataclass(frozen=True, slots=True)
class WalkStep:
    """One step: the kernel's function, and what it did, in words."""

    function: str
    what: str


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Pages ``[start_pfn, end_pfn)`` of one kind that the request cannot have, inside the range or not, and why the first is."""

    start_pfn: int
    end_pfn: int
    what: str
    cause: Because | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """What one request for ``[start_pfn, end_pfn)`` (absolute pfns) would do and answer.

    ``errno``: 0 or positive; None: the kernel stops with a BUG. ``function``, ``pfn``, ``rule``: where and why it stopped;
    ``page``: what lies there, in words; ``cause``: why it is in the way; ``moved`` and ``dropped`` in pages. The range as it was
    before: ``free``, ``move``, ``drop`` and ``refused`` (by isolation) in pages; ``obstacles``: the first of those that cannot be
    had, ``more``: how many more stretches of such pages there are.
    """

    zone: str
    release: str
    start_pfn: int
    end_pfn: int
    migratetype: str
    steps: tuple[WalkStep, ...]
    errno: int | None
    function: str
    pfn: int | None
    rule: str
    page: str
    cause: Because | None
    moved: int
    dropped: int
    free: int
    move: int
    drop: int
    refused: int
    obstacles: tuple[Obstacle, ...]
    more: int


def parse_range(text: str, nr_pages: int) -> tuple[int, int]:
    """``[start, end)`` of ``START-END`` (the end not included) or of the range of ``nr_pages`` that holds a pfn.

    Numbers are decimal, or hexadecimal with 0x; ``nr_pages`` is a power of two, and ranges of it are aligned to it.

    Raises:
        InputError: neither, or an end that does not lie behind the start.
    """
    number = "(0x[0-9a-f]{1,13}|[0-9]{1,16})"
    match = re.fullmatch(rf"\s*{number}\s*(?:-\s*{number})?\s*", text, re.IGNORECASE | re.ASCII)
    if match is None:
        raise InputError(f"--why {text[:80]!r} is neither a pfn nor a range: write 0x4800, or 0x4800-0x4a00")
    first = _number(match[1])
    if match[2] is None:
        return first // nr_pages * nr_pages, first // nr_pages * nr_pages + nr_pages
    if _number(match[2]) <= first:
        raise InputError(f"--why {text[:80]!r}: the end does not lie behind the start, and is itself not included")
    return first, _number(match[2])


def _number(text: str) -> int:
    return int(text, 16 if text.lower().startswith("0x") else 10)


def walk(snapshot: Snapshot, release: str, start_pfn: int, end_pfn: int) -> Walk:
    """Ask for a range as alloc_contig_range does, as CMA where all its pageblocks are CMA, else as MOVABLE.

    Raises:
        InputError: no page is known, or the range begins in no zone.
        RangeError: the range reaches out of its zone.
        ReleaseError: no such release.
    """
    try:
        zone = snapshot_memory(snapshot, release).member_of(start_pfn).zone
    except RangeError:
        have = ", ".join(f"[{z.start_pfn:#x}, {z.end_pfn:#x}) {z.label}" for z in snapshot.zones)
        raise InputError(f"pfn {start_pfn:#x} lies in no zone of {snapshot.source}: choose from {have}") from None
    types = _types(zone, start_pfn, end_pfn)
    migratetype = Migratetype.CMA if types == {Migratetype.CMA} else Migratetype.MOVABLE
    before = zone.survey(start_pfn, end_pfn - start_pfn, 1)[0]
    # the walk changes the zone: what lies in the way is read before
    joiner = Joiner(snapshot, {}, {})
    index = next(i for i, info in enumerate(snapshot.zones) if info.label == zone.name)
    listed = _obstacles(zone, start_pfn, end_pfn)
    describe = _describer(zone)
    refusal: ContigRefused | None = None
    done: ContigRange | None = None
    errno: int | None = 0
    function, pfn, rule = "", None, ""
    try:
        done = zone.alloc_contig_range(start_pfn, end_pfn, migratetype)
    except ContigRefused as refused:
        refusal, done = refused, refused.tried
        errno, function, pfn, rule = refused.errno, refused.step, refused.pfn, refused.rule
    except KernelBugError as bug:
        errno, function, pfn, rule = None, bug.step, bug.pfn, bug.assertion
    return Walk(
        zone=zone.name,
        release=release,
        start_pfn=start_pfn,
        end_pfn=end_pfn,
        migratetype=migratetype.name,
        steps=tuple(_steps(zone, start_pfn, end_pfn, done, refusal)),
        errno=errno,
        function=function,
        pfn=pfn,
        rule=rule,
        page="" if pfn is None else describe(pfn),
        cause=_cause(joiner, index, release, refusal) if refusal is not None else None,
        moved=sum(1 << order for _, _, order in done.moved) if done else 0,
        dropped=len(done.reclaimed) if done else 0,
        free=int(before[0]),
        move=int(before[1]),
        drop=int(before[2]),
        refused=int(before[3]),
        obstacles=tuple(_explained(joiner, index, release, one) for one in listed[:MOST_OBSTACLES]),
        more=max(0, len(listed) - MOST_OBSTACLES),
    )


#: Rules that refuse a whole pageblock, or what crosses an edge: the evidence of each, in place of a page's.
_OF_BLOCK: dict[str, dict[str, Any]] = {
    WHYS[k.WHY_ISOLATED]: {"step": "isolate", "isolated_blocks": 1},
    WHYS[k.WHY_ZONE_EDGE]: {"step": "isolate", "crosses_zone": True},
    WHYS[k.WHY_NOT_ISOLATED]: {"step": "test", "rule": "may land inside"},
}


def _cause(joiner: Joiner, zone: int, release: str, refused: ContigRefused) -> Because | None:
    """Why the kernel would stop there."""
    info = joiner.snapshot.zones[zone]
    if refused.rule in _OF_BLOCK:
        return because(joiner.evidence(release, **_OF_BLOCK[refused.rule]))
    if not info.start_pfn <= refused.pfn < info.end_pfn:
        return because(joiner.evidence(release, step="isolate", rule="outside the zone"))
    state = joiner.facts.state(zone, refused.pfn)
    if refused.rule == WHYS[k.WHY_CMA_TYPE]:
        return because(joiner.evidence(release, step="isolate", page=PageState(pfn=refused.pfn, cma=True)))
    if refused.rule == WHYS[k.WHY_STRADDLES]:
        return because(joiner.evidence(release, step="isolate", rule="straddles", page=state))
    if refused.errno == 12 and not state.hugetlb:
        targets = joiner.evidence(release, errno=12, step="migrate", moves=1, targets=0)
        return because(targets)
    if refused.errno == 12 or refused.rule == WHYS[k.WHY_GIGANTIC]:
        return because(joiner.evidence(release, errno=refused.errno, step="migrate", page=state))
    return joiner.page(release, zone, refused.pfn, "isolate" if refused.step == ORDER[0] else "migrate")


def _explained(joiner: Joiner, zone: int, release: str, one: Obstacle) -> Obstacle:
    """An obstacle with the cause of its first page."""
    if one.what == REASONS[PageClass.HOLE]:
        return replace(one, cause=because(joiner.evidence(release, step="isolate", rule="no memory")))
    step = "migrate" if one.what == PINNED else "isolate"
    return replace(one, cause=joiner.page(release, zone, one.start_pfn, step))


def _types(zone: Zone, start_pfn: int, end_pfn: int) -> set[int]:
    """Types of the pageblocks that the range touches."""
    shift = zone.geometry.pageblock_order
    first = zone.start_pfn >> shift
    return set(zone.pageblock_types[(start_pfn >> shift) - first : ((end_pfn - 1) >> shift) + 1 - first].tolist())


def _describer(zone: Zone) -> Callable[[int], str]:
    """Says of a pfn what lay there before the request: looked up in a copy of the state."""
    saved = zone.saved_state()
    state = {**saved, "arrays": tuple(a.copy() for a in saved["arrays"])}

    def describe(pfn: int) -> str:
        if not zone.start_pfn <= pfn < zone.end_pfn:
            return "outside the zone"
        zone.take_state(state)
        page = zone.page(pfn)
        kind = REASONS.get(page.page_class, page.page_class.name.lower().replace("_", " "))
        head = f", head at {page.head_pfn:#x}" if page.head_pfn != pfn else ""
        return f"{kind}; order {page.order}{head}; in a pageblock of type {page.pageblock_type.name}"

    return describe


def _obstacles(zone: Zone, start_pfn: int, end_pfn: int) -> list[Obstacle]:
    """Stretches of pages that isolation refuses or migration leaves, in the pageblocks of the range, ascending."""
    size = 1 << zone.geometry.pageblock_order
    start = max(start_pfn // size * size, zone.start_pfn)
    end = min(-(-end_pfn // size) * size, zone.end_pfn)
    table = zone.survey(start, 1, end - start)
    kinds = table[:, 5].copy()
    # a single page of a block that began before is passed by isolation: only what the whole range says counts
    kinds[(kinds == 0) & (table[:, 6] != 0xFFFFFFFF) & (table[:, 1] > 0)] = np.uint32(1 << 31)
    edges = np.flatnonzero(np.diff(kinds, prepend=np.uint32(0), append=np.uint32(0)))
    found: list[Obstacle] = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        bits = int(kinds[first])
        if bits:
            words = PINNED if bits == 1 << 31 else REASONS[PageClass(bits.bit_length() - 1)]
            found.append(Obstacle(start + first, start + last, words))
    return found


def _steps(
    zone: Zone, start_pfn: int, end_pfn: int, done: ContigRange | None, refusal: ContigRefused | None
) -> Iterator[WalkStep]:
    """What was done up to the refusal, and the end that follows it."""
    size = 1 << zone.geometry.pageblock_order
    stopped = ORDER.index(refusal.step) if refusal is not None and refusal.step in ORDER else len(ORDER)
    if done is None:
        return
    blocks = ", ".join(f"[{pfn:#x}, {pfn + size:#x})" for pfn in done.isolated[:SHOWN])
    more = f" and {len(done.isolated) - SHOWN:,} more" if len(done.isolated) > SHOWN else ""
    several = f"{len(done.isolated):,} pageblocks, in this order: " if len(done.isolated) > 1 else ""
    isolates = f"isolates {several}{blocks}{more}" if done.isolated else ""
    splits = "; ".join(f"splits the free page of order {order} at {pfn:#x}" for pfn, order in done.split[:SHOWN])
    refused = f"refused at pfn {refusal.pfn:#x}: {refusal.rule}" if refusal is not None else ""
    first = [isolates, splits, refused if stopped == 0 else ""]
    yield WalkStep(ORDER[0], "; ".join(filter(None, first)))
    if stopped > 0:
        yield WalkStep("drain_all_pages", "per-cpu pages of the isolated pageblocks go to the ISOLATE lists")
        yield WalkStep(ORDER[1], _migrated(done, refused if stopped == 1 else ""))
    if stopped > 1:
        tested = refused if stopped == 2 else f"all of [{start_pfn:#x}, {end_pfn:#x}) is isolated and free"
        yield WalkStep(ORDER[2], tested)
    if stopped > 2:
        yield WalkStep(
            ORDER[3], refused if stopped == 3 else "takes it as single pages; what lies beside is given back"
        )
    yield WalkStep("undo_isolate_page_range", "what was isolated is given back")


def _migrated(done: ContigRange, refused: str) -> str:
    pages = sum(1 << order for _, _, order in done.moved)
    moves = ", ".join(
        f"{source:#x} → {'another zone' if target is None else f'{target:#x}'}"
        for source, target, _ in done.moved[:SHOWN]
    )
    parts = [
        f"drops {len(done.reclaimed):,} clean file pages" if done.reclaimed else "",
        f"moves {pages:,} pages, the first: {moves}" if pages else "" if refused else "nothing to move",
        refused,
    ]
    return "; ".join(filter(None, parts))
