"""The hot loop of the room: words of /proc/kpageflags in, runs of alike pages out.

One pass, no look back: an open compound unit and an open run are the only state, so the words may
come in chunks of any size. Compiled through ``_scan.pyx``; runs uncompiled too, about 100 x slower.
"""

from typing import Any

import cython
import numpy as np

if not cython.compiled:
    from .kpf import (
        F_CLEAN,
        F_COMPOUND,
        F_PINNED,
        HIGH_MLOCKED,
        HIGH_PRIVATE,
        HIGH_RESERVED,
        K_ANON,
        K_COMPOUND,
        K_FILE,
        K_FREE,
        K_HOLE,
        K_HUGETLB,
        K_HWPOISON,
        K_KERNEL,
        K_OFFLINE,
        K_PAGEVEC,
        K_PGTABLE,
        K_RESERVED,
        K_SLAB,
        K_THP,
        KPF_ACTIVE,
        KPF_ANON,
        KPF_BUDDY,
        KPF_COMPOUND_HEAD,
        KPF_COMPOUND_TAIL,
        KPF_DIRTY,
        KPF_ERROR,
        KPF_HUGE,
        KPF_HWPOISON,
        KPF_LOCKED,
        KPF_LRU,
        KPF_MMAP,
        KPF_NOPAGE,
        KPF_OFFLINE,
        KPF_PGTABLE,
        KPF_RECLAIM,
        KPF_REFERENCED,
        KPF_SLAB,
        KPF_SWAPBACKED,
        KPF_SWAPCACHE,
        KPF_THP,
        KPF_UNEVICTABLE,
        KPF_UPTODATE,
        KPF_WRITEBACK,
        KPF_ZERO_PAGE,
        SCAN_BUFFERS,
        SCAN_MAPPED,
        SCAN_ZERO,
    )


@cython.cfunc
def words_pointer(a: Any) -> cython.p_ulonglong:
    """C pointer to 64-bit words; uncompiled: the view itself. The caller keeps the owner alive."""
    if cython.compiled:
        v: cython.ulonglong[::1] = a  # type: ignore
        return cython.address(v[0])  # type: ignore
    return memoryview(a)


@cython.cfunc
def keys_pointer(a: Any) -> cython.p_uint:
    """C pointer to 32-bit keys; uncompiled: the view itself. The caller keeps the owner alive."""
    if cython.compiled:
        v: cython.uint[::1] = a  # type: ignore
        return cython.address(v[0])  # type: ignore
    return memoryview(a)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def kind_of(word: cython.ulonglong) -> cython.uint:
    """Class of one word in the low byte, flags in the byte above: the rules in their priority."""
    low: cython.uint = cython.cast(cython.uint, word & 0x7FFFFFFF)
    high: cython.uint = cython.cast(cython.uint, word >> 32)
    compound: cython.uint = low & (KPF_COMPOUND_HEAD | KPF_COMPOUND_TAIL)
    if word == 0:
        return K_KERNEL | (SCAN_ZERO << 8)
    if low & KPF_NOPAGE:
        return K_HOLE
    if low & KPF_HWPOISON:
        return K_HWPOISON
    if low & KPF_BUDDY:
        return K_FREE
    if high & HIGH_RESERVED or low & KPF_ZERO_PAGE:
        return K_RESERVED
    if low & KPF_HUGE:
        # a huge page that nobody maps lies in its pool, or is a hugetlbfs file's: inference tells which
        return K_HUGETLB if low & KPF_MMAP else K_HUGETLB | (F_CLEAN << 8)
    if low & KPF_OFFLINE:
        return K_OFFLINE
    if low & KPF_PGTABLE:
        return K_PGTABLE
    if low & KPF_SLAB:
        return K_SLAB
    if compound:
        return K_THP if low & (KPF_LRU | KPF_THP) else K_COMPOUND
    if low & KPF_LRU:
        if low & KPF_ANON:
            return K_ANON
        if (
            low & KPF_UPTODATE
            and not low & (KPF_SWAPBACKED | KPF_DIRTY | KPF_WRITEBACK | KPF_UNEVICTABLE)
            and not high & HIGH_MLOCKED
        ):
            return K_FILE | ((F_CLEAN | SCAN_MAPPED if low & KPF_MMAP else F_CLEAN) << 8)
        if high & HIGH_PRIVATE and not low & (KPF_UPTODATE | KPF_SWAPBACKED):
            return K_FILE | (buffers_of(low) << 8)
        return K_FILE
    if low & (KPF_ANON | KPF_SWAPBACKED) or (low & KPF_MMAP and low & KPF_UPTODATE):
        return K_PAGEVEC
    return K_KERNEL


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def buffers_of(low: cython.uint) -> cython.uint:
    """Flags of a page that has buffers and was never read as a whole: a file system's metadata, in its disk's cache.

    fs/buffer.c fills such pages buffer by buffer and never makes them UPTODATE. Dirty buffers are held by the journal until
    they are written back, so that the page does not migrate (buffer_migrate_folio_norefs); others may be, if in use. Clean
    ones are dropped like other clean file pages: reclaim_clean_pages_from_list and mapping_evict_folio do not ask for UPTODATE.
    """
    if low & KPF_DIRTY:
        return F_PINNED
    if low & (KPF_WRITEBACK | KPF_UNEVICTABLE):
        return 0
    return F_CLEAN | SCAN_BUFFERS if low & KPF_REFERENCED else F_CLEAN


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def care_of(word: cython.ulonglong, kind: cython.uint, with_counts: cython.bint) -> cython.ulonglong:
    """Bits in which a word of a run may not differ from its first; the rest changes neither class nor flags.

    Of a zero word and of one without any telling bit: all. Of an anonymous LRU page also not the bits that
    only file pages are asked for.
    """
    idle: cython.ulonglong = KPF_LOCKED | KPF_ERROR | KPF_REFERENCED | KPF_ACTIVE | KPF_RECLAIM | KPF_SWAPCACHE
    if kind == K_ANON:
        idle |= KPF_UPTODATE | KPF_DIRTY | KPF_WRITEBACK | KPF_UNEVICTABLE | KPF_SWAPBACKED
        if not with_counts:
            idle |= KPF_MMAP
    elif kind & 0xFF == K_FILE and not word & KPF_UPTODATE:
        idle ^= KPF_REFERENCED
    if word & ~idle == 0:
        idle = 0
    return ~idle


@cython.cclass
class RunScanner:
    """Turns consecutive words into runs (start_pfn, nr_pages, key), key = class | order | flags.

    ``feed`` takes the words of the pages from the current pfn on, ``seek`` moves to another pfn,
    ``finish`` gives the columns. ``nr_skewed`` counts the pages of compounds whose size is no
    power of two, that are not aligned to it, or that lack their head: they come out as order 0.
    ``nr_mapcount_skewed`` counts order-0 pages whose MMAP bit and kpagecount contradict each other.
    """

    pfn: cython.ulonglong
    run_start: cython.ulonglong
    run_pages: cython.ulonglong
    run_key: cython.uint
    unit_pages: cython.ulonglong
    unit_start: cython.ulonglong
    unit_kind: cython.uint
    skewed: cython.ulonglong
    mapcount_skewed: cython.ulonglong
    used: cython.longlong
    room: cython.longlong
    starts: cython.p_ulonglong
    pages: cython.p_ulonglong
    keys: cython.p_uint
    starts_array: Any
    pages_array: Any
    keys_array: Any

    def __init__(self, start_pfn: int = 0) -> None:
        self.pfn = start_pfn
        self.run_start = 0
        self.run_pages = 0
        self.run_key = 0
        self.unit_pages = 0
        self.unit_start = 0
        self.unit_kind = 0
        self.skewed = 0
        self.mapcount_skewed = 0
        self.used = 0
        self.room = 0
        self.starts_array = np.empty(0, np.uint64)
        self.pages_array = np.empty(0, np.uint64)
        self.keys_array = np.empty(0, np.uint32)
        self.reserve(1024)

    def reserve(self, more: int) -> None:
        """Make room for so many further runs."""
        need: int = self.used + more
        if need <= self.room:
            return
        self.room = max(need, 2 * self.room)
        starts = np.empty(self.room, np.uint64)
        pages = np.empty(self.room, np.uint64)
        keys = np.empty(self.room, np.uint32)
        starts[: self.used] = self.starts_array[: self.used]
        pages[: self.used] = self.pages_array[: self.used]
        keys[: self.used] = self.keys_array[: self.used]
        self.starts_array, self.pages_array, self.keys_array = starts, pages, keys
        self.starts = words_pointer(starts)
        self.pages = words_pointer(pages)
        self.keys = keys_pointer(keys)

    def feed(self, words: Any, counts: Any = None) -> None:
        """Scan the words (writable contiguous uint64 array) of the next pages.

        ``counts``, if given, holds as many words of /proc/kpagecount. O(number of words).
        """
        n: cython.longlong = len(words)
        if n == 0:
            return
        if counts is not None and len(counts) != n:
            raise ValueError("kpagecount and kpageflags chunks differ in length")
        # At worst each word is a run, and a skewed compound that was open adds one more.
        self.reserve(n + 4)
        w: cython.p_ulonglong = words_pointer(words)
        c: cython.p_ulonglong = w
        with_counts: cython.bint = counts is not None
        if with_counts:
            c = words_pointer(counts)
        with cython.nogil:
            scan_words(self, w, c, with_counts, n)

    def seek(self, pfn: int) -> None:
        """Continue at another pfn: an open unit and an open run end here."""
        self.reserve(4)
        close_unit(self)
        close_run(self)
        self.pfn = pfn

    def finish(self) -> Any:
        """Columns of all runs: start_pfn and nr_pages (uint64), key (uint32)."""
        self.seek(self.pfn)
        n = self.used
        return self.starts_array[:n], self.pages_array[:n], self.keys_array[:n]

    def nr_skewed(self) -> int:
        """Pages of broken compounds so far."""
        return self.skewed

    def nr_mapcount_skewed(self) -> int:
        """Pages so far whose two files contradict each other."""
        return self.mapcount_skewed


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def close_run(s: RunScanner) -> cython.void:
    if s.run_pages:
        s.starts[s.used] = s.run_start
        s.pages[s.used] = s.run_pages
        s.keys[s.used] = s.run_key
        s.used += 1
        s.run_pages = 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def extend(s: RunScanner, start: cython.ulonglong, n: cython.ulonglong, key: cython.uint) -> cython.void:
    """Add pages to the open run, or close it and open another."""
    if s.run_pages and s.run_key == key:
        s.run_pages += n
    else:
        close_run(s)
        s.run_start = start
        s.run_pages = n
        s.run_key = key


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def close_unit(s: RunScanner) -> cython.void:
    """End a compound: its order if its size and place allow one, else order-0 pages."""
    n: cython.ulonglong = s.unit_pages
    order: cython.uint = 0
    if n == 0:
        return
    s.unit_pages = 0
    if n == 1 or n & (n - 1) or s.unit_start & (n - 1):
        s.skewed += n
        extend(s, s.unit_start, n, (s.unit_kind & 0xFF) | ((s.unit_kind & 0xFF00) << 8))
        return
    while n > 1:
        n >>= 1
        order += 1
    extend(
        s,
        s.unit_start,
        cython.cast(cython.ulonglong, 1) << order,
        (s.unit_kind & 0xFF) | (order << 8) | ((s.unit_kind & 0xFF00) << 8) | (F_COMPOUND << 16),
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def contradictions(
    c: cython.p_ulonglong, start: cython.longlong, end: cython.longlong, mapped: cython.bint
) -> cython.ulonglong:
    """Pages of [start, end) whose map count contradicts the MMAP bit; typed pages (-N) do not."""
    i: cython.longlong
    bad: cython.ulonglong = 0
    if mapped:
        for i in range(start, end):
            bad += c[i] == 0
    else:
        for i in range(start, end):
            bad += c[i] != 0 and (c[i] >> 31) == 0
    return bad


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_words(
    s: RunScanner,
    w: cython.p_ulonglong,
    c: cython.p_ulonglong,
    with_counts: cython.bint,
    n: cython.longlong,
) -> cython.void:
    base: cython.ulonglong = s.pfn
    i: cython.longlong = 0
    j: cython.longlong
    v: cython.ulonglong
    care: cython.ulonglong
    alike: cython.ulonglong
    kind: cython.uint
    s.pfn = base + n
    if s.unit_pages:
        while i < n and w[i] & KPF_COMPOUND_TAIL:
            i += 1
        s.unit_pages += i
        if i == n:
            return
        close_unit(s)
    while i < n:
        v = w[i]
        j = i + 1
        if v & KPF_COMPOUND_HEAD:
            while j < n and w[j] & KPF_COMPOUND_TAIL:
                j += 1
            s.unit_start = base + i
            s.unit_pages = j - i
            s.unit_kind = kind_of(v)
            if j == n:
                return
            close_unit(s)
        else:
            kind = kind_of(v)
            care = care_of(v, kind, with_counts)
            alike = v & care
            while j < n and (w[j] & care) == alike:
                j += 1
            if v & KPF_COMPOUND_TAIL:
                s.skewed += j - i
            elif with_counts:
                s.mapcount_skewed += contradictions(c, i, j, (v & KPF_MMAP) != 0)
            extend(s, base + i, j - i, (kind & 0xFF) | ((kind & 0xFF00) << 8))
        i = j
