"""When a type's own lists are empty: which other type, which page of it, and what becomes of its pageblock.

Source: mm/page_alloc.c: __rmqueue, __rmqueue_fallback, steal_suitable_fallback (5.15, 6.1), __rmqueue_claim,
__rmqueue_steal, try_to_steal_block (6.12.117).
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        ALLOC_NOFRAGMENT,
        BUDDY,
        CLASS_MASK,
        CLAIMED_OF_LIST,
        CMA,
        C_ANON,
        C_FILE,
        C_MOVABLE_OPS,
        C_THP,
        EV_EXTFRAG,
        FALLBACK_LARGEST,
        HIGHATOMIC,
        MOVABLE,
        NONE,
        NR_MIGRATETYPES,
        ORDER_MASK,
        PG_COMPOUND,
        RECLAIMABLE,
        RMQUEUE_CLAIM,
        RMQUEUE_CMA,
        RMQUEUE_NORMAL,
        RMQUEUE_STEAL,
        RULE_CLAIMED_TYPE,
        RULE_FALLBACK,
        RULE_MOVABLE_TAIL,
        TAIL_OF_PAIR,
        UNMOVABLE,
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
    from .freelist import del_page_from_free_list, get_page_from_free_area, move_to_free_list
    from .page_alloc import (
        _move_freepages_block,
        _rmqueue_smallest,
        account_freepages,
        block_is_whole,
        change_pageblock_range,
        expand,
        held_back,
        move_freepages_block,
    )
    from .watermark import boost_watermark, zone_page_state


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
    for i in range(2):
        fallback_mt = fallbacks(mt, i)
        if fallback_mt != NR_MIGRATETYPES and get_page_from_free_area(z, order, fallback_mt) != NONE:
            return fallback_mt
    return NR_MIGRATETYPES


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def on_lru(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """PageLRU, as far as an allocated head's class tells."""
    c: cython.uint = z.flags[pfn] & CLASS_MASK
    return c == C_ANON or c == C_FILE or c == C_THP


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def page_is_movable(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """PageLRU or __PageMovable, as far as an allocated head's class tells."""
    return on_lru(z, pfn) or z.flags[pfn] & CLASS_MASK == C_MOVABLE_OPS


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_movable(z: ZoneState, pfn: cython.uint, end: cython.uint) -> cython.uint:
    """Pages of [pfn, end) that move_freepages counts as movable.

    PageLRU looks at the head (PF_HEAD), so each tail of a THP counts; __PageMovable does not,
    so of a compound page of that kind only the head counts (6.1, include/linux/page-flags.h).
    Rule "movable tail": in 5.15 the tail of any compound page of order 1 looks like such a head.
    """
    movable: cython.uint = 0
    pairs: cython.bint = z.rules[RULE_MOVABLE_TAIL] == TAIL_OF_PAIR
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
            if size == 2 and pairs and z.flags[pfn] & PG_COMPOUND and not on_lru(z, pfn):
                movable += 1
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
def count_free(z: ZoneState, pfn: cython.uint, end: cython.uint) -> cython.uint:
    """Pages in free blocks whose head lies in [pfn, end)."""
    nr_free: cython.uint = 0
    s: cython.uint
    while pfn < end:
        s = z.state[pfn]
        if s & BUDDY:
            nr_free += 1 << (s & ORDER_MASK)
        pfn += 1 << (s & ORDER_MASK) if s else 1
    return nr_free


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
    nr_free: cython.uint
    movable: cython.uint
    alike: cython.uint = 0
    if old_mt == HIGHATOMIC:
        move_to_free_list(z, pfn, order, start_mt)
        return
    if order >= z.pageblock_order:
        change_pageblock_range(z, pfn, order, start_mt)
        move_to_free_list(z, pfn, order, start_mt)
        return
    boost_watermark(z)
    if not whole_block:
        move_to_free_list(z, pfn, order, start_mt)
        return
    if not zone_spans(z, start):
        start = pfn
    movable = count_movable(z, start, pageblock_end(z, pfn))
    nr_free = move_freepages_block(z, pfn, start_mt)
    if start_mt == MOVABLE:
        alike = movable
    elif old_mt == MOVABLE:
        alike = z.pageblock_nr_pages - (nr_free + movable)
    if nr_free == 0:
        # the pageblock reaches beyond the zone
        move_to_free_list(z, pfn, order, start_mt)
    elif nr_free + alike >= z.pageblock_nr_pages // 2:
        set_pageblock_migratetype(z, pfn, start_mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_fallback(
    z: ZoneState,
    pfn: cython.uint,
    order: cython.uint,
    current: cython.uint,
    start_mt: cython.uint,
    fallback_mt: cython.uint,
    owned: cython.bint,
) -> cython.void:
    """Count a fallback and tell who listens (trace_mm_page_alloc_extfrag). ``owned``: the pageblock is of the request's type."""
    z.nr_fallbacks += 1
    z.nr_claimed += owned
    if z.recording:
        emit(z, EV_EXTFRAG, pfn, order, current, start_mt, fallback_mt, owned)


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
    note_fallback(z, pfn, order, current, start_mt, fallback_mt, get_pageblock_migratetype(z, pfn) == start_mt)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def try_to_claim_block(
    z: ZoneState,
    pfn: cython.uint,
    current: cython.uint,
    order: cython.uint,
    start_mt: cython.uint,
    list_mt: cython.uint,
) -> cython.uint:
    """Make the pageblock of a free page the request's own and allocate from it; NONE: it is not worth it (6.12).

    Worth it is a page of at least a pageblock, or a pageblock of which at least half is free or of the request's kind.
    ``list_mt`` is the type of the list that the page is on: another than its pageblock's where isolation was undone by halves.
    """
    old_mt: cython.uint = get_pageblock_migratetype(z, pfn)
    movable: cython.uint
    nr_free: cython.uint
    alike: cython.uint = 0
    size: cython.longlong
    asked: cython.longlong
    if z.rules[RULE_CLAIMED_TYPE] == CLAIMED_OF_LIST:
        old_mt = list_mt
    if old_mt == HIGHATOMIC:
        return NONE
    if current >= z.pageblock_order:
        if old_mt != list_mt:
            # the caller counts what is taken under the request's type; this is counted off under the pageblock's
            size = cython.cast(cython.longlong, 1) << current
            account_freepages(z, -size, old_mt)
            account_freepages(z, size, start_mt)
        del_page_from_free_list(z, pfn, current)
        change_pageblock_range(z, pfn, current, start_mt)
        expand(z, pfn, order, current, start_mt)
        z.taken_type = start_mt
        if z.stat_threshold:
            # counted off whole, and what is left counted on again: each may reach the threshold. The caller counts once
            size = cython.cast(cython.longlong, 1) << current
            asked = cython.cast(cython.longlong, 1) << order
            z.stat_free_diff = held_back(z, held_back(z, z.stat_free_diff - size) + size - asked) + asked
        return pfn
    boost_watermark(z)
    if not block_is_whole(z, pfn):
        return NONE
    movable = count_movable(z, pageblock_start(z, pfn), pageblock_end(z, pfn))
    nr_free = count_free(z, pageblock_start(z, pfn), pageblock_end(z, pfn))
    if start_mt == MOVABLE:
        alike = movable
    elif old_mt == MOVABLE:
        alike = z.pageblock_nr_pages - (nr_free + movable)
    if nr_free + alike < z.pageblock_nr_pages // 2:
        return NONE
    _move_freepages_block(z, pfn, old_mt, start_mt)
    return _rmqueue_smallest(z, order, start_mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_claim(z: ZoneState, order: cython.uint, start_mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Claim a pageblock of another type, the largest free page first; NONE if none may be claimed (6.12)."""
    min_order: cython.uint = order
    current: cython.uint = z.max_order + 1
    fallback_mt: cython.uint
    head: cython.uint
    pfn: cython.uint
    if order < z.pageblock_order and alloc_flags & ALLOC_NOFRAGMENT:
        min_order = z.pageblock_order
    while current > min_order:
        current -= 1
        fallback_mt = find_suitable_fallback(z, current, start_mt)
        if fallback_mt == NR_MIGRATETYPES:
            continue
        if not can_steal_fallback(z, current, start_mt):
            break
        head = get_page_from_free_area(z, current, fallback_mt)
        pfn = try_to_claim_block(z, head, current, order, start_mt, fallback_mt)
        if pfn != NONE:
            note_fallback(z, pfn, order, current, start_mt, fallback_mt, True)
            return pfn
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_steal(z: ZoneState, order: cython.uint, start_mt: cython.uint) -> cython.uint:
    """Take one page of another type, the smallest first; the rest stays on that type's lists (6.12)."""
    current: cython.uint
    fallback_mt: cython.uint
    pfn: cython.uint
    for current in range(order, z.max_order + 1):
        fallback_mt = find_suitable_fallback(z, current, start_mt)
        if fallback_mt == NR_MIGRATETYPES:
            continue
        pfn = get_page_from_free_area(z, current, fallback_mt)
        del_page_from_free_list(z, pfn, current)
        expand(z, pfn, order, current, fallback_mt)
        z.taken_type = fallback_mt
        note_fallback(z, pfn, order, current, start_mt, fallback_mt, get_pageblock_migratetype(z, pfn) == start_mt)
        return pfn
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_cma_fallback(z: ZoneState, order: cython.uint) -> cython.uint:
    """Take a block from the CMA lists (__rmqueue_cma_fallback)."""
    return _rmqueue_smallest(z, order, CMA)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_elsewhere(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take a block when the type's own lists have none: from CMA, or from other types.

    Rule "fallback": 6.1 moves free pages of another type to the request's lists and tries those again; since 6.10 (here
    with the claim and steal of 6.12.117) a page is taken where it lies. ``z.rmqueue_mode`` remembers, over a
    bulk of allocations, what was found empty (6.12).
    """
    pfn: cython.uint = NONE
    if z.rmqueue_mode <= RMQUEUE_CMA and alloc_flags & ALLOC_CMA:
        pfn = _rmqueue_cma_fallback(z, order)
    if z.rules[RULE_FALLBACK] == FALLBACK_LARGEST:
        if pfn == NONE and _rmqueue_fallback(z, order, mt, alloc_flags):
            pfn = _rmqueue_smallest(z, order, mt)
        return pfn
    if pfn != NONE:
        z.rmqueue_mode = RMQUEUE_CMA
        return pfn
    if z.rmqueue_mode <= RMQUEUE_CLAIM:
        pfn = _rmqueue_claim(z, order, mt, alloc_flags)
        if pfn != NONE:
            z.rmqueue_mode = RMQUEUE_NORMAL
            return pfn
    if not alloc_flags & ALLOC_NOFRAGMENT:
        pfn = _rmqueue_steal(z, order, mt)
        if pfn != NONE:
            z.rmqueue_mode = RMQUEUE_STEAL
            return pfn
    return NONE


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def cma_holds_most(z: ZoneState, taken: cython.uint) -> cython.bint:
    """Whether more than half of what is free lies in CMA pageblocks, as the counters tell when ``taken`` pages more are gone."""
    cma: cython.longlong = z.nr_free_cma_pages - z.stat_cma_diff
    free: cython.longlong = z.nr_free_pages - z.stat_free_diff - taken
    # where it is not so for the counters as they stand, it is not for what the kernel reads of them, zero at least
    return 2 * cma > free and 2 * zone_page_state(cma, 0) > zone_page_state(free, 0)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take a block: balance with CMA, own lists, CMA, other types (__rmqueue). The caller accounts for ``z.taken_type``."""
    pfn: cython.uint
    if alloc_flags & ALLOC_CMA and cma_holds_most(z, 0):
        pfn = _rmqueue_cma_fallback(z, order)
        if pfn != NONE:
            return pfn
    # always so before 6.12
    if z.rmqueue_mode == RMQUEUE_NORMAL:
        pfn = _rmqueue_smallest(z, order, mt)
        if pfn != NONE:
            return pfn
    return _rmqueue_elsewhere(z, order, mt, alloc_flags)
