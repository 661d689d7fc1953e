"""Free lists: intrusive, circular, one per (order, migratetype); every operation is O(1).

Source: mm/page_alloc.c (6.1): add_to_free_list, add_to_free_list_tail, move_to_free_list,
del_page_from_free_list, get_page_from_free_area. None of them touches NR_FREE_PAGES: callers account.
"""

import cython

if not cython.compiled:
    from .constants import BUDDY, NONE
    from .zone import ZoneState, list_head


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def link_between(
    nxt: cython.p_uint, prv: cython.p_uint, pfn: cython.ulonglong, before: cython.ulonglong, after: cython.ulonglong
) -> cython.void:
    """Link a frame between two neighbours of a list, in link arrays that the caller has at hand."""
    nxt[pfn] = cython.cast(cython.uint, after)
    prv[pfn] = cython.cast(cython.uint, before)
    nxt[before] = cython.cast(cython.uint, pfn)
    prv[after] = cython.cast(cython.uint, pfn)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def unlink(nxt: cython.p_uint, prv: cython.p_uint, pfn: cython.ulonglong) -> cython.void:
    """Unlink a frame from whatever list it is on, in link arrays that the caller has at hand."""
    after: cython.ulonglong = nxt[pfn]
    before: cython.ulonglong = prv[pfn]
    nxt[before] = cython.cast(cython.uint, after)
    prv[after] = cython.cast(cython.uint, before)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def list_insert(z: ZoneState, pfn: cython.uint, before: cython.uint, after: cython.uint) -> cython.void:
    """Link a frame between two neighbours of a list (list_add)."""
    link_between(z.nxt, z.prv, pfn, before, after)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def list_del(z: ZoneState, pfn: cython.uint) -> cython.void:
    """Unlink a frame from whatever list it is on."""
    unlink(z.nxt, z.prv, pfn)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def add_to_free_list(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.void:
    """Mark the block free (PageBuddy, order) and put it at the head of its list."""
    head: cython.uint = list_head(z, order, mt)
    z.state[pfn] = BUDDY | order
    list_insert(z, pfn, head, z.nxt[head])


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def add_to_free_list_tail(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.void:
    """Mark the block free and put it at the tail of its list."""
    head: cython.uint = list_head(z, order, mt)
    z.state[pfn] = BUDDY | order
    list_insert(z, pfn, z.prv[head], head)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def move_to_free_list(z: ZoneState, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.void:
    """Move a free block from the list it is on to the tail of another."""
    head: cython.uint = list_head(z, order, mt)
    list_del(z, pfn)
    list_insert(z, pfn, z.prv[head], head)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def del_page_from_free_list(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.void:
    """Take a block of an order off its list; its frames become tails of nothing."""
    list_del(z, pfn)
    z.state[pfn] = 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def get_page_from_free_area(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.uint:
    """First block of the list, or NONE."""
    head: cython.uint = list_head(z, order, mt)
    pfn: cython.uint = z.nxt[head]
    return pfn if pfn != head else NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def count_listed(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.ulonglong:
    """Blocks on a list. Nothing keeps count: the rules only ask whether a list is empty."""
    head: cython.uint = list_head(z, order, mt)
    pfn: cython.uint = z.nxt[head]
    found: cython.ulonglong = 0
    while pfn != head:
        found += 1
        pfn = z.nxt[pfn]
    return found
