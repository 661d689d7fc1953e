"""What changed from one reading of a machine to the next: counts, reasons, and the ranges that came to be blocked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from ..errors import PageblockError
from .report import Report, Row
from .verdict import BLOCKED, NO_PFN, REASONS, Verdicts

__all__ = ["LISTED", "Change", "Place", "ReasonChange", "Round", "changes", "rounds"]

#: Most ranges of one size that are listed a round, of those that came to be blocked and of those that no longer are.
LISTED = 20


@dataclass(frozen=True)
class Place:
    """A blocked range [start_pfn, start_pfn + its size): why, and the first page in the way (None: no one page)."""

    zone: str
    start_pfn: int
    blocker_pfn: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ReasonChange:
    """Blocked ranges with a reason, a round ago and now."""

    reason: str
    before: int
    ranges: int


@dataclass(frozen=True)
class Change:
    """One size under one release: its row, and the row of the round before (None: there was none).

    ``changed``: ranges whose verdict is another; ``came``, ``went``: ranges that are blocked now and were not, and the
    reverse (as they were then), at most ``LISTED`` each, ``nr_came`` and ``nr_went`` all of them.
    """

    row: Row
    before: Row | None
    changed: int
    reasons: tuple[ReasonChange, ...]
    came: tuple[Place, ...]
    went: tuple[Place, ...]
    nr_came: int
    nr_went: int


@dataclass(frozen=True)
class Round:
    """One reading. ``number`` counts from 1; ``time`` of its end; either a report with its changes, or an error."""

    number: int
    time: datetime
    report: Report | None
    changes: tuple[Change, ...]
    error: str | None = None


def rounds(look: Callable[[], Report]) -> Iterator[Round]:
    """Look again for each round asked for; each is compared with the last that could be read.

    Raises:
        PageblockError: the first look failed. A later one is told in its round, as the next may succeed: a capture is
            being rewritten, say.
    """
    last: Report | None = None
    number = 0
    while True:
        number += 1
        try:
            report = look()
        except PageblockError as error:
            if last is None:
                raise
            yield Round(number, datetime.now(UTC), None, (), str(error))
            continue
        found = changes(last, report)
        last = report
        yield Round(number, datetime.now(UTC), report, found)


def changes(before: Report | None, now: Report) -> tuple[Change, ...]:
    """Each row with what changed; rows are of one size and release, ranges of one zone and first pfn."""
    old = {(row.nr_pages, row.release): row for row in before.rows} if before is not None else {}
    return tuple(_change(old.get((row.nr_pages, row.release)), row) for row in now.rows)


def _change(before: Row | None, row: Row) -> Change:
    if before is None:
        return Change(row, None, 0, (), (), (), 0, 0)
    counts = {blocker.reason: blocker.ranges for blocker in row.blockers}
    old_counts = {blocker.reason: blocker.ranges for blocker in before.blockers}
    reasons = tuple(
        ReasonChange(reason, old_counts.get(reason, 0), counts.get(reason, 0))
        for reason in REASONS.values()
        if old_counts.get(reason, 0) != counts.get(reason, 0)
    )
    came: list[Place] = []
    went: list[Place] = []
    changed = nr_came = nr_went = 0
    old_zones = {v.zone: v for v in before.zones}
    new_zones = {v.zone: v for v in row.zones}
    for name in old_zones | new_zones:
        old, new = old_zones.get(name), new_zones.get(name)
        changed += _differ(old, new)
        fresh, gone = _blocked_only_in(new, old), _blocked_only_in(old, new)
        nr_came, nr_went = nr_came + len(fresh), nr_went + len(gone)
        came += _places(new, fresh[: LISTED - len(came)])
        went += _places(old, gone[: LISTED - len(went)])
    return Change(row, before, changed, reasons, tuple(came), tuple(went), nr_came, nr_went)


def _differ(one: Verdicts | None, other: Verdicts | None) -> int:
    """Ranges that both have, with different verdicts: a zone may have grown or begun elsewhere."""
    if one is None or other is None:
        return 0
    _, in_one, in_other = np.intersect1d(one.start_pfn, other.start_pfn, assume_unique=True, return_indices=True)
    return int((one.verdict[in_one] != other.verdict[in_other]).sum())


def _blocked_only_in(one: Verdicts | None, other: Verdicts | None) -> npt.NDArray[np.intp]:
    """Indexes of the ranges that are blocked in one and not in the other."""
    if one is None:
        return np.zeros(0, np.intp)
    blocked = np.flatnonzero(one.verdict == BLOCKED)
    if other is None:
        return blocked
    taken = other.start_pfn[other.verdict == BLOCKED]
    return blocked[~np.isin(one.start_pfn[blocked], taken, assume_unique=True)]


def _places(v: Verdicts | None, index: npt.NDArray[np.intp]) -> list[Place]:
    if v is None:
        return []
    return [
        Place(
            v.zone,
            v.first_pfn + i * v.nr_pages,
            None if pfn == NO_PFN else int(pfn),
            tuple(words for bit, words in REASONS.items() if v.reasons[i] >> np.uint32(bit) & 1),
        )
        for i, pfn in zip(index.tolist(), v.blocker_pfn[index], strict=True)
    ]
