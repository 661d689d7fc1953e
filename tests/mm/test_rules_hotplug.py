"""Memory offlining and onlining, step by step, each rule on both sides of its boundary.

Sources: mm/memory_hotplug.c: scan_movable_pages, do_migrate_range, online_pages; mm/migrate.c: migrate_pages; mm/page_alloc.c:
__offline_isolated_pages, __free_pages_core (5.15.16, 6.1.192, 6.12.117, 6.19.9). Pageblocks have 16 pages here, which is
also the size of a batch; a section would have 32.
"""

import pytest

from pageblock import ContigRefused, Migratetype, PageClass, PageFlag, RangeError, UsageError, Zone
from pageblock.mm.results import MigratedRange

from .test_rules_layout import ISO, C, M, U, events, lists, types, zone_of

ALL = pytest.mark.parametrize("release", ["5.15", "seed", "6.1-vanilla", "6.1", "6.12", "6.19"])

#: Pages that no migration target can be made of: single ones, and poisoned ones, which isolation for offlining passes.
SINGLES, POISON = "M:" + " f0 k" * 8, "M: w*16"


def migrated(zone: Zone, end: int = 32) -> tuple[list[int | None], MigratedRange]:
    """Isolate [0, end), so that nothing moves inside, and migrate it: the sources in order, and the answer."""
    zone.isolate_for_offline(0, end)
    moves = events(zone, "migrate_folio")
    done = zone.do_migrate_range(0, end)
    zone.observe(None)
    zone.check()
    return [move["pfn"] for move in moves], done


# ---- isolation ----


@ALL
def test_isolation_is_not_rounded(release: str) -> None:
    """offline_pages calls start_isolate_page_range itself: the other half of the window stays as it is, whatever is in it."""
    zone = zone_of(release, "M: f4", "U: k*16")
    assert zone.isolate_for_offline(0, 16) == (0,)
    assert types(zone) == [ISO, U]
    zone.undo_isolate_for_offline(0, 16)
    assert (types(zone), zone.nr_isolate_pageblock) == ([M, U], 0)
    zone.check()


@ALL
def test_poisoned_and_offline_pages_pass_and_kernel_pages_do_not(release: str) -> None:
    zone = zone_of(release, "M: w o f1 f2 f3", "M: f4", "M: f4", "M: k f0 f1 f2 f3")
    zone.isolate_for_offline(0, 32)
    with pytest.raises(ContigRefused) as refused:
        zone.isolate_for_offline(32, 64)
    assert (refused.value.errno, refused.value.pfn) == (16, 48)
    # what was isolated before the failure is given back, what others isolated is not
    assert (types(zone), zone.nr_isolate_pageblock) == ([ISO, ISO, M, M], 2)
    zone.check()


@pytest.mark.parametrize(("start", "end"), [(8, 32), (0, 24), (16, 17)])
def test_only_whole_pageblocks_are_isolated(start: int, end: int) -> None:
    zone = zone_of("6.1", "M: f5", "M:", "M: f5", "M:")
    with pytest.raises(RangeError, match="no whole number of pageblocks"):
        zone.isolate_for_offline(start, end)


@pytest.mark.parametrize(("release", "after"), [("5.15", M), ("6.1", M), ("6.12", M), ("6.19", U)])
def test_a_failed_attempt_leaves_the_pageblocks_movable(release: str, after: Migratetype) -> None:
    """undo_isolate_page_range(…, MIGRATE_MOVABLE) until 6.16; since then each has its own type again."""
    zone = zone_of(release, "U: w f0 f1 f2 f3", "M: f4")
    zone.isolate_for_offline(0, 32)
    zone.undo_isolate_for_offline(0, 32)
    assert types(zone) == [after, M]
    zone.check()


# ---- what can be migrated ----


@pytest.mark.parametrize(
    ("drawn", "found"),
    [
        ("a", True),
        ("A", True),
        ("i", True),
        ("c", True),
        ("d", True),
        ("t1", True),
        ("g1", True),
        ("k", False),
        ("s1", False),
        ("w", False),
        ("r", False),
    ],
)
def test_which_pages_are_migratable(drawn: str, found: bool) -> None:
    """On the LRU, movable by their driver, or huge pages in use: scan_movable_pages. References do not matter."""
    zone = zone_of("6.1", f"M: {drawn} {'' if drawn.endswith('1') else 'k'} k*14")
    assert zone.scan_movable_pages(0, 16) == (0 if found else None)
    moved = zone.do_migrate_range(0, 16)
    assert (moved.moved + moved.failed > 0) is found


def test_pages_on_their_way_to_the_lru_are_put_there_first() -> None:
    zone = Zone(32, max_order=5, pageblock_order=4)
    zone.alloc(0, M, PageClass.PAGEVEC)
    assert zone.scan_movable_pages(0, 32) is None
    assert (zone.lru_cache_disable(), zone.lru_cache_disable()) == (1, 0)
    assert (zone.scan_movable_pages(0, 32), zone.page(0).page_class) == (0, PageClass.ANON)


def test_a_huge_page_that_nobody_uses_is_passed_over() -> None:
    """HPageMigratable: its pool dissolves it later."""
    zone = zone_of("6.1", "M: g1 g1 k*12")
    zone.set_hugetlb_free(0)
    assert (zone.scan_movable_pages(0, 16), zone.nr_free_hugetlb(1), zone.nr_free_hugetlb(2)) == (2, 1, 0)
    assert zone.do_migrate_range(0, 16) == MigratedRange(0, 2, 2, "no free page is left to migrate to")
    zone.set_hugetlb_free(0, False)
    assert zone.scan_movable_pages(0, 16) == 0
    with pytest.raises(UsageError, match="no huge page"):
        zone.set_hugetlb_free(5)


def test_the_scan_ends_at_the_first_page_and_within_the_range() -> None:
    zone = zone_of("6.1", "M: k*3 a k*4 f3", "M: a k*15")
    assert [zone.scan_movable_pages(start, 16) for start in (0, 3, 4)] == [3, 3, None]
    assert zone.scan_movable_pages(4, 17) == 16


def test_a_tail_whose_head_lies_before_the_range_is_found() -> None:
    zone = zone_of("6.1", "M: k*4 t2 k*8")
    assert zone.scan_movable_pages(6, 16) == 6
    zone = zone_of("6.1", "M: k*4 s2 k*8")
    assert zone.scan_movable_pages(6, 16) is None


def test_an_offline_page_ends_the_scan_unless_its_driver_lets_go() -> None:
    """-EBUSY before anything behind it is looked at."""
    zone = zone_of("6.1", "M: k o a k*13")
    with pytest.raises(ContigRefused, match="PageOffline") as refused:
        zone.scan_movable_pages(0, 16)
    assert (refused.value.errno, refused.value.pfn) == (16, 1)
    assert zone.scan_movable_pages(0, 16, True) == 2
    assert zone_of("6.1", "M: k a o k*13").scan_movable_pages(0, 16) == 1


# ---- migration ----


@ALL
def test_pages_move_in_ascending_order_and_what_is_pinned_stays(release: str) -> None:
    zone = zone_of(release, "M: a A c A w*12", POISON, "M: f4", POISON)
    sources, done = migrated(zone)
    assert sources == [0, 2]
    # the first of those that stay is told
    assert done == MigratedRange(2, 2, 1, "the page is still in use after migration")
    assert zone.page(1).page_class == PageClass.ANON
    # the clean page was moved, not dropped
    assert [zone.page(pfn).page_class for pfn in (32, 33)] == [PageClass.ANON, PageClass.FILE]
    assert zone.page(33).flags == PageFlag.CLEAN


@ALL
def test_a_page_without_a_target_ends_the_list(release: str) -> None:
    zone = zone_of(release, "M: a a a w*13", POISON, "M: f0 k*15")
    sources, done = migrated(zone)
    assert sources == [0]
    assert done == MigratedRange(1, 1, 1, "no free page is left to migrate to")


@pytest.mark.parametrize(
    ("release", "order"),
    [
        ("5.15", [0, 4, 8, 12, 3, 2, 1, 11, 10, 9]),
        ("seed", [0, 4, 8, 12, 3, 2, 1, 11, 10, 9]),
        ("6.1-vanilla", [4, 12, 3, 2, 1, 0, 11, 10, 9, 8]),
        ("6.1", [4, 12, 3, 2, 1, 0, 11, 10, 9, 8]),
        ("6.12", [4, 12, 3, 2, 1, 0, 11, 10, 9, 8]),
        ("6.19", [4, 12, 1, 2, 3, 0, 9, 10, 11, 8]),
    ],
)
def test_when_the_pages_of_a_split_huge_page_move(release: str, order: list[int]) -> None:
    """try_split_thp (5.15): the head again at once, tails at the end; later after the rest, the head last."""
    zone = zone_of(release, "M: t2 a w*3 t2 a w*3", POISON, SINGLES, SINGLES)
    sources, done = migrated(zone)
    assert sources == order
    assert done == MigratedRange(10, 0, None, "")


@pytest.mark.parametrize(
    ("release", "order"),
    [
        ("5.15", [0, *range(8, 12), 16, 24, *range(7, 0, -1), *range(23, 16, -1)]),
        ("6.1-vanilla", [*range(8, 12), 24, *range(7, -1, -1), *range(23, 15, -1)]),
        ("6.1", [*range(8, 12), *range(7, -1, -1), 24, *range(23, 15, -1)]),
        ("6.12", [*range(8, 12), *range(7, -1, -1), *range(23, 15, -1), 24]),
        ("6.19", [*range(8, 12), *range(1, 8), 0, *range(17, 24), 16, 24]),
    ],
)
def test_where_a_batch_ends(release: str, order: list[int]) -> None:
    """Batches of 16 pages, and 8 + 4 + 8: the third huge page begins the next one in 6.1.192 and ends this one in 6.12."""
    zone = zone_of(release, "M: t3 a*4 w*4", "M: t3 a w*7", SINGLES, SINGLES, SINGLES)
    sources, done = migrated(zone)
    assert sources == order
    assert done.failed == 0


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_batch_of_just_a_huge_pages_size(release: str) -> None:
    """8 and 8 are one batch: both are split before the page behind them moves."""
    sources, _ = migrated(zone_of(release, "M: t3 t3", "M: a w*15", SINGLES, SINGLES, SINGLES))
    assert sources == [*range(7, -1, -1), *range(15, 7, -1), 16]


@pytest.mark.parametrize(("release", "order"), [("5.15", 3), ("6.1-vanilla", 0), ("6.1", 3), ("6.12", 0), ("6.19", 0)])
def test_what_a_split_page_without_a_target_ends(release: str, order: int) -> None:
    """Until 6.1.192 the list: the third huge page is not touched, unless all of it is one batch. In 6.12 its batch only."""
    zone = zone_of(release, "M: t3 t3", "M: t3 w*8", "M: k*16")
    sources, done = migrated(zone)
    assert sources == []
    assert zone.page(16).order == order
    assert done.failed == (2 if release in ("6.12", "6.19") else 1)


@pytest.mark.parametrize(
    ("release", "order"),
    [("5.15", [0, 4, 8]), ("6.1-vanilla", [0, 4, 8]), ("6.1", [4, 0, 8]), ("6.12", [4, 0, 8]), ("6.19", [4, 0, 8])],
)
def test_huge_pages_of_hugetlb_first(release: str, order: list[int]) -> None:
    """migrate_hugetlbs (6.3, in 6.1.192)."""
    zone = zone_of(release, "M: a w*3 g2 a w*7", POISON, "M: f4")
    sources, done = migrated(zone)
    assert (sources, done.moved) == (order, 6)


@pytest.mark.parametrize(
    ("release", "moved"), [("5.15", [0]), ("6.1-vanilla", [0]), ("6.1", []), ("6.12", []), ("6.19", [])]
)
def test_one_without_a_target_ends_everything(release: str, moved: list[int]) -> None:
    zone = zone_of(release, "M: a w*3 g2 a w*7", POISON, SINGLES)
    sources, done = migrated(zone)
    assert sources == moved
    assert (done.pfn, done.rule) == (4, "no free page is left to migrate to")


def test_a_gigantic_page_in_use_has_no_target() -> None:
    zone = Zone(128, max_order=5, pageblock_order=4)
    zone.alloc_contig_range(0, 64)
    zone.prep_compound_page(0, 6, PageClass.HUGETLB)
    assert zone.do_migrate_range(0, 64) == MigratedRange(0, 64, 0, "a gigantic huge page lies in the range")
    zone.check()


# ---- out of the allocator ----


@ALL
def test_offline_pages_leave_lists_counters_and_zone(release: str) -> None:
    """Managed pages sink by all but the PageOffline ones, which left them before; poisoned ones count."""
    zone = zone_of(release, "U: o w f1 f2 f3", "M: f4", "M: f5", "M:")
    managed, free = zone.nr_managed_pages, zone.nr_free_pages
    zone.isolate_for_offline(0, 32)
    assert zone.why_not_isolated(0, 32) is None
    assert zone.offline_isolated_pages(0, 32) == 31
    assert (zone.nr_managed_pages, zone.nr_free_pages) == (managed - 31, free - 30)
    assert (lists(zone, ISO), types(zone), zone.nr_isolate_pageblock) == ({}, [M, M, M, M], 0)
    assert (zone.nr_holes(0, 64), zone.first_hole(16, 64), zone.first_hole(32, 64)) == (32, 16, None)
    assert (zone.is_offline(0, 32), zone.is_offline(0, 33)) == (True, False)
    zone.check()


@ALL
def test_only_what_is_isolated_and_free_leaves(release: str) -> None:
    zone = zone_of(release, "M: a f0 f1 f2 f3", "M: f4")
    with pytest.raises(UsageError, match="not isolated and free"):
        zone.offline_isolated_pages(0, 32)
    zone.isolate_for_offline(0, 32)
    refusal = zone.why_not_isolated(0, 32)
    assert refusal is not None
    assert (refusal.errno, refusal.pfn) == (16, 0)
    with pytest.raises(UsageError, match="not isolated and free"):
        zone.offline_isolated_pages(0, 32)
    zone.check()


# ---- and back ----


@ALL
def test_holes_become_isolated_pages_that_nobody_may_use(release: str) -> None:
    """What the pageblocks were before is forgotten: they end as MOVABLE also where isolation keeps the type."""
    zone = zone_of(release, "U: f5", "U:", "M: f4")
    zone.isolate_for_offline(0, 32)
    zone.offline_isolated_pages(0, 32)
    zone.move_pfn_range_to_zone(0, 32)
    assert (types(zone), zone.nr_isolate_pageblock) == ([ISO, ISO, M], 2)
    assert {zone.page(pfn).page_class for pfn in range(32)} == {PageClass.OFFLINE}
    zone.generic_online_page(0, 5)
    assert (lists(zone, ISO), zone.nr_free_pages, zone.nr_managed_pages) == ({5: [0]}, 16, 48)
    zone.undo_isolate_for_offline(0, 32)
    # at the tail
    assert (types(zone), zone.nr_free_pages, lists(zone, M)) == ([M, M, M], 48, {4: [32], 5: [0]})
    zone.check()
    with pytest.raises(UsageError, match="online pages"):
        zone.move_pfn_range_to_zone(32, 48)


@pytest.mark.parametrize(
    ("release", "unmovable", "cma"),
    [("5.15", {5: [0]}, {}), ("6.1", {5: [0]}, {}), ("6.12", {4: [0]}, {4: [16]}), ("6.19", {4: [0]}, {4: [16]})],
)
def test_large_blocks_are_freed_by_pageblocks_since_6_10(
    release: str, unmovable: dict[int, list[int]], cma: dict[int, list[int]]
) -> None:
    """Rule "free large": each pageblock on the list of its own type."""
    zone = zone_of(release, "U: o*16", "C: o*16")
    zone.generic_online_page(0, 5)
    assert (lists(zone, U), lists(zone, C)) == (unmovable, cma)


def test_pages_go_to_the_tail_and_past_the_per_cpu_lists() -> None:
    zone = zone_of("6.1", "M: f0 k f0 k*13", "M: o k*15")
    zone.set_pcp(high=8, batch=4)
    zone.generic_online_page(16, 0)
    assert (lists(zone, M), zone.nr_pcp_pages) == ({0: [0, 2, 16]}, 0)


def test_only_offline_pages_are_onlined() -> None:
    zone = zone_of("6.1", "M: o*2 k*14")
    zone.generic_online_page(0, 1)
    for pfn, order, words in ((0, 1, "not PageOffline"), (2, 0, "not PageOffline"), (1, 1, "does not start a block")):
        with pytest.raises((UsageError, RangeError), match=words):
            zone.generic_online_page(pfn, order)


def test_a_block_that_is_one_large_page_is_not_onlined_by_its_head() -> None:
    zone = zone_of("6.1", "M: o1 o*14", "M: f4")
    with pytest.raises(UsageError, match="is not PageOffline throughout"):
        zone.generic_online_page(0, 0)
    zone.generic_online_page(2, 1)


# ---- around it ----


def test_per_cpu_lists_are_emptied_and_unused_meanwhile() -> None:
    zone = Zone(64, max_order=5, pageblock_order=4)
    zone.set_pcp(high=8, batch=4)
    pfn = zone.alloc(0)
    assert zone.nr_pcp_pages == 3
    used = zone.zone_pcp_disable()
    assert (used, zone.nr_pcp_pages) == (True, 0)
    zone.free(pfn)
    assert (zone.nr_pcp_pages, zone.nr_free_pages) == (0, 64)
    zone.zone_pcp_enable(used)
    zone.free(zone.alloc(0))
    assert zone.nr_pcp_pages > 0
    zone.check()


def test_a_zone_without_per_cpu_lists_stays_without() -> None:
    zone = Zone(64, max_order=5, pageblock_order=4)
    zone.zone_pcp_enable(zone.zone_pcp_disable())
    zone.free(zone.alloc(0))
    assert zone.nr_pcp_pages == 0


def test_targets_elsewhere_are_asked_for_there_only() -> None:
    zone = zone_of("6.1", "M: a w*15", POISON, "M: f4")
    zone.isolate_for_offline(0, 32)
    asked: list[tuple[int, int, int]] = []
    zone.set_targets_may_spill(True)

    def find(order: int, flags: int, owner: int) -> int:
        asked.append((order, flags, owner))
        return 1000

    zone.set_spill_target(find)
    zone.set_targets_elsewhere(True)
    assert zone.do_migrate_range(0, 32).moved == 1
    assert (asked, zone.page(32).page_class) == ([(0, int(PageClass.ANON), 0xFFFFFFFF)], PageClass.FREE)
    zone.set_spill_target(lambda *what: -1)
    zone = zone_of("6.1", "M: a w*15", POISON, "M: f4")
    zone.isolate_for_offline(0, 32)
    assert zone.do_migrate_range(0, 32).moved == 1
    assert zone.page(32).page_class == PageClass.ANON


def test_a_tail_is_migrated_by_its_head() -> None:
    zone = zone_of("6.1", "M: w*4 t2 a w*7", POISON, "M: f4")
    zone.isolate_for_offline(0, 32)
    moves = events(zone, "migrate_folio")
    assert zone.do_migrate_range(6, 32).moved == 5
    assert [move["pfn"] for move in moves] == [4, 8]
    zone.check()


@ALL
def test_clean_file_pages_are_dropped_unless_dirty_or_pinned(release: str) -> None:
    zone = zone_of(release, "M: c i C a f2 f3", "M: f4")
    assert zone.drop_clean_pages() == 1
    assert [zone.page(pfn).page_class for pfn in range(4)] == [
        PageClass.FREE,
        PageClass.FILE,
        PageClass.FILE,
        PageClass.ANON,
    ]
