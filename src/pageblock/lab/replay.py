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
from .history import History
from .promised import broken_promise
from .replay_compare import compare_dump, compare_hash
from .replay_state import EMPTY, MOST_HANDLES, OFFNODE, Parted, ReplayState

__all__ = ["Divergence", "Replay", "replay"]

Moves = tuple[tuple[int | None, int | None], ...]

#: The model's errno for a request in which the kernel stops with a BUG.
BUG = -131

#: Operations before a divergence that are looked at one by one, at most.
_LOOKED_AT = 2000


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
        self.state = ReplayState(reader)
        self.seen = seen
        self.history = history
        # operations when lists, types and counters were last compared, and equal
        self.agreed = 0
        # handles before the last operation, for the history
        self.history_handles: npt.NDArray[np.uint32] = np.zeros(0, np.uint32)
        self.until = until
        self.progress = progress
        self.done = Replay(reader.path.name, reader.header.kernel, reader.header.release)
        self.cma_handles: set[int] = set()

    def play(self) -> Replay:
        try:
            for record in self.state.reader.records():
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
                elif self.state.zone is None:
                    self.state.begin(record)
                else:
                    self.compare_dump(record)
                if self.history is not None and not isinstance(record, Actions | FreeAll):
                    self.look(record.line, asked(record))
                    if asked(record) and self.done.operations > self.history.first:
                        self.history.remember(self.done.operations, record.line, asked(record))
                if self.seen is not None and self.state.zone is not None:
                    self.seen(self.state.zone, record, self.done.operations)
                if self.until is not None and self.done.operations >= self.until:
                    break
        except Parted as parted:
            self.done.divergence = Divergence(
                parted.line, self.done.operations, parted.what, parted.kernel, parted.model, self.around(parted)
            )
        return self.done

    def compare_hash(self, record: Hash) -> None:
        """Digests and counters."""
        self.done.hashes += 1
        if self.progress is not None:
            self.progress(self.state.reader.position, self.state.reader.size)
        compare_hash(self.state, record)
        if record.digests is not None:
            self.agreed = self.done.operations

    def compare_dump(self, record: Dump) -> None:
        """A later dump against the zone."""
        self.done.dumps += 1
        compare_dump(self.state, record)
        if record.types or not record.after_bug:
            self.agreed = self.done.operations

    # ---- where they part ----

    def look(self, line: int, what: str) -> None:
        """Let the history see what an operation changed; the ones before its stretch are passed over."""
        if self.history is not None and self.state.zone is not None and self.done.operations >= self.history.first:
            self.history.look(self.state.zone, self.state.counters(self.state.zone), self.done.operations, line, what)
            self.history_handles = self.state.handles.copy()

    def around(self, parted: Parted) -> tuple[str, ...]:
        """The pages and lists that a divergence is about, and when they changed last: as the model has them."""
        history = self.history
        if history is None or history.types is None:
            return ()
        assert self.state.zone is not None
        sizes = self.state.sizes[: len(self.history_handles)]
        found = [
            f"pfn {pfn} before it, in the model: {history.whereabouts(self.state.zone, pfn, self.history_handles, sizes)}"
            for pfn in parted.pfns[:4]
        ]
        if parted.about and parted.about[0] in history.lists:
            return (*found, *history.describe_lists(parted.about, "here" if parted.whole else "before it"))
        if parted.about:
            found += history.describe_changes(parted.about, "now")
        return tuple(found)

    # ---- operations ----

    def actions(self, rows: npt.NDArray[np.void]) -> None:
        """Run allocations and frees and compare each answer."""
        if self.until is not None:
            rows = rows[: self.until - self.done.operations]
        zone = self.state.need_zone(int(rows["line"][0]))
        g = zone.geometry
        highest = int(rows["handle"].max())
        if highest < MOST_HANDLES:
            self.state.room_for(highest, 0)
        ops = np.zeros(len(rows), OPERATION)
        done, why = to_operations(rows, ops, self.state.sizes, self.state.is_contig, g.max_order, g.nr_pages)
        if why:
            row = rows[done]
            words = REASONS[why].format(handle=row["handle"], order=row["order"], pfn=row["pfn"], nr_pages=g.nr_pages)
            raise self.state.reader.fail(words, int(row["line"]))
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
        results = zone.run(ops, self.state.handles)
        i, gained = first_difference(rows, ops, results, zone.start_pfn)
        self.state.own += gained
        if self.progress is not None:
            self.progress(self.state.reader.position, self.state.reader.size)
        if i < 0:
            self.done.operations += len(rows)
            return
        self.done.operations += i + 1
        row, answer = rows[i], int(results[i])
        mt = int(ops["migratetype"][i])
        allocates = row["op"] == ord("a")
        raise Parted(
            int(row["line"]),
            asked_for(row, mt),
            "freed" if not allocates else "no memory" if row["pfn"] < 0 else f"pfn {row['pfn']}",
            f"errno {answer}" if answer < 0 else f"pfn {answer - zone.start_pfn}",
            self.state.lists_of(int(row["order"]), mt) if allocates else (),
            (int(row["pfn"]), answer - zone.start_pfn) if allocates else (),
        )

    def free_all(self, line: int) -> None:
        """Free every handle that is in use, in handle order."""
        self.state.need_zone(line)
        live = np.flatnonzero(self.state.handles != EMPTY)
        rows = np.zeros(len(live), ACTION)
        rows["op"] = np.where(self.state.is_contig[live], ord("g"), ord("f"))
        rows["line"], rows["handle"], rows["pfn"] = line, live, -1
        released = [(handle, int(self.state.handles[handle])) for handle in self.cma_handles & set(live.tolist())]
        if len(rows):
            self.actions(rows)
        for handle, frame in released:
            self.forget_cma(handle, frame)

    def contig_range(self, c: Contig) -> None:
        """Run one contig request and compare errno, migrations and what refused it."""
        zone = self.state.need_zone(c.line)
        self.state.room_for(c.handle, c.line)
        self.done.operations += 1
        self.done.contig_ranges += 1
        if c.start < 0 or c.nr_pages < 0 or (c.op != "x" and c.start + c.nr_pages > zone.geometry.nr_pages):
            raise self.state.reader.fail(f"range [{c.start}, +{c.nr_pages}) is outside the zone", c.line)
        if c.start >> 30 or c.nr_pages >> 30 or c.start + c.nr_pages == 0:
            raise self.state.reader.fail(f"no kernel is asked for the range [{c.start}, +{c.nr_pages})", c.line)
        if self.state.handles[c.handle] != EMPTY:
            raise self.state.reader.fail(f"handle {c.handle} is in use", c.line)
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
            raise Parted(c.line, what, theirs, mine, self.state.lists_of(0, Migratetype.MOVABLE), pfns)
        self.compare_moves(c.line, what, c.moves, moved)
        self.state.own -= sum(1 << order for _, target, order in moves if target is None)
        if errno == 0:
            self.state.own += c.nr_pages
            self.state.sizes[c.handle] = c.nr_pages
            self.state.is_contig[c.handle] = True

    def isolation(self, i: Isolation) -> None:
        """Isolate a range by itself, or give it back, and compare the answer."""
        zone = self.state.need_zone(i.line)
        self.done.operations += 1
        if i.nr_pages < 1 or not 0 <= i.start <= zone.geometry.nr_pages - i.nr_pages:
            raise self.state.reader.fail(f"range [{i.start}, +{i.nr_pages}) is outside the zone", i.line)
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
            raise Parted(i.line, asked(i), f"errno {i.errno}", f"errno {errno}{why}")

    def promised(self, p: Promised) -> None:
        """Look whether what must hold here does."""
        zone = self.state.need_zone(p.line)
        found = broken_promise(zone, p)
        if found is None:
            raise self.state.reader.fail(f"there is no promise {p.name!r} with {len(p.numbers)} numbers", p.line)
        if found:
            raise Parted(p.line, f"promise {p.name!r}", "it holds", found, ("counter", "type of pageblock"))

    def check_moves(self, line: int, moves: Moves) -> None:
        """Migrations of a trace that no kernel can have made are malformed."""
        nr_pages = self.state.need_zone(line).geometry.nr_pages
        for pfn in (pfn for move in moves for pfn in move if pfn is not None):
            if not 0 <= pfn < nr_pages:
                raise self.state.reader.fail(f"pfn {pfn} is outside the zone of {nr_pages} pages", line)

    # ---- CMA ----

    def need_area(self, line: int) -> CmaArea:
        if self.state.area is None:
            raise self.state.reader.fail("a CMA request, but the first dump has no CMA area (B)", line)
        return self.state.area

    def cma_alloc(self, c: CmaAlloc) -> None:
        """Run one cma_alloc and compare each of its tries, what they moved, and the page."""
        zone = self.state.need_zone(c.line)
        area = self.need_area(c.line)
        self.state.room_for(c.handle, c.line)
        if self.state.handles[c.handle] != EMPTY:
            raise self.state.reader.fail(f"handle {c.handle} is in use", c.line)
        if c.count < 1 or not 0 <= c.align < 64:
            raise self.state.reader.fail(
                f"no request for {c.count} pages aligned to order {c.align} is made of CMA", c.line
            )
        for attempt in c.tries:
            self.check_moves(c.line, attempt.moves)
        if c.pfn is not None and c.pfn >= zone.geometry.nr_pages:
            raise self.state.reader.fail(f"pfn {c.pfn} is outside the zone of {zone.geometry.nr_pages} pages", c.line)
        self.done.operations += 1
        self.done.cma_requests += 1
        what = asked(c)
        bug = ""
        try:
            answer = area.alloc(c.count, c.align, owner=c.handle, handles=self.state.handles)
            tries, pfn = answer.tries, answer.pfn
        except KernelBugError as stopped:
            # what was tried before is lost with the call
            tries, pfn, bug = (), None, str(stopped)
        theirs_stopped = bool(c.tries) and c.tries[-1].errno is None
        if bool(bug) != theirs_stopped:
            raise Parted(c.line, what, "stopped with a BUG" if theirs_stopped else "answered", bug or "answered")
        if not bug:
            self.compare_tries(c, what, tries, zone)
        here = None if pfn is None else pfn - zone.start_pfn
        if here != c.pfn:
            raise Parted(c.line, what, c.pfn, here)
        if pfn is not None:
            self.state.handles[c.handle] = pfn - zone.base()
            self.state.sizes[c.handle] = c.count
            self.state.is_contig[c.handle] = True
            self.cma_handles.add(c.handle)
        self.state.own = self.state.count_own_pages()

    def compare_tries(self, c: CmaAlloc, what: str, tries: tuple[CmaTry, ...], zone: Zone) -> None:
        """The places that cma_alloc tried, in order."""
        first = zone.start_pfn
        for number, (theirs, mine) in enumerate(zip_longest(c.tries, tries), 1):
            kernel = "no more tries" if theirs is None else f"[{theirs.start}, +{c.count}) errno {theirs.errno}"
            model = "no more tries" if mine is None else f"[{mine.start_pfn - first}, +{c.count}) errno {-mine.errno}"
            if kernel != model:
                raise Parted(c.line, f"{what}, try {number}", kernel, model)
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
        zone = self.state.need_zone(r.line)
        area = self.need_area(r.line)
        self.state.room_for(r.handle, r.line)
        self.done.operations += 1
        frame = int(self.state.handles[r.handle])
        if r.empty or frame == EMPTY:
            if r.empty != (frame == EMPTY):
                raise Parted(
                    r.line,
                    f"cma_release of handle {r.handle}",
                    "empty" if r.empty else "released",
                    "empty" if frame == EMPTY else f"pfn {frame + zone.base() - zone.start_pfn}",
                )
            return
        if r.handle not in self.cma_handles:
            raise self.state.reader.fail(f"handle {r.handle} was not allocated by cma_alloc", r.line)
        area.release(frame + zone.base(), int(self.state.sizes[r.handle]))
        self.state.handles[r.handle] = EMPTY
        self.cma_handles.discard(r.handle)
        self.state.own = self.state.count_own_pages()

    def forget_cma(self, handle: int, frame: int) -> None:
        """Clear the bits of a CMA handle whose pages were freed with all others."""
        assert self.state.area is not None
        assert self.state.zone is not None
        self.state.area.clear_bitmap(frame + self.state.zone.base(), int(self.state.sizes[handle]))
        self.cma_handles.discard(handle)

    def compare_moves(self, line: int, what: str, theirs: Moves, mine: Moves) -> None:
        """Migrations, in order."""
        if mine != theirs:
            at = next(
                (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
                min(len(mine), len(theirs)),
            )
            raise Parted(
                line,
                f"{what}, migration {at + 1}",
                f"{len(theirs)} moves, here {move_at(theirs, at)}",
                f"{len(mine)} moves, here {move_at(mine, at)}",
                self.state.lists_of(0, Migratetype.MOVABLE),
                tuple(pfn for moves in (theirs, mine) for pfn in (moves[at] if at < len(moves) else ())),
            )
        self.done.migrations += len(mine)

    def compaction(self, c: Compaction) -> None:
        """Compact the zone, compare the migrations, and let the handles follow their pages."""
        zone = self.state.need_zone(c.line)
        self.done.operations += 1
        self.done.compactions += 1
        if c.errno:
            raise self.state.reader.fail(
                f"the kernel was not asked to compact (errno {c.errno}): record the trace again", c.line
            )
        self.check_moves(c.line, c.moves)
        moves = np.array(zone.compact_memory(), np.int64).reshape(-1, 2)
        moved = tuple((int(source), int(target)) for source, target in (moves - zone.start_pfn).tolist())
        self.compare_moves(c.line, "compaction", c.moves, moved)
        live = np.flatnonzero(self.state.handles < OFFNODE)
        owners = live[np.argsort(self.state.handles[live])]
        # no page moves twice: the scanners stop where they meet
        frames = moves - zone.base()
        at = np.searchsorted(self.state.handles[owners], frames[:, 0])
        self.state.handles[owners[at]] = frames[:, 1]

    def ask(self, zone: Zone, c: Contig, moves: list[tuple[int, int | None, int]]) -> int:
        """The model's answer: 0 or a negative errno; what it migrated goes to ``moves``."""
        operation = np.array([(3, 0, Migratetype.MOVABLE, PageClass.KERNEL, c.handle, c.start, c.nr_pages)], OPERATION)
        zone.set_signal_pending(c.op == "I")
        try:
            result = int(zone.run(operation, self.state.handles, moves)[0])
        finally:
            zone.set_signal_pending(False)
        return min(result, 0)


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
