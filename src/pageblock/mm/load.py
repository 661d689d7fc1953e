"""Put a recorded state into an empty zone: runs of allocated pages, then free blocks in list order."""

import cython

if not cython.compiled:
    from .constants import ALLOC, CLASS_MASK, C_HOLE, ISOLATE, NONE
    from .zone import ZoneState
    from .freelist import add_to_free_list_tail
    from .page_alloc import mod_zone_freepage_state


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def place_run(
    z: ZoneState, start: cython.uint, nr_pages: cython.uint, order: cython.uint, flags: cython.uint
) -> cython.bint:
    """Make [start, start + nr_pages) allocated blocks of one order; False if a page of it is no hole."""
    # in locals, as a store to a byte array may change any field for all that C knows
    state: cython.p_uchar = z.state
    page_flags: cython.p_uchar = z.flags
    nxt: cython.p_uint = z.nxt
    head: cython.uchar = ALLOC | order if flags & CLASS_MASK or order else 0
    pfn: cython.uint
    if order == 0:
        for pfn in range(start, start + nr_pages):
            if state[pfn] != ALLOC or page_flags[pfn] != C_HOLE:
                return False
            state[pfn] = head
            page_flags[pfn] = flags
            nxt[pfn] = NONE
        return True
    for pfn in range(start, start + nr_pages):
        if state[pfn] != ALLOC or page_flags[pfn] != C_HOLE:
            return False
        state[pfn] = 0
        page_flags[pfn] = 0
    pfn = start
    while pfn < start + nr_pages:
        state[pfn] = head
        page_flags[pfn] = flags
        nxt[pfn] = NONE
        pfn += cython.cast(cython.uint, 1) << order
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def place_runs(
    z: ZoneState,
    starts: cython.p_longlong,
    counts: cython.p_longlong,
    orders: cython.p_longlong,
    flags: cython.p_uchar,
    n: cython.longlong,
) -> cython.longlong:
    """``place_run`` for n runs of relative pfns; index of the first with a page that is no hole, or -1."""
    i: cython.longlong
    for i in range(n):
        if not place_run(
            z,
            cython.cast(cython.uint, starts[i]),
            cython.cast(cython.uint, counts[i]),
            cython.cast(cython.uint, orders[i]),
            flags[i],
        ):
            return i
    return -1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def place_free_blocks(
    z: ZoneState, starts: cython.p_longlong, orders: cython.p_longlong, types: cython.p_longlong, n: cython.longlong
) -> cython.longlong:
    """List n free blocks, each at the tail; index of the first with a page that is no hole, or -1."""
    i: cython.longlong
    pfn: cython.uint
    start: cython.uint
    end: cython.uint
    for i in range(n):
        start = cython.cast(cython.uint, starts[i])
        end = start + (cython.cast(cython.uint, 1) << cython.cast(cython.uint, orders[i]))
        for pfn in range(start, end):
            if z.state[pfn] != ALLOC or z.flags[pfn] != C_HOLE:
                return i
        for pfn in range(start, end):
            z.state[pfn] = 0
            z.flags[pfn] = 0
        add_to_free_list_tail(z, start, cython.cast(cython.uint, orders[i]), cython.cast(cython.uint, types[i]))
        if types[i] != ISOLATE:
            mod_zone_freepage_state(z, cython.cast(cython.longlong, 1) << orders[i], cython.cast(cython.uint, types[i]))
    return -1
