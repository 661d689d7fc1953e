"""alloc_contig_range and what is built on it.

Source: mm/page_alloc.c: alloc_contig_range, free_contig_range, alloc_contig_pages (5.15, 6.1); for the
release ``seed`` the cover letter's description of patch 4 and what it did on a running kernel.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        CONTIG_SKIPS_HUGETLB,
        C_HOLE,
        C_HUGETLB,
        C_RESERVED,
        EBUSY,
        ENOTRECOVERABLE,
        EV_SPLIT,
        EV_TAKE,
        FAILED_TYPES_OWN,
        FAILED_TYPES_REQUEST,
        FAILED_UNDOES,
        INTERRUPTED_RESTORES,
        ISOLATE,
        MOVABLE,
        NONE,
        ORDER_MASK,
        OUTER_MOVED,
        OUTER_RETYPED,
        RULE_CHECK_SCOPE,
        RULE_CONTIG_HUGETLB,
        RULE_END_WALK,
        RULE_FAILED_ISOLATION,
        RULE_FAILED_TYPES,
        RULE_INTERRUPTED,
        RULE_OUTER_RESTORE,
        RULE_SCHEME,
        RULE_SPLIT_TWICE,
        RULE_TAKE_UNIT,
        SCHEME_SAVE_TYPES,
        SCOPE_REQUEST,
        SPLIT_AGAIN,
        STEP_TAKE,
        TAKE_PAGEBLOCKS,
        WALK_BOUNDARY,
        WALK_PAGES,
        WHY_BUG_REFCOUNT,
    )
    from .zone import (
        ZoneState,
        compound_head,
        emit,
        first_valid_page,
        get_pageblock_migratetype,
        pageblock_end,
        pageblock_start,
        refuse,
        set_pageblock_migratetype,
    )
    from .freelist import add_to_free_list, del_page_from_free_list
    from .page_alloc import find_large_buddy
    from .overlap import take_over_listed
    from .posted import buddy_below, split_again, split_at_start, split_free_page_into_pageblocks, walk_behind_end
    from .pcplist import drain_all_pages
    from .gfp import free_frames, free_pages
    from .migrate import _alloc_contig_migrate_range
    from .page_isolation import (
        isolate_ascending,
        isolate_past_zone,
        isolation_end,
        isolation_start,
        retype_beyond,
        start_isolate_page_range,
        test_pages_isolated,
        undo_isolate_page_range,
        unset_migratetype_isolate,
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_freepages_range(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.uint:
    """Take the free pages of an isolated range off their lists; one past the last (mm/compaction.c).

    Uncounted: they left the counters when their pageblocks were isolated. NONE: a free page covers one in use, and
    set_page_refcounted is a BUG.
    """
    pfn: cython.uint = start
    order: cython.uint
    page: cython.uint
    while pfn < end:
        order = z.state[pfn] & ORDER_MASK
        del_page_from_free_list(z, pfn, order)
        pfn += 1 << order
    if z.overlapping:
        for page in range(start, pfn):
            if z.state[page] & ALLOC:
                refuse(z, STEP_TAKE, WHY_BUG_REFCOUNT, page)
                return NONE
    if pfn > end:
        retype_beyond(z, end, pfn)
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def give_back(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.void:
    """Free taken pages outside the request one by one, under their pageblock's type (free_contig_range)."""
    pfn: cython.uint
    for pfn in range(start, end):
        # a page that is listed is not freed once more (free_pages_prepare: bad_page)
        if not z.overlapping or not z.state[pfn] & BUDDY:
            free_frames(z, pfn, 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def set_in_use(
    state: cython.p_uchar,
    page_flags: cython.p_uchar,
    owners: cython.p_uint,
    start: cython.ulonglong,
    end: cython.ulonglong,
    flags: cython.uchar,
    owner: cython.uint,
) -> cython.void:
    """Make [start, end) order-0 pages in use.

    An array after the other, and owners by fours: C fills bytes at once, and counts less often.
    """
    pfn: cython.ulonglong
    for pfn in range(start, end):
        state[pfn] = ALLOC
    for pfn in range(start, end):
        page_flags[pfn] = flags
    while start + 4 <= end:
        owners[start] = owner
        owners[start + 1] = owner
        owners[start + 2] = owner
        owners[start + 3] = owner
        start += 4
    for pfn in range(start, end):
        owners[pfn] = owner


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_tested(
    z: ZoneState,
    outer_start: cython.uint,
    outer_end: cython.uint,
    start: cython.uint,
    end: cython.uint,
    flags: cython.uint,
    owner: cython.uint,
) -> cython.int:
    """Test [outer_start, outer_end), take [start, end) of it as order-0 pages, give the rest back; 0 or -EBUSY (6.1).

    The last free page taken may reach further than tested.
    """
    if test_pages_isolated(z, outer_start, outer_end, 0):
        return -EBUSY
    outer_end = isolate_freepages_range(z, outer_start, outer_end)
    if outer_end == NONE:
        return -ENOTRECOVERABLE
    if z.overlapping:
        take_over_listed(z, start, end, flags, owner)
    else:
        set_in_use(z.state, z.flags, z.nxt, start, end, flags, owner)
    give_back(z, outer_start, start)
    give_back(z, end, outer_end)
    if z.recording:
        emit(z, EV_TAKE, start, end, outer_start, outer_end)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_range(
    z: ZoneState, start: cython.uint, end: cython.uint, flags: cython.uint, owner: cython.uint
) -> cython.int:
    """``take_tested`` from the start of the free page that reaches into the request; 0 or -EBUSY (5.15, 6.1)."""
    return take_tested(z, find_large_buddy(z, start), end, start, end, flags, owner)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_at_pageblocks(z: ZoneState, boundary: cython.uint) -> cython.uint:
    """Cut the free page across a boundary into pageblocks; one past what was cut, 0: no page lies across it.

    Seed, patch 4. As described the pieces go to the head of the ISOLATE list, ascending, not merged, and stay isolated and
    uncounted. As posted (rule "outer restore") the types are restored before, and each is freed under its own.
    """
    head: cython.uint
    order: cython.uint
    pfn: cython.uint
    if boundary >= z.zone_end:
        return 0
    head = find_large_buddy(z, boundary)
    if head == boundary:
        return 0
    order = z.state[head] & ORDER_MASK
    if z.rules[RULE_OUTER_RESTORE] == OUTER_RETYPED:
        split_free_page_into_pageblocks(z, head)
        return head + (1 << order)
    if z.recording:
        emit(z, EV_SPLIT, head, order, boundary - head)
    del_page_from_free_list(z, head, order)
    pfn = head
    while pfn < head + (1 << order):
        add_to_free_list(z, pfn, z.pageblock_order, ISOLATE)
        pfn += z.pageblock_nr_pages
    return head + (1 << order)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_types(
    z: ZoneState, start: cython.uint, end: cython.uint, saved: cython.p_uchar, saved_start: cython.uint
) -> cython.void:
    """Un-isolate the pageblocks of [start, end), each with the type it had (seed, patch 4 as described).

    ``saved[0]`` is the type of the pageblock at ``saved_start``.
    """
    pfn: cython.uint = start
    page: cython.uint
    while pfn < end:
        page = first_valid_page(z, pfn, z.pageblock_nr_pages)
        if page != NONE:
            unset_migratetype_isolate(z, page, saved[(pfn - saved_start) >> z.pageblock_order])
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def retype(
    z: ZoneState, start: cython.uint, end: cython.uint, saved: cython.p_uchar, saved_start: cython.uint
) -> cython.void:
    """Set the types of [start, end) back and leave all else as it is (seed, patch 4 as posted: fault a)."""
    pfn: cython.uint = start
    while pfn < end:
        set_pageblock_migratetype(z, pfn, saved[(pfn - saved_start) >> z.pageblock_order])
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_outer(
    z: ZoneState,
    start: cython.uint,
    window_start: cython.uint,
    window_end: cython.uint,
    alloc_start: cython.uint,
    alloc_end: cython.uint,
    saved: cython.p_uchar,
) -> cython.int:
    """Give the window's pageblocks beside the request back and cut the free pages across its ends; 0 or -ENOTRECOVERABLE.

    As described: cut, then give back. As posted: set the types, then cut under those (rule "outer restore"); the
    walks take other pages for such (rule "end walk"), and a page across both ends is split twice (rule "split twice").
    """
    cut_end: cython.uint = 0
    outer: cython.uint
    if z.rules[RULE_OUTER_RESTORE] == OUTER_RETYPED:
        retype(z, window_start, alloc_start, saved, window_start)
        retype(z, alloc_end, window_end, saved, window_start)
    if z.rules[RULE_OUTER_RESTORE] == OUTER_MOVED or z.rules[RULE_END_WALK] == WALK_BOUNDARY:
        cut_end = split_at_pageblocks(z, alloc_start)
        split_at_pageblocks(z, alloc_end)
    if z.rules[RULE_OUTER_RESTORE] == OUTER_MOVED:
        restore_types(z, window_start, alloc_start, saved, window_start)
        restore_types(z, alloc_end, window_end, saved, window_start)
    if z.rules[RULE_END_WALK] == WALK_PAGES:
        outer = buddy_below(z, start)
        if outer < alloc_start:
            cut_end = outer + (1 << (z.state[outer] & ORDER_MASK))
        if split_at_start(z, start):
            return -ENOTRECOVERABLE
        if z.rules[RULE_SPLIT_TWICE] == SPLIT_AGAIN or cut_end < alloc_end:
            cut_end = alloc_end
        return walk_behind_end(z, cut_end, window_end)
    if z.rules[RULE_SPLIT_TWICE] == SPLIT_AGAIN and cut_end > alloc_end:
        return split_again(z, alloc_end, cut_end)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def give_window_back(
    z: ZoneState,
    window_start: cython.uint,
    window_end: cython.uint,
    alloc_start: cython.uint,
    alloc_end: cython.uint,
    mt: cython.uint,
    saved: cython.p_uchar,
) -> cython.void:
    """After an interrupt or for want of memory: un-isolate the window (rules "interrupted", "failed types")."""
    if z.rules[RULE_INTERRUPTED] == INTERRUPTED_RESTORES:
        restore_isolated(z, window_start, alloc_start, saved, window_start)
        restore_isolated(z, alloc_end, window_end, saved, window_start)
    if z.rules[RULE_FAILED_TYPES] == FAILED_TYPES_OWN:
        restore_isolated(z, alloc_start, alloc_end, saved, window_start)
    else:
        undo_isolate_page_range(z, alloc_start, alloc_end, mt)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def alloc_contig_saving_types(
    z: ZoneState,
    start: cython.uint,
    end: cython.uint,
    mt: cython.uint,
    flags: cython.uint,
    owner: cython.uint,
    saved: cython.p_uchar,
) -> cython.int:
    """alloc_contig_range of the release ``seed`` (patch 4 as the cover letter describes it) and of ``seed-as-posted``.

    Isolate the max order window, keep the types of the pageblocks outside the request and give them back
    after migration; the request itself is then taken at pageblock granularity. ``saved`` has room
    for one byte a pageblock of the window. -ENOTRECOVERABLE: the kernel would stop with a BUG.
    """
    window_start: cython.uint = isolation_start(z, start)
    window_end: cython.uint = min(isolation_end(z, end), z.nr_frames)
    alloc_start: cython.uint = pageblock_start(z, start)
    alloc_end: cython.uint = pageblock_end(z, end - 1)
    whole: cython.bint = z.rules[RULE_CHECK_SCOPE] != SCOPE_REQUEST
    retypes: cython.bint = z.rules[RULE_FAILED_TYPES] == FAILED_TYPES_REQUEST
    i: cython.uint
    rc: cython.int
    if window_start >= z.nr_frames:
        return isolate_past_zone(z, start, start, mt, retypes)
    for i in range((window_end - window_start) >> z.pageblock_order):
        saved[i] = get_pageblock_migratetype(z, window_start + (i << z.pageblock_order))
    if end > z.zone_end:
        rc = isolate_past_zone(z, start, window_start if whole else start, mt, retypes)
    else:
        rc = isolate_ascending(
            z, window_start, window_end, window_start if whole else start, window_end if whole else end, mt, retypes
        )
    if rc:
        if not retypes:
            restore_isolated(z, window_start, window_end, saved, window_start)
        if z.rules[RULE_FAILED_ISOLATION] == FAILED_UNDOES:
            undo_isolate_page_range(z, alloc_start, min(alloc_end, z.nr_frames), mt)
        return rc
    drain_all_pages(z)
    rc = _alloc_contig_migrate_range(z, start, end)
    if rc and rc != -EBUSY:
        give_window_back(z, window_start, window_end, alloc_start, alloc_end, mt, saved)
        return rc
    rc = restore_outer(z, start, window_start, window_end, alloc_start, alloc_end, saved)
    if rc == 0:
        if z.rules[RULE_TAKE_UNIT] == TAKE_PAGEBLOCKS:
            rc = take_tested(z, alloc_start, alloc_end, start, end, flags, owner)
        else:
            rc = take_range(z, start, end, flags, owner)
    if rc == -ENOTRECOVERABLE:
        return rc
    if rc and not retypes:
        restore_types(z, alloc_start, alloc_end, saved, window_start)
    else:
        undo_isolate_page_range(z, alloc_start, alloc_end, mt)
    return rc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore_isolated(
    z: ZoneState, start: cython.uint, end: cython.uint, saved: cython.p_uchar, saved_start: cython.uint
) -> cython.void:
    """Un-isolate what this call isolated of [start, end); a pageblock that was isolated before stays so."""
    pfn: cython.uint = start
    while pfn < end:
        if saved[(pfn - saved_start) >> z.pageblock_order] != ISOLATE:
            restore_types(z, pfn, pfn + z.pageblock_nr_pages, saved, saved_start)
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def alloc_contig_isolating(
    z: ZoneState, start: cython.uint, end: cython.uint, mt: cython.uint, flags: cython.uint, owner: cython.uint
) -> cython.int:
    """alloc_contig_range of 5.15 and 6.1: isolate, migrate, test, take, undo with the caller's type.

    Rule "failed isolation": 6.1 runs the undo even then, over pageblocks that it did not isolate; 5.15 returns.
    """
    rc: cython.int = start_isolate_page_range(z, start, end, mt, 0)
    if rc == -ENOTRECOVERABLE or (rc and z.rules[RULE_FAILED_ISOLATION] != FAILED_UNDOES):
        return rc
    if rc == 0:
        # pages of isolated pageblocks leave the per-cpu lists for the ISOLATE lists
        drain_all_pages(z)
        rc = _alloc_contig_migrate_range(z, start, end)
        if rc == 0 or rc == -EBUSY:
            rc = take_range(z, start, end, flags, owner)
    undo_isolate_page_range(z, isolation_start(z, start), min(isolation_end(z, end), z.nr_frames), mt)
    return rc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def alloc_contig_range(
    z: ZoneState,
    start: cython.uint,
    end: cython.uint,
    mt: cython.uint,
    flags: cython.uint,
    owner: cython.uint,
    saved: cython.p_uchar,
) -> cython.int:
    """Allocate exactly [start, end), or return -EBUSY, -ENOMEM or -EINTR (rule "scheme"); -ENOTRECOVERABLE: a BUG."""
    if z.rules[RULE_SCHEME] == SCHEME_SAVE_TYPES:
        return alloc_contig_saving_types(z, start, end, mt, flags, owner, saved)
    return alloc_contig_isolating(z, start, end, mt, flags, owner)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_contig_range(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.void:
    """Free the order-0 pages of [start, end), ascending."""
    pfn: cython.uint
    for pfn in range(start, end):
        free_pages(z, pfn)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def first_invalid_contig(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.uint:
    """First frame for which alloc_contig_pages does not try a range: not online, reserved or hugetlb; NONE: it tries.

    What pfn_range_valid_contig tests.

    Rule "contig hugetlb": the test for huge pages is in 6.1.192 and 6.12 (4d73ba5fa710, 6.5), not in vanilla 6.1.
    """
    pfn: cython.uint = start
    head: cython.uint
    c: cython.uint
    while pfn < end:
        head = pfn
        if z.state[pfn] == 0:
            head = compound_head(z, pfn)
        if head != NONE and z.state[head] & ALLOC:
            c = z.flags[head] & CLASS_MASK
            if c == C_HOLE or c == C_RESERVED:
                return pfn
            if c == C_HUGETLB and z.rules[RULE_CONTIG_HUGETLB] == CONTIG_SKIPS_HUGETLB:
                return pfn
        if z.state[pfn]:
            pfn += 1 << (z.state[pfn] & ORDER_MASK)
        else:
            pfn += 1
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def alloc_contig_pages(
    z: ZoneState, nr_pages: cython.uint, flags: cython.uint, owner: cython.uint, saved: cython.p_uchar
) -> cython.longlong:
    """First aligned range of the zone that can be had; its frame, or -EBUSY (alloc_contig_pages, 6.1).

    -ENOTRECOVERABLE: a BUG, which ends it. Aligned to its own size, which the kernel assumes to be a power of two;
    absolute alignment.
    """
    absolute: cython.ulonglong = (z.base_pfn + z.zone_start + nr_pages - 1) // nr_pages * nr_pages
    pfn: cython.ulonglong = absolute - z.base_pfn
    first: cython.uint
    end: cython.uint
    rc: cython.int
    while pfn + nr_pages <= z.zone_end:
        first = cython.cast(cython.uint, pfn)
        end = cython.cast(cython.uint, pfn + nr_pages)
        if first_invalid_contig(z, first, end) == NONE:
            rc = alloc_contig_range(z, first, end, MOVABLE, flags, owner, saved)
            if rc == 0:
                return first
            if rc == -ENOTRECOVERABLE:
                return rc
        pfn += nr_pages
    return -EBUSY
