"""Compaction, each rule on both sides of its boundary.

Sources: mm/page_alloc.c: __isolate_free_page; mm/compaction.c: compaction_alloc, compaction_free; mm/migrate.c: migrate_pages
(6.1.192, 6.12.117). Pageblocks have 16 pages here; the free scanner stops before the one behind the migration scanner's.
"""

import pytest

from pageblock import PageClass

from .test_rules_layout import zone_of

BOTH = pytest.mark.parametrize("release", ["6.1", "6.12"])


@BOTH
@pytest.mark.parametrize(("wmark_min", "moves"), [(14, ((0, 32),)), (15, ())])
def test_a_free_page_is_taken_above_the_min_watermark_and_its_own_size(
    release: str, wmark_min: int, moves: tuple[tuple[int, int], ...]
) -> None:
    """__isolate_free_page: watermark = min + (1UL << order). 16 pages are free."""
    zone = zone_of(release, "M: a f0 f1 f2 f3", "M: k4", "M: f0 k*15")
    zone.set_watermarks(wmark_min, wmark_min, wmark_min)
    assert zone.compact_memory() == moves


@BOTH
def test_a_pinned_page_stays_and_gives_its_target_to_the_next(release: str) -> None:
    """Page 1 is tried first. 6.1: it takes 33, the last of the free page that was split, and puts it back at the head

    (compaction_free: list_add). 6.12: it takes 32, the lower half, and keeps it until the others have moved.
    """
    zone = zone_of(release, "M: i I f1 f2 f3", "M: k4", "M: f1 k*14")
    assert zone.compact_memory() == ((0, 33),)
    assert [zone.page(pfn).page_class for pfn in (0, 1, 32, 33)] == [
        PageClass.FREE,
        PageClass.FILE,
        PageClass.FREE,
        PageClass.FILE,
    ]


@pytest.mark.parametrize(
    ("release", "drawn", "moves"),
    [("6.1", "t3", ()), ("6.12", "t3", ((0, 32),)), ("6.1", "g3", ()), ("6.12", "g3", ())],
)
def test_6_12_moves_pages_smaller_than_a_pageblock_but_none_of_hugetlb(
    release: str, drawn: str, moves: tuple[tuple[int, int], ...]
) -> None:
    """isolate_migratepages_block: skip_isolation_on_order; PageHuge goes to isolate_or_dissolve_huge_page only for CMA."""
    assert zone_of(release, f"M: {drawn} f3", "M: k4", "M: f3 k*8").compact_memory() == moves
