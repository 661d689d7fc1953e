"""What alloc_contig_range(MOVABLE) would answer for every aligned range of one size.

Computed from one survey of the zone (``ZoneSurvey``); which pageblocks a request isolates, and where unmovable
pages are looked for, is asked of the release's rules.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..mm import Migratetype, PageClass, Zone, release
from ..mm import constants as k
from ..mm.errors import ReleaseError
from .kernel import replaces_freed_huge_pages
from .survey import Held, Windows, Words, ZoneSurvey, over
from .targets import goes_back_to_pool, lacks_large_target

__all__ = [
    "BLOCKED",
    "FREE",
    "HOLE",
    "LETTERS",
    "MOVABLE",
    "NO_PFN",
    "REASONS",
    "UNINITIALISED",
    "Verdicts",
    "judge",
]

FREE, MOVABLE, BLOCKED, HOLE, UNINITIALISED = 0, 1, 2, 3, 4

#: A letter for each verdict, as in maps and JSON.
LETTERS = np.frombuffer(b"Fmb-u", np.uint8)

#: In ``blocker_pfn``: no page.
NO_PFN = np.uint64((1 << 64) - 1)

#: Bits of ``reasons`` beyond those of the page classes, with their words.
CMA_BLOCK, ISOLATED_BLOCK, NOT_MIGRATABLE, NO_TARGET, ZONE_EDGE, STRADDLES, MAY_LAND_INSIDE, FREE_STRADDLES = range(
    16, 24
)
NO_LARGE_TARGET = 24
BACK_TO_POOL = 25
REASONS: dict[int, str] = {
    PageClass.KERNEL: "kernel pages (drivers, stacks, vmalloc)",
    PageClass.SLAB: "kernel objects (slab)",
    PageClass.PGTABLE: "page tables",
    PageClass.RESERVED: "reserved or boot memory",
    PageClass.COMPOUND: "kernel compound pages",
    PageClass.OFFLINE: "offline pages (balloon, virtio-mem)",
    PageClass.HWPOISON: "poisoned memory",
    PageClass.HOLE: "no memory",
    PageClass.PAGEVEC: "pages in a per-cpu LRU batch (transient)",
    CMA_BLOCK: "CMA pageblock (the request is not CMA)",
    ISOLATED_BLOCK: "pageblock isolated already",
    NOT_MIGRATABLE: "pages that pass isolation and cannot migrate (pinned, gigantic, cut by the range's start)",
    NO_TARGET: "no free page to migrate to",
    ZONE_EDGE: "pageblock that reaches out of the zone (refused since 6.10; in 5.15 one that lies outside)",
    STRADDLES: "compound page across the boundary (refused since 6.10)",
    MAY_LAND_INSIDE: "pages may migrate into the range itself: its pageblock reaches out of the zone",
    FREE_STRADDLES: "free page across the boundary",
    NO_LARGE_TARGET: "no free block of its size for a huge page, which never splits",
    BACK_TO_POOL: "huge page in use whose place goes back to its pool, which has unused pages (a retry may succeed)",
}


@dataclass(frozen=True)
class Verdicts:
    """Verdicts of one zone, release and size; arrays with one entry a range, ascending.

    ``verdict`` FREE, MOVABLE, BLOCKED, HOLE or UNINITIALISED; ``cost`` pages to migrate; ``dropped`` clean file
    pages that would be dropped; ``reasons`` bit set, see ``REASONS``; ``nr_blockers`` pages that isolation refuses (0
    where something else blocks); ``blocker_at`` the first thing in the way, counted from ``origin`` (2^32-1: none).
    """

    zone: str
    release: str
    nr_pages: int
    first_pfn: int
    verdict: npt.NDArray[np.uint8]
    cost: npt.NDArray[np.int64] | npt.NDArray[np.uint32]
    dropped: npt.NDArray[np.int64] | npt.NDArray[np.uint32]
    reasons: npt.NDArray[np.uint32]
    nr_blockers: npt.NDArray[np.int64] | npt.NDArray[np.uint32]
    blocker_at: npt.NDArray[np.uint32]
    origin: int

    @property
    def start_pfn(self) -> npt.NDArray[np.uint64]:
        """First pfn of each range; made anew each time."""
        return np.uint64(self.first_pfn) + np.arange(len(self.verdict), dtype=np.uint64) * np.uint64(self.nr_pages)

    @property
    def blocker_pfn(self) -> npt.NDArray[np.uint64]:
        """The first page or pageblock in the way of each range, ``NO_PFN`` where there is none; made anew each time."""
        return np.where(self.blocker_at == k.NONE, NO_PFN, self.blocker_at + np.uint64(self.origin))

    def count(self, verdict: int) -> int:
        """Ranges with this verdict."""
        return int((self.verdict == verdict).sum())

    @property
    def had(self) -> int:
        """Ranges that can be had, free or by migration."""
        return self.count(FREE) + self.count(MOVABLE)


#: Rules of the posted patch's faults that change what a range answers, and the choice without the fault.
_NOT_JUDGED = {
    k.RULE_END_WALK: k.WALK_BOUNDARY,
    k.RULE_TAKE_UNIT: k.TAKE_REQUEST,
    k.RULE_SPLIT_TWICE: k.SPLIT_ONCE,
}


def judge(
    zone: Zone | ZoneSurvey, release_name: str, nr_pages: int, free_targets: int | None = None, offset: int = 0
) -> Verdicts:
    """The verdict for every range of ``nr_pages`` (a power of two), aligned to its size, inside the zone.

    Args:
        zone: the state, or a survey of it that several calls share; its own release does not matter here.
        release_name: whose rules are applied.
        nr_pages: size of a range.
        free_targets: free pages of the zone and of those that its pages may move to, above their watermarks;
            None: no limit.
        offset: pages, whole pageblocks, by which the ranges begin behind multiples of their size.

    The survey stands for has_unmovable_pages, page by page; the rules "span" and "check scope" say over which
    pages (mm/page_isolation.c, start_isolate_page_range). Reclaim for migration targets is not modelled. Where the
    order of the free lists decides, a range counts as blocked.

    Raises:
        ReleaseError: a release with faults of the posted patch that change answers.
    """
    survey = zone if isinstance(zone, ZoneSurvey) else ZoneSurvey(zone)
    rules = release(release_name).rules
    if any(rules[rule] != as_described for rule, as_described in _NOT_JUDGED.items()):
        raise ReleaseError(
            f"release {release_name}: with faults c, d or f of the posted patch the answer depends on where each free page "
            "lies, which is not judged range by range: pageblock series takes each range in the model"
        )
    window = survey.window if rules[k.RULE_SPAN] == k.SPAN_MAX_ORDER else survey.block
    request = survey.ranges(nr_pages, offset)
    windows, own = survey.isolated(nr_pages, window, offset)
    only_request = rules[k.RULE_CHECK_SCOPE] == k.SCOPE_REQUEST

    at_window, first_at_window = _window_reasons(survey, windows, rules, only_request)
    reasons = at_window if own is None else at_window[own]
    blocker_at = first_at_window if own is None else first_at_window[own]
    if only_request:
        reasons = reasons | request.classes | _cma_ahead(survey, request, windows, own)
        refused, refused_at = request.refused, request.refused_at
    else:
        refused = windows.refused if own is None else windows.refused[own]
        refused_at = windows.refused_at if own is None else windows.refused_at[own]
    blocker_at = np.minimum(np.minimum(blocker_at, refused_at), request.stuck_at)

    # migration passes over the tails of a compound page that begins before the range; 5.19 to 6.9 have moved it already
    # if it crosses a pageblock boundary, as every one above pageblock order does here
    passed_over = request.cut > 0
    if rules[k.RULE_SCHEME] == k.SCHEME_SINGLE_PAGEBLOCK:
        passed_over &= request.cut <= survey.zone.geometry.pageblock_order
    reasons = reasons | np.where(
        (request.stuck_at != k.NONE) | passed_over, np.uint32(1 << NOT_MIGRATABLE), np.uint32(0)
    )

    if rules[k.RULE_BLOCK_MOVE] == k.MOVE_HEADS and nr_pages < survey.block:
        _mark_last_block(survey, request, reasons)
    if rules[k.RULE_SCHEME] == k.SCHEME_WHOLE and window < survey.window:
        # a huge page that begins in an earlier pageblock leaves a free page there that reaches into the range
        starts = request.start_pfn + np.arange(len(request), dtype=np.int64) * nr_pages
        heads = starts // np.maximum(request.move, 1) * request.move
        begins_before = (request.move > max(nr_pages, survey.block)) & (heads // survey.block < starts // survey.block)
        reasons[begins_before] |= np.uint32(1 << FREE_STRADDLES)
    if free_targets is not None:
        # what is free in the isolated pageblocks is no target
        left = free_targets - windows.free.astype(np.int64)
        short = (request.move > 0) & (request.move > (left if own is None else left[own]))
        reasons[short] |= np.uint32(1 << NO_TARGET)
        lacks = lacks_large_target(survey, request, windows, own)
        if lacks is not None:
            reasons[lacks] |= np.uint32(1 << NO_LARGE_TARGET)

    if not replaces_freed_huge_pages(release_name):
        back = goes_back_to_pool(survey, request)
        if back is not None:
            reasons[back] |= np.uint32(1 << BACK_TO_POOL)

    verdict = np.full(len(request), FREE, np.uint8)
    verdict[(request.move > 0) | (request.drop > 0)] = MOVABLE
    verdict[reasons > 0] = BLOCKED
    verdict[request.uninitialised] = UNINITIALISED
    verdict[request.hole] = HOLE
    return Verdicts(
        survey.zone.name,
        release_name,
        nr_pages,
        request.start_pfn,
        verdict,
        request.move,
        request.drop,
        reasons,
        refused,
        blocker_at,
        survey.origin,
    )


def _window_reasons(
    survey: ZoneSurvey, windows: Windows, rules: tuple[int, ...], only_request: bool
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Why each window of pageblocks cannot be isolated, and the first pageblock or boundary that says so."""
    of_block = np.zeros(survey.nr_blocks, np.uint32)
    if not only_request:
        of_block[survey.types == Migratetype.CMA] |= np.uint32(1 << CMA_BLOCK)
    of_block[survey.types == Migratetype.ISOLATE] |= np.uint32(1 << ISOLATED_BLOCK)
    if rules[k.RULE_BLOCK_MOVE] == k.MOVE_SPLITS:
        of_block[survey.begins_outside | survey.ends_outside] |= np.uint32(1 << ZONE_EDGE)
    if rules[k.RULE_SPAN] == k.SPAN_MAX_ORDER and not only_request:
        of_block[survey.outside] |= np.uint32(1 << ZONE_EDGE)
    places = np.arange(survey.nr_blocks, dtype=np.uint32) * np.uint32(survey.block)
    places[of_block == 0] = k.NONE
    begin, end = windows.begin, windows.end
    reasons = over(of_block, begin, end, np.bitwise_or)
    if not only_request:
        reasons = reasons | windows.classes
    first_at = over(places, begin, end, np.minimum)

    crossed = np.zeros(len(windows), np.uint32)
    if rules[k.RULE_SCHEME] == k.SCHEME_HYGIENIC:
        cut = np.append(survey.blocks.cut > 0, False)
        crossed = np.where(cut[begin] | cut[end], np.uint32(1 << STRADDLES), np.uint32(0))
    elif rules[k.RULE_SCHEME] == k.SCHEME_WHOLE and rules[k.RULE_SPAN] != k.SPAN_MAX_ORDER:
        crossed = np.where(survey.crossed_by_free()[begin], np.uint32(1 << FREE_STRADDLES), np.uint32(0))
    first_at = np.where(crossed > 0, np.minimum(first_at, (begin * survey.block).astype(np.uint32)), first_at)
    return reasons | crossed, first_at


def _cma_ahead(survey: ZoneSurvey, request: Held, windows: Windows, own: Words | None) -> npt.NDArray[np.uint32]:
    """CMA pageblocks of the request or behind it in its window: where only the request is checked, none before is asked.

    has_unmovable_pages asks for the type at the start of what it checks, which is never before the request.
    """
    is_cma = survey.types == Migratetype.CMA
    begin = (request.start_pfn - survey.origin + np.arange(len(request), dtype=np.int64) * request.unit) // survey.block
    if own is None:
        ahead = over(is_cma, begin, windows.end, np.logical_or)
    elif len(windows):
        first, last = windows.begin[0], windows.end[-1]
        ends = np.repeat(windows.end, windows.end - windows.begin)
        ahead = over(is_cma, np.arange(first, last, dtype=np.int64), ends, np.logical_or)[begin - first]
    else:
        ahead = np.zeros(len(request), np.bool_)
    return np.where(ahead, np.uint32(1 << CMA_BLOCK), np.uint32(0))


def _mark_last_block(survey: ZoneSurvey, request: Held, reasons: npt.NDArray[np.uint32]) -> None:
    """Mark ranges in a pageblock that ends outside the zone which have pages to move and free ones beside them.

    move_freepages_block leaves such a pageblock alone, so its free pages stay on their lists while it is isolated: a
    page of the range may migrate to one, and the range is busy then. Which one it takes, the order of the lists
    decides, which /proc does not show.
    """
    for block in np.flatnonzero(survey.ends_outside).tolist():
        start = max(0, (survey.origin + block * survey.block - request.start_pfn) // request.unit)
        here = slice(start, start + survey.block // request.unit)
        risky = (request.move[here] > 0) & (request.free[here] > 0)
        reasons[here] |= np.where(risky, np.uint32(1 << MAY_LAND_INSIDE), np.uint32(0))
