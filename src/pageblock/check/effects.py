"""What must hold of one operation: the zone before it, what was asked, what was answered, the zone after it.

Of a range that is refused, the state after it is the state before it but for what the release's rules change:

* pages already migrated stay migrated, inside the pageblocks that the request isolates (``span``);
* free pages may be cut, merged and reordered, and move to the lists of their pageblock's type; per-cpu lists are drained;
* types: see ``types_outside`` and ``types_inside``; pageblocks that others isolated: see ``others_isolation``.

Zones that hand migration targets to another zone (``Memory``) are not meant: pages leave them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..mm import MOVABLE_CLASSES, Migratetype, PageClass, PageFlag
from .invariants import (
    ALL,
    CMA,
    HYGIENIC,
    ISOLATE,
    MERGEABLE,
    Exemption,
    Found,
    Invariant,
    Violation,
    base_of,
    promises,
    violations,
)
from .operation import BUG, Operation
from .state import FREE, IN_USE, Block, State

__all__ = ["EFFECTS", "Step", "broken_by", "span"]

#: Operations that run alloc_contig_range.
RANGES = frozenset({"contig", "interrupted", "gigantic"})

#: Releases that isolate whole windows of the larger of a max order block and a pageblock.
WINDOWS = frozenset({"5.15", "seed", "seed-as-posted"})

#: The seed looks for unmovable pages in the request only (patch 3), and gives each pageblock its own type back (patch 4).
SEED = frozenset({"seed", "seed-as-posted"})

#: Releases of which a failed request un-isolates pageblocks of its range, whoever isolated them ("goto done", 5.19).
UNDOES_OTHERS = frozenset({"6.1", "6.1-vanilla", "6.12", "6.19"})


@dataclass(frozen=True, slots=True)
class Step:
    """One operation. ``result``: a pfn, or a negated errno. ``moved``: whether pages were migrated; None: not known."""

    before: State
    operation: Operation
    result: int
    after: State
    moved: bool | None = None

    @property
    def base(self) -> str:
        """The release without its switches."""
        return base_of(self.after.release)

    @property
    def is_range(self) -> bool:
        """Whether alloc_contig_range ran."""
        return self.operation.name in RANGES

    @property
    def granted(self) -> bool:
        return self.result >= 0

    def retyped(self) -> Iterator[tuple[int, int, int]]:
        """Pageblocks that changed: (index, type before, type after)."""
        for i, (was, now) in enumerate(zip(self.before.types, self.after.types, strict=True)):
            if was != now:
                yield i, was, now


def span(state: State, start: int, end: int) -> tuple[int, int]:
    """What a request for [start, end) isolates: pageblocks; up to 5.18 and in the seed windows (pfn_max_align_down)."""
    order = state.pageblock_order
    if base_of(state.release) in WINDOWS:
        order = max(order, state.max_order)
    return start >> order << order, (end - 1 >> order) + 1 << order


def no_bug(step: Step) -> Found:
    """The kernel does not stop, and does not loop for ever.

    Source: VM_BUG_ON of CONFIG_DEBUG_VM, in the functions that the model asserts for.
    """
    if step.result == BUG:
        yield step.operation.start_pfn, "an answer", "a BUG"


def isolated_pages_stay(step: Step) -> Found:
    """Nothing is allocated from an isolated pageblock, and none is a migration target.

    Source: mm/page_isolation.c start_isolate_page_range, which promises its callers just this. The seed, S1.
    """
    # a range that is granted over a pageblock isolated before is broken by ``others_isolation``
    inside = range(step.operation.start_pfn, step.operation.end_pfn) if step.is_range else range(0)
    for pfn, _ in _new_pages(step):
        if step.before.type_at(pfn) == ISOLATE and pfn not in inside:
            yield pfn, "no page of an isolated pageblock", "a page of one given out"


def cma_holds_movable(step: Step) -> Found:
    """A request that is not movable gets no page of a CMA pageblock.

    Source: mm/page_alloc.c __rmqueue: CMA is a fallback of requests with ALLOC_CMA alone (gfp_to_alloc_flags_cma).
    """
    o = step.operation
    if o.name != "alloc" or not step.granted or o.migratetype == Migratetype.MOVABLE:
        return
    if step.before.type_at(step.result) == CMA:
        yield step.result, f"no CMA page for {Migratetype(o.migratetype).name}", "a page of a CMA pageblock"


def cma_stays(step: Step) -> Found:
    """A CMA pageblock stays one: no request gives it another type.

    Source: mm/page_isolation.c isolate_single_pageblock; fix isolate_single_pageblock() isolation behavior (80e2b584f3ab, 6.0):
    the pages of the area would be lost to CMA for ever.
    """
    if step.operation.name == "undo":
        return
    may = {CMA, ISOLATE} if step.operation.name == "isolate" else {CMA}
    for i, was, now in step.retyped():
        if was == CMA and now not in may:
            yield step.after.pageblock_pfn(i), "CMA", Migratetype(now).name


def isolation_ends(step: Step) -> Found:
    """Only isolation that succeeds leaves a pageblock isolated; every other operation gives back what it isolated.

    Source: mm/page_isolation.c start_isolate_page_range, the failing path; mm/page_alloc.c alloc_contig_range, done.
    """
    if step.operation.name == "isolate" and step.granted:
        return
    for i, _, now in step.retyped():
        if now == ISOLATE:
            yield step.after.pageblock_pfn(i), "no pageblock that stays isolated", "one"


def others_isolation(step: Step) -> Found:
    """A range request leaves pageblocks alone that others isolated.

    Source: mm/page_alloc.c alloc_contig_range (5.15): returns if start_isolate_page_range fails.
    """
    if step.operation.name == "undo":
        return
    for i, was, now in step.retyped():
        if was == ISOLATE:
            yield step.after.pageblock_pfn(i), "the pageblock still isolated", f"{Migratetype(now).name}"


def types_outside(step: Step) -> Found:
    """Outside what it isolates, a range request changes a type only as any allocation and free may.

    Source: mm/page_alloc.c steal_suitable_fallback, for a migration target; since 6.10 __free_one_page, which gives the merged
    pageblocks one type; where max order is two or more above pageblock order __isolate_free_page, which makes MOVABLE what
    a free page covers that is taken.
    """
    for i, was, now in _changed(step):
        first = step.after.pageblock_pfn(i)
        start, end = _retyped_span(step)
        if not (start <= first < end) and not _may_fall_back(step, i, was, now):
            yield first, _type_name(was), _type_name(now)


def types_inside(step: Step) -> Found:
    """What a range request isolates gets its own type back, or the request's where the release names it.

    Source: mm/page_isolation.c undo_isolate_page_range: the caller's type up to 6.16, its own since 6.17; the seed's patch 4
    keeps the types beside the request, and on failure all.
    """
    asked = Migratetype.CMA if step.operation.migratetype == CMA else Migratetype.MOVABLE
    start, end = _retyped_span(step)
    own = step.base == "6.19" or (step.base in SEED and step.operation.name != "isolate" and not step.granted)
    for i, was, now in _changed(step):
        if (
            start <= step.after.pageblock_pfn(i) < end
            and (own or now != asked)
            and not _may_fall_back(step, i, was, now)
        ):
            expected = _type_name(was) + ("" if own else f" or {asked.name}")
            yield step.after.pageblock_pfn(i), expected, _type_name(now)


def pages_outside(step: Step) -> Found:
    """Pages in use that lie outside what a range request isolates stay where they are.

    Source: mm/page_alloc.c __alloc_contig_migrate_range: [start, end); mm/page_isolation.c isolate_single_pageblock: what crosses
    into a boundary pageblock, too.
    """
    if not step.is_range:
        return
    start, end = span(step.before, step.operation.start_pfn, step.operation.end_pfn)
    for pfn, block in step.before.blocks.items():
        if block.kind != IN_USE or (pfn < end and pfn + (1 << block.order) > start):
            continue
        if step.after.blocks.get(pfn) != block:
            yield pfn, f"the page of order {block.order} in use there", _described(step.after.blocks.get(pfn))


def pages_in_use(step: Step) -> Found:
    """As many pages are in use as before, and those that were asked for; none belongs to nobody.

    Source: the kernel's own count of a request: 1 << order, end - start; migration takes a page and frees one. A clean file
    page may be dropped.
    """
    o, before, after = step.operation, _in_use(step.before), _in_use(step.after)
    asked = 0
    if step.granted and o.name == "alloc":
        asked = 1 << o.order
    elif step.granted and step.is_range:
        asked = o.nr_pages
    elif step.granted and o.name == "free":
        freed = step.before.blocks.get(step.result)
        asked = -(o.nr_pages or (1 << freed.order if freed else 0))
    clean = sum(1 << b.order for b in step.before.blocks.values() if b.kind == IN_USE and b.flags & PageFlag.CLEAN)
    least = before + asked - (clean if step.is_range else 0)
    if not least <= after <= before + asked:
        yield None, f"{before + asked} pages in use", f"{after}"
    lost = _nobodys(step.after) - _nobodys(step.before)
    if lost > 0:
        yield None, "pages that are in use, free or on a per-cpu list", f"{lost} that are in none of these"


def granted_is_taken(step: Step) -> Found:
    """What is granted is in use from then on: the block, or every page of the range.

    Source: mm/page_alloc.c prep_new_page; mm/compaction.c isolate_freepages_range, split_map_pages.
    """
    o, pfn = step.operation, step.result
    if not step.granted or not (step.is_range or o.name == "alloc"):
        return
    orders = {step.result: o.order}
    if step.is_range:
        orders = dict.fromkeys(range(o.start_pfn, o.end_pfn), 0)
    if o.name == "gigantic":
        orders = {o.start_pfn: o.nr_pages.bit_length() - 1}
    for pfn, order in orders.items():
        block = step.after.blocks.get(pfn)
        if block is None or block.kind != IN_USE or block.order != order:
            yield pfn, f"a page of order {order} in use", _described(block)


def free_range_granted(step: Step) -> Found:
    """A range that is wholly free is granted where nothing that the release looks at stands in the way.

    Source: mm/page_isolation.c has_unmovable_pages, set_migratetype_isolate; what is looked at is the pageblocks of the range;
    in 5.15 its window; in the seed the request (patch 3), and the types of its window.
    """
    o = step.operation
    if o.name not in ("contig", "gigantic") or step.granted or step.result == BUG:
        return
    start, end = span(step.before, o.start_pfn, o.end_pfn)
    wanted = Migratetype.CMA if o.migratetype == CMA else Migratetype.MOVABLE
    if start < step.before.start_pfn or end > step.before.end_pfn:
        return
    for i in range(step.before.block_index(start), step.before.block_index(end - 1) + 1):
        mt = step.before.types[i]
        if mt == ISOLATE or (mt == CMA and wanted != CMA):
            return
    free = 0
    for pfn, block in step.before.blocks.items():
        last = pfn + (1 << block.order)
        if block.kind == FREE:
            free += max(0, min(last, o.end_pfn) - max(pfn, o.start_pfn))
        elif last > start and pfn < end and not (step.base in SEED or _passes(step.before, block)):
            return
    if free == o.nr_pages:
        yield o.start_pfn, f"{o.nr_pages} free pages granted", f"{step.result}"


def _passes(state: State, block: Block) -> bool:
    """Whether isolation passes a block without moving it: small enough not to cross a boundary, and movable."""
    return block.order <= state.pageblock_order and PageClass(block.flags & 15) in MOVABLE_CLASSES


def _new_pages(step: Step) -> Iterator[tuple[int, Block]]:
    """Blocks in use, page by page, that were not before: (pfn, block)."""
    for pfn, block in step.after.blocks.items():
        if block.kind == IN_USE and step.before.blocks.get(pfn) != block:
            was = _covered(step.before, pfn, 1 << block.order)
            for at in range(pfn, pfn + (1 << block.order)):
                if at not in was:
                    yield at, block


def _covered(state: State, start: int, nr_pages: int) -> set[int]:
    """Pages of a range that are in use."""
    return {
        at
        for pfn, block in state.blocks.items()
        if block.kind == IN_USE and pfn < start + nr_pages and pfn + (1 << block.order) > start
        for at in range(pfn, pfn + (1 << block.order))
    }


def _changed(step: Step) -> Iterator[tuple[int, int, int]]:
    """Pageblocks that a range request or isolation gave another type, isolated neither before nor after."""
    if step.is_range or step.operation.name == "isolate":
        for i, was, now in step.retyped():
            if ISOLATE not in (was, now):
                yield i, was, now


def _retyped_span(step: Step) -> tuple[int, int]:
    """Where the release gives pageblocks the request's type: what it isolates; in the seed the request's pageblocks."""
    start, end = step.operation.start_pfn, step.operation.end_pfn
    if step.base in SEED and step.is_range:
        order = step.after.pageblock_order
        return start >> order << order, (end - 1 >> order) + 1 << order
    return span(step.after, start, end)


def _may_fall_back(step: Step, index: int, was: int, now: int) -> bool:
    """Whether a migration target, the merge of a free pageblock, or taking a free page over it may have changed a type."""
    if not {was, now} <= MERGEABLE:
        return False
    # __isolate_free_page, of a free page that reaches beyond what is given back or taken
    if now == Migratetype.MOVABLE and step.after.max_order > step.after.pageblock_order + 1:
        return True
    first = step.after.pageblock_pfn(index)
    merged = step.base in HYGIENIC and any(
        block.kind == FREE and block.order > step.after.pageblock_order and pfn <= first < pfn + (1 << block.order)
        for pfn, block in step.after.blocks.items()
    )
    return step.moved is not False or merged


def _in_use(state: State) -> int:
    return sum(1 << block.order for block in state.blocks.values() if block.kind == IN_USE)


def _nobodys(state: State) -> int:
    """Pages that no block covers."""
    return state.end_pfn - state.start_pfn - sum(1 << block.order for block in state.blocks.values())


def _described(block: Block | None) -> str:
    return "a page inside a block" if block is None else f"a block {block.kind} of order {block.order}"


def _type_name(mt: int) -> str:
    return Migratetype(mt).name


_VANILLA_THP = Exemption(
    "huge pages of all types share one per-cpu list: an unmovable request may get a page of a CMA pageblock"
)
_WINDOW_CMA = Exemption("a CMA request whose window reaches out of its area; areas are aligned to windows")
_UNDOES = Exemption("known weakness: the undo of a failed request runs over pageblocks that others isolated")

#: Every invariant of an operation.
EFFECTS: tuple[Invariant, ...] = (
    Invariant("no BUG", no_bug),
    Invariant("isolated pages stay", isolated_pages_stay),
    Invariant("CMA holds movable pages", cma_holds_movable, exceptions={"6.1-vanilla": (_VANILLA_THP,)}),
    Invariant("CMA stays CMA", cma_stays),
    Invariant("isolation ends", isolation_ends),
    Invariant("isolation of others", others_isolation, ALL - UNDOES_OTHERS, dict.fromkeys(UNDOES_OTHERS, (_UNDOES,))),
    Invariant("types outside the request", types_outside, exceptions={"5.15": (_WINDOW_CMA,)}),
    Invariant("types of the request", types_inside),
    Invariant("pages outside the request", pages_outside),
    Invariant("pages in use", pages_in_use),
    Invariant("granted is taken", granted_is_taken),
    Invariant("a free range is granted", free_range_granted),
)


def broken_by(step: Step, *, weaknesses: bool = False) -> list[Violation]:
    """Every breach of what the release promises, by the operation and of the state after it. []: all hold.

    ``weaknesses``: also of what is known not to be promised.
    """
    # where the kernel has stopped, the state means nothing
    asked = EFFECTS[:1] if step.result == BUG else EFFECTS
    found = [
        Violation(invariant.name, *breach)
        for invariant in asked
        if weaknesses or promises(invariant, step.after.release)
        for breach in invariant.check(step)
    ]
    return found if step.result == BUG else found + violations(step.after)
