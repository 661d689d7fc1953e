"""alloc_contig_range and migration, each rule on both sides of its boundary.

Sources: mm/page_alloc.c: alloc_contig_range, __alloc_contig_migrate_range, alloc_contig_pages; mm/compaction.c:
isolate_migratepages_block; mm/migrate.c: migrate_pages (5.15, 6.1.192); for the seed its cover letter. Pageblocks have 16
pages here, windows of the old rule 32.
"""

import pytest

from pageblock import ContigRefused, PageClass, PageFlag, Zone

from .test_rules_layout import ISO, M, U, events, lists, types, zone_of

ALL = pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12"])


def refusal(zone: Zone, start: int, end: int) -> tuple[str, int | None]:
    """Which step of a request refuses, and where."""
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(start, end)
    return refused.value.step, refused.value.pfn


# ---- what moves, in which order ----


@ALL
def test_a_batch_ends_at_32_pages_not_blocks(release: str) -> None:
    """nr_migratepages >= COMPACT_CLUSTER_MAX: two huge pages of 16, then the third."""
    zone = zone_of(release, "M: t4", "M: t4", "M: t4", *["M: f4"] * 5)
    moved = zone.alloc_contig_range(0, 64).moved
    assert [source for source, _, _ in moved] == [16, 0, 32]


@ALL
def test_pages_behind_a_pinned_anonymous_page_move(release: str) -> None:
    """isolate_migratepages_block: !page_mapping(page) && page_count(page) > page_mapcount(page) is passed over."""
    zone = zone_of(release, "M: A a*15", "M: a*16", "M: a*16", "M: f4", *["M: f4"] * 4)
    assert refusal(zone, 0, 64) == ("test_pages_isolated", 0)
    assert [pfn for pfn in range(48) if zone.page(pfn).page_class == PageClass.ANON] == [0]


@ALL
def test_behind_a_pinned_file_page_only_its_batch_moves(release: str) -> None:
    """It has a mapping, is isolated, and its migration fails: __alloc_contig_migrate_range ends."""
    zone = zone_of(release, "M: I a*15", "M: a*16", "M: a*16", "M: f4", *["M: f4"] * 4)
    assert refusal(zone, 0, 64) == ("test_pages_isolated", 0)
    assert [pfn for pfn in range(64) if zone.page(pfn).page_class != PageClass.FREE] == [0, *range(32, 48)]


@ALL
def test_clean_file_pages_are_dropped_unless_pinned(release: str) -> None:
    """reclaim_clean_pages_from_list."""
    zone = zone_of(release, "M: c f0 f1 f2 f3", "M: f4", *["M: f4"] * 4)
    taken = zone.alloc_contig_range(0, 32)
    assert (taken.reclaimed, taken.moved) == ((0,), ())
    zone = zone_of(release, "M: C f0 f1 f2 f3", "M: f4", *["M: f4"] * 4)
    assert refusal(zone, 0, 32) == ("test_pages_isolated", 0)
    assert zone.page(0).page_class == PageClass.FILE


@ALL
def test_pages_on_per_cpu_lists_are_drained_after_isolation(release: str) -> None:
    zone = zone_of(release, "M: a*16", "M: f4", "M: f5", "M:")
    zone.set_pcp(1000, 4)
    for pfn in range(16):
        zone.free(pfn)
    assert zone.nr_pcp_pages == 16
    zone.alloc_contig_range(0, 16)
    assert zone.nr_pcp_pages == 0


# ---- which types remain ----


@pytest.mark.parametrize(
    ("release", "taken", "failed"),
    [("5.15", [M, M], [M, M]), ("seed", [M, U], [U, U]), ("6.1", [M, U], [M, U]), ("6.12", [M, U], [M, U])],
)
def test_the_types_after_a_request_and_after_a_refusal(release: str, taken: list[int], failed: list[int]) -> None:
    """undo_isolate_page_range writes the caller's type; the seed gives back what was there, but for what it took."""
    zone = zone_of(release, "U: f4", "U: f4", "M: f5", "M:")
    zone.alloc_contig_range(0, 16)
    assert types(zone)[:2] == taken
    zone = zone_of(release, "U: A f0 f1 f2 f3", "U: f4", "M: f5", "M:")
    refusal(zone, 0, 16)
    assert types(zone)[:2] == failed


@pytest.mark.parametrize(
    ("release", "end", "left"),
    [("5.15", 16, [M, ISO]), ("seed", 16, [M, ISO]), ("6.1", 32, [M, M]), ("6.12", 32, [M, M]), ("6.1", 16, [M, ISO])],
)
def test_a_pageblock_that_another_isolated(release: str, end: int, left: list[int]) -> None:
    """5.15 returns when isolation fails; 6.1 goes to its undo, which asks no one; outside its range it changes nothing."""
    zone = zone_of(release, "M: f4", "I: f4", "M: f5", "M:")
    if release in ("5.15", "seed") or end == 32:
        assert refusal(zone, 0, end) == ("start_isolate_page_range", 16)
    else:
        zone.alloc_contig_range(0, end)
    assert types(zone)[:2] == left
    assert zone.nr_isolate_pageblock == left.count(ISO)
    zone.check()


def test_naive_takes_no_page_that_begins_in_a_pageblock_it_did_not_isolate() -> None:
    """outer_start is the free page's head; test_pages_isolated begins there and finds MOVABLE."""
    zone = zone_of("naive", "M: f5", "M:", "M: f4")
    assert refusal(zone, 16, 32) == ("test_pages_isolated", 0)
    assert (zone.nr_free_pages, lists(zone, M)) == (48, {4: [32], 5: [0]})


# ---- alloc_contig_pages ----


@ALL
def test_ranges_are_aligned_to_their_size_and_tried_up_to_the_last(release: str) -> None:
    """ALIGN(zone->zone_start_pfn, nr_pages); zone_spans_last_pfn."""
    zone = zone_of(release, "M: .*16", "M: f4", "M: f4", "M: f4")
    assert zone.alloc_contig_pages(32).start_pfn == 32


@pytest.mark.parametrize(("drawn", "start"), [("r f0 f1 f2 f3", 32), ("g f0 f1 f2 f3", 32), ("a f0 f1 f2 f3", 0)])
def test_ranges_with_reserved_or_hugetlb_pages_are_not_tried(drawn: str, start: int) -> None:
    """pfn_range_valid_contig. Trying would retype the first pageblock, which is free, even if refused."""
    zone = zone_of("6.1", "U: f4", f"M: {drawn}", "M: f5", "M:")
    assert zone.alloc_contig_pages(32).start_pfn == start
    assert types(zone)[0] == (M if start == 0 else U)


# ---- a page across the boundary ----


@pytest.mark.parametrize("drawn", ["t5", "d5", "g5"])
def test_6_1_moves_what_crosses_the_boundary_its_pageblock_isolated_meanwhile(drawn: str) -> None:
    """isolate_single_pageblock: PageHuge, PageLRU or __PageMovable; page_mt is given back before the cut (88ee134320b8)."""
    zone = zone_of("6.1", f"M: {drawn}", "M:", "M: f5", "M:", "M: f5", "M:")
    steps = events(zone, "set_migratetype_isolate")
    assert zone.alloc_contig_range(16, 32).moved == ((0, 32, 5),)
    # isolated: 16, 0; given back: 0, 16
    assert [step["pfn"] for step in steps] == [16, 0, 0, 16]
    assert (types(zone), lists(zone, M)) == ([M] * 6, {4: [0], 5: [64]})


def test_6_1_refuses_a_compound_page_across_the_boundary_that_cannot_move() -> None:
    zone = zone_of("6.1", "M: s5", "M:", "M: f5", "M:")
    assert refusal(zone, 16, 32) == ("start_isolate_page_range", 16)


@pytest.mark.parametrize(("drawn", "taken"), [("g5", True), ("t5", False), ("d5", False)])
def test_6_12_passes_over_hugetlb_across_the_boundary_and_refuses_anything_else(drawn: str, taken: bool) -> None:
    """fd919a85cd55: "not expected to exceed pageblock_order"."""
    zone = zone_of("6.12", f"M: {drawn}", "M:", "M: f5", "M:", "M: f5", "M:")
    if taken:
        assert zone.alloc_contig_range(16, 32).moved == ((0, 32, 5),)
    else:
        assert refusal(zone, 16, 32)[0] == "start_isolate_page_range"
        assert (types(zone), zone.nr_isolate_pageblock) == ([M] * 6, 0)


@pytest.mark.parametrize(
    ("release", "sources"),
    [
        ("5.15", [4, 1, 7, 6, 5]),
        ("6.1-vanilla", [1, 7, 6, 5, 4]),
        ("6.1", [7, 6, 5, 4, 1]),
        ("6.12", [7, 6, 5, 4, 1]),
        ("6.19", [5, 6, 7, 4, 1]),
    ],
)
def test_the_pages_of_a_huge_page_without_a_target(release: str, sources: list[int]) -> None:
    """Found last, it moves first: split, its head at once (5.15), last (6.1 as released), or as a batch of its own (6.3)."""
    zone = Zone(64, release, 0, 3, 2)
    taken = [zone.alloc(0) for _ in range(64)]
    assert taken == list(range(64))
    for pfn in [0, 2, 3, *range(4, 8), *range(17, 64, 2)]:
        zone.free(pfn)
    assert zone.alloc(2, 1, PageClass.THP) == 4
    moved = zone.alloc_contig_range(0, 8).moved
    assert [source for source, _, _ in moved] == sources
    assert all(order == 0 for _, _, order in moved)
    assert {zone.page(target).page_class for _, target, _ in moved if target is not None} == {PageClass.ANON}
    zone.check()


@pytest.mark.parametrize(
    ("release", "sources"),
    [("5.15", [4, 1, 7, 6, 5]), ("6.1-vanilla", [1, 7, 6, 5, 4]), ("6.1", [1, 7, 6, 5, 4]), ("6.19", [1, 5, 6, 7, 4])],
)
def test_one_smaller_than_a_pageblock_is_no_batch_of_its_own(release: str, sources: list[int]) -> None:
    """The batch goes on: nr_pages of it are fewer than NR_MAX_BATCHED_MIGRATION, which is a pageblock's."""
    zone = Zone(64, release, 0, 3, 3)
    assert [zone.alloc(0) for _ in range(64)] == list(range(64))
    for pfn in [0, 2, 3, *range(4, 8), *range(17, 64, 2)]:
        zone.free(pfn)
    assert zone.alloc(2, 1, PageClass.THP) == 4
    assert [source for source, _, _ in zone.alloc_contig_range(0, 8).moved] == sources


@ALL
def test_a_gigantic_page_is_freed_page_by_page_ascending(release: str) -> None:
    """free_contig_range: the block that is whole last heads the list."""
    zone = Zone(64, release, 0, 5, 4, populate=False)
    zone.load_pages([0], [64], [PageClass.HUGETLB], [6], [PageFlag.COMPOUND])
    zone.free(0)
    assert lists(zone, M) == {5: [32, 0]}


@ALL
def test_a_range_is_freed_page_by_page_ascending(release: str) -> None:
    zone = Zone(64, release, 0, 5, 4)
    zone.alloc_contig_range(0, 64)
    zone.free_contig_range(0, 64)
    assert lists(zone, M) == {5: [32, 0]}


@pytest.mark.parametrize(
    ("release", "behind"), [("naive", M), ("6.1-vanilla", M), ("6.1", M), ("6.12", U), ("6.19", U)]
)
def test_a_free_page_that_reaches_behind_the_request_takes_its_pageblocks_along(release: str, behind: int) -> None:
    """__isolate_free_page makes pageblocks MOVABLE that it covers. 6.1 cuts [32, 64) at 48, where it merges again: the
    pageblock at 32 is isolated last. Since 6.10 no free page covers both."""
    zone = Zone(128, release, 0, 6, 3)
    assert zone.alloc(0, U) == 0
    zone.alloc_contig_range(33 if release == "naive" else 25, 48)
    assert zone.pageblock_types[6:8].tolist() == [behind] * 2


def test_a_split_page_without_a_target_ends_its_batch_only() -> None:
    """migrate_pages (6.12): the next batch is tried before the request fails, and its huge page is split, too."""
    for release in ("6.12", "6.19"):
        zone = Zone(16, release, 8, 3, 1, populate=False)
        zone.load_pageblocks([M] * 8)
        zone.load_pages([12], [12], [PageClass.KERNEL], [0], [0])
        zone.load_pages([8], [4], [PageClass.THP], [1], [PageFlag.COMPOUND])
        with pytest.raises(ContigRefused, match="-12"):
            zone.alloc_contig_range(8, 12)
        assert [zone.page(pfn).order for pfn in (8, 10)] == [0, 0]


@pytest.mark.parametrize(("release", "dropped"), [("5.15", [1, 2, 5]), ("6.1", [1, 2, 5]), ("6.12", [5, 2, 1])])
def test_clean_pages_are_dropped_in_one_order(release: str, dropped: list[int]) -> None:
    """reclaim_clean_pages_from_list: shrink_page_list turns the list round, free_unref_folios does not."""
    zone = Zone(128, release, 0, 5, 4)
    for pfn in range(6):
        assert zone.alloc(0, page_class=PageClass.FILE, clean=pfn in (1, 2, 5)) == pfn
    assert list(zone.alloc_contig_range(0, 16).reclaimed) == dropped
