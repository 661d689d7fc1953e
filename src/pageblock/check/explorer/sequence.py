"""A sequence of operations that the explorer found, in the zone's own pfns and on a zone of its own.

States are explored up to an exchange of windows; here each operation is brought back to the windows that it means, and then
done by the public methods of ``Zone`` and ``CmaArea``, whose answers must be the explorer's.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...consumers.cma import CmaArea
from ...errors import PageblockError
from ...mm import Migratetype, PageClass, Zone
from ...mm.errors import ContigRefused, InvariantError, KernelBugError, OutOfMemoryError, UsageError
from . import codes as c
from .bounds import Bounds

__all__ = ["Sequence", "Stage", "Step", "retrace"]

BUG = -131

#: Operations that give back what another took.
_GIVES_BACK = (c.DO_FREE, c.DO_FREE_CONTIG, c.DO_CMA_RELEASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. ``what``: DO_*; ``first``, ``second``: its numbers; ``handle``: what it takes or gives back.

    ``result``: pfn of what was taken, 0, or a negative errno; ``moves``: (source, target) of migrations; ``tries``: of
    cma_alloc: (first pfn, moves, errno) of each place; ``free``: NR_FREE_PAGES afterwards, ``listed``: pages on lists of
    pageblocks that are not isolated.
    """

    what: int
    first: int
    second: int
    handle: int
    result: int
    moves: tuple[tuple[int, int], ...]
    tries: tuple[tuple[int, tuple[tuple[int, int], ...], int], ...]
    free: int
    listed: int

    def words(self) -> str:
        """The operation in words."""
        first, second = self.first, self.second
        if self.what == c.DO_ALLOC:
            return f"allocate order {first} {Migratetype(second).name}"
        if self.what == c.DO_FREE:
            return f"free the block at pfn {first}"
        if self.what == c.DO_CONTIG:
            return f"alloc_contig_range [{first}, {first + second})"
        if self.what == c.DO_INTERRUPTED:
            return f"alloc_contig_range [{first}, {first + second}), interrupted"
        if self.what == c.DO_FREE_CONTIG:
            return f"free_contig_range from pfn {first}"
        if self.what == c.DO_ISOLATE:
            return f"isolate [{first}, {first + second})"
        if self.what == c.DO_UNDO:
            return f"undo isolation of [{first}, {first + second})"
        if self.what == c.DO_CMA_ALLOC:
            return f"cma_alloc of {first} page{'s' if first > 1 else ''}"
        return f"cma_release from pfn {first}"

    def answer(self) -> str:
        """What it gave, in words."""
        moved = "".join(f", moved {source} to {target}" for source, target in self.moves)
        if self.result == BUG:
            return f"the kernel stops (VM_BUG_ON){moved}"
        if self.result < 0:
            return f"errno {self.result}{moved}"
        if self.what in (c.DO_ALLOC, c.DO_CMA_ALLOC):
            return f"pfn {self.result}{moved}"
        return f"done{moved}"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A sequence from boot. ``finding``: what the zone itself says at its end, empty: nothing; ``clean``: releases under
    which the same operations break nothing, ``broken``: those under which the zone is broken, too."""

    steps: tuple[Step, ...]
    finding: str
    breach: int
    elsewhere: dict[str, str] = field(default_factory=dict)


class Stage:
    """A zone at boot on which operations are done by its public methods."""

    def __init__(self, bounds: Bounds, release: str | None = None) -> None:
        self.bounds = bounds
        self.zone = bounds.boot() if release is None else _boot(bounds, release)
        self.area = None if bounds.area is None else CmaArea(self.zone, bounds.area[0], bounds.area[1] - bounds.area[0])
        self.handles = 0
        self.pages: dict[int, int] = {}

    def do(self, what: int, first: int, second: int) -> Step:
        """Do one operation."""
        zone = self.zone
        result, handle = 0, -1
        moves: tuple[tuple[int, int], ...] = ()
        tries: list[tuple[int, tuple[tuple[int, int], ...], int]] = []
        try:
            if what == c.DO_ALLOC:
                handle = self._new(1 << first)
                movable = second == Migratetype.MOVABLE
                page_class = PageClass.MOVABLE_OPS if movable else PageClass.KERNEL
                compound = bool(first) and (movable or not self.bounds.plain)
                result = zone.alloc(first, second, page_class, compound=compound, owner=handle)
            elif what == c.DO_CONTIG:
                handle = self._new(second)
                done = zone.alloc_contig_range(first, first + second, owner=handle)
                moves = done.base_moves()
                result = first
            elif what == c.DO_INTERRUPTED:
                handle = self._new(second)
                zone.set_signal_pending(True)
                zone.alloc_contig_range(first, first + second, owner=handle)
                result = first
            elif what == c.DO_CMA_ALLOC:
                assert self.area is not None
                handle = self._new(first)
                answer = self.area.alloc(first, 0, owner=handle)
                tries = [(t.start_pfn, t.done.base_moves(), -t.errno) for t in answer.tries]
                result = -answer.errno if answer.pfn is None else answer.pfn
            elif what == c.DO_ISOLATE:
                zone.start_isolate_page_range(first, first + second)
            elif what == c.DO_UNDO:
                zone.undo_isolate_page_range(first, first + second)
            else:
                handle = zone.page(first).owner or 0
                if what == c.DO_FREE:
                    zone.free(first)
                elif what == c.DO_FREE_CONTIG:
                    zone.free_contig_range(first, self.pages[handle])
                else:
                    assert self.area is not None
                    self.area.release(first, self.pages[handle])
        except OutOfMemoryError:
            result = -12
        except ContigRefused as refused:
            result = -refused.errno
            moves = refused.tried.base_moves() if refused.tried is not None else ()
        except KernelBugError:
            result = BUG
        zone.set_signal_pending(False)
        return Step(what, first, second, handle, result, moves, tuple(tries), zone.nr_free_pages, self.listed())

    def _new(self, pages: int) -> int:
        self.pages[self.handles] = pages
        self.handles += 1
        return self.handles - 1

    def place_of(self, handle: int) -> int:
        """First pfn of what a handle holds. Raises UsageError: nothing."""
        for pfn in range(self.zone.start_pfn, self.zone.end_pfn):
            if self.zone.page(pfn).owner == handle:
                return pfn
        raise UsageError("what is given back was refused there")

    def listed(self) -> int:
        """Free pages outside isolated pageblocks, counted page by page."""
        zone = self.zone
        types = zone.pageblock_types
        shift = zone.geometry.pageblock_order
        total = 0
        for order in range(zone.geometry.max_order + 1):
            for mt in Migratetype:
                for pfn in zone.free_list(order, mt).tolist():
                    total += sum(types[at >> shift] != Migratetype.ISOLATE for at in range(pfn, pfn + (1 << order)))
        return int(total)

    def finding(self) -> str:
        """What the zone itself says is broken; empty: nothing."""
        try:
            self.zone.check()
        except InvariantError as broken:
            return str(broken)
        return ""


def _boot(bounds: Bounds, release: str) -> Zone:
    """The zone of these bounds at boot under another release, its CMA area where this one has it."""
    from ..shortest import Menu, boot

    return boot(release, Menu(bounds.nr_pages, bounds.pageblock_order, bounds.max_order), bounds.area)


def retrace(bounds: Bounds, explorer: Any, table: npt.NDArray[np.uint8], ops: list[int], breach: int) -> Sequence:
    """The sequence of ``ops`` (rows of ``table``, each in the order of windows of the state before it) in the zone's pfns.

    Args:
        explorer: a fresh one of these bounds.
        breach: BREACH_* that the last operation or the state behind it must show; 0: none.
    """
    rows = {tuple(row): i for i, row in enumerate(table.tolist())}
    settings = bounds.settings()
    state = bounds.boot().saved_state()
    explorer.settle(**{**settings, "nr_folded": 0})
    record = explorer.load(state["arrays"], state["counters"])[0]
    explorer.enter(record)
    stage = Stage(bounds)
    steps: list[Step] = []
    order = bounds.window_order
    for i, op in enumerate(ops):
        what, first, second = (int(number) for number in table[op])
        if what not in (c.DO_ALLOC, c.DO_CMA_ALLOC):
            explorer.settle(**settings)
            explorer.record()
            places = explorer.places()
            explorer.settle(**{**settings, "nr_folded": 0})
            window = places.index(first >> order)
            first = window << order | first & ((1 << order) - 1)
        result, found = explorer.act(rows[what, first, second])
        step = stage.do(what, first, second)
        steps.append(step)
        agreed = step.result == result or (result == 0 and step.result >= 0)
        if not agreed or (i + 1 == len(ops) and found != breach and breach):
            raise PageblockError(
                f"the explorer and the zone part at step {i + 1} ({step.words()}): {result} and {step.result}, {found}: "
                "this is a mistake of pageblock's; please report it"
            )
    return Sequence(tuple(steps), stage.finding(), breach, elsewhere(bounds, steps) if breach else {})


def elsewhere(bounds: Bounds, steps: list[Step]) -> dict[str, str]:
    """What the same operations lead to under the other releases: "clean", or what is broken."""
    found: dict[str, str] = {}
    for release in ("5.15", "seed", "6.1", "6.12", "6.19"):
        if release == bounds.release:
            continue
        try:
            stage = Stage(bounds, release)
            for step in steps:
                # what is given back is what the step's request got there
                first = stage.place_of(step.handle) if step.what in _GIVES_BACK else step.first
                stage.do(step.what, first, step.second)
        except PageblockError as error:
            found[release] = f"not possible: {error}"
            continue
        found[release] = stage.finding() or "clean"
    return found
