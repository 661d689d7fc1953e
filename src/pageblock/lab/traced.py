"""Recorded traces as workloads: each page is asked for when it was, and freed when it was.

A trace tells which requests a machine had and how long their pages lived; on another machine, or under another release, they get
other pages. What a trace cannot tell, the frees of pages that were there before it, is left out and counted.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

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
from ..mm import OPERATION, PageClass, PageFlag
from .replay import MOST_HANDLES
from .workload import FOREVER, REQUEST, TICK, Call, Requests, Running, Workload, World

__all__ = ["Traced", "load_trace"]

#: Operations of a recorded kernel that make a tick: such a trace has no clock.
_OPERATIONS_A_TICK = 1024

#: Model seconds of a tick of a trace with a clock.
_TICK_SECONDS = 0.1

#: Key that marks a Parquet file of allocation events.
_EVENTS_KEY = b"pageblock.events"

_PARQUET = b"PAR1"

#: Class and flags of a page by migratetype, as far as a request tells its use: of single pages, larger ones, and compound ones.
_FLAGS = np.array(
    [
        [PageClass.KERNEL, PageClass.ANON, PageClass.SLAB],
        [PageClass.KERNEL, PageClass.KERNEL, PageClass.SLAB],
        [kind | PageFlag.COMPOUND for kind in (PageClass.KERNEL, PageClass.THP, PageClass.SLAB)],
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Traced:
    """The requests of a trace, by tick.

    ``table``: REQUEST rows in order of time; ``ticks``: first row of each tick, and one past the last; ``ranges``: calls for
    contiguous ranges by tick; ``left_out``: what was freed without having been allocated in the trace, requests that got nothing,
    and events that are neither.
    """

    name: str
    table: Requests
    ticks: npt.NDArray[np.int64]
    ranges: dict[int, list[Call]] = field(default_factory=dict)
    left_out: int = 0
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
        """At work. Raises InputError if the machine has no blocks of an order that the trace asks for."""
        largest = int(self.table["order"].max(initial=0))
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
    """The requests of a file of allocation events (``pageblock record``, ``pageblock import``), and seconds of a tick."""
    try:
        with pq.ParquetFile(path) as file:
            if _EVENTS_KEY not in (file.metadata.metadata or {}):
                raise InputError(
                    f"{path}: a Parquet file, but no allocation events: make one with pageblock record or import"
                )
            table = file.read(columns=["time_ns", "event", "pfn", "order", "migratetype", "gfp"])
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        line = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path}: no whole file of allocation events ({line}); record it again") from None
    event = _words(table["event"])
    had = table["pfn"].is_valid().to_numpy()
    allocates, frees = event == "mm_page_alloc", event == "mm_page_free"
    refused = allocates & ~had
    # a page of a bulk free is told twice: mm_page_free_batched beside mm_page_free
    mine = (allocates | frees) & had
    time_ns = table["time_ns"].to_numpy()
    start = int(time_ns[0]) if len(time_ns) else 0
    part_ns = _TICK_SECONDS * 1e9 / TICK
    time = ((time_ns - start) / part_ns).astype(np.int64)
    columns = {name: _numbers(table[name])[mine] for name in ("pfn", "order", "migratetype")}
    life, left_out = _lives(columns["pfn"], time[mine], frees[mine], np.zeros(0, np.int64))
    asked = allocates[mine]
    order = np.clip(columns["order"][asked], 0, 26).astype(np.uint8)
    types = columns["migratetype"][asked]
    # a request is for one of three types; others are told of pages only
    types = np.where((types < 0) | (types > 2), 0, types).astype(np.uint8)
    gfp = _words(table["gfp"])[mine][asked]
    atomic, compound = _matches(gfp, r"\bGFP_ATOMIC\b|\b__GFP_HIGH\b"), _matches(gfp, r"\b__GFP_COMP\b|GFP_TRANSHUGE")
    flags = _FLAGS[np.where(order == 0, 0, np.where(compound, 2, 1)), types]
    rows, ticks = _table(
        time[mine][asked],
        life[asked],
        np.where(atomic, 5, 1),
        order,
        types,
        flags,
        int(time[-1] // TICK) + 1 if len(time) else 1,
    )
    others = len(event) - int((allocates | frees | (event == "mm_page_free_batched")).sum())
    return Traced(path.stem, rows, ticks, {}, left_out + int(refused.sum()) + others), _TICK_SECONDS


def _words(column: Any) -> npt.NDArray[np.object_]:
    """A column of words, each once in memory; "" where there is none."""
    return np.asarray(column.cast(pa.string()).fill_null("").to_numpy(zero_copy_only=False), object)


def _numbers(column: Any) -> npt.NDArray[np.int64]:
    """A column of numbers; 0 where there is none."""
    return np.asarray(column.cast(pa.int64()).fill_null(0).to_numpy(), np.int64)


def _matches(words: npt.NDArray[np.object_], pattern: str) -> npt.NDArray[np.bool_]:
    """Which words a pattern is found in; each different word is looked at once."""
    different, at = np.unique(words.astype(str), return_inverse=True)
    return np.array([re.search(pattern, word) is not None for word in different.tolist()], np.bool_)[at]
