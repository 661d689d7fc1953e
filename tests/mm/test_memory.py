"""Zones and nodes: who is asked, in which order, above which watermark; and counters that lag."""

import pytest

from pageblock import ContigRefused, Migratetype, PageblockError, PageClass, Zone
from pageblock.mm.memory import Member, Memory

M = Migratetype.MOVABLE


def two_zones(wmark_low: int = 100) -> tuple[Memory, Zone, Zone]:
    """A DMA32 zone of 8 MiB below a Normal zone of 8 MiB, both with watermarks."""
    low, normal = Zone(2048), Zone(2048, start_pfn=2048)
    for zone in (low, normal):
        zone.set_watermarks(50, wmark_low)
    return Memory([Member(low, kind="DMA32", protection=(0, 0, 500, 500)), Member(normal)]), low, normal


def test_the_highest_zone_is_asked_first_then_the_one_below() -> None:
    memory, low, normal = two_zones()
    pfns = [memory.alloc() for _ in range(3000)]
    # Normal gives down to its low watermark, then DMA32 down to its own and the reserve against Normal requests
    assert pfns[:1948] == list(range(2048, 3996))
    assert pfns[1948] == 0
    assert low.nr_free_pages == 2048 - (3000 - 1948)
    assert normal.nr_free_pages == 100


def test_then_the_min_watermarks_count() -> None:
    memory, low, normal = two_zones()
    with pytest.raises(PageblockError, match="no zone of node 0 up to Normal"):
        _ = [memory.alloc() for _ in range(5000)]
    # free pages must stay above min, and in DMA32 above min and its reserve
    assert (normal.nr_free_pages, low.nr_free_pages) == (50, 550)
    assert low.nr_free_pages + normal.nr_free_pages == 600


def test_migration_targets_spill_below_the_low_watermark() -> None:
    memory, low, normal = two_zones()
    pages = [normal.alloc(0) for _ in range(1900)]
    assert pages[0] == 2048
    taken = memory.alloc_contig_range(2048, 2560)
    targets = [target for _, target, _ in taken.moved]
    # 148 pages were free: 48 above the low watermark, the rest finds a place in DMA32
    assert [t for t in targets[:48] if t is not None and t < 2048] == []
    assert all(t is not None and t < 2048 for t in targets[48:])
    assert low.nr_free_pages == 2048 - (512 - 48)
    low.check()
    normal.check()


def test_without_room_anywhere_the_range_is_refused() -> None:
    memory, low, normal = two_zones()
    for zone, count in ((normal, 1900), (low, 1500)):
        for _ in range(count):
            zone.alloc(0)
    with pytest.raises(ContigRefused) as refused:
        memory.alloc_contig_range(2048, 2560)
    assert refused.value.errno == 12
    low.check()
    normal.check()


def test_another_node_comes_after_all_zones_of_the_own() -> None:
    zones = [Zone(1024, start_pfn=1024 * i) for i in range(3)]
    memory = Memory([Member(zones[0], 0, "DMA32"), Member(zones[1], 0, "Normal"), Member(zones[2], 1, "Normal")])
    pfns = [memory.alloc(10) for _ in range(3)]
    assert pfns == [1024, 0, 2048]
    assert [m.zone for m in memory.zonelist(1, "Normal")] == [zones[2], zones[1], zones[0]]
    assert [m.zone for m in memory.zonelist(0, "DMA32")] == [zones[0]]


def test_normal_requests_do_not_fragment_while_a_lower_zone_has_room() -> None:
    """ALLOC_NOFRAGMENT: an unmovable request rather goes to DMA32 than below pageblock order into MOVABLE."""
    memory, _, normal = two_zones(0)
    held = [normal.alloc(0) for _ in range(2048)]
    for pfn in held[::2]:
        normal.free(pfn)
    assert memory.alloc(0, Migratetype.UNMOVABLE) < 2048
    assert set(normal.pageblock_types.tolist()) == {M}
    # one node without DMA32 beside another does not care
    alone = Zone(2048)
    memory = Memory([Member(alone, 0), Member(Zone(2048, start_pfn=2048), 1)])
    held = [alone.alloc(0) for _ in range(2048)]
    for pfn in held[::2]:
        alone.free(pfn)
    assert memory.alloc(0, Migratetype.UNMOVABLE) < 2048


def test_a_huge_page_may_move_to_zone_movable_and_a_base_page_may_not() -> None:
    normal, movable = Zone(2048), Zone(2048, start_pfn=2048, zone_movable=True)
    memory = Memory([Member(normal), Member(movable, kind="Movable")])
    thp = normal.alloc(9)
    while normal.nr_free_pages:
        normal.alloc(0)
    assert memory.alloc_contig_range(thp, thp + 512).moved == ((thp, 2048, 9),)
    with pytest.raises(ContigRefused):
        memory.alloc_contig_range(512, 1024)


def test_alloc_contig_pages_tries_the_highest_zone_first() -> None:
    memory, _, normal = two_zones()
    assert memory.alloc_contig_pages(1024).start_pfn == 2048
    for pfn in (3072, 3584):
        normal.alloc_contig_range(pfn, pfn + 512)
    assert memory.alloc_contig_pages(1024).start_pfn == 0


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([Member(Zone(16, max_order=2, pageblock_order=1), kind="Fast")], "choose one of DMA"),
        ([Member(Zone(16, max_order=2, pageblock_order=1))] * 2, "two zones Normal"),
    ],
)
def test_impossible_memories_are_refused(members: list[Member], says: str) -> None:
    with pytest.raises(PageblockError, match=says):
        Memory(members)


def alloc_until_refused(zone: Zone) -> None:
    while True:
        zone.alloc(0, M, PageClass.ANON)


def test_counters_that_lag_let_requests_below_the_mark() -> None:
    """mm/vmstat.c: a CPU keeps up to the threshold to itself, so the watermark is seen too late."""
    exact, lagging = Zone(1024), Zone(1024)
    left = {}
    for zone, threshold in ((exact, 0), (lagging, 10)):
        zone.set_watermarks(100, 100)
        zone.set_stat_threshold(threshold)
        with pytest.raises(PageblockError):
            alloc_until_refused(zone)
        left[threshold] = zone.nr_free_pages
    assert left[0] == 100
    # 924 changes are folded 11 at a time: after the 84th fold the counter says 100
    assert left[10] == 1024 - 84 * 11
    lagging.refresh_vm_stats()
    lagging.check()
