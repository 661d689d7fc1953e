"""Run a workload's requests on zones of the model, many in one call of the compiled core.

What the kernel does around the allocator, and the model does not, is done here, simply: reclaim (the oldest page cache goes when
less than the high watermark would be left), the choice among zones (the highest that has room), huge pages that become base pages
when none can be had. Actors never see what became of their requests, so that two releases get the same ones.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..consumers.cma import CmaAnswer, CmaArea
from ..mm import OPERATION, Migratetype, PageClass, PageFlag, Zone
from ..mm.errors import ContigRefused
from ..mm.results import ContigRange
from .calendar import DUE, Calendar
from .handles import EMPTY, Handles
from .workload import FOREVER, REQUEST, TICK, Actor, Call, Requests, Running

__all__ = ["Attempted", "Counts", "Engine"]

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
Ops = npt.NDArray[np.void]

_FREE = 2
_ENOENT = -2
ENOMEM, EBUSY = 12, 16
_THP = int(PageClass.THP) | int(PageFlag.COMPOUND)
_ANON = int(PageClass.ANON)

#: Pages allocated between two looks at the watermarks, as a part of the memory, and at least.
_SLICE_PART, _SLICE_LEAST = 128, 512

#: Rounds of reclaim before a request is left to fail.
_RECLAIM_ROUNDS = 4


@dataclass
class Counts:
    """What has happened since the start. Pages where it says so, else requests."""

    operations: int = 0
    requests: int = 0
    pages_allocated: int = 0
    pages_freed: int = 0
    pages_reclaimed: int = 0
    failed_order0: int = 0
    failed_high_order: int = 0
    split_huge: int = 0
    pages_moved: int = 0
    pages_dropped: int = 0
    compaction_moved: int = 0
    cma_success: int = 0
    cma_fail_busy: int = 0
    cma_fail_no_room: int = 0
    cma_fail_fragmented: int = 0
    cma_fail_unaligned: int = 0
    cma_fail_no_memory: int = 0
    contig_success: int = 0
    contig_fail_busy: int = 0
    contig_fail_other: int = 0
    tries_busy: int = 0
    tries_false_busy: int = 0


@dataclass(frozen=True, slots=True)
class Attempted:
    """A contiguous range that was asked for: when, in ticks; how, as in ``Call.kind``; where it was had, and the errno if not."""

    tick: float
    kind: str
    nr_pages: int
    pfn: int | None
    errno: int


@dataclass(order=True)
class _Held:
    """A contiguous range until it is given back."""

    due: int
    number: int
    pfn: int = field(compare=False)
    nr_pages: int = field(compare=False)
    area: CmaArea | None = field(compare=False)


class Engine:
    """A machine at work.

    Args:
        zones: the one that requests go to first comes first.
        marks: high watermark of each, pages.
        areas: CMA areas in these zones.
        actors: the parts of the workload, and each at work.
        caps: pages beyond which an evictable actor's oldest are evicted, 0 for others.
        old_pages: for each zone pfns of single file pages that were there before and may be reclaimed, in that order.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        marks: Sequence[int],
        areas: Sequence[CmaArea],
        actors: Sequence[tuple[Actor, Running]],
        caps: Sequence[int],
        old_pages: Sequence[npt.NDArray[np.uint64]] = (),
    ) -> None:
        self.zones, self.marks, self.areas = list(zones), list(marks), list(areas)
        self.actors = list(actors)
        self.evictable = np.array([actor.evictable for actor, _ in actors], np.bool_)
        self.splits = np.array([actor.splits for actor, _ in actors], np.bool_)
        self.caps = list(caps)
        self.old_pages = [deque(pages.tolist()) for pages in old_pages]
        self.counts = Counts()
        self.handles = Handles(len(self.zones))
        self.calendar = Calendar()
        #: pages in use of each actor, and its requests that failed
        self.live = np.zeros(len(self.actors), np.int64)
        self.failed = np.zeros(len(self.actors), np.int64)
        self.queues: list[deque[tuple[U32, U32]]] = [deque() for _ in self.actors]
        self.held: list[_Held] = []
        #: contiguous ranges that were asked for since the last ``take_attempts``, and why the last was refused
        self.attempts: list[Attempted] = []
        self.errno = 0
        self.number = 0
        total = sum(zone.geometry.nr_pages for zone in self.zones)
        self.slice_pages = max(_SLICE_LEAST, total // _SLICE_PART)

    # ---- a tick ----

    def tick(self, tick: int) -> None:
        """Everything that happens in a tick, in the order of time."""
        h = self.handles
        new = self._requests(tick)
        handles = h.take(len(new))
        for column in ("order", "actor", "spare"):
            getattr(h, column)[handles] = new[column]
        ends = np.where(new["life"] == FOREVER, FOREVER, new["life"] + new["at"] + tick * TICK)
        h.due[handles] = ends
        soon = (new["life"] != FOREVER) & (ends < (tick + 1) * TICK)
        later = (new["life"] != FOREVER) & ~soon
        self._file(handles[later])
        due = self.calendar.take(tick)
        due = due[h.use[due["handle"]] == due["use"]]

        n, s = len(new), int(soon.sum())
        ops = np.zeros(n + s + len(due), OPERATION)
        for column in ("op", "order", "migratetype", "flags"):
            ops[column][:n] = new[column]
        ops["op"][n:] = _FREE
        ops["handle"][:n] = handles
        ops["handle"][n : n + s] = handles[soon]
        ops["handle"][n + s :] = due["handle"]
        times = np.concatenate([new["at"], ends[soon] % TICK, due["due"] % TICK]).astype(np.uint16)
        # an allocation stands before what is freed at the same time
        by_time = np.argsort(times, kind="stable")
        self.counts.requests += n
        self._run(tick, ops[by_time], times[by_time], self._events(tick))
        for i, cap in enumerate(self.caps):
            if cap and self.live[i] > cap:
                self._evict(i, int(self.live[i]) - cap)
        h.settle()

    def _requests(self, tick: int) -> Requests:
        """The requests of all actors."""
        parts = []
        for number, (_, running) in enumerate(self.actors):
            made = running.requests(tick)
            if len(made):
                made["actor"] = number
                parts.append(made)
        return np.concatenate(parts) if parts else np.zeros(0, REQUEST)

    def _events(self, tick: int) -> list[tuple[int, Call | _Held | None]]:
        """Contiguous ranges to be asked for or given back in a tick, by time; None: look what is due.

        What is had for a part of the tick is given back in its time, and what is had for no time before the next is asked for.
        """
        events: list[tuple[int, Call | _Held | None]] = []
        for _, running in self.actors:
            calls = running.calls(tick)
            events += [(call.at, call) for call in calls]
            events += [(call.at + call.life, None) for call in calls if 0 < call.life < TICK - call.at]
        while self.held and self.held[0].due < (tick + 1) * TICK:
            held = heappop(self.held)
            events.append((max(0, held.due - tick * TICK), held))
        return sorted(events, key=lambda event: event[0])

    def _run(
        self, tick: int, ops: Ops, times: npt.NDArray[np.uint16], events: list[tuple[int, Call | _Held | None]]
    ) -> None:
        """Run operations slice by slice, with the calls for contiguous ranges between them."""
        allocates = ops["op"] != _FREE
        pages = np.where(allocates, np.int64(1) << ops["order"].astype(np.int64), 0)
        fixed = np.where(ops["migratetype"] != Migratetype.MOVABLE, pages, 0)
        nth = np.cumsum(pages) // self.slice_pages
        cuts = {0, len(ops), *(np.flatnonzero(np.diff(nth)) + 1).tolist()}
        at_event = np.searchsorted(times, [at for at, _ in events], "right").tolist()
        cuts.update(at_event)
        waiting = deque(zip(at_event, events, strict=True))
        edges = sorted(cuts)
        while waiting and waiting[0][0] == 0:
            self._event(tick, waiting.popleft()[1])
        for start, end in pairwise(edges):
            here = slice(start, end)
            self._slice(tick, ops[here], allocates[here], int(pages[here].sum()), int(fixed[here].sum()))
            while waiting and waiting[0][0] == end:
                self._event(tick, waiting.popleft()[1])
        self._return_due((tick + 1) * TICK - 1)

    def _slice(self, tick: int, ops: Ops, allocates: npt.NDArray[np.bool_], pages: int, fixed: int) -> None:
        """Run a few operations in the zone that has room for what they allocate."""
        h = self.handles
        chosen = self._make_room(pages, fixed) if pages else 0
        got = ops["handle"][allocates]
        h.zone[got] = chosen
        results = self._run_in_zones(ops, chosen)
        self.counts.operations += len(ops)

        failed = allocates & (results < 0)
        if failed.any():
            self._elsewhere(ops, results, failed, chosen)
            failed = allocates & (results < 0)
        # before any is given back: a queue remembers the use
        self._queue(got)
        freed = ops["handle"][~allocates & (results >= 0)]
        # what is freed in the slice that allocated it is not in use in the end
        self._account(ops["handle"][allocates & ~failed], 1)
        self._account(freed, -1)
        h.give(freed)
        if failed.any():
            self._failed(tick, ops[failed])

    def _run_in_zones(self, ops: Ops, chosen: int) -> I64:
        """Allocations in the chosen zone, frees where the page lies."""
        if len(self.zones) == 1:
            return np.asarray(self.zones[0].run(ops, self.handles.frames[0]))
        results = np.zeros(len(ops), np.int64)
        zone = self.handles.zone[ops["handle"]]
        for number in np.unique(zone).tolist():
            mine = zone == number
            results[mine] = self.zones[number].run(ops[mine], self.handles.frames[number])
        return results

    def _elsewhere(self, ops: Ops, results: I64, failed: npt.NDArray[np.bool_], chosen: int) -> None:
        """What the chosen zone refused is asked of the others, and what was to be freed meanwhile is freed."""
        h = self.handles
        for number, zone in enumerate(self.zones):
            if number == chosen:
                continue
            left = np.flatnonzero(failed & (results < 0))
            left = left[ops["order"][left] <= zone.geometry.max_order]
            if not len(left):
                break
            results[left] = zone.run(ops[left], h.frames[number])
            got = left[results[left] >= 0]
            h.zone[ops["handle"][got]] = number
            missed = np.flatnonzero((ops["op"] == _FREE) & (results == _ENOENT))
            missed = missed[h.frames[number][ops["handle"][missed]] != EMPTY]
            if len(missed):
                results[missed] = zone.run(ops[missed], h.frames[number])

    def _account(self, handles: U32, sign: int) -> None:
        """Pages that were allocated (1) or freed (-1)."""
        if not len(handles):
            return
        h = self.handles
        h.in_use[handles] = sign > 0
        pages = np.int64(1) << h.order[handles].astype(np.int64)
        # exact: counts are far below 2^53
        self.live += sign * np.bincount(h.actor[handles], pages, len(self.live)).astype(np.int64)
        if sign > 0:
            self.counts.pages_allocated += int(pages.sum())
        else:
            self.counts.pages_freed += int(pages.sum())

    def _queue(self, handles: U32) -> None:
        """Evictable pages queue up for reclaim."""
        h = self.handles
        for number in np.flatnonzero(self.evictable).tolist():
            mine = handles[h.actor[handles] == number]
            if len(mine):
                self.queues[number].append((mine, h.use[mine]))

    def _file(self, handles: U32) -> None:
        """Note the ends of pages that have one after this tick."""
        h = self.handles
        dues = np.zeros(len(handles), DUE)
        dues["due"] = h.due[handles]
        dues["handle"] = handles
        dues["use"] = h.use[handles]
        self.calendar.file(dues)

    def _failed(self, tick: int, ops: Ops) -> None:
        """Requests that no zone served: huge pages are asked for page by page, the others have failed."""
        h = self.handles
        handles = ops["handle"]
        self.counts.failed_order0 += int((ops["order"] == 0).sum())
        self.counts.failed_high_order += int((ops["order"] > 0).sum())
        again = self.splits[h.actor[handles]] & (ops["order"] > 0)
        self.failed += np.bincount(h.actor[handles[~again]], minlength=len(self.failed))
        if again.any():
            self._split(tick, ops[again])
        h.give(handles)

    def _split(self, tick: int, ops: Ops) -> None:
        """Ask for each page of refused large ones by itself."""
        h = self.handles
        self.counts.split_huge += len(ops)
        sizes = np.int64(1) << ops["order"].astype(np.int64)
        whole = np.repeat(ops["handle"], sizes)
        handles = h.take(len(whole))
        h.order[handles] = 0
        h.actor[handles], h.spare[handles] = h.actor[whole], h.spare[whole]
        ends = h.due[whole]
        # the tick's frees are made already
        h.due[handles] = np.where(ends == FOREVER, FOREVER, np.maximum(ends, (tick + 1) * TICK))
        self._file(handles[ends != FOREVER])
        single = np.zeros(len(whole), OPERATION)
        single["op"] = 1
        single["migratetype"] = np.repeat(ops["migratetype"], sizes)
        single["flags"] = np.where(np.repeat(ops["flags"], sizes) == _THP, _ANON, np.repeat(ops["flags"], sizes))
        single["handle"] = handles
        for start in range(0, len(single), self.slice_pages):
            part = single[start : start + self.slice_pages]
            fixed = int((part["migratetype"] != Migratetype.MOVABLE).sum())
            self._slice(tick, part, np.ones(len(part), np.bool_), len(part), fixed)

    # ---- reclaim ----

    def _spare(self, number: int, fixed: int) -> int:
        """Pages of a zone above its high watermark; fewer where the part that cannot move has no room outside CMA."""
        zone = self.zones[number]
        spare: int = zone.nr_free_pages - self.marks[number]
        outside = spare - zone.nr_free_cma_pages
        return min(spare, outside) if fixed > outside else spare

    def _make_room(self, pages: int, fixed: int) -> int:
        """The zone that has room for so many pages, after reclaim if none has; the one with most room if that is in vain."""
        for _ in range(_RECLAIM_ROUNDS):
            spare = [self._spare(number, fixed) for number in range(len(self.zones))]
            for number, room in enumerate(spare):
                if room >= pages:
                    return number
            if not self._reclaim(pages - max(spare)):
                break
        return int(np.argmax(spare))

    def _reclaim(self, pages: int) -> int:
        """Free the oldest evictable pages, recorded ones first, then of each actor in proportion; how many."""
        freed = self._drop_recorded(pages)
        mine = {number: int(self.live[number]) for number in np.flatnonzero(self.evictable).tolist()}
        total = sum(mine.values())
        left = pages - freed
        if left > 0 and total:
            freed += sum(self._evict(number, -(-left * live // total)) for number, live in mine.items() if live)
        self.counts.pages_reclaimed += freed
        return freed

    def _evict(self, actor: int, pages: int) -> int:
        """Free so many pages of an actor, the oldest first; how many were freed."""
        h, queue = self.handles, self.queues[actor]
        freed = 0
        while freed < pages and queue:
            handles, uses = queue.popleft()
            there = h.use[handles] == uses
            handles, uses = handles[there], uses[there]
            again = h.spare[handles] > 0
            if again.any():
                h.spare[handles[again]] -= 1
                queue.append((handles[again], uses[again]))
                handles, uses = handles[~again], uses[~again]
            sizes = np.cumsum(np.int64(1) << h.order[handles].astype(np.int64))
            count = int(np.searchsorted(sizes, pages - freed)) + 1
            if count < len(handles):
                queue.appendleft((handles[count:], uses[count:]))
            gone = self._free(handles[:count])
            freed += int((np.int64(1) << h.order[gone].astype(np.int64)).sum())
        return freed

    def _free(self, handles: U32) -> U32:
        """Free the pages of handles; those that had one."""
        ops = np.zeros(len(handles), OPERATION)
        ops["op"] = _FREE
        ops["handle"] = handles
        gone = handles[self._run_in_zones(ops, 0) >= 0] if len(ops) else handles
        self._account(gone, -1)
        self.handles.give(gone)
        return gone

    def _drop_recorded(self, pages: int) -> int:
        """Free file pages that were there before the start, unless they are gone or moved; how many."""
        freed = 0
        for zone, pfns in zip(self.zones, self.old_pages, strict=False):
            while pfns and freed < pages:
                pfn = pfns.popleft()
                page = zone.page(pfn)
                if page.head_pfn == pfn and page.page_class == PageClass.FILE and page.owner is None:
                    zone.free(pfn)
                    freed += 1 << page.order
        return freed

    # ---- contiguous ranges ----

    def take_attempts(self) -> list[Attempted]:
        """The ranges that were asked for since this was called last."""
        taken, self.attempts = self.attempts, []
        return taken

    def _event(self, tick: int, event: tuple[int, Call | _Held | None]) -> None:
        at, what = event
        self._return_due(tick * TICK + at)
        if what is None:
            return
        if isinstance(what, _Held):
            self._give_back(what)
            return
        # pages that move need somewhere to go
        self._make_room(what.nr_pages, 0)
        found = self._cma(what) if what.kind == "cma" else self._contig(what)
        pfn, errno = (None, self.errno) if found is None else (found[0], 0)
        self.attempts.append(Attempted(tick + at / TICK, what.kind, what.nr_pages, pfn, errno))
        if found is not None and what.life != FOREVER:
            pfn, area = found
            self.number += 1
            heappush(self.held, _Held(tick * TICK + at + what.life, self.number, pfn, what.nr_pages, area))

    def _return_due(self, now: int) -> None:
        """Give back what was had for less than a tick: before the next range is asked for, and at the end of the tick."""
        while self.held and self.held[0].due <= now:
            self._give_back(heappop(self.held))

    def _give_back(self, held: _Held) -> None:
        if held.area is not None:
            held.area.release(held.pfn, held.nr_pages)
        else:
            self._zone_at(held.pfn)[1].free_contig_range(held.pfn, held.nr_pages)

    def _zone_at(self, pfn: int) -> tuple[int, Zone]:
        """The zone that holds a pfn, and its number."""
        return next((i, z) for i, z in enumerate(self.zones) if z.start_pfn <= pfn < z.end_pfn)

    def _cma(self, call: Call) -> tuple[int, CmaArea] | None:
        """cma_alloc from the first area that gives."""
        errno, tried = 0, 0
        for area in self.areas:
            answer = self._cma_alloc(area, call)
            if answer.pfn is not None:
                self.counts.cma_success += 1
                return answer.pfn, area
            errno = answer.errno
            if answer.tries:
                tried = answer.tries[-1].errno
        self.errno = errno
        self._cma_failed(call.nr_pages, tried)
        return None

    def _cma_alloc(self, area: CmaArea, call: Call) -> CmaAnswer:
        """Ask one area. Where pages find no place to move to it reclaims, as alloc_migration_target may, and asks again.

        What was free before may all have lain in the range itself.
        """
        number, _ = self._zone_at(area.base_pfn)
        for _ in range(_RECLAIM_ROUNDS):
            answer = area.alloc(call.nr_pages, call.align, handles=self.handles.frames[number])
            for attempt in answer.tries:
                self._tried(attempt.start_pfn, attempt.end_pfn, attempt.done, attempt.refusal)
            if any(attempt.done.reclaimed for attempt in answer.tries):
                self._dropped(number)
            if answer.errno != ENOMEM or not answer.tries or not self._reclaim(call.nr_pages):
                break
        return answer

    def _cma_failed(self, nr_pages: int, tried: int) -> None:
        """Count why cma_alloc gave nothing. ``tried``: errno of the last try, 0: no place to try.

        Not by its own errno: since 6.15 that is -EBUSY for want of room, too.
        """
        counts = self.counts
        if tried == EBUSY:
            counts.cma_fail_busy += 1
        elif tried:
            counts.cma_fail_no_memory += 1
        else:
            counts.cma_fail_no_room += 1
            counts.cma_fail_fragmented += any(area.count - area.used >= nr_pages for area in self.areas)
            counts.cma_fail_unaligned += any(area.maxchunk >= nr_pages for area in self.areas)

    def _contig(self, call: Call) -> tuple[int, None] | None:
        """alloc_contig_pages in one zone after the other, or alloc_contig_range at one place."""
        nr = call.nr_pages
        refusal: ContigRefused | None = None
        for start in self._places(call):
            number, zone = self._zone_at(start)
            try:
                if call.kind == "first":
                    zone.lend_handles(self.handles.frames[number])
                    try:
                        done = zone.alloc_contig_pages(nr)
                    finally:
                        zone.return_handles()
                else:
                    done = zone.alloc_contig_range(start, start + nr, handles=self.handles.frames[number])
            except ContigRefused as refused:
                refusal = refused
                if call.kind != "first":
                    self._tried(start, start + nr, refused.tried, refused)
                    if refused.tried is not None and refused.tried.reclaimed:
                        self._dropped(number)
                continue
            self._tried(done.start_pfn, done.end_pfn, done, None)
            if done.reclaimed:
                self._dropped(number)
            self.counts.contig_success += 1
            return done.start_pfn, None
        self.errno = ENOMEM if refusal is None else refusal.errno
        if refusal is not None and refusal.errno == EBUSY:
            self.counts.contig_fail_busy += 1
        else:
            self.counts.contig_fail_other += 1
        return None

    def _places(self, call: Call) -> list[int]:
        """Where a range is asked for: the starts of the zones that it fits, or one aligned place."""
        nr = call.nr_pages
        if call.kind == "first":
            return [zone.start_pfn for zone in self.zones if zone.geometry.nr_pages >= nr]
        if call.kind == "range":
            zone = self.zones[0]
            return [zone.start_pfn + call.place] if call.place + nr <= zone.geometry.nr_pages else []
        firsts = [(-(-zone.start_pfn // nr) * nr, zone.end_pfn) for zone in self.zones]
        counts = [max(0, (end - first) // nr) for first, end in firsts]
        nth = sum(counts) * call.place >> 16
        for (first, _), count in zip(firsts, counts, strict=True):
            if nth < count:
                return [first + nth * nr]
            nth -= count
        return []

    def _tried(self, start: int, end: int, done: ContigRange | None, refusal: ContigRefused | None) -> None:
        """Count what a request moved, and whether it was refused for a page that it never asked for."""
        if done is not None:
            self.counts.pages_moved += sum(1 << order for _, _, order in done.moved)
        if refusal is not None and refusal.errno == EBUSY:
            self.counts.tries_busy += 1
            self.counts.tries_false_busy += not start <= refusal.pfn < end

    def _dropped(self, number: int) -> None:
        """Take notice of the clean pages of a zone that contiguous ranges dropped."""
        lost = self.handles.lost(number)
        self._account(lost, -1)
        self.handles.give(lost)
        self.counts.pages_dropped += len(lost)

    def compact(self) -> None:
        """Compact every zone, as /proc/sys/vm/compact_memory does."""
        for zone, frames in zip(self.zones, self.handles.frames, strict=True):
            self.counts.compaction_moved += len(zone.compact_memory(frames))
