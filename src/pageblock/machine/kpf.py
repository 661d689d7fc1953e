"""Bits of a /proc/kpageflags word, and the scan's own marks. Plain-Python view; C view: kpf.pxd.

Source: include/uapi/linux/kernel-page-flags.h and include/linux/kernel-page-flags.h, 4.1 to 6.19.
The same bits as masks, 1 << KPF_*; bits from 32 up are tested after a shift (``HIGH_*``), because
C enums and Cython literals stay within 32 bits.
"""

KPF_LOCKED = 0x1
KPF_ERROR = 0x2
KPF_REFERENCED = 0x4
KPF_UPTODATE = 0x8
KPF_DIRTY = 0x10
KPF_LRU = 0x20
KPF_ACTIVE = 0x40
KPF_SLAB = 0x80
KPF_WRITEBACK = 0x100
KPF_RECLAIM = 0x200
KPF_BUDDY = 0x400
KPF_MMAP = 0x800
KPF_ANON = 0x1000
KPF_SWAPCACHE = 0x2000
KPF_SWAPBACKED = 0x4000
KPF_COMPOUND_HEAD = 0x8000
KPF_COMPOUND_TAIL = 0x10000
KPF_HUGE = 0x20000
KPF_UNEVICTABLE = 0x40000
KPF_HWPOISON = 0x80000
KPF_NOPAGE = 0x100000
KPF_KSM = 0x200000
KPF_THP = 0x400000
KPF_OFFLINE = 0x800000
KPF_ZERO_PAGE = 0x1000000
KPF_IDLE = 0x2000000
KPF_PGTABLE = 0x4000000
HIGH_RESERVED = 0x1
HIGH_MLOCKED = 0x2
HIGH_PRIVATE = 0x8

#: Mark of the scan beside the PageFlag bits: the word was 0 (a plain kernel page, a per-cpu list
#: page or, on kernels that set BUDDY on heads only, the rest of a free block).
SCAN_ZERO = 0x01

#: Mark of the scan: a page of a block device's cache whose buffers were used lately (see ``kind_of``).
SCAN_BUFFERS = 0x02

#: Mark of the scan: a clean file page that is mapped, which drop_caches leaves alone.
SCAN_MAPPED = 0x04

# Page classes and flags, as numbers (mm/types.py).
K_FREE = 0
K_KERNEL = 1
K_ANON = 2
K_FILE = 3
K_SLAB = 5
K_PGTABLE = 6
K_RESERVED = 7
K_HUGETLB = 8
K_THP = 9
K_COMPOUND = 10
K_OFFLINE = 11
K_HWPOISON = 12
K_HOLE = 13
K_PAGEVEC = 15
F_PINNED = 0x10
F_COMPOUND = 0x20
F_CLEAN = 0x40
