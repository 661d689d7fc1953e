"""From a page's word in /proc/kpageflags, its kpagecount and its page_owner entry to the state that the causes judge."""

from ..machine import kpf
from .causes import PageState

__all__ = ["page_state"]

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
