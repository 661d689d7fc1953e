"""Run a recorded trace on the model and compare everything that the kernel answered.

Allocations and frees between two records that need a look are read and run as one array, so the speed is the core's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..consumers.cma import CmaArea, CmaTry
from ..errors import InputError, PageblockError
from ..machine.trace import (
    ACTION,
    REASONS,
    Actions,
    CmaAlloc,
    CmaRelease,
    Compaction,
    Contig,
    Dump,
    FreeAll,
    Hash,
    Isolation,
    Promised,
    Record,
    TraceReader,
    first_difference,
    to_operations,
)
from ..mm import OPERATION, Migratetype, PageClass, Zone
from ..mm.errors import ContigRefused, KernelBugError
from .accounting import accounting
from .history import PCP_LISTS, History, list_name, pcp_list_name
from .promised import broken_promise

__all__ = ["Divergence", "Replay", "replay"]

Moves = tuple[tuple[int | None, int | None], ...]

#: The model's errno for a request in which the kernel stops with a BUG.
BUG = -131

EMPTY = 0xFFFFFFFF
OFFNODE = 0xFFFFFFFE
#: Handles that the tables have room for at first, and at most.
_GROW = 1 << 10
MOST_HANDLES = 1 << 28

#: Operations before a divergence that are looked at one by one, at most.
_LOOKED_AT = 2000


#: Trace letter of a page that is not the trace's -> class. Tails without a reference (0) are no page of their own.
_FOREIGN = {"R": PageClass.RESERVED, "S": PageClass.SLAB, "T": PageClass.PGTABLE, "0": PageClass.FREE}

#: Watermarks and counters of a dump that the model follows, by their names in the trace.
_DUMPED = ("min", "low", "lowmem_reserve", "boost", "highatomic", "free_highatomic")

#: What the three digests are of, and what the names of that begin with in a history.
_DIGESTS = (("free lists", "order "), ("pageblock types", "type of pageblock"), ("per-cpu lists", "per-cpu list"))


@dataclass(frozen=True)
class Divergence:
    """The first point where model and kernel part: the line, the operations before it, and both answers."""

    line: int
    operations: int
    what: str
    kernel: str
    model: str
    around: tuple[str, ...] = ()


@dataclass
class Replay:
    """What was compared, and the first divergence if there was one."""

    trace: str
    kernel: str
    release: str
    operations: int = 0
    contig_ranges: int = 0
    cma_requests: int = 0
    compactions: int = 0
    migrations: int = 0
    hashes: int = 0
    dumps: int = 0
    divergence: Divergence | None = None


class _Parted(Exception):
    """Carries the divergence out of the comparison."""

    def __init__(
        self,
        line: int,
        what: str,
        kernel: object,
        model: object,
        about: tuple[str, ...] = (),
        pfns: tuple[int | None, ...] = (),
        *,
        whole: bool = False,
    ) -> None:
        """Both answers, and what is worth a look.

        Args:
            about: names of lists, or what the names of everything that is meant begin with (``History``).
            pfns: pages, counted from the zone's first.
            whole: it is the state as a whole that differs, and no operation's answer.
        """
        super().__init__(what)
        self.line, self.what, self.about, self.whole = line, what, about, whole
        self.pfns = tuple(dict.fromkeys(pfn for pfn in pfns if pfn is not None and pfn >= 0))
        self.kernel, self.model = str(kernel), str(model)


def replay(
    path: Path,
    release: str | None = None,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    seen: Callable[[Zone, Record, int], None] | None = None,
) -> Replay:
    """Replay one trace until its end, its first divergence, or so many operations.

    Args:
        path: plain or .zst.
        release: whose rules; None: those that the header names.
        until: stop after this many operations.
        progress: called with bytes read and bytes in all.
        seen: called after each record that was equal, with the zone, the record, and the operations so far.

    Raises:
        InputError: a trace that cannot be read or makes no sense, with its line.
    """
    player = _Player(TraceReader(path, release), until, progress, seen=seen)
    done = player.play()
    if done.divergence is not None:
        # once more, the stretch since all was last equal one operation at a time
        first = max(player.agreed, done.divergence.operations - _LOOKED_AT)
        history = History(first, first == player.agreed)
        again = _Player(TraceReader(path, release), until, None, history).play()
        done.divergence = again.divergence or done.divergence
    return done


class _Player:
    """One replay: the zone, the handles, and the operations that wait to be run."""

    def __init__(
        self,
        reader: TraceReader,
        until: int | None,
        progress: Callable[[int, int], None] | None,
        history: History | None = None,
        seen: Callable[[Zone, Record, int], None] | None = None,
    ) -> None:
        self.reader = reader
        self.seen = seen
        self.history = history
        # operations when lists, types and counters were last compared, and equal
        self.agreed = 0
        # handles before the last operation, for the history
        self.history_handles: npt.NDArray[np.uint32] = np.zeros(0, np.uint32)
        self.until = until
        self.progress = progress
        self.done = Replay(reader.path.name, reader.header.kernel, reader.header.release)
        self.zone: Zone | None = None
        self.area: CmaArea | None = None
        self.cma_handles: set[int] = set()
        self.isolate_number = 5
        self.foreign = 0
        # pages of the zone that live handles hold
        self.own = 0
        self.handles: npt.NDArray[np.uint32] = np.full(_GROW, EMPTY, np.uint32)
        self.sizes: npt.NDArray[np.int64] = np.full(_GROW, -1, np.int64)
        self.is_contig: npt.NDArray[np.bool_] = np.zeros(_GROW, np.bool_)

    def play(self) -> Replay:
        try:
            for record in self.reader.records():
                if isinstance(record, Actions):
                    self.actions(record.rows)
                elif isinstance(record, FreeAll):
                    self.free_all(record.line)
                elif isinstance(record, Contig):
                    self.contig_range(record)
                elif isinstance(record, CmaAlloc):
                    self.cma_alloc(record)
                elif isinstance(record, CmaRelease):
                    self.cma_release(record)
                elif isinstance(record, Compaction):
                    self.compaction(record)
                elif isinstance(record, Isolation):
                    self.isolation(record)
                elif isinstance(record, Promised):
                    self.promised(record)
                elif isinstance(record, Hash):
                    self.compare_hash(record)
                elif self.zone is None:
                    self.zone = self.begin(record)
                else:
                    self.compare_dump(record)
                if self.history is not None and not isinstance(record, Actions | FreeAll):
                    self.look(record.line, asked(record))
                    if asked(record) and self.done.operations > self.history.first:
                        self.history.remember(self.done.operations, record.line, asked(record))
                if self.seen is not None and self.zone is not None:
                    self.seen(self.zone, record, self.done.operations)
                if self.until is not None and self.done.operations >= self.until:
                    break
        except _Parted as parted:
            self.done.divergence = Divergence(
                parted.line, self.done.operations, parted.what, parted.kernel, parted.model, self.around(parted)
            )
        return self.done

    # ---- where they part ----

    def look(self, line: int, what: str) -> None:
        """Let the history see what an operation changed; the ones before its stretch are passed over."""
        if self.history is not None and self.zone is not None and self.done.operations >= self.history.first:
            self.history.look(self.zone, self.counters(self.zone), self.done.operations, line, what)
            self.history_handles = self.handles.copy()

    def around(self, parted: _Parted) -> tuple[str, ...]:
        """The pages and lists that a divergence is about, and when they changed last: as the model has them."""
        history = self.history
        if history is None or history.types is None:
            return ()
        assert self.zone is not None
        sizes = self.sizes[: len(self.history_handles)]
        found = [
            f"pfn {pfn} before it, in the model: {history.whereabouts(self.zone, pfn, self.history_handles, sizes)}"
            for pfn in parted.pfns[:4]
        ]
        if parted.about and parted.about[0] in history.lists:
            return (*found, *history.describe_lists(parted.about, "here" if parted.whole else "before it"))
        if parted.about:
            found += history.describe_changes(parted.about, "now")
        return tuple(found)

    # ---- the initial state ----

    def begin(self, dump: Dump) -> Zone:
        """The zone of the first dump; a dump that no zone can have is malformed, whatever is wrong with it."""
        try:
            return self.load(dump)
        except InputError:
            raise
        except KeyError as missing:
            raise self.reader.fail(f"the dump lacks the number {missing}: record the trace again", dump.line) from None
        except (PageblockError, OverflowError) as error:
            raise self.reader.fail(f"no zone is like this dump ({error})", dump.line) from None

    def load(self, dump: Dump) -> Zone:
        """The zone of the first dump."""
        if dump.after_bug or not dump.types:
            raise self.reader.fail("the first dump is not of a whole zone: record the trace again", dump.line)
        self.isolate_number = dump.number("migratetypes") - 1
        start = dump.number("start_pfn")
        zone = Zone(
            dump.number("spanned"),
            self.done.release,
            start,
            # the trace has the kernel's old exclusive bound
            dump.number("max_order") - 1,
            dump.number("pageblock_order"),
            populate=False,
            name=self.reader.path.name,
        )
        types = np.concatenate([np.full(count, self.type_of(mt), np.uint8) for mt, count in dump.types])
        zone.load_pageblocks(types)
        for first, count, letter in dump.foreign:
            page_class = _FOREIGN.get(letter, PageClass.KERNEL)
            zone.load_pages([start + first], [count], [page_class], [0], [0])
            self.foreign += count
        for (order, mt), pfns in dump.free.items():
            n = len(pfns)
            zone.load_free(pfns + start, np.full(n, order), np.full(n, self.type_of(mt)))
        marks = dump.watermarks
        zone.set_watermarks(
            marks["min"],
            marks["low"],
            marks["high"],
            lowmem_reserve=marks["lowmem_reserve"],
            managed_pages=dump.number("managed"),
            boost=marks.get("boost", 0),
        )
        zone.set_highatomic(marks.get("highatomic", 0), marks.get("free_highatomic", 0))
        zone.set_counters(
            nr_free_pages=dump.counted.get("stat_free"),
            nr_free_cma_pages=dump.cma.get("nr_free_cma"),
            nr_isolate_pageblock=marks.get("nr_isolate"),
        )
        zone.set_stat_threshold(dump.pcp.get("stat_threshold", 0))
        zone.set_targets_may_spill(not self.reader.header.alone)
        if self.reader.header.per_cpu_lists:
            self.load_pcp(zone, dump)
        if dump.cma:
            self.area = CmaArea(zone, start + dump.cma["start"], dump.cma["count"], dump.cma.get("order_per_bit", 0))
        return zone

    def load_pcp(self, zone: Zone, dump: Dump) -> None:
        """The per-cpu lists and their tuning."""
        q = dump.pcp
        high = q["high"]
        zone.set_pcp(
            high,
            q["batch"],
            free_factor=q.get("free_factor", 0),
            high_min=q.get("high_min", high),
            high_max=q.get("high_max", high),
            free_count=q.get("free_count", 0),
            alloc_factor=q.get("alloc_factor", 0),
            flags=q.get("flags", 0),
        )
        for pindex, pfns in dump.pcp_lists.items():
            zone.load_pcp(pindex, (pfns + zone.start_pfn).tolist())

    def type_of(self, number: int) -> int:
        """Migratetype of the trace's number: ISOLATE is 4 without CONFIG_CMA; holes count as MOVABLE."""
        if number == self.isolate_number:
            return int(Migratetype.ISOLATE)
        return int(Migratetype.MOVABLE) if number == 9 else number

    # ---- operations ----

    def need_zone(self, line: int) -> Zone:
        if self.zone is None:
            raise self.reader.fail("an operation comes before the first dump", line)
        return self.zone

    def actions(self, rows: npt.NDArray[np.void]) -> None:
        """Run allocations and frees and compare each answer."""
        if self.until is not None:
            rows = rows[: self.until - self.done.operations]
        zone = self.need_zone(int(rows["line"][0]))
        g = zone.geometry
        highest = int(rows["handle"].max())
        if highest < MOST_HANDLES:
            self.room_for(highest, 0)
        ops = np.zeros(len(rows), OPERATION)
        done, why = to_operations(rows, ops, self.sizes, self.is_contig, g.max_order, g.nr_pages)
        if why:
            row = rows[done]
            words = REASONS[why].format(handle=row["handle"], order=row["order"], pfn=row["pfn"], nr_pages=g.nr_pages)
            raise self.reader.fail(words, int(row["line"]))
        if self.history is None:
            self.run_and_compare(zone, ops, rows)
            return
        at = min(max(self.history.first - self.done.operations, 0), len(rows))
        if at:
            self.run_and_compare(zone, ops[:at], rows[:at])
            self.look(int(rows["line"][at - 1]), "")
        for i in range(at, len(rows)):
            if self.history.types is None:
                self.look(0, "")
            self.run_and_compare(zone, ops[i : i + 1], rows[i : i + 1])
            self.look(int(rows["line"][i]), asked_for(rows[i], int(ops["migratetype"][i])))

    def run_and_compare(self, zone: Zone, ops: npt.NDArray[np.void], rows: npt.NDArray[np.void]) -> None:
        """Run a batch; the first answer that differs ends the replay."""
        results = zone.run(ops, self.handles)
        i, gained = first_difference(rows, ops, results, zone.start_pfn)
        self.own += gained
        if self.progress is not None:
            self.progress(self.reader.position, self.reader.size)
        if i < 0:
            self.done.operations += len(rows)
            return
        self.done.operations += i + 1
        row, answer = rows[i], int(results[i])
        mt = int(ops["migratetype"][i])
        allocates = row["op"] == ord("a")
        raise _Parted(
            int(row["line"]),
            asked_for(row, mt),
            "freed" if not allocates else "no memory" if row["pfn"] < 0 else f"pfn {row['pfn']}",
            f"errno {answer}" if answer < 0 else f"pfn {answer - zone.start_pfn}",
            self.lists_of(int(row["order"]), mt) if allocates else (),
            (int(row["pfn"]), answer - zone.start_pfn) if allocates else (),
        )

    def free_all(self, line: int) -> None:
        """Free every handle that is in use, in handle order."""
        self.need_zone(line)
        live = np.flatnonzero(self.handles != EMPTY)
        rows = np.zeros(len(live), ACTION)
        rows["op"] = np.where(self.is_contig[live], ord("g"), ord("f"))
        rows["line"], rows["handle"], rows["pfn"] = line, live, -1
        released = [(handle, int(self.handles[handle])) for handle in self.cma_handles & set(live.tolist())]
        if len(rows):
            self.actions(rows)
        for handle, frame in released:
            self.forget_cma(handle, frame)

    def room_for(self, handle: int, line: int) -> None:
        """Make the tables long enough for a handle."""
        if not 0 <= handle < MOST_HANDLES:
            raise self.reader.fail(f"handle {handle} is out of range", line)
        if handle >= len(self.handles):
            more = max(handle + 1 - len(self.handles), len(self.handles))
            self.handles = np.concatenate([self.handles, np.full(more, EMPTY, np.uint32)])
            self.sizes = np.concatenate([self.sizes, np.full(more, -1, np.int64)])
            self.is_contig = np.concatenate([self.is_contig, np.zeros(more, np.bool_)])

    def contig_range(self, c: Contig) -> None:
        """Run one contig request and compare errno, migrations and what refused it."""
        zone = self.need_zone(c.line)
        self.room_for(c.handle, c.line)
        self.done.operations += 1
        self.done.contig_ranges += 1
        if c.start < 0 or c.nr_pages < 0 or (c.op != "x" and c.start + c.nr_pages > zone.geometry.nr_pages):
            raise self.reader.fail(f"range [{c.start}, +{c.nr_pages}) is outside the zone", c.line)
        if c.start >> 30 or c.nr_pages >> 30 or c.start + c.nr_pages == 0:
            raise self.reader.fail(f"no kernel is asked for the range [{c.start}, +{c.nr_pages})", c.line)
        if self.handles[c.handle] != EMPTY:
            raise self.reader.fail(f"handle {c.handle} is in use", c.line)
        self.check_moves(c.line, c.moves)
        moves: list[tuple[int, int | None, int]] = []
        errno = self.ask(zone, c, moves)
        first = zone.start_pfn
        moved = tuple((source - first, None if target is None else target - first) for source, target, _ in moves)
        what = asked(c)
        if errno != (BUG if c.errno is None else c.errno):
            theirs = "stopped with a BUG" if c.errno is None else f"errno {c.errno}"
            step, rule, refused = zone.last_refusal()
            mine = f"BUG in {step}: {rule} at pfn {refused}" if errno == BUG else f"errno {errno}"
            if errno < 0 and errno != BUG:
                mine += f" by {step} at pfn {refused - first}: {rule}"
            if c.why is not None:
                theirs += (
                    f" for {'an unmovable page' if c.why[0] == 'U' else 'a page that is not free'} at pfn {c.why[1]}"
                )
            pfns = (c.why[1] if c.why else None, refused - first if errno < 0 else None)
            raise _Parted(c.line, what, theirs, mine, self.lists_of(0, Migratetype.MOVABLE), pfns)
        self.compare_moves(c.line, what, c.moves, moved)
        self.own -= sum(1 << order for _, target, order in moves if target is None)
        if errno == 0:
            self.own += c.nr_pages
            self.sizes[c.handle] = c.nr_pages
            self.is_contig[c.handle] = True

    def isolation(self, i: Isolation) -> None:
        """Isolate a range by itself, or give it back, and compare the answer."""
        zone = self.need_zone(i.line)
        self.done.operations += 1
        if i.nr_pages < 1 or not 0 <= i.start <= zone.geometry.nr_pages - i.nr_pages:
            raise self.reader.fail(f"range [{i.start}, +{i.nr_pages}) is outside the zone", i.line)
        start = zone.start_pfn + i.start
        errno, why = 0, ""
        try:
            if i.op == "S":
                zone.start_isolate_page_range(start, start + i.nr_pages)
            else:
                zone.undo_isolate_page_range(start, start + i.nr_pages)
        except ContigRefused as refused:
            errno, why = -refused.errno, f" by {refused}"
        except KernelBugError as stopped:
            errno, why = BUG, f": {stopped}"
        if errno != i.errno:
            raise _Parted(i.line, asked(i), f"errno {i.errno}", f"errno {errno}{why}")

    def promised(self, p: Promised) -> None:
        """Look whether what must hold here does."""
        zone = self.need_zone(p.line)
        found = broken_promise(zone, p)
        if found is None:
            raise self.reader.fail(f"there is no promise {p.name!r} with {len(p.numbers)} numbers", p.line)
        if found:
            raise _Parted(p.line, f"promise {p.name!r}", "it holds", found, ("counter", "type of pageblock"))

    def check_moves(self, line: int, moves: Moves) -> None:
        """Migrations of a trace that no kernel can have made are malformed."""
        nr_pages = self.need_zone(line).geometry.nr_pages
        for pfn in (pfn for move in moves for pfn in move if pfn is not None):
            if not 0 <= pfn < nr_pages:
                raise self.reader.fail(f"pfn {pfn} is outside the zone of {nr_pages} pages", line)

    # ---- CMA ----

    def need_area(self, line: int) -> CmaArea:
        if self.area is None:
            raise self.reader.fail("a CMA request, but the first dump has no CMA area (B)", line)
        return self.area

    def cma_alloc(self, c: CmaAlloc) -> None:
        """Run one cma_alloc and compare each of its tries, what they moved, and the page."""
        zone = self.need_zone(c.line)
        area = self.need_area(c.line)
        self.room_for(c.handle, c.line)
        if self.handles[c.handle] != EMPTY:
            raise self.reader.fail(f"handle {c.handle} is in use", c.line)
        if c.count < 1 or not 0 <= c.align < 64:
            raise self.reader.fail(f"no request for {c.count} pages aligned to order {c.align} is made of CMA", c.line)
        for attempt in c.tries:
            self.check_moves(c.line, attempt.moves)
        if c.pfn is not None and c.pfn >= zone.geometry.nr_pages:
            raise self.reader.fail(f"pfn {c.pfn} is outside the zone of {zone.geometry.nr_pages} pages", c.line)
        self.done.operations += 1
        self.done.cma_requests += 1
        what = asked(c)
        bug = ""
        try:
            answer = area.alloc(c.count, c.align, owner=c.handle, handles=self.handles)
            tries, pfn = answer.tries, answer.pfn
        except KernelBugError as stopped:
            # what was tried before is lost with the call
            tries, pfn, bug = (), None, str(stopped)
        theirs_stopped = bool(c.tries) and c.tries[-1].errno is None
        if bool(bug) != theirs_stopped:
            raise _Parted(c.line, what, "stopped with a BUG" if theirs_stopped else "answered", bug or "answered")
        if not bug:
            self.compare_tries(c, what, tries, zone)
        here = None if pfn is None else pfn - zone.start_pfn
        if here != c.pfn:
            raise _Parted(c.line, what, c.pfn, here)
        if pfn is not None:
            self.handles[c.handle] = pfn - zone.base()
            self.sizes[c.handle] = c.count
            self.is_contig[c.handle] = True
            self.cma_handles.add(c.handle)
        self.own = self.count_own_pages()

    def compare_tries(self, c: CmaAlloc, what: str, tries: tuple[CmaTry, ...], zone: Zone) -> None:
        """The places that cma_alloc tried, in order."""
        first = zone.start_pfn
        for number, (theirs, mine) in enumerate(zip_longest(c.tries, tries), 1):
            kernel = "no more tries" if theirs is None else f"[{theirs.start}, +{c.count}) errno {theirs.errno}"
            model = "no more tries" if mine is None else f"[{mine.start_pfn - first}, +{c.count}) errno {-mine.errno}"
            if kernel != model:
                raise _Parted(c.line, f"{what}, try {number}", kernel, model)
            moved = tuple(
                (
                    source - first,
                    None if target is None or not zone.start_pfn <= target < zone.end_pfn else target - first,
                )
                for source, target, _ in mine.done.moved
            )
            self.compare_moves(c.line, f"{what}, try {number}", theirs.moves, moved)

    def cma_release(self, r: CmaRelease) -> None:
        """Release the pages of a handle."""
        zone = self.need_zone(r.line)
        area = self.need_area(r.line)
        self.room_for(r.handle, r.line)
        self.done.operations += 1
        frame = int(self.handles[r.handle])
        if r.empty or frame == EMPTY:
            if r.empty != (frame == EMPTY):
                raise _Parted(
                    r.line,
                    f"cma_release of handle {r.handle}",
                    "empty" if r.empty else "released",
                    "empty" if frame == EMPTY else f"pfn {frame + zone.base() - zone.start_pfn}",
                )
            return
        if r.handle not in self.cma_handles:
            raise self.reader.fail(f"handle {r.handle} was not allocated by cma_alloc", r.line)
        area.release(frame + zone.base(), int(self.sizes[r.handle]))
        self.handles[r.handle] = EMPTY
        self.cma_handles.discard(r.handle)
        self.own = self.count_own_pages()

    def count_own_pages(self) -> int:
        """Pages of the zone that live handles hold, counted anew."""
        return int(self.sizes[np.flatnonzero(self.handles < OFFNODE)].sum())

    def forget_cma(self, handle: int, frame: int) -> None:
        """Clear the bits of a CMA handle whose pages were freed with all others."""
        assert self.area is not None
        assert self.zone is not None
        self.area.clear_bitmap(frame + self.zone.base(), int(self.sizes[handle]))
        self.cma_handles.discard(handle)

    def compare_moves(self, line: int, what: str, theirs: Moves, mine: Moves) -> None:
        """Migrations, in order."""
        if mine != theirs:
            at = next(
                (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
                min(len(mine), len(theirs)),
            )
            raise _Parted(
                line,
                f"{what}, migration {at + 1}",
                f"{len(theirs)} moves, here {move_at(theirs, at)}",
                f"{len(mine)} moves, here {move_at(mine, at)}",
                self.lists_of(0, Migratetype.MOVABLE),
                tuple(pfn for moves in (theirs, mine) for pfn in (moves[at] if at < len(moves) else ())),
            )
        self.done.migrations += len(mine)

    def compaction(self, c: Compaction) -> None:
        """Compact the zone, compare the migrations, and let the handles follow their pages."""
        zone = self.need_zone(c.line)
        self.done.operations += 1
        self.done.compactions += 1
        if c.errno:
            raise self.reader.fail(
                f"the kernel was not asked to compact (errno {c.errno}): record the trace again", c.line
            )
        self.check_moves(c.line, c.moves)
        moves = np.array(zone.compact_memory(), np.int64).reshape(-1, 2)
        moved = tuple((int(source), int(target)) for source, target in (moves - zone.start_pfn).tolist())
        self.compare_moves(c.line, "compaction", c.moves, moved)
        live = np.flatnonzero(self.handles < OFFNODE)
        owners = live[np.argsort(self.handles[live])]
        # no page moves twice: the scanners stop where they meet
        frames = moves - zone.base()
        at = np.searchsorted(self.handles[owners], frames[:, 0])
        self.handles[owners[at]] = frames[:, 1]

    def ask(self, zone: Zone, c: Contig, moves: list[tuple[int, int | None, int]]) -> int:
        """The model's answer: 0 or a negative errno; what it migrated goes to ``moves``."""
        operation = np.array([(3, 0, Migratetype.MOVABLE, PageClass.KERNEL, c.handle, c.start, c.nr_pages)], OPERATION)
        zone.set_signal_pending(c.op == "I")
        try:
            result = int(zone.run(operation, self.handles, moves)[0])
        finally:
            zone.set_signal_pending(False)
        return min(result, 0)

    # ---- comparisons ----

    def lists_of(self, order: int, mt: int) -> tuple[str, ...]:
        """Names of the lists that an allocation looks at, in its order."""
        assert self.zone is not None
        g = self.zone.geometry
        names = [list_name(o, mt) for o in range(order, g.max_order + 1)]
        if self.reader.header.per_cpu_lists and (order <= 3 or order == g.pageblock_order):
            names.insert(0, pcp_list_name(3 * order + mt if order <= 3 else 12 + (mt == Migratetype.MOVABLE)))
        return tuple(names)

    def compare_hash(self, h: Hash) -> None:
        """Digests and counters."""
        zone = self.need_zone(h.line)
        self.done.hashes += 1
        if self.progress is not None:
            self.progress(self.reader.position, self.reader.size)
        if h.digests is not None:
            for (name, about), theirs, ours in zip(_DIGESTS, h.digests, zone.digests(self.isolate_number), strict=True):
                if theirs != ours:
                    raise _Parted(h.line, f"digest of the {name}", f"{theirs:016x}", f"{ours:016x}", (about,))
        ours_by_name = self.counters(zone) if h.op == "H" else accounting(zone, self.handles, self.sizes)
        for name, theirs in h.counters.items():
            if name in ours_by_name and ours_by_name[name] != theirs:
                whatever = ("counter", "type of pageblock")
                abouts = (f"counter {name}",) if h.op == "H" else whatever
                raise _Parted(h.line, f"counter {name}", theirs, ours_by_name[name], abouts)
        if h.digests is not None:
            self.agreed = self.done.operations

    def counters(self, zone: Zone) -> dict[str, int]:
        """What an ``H`` line counts."""
        blocks = zone.free_blocks
        listed = int((blocks << np.arange(len(blocks), dtype=np.uint64)).sum())
        free, free_cma = zone.vm_stats()
        return {
            "free": listed,
            "stat": free,
            "pcp": zone.nr_pcp_pages,
            "own": self.own,
            "foreign": self.foreign,
            "cma": free_cma,
        }

    def compare_dump(self, dump: Dump) -> None:
        """A later dump against the zone: types, every list in order, per-cpu lists, reserves, live handles."""
        zone = self.need_zone(dump.line)
        self.done.dumps += 1
        first = zone.start_pfn
        if not dump.types and dump.after_bug:
            return
        self.check_dump(dump, zone)
        types = np.concatenate([np.full(count, self.type_of(mt), np.uint8) for mt, count in dump.types])
        holes = np.concatenate([np.full(count, mt == 9) for mt, count in dump.types])
        ours = zone.pageblock_types
        if len(types) != len(ours):
            raise self.reader.fail(f"the dump has {len(types)} pageblocks, the zone {len(ours)}", dump.line)
        different = np.flatnonzero((types != ours) & ~holes)
        if len(different):
            block = int(different[0])
            raise _Parted(
                dump.line,
                f"type of pageblock {block}",
                Migratetype(types[block]).name,
                Migratetype(ours[block]).name,
                (f"type of pageblock {block}",),
            )
        for order in range(zone.geometry.max_order + 1):
            for number in range(self.isolate_number + 1):
                theirs = dump.free.get((order, number), np.zeros(0, np.int64))
                mine = zone.free_list(order, self.type_of(number)).astype(np.int64) - first
                self.compare_list(dump.line, list_name(order, self.type_of(number)), theirs, mine)
        if self.reader.header.per_cpu_lists:
            for pindex in range(PCP_LISTS):
                mine = zone.pcp_list(pindex).astype(np.int64) - first
                self.compare_list(
                    dump.line, pcp_list_name(pindex), dump.pcp_lists.get(pindex, np.zeros(0, np.int64)), mine
                )
            state = zone.pcp_state()
            for name, theirs_q in dump.pcp.items():
                if name in state and state[name] != theirs_q:
                    raise _Parted(dump.line, f"per-cpu {name}", theirs_q, state[name], ("per-cpu list",))
        free, free_cma = zone.vm_stats()
        for name, theirs_n, ours in (
            ("NR_FREE_PAGES", dump.counted.get("stat_free"), free),
            ("NR_FREE_CMA_PAGES", dump.cma.get("nr_free_cma"), free_cma),
            ("nr_isolate_pageblock", dump.watermarks.get("nr_isolate"), zone.nr_isolate_pageblock),
        ):
            if theirs_n is not None and theirs_n != ours:
                raise _Parted(dump.line, f"counter {name}", theirs_n, ours, ("counter", "type of pageblock"))
        marks = dict(zip(("min", "low", "lowmem_reserve"), zone.watermarks, strict=True)) | zone.reserves()
        for name in _DUMPED:
            if name in dump.watermarks and name in marks and dump.watermarks[name] != marks[name]:
                raise _Parted(dump.line, f"watermark line, {name}", dump.watermarks[name], marks[name])
        if dump.owned or dump.tag == "final":
            self.compare_owned(dump, zone)
        self.agreed = self.done.operations

    def check_dump(self, dump: Dump, zone: Zone) -> None:
        """A later dump that lacks a part, or is of another zone, is malformed: nothing of it goes unread."""
        g = zone.geometry
        for letter, part in (("Z", dump.zone), ("T", dump.types), ("W", dump.watermarks), ("Q", dump.pcp)):
            if not part and (letter != "Q" or self.reader.header.per_cpu_lists):
                raise self.reader.fail(f"the dump has no {letter} line: record the trace again", dump.line)
        for key, ours in (("start_pfn", zone.start_pfn), ("spanned", g.nr_pages)):
            if dump.number(key) != ours:
                raise self.reader.fail(f"the dump has {key} {dump.number(key)}, the first one {ours}", dump.line)
        for order, number in dump.free:
            if order > g.max_order or not 0 <= number <= self.isolate_number:
                raise self.reader.fail(f"no free list has order {order} and type {number}", dump.line)
        for pindex in dump.pcp_lists:
            if not 0 <= pindex < PCP_LISTS:
                raise self.reader.fail(f"there is no per-cpu list {pindex}", dump.line)

    def compare_list(self, line: int, what: str, theirs: npt.NDArray[np.int64], mine: npt.NDArray[np.int64]) -> None:
        if np.array_equal(theirs, mine):
            return
        at = next(
            (i for i, (a, b) in enumerate(zip(theirs, mine, strict=False)) if a != b), min(len(theirs), len(mine))
        )
        raise _Parted(
            line,
            f"{what}, entry {at}",
            entries_from(theirs, at),
            entries_from(mine, at),
            (what,),
            tuple(int(pfns[at]) for pfns in (theirs, mine) if at < len(pfns)),
            whole=True,
        )

    def compare_owned(self, dump: Dump, zone: Zone) -> None:
        """Live handles: the same ones, at the same pfns, those in other zones apart."""
        owned = np.concatenate([*dump.owned, np.zeros(0, ACTION)])
        handles, pfns = owned["handle"], owned["pfn"]
        highest = int(handles.max(initial=0))
        if highest < MOST_HANDLES:
            self.room_for(highest, dump.line)
        places = self.handles[np.minimum(handles, len(self.handles) - 1)].astype(np.int64)
        inside = (pfns >= 0) & (pfns < zone.geometry.nr_pages)
        # handles hold pfns counted from the zone's base
        here = places - (zone.start_pfn - zone.base())
        wrong = ((places < OFFNODE) != inside) | (inside & (here != pfns))
        if wrong.any():
            i = int(np.argmax(wrong))
            theirs = int(pfns[i]) if inside[i] else "another zone"
            mine = int(here[i]) if places[i] < OFFNODE else None
            raise _Parted(dump.line, f"handle {handles[i]}", theirs, mine, (), (int(pfns[i]), mine), whole=True)
        more = np.setdiff1d(np.flatnonzero(self.handles != EMPTY), handles)
        if len(more):
            raise _Parted(dump.line, "live handles", "none more", f"also {more[:5].tolist()}")


def asked_for(row: npt.NDArray[np.void], migratetype: int) -> str:
    """An allocation or a free, in words."""
    if row["op"] == ord("a"):
        return f"allocate order {row['order']} {Migratetype(migratetype).name} for handle {row['handle']}"
    return f"free{' the range of' if row['op'] == ord('g') else ''} handle {row['handle']}"


def asked(record: Record) -> str:
    """Any other operation of a trace, in words."""
    if isinstance(record, Contig):
        return f"alloc_contig_range [{record.start}, {record.start + record.nr_pages})"
    if isinstance(record, CmaAlloc):
        return f"cma_alloc of {record.count} pages aligned to order {record.align}"
    if isinstance(record, CmaRelease):
        return f"cma_release of handle {record.handle}"
    if isinstance(record, Isolation):
        name = "start_isolate_page_range" if record.op == "S" else "undo_isolate_page_range"
        return f"{name} [{record.start}, {record.start + record.nr_pages})"
    return "compaction" if isinstance(record, Compaction) else ""


def move_at(moves: Moves, at: int) -> str:
    """One of the migrations in the trace's own words."""
    if at >= len(moves):
        return "none"
    source, target = moves[at]
    return f"{source}>{'another zone' if target is None else target}"


def entries_from(pfns: npt.NDArray[np.int64], at: int) -> str:
    """The entries of a list from ``at`` on, as far as a person wants to read."""
    shown = " ".join(map(str, pfns[at : at + 6])) or "no more"
    return f"{len(pfns)} entries{', from there on' if at else ''}: {shown}{' …' if len(pfns) > at + 6 else ''}"
