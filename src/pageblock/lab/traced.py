"""Recorded traces as workloads: each page is asked for when it was, and freed when it was.

A trace tells which requests a machine had and how long their pages lived; on another machine, or under another release, they get
other pages. What a trace of a recorded kernel cannot tell, the frees of pages that were there before it, is left out and counted;
what a trace of real allocation cannot tell is modelled (``alloc_blocks``).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..machine.trace import (
    REASONS,
    Actions,
    CmaAlloc,
    CmaRelease,
    Contig,
    Dump,
    FreeAll,
    TraceReader,
    to_operations,
)
from ..mm import OPERATION
from .alloc_trace import NEVER, AllocationTrace
from .replay_state import MOST_HANDLES
from .workload import FOREVER, REQUEST, TICK, Call, Requests, Running, Workload, World

__all__ = ["Traced", "load_trace"]

#: Operations of a recorded kernel that make a tick: such a trace has no clock.
_OPERATIONS_A_TICK = 1024

#: Model seconds of a tick of a trace with a clock.
_TICK_SECONDS = 0.1

_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Traced:
    """The requests of a trace, by tick.

    ``table``: REQUEST rows in order of time; ``ticks``: first row of each tick, and one past the last; ``ranges``: calls for
    contiguous ranges by tick; ``left_out``: what was freed without having been allocated in the trace, requests that got nothing,
    and records of other kinds; ``page_size``: bytes, of the traced machine, 0 where not told.
    """

    name: str
    table: Requests
    ticks: npt.NDArray[np.int64]
    ranges: dict[int, list[Call]] = field(default_factory=dict)
    left_out: int = 0
    page_size: int = 0
    evictable: bool = False
    splits: bool = False

    @property
    def needs_cma(self) -> bool:
        """Whether it asks for CMA memory."""
        return any(call.kind == "cma" for calls in self.ranges.values() for call in calls)

    def most_pages(self, world: World) -> int:
        """No limit."""
        return 0

    def start(self, world: World) -> Running:
        """At work. Raises InputError if the machine has other pages, or no blocks of an order that the trace asks for."""
        largest = int(self.table["order"].max(initial=0))
        if self.page_size not in (0, world.page_size):
            raise InputError(
                f"{self.name} is of pages of {self.page_size} bytes, the machine's have {world.page_size}: "
                f"give --geometry page-size={self.page_size}"
            )
        if largest > world.max_order:
            raise InputError(f"{self.name} asks for order {largest}, and max order is {world.max_order}: raise it")
        return _Played(self)


class _Played:
    def __init__(self, trace: Traced) -> None:
        self.trace = trace

    def requests(self, tick: int) -> Requests:
        if tick >= len(self.trace.ticks) - 1:
            return np.zeros(0, REQUEST)
        return self.trace.table[self.trace.ticks[tick] : self.trace.ticks[tick + 1]].copy()

    def calls(self, tick: int) -> list[Call]:
        return self.trace.ranges.get(tick, [])


def load_trace(path: Path) -> tuple[Workload, int]:
    """A trace as a workload, and its length in ticks.

    Either a recorded kernel's (``pageblock replay``) or a Parquet file of allocation events.

    Raises:
        InputError: neither, or broken.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: name a workload or a trace that can be read") from None
    traced, seconds = _events(path) if magic == _PARQUET else (_recorded_kernel(path), 1.0)
    about = f"as recorded in {path.name}; {traced.left_out:,} events left out"
    return Workload(traced.name, (traced,), about, seconds), len(traced.ticks) - 1


# ---- a recorded kernel ----


class _Story:
    """What a recorded kernel was asked, in order; a point of time an operation."""

    def __init__(self, reader: TraceReader) -> None:
        self.reader = reader
        self.time = 0
        self.orders, self.pages = 0, 0
        self.sizes: npt.NDArray[np.int64] = np.full(1 << 10, -1, np.int64)
        self.is_contig: npt.NDArray[np.bool_] = np.zeros(1 << 10, np.bool_)
        #: operations of ``Zone.run`` and when; of contiguous ranges op 3, and the row of ``calls`` in ``start``
        self.ops: list[npt.NDArray[np.void]] = []
        self.times: list[npt.NDArray[np.int64]] = []
        self.calls: list[tuple[str, int, int, int]] = []
        self.emptied: list[int] = []
        self.refused = 0

    def read(self) -> None:
        """All records."""
        for record in self.reader.records():
            if isinstance(record, Dump):
                self.orders = self.orders or record.number("max_order") - 1
                self.pages = self.pages or record.number("spanned")
            elif not self.pages:
                raise self.reader.fail("an operation comes before the first dump")
            elif isinstance(record, Actions):
                self.actions(record.rows)
            elif isinstance(record, FreeAll):
                self.emptied.append(self.time)
            elif isinstance(record, Contig):
                self.call(record.handle, "range", record.nr_pages, 0, record.start, record.errno == 0)
            elif isinstance(record, CmaAlloc):
                self.call(record.handle, "cma", record.count, record.align, 0, record.pfn is not None)
            elif isinstance(record, CmaRelease) and not record.empty:
                self.note(np.array([(2, 0, 0, 0, record.handle, 0, 0)], OPERATION))

    def note(self, ops: npt.NDArray[np.void]) -> None:
        """Operations at the next points of time."""
        self.ops.append(ops)
        self.times.append(np.arange(self.time, self.time + len(ops)))
        self.time += len(ops)

    def room_for(self, handle: int) -> None:
        """Tables long enough for a handle."""
        if not 0 <= handle < MOST_HANDLES:
            raise self.reader.fail(f"handle {handle} is out of range")
        if handle >= len(self.sizes):
            more = max(handle + 1 - len(self.sizes), len(self.sizes))
            self.sizes = np.concatenate([self.sizes, np.full(more, -1, np.int64)])
            self.is_contig = np.concatenate([self.is_contig, np.zeros(more, np.bool_)])

    def actions(self, rows: npt.NDArray[np.void]) -> None:
        """Allocations and frees. What got no page then is left out: nobody would free it."""
        self.room_for(int(rows["handle"].max()))
        ops = np.zeros(len(rows), OPERATION)
        done, why = to_operations(rows, ops, self.sizes, self.is_contig, self.orders, self.pages)
        if why:
            row = rows[done]
            words = REASONS[why].format(handle=row["handle"], order=row["order"], pfn=row["pfn"], nr_pages=self.pages)
            raise self.reader.fail(words, int(row["line"]))
        kept = (ops["op"] == 2) | (ops["op"] == 4) | (rows["pfn"] >= 0)
        self.refused += int((~kept).sum())
        self.note(ops[kept])

    def call(self, handle: int, kind: str, nr_pages: int, align: int, start: int, given: bool) -> None:
        """A contiguous range; one that was refused is asked for all the same, and given back at once if it is had."""
        if nr_pages < 1 or nr_pages >> 30 or not 0 <= start < 1 << 30 or not 0 <= align < 64:
            # an empty range, or one before the zone, which a kernel can be asked for: there is nothing to be had
            return
        self.room_for(handle)
        if given:
            self.sizes[handle] = nr_pages
            self.is_contig[handle] = True
        op = np.zeros(1, OPERATION)
        op["op"], op["handle"], op["start"], op["nr"] = 3, handle, len(self.calls), int(given)
        self.calls.append((kind, nr_pages, align, start))
        self.note(op)


def _recorded_kernel(path: Path) -> Traced:
    """The requests of a trace of the recorder."""
    story = _Story(TraceReader(path))
    story.read()
    ops = np.concatenate(story.ops) if story.ops else np.zeros(0, OPERATION)
    times = np.concatenate(story.times) if story.times else np.zeros(0, np.int64)
    frees = (ops["op"] == 2) | (ops["op"] == 4)
    life, left_out = _lives(ops["handle"].astype(np.int64), times, frees, np.array(story.emptied, np.int64))
    part = TICK // _OPERATIONS_A_TICK
    ranges: dict[int, list[Call]] = {}
    for i in np.flatnonzero(ops["op"] == 3).tolist():
        kind, nr_pages, align, start = story.calls[int(ops["start"][i])]
        lasts = int(life[i] * part if life[i] >= 0 else FOREVER) if ops["nr"][i] else 0
        tick, at = divmod(int(times[i]) * part, TICK)
        ranges.setdefault(tick, []).append(Call(at, kind, nr_pages, align, lasts, start))
    asked = ~frees & (ops["op"] != 3)
    table, ticks = _table(
        times[asked] * part,
        np.where(life[asked] >= 0, life[asked] * part, FOREVER),
        ops["op"][asked],
        ops["order"][asked],
        ops["migratetype"][asked],
        ops["flags"][asked],
        max(1, -(-story.time // _OPERATIONS_A_TICK)),
    )
    return Traced(path.name.split(".txt")[0], table, ticks, ranges, left_out + story.refused)


def _lives(
    keys: npt.NDArray[np.int64],
    times: npt.NDArray[np.int64],
    frees: npt.NDArray[np.bool_],
    emptied: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], int]:
    """How long each entry's page lived, -1: to the end; and frees of what was not allocated here.

    ``keys``: what says that a free is an allocation's: handle or pfn; ``emptied``: times, ascending, when all was freed.
    """
    life = np.full(len(keys), -1, np.int64)
    if not len(keys):
        return life, 0
    order = np.lexsort((np.arange(len(keys)), keys))
    key, time, free = keys[order], times[order], frees[order]
    same = key[1:] == key[:-1]
    ended = same & ~free[:-1] & free[1:]
    found = np.full(len(keys), -1, np.int64)
    found[:-1][ended] = time[1:][ended] - time[:-1][ended]
    left_out = int((free & ~np.concatenate([[False], same & ~free[:-1]])).sum())
    life[order] = found
    if len(emptied):
        nth = np.searchsorted(emptied, times)
        until = np.where(nth < len(emptied), emptied[np.minimum(nth, len(emptied) - 1)] - times, -1)
        life = np.where((until >= 0) & ((life < 0) | (until < life)), until, life)
    return life, left_out


def _table(
    time: npt.NDArray[np.int64],
    life: npt.NDArray[np.int64],
    op: Any,
    order: Any,
    migratetype: Any,
    flags: Any,
    nr_ticks: int,
) -> tuple[Requests, npt.NDArray[np.int64]]:
    """Requests from columns in order of time (parts of a tick), and the first row of each tick."""
    table = np.zeros(len(time), REQUEST)
    table["at"] = time % TICK
    for name, column in (
        ("life", life),
        ("op", op),
        ("order", order),
        ("migratetype", migratetype),
        ("flags", flags),
    ):
        table[name] = column
    return table, np.searchsorted(time // TICK, np.arange(nr_ticks + 1))


# ---- events of real allocation ----


def _events(path: Path) -> tuple[Traced, float]:
    """The requests of a file of allocation events (``pageblock record``, ``pageblock import``), and seconds of a tick.

    What the trace does not tell is as ``AllocationTrace`` models it. A range that somebody tried to have is asked for anywhere:
    where the traced kernel had it says nothing of another machine.
    """
    trace = AllocationTrace.read(path)
    part_ns = _TICK_SECONDS * 1e9 / TICK
    blocks = trace.blocks
    start = (blocks["start_ns"] / part_ns).astype(np.int64)
    ended = blocks["end_ns"] != NEVER
    life = np.where(ended, (blocks["end_ns"] / part_ns).astype(np.int64) - start, FOREVER)
    last = int(trace.span_ns / part_ns) // TICK + 1
    op, order, migratetype, flags = (blocks[name] for name in ("op", "order", "migratetype", "flags"))
    rows, ticks = _table(start, life, op, order, migratetype, flags, last)
    ranges: dict[int, list[Call]] = {}
    left_out = trace.unknown.refused
    for one in trace.attempts:
        at = int(one.start_ns / part_ns)
        if one.nr_pages < 1 or (one.kind == "range" and one.nr_pages & (one.nr_pages - 1)):
            # alloc_contig_pages aligns to a power of two
            left_out += 1
            continue
        lasts = 0 if one.errno else FOREVER if one.end_ns == NEVER else int(one.end_ns / part_ns) - at
        kind = "cma" if one.kind == "cma" else "first"
        ranges.setdefault(at // TICK, []).append(Call(at % TICK, kind, one.nr_pages, one.align, lasts))
    size = trace.events.origin.page_size
    return Traced(trace.name, rows, ticks, ranges, left_out, size), _TICK_SECONDS
