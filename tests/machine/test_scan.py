"""The scan of kpageflags words: classes, compounds, runs, signs of skew; both builds alike."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pageblock.machine import kpageflags, kpf, scan
from pageblock.mm.types import PageClass, PageFlag

LRU, MMAP, ANON, SWAPBACKED, UPTODATE = 1 << 5, 1 << 11, 1 << 12, 1 << 14, 1 << 3
REFERENCED, ACTIVE, PRIVATE = 1 << 2, 1 << 6, 1 << 35
SLAB, BUDDY, HEAD, TAIL, HUGE, THP = 1 << 7, 1 << 10, 1 << 15, 1 << 16, 1 << 17, 1 << 22
DIRTY, WRITEBACK, UNEVICTABLE, MLOCKED, RESERVED = 1 << 4, 1 << 8, 1 << 18, 1 << 33, 1 << 32
NOPAGE, HWPOISON, OFFLINE, ZERO_PAGE, PGTABLE = 1 << 20, 1 << 19, 1 << 23, 1 << 24, 1 << 26

CASES = [
    (0, PageClass.KERNEL, kpf.SCAN_ZERO),
    (NOPAGE, PageClass.HOLE, 0),
    (HWPOISON | LRU, PageClass.HWPOISON, 0),
    (BUDDY, PageClass.FREE, 0),
    (RESERVED | LRU, PageClass.RESERVED, 0),
    (ZERO_PAGE, PageClass.RESERVED, 0),
    (OFFLINE, PageClass.OFFLINE, 0),
    (PGTABLE, PageClass.PGTABLE, 0),
    (SLAB, PageClass.SLAB, 0),
    (LRU | ANON | SWAPBACKED | UPTODATE, PageClass.ANON, 0),
    (LRU | ANON | UNEVICTABLE | MLOCKED, PageClass.ANON, 0),
    (LRU | UPTODATE, PageClass.FILE, PageFlag.CLEAN),
    (LRU, PageClass.FILE, 0),
    (LRU | UPTODATE | SWAPBACKED, PageClass.FILE, 0),
    (LRU | UPTODATE | DIRTY, PageClass.FILE, 0),
    (LRU | UPTODATE | WRITEBACK, PageClass.FILE, 0),
    (LRU | UPTODATE | MLOCKED, PageClass.FILE, 0),
    (LRU | UPTODATE | DIRTY | PRIVATE | REFERENCED, PageClass.FILE, 0),
    (LRU | DIRTY | PRIVATE | REFERENCED, PageClass.FILE, PageFlag.PINNED),
    (LRU | DIRTY | PRIVATE, PageClass.FILE, PageFlag.PINNED),
    (LRU | PRIVATE | REFERENCED, PageClass.FILE, PageFlag.CLEAN | kpf.SCAN_BUFFERS),
    (LRU | PRIVATE | ACTIVE, PageClass.FILE, PageFlag.CLEAN),
    (LRU | PRIVATE | WRITEBACK | REFERENCED, PageClass.FILE, 0),
    (LRU | UPTODATE | MMAP, PageClass.FILE, PageFlag.CLEAN | kpf.SCAN_MAPPED),
    (LRU | UPTODATE | MMAP | DIRTY, PageClass.FILE, 0),
    (LRU | PRIVATE | DIRTY | SWAPBACKED, PageClass.FILE, 0),
    (ANON | SWAPBACKED | UPTODATE | MMAP, PageClass.PAGEVEC, 0),
    (MMAP | UPTODATE, PageClass.PAGEVEC, 0),
    (MMAP, PageClass.KERNEL, 0),
    (UPTODATE, PageClass.KERNEL, 0),
]


def runs_of(words: list[int], start_pfn: int = 0) -> list[tuple[int, int, PageClass, int, int]]:
    runs = kpageflags.scan_words(np.array(words, np.uint64), start_pfn=start_pfn).runs
    return [
        (int(s), int(n), PageClass(c), int(o), int(f))
        for s, n, c, o, f in zip(runs.start_pfn, runs.nr_pages, runs.page_class, runs.order, runs.flags, strict=True)
    ]


@pytest.mark.parametrize(("word", "page_class", "flags"), CASES)
def test_class_and_flags_of_a_word(word: int, page_class: PageClass, flags: int) -> None:
    assert runs_of([word]) == [(0, 1, page_class, 0, flags)]


@pytest.mark.parametrize(("word", "page_class", "flags"), CASES)
def test_classify_follows_the_same_rules(word: int, page_class: PageClass, flags: int) -> None:
    classes, found = kpageflags.classify(np.array([word], np.uint64))
    assert (classes[0], found[0]) == (page_class, flags)


def test_classify_and_the_scan_agree_on_random_words() -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, (4096, 43)).astype(np.uint64) & rng.integers(0, 2, (4096, 43)).astype(np.uint64)
    bits[:, 15:17] = 0  # compounds form units, which classify() does not know
    words = (bits << np.arange(43, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    runs = kpageflags.scan_words(words).runs
    classes, flags = kpageflags.classify(words)
    assert np.array_equal(np.repeat(runs.page_class, runs.nr_pages), classes)
    assert np.array_equal(np.repeat(runs.flags, runs.nr_pages), flags)


def test_alike_pages_of_different_words_form_one_run() -> None:
    assert runs_of([LRU | ANON, LRU | ANON | DIRTY, LRU | ANON], start_pfn=7) == [(7, 3, PageClass.ANON, 0, 0)]


def test_metadata_that_was_used_ends_a_run_of_metadata_that_was_not() -> None:
    words = [LRU | PRIVATE, LRU | PRIVATE | REFERENCED, LRU | PRIVATE | ACTIVE]
    assert runs_of(words) == [
        (0, 1, PageClass.FILE, 0, PageFlag.CLEAN),
        (1, 1, PageClass.FILE, 0, PageFlag.CLEAN | kpf.SCAN_BUFFERS),
        (2, 1, PageClass.FILE, 0, PageFlag.CLEAN),
    ]


def test_compound_of_6_1_with_bare_tails() -> None:
    assert runs_of([HEAD | LRU | ANON | THP] + [TAIL | THP | ANON] * 3) == [(0, 4, PageClass.THP, 2, PageFlag.COMPOUND)]


def test_compound_of_6_12_whose_tails_repeat_the_heads_flags() -> None:
    head = LRU | ANON | THP | UPTODATE
    assert runs_of([head | HEAD] + [head | TAIL] * 3) == [(0, 4, PageClass.THP, 2, PageFlag.COMPOUND)]


def test_neighbouring_compounds_of_one_order_form_one_run() -> None:
    pair = [SLAB | HEAD, SLAB | TAIL]
    assert runs_of(pair * 3) == [(0, 6, PageClass.SLAB, 1, PageFlag.COMPOUND)]


def test_compounds_of_different_orders_stay_apart() -> None:
    words = [SLAB | HEAD] + [SLAB | TAIL] * 3 + [SLAB | HEAD, SLAB | TAIL]
    assert [(s, n, o) for s, n, _, o, _ in runs_of(words)] == [(0, 4, 2), (4, 2, 1)]


@pytest.mark.parametrize(
    ("words", "page_class", "flags"),
    [
        ([HEAD | HUGE | MMAP] + [TAIL | HUGE] * 3, PageClass.HUGETLB, PageFlag.COMPOUND),
        ([HEAD | HUGE] + [TAIL | HUGE] * 3, PageClass.HUGETLB, PageFlag.COMPOUND | PageFlag.CLEAN),
        ([HEAD] + [TAIL] * 3, PageClass.COMPOUND, PageFlag.COMPOUND),
    ],
)
def test_other_compounds(words: list[int], page_class: PageClass, flags: int) -> None:
    assert runs_of(words) == [(0, 4, page_class, 2, flags)]


@pytest.mark.parametrize(
    ("words", "start_pfn"),
    [
        ([HEAD | LRU, TAIL, TAIL], 0),
        ([HEAD | LRU, TAIL], 1),
        ([HEAD | LRU], 0),
        ([TAIL | LRU, TAIL | LRU], 0),
    ],
    ids=["no power of two", "misaligned", "no tail", "no head"],
)
def test_broken_compounds_become_single_pages_and_count_as_skew(words: list[int], start_pfn: int) -> None:
    report = kpageflags.scan_words(np.array(words, np.uint64), start_pfn=start_pfn)
    assert report.nr_skewed == len(words)
    assert report.runs.order.tolist() == [0]
    assert report.runs.flags.tolist() == [0]
    assert report.runs.page_class.tolist() == [PageClass.THP]


def mixed_words() -> NDArray[np.uint64]:
    rng = np.random.default_rng(11)
    units = [
        [0],
        [BUDDY] * 5,
        [LRU | ANON] * 3,
        [HEAD | SLAB, TAIL | SLAB],
        [HEAD | HUGE] + [TAIL | HUGE] * 7,
        [TAIL],
        [LRU | UPTODATE],
    ]
    words = [w for unit in rng.integers(0, len(units), 2000) for w in units[unit]]
    return np.array(words, np.uint64)


def columns(scanner: Any) -> list[list[int]]:
    return [column.tolist() for column in scanner.finish()]


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_the_size_of_chunks_does_not_matter(chunk: int) -> None:
    words = mixed_words()
    whole = scan.RunScanner(0)
    whole.feed(words)
    parts = scan.RunScanner(0)
    for i in range(0, len(words), chunk):
        parts.feed(words[i : i + chunk].copy())
    assert parts.nr_skewed() == whole.nr_skewed()
    assert columns(parts) == columns(whole)


def test_compiled_and_plain_scan_agree() -> None:
    compiled = pytest.importorskip("pageblock.machine._scan", reason="the scan is not compiled")
    words = mixed_words()
    counts = np.random.default_rng(3).integers(0, 2, len(words)).astype(np.uint64)
    plain, fast = scan.RunScanner(9), compiled.RunScanner(9)
    plain.feed(words, counts)
    fast.feed(words, counts)
    assert fast.nr_skewed() == plain.nr_skewed()
    assert fast.nr_mapcount_skewed() == plain.nr_mapcount_skewed()
    assert columns(fast) == columns(plain)


def test_a_gigantic_page_is_one_unit() -> None:
    words = np.full(1 << 18, TAIL | HUGE, np.uint64)
    words[0] = HEAD | HUGE
    runs = kpageflags.scan_words(words).runs
    assert (runs.nr_pages.tolist(), runs.order.tolist()) == ([1 << 18], [18])


def test_map_counts_that_contradict_the_flags_are_counted() -> None:
    typed = (1 << 64) - 127
    words = np.array([MMAP, MMAP, 0, 0, PGTABLE, HEAD | MMAP, TAIL | MMAP], np.uint64)
    counts = np.array([1, 0, 0, 2, typed, 0, 0], np.uint64)
    assert kpageflags.scan_words(words, counts).nr_mapcount_skewed == 2


def test_the_c_view_of_the_constants_is_the_python_view() -> None:
    text = Path(kpf.__file__).with_name("kpf.pxd").read_text()
    in_c = {name: int(value, 0) for name, value in re.findall(r"(\w+) = (\w+)", text)}
    in_python = {name: value for name, value in vars(kpf).items() if name.isupper()}
    assert in_c == in_python


def test_the_class_numbers_are_those_of_the_package() -> None:
    mine = {k[2:]: v for k, v in vars(kpf).items() if k.startswith("K_")}
    assert mine == {name: PageClass[name].value for name in mine}
    assert (kpf.F_COMPOUND, kpf.F_CLEAN) == (PageFlag.COMPOUND, PageFlag.CLEAN)
