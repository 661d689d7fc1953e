"""Free and merge, allocate and split, move a pageblock's free pages.

Source: mm/page_alloc.c. Where releases differ, the function asks ``z.rules`` (release.py names each
rule with its commit). A kernel name with leading underscores has one here.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CMA,
        EIGHT_IN_USE,
        ENOTRECOVERABLE,
        EV_SPLIT,
        EV_ZONE_LOCKED,
        FREE_AREA_HEADS,
        HIGHATOMIC,
        ISOLATE,
        LARGE_WHOLE,
        MERGED_RETYPE,
        MERGE_ANY,
        MERGE_MERGEABLE,
        NONE,
        ORDER_MASK,
        RULE_FREE_LARGE,
        RULE_MERGE,
        RULE_MERGED_TYPES,
        RULE_SPLIT_FREE,
        SPLIT_FREE_SMALLEST,
        SPLIT_FREE_UNCOUNTED,
        STEP_ISOLATE,
        WHY_BUG_MISALIGNED,
    )
    from .zone import (
        ZoneState,
        eight,
        emit,
        get_pageblock_migratetype,
        list_head,
        pageblock_end,
        pageblock_start,
        refuse,
        set_pageblock_migratetype,
        zone_spans,
    )
    from .freelist import del_page_from_free_list, link_between, unlink
    from .watermark import update_far_mark


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def migratetype_is_mergeable(mt: cython.uint) -> cython.bint:
    """Types that can fall back to each other (include/linux/mmzone.h, 5.18, 1dd214b8f21c; seed patch 1)."""
    return mt < HIGHATOMIC


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def held_back(z: ZoneState, diff: cython.longlong) -> cython.longlong:
    """What this CPU goes on holding back of a counter: all up to the threshold, then nothing (__mod_zone_page_state)."""
    if diff > z.stat_threshold or -diff > z.stat_threshold:
        return 0
    return diff


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mod_cma_pages(z: ZoneState, nr_pages: cython.longlong) -> cython.void:
    """Count pages into NR_FREE_CMA_PAGES. Below zero it is read as zero, which the common case must not pass over."""
    below: cython.bint = z.nr_free_cma_pages < 0
    z.nr_free_cma_pages += nr_pages
    if below != (z.nr_free_cma_pages < 0):
        update_far_mark(z)
    if z.stat_threshold:
        z.stat_cma_diff = held_back(z, z.stat_cma_diff + nr_pages)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def mod_other_counters(z: ZoneState, nr_pages: cython.longlong, mt: cython.uint) -> cython.void:
    """Count pages into what a CPU holds back, and into the counter of the type."""
    if z.stat_threshold:
        z.stat_free_diff = held_back(z, z.stat_free_diff + nr_pages)
    if mt == CMA:
        mod_cma_pages(z, nr_pages)
    elif mt >= HIGHATOMIC:
        z.nr_free_highatomic += nr_pages


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def mod_zone_freepage_state(z: ZoneState, nr_pages: cython.longlong, mt: cython.uint) -> cython.void:
    """Count pages into NR_FREE_PAGES and into the counter of the type, if it has one.

    6.1 __mod_zone_freepage_state (include/linux/vmstat.h), 6.12 account_freepages. ISOLATE is the caller's to leave out.
    """
    z.nr_free_pages += nr_pages
    if mt >= z.counted_twice:
        mod_other_counters(z, nr_pages, mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def account_freepages(z: ZoneState, nr_pages: cython.longlong, mt: cython.uint) -> cython.void:
    """Count pages of a type; those on ISOLATE lists are not counted (6.12, mm/page_alloc.c)."""
    if mt != ISOLATE:
        mod_zone_freepage_state(z, nr_pages, mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def change_pageblock_range(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.void:
    """Give all pageblocks of a block of at least pageblock order one type (6.1)."""
    i: cython.uint
    for i in range(1 << (order - z.pageblock_order)):
        set_pageblock_migratetype(z, pfn + (i << z.pageblock_order), mt)


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
def buddy_merge_likely(
    z: ZoneState, state: cython.p_uchar, pfn: cython.ulonglong, size: cython.ulonglong, order: cython.uint
) -> cython.bint:
    """Whether the buddy of the would-be parent is free, so that merging is likely soon (6.1). ``size``: 1 << order."""
    if order + 1 >= z.max_order:
        return False
    # the parent's first frame, and the bit above
    return state[(pfn | size) ^ 3 * size] == (BUDDY | (order + 1))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pageblocks_merge(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.bint:
    """Whether a block of at least a pageblock, freed under a type, merges with its buddy: it is free, and the types fit.

    Rule "merged types": from 6.10 on a buddy of another type that is taken in gives up its type (mm: page_alloc: fix up
    block types when merging compatible blocks).
    """
    buddy: cython.uint = pfn ^ (1 << order)
    buddy_mt: cython.uint
    if order >= z.max_order or not page_is_buddy(z, buddy, order):
        return False
    buddy_mt = get_pageblock_migratetype(z, buddy)
    if buddy_mt != mt:
        if not buddy_types_merge(z, mt, buddy_mt):
            return False
        if z.rules[RULE_MERGED_TYPES] == MERGED_RETYPE:
            change_pageblock_range(z, buddy, order, mt)
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def free_in(
    z: ZoneState,
    nxt: cython.p_uint,
    prv: cython.p_uint,
    state: cython.p_uchar,
    pfn: cython.ulonglong,
    order: cython.uint,
    mt: cython.uint,
    to_tail: cython.bint,
) -> cython.void:
    """``_free_one_page`` in the zone's arrays, which the caller has at hand.

    64 bits wide, and read once: C extends no index and reads nothing from the zone again after a store to a frame.
    """
    first: cython.ulonglong = pfn
    size: cython.ulonglong = cython.cast(cython.ulonglong, 1) << order
    # state of the buddy that it merges with
    free: cython.uchar = BUDDY | order
    buddy: cython.ulonglong
    head: cython.ulonglong
    if mt != ISOLATE:
        mod_zone_freepage_state(z, size, mt)
    while free < z.merge_by_type or pageblocks_merge(z, cython.cast(cython.uint, first), free & ORDER_MASK, mt):
        buddy = first ^ size
        if state[buddy] != free:
            break
        # del_page_from_free_list
        unlink(nxt, prv, buddy)
        state[buddy] = 0
        first &= buddy
        size += size
        free += 1
    state[first] = free
    head = list_head(z, free & ORDER_MASK, mt)
    if to_tail or buddy_merge_likely(z, state, first, size, free & ORDER_MASK):
        link_between(nxt, prv, first, prv[head], head)
    else:
        link_between(nxt, prv, first, head, nxt[head])


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _free_one_page(
    z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint, to_tail: cython.bint
) -> cython.void:
    """Free a block: count it under the caller's type, merge it upwards, list it (__free_one_page, 6.1).

    The type is that of the block's first pageblock even if the block spans several: the root of the
    accounting error that the seed is about.
    """
    free_in(z, z.nxt, z.prv, z.state, pfn, order, mt, to_tail)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_large_buddy(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Free a block above pageblock order a pageblock at a time, each under its own type (6.10)."""
    end: cython.uint = pfn + (1 << order)
    while pfn < end:
        _free_one_page(z, pfn, z.pageblock_order, get_pageblock_migratetype(z, pfn), False)
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def free_one_page(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Free a block to the buddy lists under its pageblocks' types.

    Rule "free large": up to 6.9 a block above pageblock order is freed whole under the type of its first pageblock.
    """
    if order <= z.pageblock_order or z.rules[RULE_FREE_LARGE] == LARGE_WHOLE:
        _free_one_page(z, pfn, order, get_pageblock_migratetype(z, pfn), False)
    else:
        split_large_buddy(z, pfn, order)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_free_page(z: ZoneState, pfn: cython.uint, order: cython.uint, offset: cython.uint) -> cython.int:
    """Cut a free block at an offset and list each piece under its own pageblock's type (6.1); 0 or -ENOTRECOVERABLE.

    Pieces: the largest that are aligned and fit before the offset, then the rest. Rule "split free": two mistakes of its
    first versions can be had back; a piece that is not aligned is a BUG.
    """
    end: cython.uint = pfn + (1 << order)
    at: cython.uint = pfn
    piece: cython.uint
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    if offset == 0:
        return 0
    if z.recording:
        emit(z, EV_SPLIT, pfn, order, offset)
    if mt != ISOLATE and z.rules[RULE_SPLIT_FREE] != SPLIT_FREE_UNCOUNTED:
        mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), mt)
    del_page_from_free_list(z, pfn, order)
    while at < end:
        piece = 0
        if z.rules[RULE_SPLIT_FREE] == SPLIT_FREE_SMALLEST:
            while not offset >> piece & 1:
                piece += 1
            if at & ((1 << piece) - 1):
                refuse(z, STEP_ISOLATE, WHY_BUG_MISALIGNED, at)
                return -ENOTRECOVERABLE
        else:
            # natural alignment is that of the absolute pfn; the base is aligned to every free block's size
            while piece < order and not at & (1 << piece) and offset >> (piece + 1):
                piece += 1
        _free_one_page(z, at, piece, get_pageblock_migratetype(z, at), False)
        at += 1 << piece
        offset -= 1 << piece
        if offset == 0:
            offset = end - at
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def expand_in(
    nxt: cython.p_uint,
    prv: cython.p_uint,
    state: cython.p_uchar,
    pfn: cython.ulonglong,
    low: cython.uint,
    high: cython.uint,
    head: cython.ulonglong,
) -> cython.void:
    """``expand`` in the zone's arrays, which the caller has at hand; ``head``: list of the order high."""
    free: cython.uchar = BUDDY | high
    size: cython.ulonglong = cython.cast(cython.ulonglong, 1) << high
    least: cython.ulonglong = cython.cast(cython.ulonglong, 1) << low
    half: cython.ulonglong
    while size > least:
        size >>= 1
        free -= 1
        head -= FREE_AREA_HEADS
        half = pfn + size
        state[half] = free
        link_between(nxt, prv, half, head, head)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def expand(z: ZoneState, pfn: cython.uint, low: cython.uint, high: cython.uint, mt: cython.uint) -> cython.void:
    """Halve a block from order high to low; each upper half goes to its list, which is empty.

    Empty because the block was taken from the smallest order that has one.
    """
    expand_in(z.nxt, z.prv, z.state, pfn, low, high, list_head(z, high, mt))


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def take_in(
    z: ZoneState,
    nxt: cython.p_uint,
    prv: cython.p_uint,
    state: cython.p_uchar,
    order: cython.uint,
    mt: cython.uint,
) -> cython.uint:
    """``_rmqueue_smallest`` in the zone's arrays, which the caller has at hand; unnoted."""
    first: cython.ulonglong = list_head(z, order, mt)
    head: cython.ulonglong = first
    pfn: cython.uint
    current: cython.uint
    # an empty list's head points to itself
    while nxt[head] == cython.cast(cython.uint, head):
        head += FREE_AREA_HEADS
    pfn = nxt[head]
    if pfn == NONE:
        # the lists above max order
        return NONE
    current = order + (head - first) // FREE_AREA_HEADS
    # del_page_from_free_list
    unlink(nxt, prv, pfn)
    state[pfn] = 0
    if current > order:
        expand_in(nxt, prv, state, pfn, order, current, head)
    return pfn


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _rmqueue_smallest(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.uint:
    """Take the first block of the smallest order that has one, and split it (__rmqueue_smallest)."""
    pfn: cython.uint = take_in(z, z.nxt, z.prv, z.state, order, mt)
    if pfn == NONE:
        return NONE
    z.taken_type = mt
    if z.recording:
        emit(z, EV_ZONE_LOCKED, pfn, order, mt)
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_freepages_block(z: ZoneState, pfn: cython.uint, mt: cython.uint) -> cython.uint:
    """Move the free blocks of a pageblock to the tail of another type's lists; returns pages moved (6.1).

    A free block is found by its head and counted whole even where it reaches beyond the pageblock;
    the second half of a larger free block has no head, so nothing moves. No merging, no accounting.
    A pageblock whose end lies outside the zone is left alone.
    """
    # see free_in
    nxt: cython.p_uint = z.nxt
    prv: cython.p_uint = z.prv
    state: cython.p_uchar = z.state
    at: cython.ulonglong = pageblock_start(z, pfn)
    end: cython.ulonglong = pageblock_end(z, pfn)
    lists: cython.ulonglong = list_head(z, 0, mt)
    stop: cython.ulonglong
    moved: cython.ulonglong = 0
    # free blocks of one size come in a row: size and list of the last one
    last: cython.uchar = BUDDY
    size: cython.ulonglong = 1
    head: cython.ulonglong = lists
    s: cython.uchar
    if not zone_spans(z, cython.cast(cython.uint, at)):
        at = pfn
    if not zone_spans(z, cython.cast(cython.uint, end - 1)):
        return 0
    if state[at] == 0 and covered_by_free_block(z, cython.cast(cython.uint, at)):
        return 0
    while at < end:
        while at + 8 <= end and eight(state, at) == EIGHT_IN_USE:
            at += 8
        stop = min(at + 32, end)
        while at < stop:
            s = state[at]
            # most are single pages in use
            if s == ALLOC:
                at += 1
                continue
            if not s & BUDDY:
                # a tail has state 0, thus order 0
                at += cython.cast(cython.ulonglong, 1) << (s & ORDER_MASK)
                continue
            if s != last:
                last = s
                size = cython.cast(cython.ulonglong, 1) << (s & ORDER_MASK)
                head = lists + (s & ORDER_MASK) * FREE_AREA_HEADS
            # move_to_free_list
            unlink(nxt, prv, at)
            link_between(nxt, prv, at, prv[head], head)
            moved += size
            at += size
    return cython.cast(cython.uint, moved)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def block_is_whole(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the pageblock of a frame lies in the zone with both ends (prep_move_freepages_block, 6.12)."""
    return zone_spans(z, pageblock_start(z, pfn)) and zone_spans(z, pageblock_end(z, pfn) - 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _move_freepages_block(z: ZoneState, pfn: cython.uint, old_mt: cython.uint, new_mt: cython.uint) -> cython.uint:
    """Move a pageblock's free pages to another type's lists, recount them, retype it; pages moved (6.12).

    The kernel recounts block by block, which shows where counters lag.
    """
    moved: cython.uint = move_freepages_block(z, pfn, new_mt)
    at: cython.uint = max(pageblock_start(z, pfn), z.zone_start)
    end: cython.uint = pageblock_end(z, pfn)
    size: cython.longlong = moved
    if not z.stat_threshold or moved == 0:
        account_freepages(z, -size, old_mt)
        account_freepages(z, size, new_mt)
        at = end
    while at < end:
        size = 1 << (z.state[at] & ORDER_MASK)
        if z.state[at] & BUDDY:
            account_freepages(z, -size, old_mt)
            account_freepages(z, size, new_mt)
        at += cython.cast(cython.uint, size)
    set_pageblock_migratetype(z, pfn, new_mt)
    return moved


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def covered_by_free_block(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the frame, the first of a pageblock and no head, lies in a free block, and no page beneath need be looked at.

    The kernel looks at each page of the pageblock; only a free block over pages in use makes a difference (``overlap``).
    """
    order: cython.uint
    head: cython.uint
    if z.overlapping and z.covered[pfn >> z.pageblock_order]:
        return False
    for order in range(z.pageblock_order + 1, z.max_order + 1):
        head = pfn >> order << order
        if z.state[head]:
            return z.state[head] & BUDDY and (z.state[head] & ORDER_MASK) >= order
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_large_buddy(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Head of the free page that covers a frame, or the frame itself (6.12; the order walk of alloc_contig_range, 6.1)."""
    outer: cython.uint = pfn
    order: cython.uint = 0
    while not z.state[outer] & BUDDY:
        order += 1
        if order > z.max_order:
            return pfn
        outer = outer >> order << order
    if outer != pfn and outer + (1 << (z.state[outer] & ORDER_MASK)) <= pfn:
        return pfn
    return outer


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def move_freepages_block_isolate(z: ZoneState, pfn: cython.uint, mt: cython.uint) -> cython.bint:
    """Retype a pageblock for isolation or its end and move its free pages; False: it reaches out of the zone (6.12).

    A free page that covers more than this pageblock is taken off its list and freed again a pageblock at a time.
    """
    head: cython.uint
    order: cython.uint
    if not block_is_whole(z, pfn):
        return False
    pfn = pageblock_start(z, pfn)
    if z.pageblock_order != z.max_order:
        head = find_large_buddy(z, pfn)
        order = z.state[head] & ORDER_MASK
        if head != pfn or (z.state[pfn] & BUDDY and order > z.pageblock_order):
            if z.recording:
                emit(z, EV_SPLIT, head, order, pfn - head)
            account_freepages(z, -(cython.cast(cython.longlong, 1) << order), get_pageblock_migratetype(z, head))
            del_page_from_free_list(z, head, order)
            set_pageblock_migratetype(z, pfn, mt)
            free_one_page(z, head, order)
            return True
    _move_freepages_block(z, pfn, get_pageblock_migratetype(z, pfn), mt)
    return True
