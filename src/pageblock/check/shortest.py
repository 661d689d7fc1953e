"""The shortest sequences of operations that go wrong under one release and do not under another.

Breadth first over all sequences on a small zone, both releases in lock-step: the first that shows a symptom is a shortest
one. Sequences that lead both zones to states seen before are not followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..mm import OPERATION, Migratetype, PageClass, PageFlag, Zone
from ..mm.errors import ContigRefused, InvariantError, KernelBugError
from .operation import BUG, Operation

__all__ = [
    "BUG",
    "SYMPTOMS",
    "Found",
    "Menu",
    "Operation",
    "Saved",
    "Side",
    "Symptom",
    "boot",
    "consequences",
    "menu_of",
]

#: An empty handle of ``Zone.run``.
EMPTY = 0xFFFFFFFF

#: Invariants whose breach is a symptom of its own; that of any other is "list".
INVARIANTS = {"NR_FREE_PAGES": "drift", "NR_FREE_CMA_PAGES": "drift", "nr_isolate_pageblock": "count"}

#: Types that can fall back to each other (migratetype_is_mergeable).
MERGEABLE = {int(Migratetype.UNMOVABLE), int(Migratetype.MOVABLE), int(Migratetype.RECLAIMABLE)}

Saved = tuple[dict[str, Any], npt.NDArray[np.uint32]]

#: Of several symptoms after as many operations the first of these is told first.
SYMPTOMS = {
    "bug": "the kernel stops (VM_BUG_ON)",
    "drift": "the free pages are counted wrong",
    "list": "a free page is on a wrong list",
    "count": "the isolated pageblocks are counted wrong",
    "taken": "a page of an isolated pageblock is given away",
    "cma": "an unmovable page lies in a CMA pageblock",
    "mixed": "a free page spans pageblocks that cannot fall back to each other",
    "isolated": "a pageblock stays isolated",
    "busy": "a range is refused that can be had",
    "retyped": "a pageblock outside the request changes its type",
}


@dataclass(frozen=True, slots=True)
class Symptom:
    """What went wrong: one of SYMPTOMS, and the figures."""

    name: str
    detail: str

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return list(SYMPTOMS).index(self.name)


@dataclass(frozen=True, slots=True)
class Found:
    """A shortest sequence. ``results``: what each operation gave, wrong release first: pfn or negative errno.

    ``tried``: sequences run until it was found.
    """

    symptom: Symptom
    operations: tuple[Operation, ...]
    results: tuple[tuple[int, int], ...]
    tried: int


@dataclass(frozen=True, slots=True)
class Menu:
    """The small world, and what may happen in it.

    ``within``: ranges lie in [0, within). ``depth``: most operations of a sequence. ``cma``: a CMA area may be made at
    boot; ``isolation``: pageblocks are isolated and given back, outside alloc_contig_range, too; ``gigantic``: pages of hugetlb
    larger than a max order block.
    """

    nr_pages: int = 16
    pageblock_order: int = 1
    max_order: int = 2
    within: int = 8
    depth: int = 2
    cma: bool = False
    isolation: bool = False
    gigantic: bool = False


class Side:
    """One of the two zones, with its handles."""

    def __init__(self, zone: Zone, handles: int) -> None:
        self.zone = zone
        self.handles: npt.NDArray[np.uint32] = np.full(handles, EMPTY, np.uint32)
        #: Whether the last operation migrated pages; None: not known.
        self.moved: bool | None = None

    def save(self) -> Saved:
        return self.zone.saved_state(), self.handles.copy()

    def load(self, saved: Saved) -> None:
        state, handles = saved
        self.zone.take_state({**state, "arrays": tuple(a.copy() for a in state["arrays"])})
        self.handles = handles.copy()

    def key(self, saved: Saved) -> bytes:
        """What tells the present, saved state from others: pages, types, lists in order, counters, handles."""
        state, handles = saved
        pages = b"".join(a.tobytes() for a in state["arrays"][2:5])
        return pages + handles.tobytes() + repr((self.zone.digests(), state["counters"][:3])).encode()

    def do(self, operation: Operation) -> int:
        """Run one operation; its pfn, or a negated errno; BUG where the kernel stops."""
        start, end = operation.start_pfn, operation.start_pfn + operation.nr_pages
        self.moved = None
        if operation.name == "isolate":
            try:
                self.zone.start_isolate_page_range(start, end, operation.migratetype or Migratetype.MOVABLE)
            except ContigRefused as refusal:
                return -refusal.errno
            except KernelBugError:
                return BUG
            return start
        if operation.name == "undo":
            self.zone.undo_isolate_page_range(start, end, operation.migratetype or Migratetype.MOVABLE)
            return start
        self.zone.set_signal_pending(operation.name == "interrupted")
        moves: list[tuple[int, int | None, int]] = []
        result = int(self.zone.run(_row(operation), self.handles, moves)[0])
        self.moved = bool(moves)
        self.zone.set_signal_pending(False)
        if operation.name == "gigantic" and result >= 0:
            self.zone.prep_compound_page(start, operation.nr_pages.bit_length() - 1, PageClass.HUGETLB)
        return result


def _row(operation: Operation) -> npt.NDArray[np.void]:
    """The operation as ``Zone.run`` takes it. A movable page lies on the LRU, a larger one is a THP."""
    row = np.zeros(1, OPERATION)
    row["handle"] = operation.handle
    if operation.name == "alloc":
        row["op"], row["order"], row["migratetype"] = 1, operation.order, operation.migratetype
        row["flags"] = _page_flags(operation)
    elif operation.name == "free":
        row["op"] = 4 if operation.nr_pages else 2
        row["nr"] = operation.nr_pages
    else:
        row["op"], row["migratetype"] = 3, operation.migratetype or Migratetype.MOVABLE
        row["flags"] = PageClass.KERNEL
        row["start"], row["nr"] = operation.start_pfn, operation.nr_pages
    return row


def _page_flags(operation: Operation) -> int:
    if operation.migratetype == Migratetype.UNMOVABLE:
        return PageClass.KERNEL
    return PageClass.THP | PageFlag.COMPOUND if operation.order else PageClass.ANON


def boot(release: str, menu: Menu, cma: tuple[int, int] | None) -> Zone:
    """A zone as at boot: free but for a CMA area [start, end), reserved by then and now handed over.

    Source: mm/page_alloc.c: memblock_free_pages (the largest aligned blocks, ascending), init_cma_reserved_pageblock.
    """
    if cma is None:
        return Zone(menu.nr_pages, release, 0, menu.max_order, menu.pageblock_order)
    zone = Zone(menu.nr_pages, release, 0, menu.max_order, menu.pageblock_order, populate=False)
    start, end = cma
    zone.load_pageblocks([int(Migratetype.MOVABLE)] * (menu.nr_pages >> menu.pageblock_order))
    zone.load_pages([start], [end - start], [int(PageClass.RESERVED)], [0], [0])
    blocks = [*_largest_blocks(0, start, menu.max_order), *_largest_blocks(end, menu.nr_pages, menu.max_order)]
    zone.load_free([pfn for pfn, _ in blocks], [order for _, order in blocks], [int(Migratetype.MOVABLE)] * len(blocks))
    for pfn in range(start, end, 1 << menu.pageblock_order):
        zone.init_cma_reserved_pageblock(pfn)
    return zone


def _largest_blocks(start: int, end: int, max_order: int) -> Iterator[tuple[int, int]]:
    """[start, end) as the largest aligned blocks: (pfn, order), ascending."""
    while start < end:
        order = max_order
        while start & ((1 << order) - 1) or start + (1 << order) > end:
            order -= 1
        yield start, order
        start += 1 << order


def menu_of(menu: Menu, live: dict[int, int], nth: int) -> Iterator[Operation]:
    """Every operation that can come next. ``live``: handle -> pages of its contig range, 0 for a block."""
    for order in range(menu.max_order + 1):
        for migratetype in (Migratetype.UNMOVABLE, Migratetype.MOVABLE):
            yield Operation("alloc", nth, order, int(migratetype))
    for handle, nr_pages in live.items():
        yield Operation("free", handle, nr_pages=nr_pages)
    for start in range(menu.within):
        for end in range(start + 1, menu.within + 1):
            yield Operation("contig", nth, start_pfn=start, nr_pages=end - start)
    block = 1 << menu.pageblock_order
    for start in range(0, menu.within, block):
        yield Operation("interrupted", nth, start_pfn=start, nr_pages=block)
        if menu.isolation:
            yield Operation("isolate", nth, start_pfn=start, nr_pages=block)
            yield Operation("undo", nth, start_pfn=start, nr_pages=block)
    if menu.gigantic:
        size = 2 << menu.max_order
        for start in range(0, menu.within - size + 1, size):
            yield Operation("gigantic", nth, start_pfn=start, nr_pages=size)


@dataclass(frozen=True, slots=True)
class _Node:
    """A pair of states and the way to it. ``live``: handle -> pages of its contig range, 0 for a block."""

    saved: tuple[Saved, Saved]
    live: dict[int, int]
    operations: tuple[Operation, ...]
    results: tuple[tuple[int, int], ...]

    def then(self, operation: Operation, results: tuple[int, int], saved: tuple[Saved, Saved]) -> "_Node":
        """The node that an operation leads to."""
        live = dict(self.live)
        if operation.name == "free":
            del live[operation.handle]
        elif operation.name in ("alloc", "contig", "interrupted") and results[0] >= 0:
            live[operation.handle] = operation.nr_pages
        return _Node(saved, live, (*self.operations, operation), (*self.results, results))


def consequences(wrong: str, right: str, menu: Menu) -> tuple[Found, ...]:
    """What can go wrong under the rules of ``wrong`` and not under those of ``right``: a shortest sequence for each symptom.

    Those found after fewest operations first, of these the gravest. All sequences of up to ``menu.depth`` operations are
    tried; if none of them shows a symptom: ().
    """
    search = _Search(wrong, right, menu)
    frontier = search.boots()
    for depth in range(1, menu.depth + 1):
        frontier = [after for node in frontier for after in search.steps(node, depth)]
    return tuple(sorted(search.found.values(), key=lambda found: (len(found.operations), found.symptom.rank)))


class _Search:
    """A breadth-first search: the two zones, the states seen, the first sequence found for each symptom."""

    def __init__(self, wrong: str, right: str, menu: Menu) -> None:
        self.releases = (wrong, right)
        self.menu = menu
        self.sides = self.boot(None)
        self.seen: set[bytes] = set()
        self.tried = 0
        self.found: dict[str, Found] = {}

    def boot(self, area: tuple[int, int] | None) -> tuple[Side, Side]:
        """Both zones as at boot, perhaps with a CMA area."""
        wrong, right = (Side(boot(name, self.menu, area), self.menu.depth) for name in self.releases)
        return wrong, right

    def boots(self) -> list[_Node]:
        """The states to begin with: a CMA area made at boot counts as an operation."""
        areas: list[tuple[int, int] | None] = [None]
        block = 1 << self.menu.pageblock_order
        if self.menu.cma:
            areas += [(start, start + block) for start in range(0, self.menu.within, block)]
        nodes: list[_Node] = []
        for area in areas:
            sides = self.boot(area)
            steps = (Operation("cma", start_pfn=area[0], nr_pages=area[1] - area[0]),) if area else ()
            node = _Node((sides[0].save(), sides[1].save()), {}, steps, ((0, 0),) * len(steps))
            self.tried += 1
            self.note(sides, tuple(side.zone.pageblock_types for side in sides), node)
            nodes.append(node)
        return nodes

    def steps(self, node: _Node, depth: int) -> Iterator[_Node]:
        """The states after one operation more, those seen before left out."""
        if len(node.operations) == depth:
            # an area made at boot was the first operation
            yield node
            return
        for operation in menu_of(self.menu, node.live, len(node.operations)):
            self.tried += 1
            for side, state in zip(self.sides, node.saved, strict=True):
                side.load(state)
            before = tuple(side.zone.pageblock_types for side in self.sides)
            results = (self.sides[0].do(operation), self.sides[1].do(operation))
            # what the last operation led to is looked at, and not followed
            last = depth == self.menu.depth
            saved = node.saved if last else (self.sides[0].save(), self.sides[1].save())
            after = node.then(operation, results, saved)
            self.note(self.sides, before, after)
            # where only one got what was asked for, the same operations no longer mean the same
            if (results[0] < 0) != (results[1] < 0) or results[0] == BUG:
                continue
            if last:
                continue
            key = b"".join(side.key(state) for side, state in zip(self.sides, after.saved, strict=True))
            if key not in self.seen:
                self.seen.add(key)
                yield after

    def note(self, sides: tuple[Side, Side], before: tuple[npt.NDArray[np.uint8], ...], node: _Node) -> None:
        """Keep the symptoms that no sequence before showed."""
        for symptom in _compare(sides, before, node):
            if symptom.name not in self.found:
                self.found[symptom.name] = Found(symptom, node.operations, node.results, self.tried)


def _compare(sides: tuple[Side, Side], before: tuple[npt.NDArray[np.uint8], ...], node: _Node) -> tuple[Symptom, ...]:
    """Symptoms of the first side, after the last operation, that the second does not show."""
    operation = node.operations[-1] if node.operations else None
    results = node.results[-1] if node.results else (0, 0)
    mine = {symptom.name: symptom for symptom in _symptoms(sides[0].zone, before[0], operation, results[0])}
    if operation is not None and operation.name == "contig" and BUG < results[0] < 0 <= results[1]:
        mine["busy"] = Symptom("busy", f"answers {results[0]}")
    if not mine:
        return ()
    theirs = {symptom.name for symptom in _symptoms(sides[1].zone, before[1], operation, results[1])}
    return tuple(mine[name] for name in SYMPTOMS if name in mine and name not in theirs)


def _symptoms(zone: Zone, before: npt.NDArray[np.uint8], operation: Operation | None, result: int) -> Iterator[Symptom]:
    """What is wrong with a zone after an operation."""
    if result == BUG:
        yield Symptom("bug", "VM_BUG_ON")
        return
    try:
        zone.check()
    except InvariantError as error:
        yield Symptom(INVARIANTS.get(error.invariant, "list"), error.message)
    types = zone.pageblock_types
    shift = zone.geometry.pageblock_order
    if operation is None or operation.name in ("contig", "interrupted"):
        isolated = np.flatnonzero(types == Migratetype.ISOLATE)
        if len(isolated):
            yield Symptom("isolated", f"pageblock {isolated[0]} stays isolated")
    if operation is not None and operation.name in ("contig", "interrupted"):
        first, last = operation.start_pfn >> shift, (operation.start_pfn + operation.nr_pages - 1) >> shift
        changed = np.flatnonzero((types != before) & (types != Migratetype.ISOLATE))
        outside = changed[(changed < first) | (changed > last)]
        if len(outside):
            i = int(outside[0])
            yield Symptom(
                "retyped", f"pageblock {i} was {Migratetype(before[i]).name}, is {Migratetype(types[i]).name}"
            )
    if operation is not None and operation.name == "alloc" and result >= 0:
        block = Migratetype(types[result >> shift])
        if block == Migratetype.ISOLATE:
            yield Symptom("taken", f"pfn {result} lies in the isolated pageblock {result >> shift}")
        if block == Migratetype.CMA and operation.migratetype == Migratetype.UNMOVABLE:
            yield Symptom("cma", f"pfn {result} of the CMA pageblock {result >> shift} is taken")
    yield from _mixed(zone, types)


def _mixed(zone: Zone, types: npt.NDArray[np.uint8]) -> Iterator[Symptom]:
    """Free pages over pageblocks of which one may not fall back to another (migratetype_is_mergeable)."""
    if MERGEABLE.issuperset(types.tolist()):
        return
    g = zone.geometry
    for order in range(g.pageblock_order + 1, g.max_order + 1):
        for migratetype in range(len(Migratetype)):
            for pfn in zone.free_list(order, migratetype).tolist():
                covered = set(types[pfn >> g.pageblock_order : (pfn + (1 << order)) >> g.pageblock_order].tolist())
                if len(covered) > 1 and not covered <= MERGEABLE:
                    names = " and ".join(Migratetype(t).name for t in sorted(covered))
                    yield Symptom("mixed", f"the free page of order {order} at pfn {pfn} spans {names}")
                    return
