"""Traces of real allocation, to be run on the model: what was in use from when to when, which contiguous ranges were tried."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..machine.alloc_events import AllocationEvents, read_events
from ..mm import OPERATION
from .alloc_blocks import BLOCK, FREE, NEVER, Attempt, Ints, Unknown, blocks_of

__all__ = ["BLOCK", "NEVER", "AllocationTrace", "Attempt", "Batch", "Unknown"]


@dataclass(frozen=True)
class Batch:
    """Operations in order of time: ``time_ns`` of each, and an array of OPERATION for ``Zone.run``."""

    time_ns: Ints
    operations: npt.NDArray[np.void]


@dataclass(frozen=True)
class AllocationTrace:
    """A trace, ready to be run.

    Args:
        name: what results call it.
        events: as recorded.
        blocks: BLOCK rows in order of their start.
        attempts: contiguous ranges that were tried, in order of time.
        unknown: what had to be modelled.
    """

    name: str
    events: AllocationEvents
    blocks: npt.NDArray[np.void]
    attempts: tuple[Attempt, ...]
    unknown: Unknown

    @classmethod
    def read(cls, path: Path) -> "AllocationTrace":
        """A file of pageblock record or import. Raises InputError where it is none, or nothing in it is of a page."""
        return cls.of(read_events(path), path.name.removesuffix(".parquet"))

    @classmethod
    def of(cls, events: AllocationEvents, name: str = "trace") -> "AllocationTrace":
        """The trace of events. Raises InputError where none allocates or frees."""
        blocks, attempts, unknown = blocks_of(events)
        if not len(blocks) and not attempts:
            raise InputError(f"{name}: no event of it allocates or frees a page; record the events of kmem")
        return cls(name, events, blocks, attempts, unknown)

    @property
    def span_ns(self) -> int:
        """From the first event to the last."""
        return self.events.span_ns

    @property
    def largest_order(self) -> int:
        """Of all blocks."""
        return int(self.blocks["order"].max(initial=0))

    @property
    def most_pages(self) -> int:
        """Pages in use at once, of those that the trace knows."""
        pages = np.int64(1) << self.blocks["order"].astype(np.int64)
        ended = self.blocks["end_ns"] != NEVER
        times = np.concatenate([self.blocks["start_ns"], self.blocks["end_ns"][ended]])
        change = np.concatenate([pages, -pages[ended]])
        # at one time what is allocated counts before what is freed
        order = np.lexsort((-change, times))
        return int(np.cumsum(change[order]).max(initial=0))

    @property
    def nr_handles(self) -> int:
        """Handles that ``batches`` needs, one a block in use."""
        _, handles = self._in_order()
        return int(handles.max(initial=-1)) + 1

    def batches(self, size: int = 1 << 16) -> Iterator[Batch]:
        """All allocations and frees in order of time, ``size`` at a time; handles are used again as soon as they are free."""
        which, handles = self._in_order()
        n = len(self.blocks)
        is_free = which >= n
        block = self.blocks[np.where(is_free, which - n, which)]
        times = np.where(is_free, block["end_ns"], block["start_ns"])
        ops = np.zeros(len(which), OPERATION)
        for name in ("op", "order", "migratetype", "flags"):
            ops[name] = np.where(is_free, 0, block[name])
        ops["op"][is_free] = FREE
        ops["handle"] = handles
        for first in range(0, len(ops), size):
            yield Batch(times[first : first + size], ops[first : first + size])

    def _in_order(self) -> tuple[Ints, Ints]:
        """Starts (block's number) and ends (number of blocks more) in order of time, and the handle of each."""
        n = len(self.blocks)
        ended = np.flatnonzero(self.blocks["end_ns"] != NEVER)
        times = np.concatenate([self.blocks["start_ns"], self.blocks["end_ns"][ended]])
        which = np.concatenate([np.arange(n), n + ended])
        # of two at one time the one of the earlier block comes first, and a block starts before it ends
        which = which[np.lexsort((which % max(n, 1), which >= n, times))]
        handles = np.empty(n, np.int64)
        spare: list[int] = []
        fresh = 0
        for number in which.tolist():
            if number >= n:
                spare.append(int(handles[number - n]))
            elif spare:
                handles[number] = spare.pop()
            else:
                handles[number] = fresh
                fresh += 1
        return which, handles[np.where(which >= n, which - n, which)]
