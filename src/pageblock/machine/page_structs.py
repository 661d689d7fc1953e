"""What ``struct page`` says of a page: the word that /proc/kpageflags would show, references beyond the known ones.

Works on whole columns of struct fields in numpy, whoever read them. Sources: fs/proc/page.c (stable_page_flags),
include/linux/page-flags.h, mm/migrate.c (folio_expected_refs), 6.1 and 6.12. The fields' places and the bits' numbers come
from the kernel's own debug information; what it does not hold stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import kpf

__all__ = ["Bits", "PageColumns", "kpageflags_words", "movable_by_driver", "unexplained_references"]

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
Bools = NDArray[np.bool_]

#: Flags of a page and the bits that kpageflags shows them by.
SHOWN = {
    "PG_locked": kpf.KPF_LOCKED,
    "PG_referenced": kpf.KPF_REFERENCED,
    "PG_uptodate": kpf.KPF_UPTODATE,
    "PG_dirty": kpf.KPF_DIRTY,
    "PG_lru": kpf.KPF_LRU,
    "PG_active": kpf.KPF_ACTIVE,
    "PG_writeback": kpf.KPF_WRITEBACK,
    "PG_reclaim": kpf.KPF_RECLAIM,
    "PG_unevictable": kpf.KPF_UNEVICTABLE,
    "PG_swapbacked": kpf.KPF_SWAPBACKED,
    "PG_hwpoison": kpf.KPF_HWPOISON,
    "PG_slab": kpf.KPF_SLAB,
    "PG_reserved": kpf.HIGH_RESERVED << 32,
    "PG_mlocked": kpf.HIGH_MLOCKED << 32,
}

#: Types of a page (page_type) before 6.11: a base, and a bit that is clear for its type (#defines, in no debug information).
TYPE_BASE = 0xF0000000
TYPE_BITS = {"buddy": 0x80, "offline": 0x100, "table": 0x200}

#: Low bits of ``mapping``: anonymous; movable by the driver.
MAPPING_ANON, MAPPING_MOVABLE = 1, 2


@dataclass(frozen=True)
class Bits:
    """Numbers of page flags by name, and since 6.11 those of page types (``enum pagetype``: buddy, offline …)."""

    flags: Mapping[str, int]
    types: Mapping[str, int]

    def mask(self, name: str) -> np.uint64:
        """Mask of a flag; 0 where this kernel does not have it."""
        return np.uint64(1 << self.flags[name]) if name in self.flags else np.uint64(0)

    def typed(self, page_type: U32) -> Bools:
        """Pages with a type: their _mapcount is none."""
        if self.types:
            kind = page_type >> np.uint32(24)
            return np.asarray((kind >= min(self.types.values())) & (kind < 0xFF))
        # every type's value lies below -128, as a mapcount never does
        return np.asarray(page_type.astype(np.int32) < -128)

    def of_type(self, page_type: U32, name: str) -> Bools:
        """Pages of a type; none where this kernel has no such type."""
        if self.types:
            return np.asarray((page_type >> np.uint32(24)) == self.types.get(name, 0x100))
        bit = TYPE_BITS.get(name)
        if bit is None:
            return np.zeros(len(page_type), np.bool_)
        return np.asarray((page_type & np.uint32(TYPE_BASE | bit)) == TYPE_BASE)


@dataclass(frozen=True)
class PageColumns:
    """Fields of consecutive struct pages. ``hugetlb``: whether a compound head is a hugetlb page (destructor or type)."""

    flags: U64
    compound_head: U64
    mapping: U64
    page_type: U32
    refcount: NDArray[np.int32]
    hugetlb: Bools

    @property
    def tail(self) -> Bools:
        """Pages of a compound page but its first."""
        return np.asarray(self.compound_head & np.uint64(1) != 0)


def kpageflags_words(pages: PageColumns, bits: Bits) -> U64:
    """The words of the pages, as far as ``kpageflags.classify`` and the scan look at them. Free blocks: their heads only."""
    words = np.zeros(len(pages.flags), np.uint64)

    def show(where: Bools, bit: int) -> None:
        words[where] |= np.uint64(bit)

    tail, typed = pages.tail, bits.typed(pages.page_type)
    head = (pages.flags & bits.mask("PG_head") != 0) & ~tail
    slab = (pages.flags & bits.mask("PG_slab") != 0) | bits.of_type(pages.page_type, "slab")
    for name, bit in SHOWN.items():
        show(pages.flags & bits.mask(name) != 0, bit)
    show(slab & ~tail, kpf.KPF_SLAB)
    show((pages.mapping & np.uint64(MAPPING_ANON) != 0) & ~slab & ~tail & ~typed, kpf.KPF_ANON)
    show((pages.page_type.astype(np.int32) >= 0) & ~typed & ~slab & ~tail, kpf.KPF_MMAP)
    show(head, kpf.KPF_COMPOUND_HEAD)
    show(tail, kpf.KPF_COMPOUND_TAIL)
    show(head & pages.hugetlb, kpf.KPF_HUGE)
    show(bits.of_type(pages.page_type, "buddy") & ~tail, kpf.KPF_BUDDY)
    show(bits.of_type(pages.page_type, "offline") & ~tail, kpf.KPF_OFFLINE)
    show(bits.of_type(pages.page_type, "table") & ~tail, kpf.KPF_PGTABLE)
    return words


def movable_by_driver(pages: PageColumns, bits: Bits) -> Bools:
    """Single pages that their driver can move (zsmalloc, balloon): __PageMovable, up to 6.12."""
    slab = (pages.flags & bits.mask("PG_slab") != 0) | bits.of_type(pages.page_type, "slab")
    compound = pages.tail | (pages.flags & bits.mask("PG_head") != 0)
    on_lru = pages.flags & bits.mask("PG_lru") != 0
    low = pages.mapping & np.uint64(MAPPING_ANON | MAPPING_MOVABLE)
    return np.asarray((low == MAPPING_MOVABLE) & ~slab & ~compound & ~on_lru & (pages.refcount > 0))


def unexplained_references(pages: PageColumns, bits: Bits) -> I64:
    """Of single pages on the LRU: references beyond those of mappings, page or swap cache, and buffers; else 0.

    One that stays is a pin (get_user_pages, a driver, a filesystem) and makes migration fail; per-cpu LRU batches hold one too.
    """

    def has(name: str) -> Bools:
        return np.asarray(pages.flags & bits.mask(name) != 0)

    anon = pages.mapping & np.uint64(MAPPING_ANON) != 0
    cached = ((pages.mapping != 0) & ~anon) | (anon & has("PG_swapcache") & has("PG_swapbacked"))
    single = has("PG_lru") & ~pages.tail & ~has("PG_head") & ~bits.typed(pages.page_type)
    # a page without mappings holds -1
    mapped = pages.page_type.astype(np.int32).astype(np.int64) + 1
    expected = mapped + cached + has("PG_private")
    return np.where(single & (pages.refcount > 0), np.maximum(pages.refcount - expected, 0), 0)
