"""From what a snapshot has of a page to the state that the causes judge.

That is its class in the runs, its page_owner entry, its references where a kernel dump counted them; or its own word of
/proc/kpageflags with its kpagecount.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..machine import Snapshot, kpf
from ..mm import Migratetype, PageClass, PageFlag
from .causes import PageState

__all__ = ["PageFacts", "page_state"]

Words = npt.NDArray[np.int64]

#: Bit of kpageflags -> the name that page dumps print for it (include/trace/events/mmflags.h).
_NAMES = {
    kpf.KPF_LOCKED: "locked",
    kpf.KPF_REFERENCED: "referenced",
    kpf.KPF_UPTODATE: "uptodate",
    kpf.KPF_DIRTY: "dirty",
    kpf.KPF_LRU: "lru",
    kpf.KPF_ACTIVE: "active",
    kpf.KPF_SLAB: "slab",
    kpf.KPF_WRITEBACK: "writeback",
    kpf.KPF_RECLAIM: "reclaim",
    kpf.KPF_SWAPCACHE: "swapcache",
    kpf.KPF_SWAPBACKED: "swapbacked",
    kpf.KPF_UNEVICTABLE: "unevictable",
    kpf.KPF_HWPOISON: "hwpoison",
    kpf.HIGH_RESERVED << 32: "reserved",
    kpf.HIGH_MLOCKED << 32: "mlocked",
    # PG_private (buffer heads) and PG_private_2 (fscache)
    1 << 35: "private",
    1 << 36: "private_2",
}

#: Bit -> the page's type.
_TYPES = {kpf.KPF_HUGE: "hugetlb", kpf.KPF_OFFLINE: "offline", kpf.KPF_PGTABLE: "table"}


def page_state(
    word: int, *, pfn: int | None = None, mapcount: int | None = None, order: int = 0, cma: bool = False
) -> PageState:
    """A page as /proc tells it. References are not told, so that pins stay unknown.

    ``word``: of kpageflags; ``mapcount``: of kpagecount; ``order``: of its compound page; ``cma``: in a CMA pageblock.
    Source: fs/proc/page.c, stable_page_flags (6.1).
    """
    anon = bool(word & kpf.KPF_ANON)
    flags = frozenset(name for bit, name in _NAMES.items() if word & bit)
    # a page with the flags of the page cache that is not anonymous is a file's; kernel pages have none of them
    cached = not anon and bool(flags & {"lru", "uptodate", "swapbacked", "dirty", "writeback"}) and "slab" not in flags
    return PageState(
        pfn=pfn,
        flags=flags,
        page_type=next((name for bit, name in _TYPES.items() if word & bit), None),
        order=order,
        mapcount=mapcount,
        anon=anon,
        mapping=cached or None,
        cma=cma,
    )


#: A word of kpageflags for each class that a page is told by, and what to call it in place of its flags.
_TOLD: dict[int, tuple[int, str]] = {
    PageClass.KERNEL: (0, "kernel page"),
    PageClass.COMPOUND: (0, "kernel compound page"),
    PageClass.SLAB: (kpf.KPF_SLAB, ""),
    PageClass.PGTABLE: (kpf.KPF_PGTABLE, "page table"),
    PageClass.RESERVED: (kpf.HIGH_RESERVED << 32, ""),
    PageClass.OFFLINE: (kpf.KPF_OFFLINE, "not in use by this kernel"),
    PageClass.HWPOISON: (kpf.KPF_HWPOISON, ""),
    PageClass.PAGEVEC: (kpf.KPF_UPTODATE, ""),
    PageClass.HUGETLB: (kpf.KPF_HUGE, "huge page of the pool"),
    PageClass.ANON: (kpf.KPF_LRU | kpf.KPF_ANON | kpf.KPF_SWAPBACKED, ""),
    PageClass.FILE: (kpf.KPF_LRU | kpf.KPF_UPTODATE, ""),
    PageClass.THP: (kpf.KPF_LRU, ""),
}


class PageFacts:
    """Single pages of a snapshot, looked up in its runs. Only for the few that an answer names."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._columns: dict[int, tuple[Words, Words, Words, Words]] = {}

    def columns(self, zone: int) -> tuple[Words, Words, Words, Words]:
        """Start, class, order and flags of the runs of a zone (its index); they cover its span."""
        if zone not in self._columns:
            runs = self.snapshot.runs
            assert runs is not None
            first, last = np.searchsorted(runs["zone"].to_numpy(), [zone, zone + 1])
            start, page_class, order, flags = (
                runs[name].to_numpy()[first:last].astype(np.int64) for name in ("start_pfn", "class", "order", "flags")
            )
            self._columns[zone] = start, page_class, order, flags
        return self._columns[zone]

    def kinds(self, zone: int, pfns: Words) -> tuple[Words, Words, Words]:
        """Class, order and flags of the pages at these pfns, all in the zone."""
        start, page_class, order, flags = self.columns(zone)
        at = np.searchsorted(start, pfns, "right") - 1
        return page_class[at], order[at], flags[at]

    def is_cma(self, zone: int, pfn: int) -> bool:
        """Whether the page lies in a CMA pageblock."""
        info = self.snapshot.zones[zone]
        if info.block_types is None:
            return False
        shift = self.snapshot.pageblock_order
        return bool(info.block_types[(pfn >> shift) - (info.start_pfn >> shift)] == Migratetype.CMA)

    def state(self, zone: int, pfn: int) -> PageState:
        """What is known of one page of a zone."""
        [page_class], [order], [flags] = (c.tolist() for c in self.kinds(zone, np.array([pfn], np.int64)))
        held = None if self.snapshot.held is None else self.snapshot.held.of(pfn)
        owner = None if self.snapshot.owners is None else self.snapshot.owners.of(pfn)
        word, told = _TOLD.get(page_class, (0, PageClass(page_class).name.lower()))
        known = held if held is not None and flags & PageFlag.PINNED else None
        if page_class == PageClass.FILE and flags & PageFlag.PINNED and self.snapshot.held is None:
            # without counts of references only metadata that its journal holds is taken for held (machine/kpageflags)
            word |= kpf.KPF_DIRTY | 1 << 35
        found = page_state(
            word if known is None else known.word,
            pfn=pfn if known is None else known.pfn,
            mapcount=None if known is None else known.mapcount,
            order=order,
            cma=self.is_cma(zone, pfn),
        )
        if known is not None:
            found = replace(
                found, refcount=known.refcount, pins=known.pins if known.pins >= 0 else None, extra=known.extra
            )
        if page_class == PageClass.PAGEVEC:
            # of a process or of a file, the class does not tell which: either is a user's
            found = replace(found, flags=frozenset(), told="of a process or a file")
        return replace(
            found,
            told=found.told or told,
            owner=() if owner is None else (owner,),
            # a compound page is on no list either
            unlisted=self.snapshot.lists is not None or page_class == PageClass.COMPOUND,
        )
