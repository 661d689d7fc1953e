"""The mistakes of history that can be planted: each does what it did, beside 6.1, which does not."""

import pytest

from pageblock import ContigRefused, KernelBugError, Migratetype, PageClass, Zone
from pageblock.errors import ReleaseError
from pageblock.mm import PLANTED, RELEASES
from pageblock.mm import release as find_release

from .test_rules_layout import C, M, lists, types, zone_of


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_changes_its_rules_only(bug: str) -> None:
    planted = PLANTED[bug]
    found, clean = find_release(f"{planted.base}+bug-{bug}"), RELEASES[planted.base]
    changed = {i: new for i, (old, new) in enumerate(zip(clean.rules, found.rules, strict=True)) if old != new}
    assert changed == dict(planted.rules)
    assert found.base == planted.base
    assert planted.title in found.summary


@pytest.mark.parametrize("bug", sorted(PLANTED.keys() - {"merges-cma"}))
def test_no_release_has_it(bug: str) -> None:
    """But 5.15, which merges CMA as it was before 5.18."""
    ((rule, choice),) = PLANTED[bug].rules
    assert all(release.rules[rule] != choice for release in RELEASES.values())


@pytest.mark.parametrize(("name", "free"), [("6.1", 16), ("6.1+bug-uncounted-split", 48)])
def test_a_free_page_that_is_cut_leaves_the_counters(name: str, free: int) -> None:
    """86d28b070927: NR_FREE_PAGES grew with every cut."""
    zone = zone_of(name, "M: f5", "M:")
    zone.start_isolate_page_range(16, 32)
    assert zone.nr_free_pages == free


@pytest.mark.parametrize("end", [16, 32, 33, 48, 63])
def test_the_smallest_piece_first_is_not_always_aligned(end: int) -> None:
    """88ee134320b8: 48 of 64 pages are a piece of 32 and one of 16, not the reverse."""
    wrong, right = (
        zone_of(name, "M: f6", "M:", "M:", "M:", max_order=6) for name in ("6.1+bug-misaligned-split", "6.1")
    )
    right.alloc_contig_range(0, end)
    if end in (33, 48):
        with pytest.raises(KernelBugError, match="__free_one_page") as stopped:
            wrong.alloc_contig_range(0, end)
        assert stopped.value.pfn == 16
    else:
        wrong.alloc_contig_range(0, end)
        assert wrong.nr_free_pages == right.nr_free_pages


@pytest.mark.parametrize(("start", "end"), [(0, 16), (4, 8), (0, 32)])
def test_the_only_pageblock_of_a_range_is_isolated_twice(start: int, end: int) -> None:
    """9b209e557d69."""
    zone = zone_of("6.1+bug-isolated-twice", "M: f5", "M:")
    if end == 32:
        assert zone.alloc_contig_range(start, end).isolated == (0, 16)
        return
    with pytest.raises(ContigRefused, match="isolated already") as refused:
        zone.alloc_contig_range(start, end)
    assert (refused.value.errno, types(zone), zone.nr_free_pages) == (16, [M, M], 32)


def test_a_movable_request_turns_cma_movable() -> None:
    """80e2b584f3ab: the boundary pageblocks were isolated for their own types."""
    zone = zone_of("6.1+bug-saved-type", "C: f4", "M: f4")
    zone.alloc_contig_range(0, 4)
    assert types(zone) == [M, M]
    clean = zone_of("6.1", "C: f4", "M: f4")
    with pytest.raises(ContigRefused, match="the pageblock is CMA"):
        clean.alloc_contig_range(0, 4)
    assert types(clean) == [C, M]


@pytest.mark.parametrize(("name", "errno"), [("6.1+bug-tail-size", None), ("6.1", 12)])
def test_the_scan_before_a_boundary_never_leaves_a_gigantic_page(name: str, errno: int | None) -> None:
    """compound_nr of a tail page is 1. A gigantic page has no target: -ENOMEM."""
    zone = Zone(256, name, 0, 5, 4)
    zone.alloc_contig_range(64, 128)
    zone.prep_compound_page(64, 6, PageClass.HUGETLB)
    if errno is None:
        with pytest.raises(KernelBugError, match="same tail page for ever"):
            zone.alloc_contig_range(112, 128)
    else:
        with pytest.raises(ContigRefused) as refused:
            zone.alloc_contig_range(112, 128)
        assert refused.value.errno in (errno, 16)


@pytest.mark.parametrize(
    ("name", "merged"), [("6.1", False), ("6.1+bug-merges-cma", True), ("6.1+bug-merges-isolated", True)]
)
def test_a_cma_pageblock_beside_a_movable_one(name: str, merged: bool) -> None:
    zone = zone_of(name, "M: f4", "C: k f0 f1 f2 f3")
    zone.free(16)
    assert lists(zone, C) == ({5: [0]} if merged else {4: [16]})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("6.1+bug-none", "no such bug"),
        ("6.12+bug-saved-type", "no such bug"),
        ("6.1+bug-", "no such bug"),
        ("seed-fa", r"fa .* is off already"),
        ("seed+p1", r"p1 .* is on already"),
        ("seed-p2-p2", r"p2 .* is off already"),
        ("5.15-p4", r"p4 .* is off already"),
        ("seed-as-posted+fc", r"fc .* is on already"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        find_release(name)


def test_a_freed_page_merges_with_the_isolated_half_beside_it() -> None:
    """8.1 D: pages of an isolated pageblock lie on a MOVABLE list, and are not counted."""
    zone = zone_of("6.1+bug-merges-isolated", "M: k f0 f1 f2 f3", "M: f4")
    zone.start_isolate_page_range(16, 32)
    zone.free(0)
    assert (lists(zone, M), types(zone)) == ({5: [0]}, [M, Migratetype.ISOLATE])
    assert zone.nr_free_pages == 16
