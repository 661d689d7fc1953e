"""Free blocks over pages in use, which the posted series leaves behind, and what becomes of them (mm/page_alloc.c, 5.15)."""

import pytest

from pageblock import ContigRefused, Zone
from pageblock.errors import InvariantError

from .test_rules_layout import M, zone_of


def covered_zone() -> Zone:
    """A free pageblock at 32 over 30 pages in use: a request up to 32 met the free pair there (fault c)."""
    zone = zone_of("seed-as-posted", "M: d*32", "M: f1 d*30", "M: f6", "M:", max_order=6, pageblock_order=5)
    zone.alloc_contig_range(0, 32)
    assert zone.free_list(5, M).tolist() == [32, 96]
    return zone


def test_an_order_with_per_cpu_lists_is_looked_at_by_its_first_page() -> None:
    """check_new_pcp takes one page: the block of pageblock order is handed out although 30 of its pages are in use."""
    assert covered_zone().alloc(5, M) == 32


def test_a_dropped_block_of_another_order_stays_counted() -> None:
    """check_new_pages looks at all of order 4: both halves are dropped; rmqueue subtracts what it hands out only."""
    zone = covered_zone()
    before = zone.nr_free_pages
    assert zone.alloc(4, M) == 96
    assert zone.nr_free_pages == before - 16


def test_a_block_over_pages_in_use_is_not_freed() -> None:
    """free_pages_prepare finds them bad: the block is on no list afterwards, and not counted."""
    zone = covered_zone()
    pfn = zone.alloc(5, M)
    before = zone.nr_free_pages
    zone.free(pfn)
    assert 32 not in zone.free_list(5, M).tolist() + zone.free_list(6, M).tolist()
    assert zone.nr_free_pages == before


def test_isolation_looks_at_the_pages_beneath() -> None:
    """has_unmovable_pages goes from page to page, as the second pageblock of a free page has no head: a pinned one refuses."""
    zone = zone_of("seed-as-posted", "M: d*32", "M: f1 k*30", "M: f6", "M:", max_order=6, pageblock_order=5)
    zone.alloc_contig_range(0, 32)
    for pfn in range(32):
        zone.free(pfn)
    assert zone.free_list(6, M).tolist() == [0]
    with pytest.raises(ContigRefused):
        zone.alloc_contig_range(32, 64)


def test_a_listed_page_that_is_handed_out_stays_listed() -> None:
    """Fault c: a small free page in front is freed as a whole pageblock over other listed ones, which a request then takes."""
    zone = zone_of("seed+fc", "U: f4", "M: f2 f2 f3", "R: f4", "M: f4", max_order=6)
    zone.alloc_contig_range(18, 32)
    listed = {pfn for order in range(7) for mt in range(6) for pfn in zone.free_list(order, mt).tolist()}
    assert {20, 24} <= listed
    with pytest.raises(InvariantError):
        zone.check()
