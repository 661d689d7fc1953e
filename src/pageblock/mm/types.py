"""The words of the allocator: migratetypes, page classes, page flags.

The numbers are those that the kernel (migratetypes) or this package's compiled core (classes and
flags, see ``constants.py``) uses, so plain integers are accepted wherever a member is.
"""

from enum import IntEnum, IntFlag

__all__ = ["MOVABLE_CLASSES", "Migratetype", "PageClass", "PageFlag"]


class Migratetype(IntEnum):
    """Pageblock and free list types with the kernel's values.

    Source: ``enum migratetype``, include/linux/mmzone.h, 5.15 to 6.19, with CONFIG_CMA and
    CONFIG_MEMORY_ISOLATION. HIGHATOMIC shares its number with the kernel's MIGRATE_PCPTYPES.
    """

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    CMA = 4
    ISOLATE = 5


class PageClass(IntEnum):
    """What a page is used for, as far as the rules ask about it."""

    FREE = 0  #: on a buddy free list
    KERNEL = 1  #: allocated, no flag that makes it movable (driver, stack, vmalloc, contig range)
    ANON = 2  #: LRU, anonymous
    FILE = 3  #: LRU, file or shmem
    MOVABLE_OPS = 4  #: non-LRU movable (balloon, zsmalloc): __PageMovable
    SLAB = 5
    PGTABLE = 6
    RESERVED = 7  #: PG_reserved: boot memory, firmware, memmap, holes inside an online section
    HUGETLB = 8
    THP = 9  #: compound page on the LRU
    COMPOUND = 10  #: other compound page, not movable
    OFFLINE = 11  #: PageOffline (balloon, virtio-mem)
    HWPOISON = 12
    HOLE = 13  #: no online page at this pfn
    PCP = 14  #: free, but on a per-cpu list
    PAGEVEC = 15  #: user page that waits in a per-cpu LRU batch, not yet PageLRU


class PageFlag(IntFlag):
    """Further properties of an allocated page, stored beside its class."""

    PINNED = 0x10  #: references beyond the mappings: isolation passes, migration does not
    COMPOUND = 0x20  #: head of a compound page
    CLEAN = 0x40  #: clean, evictable file page: dropped instead of migrated; of a huge page: it lies unused in its pool


#: Classes that has_unmovable_pages() lets pass for an alloc_contig_range() request.
MOVABLE_CLASSES = frozenset(
    {
        PageClass.FREE,
        PageClass.PCP,
        PageClass.ANON,
        PageClass.FILE,
        PageClass.MOVABLE_OPS,
        PageClass.HUGETLB,
        PageClass.THP,
    }
)
