"""The doctor's shortcut and the allocator itself give the same answer."""

import random
from collections import Counter

import numpy as np
import pytest

from pageblock import ContigRefused, Migratetype, OutOfMemoryError, PageClass, Zone
from pageblock.doctor import BLOCKED, FREE, HOLE, MOVABLE, UNINITIALISED, ZoneSurvey, judge
from pageblock.doctor.verdict import (
    BACK_TO_POOL,
    FREE_STRADDLES,
    MAY_LAND_INSIDE,
    NO_LARGE_TARGET,
    NO_TARGET,
    NOT_MIGRATABLE,
    STRADDLES,
    ZONE_EDGE,
)
from pageblock.errors import ReleaseError
from pageblock.machine import HugePool
from pageblock.mm import PageFlag
from tests.mm.workload import operations

RELEASES = ["naive", "5.15", "seed", "6.1", "6.12", "6.19"]

#: Reasons where the order of the free lists decides, so that a blocked range may be had all the same.
BY_LIST_ORDER = {MAY_LAND_INSIDE, NO_TARGET, NO_LARGE_TARGET}


def fragmented(seed: int, geometry: tuple[int, int, int, int]) -> Zone:
    """A zone after a random workload that leaves room for migration."""
    nr_pages, start, max_order, block_order = geometry
    zone = Zone(nr_pages, "6.1", start, max_order, block_order)
    ops = operations(seed, nr_pages // 16, zone, contig_share=0.0)
    zone.run(ops)
    return zone


def as_release(zone: Zone, release: str) -> Zone:
    """A copy of the state under other rules."""
    state = zone.saved_state()
    nr_pages, _, start, max_order, block_order = state["geometry"]
    twin = Zone(nr_pages, release, start, max_order, block_order, populate=False, name=zone.name)
    twin.load_state(state)
    return twin


def costs_as_said(zone: Zone, release: str, cost: int, order: int, moved: int, crossed: bool = False) -> bool:
    """Whether as many pages moved as were said; 5.19 to 6.9 may move those of a THP larger than a pageblock twice.

    It is emptied before the whole range is isolated. Split for want of a target of its size, it leaves free pages
    that the rest of it may land on. ``crossed``: such a THP may lie over an end of the range.
    """
    whole = cost > max(1 << order, 1 << zone.geometry.pageblock_order)
    twice = release in ("6.1", "6.1-vanilla") and (whole or crossed)
    return moved >= cost if twice else moved == cost


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("geometry", [(8192, 0, 10, 9), (8192, 512, 10, 9), (2048, 96, 5, 3), (4096, 4096, 9, 9)])
def test_every_range_is_judged_as_alloc_contig_range_answers(release: str, geometry: tuple[int, int, int, int]) -> None:
    zone = fragmented(3, geometry)
    for order in range(geometry[3] - 1, geometry[2] + 3):
        verdicts = judge(zone, release, 1 << order, zone.nr_free_pages)
        wrong = []
        for start, verdict, cost in zip(
            verdicts.start_pfn.tolist(), verdicts.verdict.tolist(), verdicts.cost.tolist(), strict=True
        ):
            twin = as_release(zone, release)
            try:
                taken = twin.alloc_contig_range(start, start + (1 << order))
                answer = MOVABLE if taken.moved or taken.reclaimed else FREE
                moved = sum(1 << o for _, _, o in taken.moved)
            except ContigRefused:
                answer, moved = BLOCKED, cost
            if answer != verdict or not costs_as_said(zone, release, cost, order, moved):
                wrong.append((start, order, verdict, answer, cost, moved))
        assert not wrong


def test_holes_are_no_ranges() -> None:
    zone = Zone(4096, populate=False)
    zone.load_free([1024, 2048], [10, 10], [1, 1])
    verdicts = judge(zone, "6.1", 512)
    assert verdicts.verdict.tolist() == [HOLE, HOLE, FREE, FREE, FREE, FREE, HOLE, HOLE]


def test_a_hole_in_the_window_does_not_refuse_the_old_rule() -> None:
    zone = Zone(2048, populate=False)
    zone.load_free([512, 1024], [9, 10], [1, 1])
    assert judge(zone, "5.15", 512).verdict.tolist() == [HOLE, FREE, FREE, FREE]


def test_no_target_memory_blocks() -> None:
    zone = Zone(2048)
    for _ in range(1024):
        zone.alloc(0, 1, PageClass.FILE)
    assert judge(zone, "6.1", 1024, free_targets=1024).verdict.tolist() == [MOVABLE, FREE]
    assert judge(zone, "6.1", 1024, free_targets=1023).verdict.tolist() == [BLOCKED, FREE]


def test_the_first_thing_in_the_way_is_named() -> None:
    zone = Zone(2048, start_pfn=4096)
    for _ in range(700):
        zone.alloc(0, 1, PageClass.ANON)
    slab = zone.alloc(0, 1, PageClass.SLAB)
    assert slab == 4096 + 700
    verdicts = judge(zone, "6.1", 512)
    assert verdicts.verdict.tolist() == [MOVABLE, BLOCKED, FREE, FREE]
    assert verdicts.blocker_pfn[1] == np.uint64(slab)
    assert verdicts.nr_blockers.tolist() == [0, 1, 0, 0]


def crowded(rng: random.Random, release: str) -> Zone:
    """A small zone of any geometry: huge pages, THPs over boundaries, partial pageblocks at its ends, few free pages."""
    max_order = rng.choice([3, 4, 5, 6])
    block_order = max_order - rng.choice([0, 1, 1, 2])
    start = rng.choice([0, 0, 1 << max_order, 7, rng.randrange(2000)])
    zone = Zone(rng.choice([5, 33, 64, 100, 256, 300, 511, 512]), release, start, max_order, block_order)
    if rng.random() < 0.2:
        zone.set_pcp(20, 4)
    classes = [None, PageClass.MOVABLE_OPS, PageClass.HUGETLB, PageClass.THP, PageClass.FILE]
    owned: list[int] = []
    for _ in range(rng.randrange(60)):
        if owned and rng.random() < 0.5:
            zone.free(owned.pop(rng.randrange(len(owned))))
            continue
        order = 0 if zone.pcp_state()["high"] else min(max_order, int(rng.expovariate(0.7)))
        movable = rng.random() < 0.85
        page_class = rng.choice(classes) if movable else None
        if page_class in (PageClass.THP, PageClass.FILE):
            page_class = PageClass.THP if order else PageClass.FILE
        clean = page_class == PageClass.FILE and rng.random() < 0.5
        try:
            owned.append(
                zone.alloc(order, 1 if movable else 0, page_class, pinned=movable and rng.random() < 0.05, clean=clean)
            )
        except OutOfMemoryError:
            continue
    return zone


@pytest.mark.parametrize("release", [*RELEASES, "seed-p1", "seed-p3", "seed-p4", "5.15+p1", "6.1-vanilla"])
def test_no_crowded_zone_is_promised_what_the_allocator_refuses(release: str) -> None:
    """And what is promised costs what is said; what is not, only where list order decides is it had all the same."""
    rng = random.Random(f"crowded {release}")
    seen: Counter[int] = Counter()
    for _ in range(60):
        zone = crowded(rng, release)
        order = rng.randrange(zone.geometry.max_order + 3)
        block = 1 << zone.geometry.pageblock_order
        # ranges that begin at any pageblock, not only at multiples of their size
        offset = rng.randrange((1 << order) // block) * block if 1 << order > block else 0
        verdicts = judge(zone, release, 1 << order, zone.nr_free_pages + zone.nr_pcp_pages, offset)
        assert all(start % (1 << order) == offset for start in verdicts.start_pfn.tolist())
        for i, start in enumerate(verdicts.start_pfn.tolist()):
            where = f"{zone!r} [{start}, +{1 << order})"
            verdict = int(verdicts.verdict[i])
            seen[verdict] += 1
            try:
                taken = zone.copy().alloc_contig_range(start, start + (1 << order))
            except ContigRefused:
                if verdict != BLOCKED:
                    pytest.fail(f"refused, but promised: {where}")
                continue
            moved = sum(1 << o for _, _, o in taken.moved)
            if verdict == BLOCKED:
                reasons = {bit for bit in range(32) if verdicts.reasons[i] >> bit & 1}
                assert reasons <= BY_LIST_ORDER, f"{where}: had, but judged blocked for {reasons}"
                seen[-1] += 1
            else:
                assert costs_as_said(zone, release, int(verdicts.cost[i]), order, moved, offset > 0), where
    assert min(seen[FREE], seen[MOVABLE], seen[BLOCKED]) > 0
    assert seen[-1] < 0.01 * seen.total()


def test_a_range_inside_a_huge_page_costs_the_whole_huge_page() -> None:
    zone = Zone(2048)
    assert zone.alloc(9, 1, PageClass.HUGETLB) == 0
    assert judge(zone, "6.1", 16).cost[:3].tolist() == [512, 512, 512]


def test_a_huge_page_over_a_pageblock_boundary_costs_itself_whole() -> None:
    zone = Zone(4096, "6.1", 0, 10, 8)
    assert zone.alloc(9, 1, PageClass.THP) == 0
    verdicts = judge(zone, "6.1", 256)
    assert (verdicts.verdict[:2].tolist(), verdicts.cost[:2].tolist()) == ([MOVABLE, MOVABLE], [512, 512])


def test_a_compound_page_over_the_boundary_is_refused_since_6_10_unless_it_is_hugetlb() -> None:
    thp, huge = Zone(4096, "6.12", 0, 10, 8), Zone(4096, "6.12", 0, 10, 8)
    thp.alloc(9, 1, PageClass.THP)
    huge.alloc(9, 1, PageClass.HUGETLB)
    assert judge(thp, "6.12", 256).reasons[0] == 1 << STRADDLES
    assert judge(huge, "6.12", 256).reasons[0] == 0


def test_a_range_that_begins_in_a_thp_is_passed_over_by_migration() -> None:
    zone = Zone(2048)
    zone.alloc(9, 1, PageClass.THP)
    assert judge(zone, "6.1", 256).reasons[:2].tolist() == [0, 1 << NOT_MIGRATABLE]


@pytest.mark.parametrize(
    ("release", "reason"), [("6.1", MAY_LAND_INSIDE), ("5.15", MAY_LAND_INSIDE), ("6.12", ZONE_EDGE)]
)
def test_the_last_pageblock_of_a_zone_that_ends_inside_it(release: str, reason: int) -> None:
    zone = Zone(1536 + 128, populate=False)
    zone.load_pages([1536], [1], [PageClass.ANON], [0], [0])
    zone.load_free([0, 1024, 1538, 1540, 1544, 1552, 1568, 1600], [10, 9, 1, 2, 3, 4, 5, 6], [1] * 8)
    zone.load_free([1537], [0], [1])
    verdicts = judge(zone, release, 64)
    assert verdicts.reasons[24:].tolist() == [1 << reason, 1 << reason if release == "6.12" else 0]


def test_a_zone_that_begins_inside_a_pageblock_is_refused_there_since_6_10() -> None:
    zone = Zone(2048, "6.12", 1)
    verdicts = judge(zone, "6.12", 256)
    assert verdicts.start_pfn[0] == 256
    assert verdicts.reasons[:2].tolist() == [1 << ZONE_EDGE, 0]


def test_half_of_a_free_page_is_refused_by_the_naive_rule() -> None:
    assert judge(Zone(2048), "naive", 512).reasons.tolist() == [0, 1 << FREE_STRADDLES] * 2


def test_a_huge_page_without_a_free_block_of_its_size_cannot_move() -> None:
    zone = Zone(2048, populate=False)
    zone.load_pages(
        [0, 512, 1536], [512, 512, 512], [PageClass.HUGETLB, PageClass.SLAB, PageClass.SLAB], [9, 0, 0], [32, 0, 0]
    )
    zone.load_free([1024, 1280], [7, 7], [1, 1])
    zone.load_free([1152, 1408], [7, 7], [1, 1])
    assert judge(zone, "6.1", 512, 512).reasons[0] == 1 << NO_LARGE_TARGET


def huge_pages_of_a_pool(used: int, unused: int) -> Zone:
    """Huge pages in use, then some that lie unused in their pool, then free memory: a pageblock each."""
    zone = Zone(4096, populate=False)
    heads = [512 * i for i in range(used + unused)]
    compound, clean = int(PageFlag.COMPOUND), int(PageFlag.CLEAN)
    flags = [compound] * used + [compound | clean] * unused
    zone.load_pages(heads, [512] * len(heads), [PageClass.HUGETLB] * len(heads), [9] * len(heads), flags)
    free = list(range(len(heads) * 512, 4096, 512))
    zone.load_free(free, [9] * len(free), [1] * len(free))
    return zone


@pytest.mark.parametrize(
    ("release", "pool", "refused"),
    [
        ("5.15", HugePool(9, free=1, reserved=0, surplus=0), True),
        ("6.1", HugePool(9, free=1, reserved=0, surplus=0), True),
        ("6.12", HugePool(9, free=1, reserved=0, surplus=0), True),
        ("6.19", HugePool(9, free=1, reserved=0, surplus=0), False),
        ("6.12", HugePool(9, free=1, reserved=1, surplus=0), False),
        ("6.12", HugePool(9, free=1, reserved=0, surplus=1), False),
        ("6.12", HugePool(9, free=0, reserved=0, surplus=0), False),
        ("6.12", HugePool(18, free=1, reserved=0, surplus=0), False),
    ],
)
def test_a_huge_page_in_use_goes_back_to_its_pool_in_the_range(release: str, pool: HugePool, refused: bool) -> None:
    """While the pool has an unused page to migrate to; recorded on 6.1.192 and 6.12.117, both ways."""
    survey = ZoneSurvey(huge_pages_of_a_pool(2, 1), huge_pool=pool)
    reasons = judge(survey, release, 512, 4096).reasons
    # the unused one is replaced by a new one, and what is free has nothing to move
    assert reasons[:4].tolist() == [refused << BACK_TO_POOL, refused << BACK_TO_POOL, 0, 0]


def test_a_huge_page_may_move_to_another_zone_of_its_node() -> None:
    full = Zone(1024, populate=False)
    full.load_pages([0, 512], [512, 512], [PageClass.HUGETLB, PageClass.SLAB], [9, 0], [32, 0])
    elsewhere = [0] * 9 + [1, 0]
    assert judge(ZoneSurvey(full), "6.1", 512, 4096).reasons[0] == 1 << NO_LARGE_TARGET
    assert judge(ZoneSurvey(full, huge_targets=elsewhere), "6.1", 512, 4096).reasons[0] == 0


def test_the_seed_asks_no_pageblock_before_the_request_whether_it_is_cma() -> None:
    zone = Zone(4096, "seed", populate=False)
    zone.load_pageblocks([4, 1, 1, 4, 1, 1, 1, 1])
    zone.load_free([0, 512, 1024, 1536, 2048, 3072], [9, 9, 9, 9, 10, 10], [4, 1, 1, 4, 1, 1])
    had = []
    for start in range(0, 4096, 512):
        try:
            zone.copy().alloc_contig_range(start, start + 512)
            had.append(FREE)
        except ContigRefused:
            had.append(BLOCKED)
    assert judge(zone, "seed", 512).verdict.tolist() == had
    assert had[:4] == [BLOCKED, FREE, BLOCKED, BLOCKED]


def test_memory_not_initialised_yet_is_a_verdict_of_its_own() -> None:
    zone = Zone(4096, populate=False)
    zone.load_free([0, 1024], [10, 10], [1, 1])
    survey = ZoneSurvey(zone, [(2048, 3072)])
    assert judge(survey, "6.1", 1024).verdict.tolist() == [FREE, FREE, UNINITIALISED, HOLE]
    assert judge(survey, "5.15", 256).verdict.tolist() == [FREE] * 8 + [UNINITIALISED] * 4 + [HOLE] * 4


@pytest.mark.parametrize("release", RELEASES)
def test_one_survey_serves_every_size_as_the_zone_itself(release: str) -> None:
    zone = fragmented(5, (8192, 512, 10, 9))
    survey = ZoneSurvey(zone)
    for nr_pages in (512, 64, 4096, 1, 1024, 512):
        shared, alone = judge(survey, release, nr_pages), judge(zone, release, nr_pages)
        for name in ("verdict", "cost", "dropped", "reasons", "nr_blockers", "blocker_at"):
            assert np.array_equal(getattr(shared, name), getattr(alone, name)), (nr_pages, name)


def test_a_range_larger_than_the_zone_is_none() -> None:
    assert len(judge(Zone(2048), "6.1", 1 << 40).verdict) == 0


@pytest.mark.parametrize("release", ["seed-as-posted", "seed+fc", "seed+fd", "seed-as-posted-fa-fb-fc-fd"])
def test_faults_that_change_answers_are_not_judged(release: str) -> None:
    with pytest.raises(ReleaseError, match="pageblock series"):
        judge(Zone(4096, "seed"), release, 512)


def test_faults_that_change_no_answer_are_judged_as_the_series_is() -> None:
    zone = Zone(4096, "seed")
    zone.alloc(0, Migratetype.UNMOVABLE)
    assert judge(zone, "seed+fa", 512).verdict.tolist() == judge(zone, "seed", 512).verdict.tolist()
