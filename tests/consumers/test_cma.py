"""CMA areas: bitmap, first fit, retries, release, counters. Source of each rule: mm/cma.c."""

import contextlib
import random

import numpy as np
import pytest

from pageblock import Migratetype, PageClass, Zone
from pageblock.consumers.cma import CMA_MAX_RANGES, CmaArea, CmaRange, vmstat
from pageblock.consumers.cma_boot import Reserved, activate
from pageblock.mm.errors import OutOfMemoryError, RangeError, UsageError
from pageblock.mm.memory import Member, Memory

RELEASES = ["5.15", "seed", "6.1", "6.1-vanilla", "6.12", "6.19"]


def zone_with_cma(release: str, start: int = 2048, end: int = 4096, nr_pages: int = 8192) -> Zone:
    """A free zone, [start, end) of which is CMA."""
    zone = Zone(nr_pages, release)
    zone.load_cma(start, end)
    return zone


def filled(zone: Zone, order: int = 0) -> list[int]:
    """Movable pages until the zone is full: CMA pageblocks too."""
    got = []
    while zone.nr_free_pages >= 1 << order:
        got.append(zone.alloc(order, Migratetype.MOVABLE))
    return got


# ---- the bitmap ----


def test_first_fit_is_aligned_absolutely() -> None:
    """cma_bitmap_aligned_offset: the area starts at 2560, so order 10 begins at 3072, not at its start."""
    zone = zone_with_cma("6.1", 2560, 4096)
    area = CmaArea(zone, 2560, 1536)
    assert area.alloc(1, 10).pfn == 3072
    assert area.alloc(1, 0).pfn == 2560
    assert area.alloc(1, 3).pfn == 2568
    zone.check()


def test_the_search_goes_on_behind_the_last_used_bit() -> None:
    """bitmap_find_next_zero_area_off against a slow search, on random bitmaps."""
    for seed in range(200):
        rng = random.Random(seed)
        size = rng.randint(1, 90)
        bits = bytearray(rng.random() < 0.3 for _ in range(size))
        found = CmaRange(0, size, bits)
        nr, mask, offset = rng.randint(1, 8), (1 << rng.randint(0, 4)) - 1, rng.randint(0, 31)
        start = rng.randint(0, size)
        fits = [i for i in range(start, size - nr + 1) if not (i + offset) & mask and not any(bits[i : i + nr])]
        assert found.find_next_zero_area(start, nr, mask, offset) == (fits[0] if fits else None), f"seed {seed}"


def test_a_bit_stands_for_several_pages_and_their_rest_stays_free() -> None:
    """cma_bitmap_pages_to_bits rounds up; alloc_contig_range gets the exact count."""
    zone = zone_with_cma("6.1")
    area = CmaArea(zone, 2048, 2048, order_per_bit=4)
    assert area.alloc(17, 0).pfn == 2048
    assert area.used == 32
    assert zone.page(2048 + 17).page_class == PageClass.FREE
    assert area.alloc(1, 2).pfn == 2048 + 32
    assert area.release(2048, 17)
    assert area.used == 16
    zone.check()


def test_alignment_below_a_bit_asks_for_none() -> None:
    """cma_bitmap_aligned_mask: 0 up to order_per_bit."""
    zone = zone_with_cma("6.1")
    area = CmaArea(zone, 2048, 2048, order_per_bit=4)
    assert [area.alloc(1, 4).pfn, area.alloc(1, 1).pfn] == [2048, 2064]


def test_debugfs_shows_words_and_the_longest_run() -> None:
    zone = zone_with_cma("6.1")
    area = CmaArea(zone, 2048, 64)
    area.load_bitmap([i % 32 < 4 for i in range(64)])
    shown = area.debugfs()
    assert shown == {
        "base_pfn": 2048,
        "count": 64,
        "order_per_bit": 0,
        "used": 8,
        "maxchunk": 28,
        "bitmap": [15, 15],
    }
    with pytest.raises(UsageError, match="64 bits"):
        area.load_bitmap([True])


# ---- retries ----


def pinned_in_cma(release: str) -> tuple[Zone, CmaArea]:
    """A CMA area whose first page is pinned; all else of the zone is free or movable."""
    zone = zone_with_cma(release)
    pages = []
    while (pfn := zone.alloc(0, Migratetype.MOVABLE, pinned=True)) != 2048:
        pages.append(pfn)
    for other in pages:
        zone.free(other)
    return zone, CmaArea(zone, 2048, 2048)


@pytest.mark.parametrize("release", RELEASES)
def test_busy_places_are_left_by_one_aligned_step(release: str) -> None:
    """start = bitmap_no + mask + 1 after -EBUSY."""
    zone, area = pinned_in_cma(release)
    answer = area.alloc(4, 0)
    assert answer.pfn == 2049
    assert [(t.start_pfn, t.errno) for t in answer.tries] == [(2048, 16), (2049, 0)]
    assert area.used == 4
    zone.check()
    answer = area.alloc(4, 3)
    assert answer.pfn == 2056
    zone.check()


def test_every_move_of_every_try_is_told() -> None:
    """A try that is refused after migration has moved pages all the same."""
    zone = zone_with_cma("6.1")
    pages = filled(zone)
    held = {}
    for pfn in pages:
        zone.free(pfn)
    for i in range(8192):
        # each 40th page of the area is pinned, the others are movable
        held[zone.alloc(0, Migratetype.MOVABLE, pinned=i % 40 == 39)] = i
    for pfn in [p for p in held if not 2048 <= p < 4096]:
        zone.free(pfn)
    area = CmaArea(zone, 2048, 2048)
    answer = area.alloc(32, 5)
    assert answer.tries[0].errno == 16
    assert answer.tries[0].done.moved
    assert len(answer.moves) == sum(len(t.done.moved) for t in answer.tries)
    zone.check()


def test_another_error_than_busy_ends_the_search() -> None:
    """-EINTR: the bits are cleared and no other place is tried."""
    zone = zone_with_cma("6.1")
    area = CmaArea(zone, 2048, 2048)
    zone.set_signal_pending(True)
    answer = area.alloc(4, 0)
    assert (answer.pfn, answer.errno, len(answer.tries)) == (None, 4, 1)
    assert area.used == 0
    zone.set_signal_pending(False)
    zone.check()


def test_no_memory_to_migrate_to_ends_the_search() -> None:
    """-ENOMEM of alloc_contig_range."""
    zone = zone_with_cma("6.1")
    filled(zone)
    answer = CmaArea(zone, 2048, 2048).alloc(4, 0)
    assert (answer.errno, len(answer.tries)) == (12, 1)
    assert "no free page" in answer.reason
    zone.check()


@pytest.mark.parametrize(("release", "errno"), [("5.15", 12), ("6.1", 12), ("6.12", 12), ("6.19", 16)])
def test_no_room_is_enomem_until_an_area_has_several_ranges(release: str, errno: int) -> None:
    """cma_alloc starts with -ENOMEM, cma_range_alloc (6.15) with -EBUSY."""
    zone = zone_with_cma(release)
    area = CmaArea(zone, 2048, 2048)
    area.load_bitmap([True, False] * 1024)
    answer = area.alloc(2, 0)
    assert (answer.pfn, answer.errno, answer.tries) == (None, errno, ())


# ---- counters ----


@pytest.mark.parametrize(("release", "none", "more"), [("5.15", 1, 1), ("6.1", 1, 1), ("6.12", 0, 0), ("6.19", 0, 1)])
def test_what_counts_as_failed(release: str, none: int, more: int) -> None:
    """A request for no page, and one for more than the area has: counted or not."""
    zone = zone_with_cma(release)
    area = CmaArea(zone, 2048, 2048)
    area.alloc(0, 0)
    assert area.counters["cma_alloc_fail"] == none
    area.alloc(2049, 0)
    assert area.counters["cma_alloc_fail"] == none + more
    assert area.counters["alloc_pages_fail"] == 2049 * more


def test_pages_and_calls_are_counted() -> None:
    zone = zone_with_cma("6.12")
    area = CmaArea(zone, 2048, 1024)
    other = CmaArea(zone, 3072, 1024)
    area.alloc(100, 0)
    other.alloc(7, 0)
    area.release(2048, 100)
    assert area.counters == {
        "cma_alloc_success": 1,
        "cma_alloc_fail": 0,
        "alloc_pages_success": 100,
        "alloc_pages_fail": 0,
        "release_pages_success": 100,
    }
    assert vmstat([area, other]) == {"cma_alloc_success": 2, "cma_alloc_fail": 0}
    assert "release_pages_success" not in CmaArea(Zone(4096, "6.1"), 0, 512).counters


# ---- release ----


@pytest.mark.parametrize("release", RELEASES)
def test_pages_of_nobody_are_refused(release: str) -> None:
    """cma_pages_valid."""
    zone = zone_with_cma(release)
    area = CmaArea(zone, 2048, 2048)
    pfn = zone.alloc(0, Migratetype.UNMOVABLE)
    assert not area.release(pfn, 1)
    assert zone.page(pfn).page_class == PageClass.KERNEL
    zone.check()


def test_a_run_past_the_end_is_refused_since_6_15_and_a_bug_before() -> None:
    """VM_BUG_ON in cma_release; cma_pages_valid of 6.19 looks at the end."""
    zone = zone_with_cma("6.19")
    assert not CmaArea(zone, 2048, 1024).release(3000, 100)
    zone = zone_with_cma("6.1")
    with pytest.raises(UsageError, match="VM_BUG_ON"):
        CmaArea(zone, 2048, 1024).release(3000, 100)


def test_what_is_not_allocated_is_not_released() -> None:
    zone = zone_with_cma("6.1")
    area = CmaArea(zone, 2048, 1024)
    with pytest.raises(UsageError, match="free already"):
        area.release(2048, 10)
    zone.check()


# ---- several ranges ----


def test_ranges_are_tried_in_order_and_only_after_busy() -> None:
    """__cma_alloc (6.15)."""
    zone = Zone(8192, "6.19")
    zone.load_cma(1024, 2048)
    zone.load_cma(4096, 6144)
    area = CmaArea(zone, 1024, 1024, ranges=[(4096, 2048)])
    assert area.alloc(1500, 0).pfn == 4096
    assert area.alloc(1000, 0).pfn == 1024
    assert area.alloc(600, 0).reason.startswith("only 572 pages")
    assert area.alloc(500, 0).pfn == 5596
    assert len(area.debugfs()["ranges"]) == 2
    assert area.release(5596, 500)
    assert area.available_count == 572
    zone.check()
    zone.set_signal_pending(True)
    assert len(area.alloc(20, 0).tries) == 1


def test_older_releases_have_one_range() -> None:
    with pytest.raises(UsageError, match="at most 1"):
        CmaArea(Zone(8192, "6.12"), 0, 512, ranges=[(1024, 512)])
    with pytest.raises(UsageError, match=f"at most {CMA_MAX_RANGES}"):
        CmaArea(Zone(8192, "6.19"), 0, 512, ranges=[(512 * i, 512) for i in range(1, 9)])


def test_a_range_lies_in_one_zone() -> None:
    low, high = Zone(2048, "6.1"), Zone(2048, "6.1", start_pfn=2048)
    memory = Memory([Member(low, kind="DMA32"), Member(high, kind="Normal")])
    with pytest.raises(RangeError, match="one zone"):
        CmaArea(memory, 1024, 2048)
    assert CmaArea(memory, 2048, 1024).alloc(4).pfn == 2048


# ---- activation ----


def reserved_zone(release: str, start: int, end: int) -> Zone:
    """A zone of 4096 pages that are free but for [start, end), which is reserved."""
    zone = Zone(4096, release, populate=False)
    zone.load_pages([start], [end - start], [PageClass.RESERVED], [0], [0])
    free = [pfn for pfn in range(0, 4096, 512) if not start <= pfn < end]
    zone.load_pages(free, [512] * len(free), [PageClass.KERNEL] * len(free), [9] * len(free), [0] * len(free))
    for pfn in free:
        zone.free(pfn)
    return zone


@pytest.mark.parametrize("release", RELEASES)
def test_activation_makes_free_cma_pageblocks(release: str) -> None:
    zone = reserved_zone(release, 1024, 3072)
    area = activate(zone, Reserved("a", ((1024, 2048),), 0))
    assert area is not None
    assert zone.nr_free_cma_pages == 2048
    assert zone.pageblock_types.tolist() == [1, 1, 4, 4, 4, 4, 1, 1]
    # each pageblock goes to the head of its list, as the 5.15 trace of the project shows
    assert zone.free_list(10, Migratetype.CMA).tolist() == [2048, 1024]
    zone.check()


def test_an_area_over_two_zones_is_given_to_the_allocator() -> None:
    """cma_activate_area: not_in_zone."""
    low, high = reserved_zone("6.1", 2048, 4096), Zone(2048, "6.1", start_pfn=4096, populate=False)
    high.load_pages([4096], [2048], [PageClass.RESERVED], [0], [0])
    memory = Memory([Member(low, kind="DMA32"), Member(high, kind="Normal")])
    area = Reserved("a", ((3072, 2048),), 0)
    kept = Reserved("a", ((3072, 2048),), 0, keep_on_error=True)
    assert activate(memory, kept) is None
    assert low.page(3072).page_class == PageClass.RESERVED
    assert activate(memory, area) is None
    assert (low.page(3072).page_class, high.page(5119).page_class) == (PageClass.FREE, PageClass.FREE)
    assert high.page(5120).page_class == PageClass.RESERVED
    assert (low.nr_free_cma_pages, high.nr_free_cma_pages) == (0, 0)
    low.check()
    high.check()


# ---- random ----


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("seed", range(4))
def test_random_requests_keep_every_invariant(release: str, seed: int) -> None:
    """The bitmap is what was given and not taken back; the zone is whole after each step."""
    print(f"replay: pytest 'tests/consumers/test_cma.py::test_random_requests_keep_every_invariant[{seed}-{release}]'")
    rng = random.Random(f"{release} {seed}")
    order_per_bit = rng.choice([0, 0, 2, 5])
    zone = zone_with_cma(release)
    area = CmaArea(zone, 2048, 2048, order_per_bit)
    held: list[int] = []
    given: dict[int, int] = {}
    for _ in range(160):
        what = rng.random()
        if what < 0.4:
            order = rng.choice([0, 0, 0, 1, 3, 9])
            if zone.nr_free_pages > 2 << order:
                with contextlib.suppress(OutOfMemoryError):
                    held.append(zone.alloc(order, Migratetype.MOVABLE, pinned=rng.random() < 0.1))
        elif what < 0.6 and held:
            gone = held.pop(rng.randrange(len(held)))
            if zone.page(gone).page_class in (PageClass.ANON, PageClass.THP) and zone.page(gone).head_pfn == gone:
                zone.free(gone)
        elif what < 0.85:
            answer = area.alloc(rng.choice([1, 7, 64, 300, 512]), rng.choice([0, 0, 3, 9]))
            if answer.pfn is not None:
                given[answer.pfn] = answer.count
            # pages that moved are somewhere else now
            moved = {source: target for source, target, _ in answer.moves if target is not None}
            held = [moved.get(pfn, pfn) for pfn in held]
        elif given:
            pfn = rng.choice(list(given))
            assert area.release(pfn, given.pop(pfn))
        zone.check()
        bits = np.zeros(2048, bool)
        for pfn, count in given.items():
            last = pfn - 2048 + ((count + (1 << order_per_bit) - 1) >> order_per_bit << order_per_bit)
            bits[pfn - 2048 : last] = True
        assert np.array_equal(np.repeat(np.array(area.ranges[0].bits, bool), 1 << order_per_bit), bits)
