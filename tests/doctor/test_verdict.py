"""The doctor's shortcut and the allocator itself give the same answer."""

import numpy as np
import pytest

from pageblock import ContigRefused, PageClass, Zone
from pageblock.doctor import BLOCKED, FREE, HOLE, MOVABLE, judge
from tests.mm.workload import operations

RELEASES = ["naive", "5.15", "seed", "6.1"]


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
            if release == "naive" and answer == BLOCKED:
                continue  # refuses halves of free pages that the rules would let pass: the seed's point
            if answer != verdict or moved < cost:
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
