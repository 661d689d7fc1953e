"""What must hold of a zone between two operations: every invariant a function with the rule it comes from.

A second opinion in plain Python on a ``State``; ``mm/invariants.py`` (``Zone.check``) says the same of a zone in one
compiled pass, and a test holds the two together. What must hold of one operation stands in ``effects.py``.
``Invariant.promised`` says whose promise each is: a release with a bug switched on promises what its release does.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ..mm import RELEASES, Migratetype, Zone
from ..mm import release as find_release
from .state import FREE, PER_CPU, State, state_of

__all__ = [
    "ALL",
    "INVARIANTS",
    "MERGEABLE",
    "Circumstances",
    "Exemption",
    "Invariant",
    "Violation",
    "base_of",
    "promises",
    "violations",
]

#: Types that can fall back to each other (migratetype_is_mergeable, include/linux/mmzone.h, 5.18).
MERGEABLE = frozenset({int(Migratetype.UNMOVABLE), int(Migratetype.MOVABLE), int(Migratetype.RECLAIMABLE)})

ALL = frozenset(RELEASES)

#: Releases whose free lists agree with the pageblock types (6.10: freelist hygiene).
HYGIENIC = frozenset({"6.12", "6.19"})

#: Releases that merge all mergeable types above pageblock order, always (5.18; the seed's patch 1).
MERGES_MERGEABLE = ALL - {"naive", "5.15"}

ISOLATE, CMA = int(Migratetype.ISOLATE), int(Migratetype.CMA)


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken invariant: which, where (absolute pfn; None: no place), what was expected and what was found."""

    invariant: str
    pfn: int | None
    expected: str
    found: str

    def __str__(self) -> str:
        place = "" if self.pfn is None else f" at pfn {self.pfn}"
        return f"{self.invariant}{place}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a zone has been through that decides which promises hold; nothing of it by default.

    ``cut``: it begins or ends inside a pageblock; ``ranges``: contiguous ranges were asked for; ``isolations``: pageblocks stay
    isolated while others allocate, free and isolate; ``foreign_cma``: CMA requests for pageblocks that are not CMA;
    ``unreserved``: HIGHATOMIC pageblocks were given up; ``large_per_cpu``: per-cpu lists hold blocks above pageblock order;
    ``large_isolations``: as ``isolations``, and a free page can be four pageblocks and more; ``shared_windows``: a CMA area
    shares its max order window with others, and pages are freed there while it is isolated (per-cpu lists are drained, or
    others free).
    """

    cut: bool = False
    ranges: bool = False
    isolations: bool = False
    foreign_cma: bool = False
    unreserved: bool = False
    large_per_cpu: bool = False
    large_isolations: bool = False
    shared_windows: bool = False


@dataclass(frozen=True, slots=True)
class Exemption:
    """What a release does otherwise, and why that is no bug of the model.

    ``when``: the name of the circumstance that it takes; empty: it is told, and the invariant asked for all the same.
    """

    words: str
    when: str = ""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule with a name. ``check(subject)`` yields (pfn, expected, found) for each breach.

    ``promised``: the releases that promise it; ``exceptions``: release -> what it does otherwise.
    """

    name: str
    check: Callable[[Any], Iterator[tuple[int | None, str, str]]]
    promised: frozenset[str] = ALL
    exceptions: dict[str, tuple[Exemption, ...]] = field(default_factory=dict)

    @property
    def rule(self) -> str:
        """The rule in words: the first paragraph of the function's docstring."""
        return " ".join(self._paragraphs()[0].split())

    @property
    def source(self) -> str:
        """Where the kernel relies on it: the paragraph that begins with Source."""
        return " ".join(self._paragraphs()[1].split()).removeprefix("Source: ")

    def _paragraphs(self) -> list[str]:
        return (self.check.__doc__ or "").strip().split("\n\n")


@cache
def base_of(release: str) -> str:
    """The release without its switches. Raises ReleaseError."""
    return find_release(release).base


def promises(invariant: Invariant, release: str, circumstances: Circumstances = Circumstances()) -> bool:
    """Whether a release, or a release with switches, promises it in such circumstances."""
    base = base_of(release)
    exempt = any(one.when and getattr(circumstances, one.when) for one in invariant.exceptions.get(base, ()))
    return base in invariant.promised and not exempt


Found = Iterator[tuple[int | None, str, str]]


def list_links(state: State) -> Found:
    """The links of every free list agree in both directions and lead back to its head.

    Source: lib/list_debug.c __list_add_valid, __list_del_entry_valid (CONFIG_DEBUG_LIST).
    """
    for (order, mt), listed in state.lists.items():
        if listed.broken is not None:
            yield listed.broken, f"links of the list of order {order}, {_name(mt)}, that agree", "links that do not"


def listed_block(state: State) -> Found:
    """Every entry of a free list heads a free block of the list's order, aligned to its size.

    Source: mm/page_alloc.c __free_one_page: VM_BUG_ON_PAGE(pfn & ((1 << order) - 1), page); buddy_order, PageBuddy.
    """
    for (order, mt), listed in state.lists.items():
        for pfn in listed.pfns:
            block = state.blocks.get(pfn)
            expected = f"a free block of order {order} on list {_name(mt)}"
            if block is None:
                yield pfn, expected, "a page inside a block"
            elif block.kind != FREE or block.order != order:
                yield pfn, expected, f"a block {block.kind} of order {block.order}"
            elif pfn & ((1 << order) - 1):
                yield pfn, expected, "one that is not aligned to its size"


def every_free_block_listed(state: State) -> Found:
    """Every free block is on exactly one free list.

    Source: include/linux/page-flags.h PageBuddy: set while the page is in a free list.
    """
    times = Counter(pfn for listed in state.lists.values() for pfn in listed.pfns)
    for pfn, block in state.blocks.items():
        if block.kind == FREE and times[pfn] != 1:
            yield pfn, "one free list that has it", f"{times[pfn]}"


def one_state(state: State) -> Found:
    """Every page is in exactly one state: no block begins inside another.

    Source: mm/page_alloc.c check_new_pages, free_pages_prepare: a page in use is on no list, and the reverse.
    """
    covered, cover = state.start_pfn, state.start_pfn
    for pfn in sorted(state.blocks):
        if pfn < covered:
            yield pfn, f"a page inside the block at {cover}", f"the head of a block {state.blocks[pfn].kind}"
        end = pfn + (1 << state.blocks[pfn].order)
        if end > covered:
            covered, cover = end, pfn


def zone_end(state: State) -> Found:
    """No block lies outside the zone or crosses one of its ends.

    Source: mm/page_alloc.c bad_range, page_is_buddy: page_zone_id(page) != page_zone_id(buddy).
    """
    for pfn, block in state.blocks.items():
        end = pfn + (1 << block.order)
        if pfn < state.start_pfn or end > state.end_pfn:
            yield pfn, f"blocks in [{state.start_pfn}, {state.end_pfn})", f"a block [{pfn}, {end})"


def buddies_merged(state: State) -> Found:
    """No two free buddies of one order stand apart that the release's rules merge.

    Source: mm/page_alloc.c __free_one_page; above pageblock order only what is sure to merge is asked for: blocks of one type,
    since 5.18 (1dd214b8f21c, the seed's patch 1) of types that can fall back to each other; not ISOLATE ones, for isolation
    moves free pages and merges none.
    """
    base = base_of(state.release)
    for pfn, block in state.blocks.items():
        buddy = state.blocks.get(pfn ^ (1 << block.order))
        if block.kind != FREE or block.order >= state.max_order or buddy != block or pfn & (1 << block.order):
            continue
        types = {state.type_at(pfn), state.type_at(pfn ^ (1 << block.order))}
        merges = types != {ISOLATE} and (len(types) == 1 or (types <= MERGEABLE and base in MERGES_MERGEABLE))
        if block.order < state.pageblock_order or merges:
            yield pfn, f"one free block of order {block.order + 1}", f"two of order {block.order}"


def isolated_list(state: State) -> Found:
    """The free pages of an isolated pageblock are on ISOLATE lists, and no others are.

    Source: mm/page_isolation.c set_migratetype_isolate: move_freepages_block, and what the seed is about (S1): a free page that
    reaches into an isolated pageblock from one that is not can be allocated while isolated.
    """
    for (order, mt), listed in state.lists.items():
        for pfn in listed.pfns:
            for i, (at, _, block_mt) in enumerate(state.types_of(pfn, order)):
                # the second half of a page whose first is isolated is counted wrong instead: NR_FREE_PAGES
                if (block_mt == ISOLATE) > (mt == ISOLATE) or (i == 0 and (block_mt == ISOLATE) != (mt == ISOLATE)):
                    yield at, f"a free page of a {_name(block_mt)} pageblock on its lists", f"on list {_name(mt)}"


def list_hygiene(state: State) -> Found:
    """A free block is on the lists of the type that all of its pageblocks have.

    Source: mm/page_alloc.c __add_to_free_list, which warns otherwise (6.10, freelist hygiene).
    """
    for (order, mt), listed in state.lists.items():
        for pfn in listed.pfns:
            for at, _, block_mt in state.types_of(pfn, order):
                if block_mt != mt:
                    yield at, f"a free page of list {_name(mt)} in a pageblock of its type", f"in {_name(block_mt)}"


def kept_apart(state: State) -> Found:
    """No free block spans an ISOLATE or a CMA pageblock and one of another type.

    Source: mm/page_alloc.c __free_one_page (3c605096d315, 4.1), migratetype_is_mergeable (1dd214b8f21c, 5.18; the seed's
    patch 1). 5.15 keeps CMA apart by its alignment to max order.
    """
    for pfn, block in state.blocks.items():
        if block.kind != FREE or block.order <= state.pageblock_order:
            continue
        types = {mt for _, _, mt in state.types_of(pfn, block.order)}
        if len(types) > 1 and types & {ISOLATE, CMA}:
            yield pfn, "pageblocks of one type under a free page", " and ".join(_name(mt) for mt in sorted(types))


def per_cpu_lists(state: State) -> Found:
    """Every entry of a per-cpu list is a page of the list's order; links agree; the pages are as many as counted.

    Source: mm/page_alloc.c free_unref_page_commit, order_to_pindex, pindex_to_order; struct per_cpu_pages, count.
    """
    pages = 0
    for index, listed in state.pcp.items():
        # twelve lists: four orders, three types; the rest for huge pages
        order = state.pageblock_order if index >= 12 else index // 3
        if listed.broken is not None:
            yield listed.broken, f"links of per-cpu list {index} that agree", "links that do not"
        for pfn in listed.pfns:
            block = state.blocks.get(pfn)
            if block is None or block.kind != PER_CPU or block.order != order:
                what = "a page inside a block" if block is None else f"a block {block.kind} of order {block.order}"
                yield pfn, f"a page of order {order} on per-cpu list {index}", what
            pages += 1 << order
    if pages != state.nr_pcp_pages:
        yield None, f"{pages} pages on per-cpu lists", f"{state.nr_pcp_pages} counted"


def nr_free_pages(state: State) -> Found:
    """NR_FREE_PAGES counts what is free outside isolated pageblocks.

    Source: include/linux/vmstat.h __mod_zone_freepage_state, mm/page_isolation.c set_migratetype_isolate; since 6.10
    mm/page_alloc.c account_freepages. The seed, S1.
    """
    free = sum(pages for pages, mt in _free_pages(state) if mt != ISOLATE)
    if free != state.nr_free_pages:
        drift = state.nr_free_pages - free
        yield (
            None,
            f"{free} pages free outside isolated pageblocks",
            f"{state.nr_free_pages} counted (drift {drift:+d})",
        )


def nr_free_cma_pages(state: State) -> Found:
    """NR_FREE_CMA_PAGES counts what is free in CMA pageblocks.

    Source: include/linux/vmstat.h __mod_zone_freepage_state; since 6.10 mm/page_alloc.c account_freepages.
    """
    free = sum(pages for pages, mt in _free_pages(state) if mt == CMA)
    if free != state.nr_free_cma_pages:
        yield None, f"{free} pages free in CMA pageblocks", f"{state.nr_free_cma_pages} counted"


def nr_isolate_pageblock(state: State) -> Found:
    """The zone's count of isolated pageblocks is right.

    Source: mm/page_isolation.c set_migratetype_isolate, unset_migratetype_isolate: zone->nr_isolate_pageblock.
    """
    isolated = state.types.count(ISOLATE)
    if isolated != state.nr_isolate_pageblock:
        yield None, f"{isolated} isolated pageblocks", f"{state.nr_isolate_pageblock} counted"


def _free_pages(state: State) -> Iterator[tuple[int, int]]:
    """Free pages in each pageblock that a free block covers, and the pageblock's type."""
    for pfn, block in state.blocks.items():
        if block.kind == FREE:
            for _, pages, mt in state.types_of(pfn, block.order):
                yield pages, mt


def _name(mt: int | None) -> str:
    return "none" if mt is None else Migratetype(mt).name


_PAST_END = Exemption(
    "a pageblock that reaches out of the zone is isolated without its free pages, which stay where they are, and counted",
    "cut",
)
_NEIGHBOURS = Exemption(
    "the pages of two pageblocks that two callers isolate merge, and the first that gives its own back takes both; "
    "a block above pageblock order that is no compound page is isolated in part and freed whole",
    "isolations",
)
_NAIVE = Exemption("a range request that isolates a part of a free page moves all of it or nothing: the bug", "ranges")
_FOREIGN_CMA = Exemption(
    "a CMA request for memory of no area makes CMA what it gives back, below free pages that reach out of it",
    "foreign_cma",
)
_UNRESERVED = Exemption(
    "a pageblock that leaves the HIGHATOMIC reserve is moved to other lists, not merged", "unreserved"
)
_PER_CPU = Exemption(
    "per-cpu lists free a block above pageblock order whole, as its first pageblock's (free_pcppages_bulk); no kernel has such "
    "pageblocks by default",
    "large_per_cpu",
)
_GOES_BACK_WHOLE = Exemption(
    "an isolated free page of several pageblocks goes back whole with the first of them (unset_migratetype_isolate), if it is "
    "below max order",
    "large_isolations",
)
_MERGES_IN_WINDOWS = Exemption(
    "pages that are freed while a window is isolated, as when per-cpu lists are drained, merge across its MOVABLE and CMA "
    "pageblocks, and are not cut when each gets its own type back",
    "shared_windows",
)
_SEED = dict.fromkeys(("seed", "seed-as-posted"), (_MERGES_IN_WINDOWS,))
_MOVES_HEADS = ALL - HYGIENIC
_OF_RELEASE: dict[str, tuple[Exemption, ...]] = {
    "naive": (_NAIVE,),
    "6.1": (_NEIGHBOURS,),
    "6.1-vanilla": (_NEIGHBOURS,),
}


def _of_areas() -> dict[str, tuple[Exemption, ...]]:
    """What the releases do otherwise to CMA areas."""
    return {name: (*found, *_SEED.get(name, ())) for name, found in _unhygienic(_FOREIGN_CMA).items()}


def _unhygienic(*more: Exemption) -> dict[str, tuple[Exemption, ...]]:
    """What the releases do otherwise that move free pages by their heads, whatever else their pageblocks are; and the others."""
    found = {name: (_PAST_END, *more, *_OF_RELEASE.get(name, ()), _PER_CPU) for name in _MOVES_HEADS}
    return found | dict.fromkeys(HYGIENIC, (_PER_CPU, _GOES_BACK_WHOLE))


#: Free pages that an isolated pageblock keeps on other lists may be claimed with it, or given up as HIGHATOMIC.
_RETYPED = {name: (_PAST_END, *_OF_RELEASE.get(name, ()), _PER_CPU) for name in _MOVES_HEADS} | dict.fromkeys(
    HYGIENIC, (_PER_CPU, _GOES_BACK_WHOLE)
)

#: Every invariant of a state. The names are those that ``Zone.check`` uses.
INVARIANTS: tuple[Invariant, ...] = (
    Invariant("list links", list_links),
    Invariant("listed block", listed_block),
    Invariant("every free block listed", every_free_block_listed),
    Invariant("one state", one_state),
    Invariant("zone end", zone_end),
    Invariant("buddies merged", buddies_merged, exceptions=dict.fromkeys(ALL, (_UNRESERVED,))),
    Invariant("isolated list", isolated_list, exceptions=_unhygienic()),
    Invariant("list hygiene", list_hygiene, HYGIENIC, dict.fromkeys(HYGIENIC, (_PER_CPU, _GOES_BACK_WHOLE))),
    Invariant("kept apart", kept_apart, ALL - {"naive"}, exceptions=_of_areas()),
    Invariant("per-cpu lists", per_cpu_lists),
    Invariant("NR_FREE_PAGES", nr_free_pages, exceptions=_unhygienic()),
    Invariant("NR_FREE_CMA_PAGES", nr_free_cma_pages, exceptions=_of_areas()),
    Invariant("nr_isolate_pageblock", nr_isolate_pageblock, exceptions=_RETYPED),
)


def violations(subject: Zone | State, circumstances: Circumstances = Circumstances()) -> list[Violation]:
    """Every breach of what the state's release promises in such circumstances, invariant by invariant. []: all hold."""
    state = subject if isinstance(subject, State) else state_of(subject)
    return [
        Violation(invariant.name, *breach)
        for invariant in INVARIANTS
        if promises(invariant, state.release, circumstances)
        for breach in invariant.check(state)
    ]
