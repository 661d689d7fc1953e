"""The walks of the seed's patch 4 as posted (19 January 2022), which split free pages beside a request.

Source: [PATCH v4 4/7] mm: make alloc_contig_range work at pageblock granularity, and what it did on a running kernel
with CONFIG_DEBUG_VM. ``release.FAULTS`` names its faults.
"""

import cython

if not cython.compiled:
    from .constants import (
        BUDDY,
        ENOTRECOVERABLE,
        EV_SPLIT,
        ISOLATE,
        ORDER_MASK,
        STEP_NONE,
        STEP_SPLIT,
        WHY_BUG_MISALIGNED,
        WHY_BUG_WALK,
    )
    from .zone import ZoneState, emit, get_pageblock_migratetype, refuse
    from .freelist import del_page_from_free_list
    from .page_alloc import _free_one_page, mod_zone_freepage_state
    from .overlap import cover_pageblock


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def buddy_below(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """The order walk: the first free page met at the frame rounded down to ever higher orders, or the frame itself.

    It need not reach as far as the frame.
    """
    outer: cython.uint = pfn
    order: cython.uint = 0
    while not z.state[outer] & BUDDY:
        order += 1
        if order > z.max_order:
            return pfn
        outer = outer >> order << order
    return outer


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_free_page_into_pageblocks(z: ZoneState, head: cython.uint) -> cython.int:
    """Free a listed page anew, a pageblock at a time, each under its own type; 0 or -ENOTRECOVERABLE.

    Its pages were not counted while they were isolated; if they were (a second split), they are counted twice. A page
    smaller than a pageblock is freed as a whole one: over pages in use where it is aligned, and a BUG where it is not.
    """
    order: cython.uint = z.state[head] & ORDER_MASK
    pfn: cython.uint = head
    mt: cython.uint
    if z.recording:
        emit(z, EV_SPLIT, head, order, 0)
    del_page_from_free_list(z, head, order)
    while pfn < head + (1 << order):
        mt = get_pageblock_migratetype(z, pfn)
        if pfn & (z.pageblock_nr_pages - 1):
            # __free_one_page counts before it looks at the alignment
            if mt != ISOLATE:
                mod_zone_freepage_state(z, z.pageblock_nr_pages, mt)
            refuse(z, STEP_SPLIT, WHY_BUG_MISALIGNED, pfn)
            return -ENOTRECOVERABLE
        if order < z.pageblock_order:
            cover_pageblock(z, pfn)
        _free_one_page(z, pfn, z.pageblock_order, mt, False)
        pfn += z.pageblock_nr_pages
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_at_start(z: ZoneState, start: cython.uint) -> cython.int:
    """Split the free page that began before the request and reaches into it, whatever its size; 0 or -ENOTRECOVERABLE."""
    outer: cython.uint = buddy_below(z, start)
    if outer != start and outer + (1 << (z.state[outer] & ORDER_MASK)) > start:
        return split_free_page_into_pageblocks(z, outer)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk_behind_end(z: ZoneState, begin: cython.uint, end: cython.uint) -> cython.int:
    """Split what is met from the request's last pageblock to the window's end; 0 or -ENOTRECOVERABLE.

    A free page that starts where the walk stands is not recognised there but from its second page on. A walk that
    comes upon a free page that ends before is a BUG.
    """
    pfn: cython.uint = begin
    outer: cython.uint
    size: cython.uint
    while pfn < end:
        outer = buddy_below(z, pfn)
        if outer == pfn:
            pfn += 1
            continue
        size = 1 << (z.state[outer] & ORDER_MASK)
        if outer + size <= pfn:
            refuse(z, STEP_NONE, WHY_BUG_WALK, pfn)
            return -ENOTRECOVERABLE
        if split_free_page_into_pageblocks(z, outer):
            return -ENOTRECOVERABLE
        pfn = outer + size
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def split_again(z: ZoneState, begin: cython.uint, end: cython.uint) -> cython.int:
    """Split what was split before: whole pageblocks of [begin, end) are freed, and counted, once more."""
    pfn: cython.uint = begin
    size: cython.uint
    while pfn < end:
        size = z.pageblock_nr_pages
        if z.state[pfn] & BUDDY and z.state[pfn] & ORDER_MASK >= z.pageblock_order:
            size = 1 << (z.state[pfn] & ORDER_MASK)
            if split_free_page_into_pageblocks(z, pfn):
                return -ENOTRECOVERABLE
        pfn += size
    return 0
