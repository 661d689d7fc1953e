"""References of huge pages by the counts behind their heads, as up to 6.1, until 6.9, and since."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pageblock.machine.drgn_large import LargeLayout, LargePages, large_pages
from pageblock.machine.page_structs import Bits, PageColumns

FLAGS = {name: bit for bit, name in enumerate(("PG_lru", "PG_head", "PG_private", "PG_swapbacked", "PG_swapcache"))}
BITS = Bits(FLAGS | {"PG_double_map": 9}, {})
ANON, FILE = 0x1001, 0x1000
NR = 4

#: Offsets name counts here: what stands there is given by the test.
OLD = LargeLayout(total=-1, entire=1, pins=2, double=9, entire_in_each=True, cached_whole=False)
MIDDLE = replace(OLD, double=-1, entire_in_each=False)
NEW = LargeLayout(total=0, entire=1, pins=2, double=-1, entire_in_each=False, cached_whole=True)


def found(
    layout: LargeLayout,
    *flags: str,
    mapping: int = ANON,
    refs: int = 1,
    total: int = 0,
    entire: int = 0,
    pins: int = 0,
    each: tuple[int, ...] = (0,) * NR,
    hugetlb: bool = False,
    double: bool = False,
) -> LargePages:
    """A compound page of four between two single pages. ``total``, ``entire``, ``each``: mappings, as people count."""
    n = NR + 2
    head, words = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    words[1] = sum(1 << FLAGS[f"PG_{name}"] for name in ("head", *flags))
    words[2] = 1 << 9 if double else 0
    head[2 : 1 + NR] = 0x2001
    kinds = np.full(n, -1, np.int32)
    kinds[1 : 1 + NR] = np.array(each) - 1
    counted, huge, maps = np.ones(n, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.uint64)
    counted[1], huge[1], maps[1] = refs, hugetlb, mapping
    columns = PageColumns(words, head, maps, kinds.view(np.uint32), counted, huge)
    counts = {0: total - 1, 1: entire - 1, 2: pins}

    def count(heads: NDArray[np.int64], offset: int, _kind: str) -> NDArray[Any]:
        assert heads.tolist() in ([1], [])
        return np.full(len(heads), counts[offset], np.int32)

    return large_pages(columns, BITS, layout, count)


@pytest.mark.parametrize(
    ("large", "mapcount", "extra"),
    [
        # up to 6.1: mapped whole
        (found(OLD, "lru", refs=1, entire=1), 1, 0),
        (found(OLD, "lru", refs=2, entire=1, pins=1), 1, 1),
        # by single pages
        (found(OLD, "lru", refs=4, each=(1, 1, 1, 1)), 4, 0),
        # both: then each page of an anonymous one counts once more (PG_double_map)
        (found(OLD, "lru", refs=3, entire=1, each=(2, 2, 1, 1), double=True), 3, 0),
        # a file's pages count the mappings of the whole, too
        (found(OLD, "lru", mapping=FILE, refs=NR + 2, entire=1, each=(2, 1, 1, 1)), 2, 0),
        (found(OLD, "lru", "private", mapping=FILE, refs=NR + 4, entire=0), 0, 3),
        (found(OLD, "lru", "swapbacked", "swapcache", refs=NR + 1, entire=1), 1, 0),
        # until 6.9 nothing is counted twice
        (found(MIDDLE, "lru", refs=3, entire=1, each=(1, 1, 0, 0)), 3, 0),
        # since 6.10 there is one count
        (found(NEW, "lru", refs=6, total=3, each=(9, 9, 9, 9)), 3, 3),
        (found(NEW, "lru", mapping=FILE, refs=NR + 3, total=3), 3, 0),
        # hugetlb: not on the LRU, mapped whole only
        (found(OLD, refs=1, entire=1, hugetlb=True), 1, 0),
        (found(OLD, refs=2, mapping=FILE, entire=1, hugetlb=True), 1, 0),
        (found(NEW, refs=NR + 1, mapping=FILE, total=1, hugetlb=True), 1, 0),
        (found(NEW, refs=NR + 3, mapping=FILE, total=1, pins=2, hugetlb=True), 1, 2),
    ],
)
def test_references_that_nothing_explains(large: LargePages, mapcount: int, extra: int) -> None:
    assert (large.at.tolist(), large.mapcount.tolist(), large.extra.tolist()) == ([1], [mapcount], [extra])


def test_pins_have_a_count_of_their_own() -> None:
    assert found(NEW, "lru", refs=2, total=1, pins=1).pins.tolist() == [1]
    assert found(replace(NEW, pins=-1), "lru", refs=2, total=1).pins.tolist() == [-1]


def test_pages_that_do_not_migrate_or_lie_unused_are_left_out() -> None:
    assert found(NEW, refs=9).at.tolist() == []
    assert found(NEW, refs=0, hugetlb=True).at.tolist() == []
