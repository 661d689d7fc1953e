"""Every invariant of an operation: a step that breaks it and nothing else, and the same step as it should be."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pageblock import ContigRefused, KernelBugError, Migratetype, PageClass, Zone
from pageblock.check.effects import EFFECTS, Step, broken_by, span
from pageblock.check.operation import BUG, Operation
from pageblock.check.state import FREE, IN_USE, Block, State, state_of

M, U, CMA, ISO = Migratetype.MOVABLE, Migratetype.UNMOVABLE, Migratetype.CMA, Migratetype.ISOLATE


def zone_of(release: str, types: list[int], used: list[int], classes: int = PageClass.KERNEL) -> Zone:
    """Pageblocks of 4 pages, two to a max order block, free but for single pages in use."""
    zone = Zone(4 * len(types), release, 0, 3, 2, populate=False)
    zone.load_pageblocks(types)
    n = len(used)
    zone.load_pages(used, [1] * n, [int(classes)] * n, [0] * n, [0] * n)
    pfn = 0
    while pfn < 4 * len(types):
        if pfn in used:
            pfn += 1
            continue
        order = next(o for o in (3, 2, 1, 0) if fits(pfn, o, types, used))
        zone.load_free([pfn], [order], [types[pfn >> 2]])
        pfn += 1 << order
    return zone


def fits(pfn: int, order: int, types: list[int], used: list[int]) -> bool:
    """Whether a free block may lie here: aligned, over no page in use, over types that merge."""
    pages = range(pfn, pfn + (1 << order))
    over = {types[at >> 2] for at in pages if at < 4 * len(types)}
    return pfn % len(pages) == 0 and not set(pages) & set(used) and (len(over) == 1 or over <= {M, U})


def done(zone: Zone, operation: Operation) -> Step:
    """Do it by the public methods."""
    before = state_of(zone)
    try:
        if operation.name == "alloc":
            result = zone.alloc(operation.order, operation.migratetype)
        elif operation.name == "isolate":
            zone.start_isolate_page_range(operation.start_pfn, operation.end_pfn)
            result = operation.start_pfn
        else:
            zone.set_signal_pending(operation.name == "interrupted")
            zone.alloc_contig_range(operation.start_pfn, operation.end_pfn, operation.migratetype or M)
            result = operation.start_pfn
    except ContigRefused as refusal:
        result = -refusal.errno
    except KernelBugError:
        result = BUG
    return Step(before, operation, result, state_of(zone), False)


def contig(start: int, end: int, migratetype: int = 0) -> Operation:
    return Operation("contig", start_pfn=start, nr_pages=end - start, migratetype=migratetype)


def with_block(state: State, pfn: int, block: Block | None) -> State:
    """The state with another block at a pfn; None: none."""
    blocks = {at: one for at, one in state.blocks.items() if at != pfn}
    if block is not None:
        blocks[pfn] = block
    return replace(state, blocks=dict(sorted(blocks.items())))


def with_type(state: State, index: int, mt: int) -> State:
    types = list(state.types)
    types[index] = mt
    return replace(state, types=tuple(types))


def no_bug() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M], []), contig(0, 4))
    return replace(good, result=BUG), good


def isolated_pages_stay() -> tuple[Step, Step]:
    zone = zone_of("6.1", [M, ISO], [])
    good = done(zone, Operation("alloc", migratetype=M))
    bad = replace(good, before=with_type(good.before, good.result >> 2, ISO))
    return bad, good


def cma_holds_movable() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M], []), Operation("alloc", migratetype=U))
    at = good.result >> 2
    return replace(good, before=with_type(good.before, at, CMA), after=with_type(good.after, at, CMA)), good


def cma_stays() -> tuple[Step, Step]:
    """What 5.19 did (80e2b584f3ab)."""
    bad, good = (done(zone_of(release, [CMA, M, M, M], []), contig(0, 4)) for release in ("6.1+bug-saved-type", "6.1"))
    return bad, good


def isolation_ends() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M], []), contig(0, 4))
    return replace(good, before=with_type(good.before, 1, U), after=with_type(good.after, 1, ISO)), good


def others_isolation() -> tuple[Step, Step]:
    good = done(zone_of("5.15", [ISO, M, M, M], []), contig(0, 4))
    return replace(good, after=with_type(good.after, 0, M)), good


def types_outside() -> tuple[Step, Step]:
    good = done(zone_of("seed", [M, U, M, M], []), contig(0, 4))
    return replace(good, after=with_type(good.after, 1, M)), good


def types_inside() -> tuple[Step, Step]:
    """Fault g: on failure all pageblocks get their own types."""
    good, bad = (
        done(zone_of(release, [U, M, M, M], []), Operation("interrupted", start_pfn=0, nr_pages=4))
        for release in ("seed", "seed+fg")
    )
    return bad, good


def pages_outside() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M, M, M], [12], PageClass.ANON), contig(0, 4))
    moved = with_block(with_block(good.after, 12, good.after.blocks[13]), 13, good.before.blocks[12])
    return replace(good, after=moved), good


def pages_in_use() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M], [4]), contig(0, 4))
    # a page more than was asked for, in the place of a free one
    pfn, block = next(
        (pfn, block) for pfn, block in good.after.blocks.items() if block.kind == FREE and block.order == 0
    )
    return replace(good, after=with_block(good.after, pfn, replace(block, kind=IN_USE))), good


def granted_is_taken() -> tuple[Step, Step]:
    good = done(zone_of("6.1", [M, M], [4]), contig(0, 4))
    moved = with_block(with_block(good.after, 3, Block(FREE, 0)), 5, good.after.blocks[3])
    return replace(good, after=moved), good


def free_range_granted() -> tuple[Step, Step]:
    """9b209e557d69: a range of one pageblock was isolated twice."""
    good, bad = (done(zone_of(release, [M, M], []), contig(0, 4)) for release in ("6.1", "6.1+bug-isolated-twice"))
    return bad, good


STEPS: dict[str, tuple[Callable[[], tuple[Step, Step]], int | None]] = {
    "no BUG": (no_bug, 0),
    "isolated pages stay": (isolated_pages_stay, 0),
    "CMA holds movable pages": (cma_holds_movable, 0),
    "CMA stays CMA": (cma_stays, 0),
    "isolation ends": (isolation_ends, 4),
    "isolation of others": (others_isolation, 0),
    "types outside the request": (types_outside, 4),
    "types of the request": (types_inside, 0),
    "pages outside the request": (pages_outside, 12),
    "pages in use": (pages_in_use, None),
    "granted is taken": (granted_is_taken, 3),
    "a free range is granted": (free_range_granted, 0),
}


def broken(step: Step) -> list[tuple[str, int | None]]:
    """The invariants of the operation that a step breaks, and where."""
    names = {invariant.name for invariant in EFFECTS}
    return [(one.invariant, one.pfn) for one in broken_by(step) if one.invariant in names]


def test_every_invariant_has_its_step() -> None:
    assert list(STEPS) == [invariant.name for invariant in EFFECTS]


@pytest.mark.parametrize("name", STEPS)
def test_a_wrong_step_breaks_exactly_this(name: str) -> None:
    make, pfn = STEPS[name]
    assert broken(make()[0]) == [(name, pfn)]


@pytest.mark.parametrize("name", STEPS)
def test_the_step_as_it_should_be_breaks_nothing(name: str) -> None:
    assert broken_by(STEPS[name][0]()[1]) == []


def test_what_a_kernel_leaves_that_has_stopped_is_not_judged() -> None:
    bad = no_bug()[0]
    assert len(broken_by(replace(bad, after=replace(bad.after, nr_free_pages=99)))) == 1


def test_a_lost_page_belongs_to_nobody() -> None:
    good = done(zone_of("6.1", [M, M], [4]), contig(0, 4))
    pfn = next(pfn for pfn, block in good.after.blocks.items() if block.kind == FREE)
    found = broken_by(replace(good, after=with_block(good.after, pfn, None)))
    assert "pages in use" in {one.invariant for one in found}


@pytest.mark.parametrize(("release", "told"), [("5.15", True), ("6.1", False), ("6.12", False), ("6.19", False)])
def test_6_1_does_not_promise_to_leave_what_others_isolated(release: str, told: bool) -> None:
    zone = zone_of(release, [ISO, M, M, M], [])
    step = done(zone, contig(0, 4))
    given_back = step.after.types[0] != ISO
    assert given_back is not told
    assert broken(step) == []
    assert [one.invariant for one in broken_by(step, weaknesses=True)] == ["isolation of others"] * given_back


@pytest.mark.parametrize(
    ("release", "expected"), [("5.15", (0, 8)), ("seed", (0, 8)), ("6.1", (4, 8)), ("naive", (4, 8))]
)
def test_what_a_request_isolates(release: str, expected: tuple[int, int]) -> None:
    assert span(state_of(zone_of(release, [M, M], [])), 5, 6) == expected


@pytest.mark.parametrize("invariant", EFFECTS, ids=lambda invariant: invariant.name)
def test_every_invariant_names_its_rule_and_its_source(invariant: Any) -> None:
    assert invariant.rule.endswith(".")
    assert not invariant.source.startswith("Source")
