"""Per-cpu lists, each rule on both sides of its boundary.

Sources: mm/page_alloc.c: free_unref_page_commit, nr_pcp_free, nr_pcp_high, free_pcppages_bulk, rmqueue_bulk, __rmqueue_pcplist
(5.15.16, 6.1.192), nr_pcp_alloc (6.12.117). Pageblocks have 16 pages here, so the order of a huge page is 4.
"""

import pytest

from pageblock import Migratetype, Zone

from .test_rules_layout import ISO, C, H, M, R, U, events, lists, zone_of

ALL = pytest.mark.parametrize("release", ["5.15", "6.1", "6.12"])


def zone_with(pages: int, release: str) -> Zone:
    """A zone whose first pages are allocated one by one, of which so many lie on the MOVABLE per-cpu list."""
    zone = Zone(1024, release, 0, 5, 4)
    for _ in range(pages + 32):
        zone.alloc(0)
    zone.set_pcp(10_000, 1)
    for pfn in range(pages):
        zone.free(pfn)
    assert zone.nr_pcp_pages == pages
    return zone


# ---- how many pages an overflow frees (nr_pcp_free) ----


@pytest.mark.parametrize(
    ("high", "batch", "factor", "count_after", "factor_after"),
    [
        (100, 2, 0, 98, 1),
        (100, 2, 2, 92, 3),  # 2 << 2
        (200, 1, 4, 184, 5),
        (17, 1, 4, 1, 4),  # 16 is all but a batch: it does not double again
        (18, 1, 4, 2, 5),
        (10, 4, 3, 4, 3),  # 32, but a batch stays
        (5, 4, 0, 4, 0),  # where the bounds cross, the upper one wins: 1
        (4, 4, 0, 4, 0),  # 0
        (2, 4, 0, 1, 0),  # high < batch: 1
    ],
)
@pytest.mark.parametrize("release", ["5.15", "6.1-vanilla", "6.1"])
def test_an_overflow_frees_a_doubling_number_of_pages(
    release: str, high: int, batch: int, factor: int, count_after: int, factor_after: int
) -> None:
    zone = zone_with(high - 1, release)
    zone.set_pcp(high, batch, free_factor=factor)
    assert zone.nr_pcp_pages == high - 1
    zone.free(high)
    state = zone.pcp_state()
    assert (state["count"], state["free_factor"]) == (count_after, factor_after)


@pytest.mark.parametrize(("release", "factor_after"), [("5.15", 6), ("6.1-vanilla", 6), ("6.1", 5)])
def test_only_6_1_192_caps_the_factor(release: str, factor_after: int) -> None:
    """pcp->free_factor < CONFIG_PCP_BATCH_SCALE_MAX, a backport that 6.1 as released lacks."""
    zone = zone_with(199, release)
    zone.set_pcp(200, 1, free_factor=5)
    zone.free(200)
    state = zone.pcp_state()
    assert (state["count"], state["free_factor"]) == (168, factor_after)


@ALL
def test_below_the_high_mark_nothing_is_freed(release: str) -> None:
    zone = zone_with(98, release)
    zone.set_pcp(100, 2)
    zone.free(100)
    assert zone.nr_pcp_pages == 99


@pytest.mark.parametrize("release", ["5.15", "6.1"])
def test_an_overflow_counts_pages_not_blocks(release: str) -> None:
    zone = Zone(1024, release, 0, 5, 4)
    pfns = [zone.alloc(2) for _ in range(2)]
    zone.set_pcp(8, 4)
    for pfn in pfns:
        zone.free(pfn)
    assert zone.nr_pcp_pages == 4


@ALL
def test_an_allocation_halves_the_memory_of_frees(release: str) -> None:
    zone = zone_with(5, release)
    zone.set_pcp(100, 2, free_factor=5, free_count=9)
    zone.alloc(0)
    state = zone.pcp_state()
    assert state["free_count" if release == "6.12" else "free_factor"] == (4 if release == "6.12" else 2)


@pytest.mark.parametrize(
    ("release", "factor", "order", "count"),
    [
        ("6.1", 1, 1, 0),
        ("6.1", 1, 3, 0),
        ("6.1", 0, 1, 7),
        ("6.1", 1, 0, 6),
        ("6.1", 1, 4, 21),
        ("5.15", 1, 1, 7),
    ],
)
def test_6_1_empties_all_lists_when_small_high_order_pages_come_after_an_overflow(
    release: str, factor: int, order: int, count: int
) -> None:
    """free_high = (pcp->free_factor && order && order <= PAGE_ALLOC_COSTLY_ORDER)."""
    zone = Zone(1024, release, 0, 5, 4)
    large = zone.alloc(order)
    pfns = [zone.alloc(0) for _ in range(5)]
    zone.set_pcp(100, 2)
    for pfn in pfns:
        zone.free(pfn)
    zone.set_pcp(100, 2, free_factor=factor)
    zone.free(large)
    assert zone.nr_pcp_pages == count


# ---- which pages leave, in which order (free_pcppages_bulk) ----


def test_since_5_18_the_list_freed_to_is_emptied_first_oldest_first_then_the_following_ones() -> None:
    zone = Zone(1024, "6.1", 0, 5, 4)
    order_1 = [zone.alloc(1, migratetype) for migratetype in (M, U)]
    order_2 = zone.alloc(2, M)
    single = [zone.alloc(0, migratetype) for migratetype in (U, U, M, M, R)]
    zone.set_pcp(100, 2)
    for pfn in (*single, order_1[1], order_2):
        zone.free(pfn)
    zone.set_pcp(100, 2, free_factor=1)
    drained = events(zone, "mm_page_pcpu_drain")
    zone.free(order_1[0])
    assert [event["pfn"] for event in drained] == [order_1[0], order_2, *single, order_1[1]]


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_drain_begins_with_list_0(release: str) -> None:
    zone = Zone(1024, release, 0, 5, 4)
    pfns = [zone.alloc(0, migratetype) for migratetype in (M, M, U, U, R)]
    zone.set_pcp(100, 2)
    for pfn in pfns:
        zone.free(pfn)
    drained = events(zone, "mm_page_pcpu_drain")
    zone.drain_all_pages()
    assert [event["pfn"] for event in drained] == [pfns[2], pfns[3], pfns[0], pfns[1], pfns[4]]


def test_5_15_empties_the_lists_in_turn_one_more_page_from_each_list_visited() -> None:
    """List 1 first, one page; 14 lists on, list 0 gives up to 14; what is left of them goes on counting."""
    zone = Zone(1024, "5.15", 0, 5, 4)
    a, b, c, d, e = (zone.alloc(0, migratetype) for migratetype in (U, U, M, M, M))
    zone.set_pcp(100, 2)
    for pfn in (a, b, c, d, e):
        zone.free(pfn)
    drained = events(zone, "mm_page_pcpu_drain")
    zone.drain_all_pages()
    assert [event["pfn"] for event in drained] == [c, a, b, d, e]


# ---- under which type they leave ----


@pytest.mark.parametrize(("release", "listed"), [("5.15", M), ("6.1", M), ("6.12", U)])
def test_before_6_10_a_page_leaves_under_the_type_it_came_with(release: str, listed: Migratetype) -> None:
    """get_pcppage_migratetype against get_pfnblock_migratetype."""
    zone = zone_of(release, "M: a*16", "M: a*16")
    zone.set_pcp(100, 2)
    zone.free(0)
    zone.load_pageblocks([U, U])
    zone.drain_all_pages()
    assert lists(zone, listed) == {0: [0]}


@ALL
def test_while_pageblocks_are_isolated_a_page_leaves_under_its_pageblocks_type(release: str) -> None:
    """if (unlikely(isolated_pageblocks)) mt = get_pageblock_migratetype(page)."""
    zone = zone_of(release, "M: a*16", "M: a*16")
    zone.set_pcp(100, 2)
    zone.free(0)
    zone.start_isolate_page_range(0, 16)
    zone.drain_all_pages()
    assert (lists(zone, ISO), zone.nr_free_pages) == ({0: [0]}, 0)


@ALL
def test_isolated_pages_pass_the_per_cpu_lists_by(release: str) -> None:
    """free_unref_page: is_migrate_isolate → free_one_page."""
    zone = zone_of(release, "M: a*16", "M: a*16")
    zone.set_pcp(100, 2)
    zone.start_isolate_page_range(0, 16)
    zone.free(3)
    assert (zone.nr_pcp_pages, lists(zone, ISO)) == (0, {0: [3]})


@ALL
@pytest.mark.parametrize("migratetype", [C, H])
def test_cma_and_highatomic_pages_lie_on_the_movable_list_and_keep_their_type(
    release: str, migratetype: Migratetype
) -> None:
    zone = zone_of(release, f"{migratetype.name[0]}: a*16")
    zone.set_pcp(100, 2)
    zone.free(5)
    assert zone.pcp_list(1).tolist() == [5]
    zone.drain_all_pages()
    assert (lists(zone, migratetype), zone.nr_free_cma_pages) == ({0: [5]}, int(migratetype == C))


# ---- which list, which end ----


@ALL
def test_the_newest_page_is_taken_first(release: str) -> None:
    zone = zone_with(0, release)
    zone.set_pcp(100, 2)
    zone.free(10)
    zone.free(20)
    assert zone.pcp_list(1).tolist() == [20, 10]
    assert [zone.alloc(0), zone.alloc(0)] == [20, 10]


@ALL
@pytest.mark.parametrize(
    ("batch", "order", "blocks"),
    [(4, 0, 4), (8, 1, 4), (8, 2, 2), (8, 3, 2), (63, 4, 3), (1, 0, 1), (1, 1, 1)],
)
def test_a_refill_is_a_batch_scaled_down_by_order_two_blocks_at_least(
    release: str, batch: int, order: int, blocks: int
) -> None:
    """if (batch > 1) batch = max(batch >> order, 2). The first block is taken, the others follow ascending."""
    zone = Zone(1024, release, 0, 5, 4)
    zone.set_pcp(100, batch)
    assert zone.alloc(order) == 0
    index = 13 if order == 4 else 3 * order + 1
    assert zone.pcp_list(index).tolist() == [i << order for i in range(1, blocks)]


@pytest.mark.parametrize(("release", "pfns"), [("6.1", [16, 17, 8, 9]), ("6.12", [16, 17, 18, 19])])
def test_within_a_refill_6_1_counts_only_free_cma_pages(release: str, pfns: list[int]) -> None:
    """16 of 28 free pages are in CMA. 6.1: 2 * 14 > 28 is false after two; 6.12: 26 and 24 are free by then."""
    zone = zone_of(release, "M: f3 f2 k*4", "C: f4")
    zone.set_pcp(100, 4)
    assert [zone.alloc(0, M), *zone.pcp_list(1).tolist()] == pfns
    assert zone.nr_free_pages == 24


@pytest.mark.parametrize(
    ("release", "found"),
    [("5.15", (12, 13, 14)), ("6.1-vanilla", (12, 12, 12)), ("6.1", (12, 13, 12)), ("6.12", (12, 13, 12))],
)
def test_the_lists_of_huge_pages(release: str, found: tuple[int, ...]) -> None:
    """order_to_pindex; a huge page has the order of a pageblock."""
    zone = Zone(1024, release, 0, 5, 4)
    pfns = [zone.alloc(4, migratetype) for migratetype in (U, M, R)]
    zone.set_pcp(1000, 2)
    for pfn in pfns:
        zone.free(pfn)
    for pfn, index in zip(pfns, found, strict=True):
        assert pfn in zone.pcp_list(index).tolist()


@ALL
def test_orders_0_to_3_and_that_of_a_huge_page_have_lists(release: str) -> None:
    """pcp_allowed_order: PAGE_ALLOC_COSTLY_ORDER is 3."""
    zone = Zone(8192, release)
    pfns = [zone.alloc(order) for order in range(11)]
    zone.set_pcp(10_000, 100)
    counts = []
    for pfn in pfns:
        zone.free(pfn)
        counts.append(zone.nr_pcp_pages)
    assert counts == [1, 3, 7, 15, 15, 15, 15, 15, 15, 527, 527]


# ---- 6.12: frees tune the high mark (free_unref_page_commit, nr_pcp_high, nr_pcp_free) ----


def freed(count: int, order: int, tuning: dict[str, int], below_high: bool = False) -> dict[str, int]:
    """The state after one free of an order, with so many pages on the lists before."""
    zone = Zone(1024, "6.12", 0, 5, 4)
    last = zone.alloc(order)
    for pfn in [zone.alloc(0) for _ in range(count)]:
        zone.set_pcp(10_000, 1)
        zone.free(pfn)
    if below_high:
        fall_below_the_high_watermark(zone)
    zone.set_pcp(tuning["high"], 4, **{name: value for name, value in tuning.items() if name != "high"})
    zone.free(last)
    state: dict[str, int] = zone.pcp_state()
    return state


def fall_below_the_high_watermark(zone: Zone) -> None:
    """As get_page_from_freelist notes it (ZONE_BELOW_HIGH); an order without per-cpu lists leaves those alone."""
    zone.set_watermarks(0, 0, 10_000)
    zone.alloc(5)


STEADY = {"high": 1000, "high_min": 100, "high_max": 2000}


@pytest.mark.parametrize(
    ("order", "before", "after"),
    [
        (0, {"alloc_factor": 4}, {"alloc_factor": 2}),
        (0, {"flags": 1}, {"flags": 0}),
        (1, {"flags": 0}, {"flags": 1}),
        (3, {"flags": 2}, {"flags": 3}),
        (4, {"flags": 1}, {"flags": 0}),  # a huge page is not one of them
        (1, {"free_count": 3}, {"free_count": 5}),  # pages, not blocks
        (1, {"free_count": 127}, {"free_count": 129}),
        (1, {"free_count": 128}, {"free_count": 128}),  # batch << 5
        (0, {"high": 50}, {"high": 100}),  # within its bounds
        (0, {"high": 3000}, {"high": 2000}),
    ],
)
def test_6_12_what_a_free_remembers(order: int, before: dict[str, int], after: dict[str, int]) -> None:
    state = freed(0, order, {**STEADY, **before})
    assert {name: state[name] for name in after} == after
    assert state["count"] == 1 << order


@pytest.mark.parametrize(
    ("count", "order", "tuning", "count_after", "high_after"),
    [
        (10, 1, {"free_count": 4, "flags": 1}, 0, 1000 - 128),
        (10, 1, {"free_count": 4, "flags": 1, "high": 150}, 0, 100),
        (10, 1, {"free_count": 3, "flags": 1}, 12, 1000),  # less than a batch freed in a row
        (10, 1, {"free_count": 4, "flags": 0}, 12, 1000),  # the first one of its kind
        (10, 0, {"free_count": 4, "flags": 1}, 11, 1000),
        (10, 4, {"free_count": 4, "flags": 1}, 26, 1000),
        (1, 1, {"free_count": 4, "flags": 3}, 3, 1000),  # PCPF_FREE_HIGH_BATCH: fewer than a batch on the lists
        (2, 1, {"free_count": 4, "flags": 3}, 0, 872),
        (1, 1, {"free_count": 4, "flags": 1}, 0, 872),
        (200, 1, {"free_count": 4, "flags": 1}, 74, 872),  # 32 batches at most
    ],
)
def test_6_12_small_high_order_pages_in_a_row_empty_the_lists(
    count: int, order: int, tuning: dict[str, int], count_after: int, high_after: int
) -> None:
    state = freed(count, order, {**STEADY, **tuning})
    assert (state["count"], state["high"]) == (count_after, high_after)


@pytest.mark.parametrize(
    ("count", "tuning", "count_after", "high_after"),
    [
        # reached: freed in a row + batch are more than the mark, which rises to that; 16 of 20 go
        (19, {"free_count": 30}, 4, 35),
        (18, {"free_count": 30}, 19, 20),  # not reached
        (19, {"free_count": 0}, 16, 20),  # a batch at least goes; 1 + 4 are fewer than the mark
        (19, {"free_count": 15}, 4, 20),  # 16 + 4 are not more than the mark
        (19, {"free_count": 120}, 4, 100),  # the mark has an upper bound
        (19, {"free_count": 30, "high_min": 20, "high_max": 20}, 4, 20),  # and does not move between equal ones
    ],
)
def test_6_12_an_overflow_raises_the_high_mark(
    count: int, tuning: dict[str, int], count_after: int, high_after: int
) -> None:
    state = freed(count, 0, {"high": 20, "high_min": 10, "high_max": 100, **tuning})
    assert (state["count"], state["high"]) == (count_after, high_after)


@pytest.mark.parametrize(
    ("free_count", "count_after", "high_after"),
    [
        (0, 17, 46),  # 21 on the lists: a batch goes, and the mark sinks by as much
        (9, 11, 40),
    ],
)
def test_6_12_below_the_zones_high_watermark_the_lists_shrink(
    free_count: int, count_after: int, high_after: int
) -> None:
    state = freed(20, 0, {"high": 50, "high_min": 10, "high_max": 100, "free_count": free_count}, below_high=True)
    assert (state["count"], state["high"]) == (count_after, high_after)


def test_6_12_an_overflow_that_brings_the_zone_above_its_high_watermark_ends_that() -> None:
    zone = Zone(1024, "6.12", 0, 5, 4)
    pfns = [zone.alloc(0) for _ in range(22)]
    fall_below_the_high_watermark(zone)
    zone.set_pcp(10_000, 4)
    zone.set_watermarks(0, 0, 0)
    zone.set_pcp(50, 4, high_min=30, high_max=100)
    for pfn in pfns[:20]:
        zone.free(pfn)
    assert (zone.nr_pcp_pages, zone.pcp_state()["high"]) == (20, 30)  # sinks, but to 30; nothing overflows
    zone.set_pcp(50, 4, high_min=10, high_max=100)
    zone.free(pfns[20])
    assert (zone.nr_pcp_pages, zone.pcp_state()["high"]) == (17, 46)
    zone.free(pfns[21])
    assert (zone.nr_pcp_pages, zone.pcp_state()["high"]) == (18, 46)


# ---- 6.12: allocations tune the refill and the high mark (nr_pcp_alloc) ----


@pytest.mark.parametrize(
    ("order", "tuning", "blocks", "after"),
    [
        (0, {"high": 3, "high_min": 3, "high_max": 3}, 1, {}),  # high < batch
        (0, {"alloc_factor": 2}, 16, {"alloc_factor": 3}),
        (0, {"alloc_factor": 4}, 64, {"alloc_factor": 5}),
        (0, {"alloc_factor": 5}, 128, {"alloc_factor": 5}),
        (1, {"alloc_factor": 2}, 2, {"alloc_factor": 2}),  # of single pages only
        (0, {}, 4, {"high": 1004}),
        (0, {"high_max": 1002}, 4, {"high": 1002}),
        (0, {"high": 20, "high_min": 20, "high_max": 20, "alloc_factor": 2}, 16, {"alloc_factor": 3, "high": 20}),
        (0, {"high": 19, "high_min": 19, "high_max": 19, "alloc_factor": 2}, 15, {"alloc_factor": 2, "high": 19}),
        (0, {"high": 5, "high_min": 5, "high_max": 5, "alloc_factor": 2}, 4, {"alloc_factor": 2}),  # a batch at least
    ],
)
def test_6_12_what_a_refill_takes_and_remembers(
    order: int, tuning: dict[str, int], blocks: int, after: dict[str, int]
) -> None:
    zone = Zone(1024, "6.12", 0, 5, 4)
    tuning = {**STEADY, **tuning}
    zone.set_pcp(tuning.pop("high"), 4, **tuning)
    zone.alloc(order)
    assert zone.nr_pcp_pages == (blocks - 1) << order
    state = zone.pcp_state()
    assert {name: state[name] for name in after} == after


@pytest.mark.parametrize(("boost", "high_after"), [(0, 54), (50, 50)])
def test_6_12_a_refill_raises_the_high_mark_only_above_the_zones_high_watermark(boost: int, high_after: int) -> None:
    """get_page_from_freelist: high_wmark_pages has the boost in it. 1024 pages are free, the mark is 1000."""
    zone = Zone(1024, "6.12", 0, 5, 4)
    zone.set_watermarks(0, 0, 1000, boost=boost)
    zone.set_pcp(50, 4, high_min=10, high_max=100)
    zone.alloc(0)
    assert zone.pcp_state()["high"] == high_after


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_where_a_refill_finds_nothing_the_buddy_lists_are_asked(release: str) -> None:
    """rmqueue falls through to rmqueue_buddy: an order-0 atomic request then gets a HIGHATOMIC page."""
    zone = zone_of(release, "U: k4", "H: f4")
    zone.set_highatomic(16, 16)
    zone.set_pcp(100, 4)
    assert zone.alloc(0, U, atomic=True) == 16


# ---- 6.19: what differs ----


@pytest.mark.parametrize(("release", "left"), [("6.12", 3), ("6.19", 2)])
@pytest.mark.parametrize("batch", [8])
def test_6_19_frees_an_overflow_a_batch_at_a_time(release: str, left: int, batch: int) -> None:
    """free_frozen_page_commit: 16 pages are a huge page in one go; in two batches of 8 a huge page each, from the same list."""
    zone = Zone(1024, release, 0, 5, 4)
    single = [zone.alloc(0, U) for _ in range(4)]
    huge = [zone.alloc(4, M) for _ in range(4)]
    zone.set_pcp(64, batch)
    for pfn in (*single, *huge[:3]):
        zone.free(pfn)
    zone.set_pcp(64, batch, high_min=64, high_max=64, free_count=0)
    drained = events(zone, "mm_page_pcpu_drain")
    zone.free(huge[3])
    assert [event["pfn"] for event in drained] == huge[: 4 - left]


@pytest.mark.parametrize(
    ("release", "free_count", "emptied"),
    [("6.12", 3, False), ("6.12", 4, True), ("6.19", 53, False), ("6.19", 54, True)],
)
def test_6_19_small_high_order_pages_empty_the_lists_later(release: str, free_count: int, emptied: bool) -> None:
    """pcp->free_count >= batch + pcp->high_min / 2: a batch of 4 and half of 100."""
    zone = Zone(1024, release, 0, 5, 4)
    last = zone.alloc(1)
    pfns = [zone.alloc(0) for _ in range(10)]
    zone.set_pcp(10_000, 1)
    for pfn in pfns:
        zone.free(pfn)
    zone.set_pcp(1000, 4, high_min=100, high_max=2000, free_count=free_count, flags=1)
    zone.free(last)
    assert zone.nr_pcp_pages == (0 if emptied else 12)
