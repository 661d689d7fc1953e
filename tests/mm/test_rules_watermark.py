"""Watermarks and the HIGHATOMIC reserve, each rule on both sides of its boundary.

Sources: mm/page_alloc.c: __zone_watermark_ok, __zone_watermark_unusable_free, gfp_to_alloc_flags, rmqueue_buddy,
reserve_highatomic_pageblock, unreserve_highatomic_pageblock (6.1.192, 6.12.117).
"""

import pytest

from pageblock import Migratetype, OutOfMemoryError, Zone

from .test_rules_layout import C, H, M, U, lists, types, zone_of

BOTH = pytest.mark.parametrize("release", ["6.1", "6.12"])


def left_by(zone: Zone, migratetype: Migratetype = U, order: int = 0, atomic: bool = False) -> int:
    """NR_FREE_PAGES when the first request of a kind fails."""
    for _ in range(zone.geometry.nr_pages):
        try:
            zone.alloc(order, migratetype, atomic=atomic)
        except OutOfMemoryError:
            return int(zone.nr_free_pages)
    raise AssertionError("the zone gave all its pages")


# ---- how many pages must stay free ----


@BOTH
def test_the_lowmem_reserve_and_the_boost_are_added_to_the_mark(release: str) -> None:
    """free_pages <= min + z->lowmem_reserve[highest_zoneidx] refuses; min_wmark_pages has the boost in it."""
    zone = Zone(1024, release)
    zone.set_watermarks(100, 100, 100)
    assert left_by(zone.copy()) == 100
    zone.set_watermarks(100, 100, 100, lowmem_reserve=50)
    assert left_by(zone.copy()) == 150
    zone.set_watermarks(100, 100, 100, boost=30)
    assert left_by(zone.copy()) == 130


def test_a_boost_holds_from_the_next_request_on() -> None:
    """Of 4 times 8 free pages the first fallback boosts to 16, the second, after 8 allocations, to 32; the tenth fails."""
    zone = zone_of("6.1", *["M: f3 k3"] * 4)
    zone.set_watermarks(0, 0, 100, boost_factor=15000)
    assert left_by(zone) == 32 - 9


@BOTH
def test_watermarks_see_a_counter_that_lags_up_to_the_threshold(release: str) -> None:
    """__mod_zone_page_state: what exceeds the threshold, in either direction, is added at once, all of it.

    From 64 the counter goes to 59, 54 and so on to 14, and to 9, when as many are free.
    """
    zone = zone_of(release, *["U: f4"] * 4)
    zone.set_watermarks(10, 10, 10)
    zone.set_stat_threshold(4)
    assert left_by(zone) == 9


@BOTH
def test_a_counter_lags_upwards_too(release: str) -> None:
    """8 and 4 pages are free, but 8 are counted; the fifth brings the counter to 13."""
    zone = zone_of(release, "U: f3 k*8", "U: k4")
    zone.set_watermarks(10, 10, 10)
    zone.set_stat_threshold(4)
    for pfn in range(8, 12):
        zone.free(pfn)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)
    zone.free(12)
    zone.alloc(0, U)


@BOTH
def test_the_balance_with_cma_sees_lagging_counters(release: str) -> None:
    """2 * 16 > 32 is false until 5 pages are told at once; 2 * 16 > 27 is true until another 5 are: 2 * 11 > 22 is not."""
    zone = zone_of(release, "M: f4", "C: f4")
    zone.set_stat_threshold(4)
    assert [zone.alloc(0, M) for _ in range(11)] == [0, 1, 2, 3, 4, 16, 17, 18, 19, 20, 5]


# ---- zone_page_state: a counter below zero reads as zero (CONFIG_SMP) ----

EVERY = pytest.mark.parametrize("release", ["5.15", "seed-as-posted", "6.1", "6.12"])


@EVERY
def test_counters_below_zero_read_as_zero(release: str) -> None:
    """What /proc and watermarks see; the counter itself goes on from where it is."""
    zone = zone_of(release, "M: f4")
    zone.set_counters(nr_free_pages=-3, nr_free_cma_pages=-5)
    assert zone.vm_stats() == (0, 0)
    assert (zone.nr_free_pages, zone.nr_free_cma_pages) == (-3, -5)


@EVERY
@pytest.mark.parametrize("counted", [0, -6])
def test_less_than_no_cma_adds_nothing_to_what_is_free(release: str, counted: int) -> None:
    """__zone_watermark_unusable_free subtracts zone_page_state(NR_FREE_CMA_PAGES), which is never below zero."""
    zone = zone_of(release, "U: f4", "M: f4")
    zone.set_watermarks(10, 10, 10)
    zone.set_counters(nr_free_cma_pages=counted)
    assert left_by(zone) == 10


@BOTH
def test_all_but_one_page_of_the_request_are_subtracted(release: str) -> None:
    """unusable_free = (1 << order) - 1: at order 2 a request still succeeds at 104 free pages, not at 103."""
    zone = Zone(1024, release)
    zone.set_watermarks(100, 100, 100)
    assert left_by(zone, order=2) == 100
    zone = Zone(1024, release)
    zone.set_watermarks(101, 101, 101)
    assert left_by(zone, order=2) == 104


@BOTH
def test_free_cma_pages_do_not_count_for_requests_that_may_not_use_them(release: str) -> None:
    zone = zone_of(release, "M: f5", "M:", "C: f4")
    zone.set_watermarks(10, 10, 10)
    assert left_by(zone.copy(), U) == 10 + 16
    assert left_by(zone, M) == 10


@pytest.mark.parametrize(("release", "left"), [("6.1", 10 + 16), ("6.12", 10 + 4)])
def test_an_ordinary_request_does_not_count_the_highatomic_reserve(release: str, left: int) -> None:
    """6.1: nr_reserved_highatomic, the pageblocks; 6.12: nr_free_highatomic, what is free in them."""
    zone = zone_of(release, "U: f5", "U:", "H: f2 k*12")
    zone.set_watermarks(10, 10, 10)
    zone.set_highatomic(16, 4)
    assert left_by(zone) == left


@BOTH
def test_an_atomic_request_counts_the_reserve_and_needs_three_eighths_of_the_mark(release: str) -> None:
    """ALLOC_MIN_RESERVE: min -= min / 2; ALLOC_NON_BLOCK: min -= min / 4. 100 - 50 - 12 = 38."""
    zone = Zone(1024, release)
    zone.set_watermarks(100, 100, 100)
    zone.set_highatomic(512, 512)
    assert left_by(zone.copy()) == 612
    assert left_by(zone, atomic=True) == 38


@pytest.mark.parametrize(("release", "passes"), [("5.15", True), ("seed", True), ("6.1", False), ("6.12", False)])
def test_less_than_nothing_is_much_for_an_order_0_request_on_5_15(release: str, passes: bool) -> None:
    """zone_watermark_fast: fast_free > mark + z->lowmem_reserve[highest_zoneidx], and mark is unsigned."""
    zone = Zone(1024, release)
    zone.set_watermarks(100, 100, 100)
    zone.set_highatomic(1024, 1024)  # exactly nothing
    refused = [(0, U), (1, U)]
    if passes:
        with pytest.raises(OutOfMemoryError):
            zone.alloc(0, U)
        zone.set_highatomic(1025, 1025)
        assert zone.alloc(0, U) == 0
        refused = [(1, U)]
    for order, migratetype in refused:
        with pytest.raises(OutOfMemoryError):
            zone.alloc(order, migratetype)


@BOTH
def test_watermarks_see_a_counter_of_cma_pages_that_lags(release: str) -> None:
    """NR_FREE_CMA_PAGES says 16 still, as NR_FREE_PAGES says 64: 48 are free to others."""
    zone = zone_of(release, "C: f4", *["U: f4"] * 3)
    zone.set_stat_threshold(4)
    assert [zone.alloc(0, M) for _ in range(3)] == [0, 1, 2]
    zone.set_watermarks(48, 48, 48)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)
    zone.set_watermarks(47, 47, 47)
    assert zone.alloc(0, U) == 16


@pytest.mark.parametrize(("release", "seen"), [("6.1", 32), ("6.12", 31)])
def test_claiming_a_whole_page_brings_a_lagging_counter_up_to_date(release: str, seen: int) -> None:
    """6.12 try_to_claim_block: 32 pages are counted off and 31 on again, more than the threshold; 6.1 counts the one taken."""
    zone = zone_of(release, "M: f5", "M:")
    zone.set_stat_threshold(4)
    assert zone.alloc(0, U) == 0
    zone.set_watermarks(seen, seen, seen)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)
    zone.set_watermarks(seen - 1, seen - 1, seen - 1)
    assert zone.alloc(0, U) == 1


def test_6_12_counts_on_what_is_left_of_a_claimed_page() -> None:
    """32 pages off, which reach the threshold of 20; 16 on again, which do not, and are held back."""
    zone = zone_of("6.12", "M: f5", "M:")
    zone.set_stat_threshold(20)
    assert zone.alloc(4, U) == 0
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)


@pytest.mark.parametrize(("pages", "seen"), [("f0 k", 11), ("f1 k*2", 6)])
def test_6_12_counts_a_claimed_pageblock_block_by_block(pages: str, seen: int) -> None:
    """__move_freepages_block: 3 pages are held back; 1 more and 1 less reach no threshold of 4, 2 more do, and 2 lag then.

    With one page taken, 7 are free; 4 are held back, or 1 of the other side.
    """
    zone = zone_of("6.12", "U: k f0 k f0 k f0 k*10", f"M: {' '.join([pages] * (8 if pages == 'f0 k' else 4))}")
    zone.set_stat_threshold(4)
    for _ in range(3):
        zone.alloc(0, U)
    assert zone.alloc(0, U) >= 16
    zone.set_watermarks(seen, seen, seen)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)
    zone.set_watermarks(seen - 1, seen - 1, seen - 1)
    zone.alloc(0, U)


# ---- a block of the order must be there ----


@BOTH
def test_an_order_0_request_needs_no_block_on_the_ordinary_lists(release: str) -> None:
    """If this is an order-0 request then the watermark is fine: an atomic one then dips into the reserve."""
    zone = zone_of(release, "U: k4", "H: f4")
    zone.set_highatomic(16, 16)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U)
    assert zone.alloc(0, U, atomic=True) == 16


def test_vanilla_6_1_gives_up_instead() -> None:
    """rmqueue_buddy as first released has no second look at MIGRATE_HIGHATOMIC."""
    zone = zone_of("6.1-vanilla", "U: k4", "H: f4")
    zone.set_highatomic(16)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(0, U, atomic=True)


@BOTH
@pytest.mark.parametrize("migratetype", ["U", "M", "R"])
def test_a_block_of_any_ordinary_type_will_do(release: str, migratetype: str) -> None:
    zone = zone_of(release, "M: a*14 f0 k", f"{migratetype}: f3 a*8")
    assert zone.alloc(3, U) == 16


@BOTH
def test_a_cma_block_will_do_for_movable_requests_alone(release: str) -> None:
    """An order-1 page waits on the per-cpu list; without a block in the buddy lists it is not looked at."""
    zone = zone_of(release, "M: " + "f0 a " * 8, "C: f2 a*12")
    assert zone.alloc(1, M) == 16
    zone = zone_with_an_order_1_page_on_the_pcp_list(release, "M: " + "f0 a " * 8, "C: f2 a*12")
    with pytest.raises(OutOfMemoryError):
        zone.alloc(1, U)


@BOTH
def test_a_highatomic_block_will_do_for_high_order_atomic_requests_alone(release: str) -> None:
    """alloc_flags & (ALLOC_HIGHATOMIC|ALLOC_OOM)."""
    drawn = ("U: " + "f0 k " * 8, "U: " + "f0 k " * 8, "U: " + "f0 k " * 8, "H: f2 k*12")
    zone = zone_of(release, *drawn)
    zone.set_highatomic(16, 4)
    assert zone.alloc(1, U, atomic=True) == 48
    zone = zone_with_an_order_1_page_on_the_pcp_list(release, *drawn)
    zone.set_highatomic(16, 4)
    with pytest.raises(OutOfMemoryError):
        zone.alloc(1, U)


def zone_with_an_order_1_page_on_the_pcp_list(release: str, *blocks: str) -> Zone:
    """A further UNMOVABLE pageblock, all in use but for two pages on the per-cpu list of order 1."""
    drawn = zone_of(release, *blocks, "U: f1 k*14")
    pfn = 16 * len(blocks)
    zone = Zone(drawn.end_pfn, release, 0, 5, 4, populate=False)
    zone.load_pageblocks(drawn.pageblock_types)
    for at in range(drawn.end_pfn):
        page = drawn.page(at)
        if page.page_class and at not in (pfn, pfn + 1):
            zone.load_pages([at], [1], [page.page_class], [0], [0])
    for migratetype in (U, M, H, C):
        for order, pfns in lists(drawn, migratetype).items():
            for free in pfns:
                if free != pfn:
                    zone.load_free([free], [order], [migratetype])
    zone.set_pcp(100, 8)
    zone.load_pcp(3, [pfn])
    return zone


@BOTH
def test_with_a_block_in_the_buddy_lists_the_waiting_page_is_taken(release: str) -> None:
    zone = zone_with_an_order_1_page_on_the_pcp_list(release, "U: f2 k*12")
    assert zone.alloc(1, U) == 16


# ---- the slow path and the reserve ----


def test_only_the_slow_path_uses_and_grows_the_reserve() -> None:
    """gfp_to_alloc_flags sets ALLOC_HIGHATOMIC for order > 0; the first attempt, above low, does without."""
    zone = zone_of("6.1", "U: f5", "U:", "U: f5", "U:")
    zone.set_watermarks(10, 40, 50)
    zone.alloc(1, U, atomic=True)
    assert zone.reserves()["highatomic"] == 0
    zone.set_watermarks(10, 62, 70)  # 62 pages are free: at the mark, but not above it
    zone.alloc(0, U, atomic=True)
    assert zone.reserves()["highatomic"] == 0
    zone.alloc(1, U, atomic=True)
    assert (zone.reserves()["highatomic"], types(zone)) == (16, [H, U, U, U])


def test_a_boost_raises_the_low_watermark() -> None:
    """low_wmark_pages: _watermark[WMARK_LOW] + watermark_boost."""
    zone = zone_of("6.1", "U: f5", "U:")
    zone.set_watermarks(0, 1, 1, boost=30)
    zone.alloc(1, U, atomic=True)  # 31 > 1 + 30 fails
    assert zone.reserves()["highatomic"] == 16


def test_a_reserved_pageblock_is_not_reserved_again() -> None:
    """migratetype_is_mergeable(mt)."""
    zone = zone_of("6.1", "U: f4", "U: f4", "U: f4", "U: f4")
    zone.set_watermarks(0, 1000, 1000, managed_pages=10_000)
    assert [zone.alloc(1, U, atomic=True) for _ in range(6)] == [0, 16, 32, 48, 2, 18]
    assert zone.reserves()["highatomic"] == 64


def test_6_1_moves_the_free_pages_of_a_reserved_pageblock() -> None:
    zone = zone_of("6.1", "U: f4", "U: f4")
    zone.set_watermarks(0, 1000, 1000)
    zone.alloc(1, U, atomic=True)
    assert (lists(zone, H), lists(zone, U)) == ({1: [2], 2: [4], 3: [8]}, {4: [16]})


@pytest.mark.parametrize(
    ("release", "managed", "reserved"),
    [
        ("6.1", 0, 16),  # below a pageblock: one
        ("6.1", 1600, 32),  # below 16 + 16: two
        ("6.1", 1700, 48),  # below 17 + 16: three
        ("6.12", 1599, 0),  # 1 % is 15: none
        ("6.12", 1600, 16),
        ("6.12", 1700, 32),  # 17 rounded up
        ("6.12", 3299, 32),
        ("6.12", 3300, 48),
    ],
)
def test_the_reserve_grows_until_it_reaches_its_cap(release: str, managed: int, reserved: int) -> None:
    """reserve_highatomic_pageblock: managed / 100 + pageblock_nr_pages (6.1); ALIGN(managed / 100, ...) (6.12)."""
    zone = zone_of(release, *["U: f4"] * 6)
    zone.set_watermarks(0, 1000, 1000, managed_pages=managed)
    for _ in range(5):
        zone.alloc(4, U, atomic=True)
    assert zone.reserves()["highatomic"] == reserved


def test_6_12_reserves_all_pageblocks_of_a_larger_page() -> None:
    """change_pageblock_range; nr_reserved_highatomic += 1 << order."""
    zone = zone_of("6.12", "U: f5", "U:", "U: f5", "U:")
    zone.set_watermarks(0, 1000, 1000, managed_pages=10_000)
    assert zone.alloc(5, U, atomic=True) == 0
    assert (zone.reserves()["highatomic"], types(zone)) == (32, [H, H, U, U])


def test_6_12_does_not_reserve_at_the_zones_edge() -> None:
    """move_freepages_block == -1."""
    zone = zone_of("6.12", "U: f3 .*8")
    zone.set_watermarks(0, 1000, 1000, managed_pages=10_000)
    zone.alloc(1, U, atomic=True)
    assert (zone.reserves()["highatomic"], types(zone)) == (0, [U])


@BOTH
def test_a_large_atomic_request_takes_from_the_reserve_first_a_small_one_last(release: str) -> None:
    """rmqueue: orders with per-cpu lists go through rmqueue_pcplist, which knows no reserve, before rmqueue_buddy."""
    zone = zone_of(release, "U: f5", "U:", "H: f5", "H:")
    zone.set_watermarks(0, 1000, 1000)
    zone.set_highatomic(32, 32)
    assert zone.alloc(5, U, atomic=True) == 32
    assert zone.alloc(1, U, atomic=True) == 0


@pytest.mark.parametrize(("release", "pfn"), [("5.15", None), ("6.1-vanilla", None), ("6.1", 16), ("6.12", 16)])
def test_an_order_0_atomic_request_gets_at_the_reserve_since_a_backport(release: str, pfn: int | None) -> None:
    """rmqueue_buddy: if (!page && (alloc_flags & ALLOC_NON_BLOCK)), which 6.1 as released lacks."""
    zone = zone_of(release, "U: k4", "H: f4")
    zone.set_highatomic(16, 16)
    if pfn is None:
        with pytest.raises(OutOfMemoryError):
            zone.alloc(0, U, atomic=True)
    else:
        assert zone.alloc(0, U, atomic=True) == pfn


@pytest.mark.parametrize("release", ["5.15", "seed"])
@pytest.mark.parametrize("high", [None, 0, 100])
def test_on_5_15_orders_with_per_cpu_lists_never_get_at_the_reserve(release: str, high: int | None) -> None:
    """rmqueue: goto out, whatever rmqueue_pcplist answers."""
    zone = zone_of(release, "U: k5", "U:", "H: f5", "H:")
    if high is not None:
        zone.set_pcp(high, 10 if high else 1)
    zone.set_highatomic(32)
    for order in (1, 3):
        with pytest.raises(OutOfMemoryError):
            zone.alloc(order, U, atomic=True)
    assert zone.alloc(5, U, atomic=True) == 32


@BOTH
def test_the_last_reserved_pageblock_is_kept_unless_forced(release: str) -> None:
    """!force && nr_reserved_highatomic <= pageblock_nr_pages."""
    zone = zone_of(release, "H: f4", "H: k4")
    zone.set_highatomic(16, 16)
    assert not zone.unreserve_highatomic_pageblock(M)
    assert zone.unreserve_highatomic_pageblock(M, force=True)
    zone = zone_of(release, "H: f4", "H: k4")
    zone.set_highatomic(32, 16)
    assert zone.unreserve_highatomic_pageblock(M)


@BOTH
def test_the_pageblock_with_the_smallest_free_page_is_given_up(release: str) -> None:
    zone = zone_of(release, "H: f3 k3", "H: f1 k*14", "H: f2 k*12")
    zone.set_highatomic(48, 14)
    assert zone.unreserve_highatomic_pageblock(M)
    assert (types(zone), lists(zone, M), lists(zone, H)) == ([H, M, H], {1: [16]}, {2: [32], 3: [0]})
    assert zone.reserves()["highatomic"] == 32


@BOTH
def test_given_up_pages_go_to_the_tail(release: str) -> None:
    zone = zone_of(release, "H: f4", "M: f4", "H: k4")
    zone.set_highatomic(32, 16)
    zone.unreserve_highatomic_pageblock(M)
    assert lists(zone, M) == {4: [16, 0]}


@pytest.mark.parametrize(("release", "becomes", "reserved"), [("6.1", [M, H], 32), ("6.12", [M, M], 16)])
def test_a_larger_free_page_of_the_reserve(release: str, becomes: list[int], reserved: int) -> None:
    """6.1 gives up the pageblock of its head; 6.12 all of them, counted."""
    zone = zone_of(release, "H: f5", "H:", "H: k4")
    zone.set_highatomic(48, 32)
    assert zone.unreserve_highatomic_pageblock(M)
    assert (types(zone)[:2], zone.reserves()["highatomic"], lists(zone, M)) == (becomes, reserved, {5: [0]})
