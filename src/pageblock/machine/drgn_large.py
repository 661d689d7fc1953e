"""References of large pages in a kernel dump: THPs and other large folios on the LRU, and hugetlb pages.

Their counts stand in the struct pages behind the head (struct folio); where, and what they count, changed with the release.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .page_structs import Bits, PageColumns

__all__ = ["LargeLayout", "LargePages", "large_pages"]

I64 = NDArray[np.int64]

#: First kernel whose page cache holds a reference for each page of a hugetlb page; before it was one (a08c7193e4f1).
CACHED_WHOLE = (6, 7)


@dataclass(frozen=True)
class LargeLayout:
    """Where the counts stand, in bytes from the head's struct page; -1: this kernel has no such count.

    ``total``: of all mappings (since 6.10, 05c5323b2a34); ``entire``: of mappings of the whole; ``pins``: FOLL_PIN;
    ``double``: bit of a flag in the first tail up to 6.1 (PG_double_map), after which each page mapped is counted once more;
    ``cached_whole``: CACHED_WHOLE. Up to 6.1 a file's pages each count the mappings of the whole, too (``entire_in_each``).
    """

    total: int
    entire: int
    pins: int
    double: int
    entire_in_each: bool
    cached_whole: bool

    @classmethod
    def of(cls, program: Any, version: tuple[int, int]) -> "LargeLayout":
        """The layout of a kernel, by what its debug information names."""
        from drgn import offsetof

        page = program.type("struct page")

        def place(*names: tuple[str, str, int]) -> int:
            for kind, member, pages in names:
                try:
                    offset: int = offsetof(program.type(f"struct {kind}"), member) + pages * page.size
                    return offset
                except LookupError:
                    continue
            return -1

        flags = dict(program.type("enum pageflags").enumerators)
        entire = place(
            ("folio", "_entire_mapcount", 0), ("folio", "_total_mapcount", 0), ("page", "compound_mapcount", 1)
        )
        return cls(
            total=place(("folio", "_large_mapcount", 0)),
            entire=entire,
            # second tail up to 5.17, then the first
            pins=place(
                ("folio", "_pincount", 0), ("page", "compound_pincount", 1), ("page", "hpage_pinned_refcount", 2)
            ),
            double=flags.get("PG_double_map", -1),
            entire_in_each="PG_double_map" in flags,
            cached_whole=version >= CACHED_WHOLE,
        )


@dataclass(frozen=True)
class LargePages:
    """Heads of a piece of the memory map, by index; references beyond those of mappings, cache and buffers (``extra``)."""

    at: I64
    mapcount: I64
    pins: I64
    extra: I64


def large_pages(
    pages: PageColumns, bits: Bits, layout: LargeLayout, count: Callable[[I64, int, str], NDArray[Any]]
) -> LargePages:
    """Heads of large pages that can migrate. ``count(heads, offset, dtype)`` reads a field behind each head.

    Source: include/linux/mm.h, folio_expected_ref_count (6.12), folio_mapcount; mm/util.c, folio_mapcount (6.1);
    mm/migrate.c, migrate_huge_page_move_mapping (6.1).
    """

    def has(name: str) -> NDArray[np.bool_]:
        return np.asarray(pages.flags[at] & bits.mask(name) != 0)

    head = (pages.flags & bits.mask("PG_head") != 0) & ~pages.tail
    on_lru = pages.flags & bits.mask("PG_lru") != 0
    # a compound page that ends behind this piece has its first two tails in it, or is left out
    at = np.flatnonzero(head & (on_lru | pages.hugetlb) & (pages.refcount > 0)).astype(np.int64)
    at = at[at + 2 < len(pages.flags)]
    heads = np.flatnonzero(~pages.tail).astype(np.int64)
    nr_pages = np.append(heads, len(pages.flags))[np.searchsorted(heads, at) + 1] - at
    hugetlb = pages.hugetlb[at]
    anon = pages.mapping[at] & np.uint64(1) != 0
    file = (pages.mapping[at] != 0) & ~anon
    swapped = anon & has("PG_swapcache") & has("PG_swapbacked")
    if layout.total >= 0:
        mapcount = count(at, layout.total, "<i4").astype(np.int64) + 1
    else:
        entire = count(at, layout.entire, "<i4").astype(np.int64) + 1
        each = np.append(0, np.cumsum(pages.page_type.astype(np.int32).astype(np.int64) + 1))
        sums = each[at + nr_pages] - each[at]
        if layout.entire_in_each:
            double = np.asarray(pages.flags[at + 1] >> np.uint64(layout.double) & np.uint64(1) != 0)
            sums -= np.where(file, entire * nr_pages, np.where(double, nr_pages, 0))
        mapcount = entire + np.where(hugetlb, 0, sums)
    pins = count(at, layout.pins, "<i4").astype(np.int64) if layout.pins >= 0 else np.full(len(at), -1, np.int64)
    cached = np.where(hugetlb & ~np.bool_(layout.cached_whole), 1, nr_pages)
    expected = mapcount + np.where(file | swapped, cached, 0) + (file & has("PG_private"))
    extra = np.maximum(pages.refcount[at] - expected, 0)
    return LargePages(at, mapcount, pins, extra)
