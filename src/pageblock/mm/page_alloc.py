"""Free and merge, allocate and split, fallback and steal.

Source: mm/page_alloc.c. Where releases differ, the function asks ``z.rules`` (release.py names each
rule with its commit). A kernel name with leading underscores has one here.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        ALLOC_NOFRAGMENT,
        BUDDY,
        C_ANON,
        C_FILE,
        C_MOVABLE_OPS,
        C_THP,
        CLASS_MASK,
        CMA,
        EV_ALLOC,
        EV_EXTFRAG,
        EV_FREE,
        EV_SPLIT,
        EV_ZONE_LOCKED,
        HIGHATOMIC,
        ISOLATE,
        MERGE_ANY,
        MERGE_MERGEABLE,
        MOVABLE,
        NONE,
        NR_MIGRATETYPES,
        ORDER_MASK,
        RECLAIMABLE,
        RULE_MERGE,
        UNMOVABLE,
    )
    from .freelist import (
        add_to_free_list,
        add_to_free_list_tail,
        del_page_from_free_list,
        get_page_from_free_area,
        move_to_free_list,
    )
    from .zone import (
        ZoneState,
        compound_head,
        emit,
        get_pageblock_migratetype,
        pageblock_end,
        pageblock_start,
        set_pageblock_migratetype,
        zone_spans,
    )


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def migratetype_is_mergeable(mt: cython.uint) -> cython.bint:
    """Types that can fall back to each other (include/linux/mmzone.h, 5.18, 1dd214b8f21c; seed patch 1)."""
    return mt < HIGHATOMIC


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def mod_zone_freepage_state(z: ZoneState, nr_pages: cython.longlong, mt: cython.uint) -> cython.void:
    """Count pages into NR_FREE_PAGES and, if the type is CMA, into NR_FREE_CMA_PAGES (include/linux/vmstat.h)."""
    z.nr_free_pages += nr_pages
    if mt == CMA:
        z.nr_free_cma_pages += nr_pages


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def page_is_buddy(z: ZoneState, buddy: cython.uint, order: cython.uint) -> cython.bint:
    """Whether the frame heads a free block of exactly this order. Frames outside the zone never do."""
    return z.state[buddy] == (BUDDY | order)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def buddy_types_merge(z: ZoneState, mt: cython.uint, buddy_mt: cython.uint) -> cython.bint:
    """Whether two free blocks of at least a pageblock may become one.

    Rule "merge". 5.15 (__free_one_page): only while the zone has isolated pageblocks, and only
    ISOLATE against another type. 5.18 (1dd214b8f21c, seed patch 1): always; only equal or mergeable types.
    """
    rule: cython.uint = z.rules[RULE_MERGE]
    if mt == buddy_mt or rule == MERGE_ANY:
        return True
    if rule == MERGE_MERGEABLE:
        return migratetype_is_mergeable(mt) and migratetype_is_mergeable(buddy_mt)
    return z.nr_isolate_pageblock == 0 or (mt != ISOLATE and buddy_mt != ISOLATE)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def buddy_merge_likely(z: ZoneState, pfn: cython.uint, buddy: cython.uint, order: cython.uint) -> cython.bint:
    """Whether the buddy of the would-be parent is free, so that merging is likely soon (6.1)."""
    if order + 1 >= z.max_order:
        return False
    return page_is_buddy(z, (pfn & buddy) ^ (2 << order), order + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _free_one_page(
    z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint, to_tail: cython.bint
) -> cython.void:
    """Free a block: count it under the caller's type, merge it upwards, list it (__free_one_page, 6.1).

    The type is that of the block's first pageblock even if the block spans several: the root of the
    accounting error that the seed is about. Merging does not retype pageblocks before 6.10.
    """
    buddy: cython.uint = pfn
    if mt != ISOLATE:
        mod_zone_freepage_state(z, cython.cast(cython.longlong, 1) << order, mt)
    while order < z.max_order:
        buddy = pfn ^ (1 << order)
        if not page_is_buddy(z, buddy, order):
            break
        if order >= z.pageblock_order and not buddy_types_merge(z, mt, get_pageblock_migratetype(z, buddy)):
            break
        del_page_from_free_list(z, buddy, order)
        pfn &= buddy
        order += 1
    if to_tail or buddy_merge_likely(z, pfn, buddy, order):
        add_to_free_list_tail(z, pfn, order, mt)
    else:
        add_to_free_list(z, pfn, order, mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_pages(z: ZoneState, pfn: cython.uint) -> cython.void:
    """Free an allocated block by its head (__free_pages).

    A block above max order (a gigantic huge page) goes back page by page, as free_contig_range does it.
    """
    order: cython.uint = z.state[pfn] & ORDER_MASK
    i: cython.uint
    z.state[pfn] = 0
    z.flags[pfn] = 0
    if z.recording:
        emit(z, EV_FREE, pfn, order)
    if order > z.max_order:
        for i in range(pfn, pfn + (1 << order)):
            _free_one_page(z, i, 0, get_pageblock_migratetype(z, i), False)
        return
    _free_one_page(z, pfn, order, get_pageblock_migratetype(z, pfn), False)


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


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_free_page(z: ZoneState, pfn: cython.uint, order: cython.uint, offset: cython.uint) -> cython.void:
    """Cut a free block at an offset and list each piece under its own pageblock's type (6.1; 86d28b070927).

    Pieces: the largest that are aligned and fit before the offset, then the rest.
    """
    end: cython.uint = pfn + (1 << order)
    at: cython.uint = pfn
    piece: cython.uint
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    if offset == 0:
        return
    if z.recording:
        emit(z, EV_SPLIT, pfn, order, offset)
    if mt != ISOLATE:
        mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), mt)
    del_page_from_free_list(z, pfn, order)
    while at < end:
        piece = 0
        # natural alignment is that of the absolute pfn; the base is aligned to every free block's size
        while piece < order and not at & (1 << piece) and offset >> (piece + 1):
            piece += 1
        _free_one_page(z, at, piece, get_pageblock_migratetype(z, at), False)
        at += 1 << piece
        offset -= 1 << piece
        if offset == 0:
            offset = end - at


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def expand(z: ZoneState, pfn: cython.uint, low: cython.uint, high: cython.uint, mt: cython.uint) -> cython.void:
    """Halve a block from order high to low; each upper half goes to the head of its list."""
    while high > low:
        high -= 1
        add_to_free_list(z, pfn + (1 << high), high, mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_smallest(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.uint:
    """Take the first block of the smallest order that has one, and split it (__rmqueue_smallest)."""
    current: cython.uint
    pfn: cython.uint
    for current in range(order, z.max_order + 1):
        pfn = get_page_from_free_area(z, current, mt)
        if pfn == NONE:
            continue
        del_page_from_free_list(z, pfn, current)
        expand(z, pfn, order, current, mt)
        z.taken_type = mt
        if z.recording:
            emit(z, EV_ZONE_LOCKED, pfn, order, mt)
        return pfn
    return NONE


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def fallbacks(mt: cython.uint, i: cython.uint) -> cython.uint:
    """The i-th type (0, 1) that a request falls back to; NR_MIGRATETYPES: none (array fallbacks, 6.1)."""
    if mt == UNMOVABLE:
        return RECLAIMABLE if i == 0 else MOVABLE
    if mt == MOVABLE:
        return RECLAIMABLE if i == 0 else UNMOVABLE
    if mt == RECLAIMABLE:
        return UNMOVABLE if i == 0 else MOVABLE
    return NR_MIGRATETYPES


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def can_steal_fallback(z: ZoneState, order: cython.uint, start_mt: cython.uint) -> cython.bint:
    """Whether a fallback of this order may take the whole pageblock's free pages along (6.1)."""
    return (
        order >= z.pageblock_order
        or order >= z.pageblock_order // 2
        or start_mt == RECLAIMABLE
        or start_mt == UNMOVABLE
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_suitable_fallback(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.uint:
    """First fallback type with a free block of this order, or NR_MIGRATETYPES (6.1, only_stealable false)."""
    i: cython.uint
    fallback_mt: cython.uint
    if z.nr_free[order] == 0:
        return NR_MIGRATETYPES
    for i in range(2):
        fallback_mt = fallbacks(mt, i)
        if fallback_mt != NR_MIGRATETYPES and get_page_from_free_area(z, order, fallback_mt) != NONE:
            return fallback_mt
    return NR_MIGRATETYPES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def page_is_movable(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """PageLRU or __PageMovable, as far as an allocated head's class tells."""
    c: cython.uint = z.flags[pfn] & CLASS_MASK
    return c == C_ANON or c == C_FILE or c == C_THP or c == C_MOVABLE_OPS


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_movable(z: ZoneState, pfn: cython.uint, end: cython.uint) -> cython.uint:
    """Pages of [pfn, end) that move_freepages counts as movable.

    PageLRU looks at the head (PF_HEAD), so each tail of a THP counts; __PageMovable does not,
    so of a compound page of that kind only the head counts (6.1, include/linux/page-flags.h).
    """
    movable: cython.uint = 0
    s: cython.uint
    size: cython.uint
    head: cython.uint
    while pfn < end:
        s = z.state[pfn]
        size = 1
        if s & BUDDY:
            size = 1 << (s & ORDER_MASK)
        elif s & ALLOC:
            size = 1 << (s & ORDER_MASK)
            if page_is_movable(z, pfn):
                movable += 1 if z.flags[pfn] & CLASS_MASK == C_MOVABLE_OPS else min(size, end - pfn)
        elif pageblock_start(z, pfn) == pfn:
            # the block starts inside a larger page
            head = compound_head(z, pfn)
            if head != NONE and z.flags[head] & CLASS_MASK == C_THP:
                size = head + (1 << (z.state[head] & ORDER_MASK)) - pfn
                movable += min(size, end - pfn)
        pfn += size
    return movable


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_freepages_block(z: ZoneState, pfn: cython.uint, mt: cython.uint) -> cython.uint:
    """Move the free blocks of a pageblock to the tail of another type's lists; returns pages moved (6.1).

    A free block is found by its head and counted whole even where it reaches beyond the pageblock;
    the second half of a larger free block has no head, so nothing moves. No merging, no accounting.
    A pageblock whose end lies outside the zone is left alone.
    """
    at: cython.uint = pageblock_start(z, pfn)
    end: cython.uint = pageblock_end(z, pfn)
    moved: cython.uint = 0
    s: cython.uint
    order: cython.uint
    if not zone_spans(z, at):
        at = pfn
    if not zone_spans(z, end - 1):
        return 0
    while at < end:
        s = z.state[at]
        order = s & ORDER_MASK
        if s & BUDDY:
            move_to_free_list(z, at, order, mt)
            moved += 1 << order
        at += 1 << order if s else 1
    return moved


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def steal_suitable_fallback(
    z: ZoneState, pfn: cython.uint, start_mt: cython.uint, whole_block: cython.bint
) -> cython.void:
    """Bring a fallback block, and with it perhaps its whole pageblock, to the request's lists (6.1).

    The pageblock changes its type if at least half of it is free or already of the request's kind.
    """
    order: cython.uint = z.state[pfn] & ORDER_MASK
    old_mt: cython.uint = get_pageblock_migratetype(z, pfn)
    start: cython.uint = pageblock_start(z, pfn)
    free_pages: cython.uint
    movable: cython.uint
    alike: cython.uint = 0
    i: cython.uint
    if old_mt == HIGHATOMIC:
        move_to_free_list(z, pfn, order, start_mt)
        return
    if order >= z.pageblock_order:
        for i in range(1 << (order - z.pageblock_order)):
            set_pageblock_migratetype(z, pfn + (i << z.pageblock_order), start_mt)
        move_to_free_list(z, pfn, order, start_mt)
        return
    if not whole_block:
        move_to_free_list(z, pfn, order, start_mt)
        return
    if not zone_spans(z, start):
        start = pfn
    movable = count_movable(z, start, pageblock_end(z, pfn))
    free_pages = move_freepages_block(z, pfn, start_mt)
    if start_mt == MOVABLE:
        alike = movable
    elif old_mt == MOVABLE:
        alike = z.pageblock_nr_pages - (free_pages + movable)
    if free_pages == 0:
        # the pageblock reaches beyond the zone
        move_to_free_list(z, pfn, order, start_mt)
    elif free_pages + alike >= z.pageblock_nr_pages // 2:
        set_pageblock_migratetype(z, pfn, start_mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_fallback(z: ZoneState, order: cython.uint, start_mt: cython.uint, alloc_flags: cython.uint) -> cython.bint:
    """Move free pages of another type to the request's lists; False if there are none (__rmqueue_fallback, 6.1).

    The largest block is preferred, so that one pageblock is polluted and not several; a movable
    request that may not take a whole pageblock takes the smallest block instead.
    """
    min_order: cython.uint = order
    current: cython.uint = z.max_order
    fallback_mt: cython.uint
    pfn: cython.uint
    steal: cython.bint
    if order < z.pageblock_order and alloc_flags & ALLOC_NOFRAGMENT:
        min_order = z.pageblock_order
    if current < min_order:
        return False
    fallback_mt = find_suitable_fallback(z, current, start_mt)
    while fallback_mt == NR_MIGRATETYPES:
        if current == min_order:
            return False
        current -= 1
        fallback_mt = find_suitable_fallback(z, current, start_mt)
    steal = can_steal_fallback(z, current, start_mt)
    if not steal and start_mt == MOVABLE and current > order:
        current = order
        fallback_mt = find_suitable_fallback(z, current, start_mt)
        while fallback_mt == NR_MIGRATETYPES:
            current += 1
            fallback_mt = find_suitable_fallback(z, current, start_mt)
        steal = can_steal_fallback(z, current, start_mt)
    pfn = get_page_from_free_area(z, current, fallback_mt)
    steal_suitable_fallback(z, pfn, start_mt, steal)
    if z.recording:
        emit(z, EV_EXTFRAG, pfn, order, current, start_mt, fallback_mt, get_pageblock_migratetype(z, pfn) == start_mt)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take a block: balance with CMA, own lists, CMA, fallback (__rmqueue, 6.1)."""
    pfn: cython.uint
    if alloc_flags & ALLOC_CMA and z.nr_free_cma_pages > z.nr_free_pages // 2:
        pfn = _rmqueue_smallest(z, order, CMA)
        if pfn != NONE:
            return pfn
    pfn = _rmqueue_smallest(z, order, mt)
    if pfn == NONE and alloc_flags & ALLOC_CMA:
        pfn = _rmqueue_smallest(z, order, CMA)
    if pfn == NONE and _rmqueue_fallback(z, order, mt, alloc_flags):
        pfn = _rmqueue_smallest(z, order, mt)
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def zone_watermark_ok(z: ZoneState, order: cython.uint, mark: cython.longlong, alloc_flags: cython.uint) -> cython.bint:
    """Whether enough pages stay free and a block of the order exists (__zone_watermark_ok, 6.1).

    Free pages in CMA count only for requests that may use them; ISOLATE lists never do.
    """
    free: cython.longlong = z.nr_free_pages - ((cython.cast(cython.longlong, 1) << order) - 1)
    current: cython.uint
    if not alloc_flags & ALLOC_CMA:
        free -= z.nr_free_cma_pages
    if free <= mark + z.lowmem_reserve:
        return False
    if order == 0:
        return True
    for current in range(order, z.max_order + 1):
        if z.nr_free[current] == 0:
            continue
        if (
            get_page_from_free_area(z, current, UNMOVABLE) != NONE
            or get_page_from_free_area(z, current, MOVABLE) != NONE
            or get_page_from_free_area(z, current, RECLAIMABLE) != NONE
        ):
            return True
        if alloc_flags & ALLOC_CMA and get_page_from_free_area(z, current, CMA) != NONE:
            return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def alloc_pages(
    z: ZoneState, order: cython.uint, mt: cython.uint, flags: cython.uint, owner: cython.uint, mark: cython.longlong
) -> cython.uint:
    """Allocate a block above a watermark; the frame of its head, or NONE (__alloc_pages, get_page_from_freelist).

    ``flags`` is the class and PG_ bits of the new page, ``owner`` its handle.
    """
    alloc_flags: cython.uint = ALLOC_CMA if mt == MOVABLE else 0
    pfn: cython.uint
    if not zone_watermark_ok(z, order, mark, alloc_flags):
        return NONE
    pfn = _rmqueue(z, order, mt, alloc_flags)
    if pfn == NONE:
        return NONE
    mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), z.taken_type)
    z.state[pfn] = ALLOC | order
    z.flags[pfn] = flags
    z.nxt[pfn] = owner
    if z.recording:
        emit(z, EV_ALLOC, pfn, order, mt)
    return pfn
