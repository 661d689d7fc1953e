"""The model and the reference in lock-step: the same operations on both, every answer compared, the whole state now and then."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import PageblockError
from ..mm import OPERATION, Migratetype
from ..mm.errors import ContigRefused, KernelBugError
from .invariants import violations
from .operation import BUG
from .reference.contig import KernelStops
from .world import World

__all__ = [
    "ALLOC",
    "ATOMIC",
    "CONTIG",
    "CONTIG_PAGES",
    "DRAIN",
    "FREE",
    "FREE_CONTIG",
    "ISOLATE",
    "UNDO",
    "UNRESERVE",
    "Difference",
    "Lockstep",
    "Operation",
    "run",
]

#: Kinds of operations; the first five are those of ``Zone.run``.
ALLOC, FREE, CONTIG, FREE_CONTIG, ATOMIC, ISOLATE, UNDO, CONTIG_PAGES, UNRESERVE, DRAIN = range(1, 11)

#: Kind, order, migratetype, flags, handle, first page counted from the zone's first, pages: the fields of ``OPERATION``.
Operation = tuple[int, int, int, int, int, int, int]

#: Those after which the owners' pages are compared instead of the moves, which the model does not tell.
MOVES_UNTOLD = (ISOLATE, CONTIG_PAGES)

#: What moved: source, target, order.
Moves = list[tuple[int, int | None, int]]

#: An empty handle of ``Zone.run``.
EMPTY = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the two parted: after how many operations, what it is about, what the model and the reference have.

    ``reference`` is None where the model breaks an invariant.
    """

    operations: int
    what: str
    model: str
    reference: str | None


class Lockstep:
    """Both zones of a world, and the operations that the reference has done and the model has still to do.

    ``stopped``: the kernel would have stopped, or what follows is not defined.
    """

    def __init__(self, world: World, handles: int, *, invariants: bool = True) -> None:
        self.world = world
        self.zone = world.zone()
        self.reference = world.reference()
        self.handles = np.full(handles, EMPTY, np.uint32)
        self.base = self.zone.base()
        # the series as posted keeps next to none: that is its faults
        self.invariants = invariants and not world.rules.as_posted
        self.circumstances = world.circumstances
        self.pending: list[Operation] = []
        self.answers: list[int] = []
        # for each pending operation how much the reference has moved by its end
        self.moved: list[int] = []
        self.done = 0
        self.difference: Difference | None = None
        self.stopped = False

    # ---- one side at a time ----

    def apply(self, operation: Operation) -> int:
        """Do an operation on the reference; the model follows when ``compare`` is called."""
        try:
            answer = self.on_reference(operation)
        except KernelStops:
            answer = BUG
        self.stopped = answer == BUG or self.reference.overlapping
        self.pending.append(operation)
        self.answers.append(answer)
        self.moved.append(len(self.reference.moves))
        if operation[0] in MOVES_UNTOLD and self.difference is None:
            self.difference = self.compare(False) or (None if self.stopped else self.compare_handles())
        return answer

    def on_reference(self, operation: Operation) -> int:
        """What the reference answers: a pfn, 0 where there is none, or a negative errno."""
        kind, order, mt, flags, handle, start, nr_pages = operation
        reference = self.reference
        if kind in (ALLOC, ATOMIC):
            return reference.run_alloc(handle, order, mt, flags, kind == ATOMIC)
        if kind == FREE:
            return reference.run_free(handle)
        if kind == FREE_CONTIG:
            return reference.run_free_contig(handle, nr_pages)
        first = self.world.start_pfn + start
        if kind == CONTIG:
            return reference.run_contig(handle, first, first + nr_pages, mt, flags)
        if kind == ISOLATE:
            return reference.isolate_range(first, first + nr_pages, mt)
        if kind == UNDO:
            reference.undo_range(*reference.span(first, first + nr_pages), mt)
            return 0
        if kind == CONTIG_PAGES:
            if handle in reference.handles:
                return -17
            pfn = reference.alloc_contig_pages(nr_pages, flags, handle)
            if pfn >= 0:
                reference.handles[handle] = pfn
            return pfn
        if kind == DRAIN:
            reference.drain()
            return 0
        return int(reference.unreserve_highatomic(mt, bool(flags)))

    def on_model(self, operation: Operation) -> int:
        """The same for what ``Zone.run`` does not know; handles follow the pages that move meanwhile."""
        self.zone.lend_handles(self.handles)
        try:
            return self.by_method(operation)
        finally:
            self.zone.return_handles()

    def by_method(self, operation: Operation) -> int:
        """What the method of an operation answers."""
        kind, _, mt, flags, handle, start, nr_pages = operation
        first = self.world.start_pfn + start
        zone = self.zone
        try:
            if kind == ISOLATE:
                zone.start_isolate_page_range(first, first + nr_pages, mt)
                return 0
            if kind == UNDO:
                zone.undo_isolate_page_range(first, first + nr_pages, mt)
                return 0
            if kind == CONTIG_PAGES:
                if self.handles[handle] != EMPTY:
                    return -17
                taken = zone.alloc_contig_pages(nr_pages, page_class=flags, owner=handle)
                self.handles[handle] = taken.start_pfn - self.base
                return int(taken.start_pfn)
            if kind == DRAIN:
                zone.drain_all_pages()
                return 0
            return int(zone.unreserve_highatomic_pageblock(mt, bool(flags)))
        except ContigRefused as refused:
            return -refused.errno
        except KernelBugError:
            return BUG

    def run_model(self, moves: Moves) -> list[int]:
        """Do what is pending on the model, in as few calls as possible; its answers. ``moves`` receives what ranges moved."""
        answers: list[int] = []
        at = 0
        pending = self.pending
        while at < len(pending):
            if pending[at][0] > ATOMIC:
                answers.append(self.on_model(pending[at]))
                at += 1
                continue
            end = at
            while end < len(pending) and pending[end][0] <= ATOMIC:
                end += 1
            ops = np.array(pending[at:end], dtype=OPERATION)
            answers += self.zone.run(ops, self.handles, moves).tolist()
            at = end
        return answers

    # ---- comparing ----

    def compare(self, state: bool) -> Difference | None:
        """Let the model do what is pending, and compare answers and moves, with ``state`` also all that either side holds."""
        if self.difference is not None:
            return self.difference
        moves: Moves = []
        try:
            answers = self.run_model(moves)
        except PageblockError as error:
            return Difference(self.done + len(self.pending), "error", " ".join(str(error).split()), "no error")
        difference = self.parted(answers, moves)
        if difference is not None:
            return difference
        self.done += len(answers)
        self.pending, self.answers, self.moved = [], [], []
        self.reference.moves.clear()
        return self.compare_states() if state and not self.stopped else None

    def parted(self, answers: list[int], moves: Moves) -> Difference | None:
        """The first operation that the two answered differently, or for which they moved a page to different places."""
        at = next((i for i, pair in enumerate(zip(answers, self.answers, strict=True)) if pair[0] != pair[1]), None)
        theirs: Moves = []
        ends = []
        before = 0
        for operation, end in zip(self.pending, self.moved, strict=True):
            theirs += [] if operation[0] in MOVES_UNTOLD else self.reference.moves[before:end]
            ends.append(len(theirs))
            before = end
        if moves != theirs:
            first = next((i for i, (a, b) in enumerate(zip(moves, theirs, strict=False)) if a != b), None)
            if first is None:
                first = min(len(moves), len(theirs))
            # a move that the reference does not make belongs to the operation behind its last one
            index = next((i for i, end in enumerate(ends) if end > first), len(ends) - 1)
            if at is None or index < at:
                return Difference(self.done + index + 1, "moves", told(moves, first), told(theirs, first))
        if at is not None:
            return Difference(self.done + at + 1, "answer", str(answers[at]), str(self.answers[at]))
        return None

    def compare_states(self) -> Difference | None:
        """Free lists in order, pageblock types, counters, handles; then the model's invariants."""
        for what, mine, theirs in self.states():
            if mine != theirs:
                return Difference(self.done, what, str(mine), str(theirs))
        difference = self.compare_handles()
        if difference is not None:
            return difference
        if self.invariants:
            for broken in violations(self.zone, self.circumstances):
                return Difference(self.done, broken.invariant, str(broken), None)
        return None

    def states(self) -> list[tuple[str, object, object]]:
        """What is compared: its name, the model's, the reference's."""
        zone, reference = self.zone, self.reference
        found: list[tuple[str, object, object]] = [
            ("NR_FREE_PAGES", zone.nr_free_pages, reference.nr_free),
            ("NR_FREE_CMA_PAGES", zone.nr_free_cma_pages, reference.nr_free_cma),
            ("nr_isolate_pageblock", zone.nr_isolate_pageblock, reference.nr_isolated),
            ("nr_reserved_highatomic", zone.reserves()["highatomic"], reference.nr_reserved_highatomic),
            ("pageblock types", zone.pageblock_types.tolist(), list(reference.types.values())),
        ]
        for order, lists in enumerate(reference.lists):
            for mt, entries in enumerate(lists):
                name = f"order {order} {Migratetype(mt).name} list"
                found.append((name, zone.free_list(order, mt).tolist(), list(entries)))
        if reference.pcp is not None:
            for number, listed in enumerate(reference.pcp.lists):
                found.append((f"per-cpu list {number}", zone.pcp_list(number).tolist(), list(listed)))
            found.append(("per-cpu tuning", zone.pcp_state(), reference.pcp_state()))
        return found

    def compare_handles(self) -> Difference | None:
        """Where each owner's first page is."""
        held = np.flatnonzero(self.handles != EMPTY)
        mine = dict(zip(held.tolist(), (self.handles[held].astype(np.int64) + self.base).tolist(), strict=True))
        theirs = dict(sorted(self.reference.handles.items()))
        return None if mine == theirs else Difference(self.done, "handles", str(mine), str(theirs))


def told(moves: Moves, at: int) -> str:
    """One of the moves in words."""
    if at >= len(moves):
        return "none"
    source, target, order = moves[at]
    return f"{source} to {target}, order {order}"


def run(
    world: World,
    operations: Sequence[Operation],
    handles: int,
    interval: int,
    *,
    invariants: bool = True,
    watch: Callable[[Lockstep], None] | None = None,
) -> Difference | None:
    """Run a fixed sequence on both; the first difference. ``interval``: operations between comparisons of the states."""
    pair = Lockstep(world, handles, invariants=invariants)
    difference = pair.compare_states()
    if difference is not None:
        return difference
    for at in range(0, len(operations), interval):
        for operation in operations[at : at + interval]:
            if not pair.stopped:
                pair.apply(operation)
        difference = pair.compare(True)
        if difference is not None:
            return difference
        if watch is not None:
            watch(pair)
    return None
