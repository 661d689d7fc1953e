"""/proc/kpageflags and /proc/kpagecount: what a word means, and files of words as runs.

Source: fs/proc/page.c (stable_page_flags, kpagecount_read) and
include/uapi/linux/kernel-page-flags.h, 4.1 to 6.19. The index of a word is its pfn. Pins are never
visible there (kpagecount counts mappings, not references): PageFlag.PINNED is set for dirty metadata buffers
only. Nor is MOVABLE_OPS: such pages look like KERNEL or OFFLINE.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pageblock.errors import InputError
from pageblock.mm.types import PageClass, PageFlag

from . import kpf
from .runs import PageRuns, make_runs
from .words import WordReader

try:
    from ._scan import RunScanner

    SCAN_COMPILED = True
except ImportError:
    from .scan import RunScanner

    SCAN_COMPILED = False

__all__ = [
    "KEPT_MARKS",
    "SCAN_BUFFERS",
    "SCAN_COMPILED",
    "SCAN_MAPPED",
    "SCAN_ZERO",
    "ScanReport",
    "classify",
    "scan_files",
    "scan_pieces",
    "scan_words",
]

U8 = NDArray[np.uint8]
U64 = NDArray[np.uint64]

#: Bit 0 of the flags of scanned runs: the words were 0. Inference uses it up and drops it.
SCAN_ZERO = kpf.SCAN_ZERO

#: Bit 1: file system metadata whose buffers may be in use. It stays in a snapshot's runs.
SCAN_BUFFERS = kpf.SCAN_BUFFERS

#: Bit 2: a clean file page that is mapped. It stays, too.
SCAN_MAPPED = kpf.SCAN_MAPPED

#: What a snapshot's runs have beside PageFlag.
KEPT_MARKS = SCAN_BUFFERS | SCAN_MAPPED

#: Words read at a time: 1 MiB, small enough to stay in a core's cache between read and scan.
CHUNK_WORDS = 1 << 17


@dataclass(frozen=True)
class ScanReport:
    """Runs of the ranges asked for, and the signs that the files were not read at one instant.

    ``nr_skewed``: pages of compounds of an impossible size or place, given as order 0.
    ``nr_mapcount_skewed``: pages whose MMAP bit and map count contradict each other.
    """

    runs: PageRuns
    nr_words: int
    nr_skewed: int
    nr_mapcount_skewed: int | None


def classify(words: U64) -> tuple[U8, U8]:
    """Class and flags of each word by itself, with the scan's rules, in plain numpy.

    The rules in their priority: NOPAGE, HWPOISON, BUDDY, RESERVED or ZERO_PAGE, HUGE, OFFLINE,
    PGTABLE, SLAB, compound with LRU or THP, other compound, LRU, not yet on the LRU, the rest.
    COMPOUND is set on heads and tails alike: only a scan knows which of them form a sound unit.
    """
    low = (words & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    high = (words >> np.uint64(32)).astype(np.uint32)

    def has(mask: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (low & np.uint32(mask)) != 0
        return found

    compound = has(kpf.KPF_COMPOUND_HEAD | kpf.KPF_COMPOUND_TAIL)
    on_lru = has(kpf.KPF_LRU)
    reserved = ((high & np.uint32(kpf.HIGH_RESERVED)) != 0) | has(kpf.KPF_ZERO_PAGE)
    waiting = has(kpf.KPF_ANON | kpf.KPF_SWAPBACKED) | (has(kpf.KPF_MMAP) & has(kpf.KPF_UPTODATE))
    rules: list[tuple[NDArray[np.bool_], PageClass]] = [
        (has(kpf.KPF_NOPAGE), PageClass.HOLE),
        (has(kpf.KPF_HWPOISON), PageClass.HWPOISON),
        (has(kpf.KPF_BUDDY), PageClass.FREE),
        (reserved, PageClass.RESERVED),
        (has(kpf.KPF_HUGE), PageClass.HUGETLB),
        (has(kpf.KPF_OFFLINE), PageClass.OFFLINE),
        (has(kpf.KPF_PGTABLE), PageClass.PGTABLE),
        (has(kpf.KPF_SLAB), PageClass.SLAB),
        (compound & has(kpf.KPF_LRU | kpf.KPF_THP), PageClass.THP),
        (compound, PageClass.COMPOUND),
        (on_lru & has(kpf.KPF_ANON), PageClass.ANON),
        (on_lru, PageClass.FILE),
        (waiting, PageClass.PAGEVEC),
    ]
    page_class = np.select(
        [condition for condition, _ in rules],
        [np.uint8(value) for _, value in rules],
        np.uint8(PageClass.KERNEL),
    ).astype(np.uint8)
    stuck = has(kpf.KPF_SWAPBACKED | kpf.KPF_DIRTY | kpf.KPF_WRITEBACK | kpf.KPF_UNEVICTABLE) | (
        (high & np.uint32(kpf.HIGH_MLOCKED)) != 0
    )
    clean = (page_class == PageClass.FILE) & has(kpf.KPF_UPTODATE) & ~stuck
    flags = np.where(compound, np.uint8(PageFlag.COMPOUND), np.uint8(0))
    clean |= (page_class == PageClass.HUGETLB) & ~has(kpf.KPF_MMAP)
    flags |= np.where(clean, np.uint8(PageFlag.CLEAN), np.uint8(0))
    buffers = (page_class == PageClass.FILE) & ((high & np.uint32(kpf.HIGH_PRIVATE)) != 0)
    buffers &= ~has(kpf.KPF_UPTODATE | kpf.KPF_SWAPBACKED)
    dirty, used = has(kpf.KPF_DIRTY), has(kpf.KPF_REFERENCED)
    flags |= np.where(buffers & dirty, np.uint8(PageFlag.PINNED), np.uint8(0))
    idle = buffers & ~has(kpf.KPF_DIRTY | kpf.KPF_WRITEBACK | kpf.KPF_UNEVICTABLE)
    flags |= np.where(idle, np.uint8(PageFlag.CLEAN), np.uint8(0))
    flags |= np.where(idle & used, np.uint8(SCAN_BUFFERS), np.uint8(0))
    is_mapped = clean & (page_class == PageClass.FILE) & has(kpf.KPF_MMAP)
    flags |= np.where(is_mapped, np.uint8(SCAN_MAPPED), np.uint8(0))
    flags |= np.where(words == 0, np.uint8(SCAN_ZERO), np.uint8(0))
    return page_class, flags.astype(np.uint8)


def scan_words(words: U64, counts: U64 | None = None, start_pfn: int = 0) -> ScanReport:
    """Runs of an array of words whose first belongs to ``start_pfn``. O(number of words)."""
    scanner = RunScanner(start_pfn)
    for i in range(0, len(words), CHUNK_WORDS):
        part = None if counts is None else writable(counts[i : i + CHUNK_WORDS])
        scanner.feed(writable(words[i : i + CHUNK_WORDS]), part)
    return report(scanner, len(words), counts is not None)


def scan_pieces(pieces: Sequence[tuple[int, U64]]) -> PageRuns:
    """Runs of stretches of words, each with the pfn of its first; ascending."""
    scanner = RunScanner(0)
    for start, words in pieces:
        scanner.seek(start)
        scanner.feed(writable(words))
    return report(scanner, sum(len(words) for _, words in pieces), False).runs


def scan_files(
    flags: WordReader,
    counts: WordReader | None,
    ranges: Sequence[tuple[int, int]],
    *,
    live: bool,
    progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Runs of the pfn ranges, read chunk by chunk; ranges ascend and do not overlap.

    A live file may end early (memory went offline); a recorded one may not. Raises InputError when
    a file is cut off, or when the two differ in length.
    """
    try:
        return scan_ranges(flags, counts, ranges, live, progress)
    finally:
        flags.close()
        if counts is not None:
            counts.close()


def scan_ranges(
    flags: WordReader,
    counts: WordReader | None,
    ranges: Sequence[tuple[int, int]],
    live: bool,
    progress: Callable[[int, int], None] | None,
) -> ScanReport:
    scanner = RunScanner(0)
    buffer = np.empty(CHUNK_WORDS, np.uint64)
    count_buffer = np.empty(CHUNK_WORDS, np.uint64)
    total = sum(end - start for start, end in ranges)
    done = 0
    for start, end in ranges:
        flags.seek(start)
        if counts is not None:
            counts.seek(start)
        scanner.seek(start)
        pfn = start
        while pfn < end:
            want = min(CHUNK_WORDS, end - pfn)
            got = flags.read(buffer[:want])
            part = None
            if counts is not None:
                count_got = counts.read(count_buffer[:want])
                if count_got != got and not live:
                    check_lengths(flags, counts)
                got = min(got, count_got)
                part = count_buffer[:got]
            scanner.feed(buffer[:got], part)
            pfn += got
            done += got
            if progress is not None:
                progress(done, total)
            if got < want:
                if not live:
                    check_lengths(flags, counts)
                    raise InputError(
                        f"{flags.name}: ends at pfn {pfn}, but zoneinfo has a zone up to pfn "
                        f"{ranges[-1][1]}; the file is cut off, record it again"
                    )
                break
    check_lengths(flags, counts)
    return report(scanner, done, counts is not None)


def check_lengths(flags: WordReader, counts: WordReader | None) -> None:
    """Read both files to their ends; refuse them where their lengths differ."""
    nr_flags = flags.finish()
    nr_counts = None if counts is None else counts.finish()
    if counts is not None and None not in (nr_flags, nr_counts) and nr_flags != nr_counts:
        raise InputError(
            f"{counts.name}: {nr_counts} words, but {flags.name} has {nr_flags}; record both from the same boot"
        )


def report(scanner: RunScanner, nr_words: int, with_counts: bool) -> ScanReport:
    start, pages, key = scanner.finish()
    runs = make_runs(
        start.astype(np.int64),
        pages.astype(np.int64),
        (key & 0xFF).astype(np.uint8),
        ((key >> 8) & 0xFF).astype(np.uint8),
        (key >> 16).astype(np.uint8),
    )
    mapcount = scanner.nr_mapcount_skewed() if with_counts else None
    return ScanReport(runs, nr_words, scanner.nr_skewed(), mapcount)


def writable(words: U64) -> U64:
    """The scan takes writable contiguous little-endian words only."""
    return np.require(words, np.uint64, ["C", "W"])
