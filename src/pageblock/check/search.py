"""The shortest sequence of operations after which an invariant does not hold: breadth first, one zone, in plain Python.

Every operation is judged by ``effects.broken_by``. A small zone and a few operations are all that it is meant for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..mm import Migratetype
from ..mm import constants as k
from ..mm import release as find_release
from .effects import Step, broken_by
from .invariants import Violation
from .operation import BUG, Operation
from .shortest import EMPTY, Menu, Saved, Side, boot, menu_of
from .state import State, state_of

__all__ = ["Broken", "Tried", "first_broken"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A shortest sequence that breaks invariants. ``results``: a pfn or a negated errno for each operation.

    ``states``: different states seen until then; ``tried``: operations run.
    """

    operations: tuple[Operation, ...]
    results: tuple[int, ...]
    violations: tuple[Violation, ...]
    states: int
    tried: int


@dataclass(frozen=True, slots=True)
class Tried:
    """Nothing was broken in all sequences of up to ``depth`` operations."""

    depth: int
    states: int
    tried: int


@dataclass(frozen=True, slots=True)
class _Node:
    """A state, the way to it, and the handles in use: handle -> pages of its range, 0 for a block."""

    saved: Saved
    state: State
    live: dict[int, int]
    operations: tuple[Operation, ...] = ()
    results: tuple[int, ...] = ()


def first_broken(release: str, menu: Menu, *, weaknesses: bool = False, only: str | None = None) -> Broken | Tried:
    """Try all sequences of up to ``menu.depth`` operations, shortest first, until one breaks what the release promises.

    ``weaknesses``: also what it is known not to promise; ``only``: this invariant.
    """
    search = _Search(release, menu, weaknesses, only)
    frontier = list(search.boots())
    for depth in range(1, menu.depth + 1):
        following: list[_Node] = []
        for node in frontier:
            if search.broken is None:
                following += search.steps(node, depth == menu.depth)
        if search.broken is not None:
            return search.broken
        frontier = following
    return Tried(menu.depth, len(search.seen), search.tried)


class _Search:
    """The states seen so far, and the first breach."""

    def __init__(self, release: str, menu: Menu, weaknesses: bool, only: str | None) -> None:
        self.release, self.menu, self.weaknesses, self.only = release, menu, weaknesses, only
        self.seen: set[bytes] = set()
        self.tried = 0
        self.broken: Broken | None = None

    def boots(self) -> Iterator[_Node]:
        """The states to begin with: without and with a CMA area, of the smallest size that the release takes."""
        aligned = find_release(self.release).rules[k.RULE_CMA_ALIGN]
        block = 1 << (self.menu.pageblock_order if aligned == k.ALIGN_PAGEBLOCK else self.menu.max_order)
        yield self.boot(None)
        if self.menu.cma:
            for start in range(0, self.menu.within, block):
                yield self.boot((start, start + block))

    def boot(self, area: tuple[int, int] | None) -> _Node:
        """The state at boot, in which a CMA area is the first operation."""
        self.side = Side(boot(self.release, self.menu, area), self.menu.depth + 1)
        saved = self.side.save()
        self.seen.add(self.side.key(saved))
        cma = (Operation("cma", start_pfn=area[0], nr_pages=area[1] - area[0]),) if area else ()
        return _Node(saved, state_of(self.side.zone), {}, cma, (0,) * len(cma))

    def steps(self, node: _Node, last: bool) -> Iterator[_Node]:
        """The states after one operation more, those seen before left out; none after a breach."""
        for operation in self.choices(node):
            self.side.load(node.saved)
            self.tried += 1
            result = self.side.do(operation)
            state = state_of(self.side.zone)
            step = Step(node.state, operation, result, state, self.side.moved)
            way, results = (*node.operations, operation), (*node.results, result)
            broken = [
                violation
                for violation in broken_by(step, weaknesses=self.weaknesses)
                if self.only in (None, violation.invariant)
            ]
            if broken:
                self.broken = Broken(way, results, tuple(broken), len(self.seen), self.tried)
                return
            if last or result == BUG:
                continue
            saved = self.side.save()
            key = self.side.key(saved)
            if key not in self.seen:
                self.seen.add(key)
                yield _Node(saved, state, _live(node.live, operation, result), way, results)

    def choices(self, node: _Node) -> Iterator[Operation]:
        """What may come next. A range of an area is asked for as CMA."""
        handle = int((node.saved[1] == EMPTY).argmax())
        for operation in menu_of(self.menu, node.live, handle):
            yield operation
            inside = node.state.types_in(operation.start_pfn, operation.end_pfn)
            if operation.name in ("contig", "isolate", "undo") and inside == {Migratetype.CMA}:
                yield replace(operation, migratetype=int(Migratetype.CMA))


def _live(live: dict[int, int], operation: Operation, result: int) -> dict[int, int]:
    """The handles after an operation. A gigantic page stays."""
    after = dict(live)
    if operation.name == "free":
        after.pop(operation.handle)
    elif operation.name in ("alloc", "contig", "interrupted") and result >= 0:
        after[operation.handle] = operation.nr_pages
    return after
