"""Isolation, its undo and merging beside it, each rule on both sides of its boundary.

Sources: mm/page_isolation.c: has_unmovable_pages, set_migratetype_isolate, unset_migratetype_isolate, isolate_single_pageblock,
start_isolate_page_range; mm/page_alloc.c: __free_one_page, split_free_page (5.15, 6.1.192, 6.12.117). Pageblocks have 16
pages here, windows of the old rule 32.
"""

import numpy as np
import pytest

from pageblock import OPERATION, ContigRefused, Migratetype, PageClass, PageFlag, Zone

from .test_rules_layout import ISO, C, M, U, lists, types, zone_of

ALL = pytest.mark.parametrize("release", ["5.15", "6.1", "6.12"])


def refused_at(zone: Zone, start: int, end: int, migratetype: Migratetype = M) -> int | None:
    """Where isolation is refused; everything is given back."""
    before = (types(zone), zone.nr_isolate_pageblock)
    with pytest.raises(ContigRefused) as refused:
        zone.start_isolate_page_range(start, end, migratetype)
    assert (types(zone), zone.nr_isolate_pageblock) == before
    return refused.value.pfn


# ---- merging beside isolated pageblocks ----


@pytest.mark.parametrize(("release", "merges"), [("5.15", True), ("6.1", True), ("6.12", True)])
def test_other_types_merge_while_pageblocks_are_isolated(release: str, merges: bool) -> None:
    """5.15 __free_one_page: types matter only if one of them is ISOLATE."""
    zone = zone_of(release, "M: t4", "U: f4", "M: f4", "M: f4")
    zone.start_isolate_page_range(32, 64)
    zone.free(0)
    assert (lists(zone, M).get(5) == [0]) is merges


@pytest.mark.parametrize("release", ["naive", "6.1", "6.12"])
def test_isolated_pageblocks_merge_with_no_other_type(release: str) -> None:
    zone = zone_of(release, "M: f4", "M: t4")
    zone.start_isolate_page_range(0, 16)
    zone.free(16)
    assert (lists(zone, ISO), lists(zone, M)) == ({4: [0]}, {4: [16]})


@pytest.mark.parametrize(("release", "merges"), [("5.15", True), ("6.1", False), ("6.12", False)])
def test_cma_merges_with_movable_on_5_15_alone(release: str, merges: bool) -> None:
    """migratetype_is_mergeable (5.18): below MIGRATE_PCPTYPES."""
    for drawn in (("M: t4", "C: f4"), ("C: t4", "M: f4")):
        zone = zone_of(release, *drawn)
        zone.free(0)
        assert (5 in {**lists(zone, M), **lists(zone, C)}) is merges


@pytest.mark.parametrize(
    ("release", "becomes"), [("5.15", [U, M]), ("6.1", [U, M]), ("6.12", [M, M]), ("6.19", [M, M])]
)
def test_the_type_of_a_pageblock_that_is_merged(release: str, becomes: list[Migratetype]) -> None:
    """__free_one_page: the buddy's pageblock keeps its type; since 6.10 it gets that of the page that is freed."""
    zone = zone_of(release, "U: f4", "M: a f0 f1 f2 f3")
    zone.free(16)
    assert (types(zone), lists(zone, M)) == (becomes, {5: [0]})


@pytest.mark.parametrize(
    ("release", "page_class", "order", "zone_movable", "refuses"),
    [
        ("6.12", PageClass.MOVABLE_OPS, 1, False, False),
        ("6.19", PageClass.MOVABLE_OPS, 1, False, True),
        ("6.19", PageClass.MOVABLE_OPS, 0, False, False),  # two that are not compound
        ("6.19", PageClass.THP, 1, False, False),
        ("6.19", PageClass.MOVABLE_OPS, 1, True, False),
    ],
)
def test_a_compound_page_that_its_driver_moves(
    release: str, page_class: PageClass, order: int, zone_movable: bool, refuses: bool
) -> None:
    """has_unmovable_pages (6.19): a compound page that is neither hugetlb nor on the LRU, outside ZONE_MOVABLE."""
    zone = Zone(32, release, 0, 5, 4, populate=False, zone_movable=zone_movable)
    flags = PageFlag.COMPOUND if order else 0
    zone.load_pages([0, 2, 4], [2, 2, 28], [PageClass.ANON, page_class, PageClass.ANON], [0, order, 0], [0, flags, 0])
    if refuses:
        assert refused_at(zone, 0, 16) == 2
    else:
        zone.start_isolate_page_range(0, 16)
        assert types(zone) == [ISO, M]


# ---- cutting a free page of many pageblocks ----


@pytest.mark.parametrize(
    ("release", "listed"),
    [("6.1", {U: {5: [0]}, M: {4: [32], 6: [64]}}), ("6.12", {M: {4: [32], 5: [0], 6: [64]}})],
)
def test_a_page_of_eight_pageblocks_is_cut_around_one(
    release: str, listed: dict[Migratetype, dict[int, list[int]]]
) -> None:
    """split_free_page: min(__ffs(pfn), __fls(offset)): [0, 32), [32, 48), then [48, 64), [64, 128).

    6.1 lists each piece under the type of its first pageblock; 6.12 cuts into pageblocks, of which the later one, merging,
    gives its type.
    """
    zone = zone_of(release, "U: f7", *["M:"] * 7, max_order=7)
    assert zone.start_isolate_page_range(48, 64) == (48,)
    assert {migratetype: lists(zone, migratetype) for migratetype in listed} == listed
    assert (lists(zone, ISO), zone.nr_free_pages) == ({4: [48]}, 112)


def test_a_page_across_the_whole_request_is_cut_where_pages_are_aligned() -> None:
    """[48, 128): 48 + 16 pages are not aligned to more than 16, so [48, 64) is a piece of its own."""
    zone = zone_of("6.1", "M: f7", *["M:"] * 7, max_order=7)
    zone.start_isolate_page_range(48, 128)
    assert (lists(zone, ISO), lists(zone, M), zone.nr_free_pages) == ({4: [48], 6: [64]}, {4: [32], 5: [0]}, 48)


# ---- what forbids isolation ----


@ALL
def test_in_zone_movable_all_but_reserved_pages_count_as_movable(release: str) -> None:
    zone = Zone(64, release, 0, 5, 4, zone_movable=True)
    zone.alloc(0, M, PageClass.KERNEL)
    zone.start_isolate_page_range(0, 16)
    zone = Zone(32, release, 0, 5, 4, populate=False, zone_movable=True)
    zone.load_pages([0], [16], [PageClass.ANON], [0], [0])
    zone.load_pages([16], [16], [PageClass.RESERVED], [0], [0])
    assert refused_at(zone, 16, 32) == 16


@ALL
@pytest.mark.parametrize(
    ("drawn", "pfn"),
    [("a i t1 g2 d1 d k f2", 11), ("a i t1 g2 d1 d r f2", 11), ("s4", 0), ("a w f1 f2 f3", 1), ("o a f1 f2 f3", 0)],
)
def test_the_first_unmovable_page_refuses(release: str, drawn: str, pfn: int) -> None:
    """LRU, hugetlb and driver-movable pages pass; poisoned and offline ones only for memory offlining."""
    assert refused_at(zone_of(release, f"M: {drawn}", "M: f4"), 0, 16) == pfn


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_compound_page_that_begins_in_the_pageblock_below_is_seen(release: str) -> None:
    """page = compound_head(page) for hugetlb, PageTransCompound."""
    assert refused_at(zone_of(release, "M: s5", "M:"), 16, 32) == 16


@ALL
def test_a_cma_pageblock_passes_for_cma_requests_alone(release: str) -> None:
    """has_unmovable_pages: is_migrate_cma_page(page)."""
    zone = zone_of(release, "C: k f0 f1 f2 f3", "C: f4")
    assert refused_at(zone, 0, 32) == 0
    zone.start_isolate_page_range(0, 32, C)
    assert (zone.nr_free_pages, zone.nr_free_cma_pages) == (0, 0)
    zone.undo_isolate_page_range(0, 32, C)
    assert (zone.nr_free_pages, zone.nr_free_cma_pages) == (31, 31)


@pytest.mark.parametrize(("release", "passes"), [("5.15", False), ("seed", True), ("6.1", False), ("6.12", False)])
@pytest.mark.parametrize(("drawn", "start", "end"), [("k f0 f1 f2 a*8", 8, 16), ("f3 a*7 k", 0, 8)])
def test_only_the_seed_looks_at_the_request_alone(release: str, passes: bool, drawn: str, start: int, end: int) -> None:
    """Patch 3; at both ends 6.1 looks at whole pageblocks, too."""
    zone = zone_of(release, f"M: {drawn}", "M: f4")
    if passes:
        zone.start_isolate_page_range(start, end)
    else:
        refused_at(zone, start, end)


@ALL
def test_a_pageblock_that_is_isolated_already_refuses(release: str) -> None:
    zone = zone_of(release, *["M: f4"] * 4)
    zone.start_isolate_page_range(32, 64)
    assert refused_at(zone, 32, 64) == 32


# ---- in which order, and back ----


@pytest.mark.parametrize(
    ("release", "isolated"),
    [
        ("5.15", (0, 16, 32, 48, 64, 80)),
        ("6.1", (16, 64, 32, 48)),
        ("6.12", (16, 64, 32, 48)),
        ("naive", (16, 32, 48, 64)),
    ],
)
def test_first_last_then_those_between(release: str, isolated: tuple[int, ...]) -> None:
    zone = zone_of(release, *["M: f4"] * 6)
    assert zone.start_isolate_page_range(16, 80) == isolated


@ALL
def test_a_range_that_ends_at_a_boundary_ends_isolation_there(release: str) -> None:
    zone = zone_of(release, *["M: f4"] * 6)
    assert zone.start_isolate_page_range(32, 64) == (32, 48)


@ALL
@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_a_refusal_gives_back_what_was_isolated(release: str, bad: int) -> None:
    """Whichever of the four pageblocks refuses."""
    zone = zone_of(release, *["M: k f0 f1 f2 f3" if i == bad else "M: f4" for i in range(4)])
    free = zone.nr_free_pages
    assert refused_at(zone, 0, 64) == 16 * bad
    assert (zone.nr_free_pages, lists(zone, ISO)) == (free, {})


@ALL
def test_pageblocks_are_given_back_ascending_to_the_tails(release: str) -> None:
    zone = zone_of(release, "M: f3 a*8", "M: f3 a*8", "M: f3 a*8", "M: f3 a*8")
    zone.start_isolate_page_range(0, 32)
    assert lists(zone, ISO) == {3: [0, 16]}
    zone.undo_isolate_page_range(0, 32)
    assert lists(zone, M) == {3: [32, 48, 0, 16]}


@pytest.mark.parametrize(("release", "listed"), [("6.1", {5: [32, 0]}), ("6.12", {5: [32, 0]}), ("5.15", {5: [32, 0]})])
def test_a_page_given_back_merges_with_its_free_buddy_and_goes_to_the_tail(
    release: str, listed: dict[int, list[int]]
) -> None:
    """unset_migratetype_isolate: __isolate_free_page and __putback_isolated_page, which frees with FPI_TO_TAIL."""
    zone = zone_of(release, "M: f4", "M: f4", "M: f5", "M:")
    zone.start_isolate_page_range(0, 16)
    zone.undo_isolate_page_range(0, 16)
    assert lists(zone, M) == listed


def test_an_isolated_page_of_two_pageblocks_is_counted_whole_by_its_head() -> None:
    """move_freepages: pages_moved += 1 << order, also beyond the pageblock: what the seed is about."""
    zone = zone_of("naive", "M: f5", "M:", "M: f4")
    zone.start_isolate_page_range(0, 16)
    assert (zone.nr_free_pages, lists(zone, ISO)) == (16, {5: [0]})


def test_5_15_gives_back_a_pageblock_that_begins_before_the_zone() -> None:
    """undo_isolate_page_range: __first_valid_page."""
    zone = zone_of("5.15", "M: .*8 f3", "M: f4")
    zone.start_isolate_page_range(8, 32)
    assert (lists(zone, ISO), zone.nr_free_pages) == ({3: [8], 4: [16]}, 0)
    zone.undo_isolate_page_range(8, 32)
    assert (lists(zone, M), zone.nr_isolate_pageblock) == ({3: [8], 4: [16]}, 0)


@pytest.mark.parametrize(("release", "passes"), [("5.15", False), ("seed", True), ("6.1", True)])
@pytest.mark.parametrize("drawn", [("M: .*16", "M: f4", "M: f5", "M:"), ("M: f5", "M:", "M: f4", "M: .*16")])
def test_a_window_that_reaches_out_of_the_zone_is_refused_on_5_15(
    release: str, passes: bool, drawn: tuple[str, ...]
) -> None:
    """start_isolate_page_range of the whole window: has_unmovable_pages meets PageReserved before or behind the zone."""
    zone = zone_of(release, *drawn)
    start = 16 if drawn[0].endswith("16") else 32
    if passes:
        zone.alloc_contig_range(start, start + 16)
        return
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(start, start + 16)
    assert refused.value.pfn == (0 if start == 16 else 48)
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (48, 0)


@pytest.mark.parametrize(
    ("release", "retyped"),
    [
        ("5.15", [M, M, M, M]),  # each before the zone's end was isolated
        ("seed", [U, U, U, U]),
        ("6.1", [U, M, U, U]),  # the first was; the last comes next
        ("6.12", [U, M, U, U]),
        ("6.19", [U, U, U, U]),  # it has its own type again
    ],
)
def test_a_request_past_the_zones_end_is_refused_there(release: str, retyped: list[Migratetype]) -> None:
    """start_isolate_page_range: pages that nobody has are PageReserved."""
    zone = zone_of(release, "U: a*16", "U: f4", "U: f4", "U: f4")
    request = np.array([(3, 0, M, PageClass.KERNEL, 0, 20, nr) for nr in (45, 2000)], OPERATION)
    assert zone.run(request).tolist() == [-16, -16]
    assert (types(zone), zone.nr_free_pages, zone.nr_isolate_pageblock) == (retyped, 48, 0)
    assert zone.last_refusal()[2] == 64


@pytest.mark.parametrize(("release", "at", "retyped"), [("5.15", 32, [U, U]), ("5.15+p3", 64, [M, M])])
def test_pages_before_a_request_past_the_zones_end(release: str, at: int, retyped: list[Migratetype]) -> None:
    """The window begins with a kernel page, which is looked at unless patch 3 is on."""
    zone = zone_of(release, "U: a*16", "U: f4", "U: k f0 f1 f2 f3", "U: f4")
    assert zone.run(np.array([(3, 0, M, PageClass.KERNEL, 0, 48, 32)], OPERATION)).tolist() == [-16]
    assert (zone.last_refusal()[2], types(zone)[2:]) == (at, retyped)


@pytest.mark.parametrize("release", ["5.15", "seed", "seed-as-posted", "6.1", "6.12", "6.19"])
@pytest.mark.parametrize("start", [60, 64, 70, 5000])
def test_a_request_that_begins_where_no_whole_pageblock_follows_isolates_none_from_there(
    release: str, start: int
) -> None:
    zone = zone_of(release, "U: f4", "U: f4", "U: f4", "U: f2 k*4 .*8")
    assert zone.run(np.array([(3, 0, M, PageClass.KERNEL, 0, start, 100)], OPERATION)).tolist() == [-16]
    assert types(zone)[2:] == ([M, U] if release in ("5.15", "seed-as-posted") and start < 64 else [U, U])


@ALL
def test_an_empty_request_can_be_made_inside_the_first_pageblock(release: str) -> None:
    """What it takes is the free page around it, from outer_start on; that goes back."""
    zone = zone_of(release, "M: f4", "M: f4")
    assert zone.run(np.array([(3, 0, M, PageClass.KERNEL, 0, 1, 0)], OPERATION)).tolist() == [1]
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (32, 0)


@pytest.mark.parametrize(("release", "refuses"), [("6.1", False), ("6.12", True)])
def test_a_pageblock_that_reaches_out_of_the_zone(release: str, refuses: bool) -> None:
    """6.1 isolates it without its free pages; 6.12: move_freepages_block_isolate returns false, -EBUSY."""
    zone = zone_of(release, "M: f4", "M: f3 .*8")
    if refuses:
        assert refused_at(zone, 16, 24) == 16
    else:
        zone.start_isolate_page_range(16, 24)
        assert (types(zone), lists(zone, M), zone.nr_free_pages) == ([M, ISO], {3: [16], 4: [0]}, 24)


@pytest.mark.parametrize(
    ("release", "free", "listed", "isolated"), [("6.1", 32, {5: [0]}, {}), ("6.12", 16, {4: [0]}, {4: [16]})]
)
def test_one_of_two_pageblocks_of_an_isolated_page_is_given_back(
    release: str, free: int, listed: dict[int, list[int]], isolated: dict[int, list[int]]
) -> None:
    """6.1 moves the page by its head; 6.12 cuts it. Neither frees it anew: its buddy is in use."""
    zone = zone_of(release, "M: t4", "M: f4", "M: k4", "M: k4", max_order=6)
    zone.start_isolate_page_range(0, 32)
    zone.free(0)
    assert lists(zone, ISO) == {5: [0]}
    zone.undo_isolate_page_range(0, 16)
    assert (zone.nr_free_pages, lists(zone, M), lists(zone, ISO)) == (free, listed, isolated)


def test_a_free_page_that_is_freed_anew_takes_the_pageblocks_that_it_covers_along() -> None:
    """unset_migratetype_isolate: __isolate_free_page makes all of them MOVABLE."""
    zone = Zone(256, "naive", 0, 7, 5)
    assert zone.alloc(0, U) == 0
    zone.start_isolate_page_range(64, 96)
    zone.undo_isolate_page_range(64, 96)
    assert types(zone) == [U, U, M, M, M, M, M, M]


def test_a_largest_block_has_no_buddy_and_is_not_freed_anew() -> None:
    """unset_migratetype_isolate, since 5.11."""
    zone = Zone(128, "naive", 0, 6, 5)
    zone.free(zone.alloc(0, U))
    zone.start_isolate_page_range(0, 32)
    zone.undo_isolate_page_range(0, 32)
    assert types(zone) == [M, U, M, M]


def test_patch_3_asks_nothing_of_a_pageblock_behind_the_request_that_begins_inside_a_compound_page() -> None:
    """has_unmovable_pages: first_pfn lies behind last_pfn."""
    zone = Zone(64, "seed", 0, 5, 3, populate=False)
    zone.load_pageblocks([M] * 8)
    zone.load_pages([48], [16], [PageClass.COMPOUND], [4], [PageFlag.COMPOUND])
    zone.load_free([0, 32], [5, 4], [M] * 2)
    assert zone.alloc_contig_range(32, 33).isolated == (32, 40, 48, 56)
