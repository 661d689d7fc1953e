"""What struct page says, field by field."""

import numpy as np
import pytest

from pageblock.machine import kpf
from pageblock.machine.kpageflags import classify
from pageblock.machine.page_structs import (
    Bits,
    PageColumns,
    kpageflags_words,
    movable_by_driver,
    unexplained_references,
)
from pageblock.mm.types import PageClass

NAMES = "locked referenced uptodate dirty lru active slab reserved private writeback head swapbacked swapcache hwpoison mlocked"
FLAGS = {f"PG_{name}": bit for bit, name in enumerate(NAMES.split())}
#: As in 6.1, whose types are clear bits, and as in 6.12, whose types are numbers.
OLD = Bits(FLAGS, {})
NEW = Bits(
    {n: b for n, b in FLAGS.items() if n != "PG_slab"}, {"buddy": 0xF0, "offline": 0xF1, "table": 0xF2, "slab": 0xF5}
)
NO_TYPE = 0xFFFFFFFF
ANON, MOVABLE, FILE = 0x1001, 0x1002, 0x1000


def page(
    *flags: str, head: int = 0, mapping: int = 0, kind: int = NO_TYPE, refs: int = 1, hugetlb: bool = False
) -> PageColumns:
    """One page."""
    return PageColumns(
        np.array([sum(1 << FLAGS[f"PG_{flag}"] for flag in flags)], np.uint64),
        np.array([head], np.uint64),
        np.array([mapping], np.uint64),
        np.array([kind], np.uint32),
        np.array([refs], np.int32),
        np.array([hugetlb]),
    )


@pytest.mark.parametrize(
    ("columns", "bits", "page_class"),
    [
        (page(), OLD, PageClass.KERNEL),
        (page("reserved"), OLD, PageClass.RESERVED),
        (page("hwpoison", "lru"), OLD, PageClass.HWPOISON),
        (page("slab"), OLD, PageClass.SLAB),
        (page("slab", mapping=ANON), OLD, PageClass.SLAB),
        (page("lru", "swapbacked", "uptodate", mapping=ANON, kind=0), OLD, PageClass.ANON),
        (page("lru", "uptodate", mapping=FILE), OLD, PageClass.FILE),
        (page("uptodate", "swapbacked", mapping=ANON, kind=0), OLD, PageClass.PAGEVEC),
        (page(kind=0xFFFFFF7F, refs=0), OLD, PageClass.FREE),
        (page(kind=0xFFFFFEFF), OLD, PageClass.OFFLINE),
        (page(kind=0xFFFFFDFF), OLD, PageClass.PGTABLE),
        (page("head"), OLD, PageClass.COMPOUND),
        (page("head", "lru", mapping=ANON), OLD, PageClass.THP),
        (page("head", hugetlb=True), OLD, PageClass.HUGETLB),
        (page(kind=0xF0000009), NEW, PageClass.FREE),
        (page(kind=0xF1000000), NEW, PageClass.OFFLINE),
        (page(kind=0xF2000000), NEW, PageClass.PGTABLE),
        (page(kind=0xF5000000), NEW, PageClass.SLAB),
        (page("lru", mapping=ANON, kind=3), NEW, PageClass.ANON),
        (page(), NEW, PageClass.KERNEL),
    ],
)
def test_the_class_of_a_page(columns: PageColumns, bits: Bits, page_class: PageClass) -> None:
    found, _ = classify(kpageflags_words(columns, bits))
    assert PageClass(found[0]) == page_class


def test_a_tail_shows_no_more_than_that() -> None:
    assert kpageflags_words(page("locked", head=0x2001, mapping=ANON), OLD)[0] == kpf.KPF_COMPOUND_TAIL | kpf.KPF_LOCKED


@pytest.mark.parametrize(
    ("columns", "extra"),
    [
        (page("lru", mapping=FILE, refs=1), 0),
        (page("lru", mapping=FILE, kind=1, refs=3), 0),
        (page("lru", "private", mapping=FILE, refs=2), 0),
        (page("lru", "private", mapping=FILE, refs=5), 3),
        (page("lru", "swapbacked", mapping=ANON, kind=0, refs=1), 0),
        (page("lru", "swapbacked", mapping=ANON, kind=0, refs=1025), 1024),
        (page("lru", "swapbacked", "swapcache", mapping=ANON, kind=0, refs=2), 0),
        (page("lru", "head", mapping=ANON, refs=9), 0),
        (page(refs=9), 0),
        (page("lru", head=0x2001, refs=9), 0),
        (page("lru", mapping=FILE, refs=0), 0),
    ],
)
def test_references_that_nothing_explains(columns: PageColumns, extra: int) -> None:
    assert unexplained_references(columns, OLD)[0] == extra


@pytest.mark.parametrize(
    ("columns", "movable"),
    [
        (page(mapping=MOVABLE), True),
        (page(mapping=MOVABLE, refs=0), False),
        (page("slab", mapping=MOVABLE), False),
        (page("lru", mapping=MOVABLE), False),
        (page("head", mapping=MOVABLE), False),
        (page(mapping=FILE), False),
        (page(mapping=MOVABLE | ANON), False),
    ],
)
def test_pages_that_their_driver_can_move(columns: PageColumns, movable: bool) -> None:
    assert movable_by_driver(columns, OLD)[0] == movable
