"""From the events of a trace to blocks in use: what the trace tells, and what must be modelled because it does not.

A trace does not tell all. What it leaves out is modelled here, in one way, and counted (``Unknown``):

* a page that is freed without having been allocated in the trace was allocated before it: it is in use from the start;
* a page that is freed twice without an allocation between was allocated in between by a way that has no tracepoint (many pages at
  once, a target of compaction): it is in use from the middle of the time in which that must have been;
* a block that is allocated where one is in use already was freed unseen: the old one ends there;
* a block that is freed in parts (split_page, a split THP) ends with its last part; blocks that are freed as one larger one end
  with it.

Whether an allocation came off a per-cpu list the trace tells only by what it does not show, which is counted; the model has
its own per-cpu lists (``Zone.set_pcp``).
"""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from ..machine.alloc_events import MOST_ORDER, AllocationEvents
from ..machine.gfp import understand_gfp
from ..mm import Migratetype, PageClass, PageFlag

__all__ = ["BEFORE", "BETWEEN", "BLOCK", "FREE", "NEVER", "SEEN", "Attempt", "Ints", "Unknown", "blocks_of"]

Ints = npt.NDArray[np.int64]

#: An end that the trace does not show.
NEVER = -1

#: A block in use. ``start_ns``, ``end_ns``: since the first event, nanoseconds; NEVER: not freed in the trace. ``pfn``: where the
#: traced kernel had it; ``op``, ``order``, ``migratetype``, ``flags``: as in OPERATION; ``how``: SEEN, BEFORE or BETWEEN.
BLOCK = np.dtype(
    [
        ("start_ns", np.int64),
        ("end_ns", np.int64),
        ("pfn", np.uint64),
        ("order", np.uint8),
        ("migratetype", np.uint8),
        ("op", np.uint8),
        ("flags", np.uint8),
        ("how", np.uint8),
    ]
)

#: How a block's start is known: by its event; not at all, as it was there before; by two frees.
SEEN, BEFORE, BETWEEN = 0, 1, 2

ALLOC, FREE, ALLOC_ATOMIC = 1, 2, 5

#: Events that are looked at beside frees; what the others say, these say too.
READ = frozenset(
    {
        "mm_page_alloc",
        "cma_alloc_start",
        "cma_alloc_finish",
        "cma_alloc",
        "cma_release",
        "test_pages_isolated",
        "mm_compaction_migratepages",
    }
)

#: Largest order of a block whose pages are remembered one by one after it was freed: what the allocator hands out.
REMEMBERED_ORDER = 10

#: Orders that have per-cpu lists (PAGE_ALLOC_COSTLY_ORDER, mm/page_alloc.c).
PCP_ORDERS = 3


@dataclass
class Unknown:
    """What the trace does not tell, counted. Blocks where nothing else is said.

    Args:
        before: freed, and allocated before the trace began.
        between: freed twice, and allocated in between unseen.
        never_freed: allocated, and not freed before the trace ended.
        freed_unseen: allocated again while in use.
        freed_in_parts, freed_as_larger: freed in other units than they were allocated in.
        refused: requests that got no page; left out.
        lost_events: by the source; -1: some, it is not known how many.
        from_percpu_lists: allocations that needed no page from the buddy lists; None: the trace lacks mm_page_alloc_zone_locked.
        moved_by_compaction: pages whose new place has no event.
        of_other_types: requests for a type that no request can have; taken for UNMOVABLE.
    """

    before: int = 0
    between: int = 0
    never_freed: int = 0
    freed_unseen: int = 0
    freed_in_parts: int = 0
    freed_as_larger: int = 0
    refused: int = 0
    lost_events: int = 0
    from_percpu_lists: int | None = None
    moved_by_compaction: int = 0
    of_other_types: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """A contiguous range that somebody tried to have.

    Args:
        start_ns: since the first event. ``done_ns``: when it was decided. ``end_ns``: when it was given back, or NEVER.
        kind: ``cma`` (cma_alloc) or ``range`` (alloc_contig_range, or memory that goes offline).
        pfn: its first page, None where cma_alloc had none. ``nr_pages``; ``align``: order, of cma_alloc.
        errno: 0: had.
        why: what the trace tells of a refusal.
    """

    start_ns: int
    done_ns: int
    end_ns: int
    kind: str
    pfn: int | None
    nr_pages: int
    align: int
    errno: int
    why: str = ""


@dataclass
class _Reading:
    """Events one by one, and the blocks in use meanwhile."""

    events: AllocationEvents
    unknown: Unknown = field(default_factory=Unknown)
    attempts: list[Attempt] = field(default_factory=list)
    # columns of BLOCK, an entry a block
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    pfns: list[int] = field(default_factory=list)
    orders: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    hows: list[int] = field(default_factory=list)
    #: pfn -> block in use; blocks of each order above 0; pages of a block that are not freed yet
    live: dict[int, int] = field(default_factory=dict)
    large: list[int] = field(default_factory=lambda: [0] * (MOST_ORDER + 1))
    left: dict[int, int] = field(default_factory=dict)
    #: pfn -> when it was last known to be in use, of pages that are not
    unused: dict[int, int] = field(default_factory=dict)
    #: ranges that were had and are not given back: [first, end), pages left, number of the attempt
    had: list[list[int]] = field(default_factory=list)
    begun: dict[int, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    gfps: list[str] = field(default_factory=list)
    #: columns of BLOCK as arrays: single pages that no larger block ever held
    single: list[Ints] = field(default_factory=list)

    def run(self) -> None:
        """All events: at once what concerns pages that are only ever handed out singly, the others one by one."""
        table = self.events.table
        event = table["event"].combine_chunks()
        names: list[str] = event.dictionary.to_pylist()
        number = {name: i for i, name in enumerate(names)}
        # a page of a bulk free is told twice, as mm_page_free too, unless that was not traced
        free_name = "mm_page_free" if self.events.counts().get("mm_page_free") else "mm_page_free_batched"
        alloc, free = number.get("mm_page_alloc", -1), number.get(free_name, -1)
        self.gfps = (
            [] if table["gfp"].null_count == len(table) else table["gfp"].combine_chunks().dictionary.to_pylist()
        )
        read = [i for i, name in enumerate(names) if name in READ or name == free_name]
        rows = np.flatnonzero(np.isin(event.indices.to_numpy(), read))
        code = event.indices.to_numpy()[rows].astype(np.int64)
        times = table["time_ns"].to_numpy()
        # events of one time keep their order: each comes a nanosecond after the one before
        nth = np.arange(len(times))
        time = np.maximum.accumulate(times - (times[0] if len(times) else 0) - nth) + nth
        time = time[rows]
        pfn, order, migratetype = (_numbers(table[name], -1)[rows] for name in ("pfn", "order", "migratetype"))
        gfp = _gfp_numbers(table["gfp"])[rows]
        is_free = code == free
        order[is_free & (order < 0)] = 0
        of_page = is_free | (code == alloc)
        refused = of_page & (pfn < 0)
        self.unknown.refused = int(refused.sum())
        singly = of_page & ~refused & (order == 0)
        singly[singly] = ~_held(pfn[singly], self._held_ranges(pfn, order, of_page & ~refused & (order > 0), rows))
        self.single_pages(time[singly], pfn[singly], is_free[singly], migratetype[singly], gfp[singly])
        left = np.flatnonzero(~singly & ~refused)
        columns = [column[left].tolist() for column in (code, time, pfn, order, migratetype, gfp, rows)]
        for one_code, one_time, page, size, kind, flags, row in zip(*columns, strict=True):
            if one_code == alloc:
                self.allocate(one_time, page, size, kind, flags)
            elif one_code == free:
                self.free(one_time, page, size)
            else:
                self.other(names[one_code], one_time, page, row)
        self.unknown.never_freed += len(self.live)
        self.unknown.lost_events = self.events.origin.lost
        self.unknown.from_percpu_lists = _from_percpu_lists(self.events)

    def _held_ranges(self, pfn: Ints, order: Ints, large: npt.NDArray[np.bool_], rows: Ints) -> tuple[Ints, Ints]:
        """Pages that were ever in a block above order 0 or in a range that was tried: first and end of each range."""
        end = _numbers(self.events.table["end_pfn"], -1)[rows]
        tried = (pfn >= 0) & (end > pfn)
        starts, ends = [pfn[large], pfn[tried]], [pfn[large] + (np.int64(1) << order[large]), end[tried]]
        for name in ("cma_alloc_finish", "cma_alloc"):
            mine = self.events.table.filter(pc.equal(self.events.table["event"], name))
            first = _numbers(mine["pfn"], -1)
            counts = [int(json.loads(text or "{}").get("count", 0)) for text in mine["fields"].to_pylist()]
            starts.append(first)
            ends.append(first + np.array(counts, np.int64))
        return np.concatenate(starts), np.concatenate(ends)

    def single_pages(self, time: Ints, pfn: Ints, is_free: npt.NDArray[np.bool_], migratetype: Ints, gfp: Ints) -> None:
        """All events of pages that are handed out singly, in order of time: page by page each event meets the one before."""
        by_page = np.lexsort((np.arange(len(pfn)), pfn))
        time, pfn, migratetype, gfp = (column[by_page] for column in (time, pfn, migratetype, gfp))
        is_free = is_free[by_page]
        same = np.zeros(len(pfn) + 1, np.bool_)
        same[1:-1] = pfn[1:] == pfn[:-1]
        has_before, has_after = same[:-1], same[1:]
        earlier = np.roll(time, 1)
        after_alloc = has_before & ~np.roll(is_free, 1)
        # allocations: until whatever comes next
        end = np.where(has_after, np.roll(time, -1), NEVER)
        unseen_start = is_free & ~after_alloc
        start = np.where(unseen_start, np.where(has_before, (earlier + time) // 2, 0), time)
        end = np.where(unseen_start, time, end)
        how = np.where(unseen_start, np.where(has_before, BETWEEN, BEFORE), SEEN)
        kind = np.where(unseen_start, np.where(has_before, Migratetype.UNMOVABLE, Migratetype.MOVABLE), migratetype)
        is_block = ~is_free | unseen_start
        zero = np.zeros(len(pfn), np.int64)
        columns = (start, end, pfn, zero, kind, np.where(unseen_start, -1, gfp), how)
        self.single = [np.asarray(column, np.int64)[is_block] for column in columns]
        self.unknown.before += int((unseen_start & ~has_before).sum())
        self.unknown.between += int((unseen_start & has_before).sum())
        self.unknown.freed_unseen += int((~is_free & after_alloc).sum())
        self.unknown.never_freed += int((~is_free & ~has_after).sum())

    def add(self, time: int, pfn: int, order: int, migratetype: int, gfp: int, how: int) -> int:
        """A block that begins; its number."""
        self.starts.append(time)
        self.ends.append(NEVER)
        self.pfns.append(pfn)
        self.orders.append(order)
        self.types.append(migratetype)
        self.kinds.append(gfp)
        self.hows.append(how)
        return len(self.starts) - 1

    def end(self, block: int, time: int) -> None:
        """A block that ends."""
        self.ends[block] = time
        pfn, order = self.pfns[block], self.orders[block]
        del self.live[pfn]
        if order:
            self.large[order] -= 1
            self.left.pop(block, None)
        self.note_unused(time, pfn, order)

    def note_unused(self, time: int, pfn: int, order: int) -> None:
        """Remember when pages were last known to be in use."""
        if order == 0:
            self.unused[pfn] = time
        elif order <= REMEMBERED_ORDER:
            self.unused.update((page, time) for page in range(pfn, pfn + (1 << order)))

    def allocate(self, time: int, pfn: int, order: int, migratetype: int, gfp: int) -> None:
        """mm_page_alloc."""
        for block in self.inside(pfn, order):
            self.unknown.freed_unseen += 1
            self.end(block, time)
        around = self.around(pfn)
        if around is not None:
            self.unknown.freed_unseen += 1
            self.end(around, time)
        self.live[pfn] = self.add(time, pfn, order, migratetype, gfp, SEEN)
        if order:
            self.large[order] += 1

    def inside(self, pfn: int, order: int) -> list[int]:
        """Blocks in use that begin in 2^order pages."""
        live = self.live
        if not order:
            return [live[pfn]] if pfn in live else []
        end = pfn + (1 << order)
        if end - pfn > len(live):
            return [block for page, block in live.items() if pfn <= page < end]
        return [live[page] for page in range(pfn, end) if page in live]

    def around(self, pfn: int) -> int | None:
        """The block in use that holds a page which it does not begin with."""
        for order in range(1, MOST_ORDER + 1):
            if self.large[order]:
                head = pfn & ~((1 << order) - 1)
                block = self.live.get(head)
                if block is not None and head != pfn and self.orders[block] == order:
                    return block
        return None

    def free(self, time: int, pfn: int, order: int) -> None:
        """mm_page_free."""
        block = self.live.get(pfn)
        if block is not None and self.orders[block] == order:
            self.end(block, time)
        elif block is not None and self.orders[block] > order:
            self.free_part(time, block, order)
        elif (whole := self.around(pfn)) is not None:
            self.free_part(time, whole, order)
        else:
            inside = self.inside(pfn, order)
            for one in inside:
                self.unknown.freed_as_larger += 1
                self.end(one, time)
            if not inside and not self.give_back(time, pfn, order):
                self.free_unknown(time, pfn, order)
        self.note_unused(time, pfn, order)

    def free_part(self, time: int, block: int, order: int) -> None:
        """Part of a block: the block ends when nothing of it is left."""
        if block not in self.left:
            self.unknown.freed_in_parts += 1
            self.left[block] = 1 << self.orders[block]
        self.left[block] -= 1 << order
        if self.left[block] <= 0:
            self.end(block, time)

    def give_back(self, time: int, pfn: int, order: int) -> bool:
        """Pages of a range that was had; whether they are of one."""
        for held in self.had:
            if held[0] <= pfn < held[1]:
                held[2] -= 1 << order
                if held[2] <= 0:
                    self.had.remove(held)
                    self.returned(held[3], time)
                return True
        return False

    def returned(self, number: int, time: int) -> None:
        """A range that was given back."""
        self.attempts[number] = replace(self.attempts[number], end_ns=time)

    def free_unknown(self, time: int, pfn: int, order: int) -> None:
        """A block of which no allocation was seen; one that no allocator hands out whole is taken for several."""
        if order > REMEMBERED_ORDER:
            for piece in range(pfn, pfn + (1 << order), 1 << REMEMBERED_ORDER):
                self.free_unknown(time, piece, REMEMBERED_ORDER)
            return
        ends = [self.unused[page] for page in range(pfn, pfn + (1 << order)) if page in self.unused]
        if not ends:
            self.unknown.before += 1
            block = self.add(0, pfn, order, Migratetype.MOVABLE, -1, BEFORE)
        else:
            self.unknown.between += 1
            block = self.add((max(ends) + time) // 2, pfn, order, Migratetype.UNMOVABLE, -1, BETWEEN)
        self.ends[block] = time

    # ---- contiguous ranges ----

    def other(self, name: str, time: int, pfn: int, row: int) -> None:
        """An event that is neither an allocation nor a free of the buddy allocator."""
        table = self.events.table
        told = table["fields"][row].as_py()
        values: dict[str, Any] = json.loads(told) if told else {}
        pid = table["pid"][row].as_py() or 0
        if name == "cma_alloc_start":
            self.begun[pid] = (time, values)
        elif name in ("cma_alloc_finish", "cma_alloc"):
            self.cma(time, pfn, values, pid)
        elif name == "cma_release":
            self.give_back_cma(time, pfn)
        elif name == "test_pages_isolated" and pid not in self.begun:
            end = table["end_pfn"][row].as_py() or pfn
            reached = int(values.get("fin_pfn", 0))
            self.tried(time, pfn, end, reached)
        elif name == "mm_compaction_migratepages":
            self.unknown.moved_by_compaction += int(values.get("nr_migrated", 0))

    def cma(self, time: int, pfn: int, values: dict[str, Any], pid: int) -> None:
        """cma_alloc has its answer. Before 6.3 that has no errno; no page is had where pfn is 0 or -1."""
        start, asked = self.begun.pop(pid, (time, {}))
        pages = int(values.get("count") or asked.get("count") or asked.get("request_count") or 0)
        had = pfn > 0
        errno = abs(int(values.get("errorno", 0))) or (0 if had else 16)
        align = int(values.get("align", asked.get("align", 0)))
        if had and not errno:
            self.had.append([pfn, pfn + pages, pages, len(self.attempts)])
        name = str(values.get("name", ""))
        self.attempts.append(Attempt(start, time, NEVER, "cma", pfn if had else None, pages, align, errno, name))

    def give_back_cma(self, time: int, pfn: int) -> None:
        """cma_release: the pages are freed one by one behind it, and told of again."""
        for held in self.had:
            if held[0] <= pfn < held[1]:
                self.returned(held[3], time)

    def tried(self, time: int, pfn: int, end: int, reached: int) -> None:
        """test_pages_isolated: what alloc_contig_range and offlining ask in the end."""
        errno = 0 if reached >= end else 16
        if not errno:
            for block in [block for page, block in self.live.items() if pfn <= page < end]:
                # what was in use there has moved, and its free was not seen
                self.unknown.freed_unseen += 1
                self.end(block, time)
            self.had.append([pfn, end, end - pfn, len(self.attempts)])
        why = f"pfn {reached:#x} is not free" if errno else ""
        self.attempts.append(Attempt(time, time, NEVER, "range", pfn, end - pfn, 0, errno, why))

    # ---- the result ----

    def finished(self) -> npt.NDArray[np.void]:
        """The blocks by their start, with what the gfp flags say of them."""
        lists = (self.starts, self.ends, self.pfns, self.orders, self.types, self.kinds, self.hows)
        columns = [
            np.concatenate([single, np.array(values, np.int64)])
            for single, values in zip(self.single, lists, strict=True)
        ]
        start, end, pfn, order, migratetype, gfp, how = columns
        other = (migratetype < 0) | (migratetype > Migratetype.RECLAIMABLE)
        self.unknown.of_other_types = int(other.sum())
        migratetype[other] = Migratetype.UNMOVABLE
        requests = [understand_gfp(text) for text in self.gfps]
        # the last is for blocks without flags: -1
        atomic = np.array([*(request.atomic for request in requests), False])
        compound = np.array([*(request.compound for request in requests), False])
        blocks = np.zeros(len(start), BLOCK)
        blocks["start_ns"], blocks["end_ns"], blocks["pfn"], blocks["order"] = start, end, pfn, order
        blocks["migratetype"], blocks["how"] = migratetype, how
        blocks["op"] = np.where(atomic[gfp], ALLOC_ATOMIC, ALLOC)
        blocks["flags"] = _flags(order, migratetype, compound[gfp])
        found: npt.NDArray[np.void] = blocks[np.lexsort((pfn, start))]
        return found


def blocks_of(events: AllocationEvents) -> tuple[npt.NDArray[np.void], tuple[Attempt, ...], Unknown]:
    """Blocks (BLOCK, by their start), ranges that were tried, by time, and what had to be modelled."""
    reading = _Reading(events)
    reading.run()
    return reading.finished(), tuple(reading.attempts), reading.unknown


def _held(pfn: Ints, ranges: tuple[Ints, Ints]) -> npt.NDArray[np.bool_]:
    """Which pages lie in one of the ranges."""
    starts, ends = ranges
    if not len(starts):
        return np.zeros(len(pfn), np.bool_)
    order = np.argsort(starts, kind="stable")
    first, reach = starts[order], np.maximum.accumulate(ends[order])
    at = np.searchsorted(first, pfn, "right") - 1
    return (at >= 0) & (pfn < reach[np.maximum(at, 0)])


def _numbers(column: Any, missing: int) -> Ints:
    """A column as int64."""
    return np.asarray(column.cast("int64").fill_null(missing).to_numpy(), np.int64)


def _gfp_numbers(column: Any) -> Ints:
    """The number of each row's gfp flags in the column's dictionary, -1 where there are none."""
    whole = column.combine_chunks()
    return np.asarray(pc.fill_null(whole.indices.cast("int64"), -1).to_numpy(), np.int64)


def _flags(order: Ints, migratetype: Ints, compound: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Page class and flags, as far as a request tells the use: a movable page is on the LRU, a reclaimable one a slab.

    Any other is the kernel's; so is a movable block above order 0 that is no compound page, as the LRU has no such.
    """
    large = order > 0
    movable, slab = migratetype == Migratetype.MOVABLE, migratetype == Migratetype.RECLAIMABLE
    on_lru = np.where(large, np.where(compound, PageClass.THP, PageClass.KERNEL), PageClass.ANON)
    kind = np.where(movable, on_lru, np.where(slab, PageClass.SLAB, PageClass.KERNEL))
    return np.where(large & compound, kind | PageFlag.COMPOUND, kind).astype(np.uint8)


def _from_percpu_lists(events: AllocationEvents) -> int | None:
    """Allocations of the orders with per-cpu lists that did not go past those lists; None where the trace cannot tell."""
    table = events.table
    name = table["event"]
    locked = pc.equal(name, "mm_page_alloc_zone_locked")
    if not pc.any(locked).as_py():
        return None
    of_lists = pc.less_equal(table["order"], PCP_ORDERS)
    direct = pc.and_(locked, pc.and_(pc.equal(table["percpu_refill"], False), of_lists))
    asked = pc.and_(pc.equal(name, "mm_page_alloc"), pc.and_(pc.is_valid(table["pfn"]), of_lists))
    return max(0, (pc.sum(asked).as_py() or 0) - (pc.sum(direct).as_py() or 0))
