"""Small stories whose outcome is known to the pfn; 3, 6, 7, 8 and 10 were confirmed on running kernels."""

import pytest

from pageblock import ContigRefused, InvariantError, Migratetype, Zone

M, U = Migratetype.MOVABLE, Migratetype.UNMOVABLE


def lists(zone: Zone, migratetype: Migratetype = M) -> dict[int, list[int]]:
    """Non-empty free lists of a type, head first."""
    found = {order: zone.free_list(order, migratetype).tolist() for order in range(zone.geometry.max_order + 1)}
    return {order: pfns for order, pfns in found.items() if pfns}


def test_boot_lists_are_ascending() -> None:
    assert lists(Zone(4096)) == {10: [0, 1024, 2048, 3072]}


def test_1_order_0_comes_from_the_lowest_block_and_splits_it() -> None:
    zone = Zone(4096)
    assert zone.alloc(0) == 0
    assert lists(zone) == {o: [1 << o] for o in range(10)} | {10: [1024, 2048, 3072]}
    assert [zone.alloc(0) for _ in range(4)] == [1, 2, 3, 4]


def test_2_unmovable_falls_back_to_the_largest_block_and_takes_its_pageblocks() -> None:
    zone = Zone(4096)
    seen: list[tuple[int | None, ...]] = []
    zone.observe(
        lambda e: (
            seen.append((e.fields["alloc_order"], e.fields["fallback_order"], e.fields["change_ownership"]))
            if e.name == "kmem:mm_page_alloc_extfrag"
            else None
        )
    )
    assert zone.alloc(0, U) == 0
    assert seen == [(0, 10, 1)]
    assert zone.pageblock_types.tolist() == [U, U, M, M, M, M, M, M]
    assert zone.alloc(0, M) == 1024


def test_3_freed_pageblocks_merge_and_go_to_the_head() -> None:
    zone = Zone(4096)
    assert (zone.alloc(9), zone.alloc(9)) == (0, 512)
    zone.free(0)
    assert lists(zone)[9] == [0]
    zone.free(512)
    assert lists(zone) == {10: [0, 1024, 2048, 3072]}


def test_5_a_page_whose_parents_buddy_is_free_goes_to_the_tail() -> None:
    zone = Zone(4096)
    pfns = [zone.alloc(0) for _ in range(6)]
    assert pfns == [0, 1, 2, 3, 4, 5]
    zone.free(5)  # lists 5 alone at order 0: [5]... its buddy 4 is in use
    zone.free(2)
    zone.free(3)
    zone.free(1)  # the parent [0, 2)'s buddy [2, 4) is free: likely to merge soon
    assert lists(zone)[0] == [5, 1]


@pytest.mark.parametrize(("release", "isolated"), [("6.1", (512,)), ("5.15", (0, 512))])
def test_6_and_10_half_a_window(release: str, isolated: tuple[int, ...]) -> None:
    zone = Zone(4096, release)
    taken = zone.alloc_contig_range(512, 1024)
    assert taken.isolated == isolated
    assert lists(zone) == {9: [0], 10: [1024, 2048, 3072]}
    assert zone.nr_free_pages == 4096 - 512
    assert set(zone.pageblock_types.tolist()) == {M}


def test_7_a_range_inside_a_pageblock_gives_back_its_surroundings() -> None:
    zone = Zone(4096)
    zone.alloc_contig_range(600, 700)
    assert lists(zone) == {
        2: [700],
        3: [592],
        4: [576],
        6: [512, 704],
        8: [768],
        9: [0],
        10: [1024, 2048, 3072],
    }
    assert zone.nr_free_pages == 4096 - 100


def test_8_a_range_across_max_order_blocks() -> None:
    zone = Zone(4096)
    taken = zone.alloc_contig_range(1024 - 256, 1024 + 256)
    assert taken.split == ((0, 10), (1024, 10))
    assert lists(zone) == {8: [512, 1280], 9: [1536, 0], 10: [2048, 3072]}
    assert zone.nr_free_pages == 4096 - 512


def isolate_half_a_free_page_and_allocate_from_it(release: str) -> Zone:
    """The seed's accounting issue (S1): isolate the second half of a free page, allocate, give back."""
    zone = Zone(4096, release)
    zone.start_isolate_page_range(512, 1024)
    zone.alloc(0)
    zone.undo_isolate_page_range(512, 1024)
    return zone


def test_11_naive_counts_half_a_free_page_twice_for_ever() -> None:
    zone = isolate_half_a_free_page_and_allocate_from_it("naive")
    assert zone.nr_free_pages == 4607
    with pytest.raises(InvariantError, match=r"counted 4607, really free 4095 \(drift \+512\)"):
        zone.check()


@pytest.mark.parametrize("release", ["5.15", "seed", "6.1"])
def test_11_no_other_release_drifts(release: str) -> None:
    zone = isolate_half_a_free_page_and_allocate_from_it(release)
    assert zone.nr_free_pages == 4095
    zone.check()


def test_naive_lets_an_isolated_pageblock_be_allocated() -> None:
    zone = Zone(4096, "naive")
    zone.start_isolate_page_range(512, 1024)
    with pytest.raises(InvariantError, match="isolated list"):
        zone.check()
    assert zone.alloc(10) == 0  # its second half is isolated


def test_undo_writes_the_callers_type_where_the_seed_restores() -> None:
    """UNMOVABLE free blocks 0 and 1, contig [0, 512): both become MOVABLE on 5.15, only the first on 6.1 and seed."""
    types = {}
    for release in ("5.15", "6.1", "seed"):
        zone = Zone(4096, release)
        zone.free(zone.alloc(0, U))
        zone.alloc_contig_range(0, 512)
        types[release] = zone.pageblock_types[:2].tolist()
    assert types == {"5.15": [M, M], "6.1": [M, U], "seed": [M, U]}


@pytest.mark.parametrize("release", ["seed", "6.1", "naive"])
def test_an_unmovable_page_in_the_other_half_of_the_window_does_not_matter(release: str) -> None:
    zone = Zone(4096, release)
    zone.alloc(9)
    assert zone.alloc(0, U) == 1024
    zone.alloc_contig_range(1536, 2048)


def test_an_unmovable_page_in_the_other_half_of_the_window_refuses_the_old_rule() -> None:
    zone = Zone(4096, "5.15")
    zone.alloc(9)
    assert zone.alloc(0, U) == 1024
    with pytest.raises(ContigRefused) as refused:
        zone.alloc_contig_range(1536, 2048)
    assert (refused.value.errno, refused.value.step, refused.value.pfn) == (16, "start_isolate_page_range", 1024)
