"""Who allocated the pages that block ranges, where a page_owner dump tells."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..machine import Snapshot
from .verdict import BLOCKED, Verdicts

__all__ = ["Holder", "Holders"]

Words = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Holder:
    """An owner (function and command) and how many blocked ranges hold pages of its of the kind asked about."""

    name: str
    ranges: int


class Holders:
    """Owners of the pages of each class of a snapshot's zones."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.owners = snapshot.owners
        self.runs = snapshot.runs
        self._stretches: dict[tuple[int, int], tuple[Words, Words, Words]] = {}

    def of(self, pfn: int) -> str | None:
        """The owner of a page; None where it is not told."""
        return None if self.owners is None else self.owners.of(pfn)

    def stretches(self, zone: int, page_class: int) -> tuple[Words, Words, Words]:
        """Start, end and owner's index of the pages of one class in a zone that have an owner."""
        key = (zone, page_class)
        if key not in self._stretches:
            assert self.owners is not None
            assert self.runs is not None
            mine = (self.runs["zone"].to_numpy() == zone) & (self.runs["class"].to_numpy() == page_class)
            start = self.runs["start_pfn"].to_numpy()[mine].astype(np.int64)
            end = start + self.runs["nr_pages"].to_numpy()[mine].astype(np.int64)
            owners = self.owners
            first = np.searchsorted(owners.end, start, "right")
            number = np.maximum(np.searchsorted(owners.start, end, "left") - first, 0)
            run = np.repeat(np.arange(len(start)), number)
            at = np.repeat(first, number) + np.arange(len(run)) - np.repeat(np.cumsum(number) - number, number)
            low, high = np.maximum(start[run], owners.start[at]), np.minimum(end[run], owners.end[at])
            self._stretches[key] = low, high, owners.name[at]
        return self._stretches[key]

    def holders(self, zones: list[tuple[int, Verdicts]], page_class: int, count: int) -> tuple[Holder, ...]:
        """Those who hold pages of a class in the most blocked ranges that the class blocks. ``zones``: index and verdicts."""
        if self.owners is None:
            return ()
        totals = np.zeros(len(self.owners.names), np.int64)
        for zone, v in zones:
            blocked = (v.verdict == BLOCKED) & (v.reasons >> np.uint32(page_class) & 1 > 0)
            start, end, name = self.stretches(zone, page_class)
            first = np.clip((start - v.first_pfn) // v.nr_pages, 0, len(blocked))
            last = np.clip((end - 1 - v.first_pfn) // v.nr_pages + 1, first, len(blocked))
            number = last - first
            at = np.repeat(first, number) + np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
            pairs = np.unique(np.stack([at, np.repeat(name, number)])[:, blocked[at]], axis=1)
            totals += np.bincount(pairs[1], minlength=len(totals))
        best = np.argsort(-totals, kind="stable")[:count]
        return tuple(Holder(self.owners.names[i], int(totals[i])) for i in best.tolist() if totals[i])
