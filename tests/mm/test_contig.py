"""alloc_contig_range: what moves, what refuses, and that a refusal leaves everything as the release says."""

import numpy as np
import pytest

from pageblock import ContigRefused, Migratetype, PageClass, Zone

M, U, R = Migratetype.MOVABLE, Migratetype.UNMOVABLE, Migratetype.RECLAIMABLE
RELEASES = ["5.15", "seed", "6.1"]


def with_pages_at_the_start(release: str, count: int, **options: object) -> Zone:
    zone = Zone(4096, release)
    for owner in range(count):
        zone.alloc(0, M, owner=owner, **options)
    return zone


def test_pages_move_in_batches_of_32_highest_first() -> None:
    zone = with_pages_at_the_start("6.1", 40)
    taken = zone.alloc_contig_range(0, 512)
    sources = [source for source, _, _ in taken.moved]
    assert sources == [*range(31, -1, -1), *range(39, 31, -1)]
    # [512, 1024) is free in the same max order block: its pages are the targets, in the allocator's order
    assert [target for _, target, _ in taken.moved] == list(range(512, 552))


def test_owners_follow_their_pages() -> None:
    zone = with_pages_at_the_start("6.1", 40)
    moved = {source: target for source, target, _ in zone.alloc_contig_range(0, 512).moved}
    for owner in range(40):
        target = moved[owner]
        assert target is not None
        assert zone.page(target).owner == owner


def test_old_rule_moves_out_of_the_whole_window() -> None:
    taken = with_pages_at_the_start("5.15", 40).alloc_contig_range(0, 512)
    assert taken.moved[0] == (31, 1024, 0)


@pytest.mark.parametrize("release", RELEASES)
def test_a_pinned_page_passes_isolation_and_refuses_the_range(release: str) -> None:
    zone = Zone(4096, release)
    zone.alloc(0, M)
    pinned = zone.alloc(0, M, pinned=True)
    zone.alloc(0, M)
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(0, 512)
    assert (refused.value.errno, refused.value.step, refused.value.pfn) == (16, "test_pages_isolated", pinned)
    assert zone.page(pinned).page_class == PageClass.ANON
    zone.check()


def test_an_unmovable_page_is_found_wherever_it_stands_among_pages_alike() -> None:
    for at in range(4, 40):
        zone = Zone(4096)
        for pfn in range(64):
            zone.alloc(0, M, PageClass.SLAB if pfn == at else PageClass.ANON)
        with pytest.raises(ContigRefused) as refused:
            zone.alloc_contig_range(0, 512)
        assert (refused.value.step, refused.value.pfn) == ("start_isolate_page_range", at)


def test_pages_behind_a_pinned_file_page_are_not_tried() -> None:
    zone = Zone(4096)
    for i in range(64):
        zone.alloc(0, M, PageClass.FILE, pinned=i == 5, owner=i)
    with pytest.raises(ContigRefused):
        zone.alloc_contig_range(0, 512)
    stayed = [pfn for pfn in range(64) if zone.page(pfn).page_class == PageClass.FILE]
    assert stayed == [5, *range(32, 64)]


def test_clean_file_pages_are_dropped_instead_of_moved() -> None:
    zone = Zone(4096)
    clean = zone.alloc(0, M, PageClass.FILE, clean=True)
    dirty = zone.alloc(0, M, PageClass.FILE)
    taken = zone.alloc_contig_range(0, 512)
    assert taken.reclaimed == (clean,)
    assert [source for source, _, _ in taken.moved] == [dirty]


def test_no_target_is_enomem_and_everything_is_given_back() -> None:
    zone = Zone(2048)
    for _ in range(2048):
        zone.alloc(0, M)
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(0, 512)
    assert (refused.value.errno, refused.value.rule) == (12, "no free page is left to migrate to")
    assert zone.nr_isolate_pageblock == 0
    zone.check()


def test_a_thp_without_a_target_is_split_and_its_pages_move() -> None:
    zone = Zone(2048)
    thp = zone.alloc(9, M)
    assert thp == 0
    rest = [zone.alloc(0, M) for _ in range(1536)]
    for pfn in rest[::2]:
        zone.free(pfn)
    taken = zone.alloc_contig_range(0, 512)
    assert [source for source, _, _ in taken.moved][:3] == [511, 510, 509]
    assert len(taken.moved) == 512
    zone.check()


def test_a_thp_across_the_boundary_moves_whole() -> None:
    zone = Zone(4096)
    assert zone.alloc(10, M) == 0
    taken = zone.alloc_contig_range(0, 512)
    assert taken.moved == ((0, 1024, 10),)
    assert zone.nr_free_pages == 4096 - 1024 - 512
    zone.check()


def test_a_kernel_compound_page_across_the_boundary_refuses() -> None:
    zone = Zone(4096)
    zone.alloc(10, U, PageClass.COMPOUND)
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(512, 1024)
    assert refused.value.pfn == 512


@pytest.mark.parametrize(("release", "first", "errno"), [("5.15", 1024, 12), ("6.1", 0, 12), ("6.1", 512, 16)])
def test_a_gigantic_huge_page_refuses(release: str, first: int, errno: int) -> None:
    """6.1 meets one that crosses the range's start during isolation, which answers -EBUSY for whatever goes wrong."""
    zone = Zone(8192, release, populate=False)
    zone.load_pages([0], [4096], [PageClass.HUGETLB], [12], [0x20])
    zone.load_free([4096, 5120, 6144, 7168], [10] * 4, [1] * 4)
    with pytest.raises(ContigRefused, match="a gigantic huge page lies in the range") as refused:
        zone.alloc_contig_range(first, 5120)
    assert refused.value.errno == errno
    zone.check()


def test_interrupt_gives_every_pageblock_its_type_back_in_the_seed() -> None:
    zone = Zone(4096, "seed")
    zone.free(zone.alloc(0, U))
    before = zone.copy()
    zone.set_signal_pending(True)
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(0, 512)
    zone.set_signal_pending(False)
    assert refused.value.errno == 4
    assert zone.pageblock_types.tolist() == before.pageblock_types.tolist()
    assert zone.nr_free_pages == before.nr_free_pages
    zone.check()


def test_a_failed_request_on_6_1_unisolates_what_others_isolated() -> None:
    """Kernel facts 12: the undo runs after a failed isolation too; 5.15 returns."""
    left = {}
    for release in ("5.15", "6.1"):
        zone = Zone(8192, release)
        zone.start_isolate_page_range(0, 1024)
        with pytest.raises(ContigRefused, match="isolated already"):
            zone.alloc_contig_range(0, 1024)
        left[release] = zone.nr_isolate_pageblock
    assert left == {"5.15": 2, "6.1": 0}


@pytest.mark.parametrize("release", RELEASES)
def test_free_contig_range_restores_the_free_pages(release: str) -> None:
    zone = Zone(8192, release)
    zone.alloc_contig_range(1000, 3000)
    zone.check()
    zone.free_contig_range(1000, 2000)
    zone.check()
    assert zone.nr_free_pages == 8192
    assert sorted(zone.free_list(10, M).tolist()) == [*range(0, 8192, 1024)]


def test_alloc_contig_pages_takes_the_lowest_aligned_range_that_can_be_had() -> None:
    zone = Zone(8192, start_pfn=1024 * 5)
    zone.alloc(0, U)
    taken = zone.alloc_contig_pages(2048)
    assert (taken.start_pfn, taken.end_pfn) == (6144, 8192)


def test_alloc_contig_pages_skips_huge_pages_and_reserved_memory() -> None:
    zone = Zone(4096, populate=False)
    zone.load_pages([0, 1024], [512, 1], [PageClass.HUGETLB, PageClass.RESERVED], [9, 0], [0x20, 0])
    zone.load_free([512, 2048, 3072], [9, 10, 10], [1] * 3)
    assert zone.alloc_contig_pages(512).start_pfn == 512
    assert zone.alloc_contig_pages(1024).start_pfn == 2048


def test_a_cma_request_takes_cma_pageblocks_and_a_movable_one_does_not() -> None:
    zone = Zone(4096, populate=False)
    zone.load_pages([0], [1024], [PageClass.RESERVED], [0], [0])
    zone.load_free([1024, 2048, 3072], [10] * 3, [1] * 3)
    for pfn in (0, 512):
        zone.init_cma_reserved_pageblock(pfn)
    assert zone.nr_free_cma_pages == 1024
    zone.check()
    with pytest.raises(ContigRefused, match="the pageblock is CMA"):
        zone.alloc_contig_range(0, 512)
    zone.alloc_contig_range(0, 512, Migratetype.CMA)
    assert zone.nr_free_cma_pages == 512
    assert zone.pageblock_types[:2].tolist() == [Migratetype.CMA] * 2
    zone.check()


@pytest.mark.parametrize("release", ["5.15+p1", "seed", "6.1", "6.12", "6.19"])
@pytest.mark.parametrize(("start", "end"), [(0, 16), (8, 24), (16, 32), (8, 32), (40, 56)])
def test_a_loaded_area_leaves_no_buddies_apart(release: str, start: int, end: int) -> None:
    """Four pageblocks to a max order block: what lies inside and outside the area is as large as merging makes it."""
    zone = Zone(64, release, max_order=5, pageblock_order=3)
    zone.load_cma(start, end)
    zone.check()
    assert zone.nr_free_cma_pages == end - start


def cma_beside_movable(release: str) -> Zone:
    """A CMA pageblock whose buddy is a free MOVABLE pageblock, as an area of pageblock alignment has."""
    zone = Zone(2048, release, populate=False)
    zone.load_pages([512], [512], [PageClass.RESERVED], [0], [0])
    zone.load_free([0, 1024], [9, 10], [1, 1])
    zone.init_cma_reserved_pageblock(512)
    return zone


@pytest.mark.parametrize(
    ("release", "merged"), [("5.15", True), ("5.15+p1", False), ("seed-p1", True), ("seed", False)]
)
def test_patch_1_keeps_cma_from_merging_with_movable(release: str, merged: bool) -> None:
    zone = cma_beside_movable(release)
    orders = [zone.page(pfn).order for pfn in (0, 512)]
    assert (orders == [10, 10]) is merged


@pytest.mark.parametrize(
    ("release", "refused"), [("5.15", True), ("5.15+p3", False), ("seed-p3", True), ("seed", False)]
)
def test_patch_3_looks_only_at_the_request(release: str, refused: bool) -> None:
    zone = Zone(4096, release)
    zone.alloc(9)
    zone.alloc(0, U)  # takes the max order block [1024, 2048)
    if refused:
        with pytest.raises(ContigRefused):
            zone.alloc_contig_range(1536, 2048)
    else:
        zone.alloc_contig_range(1536, 2048)


@pytest.mark.parametrize(
    ("release", "kept"), [("5.15+p3", False), ("5.15+p3+p4", True), ("seed", True), ("seed-p4", False)]
)
def test_patch_4_restores_the_types_outside_the_request(release: str, kept: bool) -> None:
    zone = Zone(4096, release)
    zone.free(zone.alloc(0, U))
    zone.alloc_contig_range(0, 512)
    assert bool(zone.pageblock_types[1] == U) is kept


def test_operations_and_calls_agree() -> None:
    from pageblock import OPERATION

    by_call, by_run = Zone(4096), Zone(4096)
    first = [by_call.alloc(0, M, owner=h) for h in range(100)]
    ops = np.zeros(100, OPERATION)
    ops["op"], ops["migratetype"], ops["flags"], ops["handle"] = 1, M, PageClass.ANON, range(100)
    assert by_run.run(ops).tolist() == first
    assert by_call == by_run
