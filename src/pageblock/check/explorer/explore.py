"""Every state of a small zone that the operations can reach, breadth first: which of them break what the release promises.

The states of a level are looked at before those of the next, so the first broken promise has a shortest sequence. One or two
workers (threads; the compiled loop needs no interpreter lock) each own the states whose fingerprints name them: a worker
expands its own, hands over what belongs to the other, and takes in what was handed to it.
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from ...mm import release as find_release
from .bounds import Bounds
from .promises import breach_name, breach_words, kept_by, weakness
from .sequence import Sequence, retrace

if TYPE_CHECKING or os.environ.get("PAGEBLOCK_UNCOMPILED"):
    from .expand import Explorer
else:
    try:
        from ._explore import Explorer
    except ImportError:
        from .expand import Explorer

__all__ = ["Exploration", "Explorer", "Search", "explore", "finish"]

#: States that a worker expands before it hands over what belongs to the other.
_ROUND = 1 << 15

#: Records that a buffer has room for, beyond those that follow from one state.
_BUFFER = 1 << 15

#: Slots of a worker's first table of fingerprints.
_SLOTS = 1 << 16

#: What a state that nothing led to comes from: one of those at boot.
_BOOT = (1 << 64) - 1

#: Odd multipliers of the two fingerprint words: 2^64 / golden ratio, and a prime of xxHash's.
_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Exploration:
    """What was found.

    ``states``: distinct ones, windows exchanged; ``transitions``: operations done, whatever they led to; ``depth``:
    operations from boot to the deepest state; ``exhausted``: nothing new is left within the bounds, ``depth`` apart;
    ``stopped``: why it ended otherwise: "depth", "memory", "time", "interrupted", "violation" or "".
    ``broken``: name and words of the broken promise, and ``sequence`` to it; ``weak``: transitions in which the release did
    what it is known for (``weakness``), and ``weak_sequence`` to the first.
    """

    bounds: Bounds
    states: int
    transitions: int
    depth: int
    exhausted: bool
    stopped: str
    seconds: float
    promises: tuple[str, ...]
    broken: tuple[str, str] | None
    sequence: Sequence | None
    weak: int
    weakness: str
    weak_sequence: Sequence | None

    @property
    def collision_bound(self) -> float:
        """How likely at most two states had one fingerprint, so that one was passed over: n^2 / 2^128."""
        return float(self.states) ** 2 / 2.0**128


class _Full(Exception):
    """The memory that was allowed is used up."""


@dataclass(slots=True)
class Batch:
    """Records in a row, in memory or in a file. ``number``: of the first; those that follow are numbered on by worker."""

    records: Bytes | None
    number: int
    path: str = ""

    def peek(self) -> Bytes:
        """The records; a file stays."""
        return np.fromfile(self.path, np.uint8) if self.records is None else self.records

    def load(self) -> Bytes:
        """The records; a file is gone afterwards."""
        if self.records is None:
            self.records = np.fromfile(self.path, np.uint8)
            os.unlink(self.path)
            self.path = ""
        return self.records


@dataclass(slots=True)
class Worker:
    """One share of the states: what is known of them, what is to be expanded, what was found for the next level."""

    explorer: Any
    side: int
    table: Words
    buffers: tuple[Bytes, Words, Bytes, Words]
    now: list[Batch] = field(default_factory=list)
    next: list[Batch] = field(default_factory=list)
    at: int = 0
    states: int = 0
    origins: list[Words | str] = field(default_factory=list)
    out: list[tuple[Bytes, Words]] = field(default_factory=list)
    breaches: list[tuple[int, int, int, int]] = field(default_factory=list)


class Search:
    """The level-by-level search and its memory; a context, since what memory does not hold lies in files."""

    def __init__(self, bounds: Bounds, jobs: int, memory: int) -> None:
        if jobs not in (1, 2):
            raise InputError(f"{jobs} workers are not possible: choose 1 or 2")
        self.bounds = bounds
        self.jobs = jobs
        self.memory = memory
        self.depth = 0
        self.table = bounds.table()
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.files = 0
        self.workers = [self._worker(side) for side in range(jobs)]
        self.size = len(self.workers[0].explorer.record()[0])
        self.seconds = 0.0

    def __enter__(self) -> "Search":
        return self

    def __exit__(self, *raised: object) -> None:
        """Remove what was put on disk."""
        if self.folder is not None:
            self.folder.cleanup()
            self.folder = None

    def new_explorer(self) -> Any:
        """An explorer of these bounds."""
        b = self.bounds
        rules = np.array(find_release(b.release).rules, np.uint32)
        explorer = Explorer(b.nr_pages, b.max_order, b.pageblock_order, rules, self.table, _FACTORS)
        explorer.settle(**b.settings())
        return explorer

    def _worker(self, side: int) -> Worker:
        explorer = self.new_explorer()
        table = np.zeros(2 * _SLOTS, np.uint64)
        explorer.set_table(table)
        count = _BUFFER + len(self.table)
        size = len(explorer.record()[0])
        buffers = (
            np.zeros(count * size, np.uint8),
            np.zeros(count, np.uint64),
            np.zeros(count * size, np.uint8),
            np.zeros(count, np.uint64),
        )
        return Worker(explorer, side, table, buffers)

    # ---- the states at boot ----

    def begin(self) -> None:
        """The state at boot, in its worker's hands."""
        zone = self.bounds.boot()
        state = zone.saved_state()
        found = self.workers[0].explorer.load(state["arrays"], state["counters"])
        record, one, two = found
        worker = self.workers[two >> 63 if self.jobs == 2 else 0]
        worker.explorer.fill_table(worker.table, np.array([one, two], np.uint64))
        self._take(worker, np.frombuffer(record, np.uint8).copy(), np.array([_BOOT], np.uint64))
        worker.now, worker.next = worker.next, []

    # ---- levels ----

    def run(self, stopped: Callable[[], str], tell: Callable[[int, int, int], None], save: Callable[[], None]) -> str:
        """Search until nothing is left, a promise is broken or a bound is met; why it ended, "" for the first."""
        began = time.monotonic() - self.seconds
        if self.bounds.depth is not None and self.depth > self.bounds.depth:
            return "depth"
        with ThreadPoolExecutor(self.jobs) as pool:
            while True:
                last = self.bounds.depth is not None and self.depth >= self.bounds.depth
                kept = [(list(worker.now), worker.at) for worker in self.workers]
                try:
                    ended = self._level(pool, stopped, tell, save, last, began)
                except _Full:
                    ended = "memory"
                self.seconds = time.monotonic() - began
                if last:
                    # judged, not followed: a search that goes on to a larger depth follows them
                    for worker, (batches, at) in zip(self.workers, kept, strict=True):
                        worker.now, worker.at = batches, at
                if ended:
                    return ended
                if last:
                    return "depth"
                if not any(worker.next for worker in self.workers):
                    return ""
                for worker in self.workers:
                    worker.now, worker.next, worker.at = worker.next, [], 0
                self.depth += 1

    def _level(
        self,
        pool: ThreadPoolExecutor,
        stopped: Callable[[], str],
        tell: Callable[[int, int, int], None],
        save: Callable[[], None],
        last: bool,
        began: float,
    ) -> str:
        """Expand what is left of this level, in rounds."""
        only_check = last
        # what was handed over before memory ran out
        self._each(pool, self._absorb)
        while any(worker.now for worker in self.workers):
            self._each(pool, partial(self._expand, only_check=only_check, keep=last))
            self._each(pool, self._absorb)
            self.seconds = time.monotonic() - began
            tell(*self.counts())
            found = [breach for worker in self.workers for breach in worker.breaches]
            if any(breach[0] == self.depth for breach in found):
                return "violation"
            # a sequence as long as this level's may still be found: the rest of it is judged, not followed
            only_check = only_check or bool(found)
            if self.used() > self.memory:
                self._spill()
            why = stopped()
            if why:
                return why
            if not last:
                save()
        return "violation" if any(worker.breaches for worker in self.workers) else ""

    def _each(self, pool: ThreadPoolExecutor, what: Callable[[Worker], None]) -> None:
        """Let each worker do something, both at a time."""
        if self.jobs == 1:
            what(self.workers[0])
            return
        running = [pool.submit(what, worker) for worker in self.workers]
        # where one fails the other must have ended, too
        wait(running)
        for done in running:
            done.result()

    def _expand(self, worker: Worker, only_check: bool, keep: bool) -> None:
        """One round of a worker; ``keep``: what lies in files stays there."""
        left = _ROUND
        mine, mine_from, theirs, theirs_from = worker.buffers
        while worker.now and left > 0:
            batch = worker.now[0]
            records = batch.peek() if keep else batch.load()
            size = self.size
            self._make_room(worker)
            stop = min(len(records) // size, worker.at + left)
            number = batch.number * self.jobs + worker.side
            at, new, away = worker.explorer.expand(
                records[: stop * size],
                worker.at,
                number,
                self.jobs,
                self.jobs,
                worker.side,
                mine,
                mine_from,
                theirs,
                theirs_from,
                only_check,
            )
            left -= at - worker.at
            worker.at = at
            self._take(worker, mine[: new * size], mine_from[:new])
            if away:
                worker.out.append((theirs[: away * size].copy(), theirs_from[:away].copy()))
            breach = worker.explorer.breached()
            if breach is not None:
                depth = self.depth + (breach[2] < len(self.table))
                worker.breaches.append((depth, *breach))
                only_check = True
            if worker.at >= len(records) // size:
                worker.now.pop(0)
                worker.at = 0

    def _absorb(self, worker: Worker) -> None:
        """Take in what the other worker found for this one."""
        mine, mine_from = worker.buffers[:2]
        other = self.workers[1 - worker.side] if self.jobs == 2 else worker
        for records, origins in other.out:
            at = 0
            while at < len(origins):
                self._make_room(worker)
                at, new = worker.explorer.absorb(records, origins, at, mine, mine_from)
                self._take(worker, mine[: new * self.size], mine_from[:new])
        other.out = []

    def _take(self, worker: Worker, records: Bytes, origins: Words) -> None:
        """Keep new states of a worker for the next level."""
        if not len(origins):
            return
        worker.next.append(Batch(records.copy(), worker.states))
        worker.origins.append(origins.copy())
        worker.states += len(origins)

    # ---- memory ----

    def _make_room(self, worker: Worker) -> None:
        """Double a worker's table if it is two thirds full."""
        slots = len(worker.table) // 2
        while worker.explorer.counts()["states"] + 2 * len(self.table) >= slots // 3 * 2:
            if self.used() + 32 * slots > self.memory and self.used(tables_only=True) + 32 * slots > self.memory:
                raise _Full
            larger = np.zeros(4 * slots, np.uint64)
            worker.explorer.fill_table(larger, worker.table)
            worker.table = larger
            slots *= 2

    def used(self, tables_only: bool = False) -> int:
        """Bytes in memory."""
        total = sum(worker.table.nbytes + sum(b.nbytes for b in worker.buffers) for worker in self.workers)
        if tables_only:
            return total
        for worker in self.workers:
            total += sum(b.records.nbytes for b in (*worker.now, *worker.next) if b.records is not None)
            total += sum(o.nbytes for o in worker.origins if not isinstance(o, str))
        return total

    def _spill(self) -> None:
        """Put the frontier and where states came from on disk."""
        if self.folder is None:
            self.folder = tempfile.TemporaryDirectory(prefix="pageblock-explore-")
        for worker in self.workers:
            for batch in (*worker.now[1:], *worker.next):
                if batch.records is not None:
                    batch.path = self._file(batch.records)
                    batch.records = None
            kept: list[Words | str] = [o for o in worker.origins if isinstance(o, str)]
            loose = [o for o in worker.origins if not isinstance(o, str)]
            if loose:
                kept.append(self._file(np.concatenate(loose)))
            worker.origins = kept

    def _file(self, array: npt.NDArray[Any]) -> str:
        assert self.folder is not None
        self.files += 1
        path = os.path.join(self.folder.name, str(self.files))
        try:
            array.tofile(path)
        except OSError as error:
            raise InputError(
                f"{path}: {error.strerror or error}: the frontier needs room on disk; set TMPDIR, or raise --memory"
            ) from None
        return path

    # ---- what was found ----

    def counts(self) -> tuple[int, int, int]:
        """States, transitions, depth."""
        return (
            sum(worker.states for worker in self.workers),
            sum(worker.explorer.counts()["transitions"] for worker in self.workers),
            self.depth,
        )

    def origins(self) -> list[Words]:
        """Where each state of each worker came from."""
        return [
            np.concatenate([np.fromfile(o, np.uint64) if isinstance(o, str) else o for o in worker.origins])
            if worker.origins
            else np.zeros(0, np.uint64)
            for worker in self.workers
        ]

    def way_to(self, state: int, op: int | None) -> list[int]:
        """The operations from boot to a state, and one more."""
        origins = self.origins()
        ops: list[int] = [] if op is None else [op]
        at = state
        while (origin := int(origins[at % self.jobs][at // self.jobs])) != _BOOT:
            ops.append(origin & 0xFFFF)
            at = origin >> 16
        return ops[::-1]

    def breach(self) -> tuple[int, list[int]] | None:
        """The broken promise after fewest operations, and those."""
        found = min((breach for worker in self.workers for breach in worker.breaches), default=None)
        if found is None:
            return None
        _, which, state, op = found
        return which, self.way_to(state, op if op < len(self.table) else None)

    def weak(self) -> tuple[int, list[int] | None]:
        """Transitions with the known weakness, and the way to one of them."""
        counts = [worker.explorer.counts() for worker in self.workers]
        total = sum(count["weak"] for count in counts)
        ways = [self.way_to(count["weak_state"], count["weak_op"]) for count in counts if count["weak"]]
        return total, min(ways, key=len, default=None)


def explore(
    bounds: Bounds,
    *,
    jobs: int = 2,
    memory: int = 4 << 30,
    stopped: Callable[[], str] = lambda: "",
    tell: Callable[[int, int, int], None] = lambda states, transitions, depth: None,
) -> Exploration:
    """Explore a small zone.

    Args:
        jobs: workers, 1 or 2.
        memory: bytes; beyond it the frontier goes to disk, and beyond that of the fingerprints the search ends.
        stopped: asked about once a second whether to end, and why: "interrupted", "time"; empty: not yet.
        tell: states, transitions and depth so far, about once a second.
    """
    with Search(bounds, jobs, memory) as search:
        search.begin()
        return finish(search, search.run(stopped, tell, lambda: None))


def finish(search: Search, stopped: str) -> Exploration:
    """The report of a search that has ended."""
    states, transitions, depth = search.counts()
    breach = search.breach()
    weak, weak_way = search.weak()
    held_to = search.bounds.held_to
    sequence = weak_sequence = None
    if breach is not None:
        sequence = retrace(search.bounds, search.new_explorer(), search.table, breach[1], breach[0])
    if weak_way is not None:
        weak_sequence = retrace(search.bounds, search.new_explorer(), search.table, weak_way, 0)
    return Exploration(
        search.bounds,
        states,
        transitions,
        depth,
        not stopped,
        stopped,
        search.seconds,
        kept_by(held_to),
        None if breach is None else (breach_name(breach[0]), breach_words(breach[0])),
        sequence,
        weak,
        weakness(held_to) if weak else "",
        weak_sequence,
    )
