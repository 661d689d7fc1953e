"""Take memory out of the allocator and put it back.

Source: mm/memory_hotplug.c (offline_pages, scan_movable_pages, do_migrate_range, online_pages, generic_online_page),
mm/page_alloc.c (__offline_isolated_pages, __free_pages_core), 5.15 to 6.19.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        C_ANON,
        C_FILE,
        C_HOLE,
        C_HUGETLB,
        C_MOVABLE_OPS,
        C_OFFLINE,
        C_PAGEVEC,
        C_THP,
        ISOLATE,
        LARGE_WHOLE,
        LIST_BATCHES,
        LIST_BATCHES_ASCENDING,
        LIST_BATCHES_BELOW,
        LIST_HEAD_AGAIN,
        LIST_SPLITS_LAST,
        MEMORY_OFFLINE,
        MOVABLE,
        NONE,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        RULE_FREE_LARGE,
        RULE_OFFLINE_LIST,
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
    """Whether an allocated head is on the LRU, movable by its driver or a huge page in use; pins do not matter.

    A huge page that lies unused in its pool is not HPageMigratable.
    """
    c: cython.uint = z.flags[head] & CLASS_MASK
    if c == C_HUGETLB:
        return not z.flags[head] & PG_CLEAN
    return c == C_ANON or c == C_FILE or c == C_THP or c == C_MOVABLE_OPS


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
def migrate_source(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Move one page of the list; WHY_NONE, or why it stays: pinned, or no target.

    A gigantic huge page has a target only if the pool has a free one, which the model does not know of
    (alloc_huge_page_nodemask).
    """
    order: cython.uint = z.state[pfn] & ORDER_MASK
    if z.flags[pfn] & PG_PINNED:
        return WHY_BUSY
    if order > z.max_order:
        return WHY_GIGANTIC
    return WHY_NONE if migrate_folio(z, pfn) else WHY_NO_TARGET


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_source(
    z: ZoneState, size: cython.uint, pfn: cython.uint, why: cython.uint, found: cython.p_uint
) -> cython.bint:
    """Count a page as moved or as staying; whether the list goes on: a page without a target ends it (-ENOMEM)."""
    found[0 if why == WHY_NONE else 1] += size
    if why != WHY_NONE and z.refused_why == WHY_NONE:
        refuse(z, STEP_MIGRATE, why, pfn)
    return why == WHY_NONE or why == WHY_BUSY


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def list_tails(z: ZoneState, head: cython.uint, sources: cython.p_uint, count: cython.uint) -> cython.uint:
    """Split a THP and put its tails at the end of the list; the new length. Until 6.12 the last tail comes first."""
    size: cython.uint = 1 << (z.state[head] & ORDER_MASK)
    i: cython.uint
    split_huge_page(z, head)
    for i in range(1, size):
        if z.rules[RULE_OFFLINE_LIST] == LIST_BATCHES_ASCENDING:
            sources[count] = head + i
        else:
            sources[count] = head + size - i
        count += 1
    return count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def collect_sources(z: ZoneState, start: cython.uint, end: cython.uint, sources: cython.p_uint) -> cython.uint:
    """List the migratable pages of [start, end), ascending; how many. ``sources`` has room for two entries a page."""
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
def migrate_in_place(z: ZoneState, sources: cython.p_uint, count: cython.uint, found: cython.p_uint) -> cython.void:
    """migrate_pages of 5.15: one list, kept in order; the head of a split THP is tried again at once."""
    i: cython.uint = 0
    why: cython.uint
    size: cython.uint
    while i < count:
        size = 1 << (z.state[sources[i]] & ORDER_MASK)
        why = migrate_source(z, sources[i])
        if why == WHY_NO_TARGET and z.flags[sources[i]] & CLASS_MASK == C_THP:
            count = list_tails(z, sources[i], sources, count)
            continue
        if not count_source(z, size, sources[i], why, found):
            return
        i += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_hugetlbs(z: ZoneState, sources: cython.p_uint, count: cython.uint, found: cython.p_uint) -> cython.bint:
    """Move the huge pages of the list and take them off it; False: one has no target, and nothing else is tried."""
    i: cython.uint
    pfn: cython.uint
    for i in range(count):
        pfn = sources[i]
        if z.flags[pfn] & CLASS_MASK == C_HUGETLB:
            sources[i] = NONE
            if not count_source(z, 1 << (z.state[pfn] & ORDER_MASK), pfn, migrate_source(z, pfn), found):
                return False
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def migrate_pages_batch(
    z: ZoneState,
    sources: cython.p_uint,
    start: cython.uint,
    end: cython.uint,
    count: cython.uint,
    found: cython.p_uint,
) -> cython.bint:
    """Move entries [start, end) of the list, then what they were split into, which is put behind ``count``.

    False: a page has no target and the list ends. Since 6.12 that of a split page ends the split pages only.
    """
    i: cython.uint
    pfn: cython.uint
    why: cython.uint
    size: cython.uint
    last: cython.uint = count
    for i in range(start, end):
        pfn = sources[i]
        if pfn == NONE:
            continue
        size = 1 << (z.state[pfn] & ORDER_MASK)
        why = migrate_source(z, pfn)
        if why == WHY_NO_TARGET and z.flags[pfn] & CLASS_MASK == C_THP:
            last = list_tails(z, pfn, sources, last)
            sources[last] = pfn
            last += 1
        elif not count_source(z, size, pfn, why, found):
            return False
    for i in range(count, last):
        if not count_source(z, 1, sources[i], migrate_source(z, sources[i]), found):
            return z.rules[RULE_OFFLINE_LIST] >= LIST_BATCHES
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def batch_end(z: ZoneState, sources: cython.p_uint, start: cython.uint, count: cython.uint) -> cython.uint:
    """Where the batch that begins at an entry ends: NR_MAX_BATCHED_MIGRATION base pages, HPAGE_PMD_NR.

    6.1.192 ends it before the page that exceeds them, 6.12 behind the page that reaches them. A PMD's page is a pageblock
    wherever there are huge pages.
    """
    pages: cython.uint = 0
    size: cython.uint
    i: cython.uint
    if z.rules[RULE_OFFLINE_LIST] == LIST_SPLITS_LAST:
        return count
    for i in range(start, count):
        size = 0 if sources[i] == NONE else 1 << (z.state[sources[i]] & ORDER_MASK)
        pages += size
        if z.rules[RULE_OFFLINE_LIST] == LIST_BATCHES_BELOW:
            if pages > z.pageblock_nr_pages and i > start:
                return i
        elif pages >= z.pageblock_nr_pages:
            return i + 1
    return count


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def do_migrate_range(
    z: ZoneState, start: cython.uint, end: cython.uint, sources: cython.p_uint, found: cython.p_uint
) -> cython.void:
    """Migrate all that can be of [start, end) as one list, ascending; what fails stays and is not reported (5.15 to 6.19).

    Clean pages move too: nothing is dropped. Without a target a THP is split and its base pages are tried; a base page
    without one ends the list. Rule "offline list": what moves when. ``found``: base pages moved, base pages
    that stayed although tried; the first of them is left in ``z.refused_pfn`` with its reason.
    """
    count: cython.uint = collect_sources(z, start, end, sources)
    at: cython.uint = 0
    stop: cython.uint
    refuse(z, STEP_MIGRATE, WHY_NONE, end)
    found[0] = 0
    found[1] = 0
    if z.rules[RULE_OFFLINE_LIST] == LIST_HEAD_AGAIN:
        migrate_in_place(z, sources, count, found)
        return
    if z.rules[RULE_OFFLINE_LIST] >= LIST_BATCHES_BELOW and not migrate_hugetlbs(z, sources, count, found):
        return
    while at < count:
        stop = batch_end(z, sources, at, count)
        if not migrate_pages_batch(z, sources, at, stop, count, found):
            return
        at = stop


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
        # init_pageblock_migratetype (6.17): whatever the pageblock was before it went offline is forgotten
        z.type_beneath[pfn >> z.pageblock_order] = MOVABLE
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
