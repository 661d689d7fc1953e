"""Fallback to other types, each rule on both sides of its boundary.

Sources: mm/page_alloc.c: __rmqueue, __rmqueue_fallback, steal_suitable_fallback, can_steal_fallback (5.15, 6.1.192);
__rmqueue_claim, try_to_steal_block, __rmqueue_steal (6.12.117). Pageblocks have 16 pages here: half is 8, half the order is 2.
"""

import pytest

from pageblock import Migratetype, OutOfMemoryError, Zone
from pageblock.mm.memory import Member, Memory

from .test_rules_layout import C, H, M, R, U, lists, types, zone_of

BOTH = pytest.mark.parametrize("release", ["6.1", "6.12"])


# ---- which type ----


@BOTH
@pytest.mark.parametrize(
    ("request_type", "blocks", "pfn"),
    [
        (U, ("M: f3 a*8", "R: f3 s3"), 16),
        (U, ("M: f3 a*8", "R: s4"), 0),
        (M, ("U: f3 k3", "R: f3 s3"), 16),
        (M, ("U: f3 k3", "R: s4"), 0),
        (R, ("M: f3 a*8", "U: f3 k3"), 16),
        (R, ("M: f3 a*8", "U: k4"), 0),
    ],
)
def test_fallbacks_in_the_order_of_the_table(
    release: str, request_type: Migratetype, blocks: tuple[str, ...], pfn: int
) -> None:
    """fallbacks[][]: U → R, M; M → R, U; R → U, M."""
    assert zone_of(release, *blocks).alloc(0, request_type) == pfn


@BOTH
def test_cma_comes_before_other_types_for_movable_requests_alone(release: str) -> None:
    """__rmqueue_cma_fallback under ALLOC_CMA, which gfp_to_alloc_flags_cma sets for MOVABLE."""
    assert zone_of(release, "U: f4", "C: f2 a*12").alloc(0, M) == 16
    assert zone_of(release, "M: f4", "C: f4").alloc(0, U) == 0
    with pytest.raises(OutOfMemoryError):
        zone_of(release, "U: k4", "C: f4").alloc(0, U)


@BOTH
def test_cma_is_used_first_while_more_than_half_of_what_is_free_lies_there(release: str) -> None:
    """__rmqueue: NR_FREE_CMA_PAGES > NR_FREE_PAGES / 2."""
    assert zone_of(release, "M: f4", "C: f4").alloc(0, M) == 0  # 16 of 32
    assert zone_of(release, "M: f3 f2 f1 f0 k", "C: f4").alloc(0, M) == 16  # 16 of 31


# ---- which page ----


@BOTH
def test_the_largest_page_is_preferred_up_to_max_order(release: str) -> None:
    assert zone_of(release, "M: f4", "M: f3 a*8", "M: f5", "M:").alloc(0, U) == 32


@BOTH
def test_a_page_of_the_requests_own_order_is_the_smallest_taken(release: str) -> None:
    assert zone_of(release, "M: f0 k*15").alloc(0, U) == 0


@BOTH
def test_a_movable_request_that_may_not_take_a_pageblock_takes_the_smallest_page(release: str) -> None:
    """can_steal_fallback is false below half the pageblock order: find_smallest (6.1), __rmqueue_steal (6.12)."""
    zone = zone_of(release, "U: f0 k f1 a*12")
    assert zone.alloc(0, M) == 0
    assert (lists(zone, U), lists(zone, M), types(zone)) == ({1: [2]}, {}, [U])


def test_6_12_steals_the_smallest_page_and_leaves_the_rest_on_its_list() -> None:
    """__rmqueue_steal: page_del_and_expand(..., fallback_mt). Neither pageblock suits: 2 and 4 free, none alike."""
    zone = zone_of("6.12", "M: f2 a*12", "M: f1 a*14")
    assert zone.alloc(0, U) == 16
    assert (lists(zone, M), lists(zone, U), types(zone)) == ({0: [17], 2: [0]}, {}, [M, M])


def test_6_12_tries_smaller_pages_after_a_pageblock_that_does_not_suit() -> None:
    """__rmqueue_claim: the loop goes on when try_to_steal_block returns NULL."""
    zone = zone_of("6.12", "M: f2 a*12", "M: f1 k*14")
    assert zone.alloc(0, U) == 16
    assert (lists(zone, U), types(zone)) == ({0: [17]}, [M, U])


def test_6_12_claims_nothing_below_half_the_pageblock_order_for_a_movable_request() -> None:
    """__rmqueue_claim: if (!can_steal) break. The pageblock would suit: 2 free, 14 movable."""
    zone = zone_of("6.12", "U: f1 a*14")
    assert zone.alloc(0, M) == 0
    assert (lists(zone, U), types(zone)) == ({0: [1]}, [U])


@BOTH
@pytest.mark.parametrize(("normal", "pfn"), [("M: f3 a*8", 0), ("M: f4", 16)])
def test_with_room_in_a_lower_zone_only_whole_pageblocks_are_taken_from_movable(
    release: str, normal: str, pfn: int
) -> None:
    """ALLOC_NOFRAGMENT: min_order = pageblock_order."""
    low = zone_of(release, "U: f4")
    high = zone_of(release, "M: .*16", normal)
    memory = Memory([Member(low, kind="DMA32"), Member(high)])
    assert memory.alloc(0, U) == pfn


# ---- what becomes of the pageblock ----


@BOTH
@pytest.mark.parametrize(("block", "becomes"), [("U: f2 a*12", M), ("U: f1 a*14", U)])
def test_a_movable_request_takes_the_pageblock_from_half_the_pageblock_order_on(
    release: str, block: str, becomes: Migratetype
) -> None:
    """can_steal_fallback: order >= pageblock_order / 2."""
    zone = zone_of(release, block)
    assert zone.alloc(0, M) == 0
    assert types(zone) == [becomes]


@BOTH
@pytest.mark.parametrize("request_type", [U, R])
def test_other_requests_take_the_pageblock_at_any_order(release: str, request_type: Migratetype) -> None:
    """can_steal_fallback: start_mt == MIGRATE_RECLAIMABLE || start_mt == MIGRATE_UNMOVABLE. 1 free, 15 alike."""
    zone = zone_of(release, "M: f0 k*15")
    zone.alloc(0, request_type)
    assert types(zone) == [request_type]


@BOTH
@pytest.mark.parametrize(
    ("request_type", "block", "becomes"),
    [
        # free + not movable: 7 + 1, 7 + 0, 8 + 0
        (U, "M: f2 f1 f0 k a*8", U),
        (U, "M: f2 f1 f0 a*9", M),
        (U, "M: f3 a*8", U),
        (R, "M: f2 f1 f0 k a*8", R),
        (R, "M: f2 f1 f0 a*9", M),
        # free + movable, of each kind: 4 + 4, 4 + 3
        (M, "U: f2 a*4 k*8", M),
        (M, "U: f2 a*3 k*9", U),
        (M, "U: f2 i*4 k*8", M),
        (M, "U: f2 d*4 k*8", M),
        (M, "R: f2 a*4 s3", M),
        # between the two others nothing is alike
        (U, "R: f2 s2 s3", R),
        (R, "U: f2 k*12", U),
        (U, "R: f3 s3", U),
        (U, "R: f2 f1 f0 s s3", R),
    ],
)
def test_exactly_half_a_pageblock_free_or_alike_is_enough(
    release: str, request_type: Migratetype, block: str, becomes: Migratetype
) -> None:
    """free_pages + alike_pages >= (1 << (pageblock_order-1))."""
    zone = zone_of(release, block)
    zone.alloc(0, request_type)
    assert types(zone) == [becomes]


@BOTH
@pytest.mark.parametrize(
    ("block", "becomes"),
    [
        # of a driver's page of 8 the head is movable: 1 free, 8 movable, so 7 alike; 8 suffice
        ("M: d3 f0 a*7", U),
        ("M: d3 f0 a*6 f0", U),
        # with one more movable page 1 free and 6 alike do not
        ("M: d2 d2 a*7 f0", M),
        # each page of a THP is: 1 free, 15 movable
        ("M: t3 f0 a*7", M),
        # 8 + 4 + 1 movable, 1 free, 2 alike
        ("M: t3 t2 a f0 k*2", M),
    ],
)
def test_of_a_compound_page_a_driver_moves_only_the_head_counts_of_a_thp_each_page(
    release: str, block: str, becomes: Migratetype
) -> None:
    """PageLRU looks at the head (PF_HEAD), __PageMovable at each page's own mapping (include/linux/page-flags.h).

    ``d2 d2 a*7 f0``: 2 heads and 7 pages are movable, 1 is free, 6 alike.
    """
    zone = zone_of(release, block)
    zone.alloc(0, U)
    assert types(zone) == [becomes]


@pytest.mark.parametrize(("release", "claimed"), [("5.15", False), ("seed", False), ("6.1", True)])
@pytest.mark.parametrize("block", ["M: s1 a*8 k*5 f0", "M: d1 a*7 k*6 f0"])
def test_the_tail_of_a_compound_page_of_two_counts_as_movable_on_5_15(release: str, claimed: bool, block: str) -> None:
    """move_freepages: __PageMovable(page) of a first tail reads compound_nr, and 2 is PAGE_MAPPING_MOVABLE.

    8 movable, 1 free, 7 alike: just enough; with the tail 9, 1 and 6.
    """
    zone = zone_of(release, block)
    assert zone.alloc(0, U) == 15
    assert types(zone) == [U if claimed else M]


@pytest.mark.parametrize("release", ["5.15", "6.1"])
@pytest.mark.parametrize("block", ["M: s2 a*8 k*3 f0", "M: t1 a*6 k*7 f0", "M: k1 a*8 k*5 f0"])
def test_no_other_tail_counts_as_movable_once_more(release: str, block: str) -> None:
    """8 movable, 1 free, 7 alike: of a larger compound page, one on the LRU, or one of two that is not compound."""
    zone = zone_of(release, block)
    assert zone.alloc(0, U) == 15
    assert types(zone) == [U]


@BOTH
def test_movable_compound_pages_for_a_movable_request(release: str) -> None:
    """4 free and the 4 pages of a THP, or 4 free and one head."""
    for block, becomes in (("U: f2 t2 k*8", M), ("U: f2 d2 k*8", U)):
        zone = zone_of(release, block)
        zone.alloc(0, M)
        assert types(zone) == [becomes]


@BOTH
def test_all_pageblocks_of_a_larger_page_change_their_type(release: str) -> None:
    """change_pageblock_range."""
    zone = zone_of(release, "M: f5", "M:")
    assert zone.alloc(0, U) == 0
    assert types(zone) == [U, U]


@BOTH
def test_of_a_highatomic_pageblock_only_the_page_is_taken(release: str) -> None:
    """is_migrate_highatomic(block_type): "This can happen due to races". Half of it is free."""
    zone = zone_of(release, "H: f2@M f2@M k*8")
    assert zone.alloc(0, U) == 0
    assert (types(zone), lists(zone, M)) == ([H], {2: [4]} if release == "6.1" else {0: [1], 1: [2], 2: [4]})


@BOTH
def test_at_the_zones_end_the_page_alone_is_taken(release: str) -> None:
    """move_freepages_block: "Do not cross zone boundaries". 6.1 moves the page, 6.12 steals from it."""
    zone = zone_of(release, "U: k4", "M: f2 f1 k*2 .*8")
    assert zone.alloc(0, U) == (16 if release == "6.1" else 20)
    assert types(zone) == [U, M]
    if release == "6.1":
        assert (lists(zone, U), lists(zone, M)) == ({0: [17], 1: [18]}, {1: [20]})
    else:
        assert (lists(zone, U), lists(zone, M)) == ({}, {0: [21], 2: [16]})


def test_6_1_at_the_zones_start_moving_and_counting_begin_at_the_page_taken() -> None:
    """move_freepages_block: if (!zone_spans_pfn(zone, start_pfn)) start_pfn = pfn."""
    zone = zone_of("6.1", "U: .*6 f1 a*4 f2")
    assert zone.alloc(0, M) == 12
    assert (types(zone), lists(zone, U)) == ([U], {1: [6]})  # 4 of 16, not 4 and 4 movable


def test_6_12_claims_no_pageblock_that_begins_before_the_zone() -> None:
    """prep_move_freepages_block: if (!zone_spans_pfn(zone, start)) return false."""
    zone = zone_of("6.12", "M: .*8 f3")
    assert zone.alloc(0, U) == 8
    assert (types(zone), lists(zone, U)) == ([M], {})


# ---- watermark boost ----


@BOTH
@pytest.mark.parametrize(
    ("request_type", "block", "boost"),
    [
        (U, "M: f4", 0),  # a whole pageblock: ownership, no boost
        (U, "M: f3 k3", 16),
        (M, "U: f2 k*12", 16),
        # 6.1 boosts although only the page is taken; 6.12 ends before
        (M, "U: f1 k*14", {"6.1": 16, "6.12": 0}),
    ],
)
def test_a_fallback_below_pageblock_order_boosts_the_watermarks(
    release: str, request_type: Migratetype, block: str, boost: int | dict[str, int]
) -> None:
    """steal_suitable_fallback, try_to_steal_block: boost_watermark before the pageblock is looked at."""
    zone = zone_of(release, block, "M: a*16", "M: a*16", "M: a*16")
    zone.set_watermarks(0, 0, 100, boost_factor=15000)
    zone.alloc(0, request_type)
    assert zone.reserves()["boost"] == (boost if isinstance(boost, int) else boost[release])


@pytest.mark.parametrize(
    ("wmark_high", "managed", "boosts"),
    [
        (100, None, [16, 32, 48]),  # a pageblock at a time
        (20, None, [16, 30, 30]),  # up to 1.5 times the high watermark
        (4, None, [16, 16, 16]),  # but a pageblock at least
        (0, None, [0, 0, 0]),  # none before the watermarks are set
        (100, 64, [16, 32, 48]),  # four pageblocks are enough
        (100, 63, [0, 0, 0]),
    ],
)
def test_the_boost_and_its_bounds(wmark_high: int, managed: int | None, boosts: list[int]) -> None:
    """boost_watermark: max(pageblock_nr_pages, mult_frac(high, factor, 10000)); not below 4 pageblocks."""
    zone = zone_of("6.1", *["U: " + "f0 k " * 8] * 20, *["M: f3 k3"] * 3)
    zone.set_watermarks(0, 0, wmark_high, managed_pages=managed, boost_factor=15000)
    found = []
    for _ in boosts:
        zone.alloc(3, U)
        found.append(zone.reserves()["boost"])
    assert found == boosts


# ---- within a refill of the per-cpu lists (6.12, enum rmqueue_mode) ----


def test_6_12_tries_no_claim_after_the_first_theft_of_a_refill() -> None:
    """*mode = RMQUEUE_STEAL. The first page's pageblock does not suit (1 of 16); the second's would (1 and 15 alike)."""
    zone = zone_of("6.12", "M: f0 a*15", "M: f0 k*15")
    zone.set_pcp(100, 2)
    assert zone.alloc(0, U) == 0
    assert zone.pcp_list(U).tolist() == [16]
    assert types(zone) == [M, M]


def test_6_12_tries_claims_again_in_the_next_refill() -> None:
    zone = zone_of("6.12", "M: f0 a*15", "M: f0 k*15")
    assert [zone.alloc(0, U) for _ in range(2)] == [0, 16]
    assert types(zone) == [M, U]


def test_6_12_returns_to_the_own_lists_after_a_claim_within_a_refill() -> None:
    """*mode = RMQUEUE_NORMAL. CMA gives the first page, then one pageblock is claimed, not one for each page."""
    zone = zone_of("6.12", "C: f0 a*15", "U: f2 a*12", "U: f2 a*12")
    zone.set_pcp(100, 4)
    assert zone.alloc(0, M) == 0
    assert zone.pcp_list(M).tolist() == [16, 17, 18]
    assert types(zone) == [C, M, U]


@pytest.mark.parametrize(("release", "counted"), [("6.12", 3), ("6.19", 1)])
def test_a_claimed_page_of_an_isolated_pageblock(release: str, counted: int) -> None:
    zone = Zone(8, release, max_order=3, pageblock_order=1)
    zone.alloc(0)
    zone.start_isolate_page_range(0, 4)
    zone.free(0)
    # the free page of both isolated pageblocks merges with its neighbour: pageblock 1 is still isolated, and counted
    zone.undo_isolate_page_range(0, 2)
    assert (zone.alloc(1), zone.alloc(2), zone.nr_free_pages) == (0, 4, 2)
    # 6.12 does not count the page off, as its pageblock is isolated, but counts what is left of it on
    assert (zone.alloc(0, Migratetype.UNMOVABLE), zone.nr_free_pages) == (2, counted)
