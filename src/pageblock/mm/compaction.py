"""Compaction: movable pages from the zone's start into free pages from its end, until the two scanners meet.

Source: mm/compaction.c and mm/migrate.c (6.1.192, 6.12.117): compact_zone, isolate_migratepages, isolate_freepages,
migrate_pages, as ``echo 1 > /proc/sys/vm/compact_memory`` runs them (order -1, whole zone, synchronous, skip hints ignored). The
searches that only direct compaction makes (fast_find_migrateblock, fast_isolate_freepages) are not modelled.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        BATCH_TARGETS_FIRST,
        BUDDY,
        CLASS_MASK,
        CMA,
        COMPACT_CLUSTER_MAX,
        C_HUGETLB,
        C_MOVABLE_OPS,
        C_THP,
        EV_MIGRATE_FOLIO,
        ISOLATE,
        MOVABLE,
        MOVE_SPLITS,
        NONE,
        NR_COMPACT_LISTS,
        ONPCP,
        ORDERS_WHOLE,
        ORDER_MASK,
        PG_COMPOUND,
        PG_PINNED,
        RESCAN_WHERE_FOUND,
        RULE_BLOCK_MOVE,
        RULE_COMPACT_BATCH,
        RULE_COMPACT_ORDERS,
        RULE_COMPACT_RESCAN,
    )
    from .zone import (
        ZoneState,
        emit,
        get_pageblock_migratetype,
        list_head,
        page_is_online,
        pageblock_end,
        pageblock_start,
        set_pageblock_migratetype,
    )
    from .freelist import del_page_from_free_list, list_del, list_insert
    from .page_alloc import _move_freepages_block, block_is_whole, migratetype_is_mergeable, mod_zone_freepage_state
    from .watermark import zone_watermark_ok
    from .gfp import free_frames, free_pages
    from .migrate import page_can_be_isolated, split_huge_page


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _isolate_free_page(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Take a free page off its list, above the min watermark and its own size; pages taken, 0: refused (6.1, 6.12).

    Pageblocks of which it is at least half become MOVABLE if they are of an ordinary type.
    """
    order: cython.uint = z.state[pfn] & ORDER_MASK
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    at: cython.uint
    if mt != ISOLATE:
        if not zone_watermark_ok(z, 0, z.wmark_min + (cython.cast(cython.longlong, 1) << order), ALLOC_CMA):
            return 0
        mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), mt)
    del_page_from_free_list(z, pfn, order)
    if order + 1 >= z.pageblock_order:
        at = pfn
        while at < pfn + (1 << order):
            mt = get_pageblock_migratetype(z, at)
            if migratetype_is_mergeable(mt):
                if z.rules[RULE_BLOCK_MOVE] == MOVE_SPLITS:
                    if block_is_whole(z, at):
                        _move_freepages_block(z, at, mt, MOVABLE)
                else:
                    set_pageblock_migratetype(z, at, MOVABLE)
            at += z.pageblock_nr_pages
    return 1 << order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_freepages_block(z: ZoneState, pfn: cython.uint, end: cython.uint, stride: cython.uint) -> cython.uint:
    """Take free pages of one pageblock, ascending, until there are as many as pages to migrate; where it stopped.

    They go to the tail of a list, whole: that of their order, or (rule "compact orders") one that is split when the scan
    ends. Behind each page that was looked at, ``stride`` - 1 more are passed over: a free page is found only if the scan
    comes upon its head.
    """
    s: cython.uint
    size: cython.uint
    head: cython.uint
    while pfn < end:
        s = z.state[pfn]
        size = 1 << (s & ORDER_MASK) if s else 1
        if s & BUDDY:
            if _isolate_free_page(z, pfn) == 0:
                break
            # kept as an unlisted block: neither free nor in use
            z.state[pfn] = ONPCP | (s & ORDER_MASK)
            head = compact_head(
                z, s & ORDER_MASK if z.rules[RULE_COMPACT_ORDERS] == ORDERS_WHOLE else NR_COMPACT_LISTS - 1
            )
            list_insert(z, pfn, z.prv[head], head)
            z.compact_free += size
            if z.compact_migrate <= z.compact_free:
                pfn += size
                break
            pfn += size - 1
        elif s & ALLOC and z.flags[pfn] & PG_COMPOUND:
            pfn += size - 1
        pfn += stride
    return min(pfn, end)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def compact_head(z: ZoneState, order: cython.uint) -> cython.uint:
    """Head of the list of free pages of an order that compaction took, behind those of the free areas."""
    return list_head(z, z.max_order + 2, 0) + order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_map_pages(z: ZoneState) -> cython.void:
    """Split the pages taken; the last page of the last one comes first (6.1)."""
    whole: cython.uint = compact_head(z, NR_COMPACT_LISTS - 1)
    single: cython.uint = compact_head(z, 0)
    pfn: cython.uint
    i: cython.uint
    size: cython.uint
    while z.nxt[whole] != whole:
        pfn = z.nxt[whole]
        size = 1 << (z.state[pfn] & ORDER_MASK)
        list_del(z, pfn)
        for i in range(pfn, pfn + size):
            z.state[i] = ONPCP
            list_insert(z, i, single, z.nxt[single])


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def suitable_migration_target(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the free scanner looks into a pageblock: MOVABLE or CMA, and not one free page already (6.1, 6.12)."""
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    if z.state[pfn] & BUDDY and z.state[pfn] & ORDER_MASK >= z.pageblock_order:
        return False
    return mt == MOVABLE or mt == CMA


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_freepages(z: ZoneState) -> cython.void:
    """The free scanner: pageblocks downwards from where it stood, until there are enough pages (6.1, 6.12).

    After each pageblock that gave nothing it looks at every second, fourth, … 32nd page only; one that gave some makes it
    look at each again.
    """
    at: cython.uint = z.compact_free_pfn
    block: cython.uint = pageblock_start(z, at)
    end: cython.uint = min(block + z.pageblock_nr_pages, z.zone_end)
    low: cython.uint = pageblock_end(z, z.compact_migrate_pfn)
    stride: cython.uint = 1
    before: cython.uint
    while block >= low:
        if page_is_online(z, max(block, z.zone_start)) and suitable_migration_target(z, max(block, z.zone_start)):
            before = z.compact_free
            at = isolate_freepages_block(z, at, end, stride)
            if z.compact_free >= z.compact_migrate:
                if at >= end:
                    at = block - z.pageblock_nr_pages if block >= z.pageblock_nr_pages else 0
                break
            if at < end:
                break
            stride = 1 if z.compact_free != before else min(COMPACT_CLUSTER_MAX, stride << 1)
        end = block
        if block < z.pageblock_nr_pages:
            at = 0
            break
        block -= z.pageblock_nr_pages
        at = block
    z.compact_free_pfn = at
    if z.rules[RULE_COMPACT_ORDERS] != ORDERS_WHOLE:
        split_map_pages(z)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compaction_alloc(z: ZoneState, order: cython.uint) -> cython.uint:
    """The next page to migrate to, cut from the smallest that was taken and is large enough; NONE: there is none.

    The free scanner goes on only when nothing is left of what it took: smaller pages that are left end the search (6.12).
    """
    at: cython.uint = order
    head: cython.uint
    pfn: cython.uint
    while at <= z.max_order and z.nxt[compact_head(z, at)] == compact_head(z, at):
        at += 1
    if at > z.max_order:
        if z.compact_free:
            return NONE
        isolate_freepages(z)
        at = order
        while at <= z.max_order and z.nxt[compact_head(z, at)] == compact_head(z, at):
            at += 1
        if at > z.max_order:
            return NONE
    pfn = z.nxt[compact_head(z, at)]
    list_del(z, pfn)
    while at > order:
        at -= 1
        head = compact_head(z, at)
        z.state[pfn + (1 << at)] = ONPCP | at
        list_insert(z, pfn + (1 << at), head, z.nxt[head])
    z.state[pfn] = ONPCP | order
    z.compact_free -= 1 << order
    if z.rules[RULE_COMPACT_ORDERS] == ORDERS_WHOLE:
        z.compact_migrate -= 1 << order
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compaction_free(z: ZoneState, pfn: cython.uint) -> cython.void:
    """Put a target back that was not needed: it is the next one."""
    order: cython.uint = z.state[pfn] & ORDER_MASK
    head: cython.uint = compact_head(z, order)
    list_insert(z, pfn, head, z.nxt[head])
    z.compact_free += 1 << order
    if z.rules[RULE_COMPACT_ORDERS] == ORDERS_WHOLE:
        z.compact_migrate += 1 << order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def release_freepages(z: ZoneState) -> cython.void:
    """Give unused target pages back, order by order, each list from its head (6.1; release_free_list, 6.12)."""
    head: cython.uint
    pfn: cython.uint
    order: cython.uint
    for order in range(z.max_order + 1):
        head = compact_head(z, order)
        while z.nxt[head] != head:
            pfn = z.nxt[head]
            list_del(z, pfn)
            z.state[pfn] = 0
            free_frames(z, pfn, order)
    z.compact_free = 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _can_be_compacted(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the migration scanner takes what begins here: a movable page that is single, or (6.12) below a pageblock."""
    s: cython.uint = z.state[pfn]
    if not s & ALLOC or not page_can_be_isolated(z, pfn):
        return False
    if not z.flags[pfn] & PG_COMPOUND:
        return s & ORDER_MASK == 0
    return (
        z.rules[RULE_COMPACT_ORDERS] == ORDERS_WHOLE
        and s & ORDER_MASK < z.pageblock_order
        and z.flags[pfn] & CLASS_MASK != C_HUGETLB
    )


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_scanner_block(z: ZoneState, pfn: cython.uint, end: cython.uint, rescan: cython.bint) -> cython.uint:
    """Collect movable pages of a pageblock, 32 or just over unless it is scanned to its end; where it stopped (6.1, 6.12).

    They are chained through ``prv``, the last found first; their owner stays in ``nxt``.
    """
    size: cython.uint
    z.compact_list = NONE
    z.compact_migrate = 0
    while pfn < end:
        size = 1 << (z.state[pfn] & ORDER_MASK)
        if _can_be_compacted(z, pfn):
            z.prv[pfn] = z.compact_list
            z.compact_list = pfn
            z.compact_migrate += size
            if z.compact_migrate >= COMPACT_CLUSTER_MAX and not rescan:
                # the tails of a driver's compound page are looked at one by one
                return pfn + (1 if z.flags[pfn] & CLASS_MASK == C_MOVABLE_OPS else size)
        pfn += size
    return min(pfn, end)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _compact_folio(z: ZoneState, src: cython.uint, dst: cython.uint) -> cython.void:
    """Move one page to its target and free its old place."""
    order: cython.uint = z.state[src] & ORDER_MASK
    z.state[dst] = ALLOC | order
    z.flags[dst] = z.flags[src]
    z.nxt[dst] = z.nxt[src]
    if z.nxt[src] < z.nr_handles:
        z.handles[z.nxt[src]] = dst
    if z.recording:
        emit(z, EV_MIGRATE_FOLIO, src, dst, order)
    free_pages(z, src)
    z.compact_moved += 1 << order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_one_by_one(z: ZoneState) -> cython.bint:
    """Move the collected pages, each with its target and its old place freed before the next; False: no target (6.1).

    A pinned page is tried like the others, and once more in the end: it takes a target and gives it back.
    """
    src: cython.uint = z.compact_list
    dst: cython.uint
    following: cython.uint
    pinned: cython.bint = False
    while src != NONE:
        following = z.prv[src]
        dst = compaction_alloc(z, 0)
        if dst == NONE:
            return False
        if z.flags[src] & PG_PINNED:
            pinned = True
            compaction_free(z, dst)
        else:
            _compact_folio(z, src, dst)
        src = following
    if pinned:
        dst = compaction_alloc(z, 0)
        if dst == NONE:
            return False
        compaction_free(z, dst)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _migrate_batch(z: ZoneState, chain: cython.uint) -> cython.bint:
    """Find targets for all pages of a chain, then move those that have one; False: there were too few (6.12).

    Large anonymous pages without a target are split; their base pages make the chain ``z.compact_list``, tails from the last to
    the first, then the head. Pages of a pinned source go back when the others have moved.
    """
    src: cython.uint = chain
    dst: cython.uint
    following: cython.uint
    i: cython.uint
    first: cython.uint = NONE
    last: cython.uint = NONE
    last_split: cython.uint = NONE
    enough: cython.bint = True
    z.compact_list = NONE
    while src != NONE:
        following = z.prv[src]
        dst = compaction_alloc(z, z.state[src] & ORDER_MASK)
        if dst != NONE:
            # until it is a page, a target's links name its source and the next target
            z.prv[dst] = src
            z.nxt[dst] = NONE
            if first == NONE:
                first = dst
            else:
                z.nxt[last] = dst
            last = dst
        elif z.flags[src] & CLASS_MASK == C_THP:
            i = src + (1 << (z.state[src] & ORDER_MASK))
            split_huge_page(z, src)
            while i > src:
                i -= 1
                z.prv[i] = NONE
                if last_split == NONE:
                    z.compact_list = i
                else:
                    z.prv[last_split] = i
                last_split = i
        else:
            enough = False
            break
        src = following
    dst = first
    first = NONE
    while dst != NONE:
        following = z.nxt[dst]
        src = z.prv[dst]
        if z.flags[src] & PG_PINNED:
            z.nxt[dst] = NONE
            if first == NONE:
                first = dst
            else:
                z.nxt[last] = dst
            last = dst
        else:
            _compact_folio(z, src, dst)
        dst = following
    dst = first
    while dst != NONE:
        following = z.nxt[dst]
        compaction_free(z, dst)
        dst = following
    return enough


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_collected(z: ZoneState) -> cython.bint:
    """Move the collected pages (rule "compact batch"); False if targets ran out. A pinned page stays.

    512 pages at most, a pageblock's, are one batch of the kernel's (NR_MAX_BATCHED_MIGRATION).
    """
    if z.rules[RULE_COMPACT_BATCH] != BATCH_TARGETS_FIRST:
        return migrate_one_by_one(z)
    if not _migrate_batch(z, z.compact_list):
        return False
    if z.compact_list != NONE:
        _migrate_batch(z, z.compact_list)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compact_zone(z: ZoneState) -> cython.void:
    """Compact a whole zone (compact_zone for order -1, 6.1, 6.12). ``z.compact_moved``: pages moved.

    A pageblock that the last migration came from is scanned to its end in one go the next time (rule "compact rescan").
    """
    # the kernel starts at pfn 0, which is a pageblock of a zone that begins there
    last_migrated: cython.uint = 0 if z.base_pfn == 0 else NONE
    began: cython.uint
    end: cython.uint
    rescan: cython.bint
    z.compact_migrate_pfn = z.zone_start
    z.compact_free_pfn = pageblock_start(z, z.zone_end - 1)
    z.compact_free = 0
    z.compact_moved = 0
    while z.compact_free_pfn >> z.pageblock_order > z.compact_migrate_pfn >> z.pageblock_order:
        began = z.compact_migrate_pfn
        rescan = last_migrated != NONE and pageblock_start(z, last_migrated) == pageblock_start(z, began)
        z.compact_migrate = 0
        end = pageblock_end(z, z.compact_migrate_pfn)
        while end <= z.compact_free_pfn:
            # a pageblock that one in-use compound page fills is passed over (pageblock_skip_persistent)
            if page_is_online(z, z.compact_migrate_pfn) and not (
                z.state[z.compact_migrate_pfn] & ALLOC
                and z.flags[z.compact_migrate_pfn] & PG_COMPOUND
                and z.state[z.compact_migrate_pfn] & ORDER_MASK >= z.pageblock_order
            ):
                z.compact_migrate_pfn = migrate_scanner_block(z, z.compact_migrate_pfn, end, rescan)
                break
            z.compact_migrate_pfn = end
            end += z.pageblock_nr_pages
        if end > z.compact_free_pfn and z.compact_migrate == 0:
            break
        if z.compact_migrate:
            last_migrated = began
            if z.rules[RULE_COMPACT_RESCAN] == RESCAN_WHERE_FOUND:
                last_migrated = max(z.zone_start, pageblock_start(z, z.compact_migrate_pfn - 1))
            if (
                not migrate_collected(z)
                and z.compact_free_pfn >> z.pageblock_order > z.compact_migrate_pfn >> z.pageblock_order
            ):
                break
    release_freepages(z)
