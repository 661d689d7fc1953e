"""Pages that somebody holds: looked up by any of their pages, told and restored."""

import numpy as np
import pytest

from pageblock.machine.held import HeldPages

#: pfn, order, refcount, mapcount, pins, extra, word
ROWS = [[5, 0, 1025, 1, -1, 1024, 0x1020], [1024, 9, 2, 1, 1, 1, 0x20000]]


def test_a_page_is_found_by_each_of_its_pfns() -> None:
    held = HeldPages.of_rows(ROWS)
    assert held.index(np.array([4, 5, 6, 1023, 1024, 1535, 1536])).tolist() == [-1, 0, -1, -1, 1, 1, -1]
    found = held.of(1500)
    assert found is not None
    assert (found.pfn, found.order, found.pins, found.extra) == (1024, 9, 1, 1)
    assert held.of(6) is None


def test_rows_and_pages_are_the_same() -> None:
    assert HeldPages.of_rows(ROWS).rows() == ROWS
    assert HeldPages.of_rows(ROWS) == HeldPages.of_rows(ROWS)
    assert HeldPages.of_rows(ROWS) != HeldPages.of_rows(ROWS[:1])


def test_nobody_holds_anything() -> None:
    held = HeldPages.of_rows([])
    assert len(held) == 0
    assert held.of(5) is None
    assert held.rows() == []


@pytest.mark.parametrize("rows", [ROWS[::-1], [ROWS[0], ROWS[0]], [[1, 2]], [["x"] * 7]])
def test_other_rows_are_refused(rows: list[list[object]]) -> None:
    with pytest.raises(ValueError, match=r"not in order|reshape|invalid literal"):
        HeldPages.of_rows(rows)
