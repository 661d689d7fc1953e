"""Watermarks: how many pages must stay free.

Source: mm/page_alloc.c: __zone_watermark_ok, __zone_watermark_unusable_free, boost_watermark (6.1.192, 6.12.117).
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC_CMA,
        ALLOC_HIGHATOMIC,
        ALLOC_MIN_RESERVE,
        ALLOC_NON_BLOCK,
        ALLOC_OOM,
        ALLOC_RESERVES,
        CMA,
        HIGHATOMIC,
        MARK_RESERVED,
        MOVABLE,
        NONE,
        RECLAIMABLE,
        RULE_FAST_UNDERFLOW,
        RULE_HIGHATOMIC_MARK,
        RULE_PCP_TUNING,
        TUNING_AUTO,
        UNDERFLOW_PASSES,
        UNMOVABLE,
    )
    from .zone import ZoneState
    from .freelist import get_page_from_free_area


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def zone_page_state(counted: cython.longlong, held_back: cython.longlong) -> cython.longlong:
    """A counter as the kernel reads it: without what a CPU holds back, and zero where it is below (include/linux/vmstat.h)."""
    return max(counted - held_back, cython.cast(cython.longlong, 0))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def usable_free(z: ZoneState, alloc_flags: cython.uint) -> cython.longlong:
    """Free pages less those set apart from the request (__zone_watermark_unusable_free, 6.1); it may be negative.

    The counters may lag behind by what this CPU holds back. Free pages in CMA count only for requests that may use them,
    the HIGHATOMIC reserve only for those that may dip into reserves. Rule "highatomic mark": 6.1 subtracts the size of
    the reserved pageblocks, 6.12 what is free in them.
    """
    free: cython.longlong = zone_page_state(z.nr_free_pages, z.stat_free_diff)
    if not alloc_flags & ALLOC_CMA:
        free -= zone_page_state(z.nr_free_cma_pages, z.stat_cma_diff)
    if not alloc_flags & ALLOC_RESERVES:
        free -= z.nr_reserved_highatomic if z.rules[RULE_HIGHATOMIC_MARK] == MARK_RESERVED else z.nr_free_highatomic
    return free


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def zone_watermark_ok(z: ZoneState, order: cython.uint, mark: cython.longlong, alloc_flags: cython.uint) -> cython.bint:
    """Whether enough pages stay free and a block of the order exists; ISOLATE lists have none (__zone_watermark_ok, 6.1)."""
    free: cython.longlong = usable_free(z, alloc_flags) - ((cython.cast(cython.longlong, 1) << order) - 1)
    current: cython.uint
    if alloc_flags & ALLOC_MIN_RESERVE:
        mark -= mark // 2
        if alloc_flags & ALLOC_NON_BLOCK:
            mark -= mark // 4
    if alloc_flags & ALLOC_OOM:
        mark -= mark // 2
    if free <= mark + z.lowmem_reserve:
        return False
    if order == 0:
        return True
    for current in range(order, z.max_order + 1):
        if (
            get_page_from_free_area(z, current, UNMOVABLE) != NONE
            or get_page_from_free_area(z, current, MOVABLE) != NONE
            or get_page_from_free_area(z, current, RECLAIMABLE) != NONE
        ):
            return True
        if alloc_flags & ALLOC_CMA and get_page_from_free_area(z, current, CMA) != NONE:
            return True
        if alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM) and get_page_from_free_area(z, current, HIGHATOMIC) != NONE:
            return True
    return False


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def zone_watermark_fast(
    z: ZoneState, order: cython.uint, mark: cython.longlong, alloc_flags: cython.uint
) -> cython.bint:
    """``zone_watermark_ok`` for a request; rule "fast underflow": 5.15 lets order 0 pass where less than nothing is free."""
    if order == 0 and z.rules[RULE_FAST_UNDERFLOW] == UNDERFLOW_PASSES and usable_free(z, alloc_flags) < 0:
        return True
    return zone_watermark_ok(z, order, mark, alloc_flags)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def watermarks_are_far(z: ZoneState, taken: cython.uint) -> cython.bint:
    """Whether an order-0 request passes the watermarks without a closer look (zone_watermark_fast, 6.1).

    True only if ``zone_watermark_ok`` is, for the low watermark and, where it is looked at, the high one, and will be
    until ``taken`` pages more are gone.
    """
    return z.nr_free_pages - taken - z.nr_free_cma_pages > z.far_mark


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def update_far_mark(z: ZoneState) -> cython.void:
    """Recompute what the common case compares with; to be called when a watermark, the reserve or the threshold changes."""
    z.counted_twice = 0 if z.stat_threshold else HIGHATOMIC
    if z.overlapping or z.nr_reserved_highatomic or z.stat_threshold or z.nr_free_cma_pages < 0:
        # each page handed out must be looked at, which get_page_from_freelist does; or the counters alone do not tell
        z.far_mark = cython.cast(cython.longlong, 1) << 62
        return
    z.far_mark = z.wmark_low
    if z.rules[RULE_PCP_TUNING] == TUNING_AUTO:
        z.far_mark = max(z.wmark_low, z.wmark_high)
    z.far_mark += z.watermark_boost + z.lowmem_reserve


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def boost_watermark(z: ZoneState) -> cython.void:
    """Raise the watermarks for a while after a fallback below pageblock order, so that reclaim starts early (6.1).

    By one pageblock, up to the high watermark times the factor; not in zones of fewer than four pageblocks.
    """
    most: cython.longlong = z.wmark_high * z.watermark_boost_factor // 10000
    if most == 0 or cython.cast(cython.longlong, z.pageblock_nr_pages) * 4 > z.managed_pages:
        return
    most = max(most, cython.cast(cython.longlong, z.pageblock_nr_pages))
    z.watermark_boost = min(z.watermark_boost + z.pageblock_nr_pages, most)
    update_far_mark(z)
