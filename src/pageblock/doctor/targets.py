"""Free blocks for pages that migrate whole: huge pages (hugetlb) and large pages of drivers.

A transparent huge page without a target is split; these are not, so each needs a free block of its order outside the
isolated pageblocks (mm/migrate.c, alloc_migration_target). Counted as if everything smaller took the movable blocks
below that order first, as the allocator does, and everything larger took its blocks before.
"""

import numpy as np

from ..mm import Migratetype, PageClass
from .survey import Bools, Held, Windows, Words, ZoneSurvey, over

__all__ = ["goes_back_to_pool", "lacks_large_target"]

#: Classes that never split.
WHOLE = np.array([PageClass.HUGETLB, PageClass.MOVABLE_OPS], np.uint8)

#: Types from whose lists a movable request is served, before and after it falls back.
OWN_LISTS = (Migratetype.MOVABLE, Migratetype.CMA)
ALL_LISTS = (*OWN_LISTS, Migratetype.UNMOVABLE, Migratetype.RECLAIMABLE)


def lacks_large_target(survey: ZoneSurvey, request: Held, windows: Windows, own: Words | None) -> Bools | None:
    """Which ranges hold a page that never splits and for which too few blocks are free outside; None: none does."""
    if not survey.may_hold_huge:
        return None
    large = survey.large_pages()
    never_split = np.isin(large.page_class, WHOLE)
    if not never_split.any():
        return None
    lacks = np.zeros(len(request), np.bool_)
    only_hugetlb = not (large.page_class == PageClass.MOVABLE_OPS).any()
    needed = np.zeros(len(request), np.int64)
    small = request.move.astype(np.int64)
    orders = sorted(set(large.order.tolist()), reverse=True)
    for i, order in enumerate(orders):
        of_order = large.order == order
        count = count_in(request, large.at[of_order], 1 << order, survey)
        small -= count << order
        needed = (needed << (orders[i - 1] - order if i else 0)) + count
        strict = of_order & never_split
        if strict.any() and order <= survey.zone.geometry.max_order:
            has = count_in(request, large.at[strict], 1 << order, survey) > 0
            blocks = outside(survey, windows, own, order, ALL_LISTS)
            if only_hugetlb and order < len(survey.huge_targets):
                blocks = blocks + survey.huge_targets[order]
            pages_below = outside(survey, windows, own, None, OWN_LISTS, order)
            broken = -(-np.maximum(0, small - pages_below) >> order)
            lacks |= has & (needed + broken > blocks)
    return lacks


def goes_back_to_pool(survey: ZoneSurvey, request: Held) -> Bools | None:
    """Which ranges hold a huge page in use that would go back to its pool, where it lies; None: none does.

    While the pool has an unused page that is not promised, a huge page in use migrates into that one, and its own place is
    free in the pool then, not on the buddy lists (mm/hugetlb.c, alloc_huge_page_nodemask and free_huge_page): the range is
    refused although everything migrated. Without one, the target is a new page and the place is given back; so it is
    where the pool has a surplus.
    """
    pool = survey.huge_pool
    if pool is None or not survey.may_hold_huge or pool.free <= pool.reserved or pool.surplus:
        return None
    large = survey.large_pages()
    in_use = (large.page_class == PageClass.HUGETLB) & ~large.unused & (large.order == pool.order)
    if not in_use.any():
        return None
    return count_in(request, large.at[in_use], 1 << pool.order, survey) > 0


def count_in(request: Held, at: Words, size: int, survey: ZoneSurvey) -> Words:
    """How many of the blocks at these frames, aligned to their size, lie in each range or cover it."""
    offset = request.start_pfn - survey.origin
    first = np.maximum((at - offset) // request.unit, 0)
    last = np.minimum(-((offset - at - size) // request.unit), len(request))
    steps = np.zeros(len(request) + 1, np.int64)
    inside = first < last
    np.add.at(steps, first[inside], 1)
    np.add.at(steps, last[inside], -1)
    return np.cumsum(steps)[:-1]


def outside(
    survey: ZoneSurvey,
    windows: Windows,
    own: Words | None,
    order: int | None,
    types: tuple[Migratetype, ...],
    below: int | None = None,
) -> Words:
    """Free blocks of ``order`` that the lists of these types hold outside each range's window.

    With ``below`` instead: free pages in blocks smaller than that order.
    """
    unit = order or 0
    block_order = survey.zone.geometry.pageblock_order
    per_block = np.zeros(survey.nr_blocks, np.int64)
    total = 0
    orders = range(below) if below is not None else range(unit, survey.zone.geometry.max_order + 1)
    for free_order in orders:
        for migratetype in types:
            heads = survey.zone.free_list(free_order, migratetype).astype(np.int64) - survey.origin
            total += len(heads) << (free_order - unit)
            pieces = 1 << max(0, free_order - block_order)
            # of a block larger than a pageblock each pageblock holds a part, or, with the rest, all of it
            share = 1 << max(0, min(free_order, block_order) - unit)
            at = (heads[:, None] // survey.block + np.arange(pieces)).ravel()
            np.add.at(per_block, at, share)
    lost = over(per_block, windows.begin, windows.end, np.add)
    return total - (lost if own is None else lost[own])
