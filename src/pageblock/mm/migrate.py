"""What can move, in which order, and where it goes.

Source: mm/compaction.c (isolate_migratepages_range), mm/migrate.c (migrate_pages,
alloc_migration_target), mm/page_alloc.c (__alloc_contig_migrate_range), 6.1.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        CLASS_MASK,
        CLEAN_LOWEST_FIRST,
        COMPACT_CLUSTER_MAX,
        C_ANON,
        C_FILE,
        C_HUGETLB,
        C_MOVABLE_OPS,
        C_THP,
        EBUSY,
        EINTR,
        ENOMEM,
        EV_ISOLATE_MIGRATE,
        EV_MIGRATE_AWAY,
        EV_MIGRATE_FOLIO,
        EV_MIGRATE_PAGES,
        EV_RECLAIM,
        ISOLATE,
        LIST_BATCHES_ASCENDING,
        LIST_HEAD_AGAIN,
        LIST_BATCHES_BELOW,
        MOVABLE,
        NONE,
        OFFNODE,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        REQUEST_TARGET,
        RULE_CLEAN_PAGES,
        RULE_OFFLINE_LIST,
        STEP_MIGRATE,
        STEP_SIGNAL,
        WHY_BUSY,
        WHY_GIGANTIC,
        WHY_NO_TARGET,
        WHY_SIGNAL,
    )
    from .zone import (
        ZoneState,
        compound_head,
        emit,
        get_pageblock_migratetype,
        pageblock_end,
        pageblock_start,
        refuse,
    )
    from .page_alloc import free_in, mod_zone_freepage_state, take_in
    from .watermark import watermarks_are_far
    from .fallback import cma_holds_most
    from .gfp import alloc_pages, free_pages


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def class_can_be_isolated(flags: cython.uint) -> cython.bint:
    """Whether isolate_migratepages_block puts a page with these flags on the migration list (6.1).

    A pinned anonymous page has more references than mappings and is passed over; a pinned page
    with a mapping (file, movable_ops, hugetlb) is isolated, and its migration fails.
    """
    # bit sets of classes; a pinned page counts 16 higher
    unpinned: cython.uint = 1 << C_ANON | 1 << C_THP
    mapped: cython.uint = 1 << C_FILE | 1 << C_MOVABLE_OPS | 1 << C_HUGETLB
    return (unpinned | mapped | mapped << PG_PINNED) >> (flags & (CLASS_MASK | PG_PINNED)) & 1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def page_can_be_isolated(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """``class_can_be_isolated`` of an allocated head."""
    return class_can_be_isolated(z.flags[pfn])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_migratepages_range(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.uint:
    """Collect movable pages of [start, end) into ``z.batch`` until 32 pages are found; the frame to go on at.

    ``z.batch_count`` is NONE after a gigantic huge page (``z.batch[0]``), which ends the request. A large
    page that reaches over a pageblock's end sends the scan to that end; its tails have no reference
    of their own and are passed over there, unless they are hugetlb's.
    """
    state: cython.p_uchar = z.state
    flags: cython.p_uchar = z.flags
    batch: cython.p_uint = z.batch
    at: cython.ulonglong = start
    following: cython.ulonglong
    block_end: cython.ulonglong
    # the page at ``at`` begins here: before it only if it is the first
    head: cython.ulonglong = start
    pages: cython.ulonglong = 0
    found: cython.ulonglong = 0
    clean: cython.uint = 0
    f: cython.uint
    s: cython.uint
    if state[start] == 0:
        s = compound_head(z, start)
        if s != NONE and flags[s] & CLASS_MASK == C_HUGETLB:
            head = s
    while at < end and pages < COMPACT_CLUSTER_MAX:
        block_end = min(pageblock_end(z, cython.cast(cython.uint, at)), end)
        while at < block_end and pages < COMPACT_CLUSTER_MAX:
            s = state[head]
            # a tail has state 0, thus order 0
            if not s & ORDER_MASK:
                f = flags[head]
                if s == ALLOC and class_can_be_isolated(f):
                    batch[found] = cython.cast(cython.uint, head)
                    found += 1
                    pages += 1
                    clean |= f
                at += 1
                head = at
                continue
            following = head + (cython.cast(cython.uint, 1) << (s & ORDER_MASK))
            if s & ALLOC and class_can_be_isolated(flags[head]):
                if s & ORDER_MASK > z.max_order and flags[head] & CLASS_MASK == C_HUGETLB:
                    batch[0] = cython.cast(cython.uint, head)
                    z.batch_count = NONE
                    return cython.cast(cython.uint, at)
                batch[found] = cython.cast(cython.uint, head)
                found += 1
                pages += following - at
                clean |= flags[head]
            at = min(following, block_end)
            head = at
    z.batch_count = cython.cast(cython.uint, found)
    z.batch_clean = clean & PG_CLEAN != 0
    return cython.cast(cython.uint, at)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def alloc_migration_target(z: ZoneState, src: cython.uint) -> cython.uint:
    """A new page like the source, from the ordinary allocator (mm/migrate.c, 6.1); NONE: nothing left.

    MOVABLE, above the low watermark; below it another zone's page is taken (``targets_may_spill``),
    or, where there is none, the request goes on to the min watermark.
    """
    order: cython.uint = z.state[src] & ORDER_MASK
    return alloc_pages(z, order, MOVABLE, z.flags[src], z.nxt[src], REQUEST_TARGET)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_target_elsewhere(z: ZoneState, src: cython.uint) -> cython.longlong:
    """Absolute pfn of a target in another zone of the zonelist, -1 if there is none; -2: it is not said where."""
    found: cython.longlong = -2
    with cython.gil:
        if z.spill_target is not None:
            found = z.spill_target(z.state[src] & ORDER_MASK, z.flags[src], z.nxt[src])
    return found


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def migrate_folio(z: ZoneState, src: cython.uint) -> cython.bint:
    """Move one page and free its old place at once; False: no target."""
    owner: cython.uint = z.nxt[src]
    dst: cython.uint = NONE if z.targets_elsewhere else alloc_migration_target(z, src)
    away: cython.longlong = 0
    if dst == NONE and z.targets_may_spill:
        away = find_target_elsewhere(z, src)
        if away >= 0 and z.base_pfn + z.zone_start <= away and away < z.base_pfn + z.zone_end:
            # nobody had room above the low watermark, and this zone has above min
            dst = cython.cast(cython.uint, away - z.base_pfn)
        elif away == -1:
            return False
    elif dst == NONE:
        return False
    if owner < z.nr_handles:
        z.handles[owner] = dst if dst != NONE else OFFNODE
    if z.recording:
        if dst != NONE:
            emit(z, EV_MIGRATE_FOLIO, src, dst, z.state[src] & ORDER_MASK)
        else:
            emit(
                z,
                EV_MIGRATE_AWAY,
                src,
                0 if away < 0 else cython.cast(cython.uint, (away + 1) >> 32),
                z.state[src] & ORDER_MASK,
                0 if away < 0 else cython.cast(cython.uint, (away + 1) & NONE),
            )
    free_pages(z, src)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def nothing_intervenes(z: ZoneState, count: cython.uint) -> cython.bint:
    """Whether single pages of ``z.batch`` go from their isolated pageblock to the own lists' next page, and nothing else.

    As ``migrate_folio`` would find for each of them: the zone's own lists are asked and no per-cpu list stands before them,
    watermarks and the balance with CMA hold for the whole batch, nobody listens.
    """
    first: cython.uint = z.batch[0]
    # a page that was dropped for being clean is no longer in the batch
    if z.batch_clean or z.pcp_used or z.targets_elsewhere or z.recording:
        return False
    return (
        watermarks_are_far(z, count)
        and not cma_holds_most(z, count)
        and get_pageblock_migratetype(z, first) == ISOLATE
        and pageblock_start(z, z.batch[count - 1]) == pageblock_start(z, first)
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_base_pages(z: ZoneState, count: cython.uint) -> cython.uint:
    """What ``migrate_folio`` does for the single pages at the end of ``z.batch``, where ``nothing_intervenes``.

    Last found first. The pages left in the batch: all before one that is large, or pinned, or finds no page on the own lists.
    """
    # see free_in
    nxt: cython.p_uint = z.nxt
    prv: cython.p_uint = z.prv
    state: cython.p_uchar = z.state
    flags: cython.p_uchar = z.flags
    batch: cython.p_uint = z.batch
    handles: cython.p_uint = z.handles
    nr_handles: cython.uint = z.nr_handles
    left: cython.ulonglong = count
    src: cython.ulonglong
    owner: cython.ulonglong
    f: cython.uchar
    dst: cython.uint
    while left:
        src = batch[left - 1]
        f = flags[src]
        if f & PG_PINNED or state[src] != ALLOC:
            break
        dst = take_in(z, nxt, prv, state, 0, MOVABLE)
        if dst == NONE:
            break
        owner = nxt[src]
        state[dst] = ALLOC
        flags[dst] = f
        nxt[dst] = cython.cast(cython.uint, owner)
        if owner < nr_handles:
            handles[owner] = dst
        state[src] = 0
        flags[src] = 0
        free_in(z, nxt, prv, state, src, 0, ISOLATE, False)
        left -= 1
    mod_zone_freepage_state(z, cython.cast(cython.longlong, left) - count, MOVABLE)
    return cython.cast(cython.uint, left)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_huge_page(z: ZoneState, head: cython.uint) -> cython.void:
    """Turn a THP into base pages of its own (mm/huge_memory.c, split_huge_page_to_list, as migration uses it)."""
    order: cython.uint = z.state[head] & ORDER_MASK
    owner: cython.uint = z.nxt[head]
    i: cython.uint
    for i in range(head, head + (1 << order)):
        z.state[i] = ALLOC
        z.flags[i] = C_ANON
        z.nxt[i] = owner


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_split(z: ZoneState, head: cython.uint, size: cython.uint, head_moved: cython.bint) -> cython.bint:
    """Move the base pages of a split THP, the tails, then the head unless it has moved; False: one has no target.

    Rule "offline list": the last tail first, since __folio_split (6.19) the first one.
    """
    i: cython.uint
    pfn: cython.uint
    for i in range(1, size + 1 - head_moved):
        pfn = head + size - i
        if i < size and z.rules[RULE_OFFLINE_LIST] == LIST_BATCHES_ASCENDING:
            pfn = head + i
        if not migrate_folio(z, pfn):
            refuse(z, STEP_MIGRATE, WHY_NO_TARGET, pfn)
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_split_pages(z: ZoneState, count: cython.uint, began: cython.uint, ended: cython.uint) -> cython.bint:
    """Move the base pages of what ``migrate_pages`` split of its pages ``began`` to ``ended``; False: one has no target."""
    k: cython.uint
    size: cython.uint
    for k in range(began, ended):
        size = z.batch[COMPACT_CLUSTER_MAX + count - 1 - k]
        if size and not migrate_split(z, z.batch[count - 1 - k], size, z.rules[RULE_OFFLINE_LIST] == LIST_HEAD_AGAIN):
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_pages(z: ZoneState, count: cython.uint) -> cython.int:
    """Move the pages of ``z.batch``, last found first (mm/migrate.c, 6.1).

    0, -EBUSY (a page stays although it was tried again), or -ENOMEM (no target). A THP without a target is split, and its
    base pages move after the rest; rule "offline list": with 5.15 its head moves at once, and with batches (6.3, Debian's
    6.1.192) after its batch, which has at most a pageblock's size (6.1.192) or ends with the page that reaches it (6.12). Since
    6.12 a base page of a split THP without a target ends its batch only.
    """
    i: cython.uint
    k: cython.uint
    j: cython.uint
    size: cython.uint
    pfn: cython.uint
    failed: cython.uint = 0
    moved: cython.uint = 0
    rule: cython.uint = z.rules[RULE_OFFLINE_LIST]
    split: cython.bint = False
    stuck: cython.bint = False
    # where the batch began, and its pages; batches before it are done
    began: cython.uint = 0
    pages: cython.uint = 0
    # reclaim_clean_pages_from_list: clean file pages are dropped before anything moves
    for k in range(count if z.batch_clean else 0):
        i = k if z.rules[RULE_CLEAN_PAGES] == CLEAN_LOWEST_FIRST else count - 1 - k
        pfn = z.batch[i]
        if z.flags[pfn] & PG_CLEAN and not z.flags[pfn] & (PG_PINNED | PG_COMPOUND):
            if z.nxt[pfn] < z.nr_handles:
                z.handles[z.nxt[pfn]] = NONE
            if z.recording:
                emit(z, EV_RECLAIM, pfn)
            free_pages(z, pfn)
            z.batch[i] = NONE
    if nothing_intervenes(z, count):
        moved = count - migrate_base_pages(z, count)
        pages = moved & (z.pageblock_nr_pages - 1)
    for k in range(moved, count):
        i = count - 1 - k
        pfn = z.batch[i]
        if pfn == NONE:
            continue
        size = 1 << (z.state[pfn] & ORDER_MASK)
        if rule >= LIST_BATCHES_BELOW and (
            pages >= z.pageblock_nr_pages
            or (rule == LIST_BATCHES_BELOW and pages and pages + size > z.pageblock_nr_pages)
        ):
            if split and not migrate_split_pages(z, count, began, k):
                if rule == LIST_BATCHES_BELOW:
                    return -ENOMEM
                stuck = True
            began = k
            pages = 0
        pages += size
        if z.flags[pfn] & PG_PINNED:
            failed += 1
            refuse(z, STEP_MIGRATE, WHY_BUSY, pfn)
        elif migrate_folio(z, pfn):
            moved += 1
        elif z.flags[pfn] & CLASS_MASK == C_THP:
            if not split:
                split = True
                for j in range(count):
                    z.batch[COMPACT_CLUSTER_MAX + j] = 0
            split_huge_page(z, pfn)
            z.batch[COMPACT_CLUSTER_MAX + i] = size
            moved += size
            if rule == LIST_HEAD_AGAIN and not migrate_folio(z, pfn):
                refuse(z, STEP_MIGRATE, WHY_NO_TARGET, pfn)
                return -ENOMEM
        else:
            refuse(z, STEP_MIGRATE, WHY_NO_TARGET, pfn)
            return -ENOMEM
    if split and not migrate_split_pages(z, count, began, count):
        return -ENOMEM
    if stuck:
        return -ENOMEM
    if z.recording:
        emit(z, EV_MIGRATE_PAGES, moved, failed)
    return -EBUSY if failed else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _alloc_contig_migrate_range(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.int:
    """Empty [start, end) of movable pages, 32 at a time (__alloc_contig_migrate_range, 6.1).

    0; -EBUSY: a batch did not go after five tries, and what lies behind it was not tried;
    -ENOMEM: no target, or a gigantic huge page (isolate_or_dissolve_huge_page); -EINTR: a fatal signal.
    """
    pfn: cython.uint = start
    rc: cython.int
    next_pfn: cython.uint
    if z.signal_pending:
        refuse(z, STEP_SIGNAL, WHY_SIGNAL, start)
        return -EINTR
    while pfn < end:
        next_pfn = isolate_migratepages_range(z, pfn, end)
        if z.batch_count == NONE:
            refuse(z, STEP_MIGRATE, WHY_GIGANTIC, z.batch[0])
            return -ENOMEM
        if z.recording:
            emit(z, EV_ISOLATE_MIGRATE, pfn, next_pfn, z.batch_count)
        if z.batch_count:
            rc = migrate_pages(z, z.batch_count)
            if rc:
                return rc
        pfn = next_pfn
    return 0
