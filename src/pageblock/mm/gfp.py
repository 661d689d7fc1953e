"""From a request to a page: watermarks, reserves, the per-cpu or the buddy lists; and back.

Source: mm/page_alloc.c: __alloc_pages, get_page_from_freelist, rmqueue, __zone_watermark_ok,
reserve_highatomic_pageblock, unreserve_highatomic_pageblock, __free_pages (6.1.192, 6.12.117).
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        ALLOC_HIGHATOMIC,
        ALLOC_MIN_RESERVE,
        ALLOC_NOFRAGMENT,
        ALLOC_NON_BLOCK,
        ALLOC_OOM,
        ATOMIC_TRIES_RESERVE,
        CAP_PLUS_PAGEBLOCK,
        CAP_ROUNDED_UP,
        EV_ALLOC,
        EV_FREE,
        HIGHATOMIC,
        MOVABLE,
        MISS_FAILS,
        NONE,
        ORDER_MASK,
        REQUEST_ATOMIC,
        REQUEST_TARGET,
        RMQUEUE_NORMAL,
        RULE_ATOMIC_LAST,
        RULE_HIGHATOMIC_CAP,
        RULE_PCP_MISS,
        RULE_PCP_TUNING,
        TUNING_AUTO,
    )
    from .zone import ZoneState, emit, get_pageblock_migratetype, set_pageblock_migratetype
    from .freelist import get_page_from_free_area, move_to_free_list
    from .page_alloc import (
        _free_one_page,
        _move_freepages_block,
        _rmqueue_smallest,
        account_freepages,
        block_is_whole,
        change_pageblock_range,
        free_one_page,
        migratetype_is_mergeable,
        mod_zone_freepage_state,
        move_freepages_block,
    )
    from .watermark import update_far_mark, watermarks_are_far, zone_watermark_fast, zone_watermark_ok
    from .overlap import drop_used_block, frees_used_page, note_used_pages
    from .fallback import _rmqueue
    from .pcplist import free_unref_page, pcp_allowed_order, rmqueue_pcplist


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def reserve_highatomic_pageblock(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Set a pageblock apart for high-order atomic requests after one was served from it.

    Rule "highatomic cap": 6.1 up to 1 % of the zone and a pageblock; 6.12 up to 1 % rounded up to a pageblock, and none
    at all in a zone whose 1 % is less than one.
    """
    cap: cython.longlong = z.managed_pages // 100 + z.pageblock_nr_pages
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    if z.rules[RULE_HIGHATOMIC_CAP] == CAP_ROUNDED_UP:
        cap = z.managed_pages // 100
        if cap < z.pageblock_nr_pages:
            return
        cap = (cap + z.pageblock_nr_pages - 1) // z.pageblock_nr_pages * z.pageblock_nr_pages
    if z.nr_reserved_highatomic >= cap or not migratetype_is_mergeable(mt):
        return
    if z.rules[RULE_HIGHATOMIC_CAP] == CAP_PLUS_PAGEBLOCK:
        z.nr_reserved_highatomic += z.pageblock_nr_pages
        set_pageblock_migratetype(z, pfn, HIGHATOMIC)
        move_freepages_block(z, pfn, HIGHATOMIC)
    elif order >= z.pageblock_order:
        change_pageblock_range(z, pfn, order, HIGHATOMIC)
        z.nr_reserved_highatomic += cython.cast(cython.longlong, 1) << order
    elif block_is_whole(z, pfn):
        _move_freepages_block(z, pfn, mt, HIGHATOMIC)
        z.nr_reserved_highatomic += z.pageblock_nr_pages
    update_far_mark(z)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unreserve_highatomic_pageblock(z: ZoneState, mt: cython.uint, force: cython.bint) -> cython.bint:
    """Give one reserved pageblock with free pages to a type, when memory is about to run out; whether one was there.

    One pageblock is kept unless ``force`` (6.1, 6.12). Direct reclaim calls it in the kernel; here the caller does.
    """
    order: cython.uint
    pfn: cython.uint
    moved: cython.uint
    size: cython.longlong
    if not force and z.nr_reserved_highatomic <= z.pageblock_nr_pages:
        return False
    for order in range(z.max_order + 1):
        pfn = get_page_from_free_area(z, order, HIGHATOMIC)
        if pfn == NONE:
            continue
        if get_pageblock_migratetype(z, pfn) == HIGHATOMIC:
            size = z.pageblock_nr_pages
            if z.rules[RULE_HIGHATOMIC_CAP] == CAP_ROUNDED_UP:
                size = max(size, cython.cast(cython.longlong, 1) << order)
            z.nr_reserved_highatomic -= min(size, z.nr_reserved_highatomic)
            update_far_mark(z)
        if z.rules[RULE_HIGHATOMIC_CAP] == CAP_PLUS_PAGEBLOCK:
            set_pageblock_migratetype(z, pfn, mt)
            moved = move_freepages_block(z, pfn, mt)
        elif order < z.pageblock_order:
            moved = _move_freepages_block(z, pfn, HIGHATOMIC, mt) if block_is_whole(z, pfn) else 0
        else:
            moved = 1 << order
            account_freepages(z, -cython.cast(cython.longlong, moved), HIGHATOMIC)
            account_freepages(z, moved, mt)
            move_to_free_list(z, pfn, order, mt)
            change_pageblock_range(z, pfn, order, mt)
        if moved:
            return True
    return False


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def rmqueue_buddy(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take a block from the buddy lists and count it; NONE if there is none (6.1.192, 6.12)."""
    pfn: cython.uint = NONE
    if alloc_flags & ALLOC_HIGHATOMIC:
        pfn = _rmqueue_smallest(z, order, HIGHATOMIC)
    if pfn == NONE:
        z.rmqueue_mode = RMQUEUE_NORMAL
        pfn = _rmqueue(z, order, mt, alloc_flags)
        # rule "atomic last": also an order-0 request rather dips into the reserve than fails (6.1.192, 6.12)
        if (
            pfn == NONE
            and z.rules[RULE_ATOMIC_LAST] == ATOMIC_TRIES_RESERVE
            and alloc_flags & (ALLOC_OOM | ALLOC_NON_BLOCK)
        ):
            pfn = _rmqueue_smallest(z, order, HIGHATOMIC)
    if pfn != NONE:
        mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), z.taken_type)
    return pfn


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def rmqueue(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take a block from the per-cpu list or the buddy lists; NONE if there is none (6.1.192, 6.12).

    Rule "pcp miss": 5.15 leaves it at what the per-cpu list gives.
    """
    pfn: cython.uint
    if pcp_allowed_order(z, order):
        if z.pcp_used:
            pfn = rmqueue_pcplist(z, order, mt, alloc_flags)
            if pfn != NONE or z.rules[RULE_PCP_MISS] == MISS_FAILS:
                return pfn
        elif alloc_flags & ALLOC_HIGHATOMIC:
            # per-cpu lists are refilled from the ordinary lists, also where they hold nothing: the reserve comes after
            pfn = rmqueue_buddy(z, order, mt, alloc_flags & (ALLOC_CMA | ALLOC_NOFRAGMENT))
            if pfn != NONE or z.rules[RULE_PCP_MISS] == MISS_FAILS:
                return pfn
    return rmqueue_buddy(z, order, mt, alloc_flags)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def get_page_from_freelist(
    z: ZoneState, order: cython.uint, mt: cython.uint, mark: cython.longlong, alloc_flags: cython.uint
) -> cython.uint:
    """One attempt above one watermark; NONE if refused (6.1.192, 6.12)."""
    pfn: cython.uint
    per_cpu: cython.bint
    if z.rules[RULE_PCP_TUNING] == TUNING_AUTO and not z.below_high:
        # 6.12 notes, for the tuning of the per-cpu lists, that the zone fell below its high watermark
        z.below_high = not zone_watermark_ok(z, order, z.wmark_high + z.watermark_boost, alloc_flags)
    if not zone_watermark_fast(z, order, mark, alloc_flags):
        return NONE
    if z.overlapping:
        note_used_pages(z)
    pfn = rmqueue(z, order, mt, alloc_flags)
    per_cpu = pcp_allowed_order(z, order)
    while z.overlapping and pfn != NONE and drop_used_block(z, pfn, order, 1 if per_cpu else 1 << order):
        if not per_cpu:
            mod_zone_freepage_state(z, cython.cast(cython.longlong, 1) << order, z.taken_type)
        note_used_pages(z)
        pfn = rmqueue(z, order, mt, alloc_flags)
    if pfn != NONE and alloc_flags & ALLOC_HIGHATOMIC:
        reserve_highatomic_pageblock(z, pfn, order)
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _alloc_pages_slowpath(z: ZoneState, order: cython.uint, mt: cython.uint, request: cython.uint) -> cython.uint:
    """What follows when the low watermark refuses: two attempts above min, without reclaim (6.1.192, 6.12).

    An atomic request (GFP_ATOMIC) may go into the reserves. A migration target is not tried again if another zone takes it.
    """
    alloc_flags: cython.uint = ALLOC_CMA if mt == MOVABLE else 0
    pfn: cython.uint
    if request == REQUEST_TARGET and z.targets_may_spill:
        return NONE
    if request == REQUEST_ATOMIC:
        alloc_flags |= ALLOC_MIN_RESERVE | ALLOC_NON_BLOCK
        if order > 0:
            alloc_flags |= ALLOC_HIGHATOMIC
    pfn = get_page_from_freelist(z, order, mt, z.wmark_min + z.watermark_boost, alloc_flags)
    if pfn == NONE:
        pfn = get_page_from_freelist(z, order, mt, z.wmark_min + z.watermark_boost, alloc_flags)
    return pfn


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def alloc_pages(
    z: ZoneState, order: cython.uint, mt: cython.uint, flags: cython.uint, owner: cython.uint, request: cython.uint
) -> cython.uint:
    """Allocate a block; the frame of its head, or NONE (__alloc_pages, 6.1.192, 6.12).

    First above the low watermark, then as ``_alloc_pages_slowpath`` says. ``flags`` is the class and PG_ bits of the new
    page, ``owner`` its handle.
    """
    alloc_flags: cython.uint = ALLOC_CMA if mt == MOVABLE else 0
    pfn: cython.uint
    if order == 0 and watermarks_are_far(z, 0):
        pfn = rmqueue(z, 0, mt, alloc_flags)
    else:
        pfn = get_page_from_freelist(z, order, mt, z.wmark_low + z.watermark_boost, alloc_flags)
    if pfn == NONE:
        pfn = _alloc_pages_slowpath(z, order, mt, request)
        if pfn == NONE:
            return NONE
    z.state[pfn] = ALLOC | order
    z.flags[pfn] = flags
    z.nxt[pfn] = owner
    if z.recording:
        emit(z, EV_ALLOC, pfn, order, mt)
    return pfn


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def free_frames(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Free frames that no longer head a block: to the per-cpu lists if the order has them, else to the buddy lists."""
    if z.pcp_used:
        if pcp_allowed_order(z, order) and free_unref_page(z, pfn, order):
            return
    free_one_page(z, pfn, order)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_gigantic(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Give a block above max order back page by page, as free_contig_range does it."""
    i: cython.uint
    for i in range(pfn, pfn + (1 << order)):
        free_frames(z, i, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def freed_whole(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.bint:
    """Whether a block above order 0 is freed as one: a gigantic one goes page by page, one over pages in use is lost."""
    if order > z.max_order:
        free_gigantic(z, pfn, order)
        return False
    return not z.overlapping or not frees_used_page(z, pfn, order)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def free_pages(z: ZoneState, pfn: cython.uint) -> cython.void:
    """Free an allocated block by its head (__free_pages)."""
    order: cython.uint = z.state[pfn] & ORDER_MASK
    z.state[pfn] = 0
    z.flags[pfn] = 0
    if z.recording:
        emit(z, EV_FREE, pfn, order)
    if order and not freed_whole(z, pfn, order):
        return
    free_frames(z, pfn, order)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_core(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.void:
    """Hand the frames of [start, end) to the allocator as at boot (mm/memblock.c, __free_pages_memory).

    Ascending, in the largest naturally aligned blocks that fit, each to the tail of its list.
    """
    pfn: cython.uint = start
    order: cython.uint
    while pfn < end:
        order = z.max_order
        while order > 0 and (pfn & ((1 << order) - 1) or end - pfn < cython.cast(cython.uint, 1) << order):
            order -= 1
        _free_one_page(z, pfn, order, get_pageblock_migratetype(z, pfn), True)
        pfn += cython.cast(cython.uint, 1) << order
