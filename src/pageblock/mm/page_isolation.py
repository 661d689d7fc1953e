"""Isolate pageblocks, give them back, and say what stands in the way.

Source: mm/page_isolation.c. ``has_unmovable_pages`` lives here since the seed's patch 2.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BOUNDARY_OWN,
        BUDDY,
        CLASS_MASK,
        CMA,
        COMPOUND_REFUSES,
        C_ANON,
        C_COMPOUND,
        C_FILE,
        C_HOLE,
        C_HUGETLB,
        C_HWPOISON,
        C_MOVABLE_OPS,
        C_OFFLINE,
        C_RESERVED,
        C_THP,
        EBUSY,
        ENOTRECOVERABLE,
        EV_ISOLATE,
        EV_TEST_ISOLATED,
        EV_UNISOLATE,
        EV_UNMOVABLE,
        ISOLATE,
        ISOLATION_BESIDE,
        MEMORY_OFFLINE,
        MOVABLE,
        MOVE_SPLITS,
        NONE,
        NO_EIGHT,
        ONPCP,
        ONE_PAGEBLOCK_ONCE,
        ORDER_MASK,
        PG_COMPOUND,
        RULE_BLOCK_MOVE,
        RULE_BOUNDARY_TYPE,
        RULE_CHECK_SCOPE,
        RULE_COMPOUND_SIZE,
        RULE_ISOLATION,
        RULE_MOVABLE_COMPOUND,
        RULE_ONE_PAGEBLOCK,
        RULE_SCHEME,
        RULE_SPAN,
        RULE_UNSET_BUDDY,
        SCHEME_HYGIENIC,
        SCHEME_SINGLE_PAGEBLOCK,
        SCOPE_REQUEST,
        SIZE_OF_PAGE,
        SPAN_MAX_ORDER,
        STEP_ISOLATE,
        STEP_TEST,
        UNSET_FREE_BUDDY,
        WHY_BUG_ENDLESS,
        WHY_BUSY,
        WHY_CMA_TYPE,
        WHY_COMPOUND,
        WHY_ISOLATED,
        WHY_NONE,
        WHY_NOT_ISOLATED,
        WHY_NOT_LRU,
        WHY_RESERVED,
        WHY_STRADDLES,
        WHY_ZONE_EDGE,
    )
    from .zone import (
        ZoneState,
        compound_head,
        eight,
        emit,
        first_valid_page,
        get_pageblock_migratetype,
        page_is_online,
        pageblock_end,
        pageblock_start,
        refuse,
        set_pageblock_migratetype,
    )
    from .freelist import del_page_from_free_list
    from .page_alloc import (
        migratetype_is_mergeable,
        _free_one_page,
        covered_by_free_block,
        mod_zone_freepage_state,
        move_freepages_block,
        move_freepages_block_isolate,
        page_is_buddy,
        split_free_page,
    )
    from .migrate import _alloc_contig_migrate_range


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def why_unmovable(z: ZoneState, head: cython.uint, isolation_flags: cython.uint) -> cython.uint:
    """Why an allocated head (state ALLOC) counts as unmovable, or WHY_NONE (has_unmovable_pages, 6.1).

    A pinned page passes: isolation cannot see references. PageReserved fails even in ZONE_MOVABLE. Rule "movable
    compound": 6.19 asks of a compound page that it be hugetlb or on the LRU.
    """
    f: cython.uint = z.flags[head]
    c: cython.uint = f & CLASS_MASK
    if c == C_RESERVED or c == C_HOLE:
        return WHY_RESERVED
    if c == C_MOVABLE_OPS and f & PG_COMPOUND and not z.zone_movable:
        return WHY_COMPOUND if z.rules[RULE_MOVABLE_COMPOUND] == COMPOUND_REFUSES else WHY_NONE
    if c == C_ANON or c == C_FILE or c == C_THP or c == C_MOVABLE_OPS or c == C_HUGETLB or z.zone_movable:
        return WHY_NONE
    if isolation_flags & MEMORY_OFFLINE and (c == C_HWPOISON or c == C_OFFLINE):
        return WHY_NONE
    return WHY_COMPOUND if f & PG_COMPOUND or c == C_COMPOUND else WHY_NOT_LRU


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def has_unmovable_pages(
    z: ZoneState, start: cython.uint, end: cython.uint, mt: cython.uint, isolation_flags: cython.uint
) -> cython.uint:
    """First page of [start, end), inside one pageblock, that forbids isolation, or NONE (6.1).

    A CMA pageblock passes whole for a CMA request and fails whole for any other. Pages without a
    reference pass: free, on a per-cpu list, or the tails of a block that is not compound.
    """
    state: cython.p_uchar = z.state
    flags: cython.p_uchar = z.flags
    # bit set of the classes that pass for every request and release; a compound page counts 32 higher
    passing: cython.ulonglong = 1 << C_ANON | 1 << C_FILE | 1 << C_THP | 1 << C_HUGETLB
    at: cython.ulonglong = start
    stop: cython.ulonglong
    # states and flags of eight frames that pass: eight others like them do, too
    passed: cython.ulonglong = NO_EIGHT
    passed_flags: cython.ulonglong = 0
    s: cython.uint
    head: cython.uint
    why: cython.uint
    if get_pageblock_migratetype(z, start) == CMA:
        if mt == CMA:
            return NONE
        z.refused_why = WHY_CMA_TYPE
        return start
    passing |= passing << PG_COMPOUND | 1 << C_MOVABLE_OPS
    if state[start] == 0:
        # only the first page can be a tail whose head lies before the range
        if pageblock_start(z, start) == start and covered_by_free_block(z, start):
            return NONE
        # the seed's patch 3 asks for nothing of a pageblock behind the request
        head = compound_head(z, start) if start < end else NONE
        if head != NONE:
            why = why_unmovable(z, head, isolation_flags)
            if why:
                z.refused_why = why
                return start
            at = head + (cython.cast(cython.ulonglong, 1) << (state[head] & ORDER_MASK))
    while at < end:
        while at + 8 <= end and eight(state, at) == passed and eight(flags, at) == passed_flags:
            at += 8
        stop = min(at + 8, cython.cast(cython.ulonglong, end))
        if stop == at + 8:
            passed = eight(state, at)
            passed_flags = eight(flags, at)
        while at < stop:
            s = state[at]
            if s & ALLOC and not passing >> (flags[at] & (CLASS_MASK | PG_COMPOUND)) & 1:
                why = why_unmovable(z, cython.cast(cython.uint, at), isolation_flags)
                if why:
                    z.refused_why = why
                    return cython.cast(cython.uint, at)
            # a tail has state 0, thus order 0
            at += cython.cast(cython.uint, 1) << (s & ORDER_MASK)
        if at > stop:
            # one of them is larger: rather a step of its size
            passed = NO_EIGHT
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_migratetype_isolate(
    z: ZoneState, pfn: cython.uint, mt: cython.uint, isolation_flags: cython.uint, start: cython.uint, end: cython.uint
) -> cython.int:
    """Isolate the pageblock of a frame if [start, end) has no unmovable page in it; 0 or -EBUSY (6.1).

    Its free pages leave the counters. Rule "block move": up to 6.9 they are found by their heads, so that a free page that
    starts here and reaches further goes with it and one that started earlier stays (the seed's accounting issue); since
    6.10 such a page is cut into pageblocks, and a pageblock that reaches out of the zone is refused.
    """
    old_mt: cython.uint = get_pageblock_migratetype(z, pfn)
    check_start: cython.uint = max(pfn, start)
    check_end: cython.uint = min(pageblock_end(z, check_start), end)
    unmovable: cython.uint
    if old_mt == ISOLATE:
        refuse(z, STEP_ISOLATE, WHY_ISOLATED, pfn)
        return -EBUSY
    z.refused_why = WHY_NONE
    unmovable = has_unmovable_pages(z, check_start, check_end, mt, isolation_flags)
    if unmovable != NONE:
        refuse(z, STEP_ISOLATE, z.refused_why, unmovable)
        if z.recording:
            emit(z, EV_UNMOVABLE, unmovable)
        return -EBUSY
    if z.rules[RULE_BLOCK_MOVE] == MOVE_SPLITS:
        if not move_freepages_block_isolate(z, pfn, ISOLATE):
            refuse(z, STEP_ISOLATE, WHY_ZONE_EDGE, pfn)
            return -EBUSY
    else:
        set_pageblock_migratetype(z, pfn, ISOLATE)
        mod_zone_freepage_state(z, -cython.cast(cython.longlong, move_freepages_block(z, pfn, ISOLATE)), old_mt)
    # the kernel keeps a bit beside the type: here both are known while the pageblock is isolated
    z.type_beneath[pfn >> z.pageblock_order] = old_mt
    z.nr_isolate_pageblock += 1
    if z.recording:
        emit(z, EV_ISOLATE, pageblock_start(z, pfn), old_mt)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def retype_beyond(z: ZoneState, isolated: cython.uint, end: cython.uint) -> cython.void:
    """What taking a free page off an isolated pageblock's list does to other pageblocks that it covers (until 6.9).

    Those in [isolated, end) of an ordinary type become MOVABLE: mm/page_alloc.c __isolate_free_page. Since 6.10 no free
    page covers an isolated pageblock and another.
    """
    block: cython.uint
    for block in range((isolated + z.pageblock_nr_pages - 1) >> z.pageblock_order, end >> z.pageblock_order):
        if migratetype_is_mergeable(z.pageblock_mt[block]):
            z.pageblock_mt[block] = MOVABLE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unset_migratetype_isolate(z: ZoneState, pfn: cython.uint, mt: cython.uint) -> cython.void:
    """Give an isolated pageblock its type; its free pages go to the tail of that type's lists and are counted.

    A free page of at least a pageblock is freed anew if it may merge with its buddy. Rule "unset buddy":
    6.1 asks that the buddy be a free page of the same order; 5.15 only that its pageblock be not isolated. Rule "isolation":
    6.19 gives it the type that it had, and ``mt`` means nothing.
    """
    s: cython.uint = z.state[pfn]
    order: cython.uint = s & ORDER_MASK
    buddy: cython.uint
    merge: cython.bint = False
    if get_pageblock_migratetype(z, pfn) != ISOLATE:
        return
    if z.rules[RULE_ISOLATION] == ISOLATION_BESIDE:
        mt = z.type_beneath[pfn >> z.pageblock_order]
    if s & BUDDY and order >= z.pageblock_order and order < z.max_order:
        buddy = pfn ^ (1 << order)
        if z.rules[RULE_UNSET_BUDDY] == UNSET_FREE_BUDDY:
            merge = page_is_buddy(z, buddy, order) and get_pageblock_migratetype(z, buddy) != ISOLATE
        else:
            merge = buddy < z.nr_frames and get_pageblock_migratetype(z, buddy) != ISOLATE
    if merge:
        del_page_from_free_list(z, pfn, order)
        retype_beyond(z, pfn + 1, pfn + (1 << order))
        set_pageblock_migratetype(z, pfn, mt)
        _free_one_page(z, pfn, order, mt, True)
    elif z.rules[RULE_BLOCK_MOVE] == MOVE_SPLITS:
        move_freepages_block_isolate(z, pfn, mt)
    else:
        mod_zone_freepage_state(z, move_freepages_block(z, pfn, mt), mt)
        set_pageblock_migratetype(z, pfn, mt)
    z.nr_isolate_pageblock -= 1
    if z.recording:
        emit(z, EV_UNISOLATE, pageblock_start(z, pfn), mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def undo_isolate_page_range(z: ZoneState, start: cython.uint, end: cython.uint, mt: cython.uint) -> cython.void:
    """Give every isolated pageblock of [start, end) the type, ascending (6.1); whoever isolated it."""
    pfn: cython.uint = pageblock_start(z, start)
    page: cython.uint
    while pfn < end:
        page = first_valid_page(z, pfn, z.pageblock_nr_pages)
        if page != NONE and get_pageblock_migratetype(z, page) == ISOLATE:
            unset_migratetype_isolate(z, page, mt)
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_straddling_page(z: ZoneState, pfn: cython.uint, head: cython.uint) -> cython.uint:
    """Empty a compound page that crosses a pageblock boundary, so that its free page can be split (6.1).

    The pageblock of ``pfn`` is isolated meanwhile, so that nobody takes the freed page (88ee134320b8).
    Returns the head of the free page that then covers ``pfn``, or NONE.
    """
    end: cython.uint = head + (1 << (z.state[head] & ORDER_MASK))
    page_mt: cython.uint = get_pageblock_migratetype(z, pfn)
    outer: cython.uint = pfn
    order: cython.uint = 0
    rc: cython.int
    if page_mt != ISOLATE and set_migratetype_isolate(z, pfn, page_mt, 0, head, end):
        return NONE
    rc = _alloc_contig_migrate_range(z, head, end)
    if page_mt != ISOLATE:
        unset_migratetype_isolate(z, pfn, page_mt)
    if rc:
        return NONE
    while not z.state[outer] & BUDDY:
        order += 1
        if order > z.max_order:
            refuse(z, STEP_ISOLATE, WHY_STRADDLES, pfn)
            return NONE
        outer = outer >> order << order
    if outer + (1 << (z.state[outer] & ORDER_MASK)) <= pfn:
        # the page stayed, being pinned, and the walk met a free page below it; the kernel would scan on for ever
        refuse(z, STEP_ISOLATE, WHY_STRADDLES, pfn)
        return NONE
    return outer


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def page_moves_whole(z: ZoneState, head: cython.uint) -> cython.bint:
    """Whether a compound page across a boundary may be migrated: hugetlb, LRU or movable_ops (6.1)."""
    c: cython.uint = z.flags[head] & CLASS_MASK
    return c == C_HUGETLB or c == C_THP or c == C_MOVABLE_OPS or c == C_ANON or c == C_FILE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_single_pageblock(
    z: ZoneState,
    boundary: cython.uint,
    isolate_before: cython.bint,
    skip_isolation: cython.bint,
    mt: cython.uint,
    isolation_flags: cython.uint,
) -> cython.int:
    """Isolate the pageblock at a boundary and cut what crosses it; 0, -EBUSY or a BUG (5.19 to 6.9, b2c9e2fbba32).

    The pageblock is checked whole, so an unmovable page outside the request refuses it. Since 6.10 free pages are cut as
    the pageblock is isolated, and a compound page that crosses the boundary is passed over if it is hugetlb and
    refuses otherwise. Rules "boundary type" and "compound size": mistakes of its first versions.
    """
    block: cython.uint = boundary - z.pageblock_nr_pages if isolate_before else boundary
    pfn: cython.uint = max(block >> z.max_order << z.max_order, z.zone_start)
    s: cython.uint
    size: cython.uint
    head: cython.uint
    if z.rules[RULE_BOUNDARY_TYPE] == BOUNDARY_OWN:
        mt = get_pageblock_migratetype(z, block)
    if not skip_isolation:
        if set_migratetype_isolate(z, block, mt, isolation_flags, block, block + z.pageblock_nr_pages):
            return -EBUSY
    if isolate_before:
        if boundary >= z.zone_end or not page_is_online(z, boundary):
            return 0
    elif boundary == 0 or not page_is_online(z, boundary - 1):
        return 0
    while pfn < boundary:
        s = z.state[pfn]
        size = 1
        if s & BUDDY:
            size = 1 << (s & ORDER_MASK)
            if size > boundary - pfn and split_free_page(z, pfn, s & ORDER_MASK, boundary - pfn):
                return -ENOTRECOVERABLE
        elif s & ALLOC and not z.flags[pfn] & PG_COMPOUND:
            size = 1 << (s & ORDER_MASK)
        elif s & ALLOC or s == 0:
            head = pfn if s else compound_head(z, pfn)
            if head != NONE:
                if head != pfn and z.rules[RULE_COMPOUND_SIZE] == SIZE_OF_PAGE:
                    # a tail counts as one page: the scan goes on behind the head, in the tails, again
                    refuse(z, STEP_ISOLATE, WHY_BUG_ENDLESS, pfn)
                    return -ENOTRECOVERABLE
                size = head + (1 << (z.state[head] & ORDER_MASK)) - pfn
                if size > boundary - pfn and z.rules[RULE_SCHEME] == SCHEME_HYGIENIC:
                    if z.flags[head] & CLASS_MASK != C_HUGETLB:
                        refuse(z, STEP_ISOLATE, WHY_STRADDLES, pfn)
                        if not skip_isolation:
                            unset_migratetype_isolate(z, block, mt)
                        return -EBUSY
                elif size > boundary - pfn:
                    head = migrate_straddling_page(z, pfn, head) if page_moves_whole(z, head) else NONE
                    if head == NONE:
                        if z.refused_why == WHY_NONE:
                            refuse(z, STEP_ISOLATE, WHY_STRADDLES, pfn)
                        if not skip_isolation:
                            unset_migratetype_isolate(z, block, mt)
                        return -EBUSY
                    pfn = head
                    continue
        elif s & ONPCP:
            size = 1 << (s & ORDER_MASK)
        if size >= boundary - pfn:
            break
        pfn += size
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_boundaries_first(
    z: ZoneState, start: cython.uint, end: cython.uint, mt: cython.uint, isolation_flags: cython.uint
) -> cython.int:
    """start_isolate_page_range of 6.1: the first pageblock, the last, then those between, ascending.

    Rule "one pageblock": a first version isolated the only pageblock of a range twice, and failed.
    """
    first: cython.uint = pageblock_start(z, start)
    stop: cython.uint = pageblock_end(z, end - 1)
    last: cython.uint = stop - z.pageblock_nr_pages
    pfn: cython.uint = first + z.pageblock_nr_pages
    page: cython.uint
    isolated: cython.bint = first == last and z.rules[RULE_ONE_PAGEBLOCK] == ONE_PAGEBLOCK_ONCE
    rc: cython.int
    z.refused_why = WHY_NONE
    rc = isolate_single_pageblock(z, first, False, False, mt, isolation_flags)
    if rc:
        return rc
    rc = isolate_single_pageblock(z, stop, True, isolated, mt, isolation_flags)
    if rc:
        if rc != -ENOTRECOVERABLE:
            unset_migratetype_isolate(z, first, mt)
        return rc
    while pfn < last:
        page = first_valid_page(z, pfn, z.pageblock_nr_pages)
        if page != NONE and set_migratetype_isolate(z, page, mt, isolation_flags, start, end):
            undo_isolate_page_range(z, first, pfn, mt)
            unset_migratetype_isolate(z, last, mt)
            return -EBUSY
        pfn += z.pageblock_nr_pages
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolation_start(z: ZoneState, start: cython.uint) -> cython.uint:
    """Where isolation begins. Rule "span": 5.15 and the seed round to max order (pfn_max_align_down)."""
    order: cython.uint = z.pageblock_order
    if z.rules[RULE_SPAN] == SPAN_MAX_ORDER:
        order = max(order, z.max_order)
    return start >> order << order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolation_end(z: ZoneState, end: cython.uint) -> cython.uint:
    """Where isolation ends (pfn_max_align_up); see ``isolation_start``."""
    order: cython.uint = z.pageblock_order
    if z.rules[RULE_SPAN] == SPAN_MAX_ORDER:
        order = max(order, z.max_order)
    return (((end - 1) >> order) + 1) << order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_ascending(
    z: ZoneState,
    start: cython.uint,
    end: cython.uint,
    check_start: cython.uint,
    check_end: cython.uint,
    mt: cython.uint,
    undo: cython.bint,
    isolation_flags: cython.uint = 0,
) -> cython.int:
    """start_isolate_page_range of 5.15: pageblocks of [start, end) ascending.

    Only [check_start, check_end) is searched for unmovable pages: all of it in 5.15, the request with the
    seed's patch 3. On failure the pageblocks before the failing one get ``mt``, unless the caller
    restores them itself (``undo`` false, seed's patch 4).

    A window may reach out of the zone: the pageblock there is a hole's or another zone's, and refuses as reserved.
    """
    pfn: cython.uint = start
    page: cython.uint
    refused: cython.bint
    while pfn < end:
        page = first_valid_page(z, pfn, z.pageblock_nr_pages)
        if page != NONE:
            refused = set_migratetype_isolate(z, page, mt, isolation_flags, check_start, check_end) != 0
        else:
            refused = check_start <= pfn < check_end and (
                pfn + z.pageblock_nr_pages <= z.zone_start or pfn >= z.zone_end
            )
            if refused:
                refuse(z, STEP_ISOLATE, WHY_RESERVED, pfn)
        if refused:
            if undo:
                undo_isolate_page_range(z, start, pfn, mt)
            return -EBUSY
        pfn += z.pageblock_nr_pages
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_past_zone(
    z: ZoneState, start: cython.uint, check_start: cython.uint, mt: cython.uint, undo: cython.bint
) -> cython.int:
    """start_isolate_page_range of a range that reaches past the zone's end: -EBUSY, for reserved pages lie there.

    What comes before they are met has been done and undone: 5.15 isolates all pageblocks up to theirs, 6.1 the first one
    (and migrates what crosses into it), as the last is next. A pageblock that holds the zone's end is theirs.
    """
    first: cython.uint = isolation_start(z, start)
    stop: cython.uint = pageblock_start(z, z.zone_end)
    rc: cython.int
    if first < stop:
        if z.rules[RULE_SCHEME] >= SCHEME_SINGLE_PAGEBLOCK:
            rc = isolate_single_pageblock(z, first, False, False, mt, 0)
            if rc:
                return rc
        elif isolate_ascending(z, first, stop, check_start, stop, mt, undo):
            return -EBUSY
        if undo:
            undo_isolate_page_range(z, first, stop, mt)
    refuse(z, STEP_ISOLATE, WHY_RESERVED, z.zone_end)
    return -EBUSY


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def start_isolate_page_range(
    z: ZoneState, start: cython.uint, end: cython.uint, mt: cython.uint, isolation_flags: cython.uint
) -> cython.int:
    """Isolate the pageblocks of [start, end), rounded as the release rounds; 0, or -EBUSY and nothing stays so."""
    first: cython.uint = isolation_start(z, start)
    stop: cython.uint = min(isolation_end(z, end), z.nr_frames)
    if end > z.zone_end:
        return isolate_past_zone(z, start, start if z.rules[RULE_CHECK_SCOPE] == SCOPE_REQUEST else first, mt, True)
    if z.rules[RULE_SCHEME] >= SCHEME_SINGLE_PAGEBLOCK:
        return isolate_boundaries_first(z, start, end, mt, isolation_flags)
    if z.rules[RULE_CHECK_SCOPE] == SCOPE_REQUEST:
        return isolate_ascending(z, first, stop, start, end, mt, True)
    return isolate_ascending(z, first, stop, first, stop, mt, True)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def test_pages_isolated(z: ZoneState, start: cython.uint, end: cython.uint, isolation_flags: cython.uint) -> cython.int:
    """Whether [start, end) is isolated and free; 0 or -EBUSY (6.1).

    First the types, stepping a pageblock from ``start`` (not aligned), then the pages. A free page
    may reach beyond the end.
    """
    pfn: cython.uint = start
    page: cython.uint
    c: cython.uint
    why: cython.uint = WHY_NONE
    while pfn < end:
        page = first_valid_page(z, pfn, min(z.pageblock_nr_pages, z.zone_end - pfn))
        if page != NONE and get_pageblock_migratetype(z, page) != ISOLATE:
            why = WHY_NOT_ISOLATED
            break
        pfn += z.pageblock_nr_pages
    if start >= end:
        # the kernel finds no page at all in an empty range
        why = WHY_BUSY
    elif why == WHY_NONE:
        pfn = start
        while pfn < end:
            c = z.flags[pfn] & CLASS_MASK
            if z.state[pfn] & BUDDY:
                pfn += 1 << (z.state[pfn] & ORDER_MASK)
            elif isolation_flags & MEMORY_OFFLINE and z.state[pfn] & ALLOC and (c == C_HWPOISON or c == C_OFFLINE):
                pfn += 1
            else:
                why = WHY_BUSY
                break
    if z.recording:
        emit(z, EV_TEST_ISOLATED, start, end, pfn)
    if why == WHY_NONE:
        return 0
    refuse(z, STEP_TEST, why, pfn)
    return -EBUSY
