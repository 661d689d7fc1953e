"""Compaction: movable pages from the zone's start into free pages from its end, until the two scanners meet.

Source: mm/compaction.c (6.1.192): compact_zone, isolate_migratepages, isolate_freepages, as
``echo 1 > /proc/sys/vm/compact_memory`` runs it (order -1, whole zone, synchronous, skip hints ignored). The searches that only
direct compaction makes (fast_find_migrateblock, fast_isolate_freepages) are not modelled.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        ALLOC_CMA,
        BUDDY,
        CMA,
        COMPACT_CLUSTER_MAX,
        EV_MIGRATE_FOLIO,
        ISOLATE,
        MOVABLE,
        MOVE_SPLITS,
        NONE,
        NR_PCP_LISTS,
        ONPCP,
        ORDER_MASK,
        PG_COMPOUND,
        PG_PINNED,
        RULE_BLOCK_MOVE,
    )
    from .zone import (
        ZoneState,
        emit,
        get_pageblock_migratetype,
        page_is_online,
        pageblock_end,
        pageblock_start,
        set_pageblock_migratetype,
    )
    from .freelist import del_page_from_free_list, list_del, list_insert
    from .page_alloc import _move_freepages_block, block_is_whole, migratetype_is_mergeable, mod_zone_freepage_state
    from .watermark import zone_watermark_ok
    from .pcplist import pcp_head
    from .gfp import free_frames, free_pages
    from .migrate import page_can_be_isolated


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _isolate_free_page(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Take a free page off its list, above the min watermark and its own size; pages taken, 0: refused (6.1).

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

    They go to the tail of the list of whole free pages, to be split when the scan ends. Behind each page that was looked
    at, ``stride`` - 1 more are passed over: a free page is found only if the scan comes upon its head.
    """
    s: cython.uint
    size: cython.uint
    head: cython.uint = compact_whole_head(z)
    while pfn < end:
        s = z.state[pfn]
        size = 1 << (s & ORDER_MASK) if s else 1
        if s & BUDDY:
            if _isolate_free_page(z, pfn) == 0:
                break
            # kept as an unlisted block: neither free nor in use
            z.state[pfn] = ONPCP | (s & ORDER_MASK)
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
def compact_whole_head(z: ZoneState) -> cython.uint:
    """Head of the list of free pages taken whole, behind the per-cpu lists' heads."""
    return pcp_head(z, NR_PCP_LISTS)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def compact_split_head(z: ZoneState) -> cython.uint:
    """Head of the list of single free pages that migration takes from."""
    return pcp_head(z, NR_PCP_LISTS + 1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_map_pages(z: ZoneState) -> cython.void:
    """Split the pages taken; the last page of the last one comes first (6.1)."""
    whole: cython.uint = compact_whole_head(z)
    single: cython.uint = compact_split_head(z)
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
    """Whether the free scanner looks into a pageblock: MOVABLE or CMA, and not one free page already (6.1)."""
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    if z.state[pfn] & BUDDY and z.state[pfn] & ORDER_MASK >= z.pageblock_order:
        return False
    return mt == MOVABLE or mt == CMA


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_freepages(z: ZoneState) -> cython.void:
    """The free scanner: pageblocks downwards from where it stood, until there are enough pages (6.1).

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
    split_map_pages(z)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compaction_alloc(z: ZoneState) -> cython.uint:
    """The next page to migrate to, or NONE (6.1)."""
    head: cython.uint = compact_split_head(z)
    pfn: cython.uint
    if z.nxt[head] == head:
        isolate_freepages(z)
        if z.nxt[head] == head:
            return NONE
    pfn = z.nxt[head]
    list_del(z, pfn)
    z.compact_free -= 1
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def release_freepages(z: ZoneState) -> cython.void:
    """Give unused target pages back, in list order (6.1)."""
    head: cython.uint = compact_split_head(z)
    pfn: cython.uint
    while z.nxt[head] != head:
        pfn = z.nxt[head]
        list_del(z, pfn)
        z.state[pfn] = 0
        free_frames(z, pfn, 0)
    z.compact_free = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_scanner_block(z: ZoneState, pfn: cython.uint, end: cython.uint, rescan: cython.bint) -> cython.uint:
    """Collect movable single pages of a pageblock, 32 at most unless it is scanned again; where it stopped (6.1).

    Collected pages are chained through ``prv``, the last found first; their owner stays in ``nxt``.
    """
    s: cython.uint
    z.compact_list = NONE
    z.compact_migrate = 0
    while pfn < end:
        s = z.state[pfn]
        if s & ALLOC and s & ORDER_MASK == 0 and not z.flags[pfn] & PG_COMPOUND and page_can_be_isolated(z, pfn):
            z.prv[pfn] = z.compact_list
            z.compact_list = pfn
            z.compact_migrate += 1
            if z.compact_migrate >= COMPACT_CLUSTER_MAX and not rescan:
                return pfn + 1
        pfn += 1 << (s & ORDER_MASK) if s else 1
    return min(pfn, end)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_collected(z: ZoneState) -> cython.bint:
    """Move the collected pages; False if targets ran out. A pinned page stays."""
    src: cython.uint = z.compact_list
    dst: cython.uint
    nxt_src: cython.uint
    while src != NONE:
        nxt_src = z.prv[src]
        if not z.flags[src] & PG_PINNED:
            dst = compaction_alloc(z)
            if dst == NONE:
                return False
            z.state[dst] = ALLOC
            z.flags[dst] = z.flags[src]
            z.nxt[dst] = z.nxt[src]
            if z.nxt[src] < z.nr_handles:
                z.handles[z.nxt[src]] = dst
            if z.recording:
                emit(z, EV_MIGRATE_FOLIO, src, dst, 0)
            free_pages(z, src)
            z.compact_moved += 1
        src = nxt_src
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compact_zone(z: ZoneState) -> cython.void:
    """Compact a whole zone (compact_zone for order -1, 6.1). ``z.compact_moved``: pages moved.

    A pageblock that the last migration came from is scanned to its end in one go the next time.
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
            if (
                not migrate_collected(z)
                and z.compact_free_pfn >> z.pageblock_order > z.compact_migrate_pfn >> z.pageblock_order
            ):
                break
    release_freepages(z)
