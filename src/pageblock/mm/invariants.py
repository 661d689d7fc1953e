"""What must hold of a zone between two operations; each failed check says which rule and where.

The rules are the kernel's own assumptions (mm/page_alloc.c, mm/page_isolation.c); the one that the seed is
about is INV_FREE_PAGES: NR_FREE_PAGES counts what is free outside isolated pageblocks.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CMA,
        INV_BUDDIES,
        INV_FREE_BLOCK,
        INV_FREE_CMA,
        INV_FREE_PAGES,
        INV_HYGIENE,
        INV_ISOLATED_LIST,
        INV_ISOLATE_COUNT,
        INV_LINKS,
        INV_LISTED,
        INV_NONE,
        INV_ONE_STATE,
        INV_PCP,
        INV_ZONE_END,
        ISOLATE,
        MERGE_MERGEABLE,
        MOVE_SPLITS,
        NR_MIGRATETYPES,
        NR_PCP_LISTS,
        ONPCP,
        ORDER_MASK,
        RULE_BLOCK_MOVE,
        RULE_MERGE,
    )
    from .zone import ZoneState, get_pageblock_migratetype, list_head
    from .page_alloc import migratetype_is_mergeable, page_is_buddy
    from .pcplist import pcp_head, pindex_to_order


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def broken(z: ZoneState, invariant: cython.uint, pfn: cython.uint) -> cython.uint:
    """Note where, return which."""
    z.refused_pfn = pfn
    return invariant


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def list_is_hygienic(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.bint:
    """Whether all pageblocks that a free block covers have the type of its list (promised since 6.10)."""
    end: cython.uint = pfn + (1 << order)
    while pfn < end:
        if get_pageblock_migratetype(z, pfn) != mt:
            return False
        pfn += z.pageblock_nr_pages
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_pcp(z: ZoneState) -> cython.uint:
    """The per-cpu lists: links agree, each entry is a page of the list's order, their count is right."""
    pindex: cython.uint
    head: cython.uint
    before: cython.uint
    pfn: cython.uint
    pages: cython.longlong = 0
    for pindex in range(NR_PCP_LISTS):
        head = pcp_head(z, pindex)
        before = head
        pfn = z.nxt[head]
        while pfn != head:
            if pfn >= z.nr_frames or z.prv[pfn] != before or z.state[pfn] != (ONPCP | pindex_to_order(z, pindex)):
                return broken(z, INV_PCP, min(pfn, before))
            pages += 1 << pindex_to_order(z, pindex)
            if pages > z.nr_frames:
                return broken(z, INV_PCP, pfn)
            before = pfn
            pfn = z.nxt[pfn]
    return INV_NONE if pages == z.pcp_count else broken(z, INV_PCP, z.zone_start)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_list(z: ZoneState, order: cython.uint, mt: cython.uint, found: cython.p_ulonglong) -> cython.uint:
    """One free list: links agree in both directions, each entry heads an aligned free block of this order.

    Its pageblock is isolated if and only if the list is ISOLATE. ``found`` counts blocks per order.
    """
    head: cython.uint = list_head(z, order, mt)
    before: cython.uint = head
    pfn: cython.uint = z.nxt[head]
    steps: cython.uint = 0
    while pfn != head:
        if pfn >= z.nr_frames or z.prv[pfn] != before or steps > z.nr_frames:
            return broken(z, INV_LINKS, min(pfn, before))
        if z.state[pfn] != (BUDDY | order) or pfn & ((1 << order) - 1):
            return broken(z, INV_FREE_BLOCK, pfn)
        if (get_pageblock_migratetype(z, pfn) == ISOLATE) != (mt == ISOLATE):
            return broken(z, INV_ISOLATED_LIST, pfn)
        if z.rules[RULE_BLOCK_MOVE] == MOVE_SPLITS and not list_is_hygienic(z, pfn, order, mt):
            return broken(z, INV_HYGIENE, pfn)
        found[order] += 1
        steps += 1
        before = pfn
        pfn = z.nxt[pfn]
    return INV_NONE if z.prv[head] == before else broken(z, INV_LINKS, before if before != head else 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def types_ever_merge(z: ZoneState, mt: cython.uint, buddy_mt: cython.uint) -> cython.bint:
    """Whether two free buddies of these pageblock types may not stay apart.

    What 5.15 merges or not depends on what was isolated at the time, so that equal types only are asked for; and not
    ISOLATE, for isolation moves free pages and merges none.
    """
    if mt == ISOLATE or buddy_mt == ISOLATE:
        return False
    if z.rules[RULE_MERGE] == MERGE_MERGEABLE:
        return mt == buddy_mt or (migratetype_is_mergeable(mt) and migratetype_is_mergeable(buddy_mt))
    return mt == buddy_mt


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_frames(z: ZoneState, found: cython.p_ulonglong, listed: cython.ulonglong) -> cython.uint:
    """Walk the zone: blocks do not overlap or cross its end, every free block is listed, free buddies are merged."""
    pfn: cython.uint = z.zone_start
    end: cython.uint
    i: cython.uint
    order: cython.uint
    s: cython.uint
    seen: cython.ulonglong = 0
    for pfn in range(z.zone_start):
        if z.state[pfn]:
            return broken(z, INV_ZONE_END, pfn)
    pfn = z.zone_start
    while pfn < z.zone_end:
        s = z.state[pfn]
        order = s & ORDER_MASK
        if s == 0:
            pfn += 1
            continue
        if (1 << order) > z.zone_end - pfn:
            return broken(z, INV_ZONE_END, pfn)
        end = pfn + (1 << order)
        for i in range(pfn + 1, end):
            if z.state[i]:
                return broken(z, INV_ONE_STATE, i)
        if s & BUDDY:
            seen += 1
            if order < z.max_order and page_is_buddy(z, pfn ^ (1 << order), order):
                if order < z.pageblock_order or types_ever_merge(
                    z, get_pageblock_migratetype(z, pfn), get_pageblock_migratetype(z, pfn ^ (1 << order))
                ):
                    return broken(z, INV_BUDDIES, pfn)
        pfn = end
    return INV_NONE if seen == listed else broken(z, INV_LISTED, z.zone_start)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_counters(z: ZoneState, found: cython.p_ulonglong) -> cython.uint:
    """NR_FREE_PAGES and NR_FREE_CMA_PAGES against the free pages outside isolated, and inside CMA, pageblocks.

    ``found[0]`` and ``found[1]`` receive what is really there.
    """
    pfn: cython.uint = z.zone_start
    order: cython.uint
    mt: cython.uint
    size: cython.uint
    chunk: cython.uint
    free: cython.longlong = 0
    free_cma: cython.longlong = 0
    isolated: cython.longlong = 0
    for pfn in range(z.nr_frames >> z.pageblock_order):
        if z.pageblock_mt[pfn] == ISOLATE:
            isolated += 1
    pfn = z.zone_start
    while pfn < z.zone_end:
        order = z.state[pfn] & ORDER_MASK
        if not z.state[pfn] & BUDDY:
            pfn += 1 << order if z.state[pfn] & ALLOC else 1
            continue
        size = 1 << order
        chunk = min(size, z.pageblock_nr_pages)
        while size:
            mt = get_pageblock_migratetype(z, pfn)
            if mt != ISOLATE:
                free += chunk
            elif order > z.pageblock_order and get_pageblock_migratetype(z, pfn >> order << order) != ISOLATE:
                # the second half of a listed free page is isolated: it can be allocated while isolated
                return broken(z, INV_ISOLATED_LIST, pfn)
            if mt == CMA:
                free_cma += chunk
            pfn += chunk
            size -= chunk
    found[0] = free
    found[1] = free_cma
    if free != z.nr_free_pages:
        return broken(z, INV_FREE_PAGES, z.zone_start)
    if free_cma != z.nr_free_cma_pages:
        return broken(z, INV_FREE_CMA, z.zone_start)
    return INV_NONE if isolated == z.nr_isolate_pageblock else broken(z, INV_ISOLATE_COUNT, z.zone_start)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def check_zone(z: ZoneState, found: cython.p_ulonglong) -> cython.uint:
    """The first broken invariant, or INV_NONE; ``z.refused_pfn`` says where. ``found``: 32 words, all zero."""
    order: cython.uint
    mt: cython.uint
    invariant: cython.uint
    listed: cython.ulonglong = 0
    for order in range(z.max_order + 1):
        for mt in range(NR_MIGRATETYPES):
            invariant = check_list(z, order, mt, found)
            if invariant:
                return invariant
        listed += found[order]
    invariant = check_pcp(z)
    if invariant:
        return invariant
    invariant = check_frames(z, found, listed)
    if invariant:
        return invariant
    return check_counters(z, found)
