"""Memory offlining: what refuses a block, what moves where, and what onlining gives back. Source: mm/memory_hotplug.c.

Sections have 1024 pages here, two pageblocks; every zone is checked after each call (conftest).
"""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pageblock import Migratetype, PageClass, PageFlag, RangeError, UsageError, Zone
from pageblock.consumers.hugetlb import HugetlbPool
from pageblock.consumers.memory_hotplug import MemoryHotplug, MemoryNotifier, Offlined, Range, memory_block_size
from pageblock.lab.blocks import find_blocks
from pageblock.machine import read_machine
from pageblock.machine.zones import snapshot_memory
from pageblock.mm.errors import OutOfMemoryError
from pageblock.mm.memory import Member, Memory
from tests.checked import heal

M, U = Migratetype.MOVABLE, Migratetype.UNMOVABLE
MIB, GIB = 1 << 20, 1 << 30
SECTION = 1024
RELEASES = ["5.15", "seed", "seed-as-posted", "6.1", "6.1-vanilla", "6.12", "6.19"]
ALL = pytest.mark.parametrize("release", RELEASES)


def one_zone(release: str = "6.1", sections: int = 4, **options: bool) -> tuple[MemoryHotplug, Zone]:
    zone = Zone(sections * SECTION, release, **options)
    kind = "Movable" if options.get("zone_movable") else "Normal"
    return MemoryHotplug(Memory([Member(zone, 0, kind)]), section_pages=SECTION), zone


def two_nodes(release: str = "6.1") -> tuple[MemoryHotplug, Zone, Zone]:
    """Two nodes of two sections, all free."""
    zones = [Zone(2 * SECTION, release, start_pfn=n * 2 * SECTION) for n in range(2)]
    memory = Memory([Member(zone, n, "Normal") for n, zone in enumerate(zones)])
    return MemoryHotplug(memory, section_pages=SECTION), zones[0], zones[1]


def alloc_at(zone: Zone, pfn: int, page_class: PageClass = PageClass.ANON, *, pinned: bool = False) -> None:
    """Allocate just this page: what comes before it on the way is given back."""
    others = []
    while (got := zone.alloc(0, M, page_class, pinned=pinned)) != pfn:
        others.append(got)
    for other in others:
        zone.free(other)


def ending(answer: Offlined) -> tuple[int, str, int | None]:
    return answer.errno, answer.reason, answer.pfn


# ---- blocks ----


@pytest.mark.parametrize(
    ("end", "hypervisor", "size"),
    [
        (64 * GIB - 1, False, 128 * MIB),
        (64 * GIB - 4096, True, 128 * MIB),
        (64 * GIB, False, 2 * GIB),
        (65 * GIB + 4096, False, 2 * GIB),
        (64 * GIB, True, 2 * GIB),
        (65 * GIB, True, GIB),
        (65 * GIB + 256 * MIB, True, 256 * MIB),
        (65 * GIB + 4096, True, 128 * MIB),
    ],
)
def test_how_large_a_memory_block_is(end: int, hypervisor: bool, size: int) -> None:
    """probe_memory_block_size."""
    assert memory_block_size(end, hypervisor=hypervisor) == size


@pytest.mark.parametrize(
    ("section", "block", "words"),
    [
        (512, None, "at least the largest block of 1024"),
        (1536, None, "a power of two"),
        (1024, 1536, "a whole number of sections"),
        (2048, 1024, "a whole number of sections"),
    ],
)
def test_sizes_that_no_kernel_has(section: int, block: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        MemoryHotplug(Memory([Member(Zone(4096))]), block, section_pages=section)


def test_block_numbers_count_from_address_0() -> None:
    zone = Zone(4 * SECTION, start_pfn=8 * SECTION)
    hotplug = MemoryHotplug(Memory([Member(zone)]), 2 * SECTION, section_pages=SECTION)
    assert hotplug.block_range(5) == (10 * SECTION, 12 * SECTION)
    assert [hotplug.block_is_online(block) for block in (3, 4, 5, 6)] == [False, True, True, False]
    assert hotplug.offline_block(5).errno == 0
    assert [hotplug.block_is_online(block) for block in (4, 5)] == [True, False]


# ---- before anything is touched ----


@ALL
@pytest.mark.parametrize(
    ("start", "nr", "errno"),
    [
        (SECTION, SECTION, 0),
        (0, 2 * SECTION, 0),
        (256, SECTION - 256, 22),
        (0, 512, 22),
        (0, SECTION + 512, 22),
        (0, 0, 22),
    ],
)
def test_the_start_is_a_pageblocks_and_the_end_a_sections(release: str, start: int, nr: int, errno: int) -> None:
    hotplug, zone = one_zone(release)
    answer = hotplug.offline_pages(start, nr)
    assert (answer.errno, answer.reason) == (errno, "")
    assert zone.nr_free_pages == 4 * SECTION - (0 if errno else nr)


@pytest.mark.parametrize(("release", "for_ever"), [("5.15", True), ("seed", True), ("6.1", False), ("6.12", False)])
def test_the_second_half_of_a_free_page(release: str, for_ever: bool) -> None:
    """A pageblock's start is enough (memmap_on_memory), but until 5.18 isolation does not cut the page that reaches in."""
    hotplug, zone = one_zone(release)
    answer = hotplug.offline_pages(SECTION + 512, 512)
    assert answer.for_ever is for_ever
    assert zone.nr_free_pages == 4 * SECTION - (0 if for_ever else 512)


@ALL
def test_holes(release: str) -> None:
    hotplug, zone = one_zone(release)
    assert hotplug.offline_pages(SECTION, SECTION).errno == 0
    assert ending(hotplug.offline_pages(0, 2 * SECTION)) == (22, "memory holes", SECTION)
    assert ending(hotplug.offline_pages(3 * SECTION, 2 * SECTION)) == (22, "memory holes", 4 * SECTION)
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (3 * SECTION, 0)


@pytest.mark.parametrize(("release", "reason"), [("5.15", "multizone range"), ("6.1", ""), ("6.12", ""), ("6.19", "")])
def test_a_block_in_two_zones(release: str, reason: str) -> None:
    """Since 395f6081bad4 (5.18) the block has no zone, and memory_block_offline asks no further."""
    low, high = Zone(SECTION, release), Zone(SECTION, release, start_pfn=SECTION)
    memory = Memory([Member(low, 0, "DMA32"), Member(high, 0, "Normal")])
    hotplug = MemoryHotplug(memory, 2 * SECTION, section_pages=SECTION)
    assert ending(hotplug.offline_block(0)) == (22, reason, SECTION)
    assert hotplug.steps[-1].function == ("offline_pages" if reason else "memory_block_offline")
    assert ending(hotplug.offline_pages(0, 2 * SECTION)) == (22, "multizone range", SECTION)


# ---- refusals, each of which leaves the zone as it was ----


@ALL
def test_failure_to_isolate_range(release: str) -> None:
    hotplug, zone = one_zone(release)
    kernel = zone.alloc(0, U)
    block = kernel // SECTION
    free, types = zone.nr_free_pages, zone.pageblock_types.tolist()
    answer = hotplug.offline_block(block)
    assert ending(answer) == (16, "failure to isolate range", kernel)
    assert "neither on the LRU" in answer.rule
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (free, 0)
    # the pageblock that refuses was never isolated
    assert zone.pageblock_types.tolist() == types


class Asked(MemoryNotifier):
    """Notes what it is told; refuses with an errno."""

    def __init__(self, errno: int = 0, let_go: Sequence[Range] = ()) -> None:
        self.errno, self.let_go, self.told = errno, let_go, list[str]()

    def going_offline(self, start_pfn: int, nr_pages: int) -> tuple[int, Sequence[Range]]:
        self.told.append(f"going offline {start_pfn} {nr_pages}")
        return self.errno, self.let_go

    def cancel_offline(self, start_pfn: int, nr_pages: int) -> None:
        self.told.append("cancel offline")

    def offline(self, start_pfn: int, nr_pages: int) -> None:
        self.told.append("offline")

    def going_online(self, start_pfn: int, nr_pages: int) -> int:
        self.told.append("going online")
        return self.errno

    def cancel_online(self, start_pfn: int, nr_pages: int) -> None:
        self.told.append("cancel online")

    def online(self, start_pfn: int, nr_pages: int, *, movable: bool) -> None:
        self.told.append(f"online {movable}")


@ALL
def test_notifier_failure(release: str) -> None:
    """The chain ends at the first that refuses; all are told that nothing comes of it."""
    hotplug, zone = one_zone(release)
    page = zone.alloc(0)
    first, second, third = Asked(), Asked(errno=16), Asked()
    hotplug.notifiers += [first, second, third]
    assert ending(hotplug.offline_block(0)) == (16, "notifier failure", None)
    assert first.told == second.told == ["going offline 0 1024", "cancel offline"]
    assert third.told == ["cancel offline"]
    assert (zone.nr_isolate_pageblock, zone.nr_free_pages) == (0, 4 * SECTION - 1)
    assert zone.page(page).page_class == PageClass.ANON


def test_drivers_are_not_asked_before_isolation() -> None:
    hotplug, zone = one_zone()
    zone.alloc(0, U)
    hotplug.notifiers.append(Asked())
    assert hotplug.offline_block(0).reason == "failure to isolate range"
    assert hotplug.notifiers[0].told == []  # type: ignore[attr-defined]


@ALL
def test_signal_backoff(release: str) -> None:
    hotplug, zone = one_zone(release)
    page = zone.alloc(0)
    answer = hotplug.offline_block(0, signal=True)
    assert (answer.errno, answer.reason, answer.moved, answer.for_ever) == (4, "signal backoff", 0, False)
    assert zone.page(page).page_class == PageClass.ANON
    assert zone.nr_isolate_pageblock == 0


@ALL
def test_an_offline_page_that_its_driver_keeps(release: str) -> None:
    """What lies before it has been migrated by then, what lies behind it not by itself: do_migrate_range takes all."""
    hotplug, zone = one_zone(release)
    alloc_at(zone, 100)
    alloc_at(zone, 200, PageClass.OFFLINE)
    answer = hotplug.offline_block(0)
    assert (*ending(answer), answer.moved) == (16, "unmovable page", 200, 1)
    assert (zone.nr_isolate_pageblock, zone.page(200).page_class) == (0, PageClass.OFFLINE)


@pytest.mark.parametrize(("let_go", "pfn"), [([(200, 201)], 300), ([(300, 400)], 200), ([(200, 301)], None), ([], 200)])
def test_which_offline_pages_are_let_go_of(let_go: list[Range], pfn: int | None) -> None:
    hotplug, zone = one_zone()
    for page in (200, 300):
        alloc_at(zone, page, PageClass.OFFLINE)
    hotplug.notifiers.append(Asked(let_go=let_go))
    answer = hotplug.offline_block(0)
    assert ending(answer) == ((0, "", None) if pfn is None else (16, "unmovable page", pfn))
    if pfn is None:
        # they had left the managed pages when they were inflated, here they were not told of
        assert zone.nr_managed_pages == 3 * SECTION + 2


# ---- the endless loop ----


@ALL
def test_a_pinned_page(release: str) -> None:
    """It passes isolation, and the kernel tries it for ever; what else is there has been moved."""
    hotplug, zone = one_zone(release)
    alloc_at(zone, 77, pinned=True)
    alloc_at(zone, 78)
    answer = hotplug.offline_block(0)
    assert (*ending(answer), answer.moved, answer.for_ever) == (4, "signal backoff", 77, 1, True)
    assert answer.rule == (
        "would loop for ever: page 0x4d (anon) cannot be migrated because the page is still in use after migration"
    )
    assert (zone.nr_free_pages, zone.nr_isolate_pageblock) == (4 * SECTION - 2, 0)


@ALL
def test_no_room(release: str) -> None:
    hotplug, zone = one_zone(release, sections=2)
    while zone.nr_free_pages > 100:
        zone.alloc(0)
    answer = hotplug.offline_block(0)
    assert (answer.for_ever, answer.moved) == (True, min(100, answer.moved))
    assert "no free page is left to migrate to" in answer.rule
    assert zone.nr_free_pages == 100


@ALL
def test_a_kernel_page_in_zone_movable(release: str) -> None:
    """Isolation lets everything but reserved pages pass there; the kernel scans and tests for ever."""
    hotplug, zone = one_zone(release, zone_movable=True)
    alloc_at(zone, 5, PageClass.KERNEL)
    answer = hotplug.offline_block(0)
    assert (*ending(answer), answer.for_ever) == (4, "signal backoff", 5, True)
    assert "page 0x5 (kernel)" in answer.rule
    assert zone.nr_isolate_pageblock == 0


# ---- what moves, and where to ----


@ALL
def test_what_is_free_leaves_and_what_is_used_moves(release: str) -> None:
    hotplug, zone = one_zone(release)
    for page in range(0, 1024, 31):
        alloc_at(zone, page)
    zone.alloc(9, M, PageClass.THP)
    before = zone.nr_free_pages
    answer = hotplug.offline_block(0)
    assert (answer.errno, answer.moved) == (0, 34)
    assert zone.nr_free_pages == before - SECTION
    assert (zone.nr_managed_pages, hotplug.counters()["node 0 Normal/present"]) == (3 * SECTION, 3 * SECTION)
    functions = [step.function for step in hotplug.steps]
    assert functions == ["start_isolate_page_range", "do_migrate_range", "offline_pages"]


@ALL
def test_targets_are_on_other_nodes(release: str) -> None:
    hotplug, here, there = two_nodes(release)
    pages = [here.alloc(0) for _ in range(10)]
    assert hotplug.offline_block(0).moved == 10
    assert here.nr_free_pages == SECTION
    assert there.nr_free_pages == 2 * SECTION - 10
    assert pages == list(range(10))


@ALL
def test_and_nowhere_else_if_there_are_any(release: str) -> None:
    hotplug, here, there = two_nodes(release)
    here.alloc(0)
    while there.nr_free_pages:
        there.alloc(0)
    answer = hotplug.offline_block(0)
    assert (answer.for_ever, answer.pfn, here.nr_free_pages) == (True, 0, 2 * SECTION - 1)


@ALL
def test_the_own_node_if_no_other_has_memory(release: str) -> None:
    """N_MEMORY: a node all of whose memory went offline is none."""
    hotplug, here, there = two_nodes(release)
    here.alloc(0)
    assert [hotplug.offline_block(block).errno for block in (2, 3)] == [0, 0]
    assert there.nr_managed_pages == 0
    assert hotplug.offline_block(0).moved == 1
    assert here.page(SECTION).page_class == PageClass.ANON


def test_base_pages_of_kernel_zones_stay_out_of_zone_movable_and_huge_ones_do_not() -> None:
    """alloc_migration_target: GFP_HIGHMEM only for a page of ZONE_MOVABLE, but in GFP_TRANSHUGE always."""
    zones = [Zone(2 * SECTION, start_pfn=n * 2 * SECTION, zone_movable=n == 2) for n in range(3)]
    kinds = ("DMA32", "Normal", "Movable")
    hotplug = MemoryHotplug(Memory([Member(z, 0, k) for z, k in zip(zones, kinds, strict=True)]), section_pages=SECTION)
    low, normal, movable = zones
    low.alloc(9, M, PageClass.THP)
    low.alloc(0)
    assert hotplug.offline_block(0).moved == 513
    assert (normal.nr_free_pages, movable.nr_free_pages) == (2 * SECTION - 1, 2 * SECTION - 512)
    # a base page of ZONE_MOVABLE goes there first, too
    movable.alloc(0)
    assert hotplug.offline_block(4).moved == 513
    assert movable.nr_free_pages == SECTION - 513


def test_per_cpu_lists_are_drained_and_used_again() -> None:
    hotplug, zone = one_zone()
    zone.set_pcp(high=252, batch=63)
    zone.free(zone.alloc(0))
    assert zone.nr_pcp_pages > 0
    assert hotplug.offline_block(0).errno == 0
    assert zone.nr_pcp_pages == 0
    zone.free(zone.alloc(0))
    assert zone.nr_pcp_pages > 0


def test_pages_that_wait_for_the_lru_are_no_obstacle() -> None:
    """lru_cache_disable comes before isolation; alloc_contig_range is refused by such a page."""
    hotplug, zone = one_zone()
    alloc_at(zone, 9, PageClass.PAGEVEC)
    assert hotplug.offline_block(0).moved == 1


# ---- huge pages ----


def huge(zone: Zone, *, free: bool) -> int:
    pfn = zone.alloc(9, M, PageClass.HUGETLB)
    zone.set_hugetlb_free(pfn, free)
    return pfn


@ALL
def test_unused_huge_pages_are_dissolved_and_used_ones_move(release: str) -> None:
    hotplug, zone = one_zone(release)
    unused, used = huge(zone, free=True), huge(zone, free=False)
    assert (unused // SECTION, used // SECTION) == (0, 0)
    answer = hotplug.offline_block(0)
    assert (answer.errno, answer.moved, answer.dissolved) == (0, 512, (unused,))
    assert zone.nr_free_pages == 4 * SECTION - SECTION - 512


@ALL
@pytest.mark.parametrize(("reserved", "errno"), [(1, 0), (2, 16), (3, 16)])
def test_reserved_huge_pages_are_not_dissolved(release: str, reserved: int, errno: int) -> None:
    """available_huge_pages: free ones less those that somebody reserved, of this size, on all nodes."""
    hotplug, zone = one_zone(release)
    pages = [huge(zone, free=True) for _ in range(2)]
    assert pages == [0, 512]
    hotplug.reserved_huge = {9: reserved, 10: 9}
    answer = hotplug.offline_pages(512, 512)
    assert (answer.errno, answer.reason) == (errno, "failure to dissolve huge pages" if errno else "")
    assert zone.nr_free_hugetlb(9) == (2 if errno else 1)
    assert zone.nr_isolate_pageblock == 0


@pytest.mark.parametrize("release", ["5.15", "6.12", "6.19"])
def test_a_gigantic_page_of_a_pool_is_dissolved_whole(release: str) -> None:
    """It reaches out of the block; where its first pageblock's boundary refuses to cut it (6.1), nothing can be done."""
    zone = Zone(8 * SECTION, release)
    memory = Memory([Member(zone)])
    pool = HugetlbPool(memory, 12)
    assert pool.set_nr_hugepages(1) == 1
    hotplug = MemoryHotplug(memory, section_pages=SECTION, pools=[pool])
    answer = hotplug.offline_block(1)
    assert (answer.errno, answer.dissolved, pool.nr_huge_pages) == (0, (0,), 0)
    assert zone.nr_free_pages == 7 * SECTION


def test_a_gigantic_page_across_the_boundary_refuses_isolation_in_6_1() -> None:
    """isolate_single_pageblock would migrate it, and gigantic pages have no target."""
    zone = Zone(8 * SECTION, "6.1")
    memory = Memory([Member(zone)])
    pool = HugetlbPool(memory, 12)
    pool.set_nr_hugepages(1)
    hotplug = MemoryHotplug(memory, section_pages=SECTION, pools=[pool])
    assert hotplug.offline_block(1).reason == "failure to isolate range"
    assert pool.nr_huge_pages == 1


# ---- back ----


@ALL
def test_a_block_comes_back_free_and_movable(release: str) -> None:
    hotplug, zone = one_zone(release)
    hotplug.notifiers.append(Asked())
    free, managed = zone.nr_free_pages, zone.nr_managed_pages
    assert hotplug.offline_block(2).errno == 0
    assert hotplug.online_pages(2 * SECTION, SECTION) == 0
    assert (zone.nr_free_pages, zone.nr_managed_pages) == (free, managed)
    assert set(zone.pageblock_types.tolist()) == {M}
    # at the tail
    assert zone.free_list(10, M).tolist()[-1] == 2 * SECTION
    assert hotplug.notifiers[0].told[1:] == ["offline", "going online", "online False"]  # type: ignore[attr-defined]


def test_a_refused_onlining_changes_nothing() -> None:
    hotplug, zone = one_zone()
    hotplug.offline_block(1)
    hotplug.notifiers += [Asked(), Asked(errno=12)]
    assert hotplug.online_pages(SECTION, SECTION) == 12
    assert zone.is_offline(SECTION, 2 * SECTION)
    assert [told.told[-1] for told in hotplug.notifiers] == ["cancel online"] * 2  # type: ignore[attr-defined]


def test_onlining_wants_whole_holes_of_a_zone() -> None:
    hotplug, zone = one_zone()
    hotplug.offline_block(1)
    assert hotplug.online_pages(SECTION, 512) == 22
    assert hotplug.online_pages(SECTION + 512, 512, "Normal") == 0
    with pytest.raises(UsageError, match="online pages"):
        hotplug.online_pages(SECTION, SECTION)
    with pytest.raises(RangeError, match="no zone Movable spans"):
        hotplug.online_pages(SECTION, SECTION, "Movable")
    with pytest.raises(RangeError, match="no zone spans"):
        hotplug.online_pages(4 * SECTION, SECTION)
    assert zone.nr_free_pages == 4 * SECTION - 512


# ---- at large ----


@ALL
@pytest.mark.parametrize("seed", range(3))
def test_random_memory(release: str, seed: int) -> None:
    """Blocks go and come; what was allocated stays allocated, and pages that are not movable stay where they are."""
    print(f"replay: pytest 'tests/consumers/test_memory_hotplug.py::test_random_memory[{seed}-{release}]'")
    rng = random.Random(f"{release} {seed}")
    zones = [Zone(6 * SECTION, release, start_pfn=n * 6 * SECTION) for n in range(2)]
    memory = Memory([Member(zone, n, "Normal") for n, zone in enumerate(zones)])
    hotplug = MemoryHotplug(memory, section_pages=SECTION)
    for zone in zones:
        zone.set_watermarks(20, 40)
        zone.set_pcp(high=100, batch=25)
        for _ in range(rng.randrange(1500)):
            page_class = rng.choice([PageClass.ANON, PageClass.FILE, PageClass.MOVABLE_OPS, PageClass.PAGEVEC])
            pfn = zone.alloc(0, M, page_class, pinned=rng.random() < 0.0005)
            if rng.random() < 0.4:
                zone.free(pfn)
        for _ in range(rng.randrange(6)):
            zone.alloc(9, M, rng.choice([PageClass.THP, PageClass.HUGETLB]))
        for _ in range(rng.randrange(2)):
            zone.alloc(0, U)

    def used() -> int:
        return sum(z.geometry.nr_pages - z.nr_holes(z.start_pfn, z.end_pfn) - free_pages(z) for z in zones)

    def free_pages(zone: Zone) -> int:
        return int(zone.nr_free_pages + zone.nr_pcp_pages)

    before = used()
    for _ in range(20):
        block = rng.randrange(12)
        if hotplug.block_is_online(block):
            answer = hotplug.offline_block(block)
            assert hotplug.block_is_online(block) == bool(answer.errno)
        else:
            assert hotplug.online_pages(*hotplug.block_range(block)[:1], SECTION) == 0
        assert used() == before
        assert [zone.nr_isolate_pageblock for zone in zones] == [0, 0]
        zone = rng.choice(zones)
        try:
            zone.free(zone.alloc(rng.randrange(4)))
        except OutOfMemoryError:
            assert zone.nr_free_pages < 200


#: Classes of pages that isolation for offlining refuses.
STUCK = [PageClass.KERNEL, PageClass.SLAB, PageClass.PGTABLE, PageClass.RESERVED, PageClass.COMPOUND]


@pytest.mark.slow
@pytest.mark.parametrize("release", ["5.15", "6.1", "6.12", "6.19"])
@pytest.mark.parametrize("machine", ["guest-6.1.192", "zynq-256M-kpageflags"])
def test_every_block_of_a_machine(shared: Path, machine: str, release: str) -> None:
    """A block goes just if it is whole, none of it is CMA and none of its pages of a class that refuses; and it comes back."""
    snapshot = read_machine(shared / "machines" / machine)
    assert snapshot.runs is not None
    blocks = find_blocks(snapshot, None)
    memory = snapshot_memory(snapshot, release)
    heal(memory)
    hotplug = blocks.hotplug(memory)
    start, nr, kind = (snapshot.runs[name].to_numpy().astype(np.int64) for name in ("start_pfn", "nr_pages", "class"))
    went = []
    for block in blocks.online:
        first, last = hotplug.block_range(block)
        inside = (start < last) & (start + nr > first)
        online = inside & (kind != PageClass.HOLE)
        covered = (np.minimum(start + nr, last) - np.maximum(start, first))[online].sum()
        zones = [
            member.zone for member in memory.members if member.zone.start_pfn < last and member.zone.end_pfn > first
        ]
        cma = any(
            zone.page(pfn).pageblock_type == Migratetype.CMA for zone in zones for pfn in pageblocks(zone, first, last)
        )
        goes = covered == last - first and len(zones) == 1 and not cma and not np.isin(kind[inside], STUCK).any()
        answer = hotplug.offline_block(block)
        assert (answer.errno == 0) == goes, (block, answer)
        if not answer.errno:
            went.append(block)
            assert hotplug.online_pages(first, last - first) == 0
    # zynq's two blocks hold boot memory and CMA
    assert (len(went) > 20, len(went) < len(blocks.online)) == (machine != "zynq-256M-kpageflags", True)
    assert all(member.zone.nr_isolate_pageblock == 0 for member in memory.members)


def pageblocks(zone: Zone, first: int, last: int) -> range:
    """First pfns of the pageblocks of a range that lie in a zone."""
    return range(max(first, zone.start_pfn), min(last, zone.end_pfn), 1 << zone.geometry.pageblock_order)


def test_flags_of_moved_pages_go_with_them() -> None:
    """A clean file page is moved, not dropped, and is clean where it goes."""
    hotplug, zone = one_zone()
    pfn = zone.alloc(0, M, PageClass.FILE, clean=True)
    assert hotplug.offline_block(pfn // SECTION).moved == 1
    target = zone.page(SECTION)
    assert (target.page_class, target.flags) == (PageClass.FILE, PageFlag.CLEAN)
