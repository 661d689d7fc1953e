"""The reference by itself, on sequences whose outcome the kernels' sources give (kernel-facts, section 10): no model is asked."""

import pytest

from pageblock.check.reference import RELEASES, Reference, rules_of
from pageblock.mm import Migratetype, PageClass

UNMOVABLE, MOVABLE, CMA, ISOLATE = (
    int(t) for t in (Migratetype.UNMOVABLE, Migratetype.MOVABLE, Migratetype.CMA, Migratetype.ISOLATE)
)
KERNEL, ANON = int(PageClass.KERNEL), int(PageClass.ANON)


def fresh(release: str) -> Reference:
    """A zone of 16 MiB as at boot."""
    zone = Reference(RELEASES[release], 0, 4096, 10, 9)
    for pfn in range(0, 4096, 1024):
        zone.free_one_page(pfn, 10, MOVABLE, tail=True)
    return zone


def listed(zone: Reference, order: int, mt: int = MOVABLE) -> list[int]:
    """A free list."""
    return list(zone.lists[order][mt])


@pytest.mark.parametrize("release", RELEASES)
def test_pages_are_cut_off_the_lowest_block(release: str) -> None:
    zone = fresh(release)
    assert [zone.alloc(0, MOVABLE, ANON, None) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert listed(zone, 9) == [512]


@pytest.mark.parametrize("release", RELEASES)
def test_an_unmovable_request_takes_both_pageblocks_of_the_largest_block(release: str) -> None:
    zone = fresh(release)
    assert zone.alloc(0, UNMOVABLE, KERNEL, None) == 0
    assert list(zone.types.values())[:3] == [UNMOVABLE, UNMOVABLE, MOVABLE]
    assert zone.alloc(0, MOVABLE, ANON, None) == 1024


@pytest.mark.parametrize("release", RELEASES)
def test_a_block_that_becomes_whole_goes_to_the_head(release: str) -> None:
    zone = fresh(release)
    zone.alloc(9, MOVABLE, KERNEL, None), zone.alloc(9, MOVABLE, KERNEL, None)
    zone.free_used(0)
    zone.free_used(512)
    assert listed(zone, 10) == [0, 1024, 2048, 3072]


@pytest.mark.parametrize("release", ["6.1", "6.1-vanilla", "6.12", "6.19"])
def test_half_of_a_free_block_is_taken_and_the_other_half_stays(release: str) -> None:
    zone = fresh(release)
    assert zone.alloc_contig_range(512, 1024, MOVABLE, KERNEL, None) == 0
    assert (listed(zone, 9), listed(zone, 10), zone.nr_free) == ([0], [1024, 2048, 3072], 4096 - 512)


def test_what_lies_beside_the_request_goes_to_the_tails_in_pfn_order() -> None:
    zone = fresh("6.1")
    assert zone.alloc_contig_range(600, 700, MOVABLE, KERNEL, None) == 0
    assert [listed(zone, order) for order in (2, 3, 4, 6, 8)] == [[700], [592], [576], [512, 704], [768]]
    assert zone.nr_free == 4096 - 100


def test_a_range_across_two_blocks_cuts_both() -> None:
    zone = fresh("6.1")
    assert zone.alloc_contig_range(768, 1280, MOVABLE, KERNEL, None) == 0
    assert (listed(zone, 8), listed(zone, 9), listed(zone, 10)) == ([512, 1280], [1536, 0], [2048, 3072])


def test_the_old_rule_frees_the_half_outside_the_request_to_the_tail() -> None:
    zone = fresh("5.15")
    assert zone.alloc_contig_range(512, 1024, MOVABLE, KERNEL, None) == 0
    assert (listed(zone, 9), zone.nr_free, zone.nr_isolated) == ([0], 4096 - 512, 0)


def test_the_naive_rule_counts_pages_that_were_never_subtracted() -> None:
    zone = fresh("naive")
    assert zone.isolate_range(512, 1024, MOVABLE) == 0
    assert (zone.alloc(0, MOVABLE, ANON, None), zone.nr_free) == (0, 4095)
    zone.undo_range(512, 1024, MOVABLE)
    assert zone.nr_free == 4607


@pytest.mark.parametrize(
    ("release", "kept"), [("5.15", MOVABLE), ("6.1", MOVABLE), ("seed", UNMOVABLE), ("6.19", UNMOVABLE)]
)
def test_a_refused_request_retypes_a_pageblock_or_not(release: str, kept: int) -> None:
    zone = fresh(release)
    zone.alloc(10, UNMOVABLE, KERNEL, None), zone.alloc(0, UNMOVABLE, KERNEL, None)
    zone.free_used(0)
    # [0, 1024) is free and UNMOVABLE, 1024 is in use
    assert zone.alloc_contig_range(0, 1536, MOVABLE, KERNEL, None) == -16
    assert zone.types[0] == kept


@pytest.mark.parametrize(("release", "answer"), [("5.15", -16), ("seed", 0), ("6.1", -16), ("6.19", -16)])
def test_an_unmovable_page_in_the_same_pageblock_but_outside_the_request(release: str, answer: int) -> None:
    zone = fresh(release)
    zone.alloc(0, MOVABLE, KERNEL, None)
    assert zone.alloc_contig_range(256, 512, MOVABLE, KERNEL, None) == answer


def test_forty_pages_move_in_batches_highest_first() -> None:
    zone = fresh("6.1")
    for pfn in range(512):
        assert zone.alloc(0, MOVABLE, ANON, None) == pfn
    for pfn in range(40, 512):
        zone.free_used(pfn)
    assert zone.alloc_contig_range(0, 512, MOVABLE, KERNEL, None) == 0
    sources = [source for source, _, _ in zone.moves]
    assert sources == [*range(31, -1, -1), *range(39, 31, -1)]
    assert zone.moves[0] == (31, 512, 0)


def test_patches_of_the_seed_are_switches() -> None:
    assert rules_of("5.15+p1") == rules_of("seed-p3-p4")
    assert rules_of("seed-p2") == RELEASES["seed"]
    assert rules_of("7.0") is None


def test_an_overflow_frees_the_oldest_of_the_same_list_and_doubles() -> None:
    zone = fresh("6.1")
    for pfn in range(400):
        assert zone.alloc(0, MOVABLE, ANON, None) == pfn
    zone.set_pcp(63, 252, 252, 0)
    for pfn in range(252):
        zone.free_used(pfn)
    assert zone.pcp is not None
    assert (list(zone.pcp.lists[MOVABLE])[-1], zone.pcp.count, zone.pcp.free_factor) == (63, 189, 1)
    for pfn in range(252, 315):
        zone.free_used(pfn)
    assert (zone.pcp.count, zone.pcp.free_factor) == (252 - 126, 2)


def test_a_drain_begins_with_the_first_list_and_its_oldest_page() -> None:
    zone = fresh("6.1")
    for _ in range(64):
        zone.alloc(0, MOVABLE, ANON, None)
    zone.set_pcp(63, 252, 252, 0)
    for pfn in (10, 20, 30):
        zone.free_used(pfn)
    zone.drain()
    assert listed(zone, 0)[:3] == [30, 20, 10]
