"""compact_memory: two scanners, and what they leave."""

import pytest

from pageblock import Migratetype, PageClass, Zone

from .workload import operations

#: Not 0: the kernel takes a zone that begins at pfn 0 for one whose first pageblock was just migrated from.
START = 4096

M, U = Migratetype.MOVABLE, Migratetype.UNMOVABLE


def every_other_page(release: str = "6.1") -> Zone:
    """A zone whose first half has every other page in use."""
    zone = Zone(4096, release, START)
    held = [zone.alloc(0, M, owner=i) for i in range(2048)]
    for pfn in held[::2]:
        zone.free(pfn)
    return zone


@pytest.mark.parametrize("release", ["5.15", "6.1", "6.12"])
def test_pages_move_from_the_start_to_the_end(release: str) -> None:
    zone = every_other_page(release)
    free = zone.nr_free_pages
    moves = zone.compact_memory()
    zone.check()
    assert zone.nr_free_pages == free
    assert moves
    assert all(source < target for source, target in moves)


def test_the_first_batch_is_32_pages_highest_first() -> None:
    moves = every_other_page().compact_memory()
    assert [source - START for source, _ in moves[:32]] == list(range(63, -1, -2))


def test_targets_come_from_the_last_pageblock_that_is_not_one_free_page() -> None:
    """Pageblocks that are one free page already are no targets; the highest page of those taken goes first."""
    zone = every_other_page()
    moves = zone.compact_memory()
    # pageblocks 4 to 7 are two free max order pages: 7 and 5, which begin inside of them, are searched in vain, and the
    # scanner then looks at every fourth page only. The targets lie in pageblock 3, [1536, 2048)
    assert {(target - START) // 512 for _, target in moves[:32]} == {3}
    assert moves[0][1] - START == 1536 + 4 * 31


def test_compaction_makes_large_blocks() -> None:
    zone = Zone(8192)
    held = [zone.alloc(0, M) for _ in range(8192)]
    for pfn in held[::4]:
        zone.free(pfn)
    assert len(zone.free_list(10, M)) == 0
    zone.compact_memory()
    zone.check()
    assert sum(len(zone.free_list(order, M)) << order for order in (9, 10)) >= 1536


def test_unmovable_and_pinned_pages_stay() -> None:
    zone = Zone(4096)
    pinned = zone.alloc(0, M, pinned=True)
    zone.alloc(0, M)
    moves = zone.compact_memory()
    assert zone.page(pinned).page_class == PageClass.ANON
    assert pinned not in {source for source, _ in moves}
    zone.check()


@pytest.mark.parametrize("release", ["5.15", "seed", "6.1", "6.12"])
@pytest.mark.parametrize("pcp", [False, True])
def test_random_states_keep_their_invariants(release: str, pcp: bool) -> None:
    for seed in range(4):
        zone = Zone(8192, release)
        if pcp:
            zone.set_pcp(252, 63)
        zone.run(operations(seed, 4_000, zone, 0.02))
        zone.compact_memory()
        zone.check()


def test_free_pages_that_the_growing_stride_steps_over_are_no_targets() -> None:
    """Free pages at odd places only, below two pageblocks without any: the kernel moves nothing."""
    zone = Zone(4096, "6.1", START)
    held = [zone.alloc(0, M) for _ in range(2048)]
    for pfn in held[1::2]:
        zone.free(pfn)
    assert zone.compact_memory() == ()
