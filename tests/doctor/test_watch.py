"""What changed between two looks at a machine."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from pageblock.cli.doctor import recorded_machine
from pageblock.doctor import BLOCKED, FREE, Report, Verdicts, diagnose
from pageblock.doctor.watch import LISTED, Place, changes, rounds
from pageblock.errors import InputError
from pageblock.machine import read_machine
from pageblock.mm import PageClass

SLAB = "kernel objects (slab)"


@pytest.fixture(scope="module")
def report() -> Report:
    return diagnose(read_machine(recorded_machine()), [512], ["6.1"])


def edited(report: Report, edit: Callable[[Verdicts], Verdicts]) -> Report:
    """The report with other verdicts in its zone Normal."""
    (row,) = report.rows
    return replace(report, rows=(replace(row, zones=(*row.zones[:2], edit(row.zones[2]))),))


def blocking(*index: int) -> Callable[[Verdicts], Verdicts]:
    """Make these ranges blocked by slab pages at their first page."""

    def edit(v: Verdicts) -> Verdicts:
        verdict, reasons, at = v.verdict.copy(), v.reasons.copy(), v.blocker_at.copy()
        places = list(index)
        verdict[places], reasons[places] = BLOCKED, 1 << PageClass.SLAB
        at[places] = v.first_pfn - v.origin + np.array(places) * v.nr_pages
        return replace(v, verdict=verdict, reasons=reasons, blocker_at=at)

    return edit


def free_ranges(report: Report) -> list[int]:
    return [int(i) for i in np.flatnonzero(report.rows[0].zones[2].verdict == FREE)]


def test_the_first_look_changes_nothing(report: Report) -> None:
    (change,) = changes(None, report)
    assert change.before is None
    assert (change.changed, change.came, change.went) == (0, (), ())


def test_a_look_at_the_same_changes_nothing(report: Report) -> None:
    (change,) = changes(report, report)
    assert change.before is not None
    assert (change.changed, change.nr_came, change.nr_went) == (0, 0, 0)
    assert (change.reasons, change.came, change.went) == ((), (), ())


def test_a_range_that_comes_to_be_blocked_is_named_with_its_blocker(report: Report) -> None:
    i = free_ranges(report)[7]
    (change,) = changes(report, edited(report, blocking(i)))
    start = 0x100000 + i * 512
    assert change.came == (Place("node 0 Normal", start, start, (SLAB,)),)
    assert (change.changed, change.nr_came, change.nr_went) == (1, 1, 0)


def test_a_range_that_is_no_longer_blocked_is_named_as_it_was(report: Report) -> None:
    i = free_ranges(report)[7]
    (change,) = changes(edited(report, blocking(i)), report)
    assert change.went == (Place("node 0 Normal", 0x100000 + i * 512, 0x100000 + i * 512, (SLAB,)),)
    assert (change.nr_came, change.nr_went) == (0, 1)


def test_no_more_than_some_are_listed_and_all_are_counted(report: Report) -> None:
    places = free_ranges(report)[: LISTED + 5]
    (change,) = changes(report, edited(report, blocking(*places)))
    assert (len(change.came), change.nr_came, change.changed) == (LISTED, LISTED + 5, LISTED + 5)


def test_reasons_are_counted_before_and_now(report: Report) -> None:
    (row,) = report.rows
    fewer = tuple(replace(b, ranges=b.ranges - 2) if b.reason == SLAB else b for b in row.blockers)
    before = replace(report, rows=(replace(row, blockers=fewer),))
    (change,) = changes(before, report)
    assert [(r.reason, r.ranges - r.before) for r in change.reasons] == [(SLAB, 2)]


def test_a_zone_that_grew_is_compared_where_both_are(report: Report) -> None:
    def cut(v: Verdicts) -> Verdicts:
        columns = {name: getattr(v, name)[100:] for name in ("verdict", "cost", "dropped", "reasons", "nr_blockers")}
        return replace(v, first_pfn=v.first_pfn + 100 * 512, blocker_at=v.blocker_at[100:], **columns)

    blocked_before = int((report.rows[0].zones[2].verdict[:100] == BLOCKED).sum())
    (change,) = changes(edited(report, cut), report)
    assert (change.changed, change.nr_came, change.nr_went) == (0, blocked_before, 0)
    assert blocked_before


def test_a_size_that_was_not_asked_for_before_is_new(report: Report) -> None:
    other = replace(report, rows=(replace(report.rows[0], release="5.15"),))
    assert changes(other, report)[0].before is None


def test_a_look_that_fails_later_is_told_and_the_next_is_compared_with_the_last_good_one(report: Report) -> None:
    blocked = edited(report, blocking(free_ranges(report)[0]))
    looks: Iterator[Report | InputError] = iter([report, InputError("kpageflags: cut off"), blocked])

    def look() -> Report:
        found = next(looks)
        if isinstance(found, InputError):
            raise found
        return found

    found = rounds(look)
    assert next(found).number == 1
    second, third = next(found), next(found)
    assert (second.number, second.report, second.error) == (2, None, "kpageflags: cut off")
    assert (third.number, third.error, third.changes[0].nr_came) == (3, None, 1)


def test_a_first_look_that_fails_is_an_error() -> None:
    def look() -> Report:
        raise InputError("no such folder")

    with pytest.raises(InputError, match="no such folder"):
        next(rounds(look))
