"""The tables behind a run: handles that are used again, and the calendar of ends."""

import numpy as np

from pageblock.lab.calendar import DUE, Calendar
from pageblock.lab.handles import Handles
from pageblock.lab.workload import TICK


def dues(*ticks: int) -> np.ndarray:
    found = np.zeros(len(ticks), DUE)
    found["due"] = np.array(ticks, np.int64) * TICK + 5
    found["handle"] = np.arange(len(ticks))
    return found


def test_ends_come_in_their_tick_however_far() -> None:
    calendar = Calendar()
    calendar.file(dues(0, 63, 64, 64, 200, 70))
    found = {tick: calendar.take(tick)["handle"].tolist() for tick in range(300)}
    assert {tick: handles for tick, handles in found.items() if handles} == {
        0: [0],
        63: [1],
        64: [2, 3],
        70: [5],
        200: [4],
    }


def test_ends_that_are_filed_later_come_behind() -> None:
    calendar = Calendar()
    calendar.file(dues(3))
    calendar.take(0)
    more = dues(3)
    more["handle"] = 9
    calendar.file(more)
    assert [calendar.take(tick)["handle"].tolist() for tick in (1, 2, 3)] == [[], [], [0, 9]]


def test_handles_are_never_in_use_twice() -> None:
    handles = Handles(1)
    first = handles.take(3000)
    handles.give(first[:10])
    more = handles.take(9000)
    assert len(np.unique(np.concatenate([first, more]))) == 12000
    handles.settle()
    again = handles.take(10)
    assert set(again.tolist()) == set(first[:10].tolist())


def test_a_use_can_be_told_from_the_next() -> None:
    handles = Handles(1)
    one = handles.take(1)
    before = handles.use[one].copy()
    handles.give(one)
    assert handles.use[one] != before


def test_tables_grow_with_what_they_hold() -> None:
    handles = Handles(2)
    first = handles.take(5)
    handles.order[first] = 3
    handles.frames[1][first] = 7
    handles.take(10_000)
    assert handles.order[first].tolist() == [3] * 5
    assert handles.frames[1][first].tolist() == [7] * 5
    assert len(handles.frames[0]) == len(handles.use) >= 10_005
