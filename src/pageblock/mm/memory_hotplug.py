"""Take memory out of the allocator and put it back.

Source: mm/memory_hotplug.c (offline_pages, scan_movable_pages, do_migrate_range, online_pages, generic_online_page),
mm/page_alloc.c (__offline_isolated_pages, __free_pages_core), 5.15 to 6.19.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BATCH_TARGETS_FIRST,
        BUDDY,
        CLASS_MASK,
        C_ANON,
        C_FILE,
        C_HOLE,
        C_HUGETLB,
        C_HWPOISON,
        C_MOVABLE_OPS,
        C_OFFLINE,
        C_PAGEVEC,
        C_THP,
        ISOLATE,
        LARGE_WHOLE,
        MEMORY_OFFLINE,
        MOVABLE,
        NONE,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        RULE_COMPACT_BATCH,
        RULE_FREE_LARGE,
        RULE_SCHEME,
        SCHEME_SINGLE_PAGEBLOCK,
        STEP_MIGRATE,
        WHY_BUSY,
        WHY_GIGANTIC,
        WHY_NONE,
        WHY_NO_TARGET,
    )
    from .zone import ZoneState, compound_head, get_pageblock_migratetype, refuse, set_pageblock_migratetype
    from .freelist import del_page_from_free_list
    from .page_alloc import _free_one_page
    from .gfp import free_pages
    from .migrate import migrate_folio, split_huge_page
    from .page_isolation import isolate_ascending, start_isolate_page_range


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def lru_add_drain(z: ZoneState) -> cython.uint:
    """Put the pages that wait in per-cpu batches onto the LRU, as lru_cache_disable does (mm/swap.c); how many."""
    pfn: cython.uint
    drained: cython.uint = 0
    for pfn in range(z.zone_start, z.zone_end):
        if z.state[pfn] & ALLOC and z.flags[pfn] & CLASS_MASK == C_PAGEVEC:
            z.flags[pfn] = (z.flags[pfn] & ~CLASS_MASK & 0xFF) | C_ANON
            drained += 1
    return drained


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_clean_pages(z: ZoneState) -> cython.longlong:
    """Free every clean file page that is not pinned, ascending; how many (mm/truncate.c, invalidate_mapping_pages)."""
    pfn: cython.uint
    dropped: cython.longlong = 0
    for pfn in range(z.zone_start, z.zone_end):
        if z.state[pfn] == ALLOC and z.flags[pfn] & CLASS_MASK == C_FILE and z.flags[pfn] & PG_CLEAN:
            if not z.flags[pfn] & (PG_PINNED | PG_COMPOUND):
                free_pages(z, pfn)
                dropped += 1
    return dropped


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolate_for_offline(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.int:
    """Isolate [start, end), whole pageblocks, for offlining; 0, or -EBUSY and nothing stays so.

    Never rounded: what 5.15's alloc_contig_range rounds, offline_pages asks of its caller. HWPoison and PageOffline
    pages pass (MEMORY_OFFLINE; PB_ISOLATE_MODE_MEM_OFFLINE in 6.19).
    """
    if z.rules[RULE_SCHEME] >= SCHEME_SINGLE_PAGEBLOCK:
        return start_isolate_page_range(z, start, end, MOVABLE, MEMORY_OFFLINE)
    return isolate_ascending(z, start, end, start, end, MOVABLE, True, MEMORY_OFFLINE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def is_migratable(z: ZoneState, head: cython.uint) -> cython.bint:
    """Whether an allocated head is on the LRU, movable by its driver or a migratable huge page; pins do not matter."""
    c: cython.uint = z.flags[head] & CLASS_MASK
    return c == C_ANON or c == C_FILE or c == C_THP or c == C_MOVABLE_OPS or c == C_HUGETLB


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def scan_movable_pages(z: ZoneState, start: cython.uint, end: cython.uint, let_go: cython.bint) -> cython.uint:
    """First frame of [start, end) that can be migrated, or NONE; ``z.refused_why`` tells the two ends apart.

    WHY_NONE: nothing is left to move. Else a PageOffline page that its driver still refers to (``let_go`` false) ends the
    scan with -EBUSY. Any other page in use is passed over.
    """
    pfn: cython.uint = start
    head: cython.uint
    s: cython.uint
    size: cython.uint
    refuse(z, STEP_MIGRATE, WHY_NONE, end)
    while pfn < end:
        s = z.state[pfn]
        size = 1 << (s & ORDER_MASK)
        if s & ALLOC:
            if is_migratable(z, pfn):
                return pfn
            if z.flags[pfn] & CLASS_MASK == C_OFFLINE and not let_go:
                refuse(z, STEP_MIGRATE, WHY_BUSY, pfn)
                return NONE
        elif s == 0 and pfn == start:
            head = compound_head(z, pfn)
            if head != NONE and is_migratable(z, head):
                return pfn
        if size >= end - pfn:
            break
        pfn += size
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_source(z: ZoneState, pfn: cython.uint, found: cython.p_uint) -> cython.int:
    """Move one page of the list; 0, 1: it stays and the list goes on, -1: no target.

    ``found``: see ``do_migrate_range``. A gigantic huge page has a target only if the pool has a free one, which the
    model does not know of (alloc_huge_page_nodemask).
    """
    order: cython.uint = z.state[pfn] & ORDER_MASK
    why: cython.uint = WHY_BUSY
    if not z.flags[pfn] & PG_PINNED:
        if order <= z.max_order and migrate_folio(z, pfn):
            found[0] += 1 << order
            return 0
        why = WHY_GIGANTIC if order > z.max_order else WHY_NO_TARGET
    found[1] += 1 << order
    if z.refused_why == WHY_NONE:
        refuse(z, STEP_MIGRATE, why, pfn)
    return 1 if why == WHY_BUSY else -1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def collect_sources(z: ZoneState, start: cython.uint, end: cython.uint, sources: cython.p_uint) -> cython.uint:
    """List the migratable pages of [start, end), ascending; how many. ``sources`` has room for one entry a page and one."""
    pfn: cython.uint = start
    count: cython.uint = 0
    head: cython.uint
    s: cython.uint
    size: cython.uint
    while pfn < end:
        s = z.state[pfn]
        size = 1 << (s & ORDER_MASK)
        head = pfn
        if s == 0 and pfn == start:
            head = compound_head(z, pfn)
            if head == NONE:
                head = pfn
            else:
                size = head + (1 << (z.state[head] & ORDER_MASK)) - pfn
        if z.state[head] & ALLOC and is_migratable(z, head):
            sources[count] = head
            count += 1
        if size >= end - pfn:
            break
        pfn += size
    return count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_migrate_range(
    z: ZoneState, start: cython.uint, end: cython.uint, sources: cython.p_uint, found: cython.p_uint
) -> cython.void:
    """Migrate all that can be of [start, end) in one list, ascending; what fails stays and is not reported (5.15 to 6.19).

    Clean pages move too: nothing is dropped. Without a target a THP is split and its base pages go to the end of the list,
    tails from the last to the first, then the head (6.1); a base page without one ends the list. Since 6.3 huge pages move
    before all others (migrate_pages). ``found``: base pages moved, base pages that stayed although tried; the first of
    them is left in ``z.refused_pfn`` with its reason.
    """
    count: cython.uint = collect_sources(z, start, end, sources)
    hugetlb_first: cython.bint = z.rules[RULE_COMPACT_BATCH] == BATCH_TARGETS_FIRST
    listed: cython.uint = count
    i: cython.uint
    j: cython.uint
    turn: cython.uint
    pfn: cython.uint
    order: cython.uint
    rc: cython.int
    refuse(z, STEP_MIGRATE, WHY_NONE, end)
    found[0] = 0
    found[1] = 0
    for turn in range(2 if hugetlb_first else 1):
        for i in range(listed):
            pfn = sources[i]
            if pfn == NONE:
                continue
            if hugetlb_first and (z.flags[pfn] & CLASS_MASK == C_HUGETLB) != (turn == 0):
                continue
            sources[i] = NONE
            order = z.state[pfn] & ORDER_MASK
            rc = migrate_source(z, pfn, found)
            if rc >= 0:
                continue
            if z.flags[pfn] & CLASS_MASK != C_THP:
                return
            # not failed yet: its base pages follow
            found[1] -= 1 << order
            refuse(z, STEP_MIGRATE, WHY_NONE, end)
            split_huge_page(z, pfn)
            for j in range(1 << order):
                sources[count] = pfn + (1 << order) - 1 - j
                count += 1
    for i in range(listed, count):
        if migrate_source(z, sources[i], found) < 0:
            return


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def offline_isolated_pages(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.uint:
    """Take [start, end), isolated and free but for HWPoison and PageOffline pages, out of the allocator; managed pages gone.

    __offline_isolated_pages: free pages leave their lists, uncounted, as they left the counters when isolated. 6.12 counts
    the managed pages here, earlier ones have virtio-mem count its pages back in before: the sum is the same. The types
    of the pageblocks are stale from here on; they are MOVABLE here, as they no longer count as isolated.
    """
    pfn: cython.uint = start
    at: cython.uint
    size: cython.uint
    managed: cython.uint = end - start
    while pfn < end:
        size = 1 << (z.state[pfn] & ORDER_MASK)
        if z.state[pfn] & BUDDY:
            del_page_from_free_list(z, pfn, z.state[pfn] & ORDER_MASK)
        elif z.flags[pfn] & CLASS_MASK == C_OFFLINE:
            managed -= 1
        for at in range(pfn, pfn + size):
            z.state[at] = ALLOC
            z.flags[at] = C_HOLE
            z.nxt[at] = NONE
        pfn += size
    pfn = start
    while pfn < end:
        set_pageblock_migratetype(z, pfn, MOVABLE)
        z.nr_isolate_pageblock -= 1
        pfn += z.pageblock_nr_pages
    z.managed_pages -= managed
    return managed


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def all_class(z: ZoneState, start: cython.uint, end: cython.uint, page_class: cython.uint) -> cython.bint:
    """Whether all of [start, end) are allocated order-0 pages of a class."""
    pfn: cython.uint
    for pfn in range(start, end):
        if z.state[pfn] != ALLOC or z.flags[pfn] & CLASS_MASK != page_class:
            return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def move_pfn_range_to_zone(z: ZoneState, start: cython.uint, end: cython.uint) -> cython.void:
    """Give the holes [start, end) pages that nobody may use yet, in isolated pageblocks (online_pages).

    They are PageOffline in 6.12 and reserved before: C_OFFLINE here. Their pageblocks are MOVABLE and isolated in 6.19,
    ISOLATE before.
    """
    pfn: cython.uint
    for pfn in range(start, end):
        z.state[pfn] = ALLOC
        z.flags[pfn] = C_OFFLINE
        z.nxt[pfn] = NONE
    pfn = start
    while pfn < end:
        set_pageblock_migratetype(z, pfn, ISOLATE)
        z.nr_isolate_pageblock += 1
        pfn += z.pageblock_nr_pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def generic_online_page(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Hand a block of pages that were never used to the allocator: past the per-cpu lists, to the tail (__free_pages_core).

    Rule "free large": from 6.10 on a pageblock at a time.
    """
    at: cython.uint = pfn
    end: cython.uint = pfn + (1 << order)
    step: cython.uint = order
    if order > z.pageblock_order and z.rules[RULE_FREE_LARGE] != LARGE_WHOLE:
        step = z.pageblock_order
    for at in range(pfn, end):
        z.state[at] = 0
        z.flags[at] = 0
    z.managed_pages += cython.cast(cython.longlong, 1) << order
    while pfn < end:
        _free_one_page(z, pfn, step, get_pageblock_migratetype(z, pfn), True)
        pfn += cython.cast(cython.uint, 1) << step
