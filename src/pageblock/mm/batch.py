"""Run an array of operations without returning to Python between them."""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        CLASS_MASK,
        CMA,
        C_HOLE,
        EEXIST,
        ENOENT,
        ENOMEM,
        EREMOTE,
        HASH_PRIME,
        MOVABLE,
        NONE,
        OFFNODE,
        OP_ALLOC,
        OP_ALLOC_ATOMIC,
        OP_CONTIG,
        OP_FREE,
        OP_FREE_CONTIG,
        RECLAIMABLE,
        REQUEST_ATOMIC,
        REQUEST_NORMAL,
    )
    from .zone import ZoneState
    from .gfp import alloc_pages, free_pages
    from .contig import alloc_contig_range, free_contig_range


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def request_is_well_formed(z: ZoneState, word: cython.ulonglong, fit: cython.p_uchar) -> cython.bint:
    """Whether an operation's first word asks for something that there is; ranges and handles apart.

    ``fit``: whether a page may have a flags byte (``arguments.flags_fit``): 256 entries for order 0, 256 for higher orders.
    """
    op: cython.uint = word & 0xFF
    order: cython.uint = word >> 8 & 0xFF
    mt: cython.uint = word >> 16 & 0xFF
    flags: cython.uint = word >> 24 & 0xFF
    if op == OP_ALLOC or op == OP_ALLOC_ATOMIC:
        return order <= z.max_order and mt <= RECLAIMABLE and fit[(256 if order else 0) + flags] != 0
    if op == OP_CONTIG:
        return (mt == MOVABLE or mt == CMA) and fit[flags] != 0
    return op == OP_FREE or op == OP_FREE_CONTIG


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def range_is_well_formed(z: ZoneState, op: cython.uint, word: cython.ulonglong) -> cython.bint:
    """Whether an operation's second word, if it means anything, is a range that can be asked for or freed.

    A kernel can be asked for an empty range, if a page lies before it, and for one past the zone's end.
    """
    start: cython.uint = word & NONE
    nr: cython.uint = word >> 32
    if op != OP_CONTIG and op != OP_FREE_CONTIG:
        return True
    if op == OP_CONTIG:
        return not ((nr == 0 and z.zone_start + start == 0) or start >> 30 or nr >> 30)
    return start < z.zone_end - z.zone_start and nr <= z.zone_end - z.zone_start - start


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def operations_error(
    z: ZoneState,
    ops: cython.p_ulonglong,
    n: cython.longlong,
    handles: cython.ulonglong,
    fit: cython.p_uchar,
) -> cython.longlong:
    """Index of the first operation that is not well formed, or -1. Nothing has run yet.

    Args:
        handles: how many there are.
        fit: see ``request_is_well_formed``.
    """
    i: cython.longlong
    word: cython.ulonglong
    request: cython.uint
    at: cython.uint
    # well-formed requests without a range, each at its hash; OP_FREE where there is none yet
    known: cython.p_uint = z.well_formed
    z.largest_range = 0
    # the handle is the upper half of the word
    too_large: cython.ulonglong = handles << 32
    for i in range(0, 2 * n, 2):
        word = ops[i]
        if word >= too_large:
            return i // 2
        request = word & NONE
        # most operations repeat what was asked before
        at = (request * HASH_PRIME & NONE) >> 24
        if known[at] == request:
            continue
        if not request_is_well_formed(z, word, fit) or not range_is_well_formed(z, word & 0xFF, ops[i + 1]):
            return i // 2
        if word & 0xFF == OP_CONTIG or word & 0xFF == OP_FREE_CONTIG:
            z.largest_range = max(z.largest_range, ops[i + 1] >> 32)
        else:
            known[at] = request
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_handles_page(z: ZoneState, pfn: cython.ulonglong, handle: cython.uint) -> cython.bint:
    """Whether the frame heads an allocated block that belongs to the handle."""
    return z.state[pfn] & ALLOC != 0 and z.nxt[pfn] == handle and z.flags[pfn] & CLASS_MASK != C_HOLE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_contig_handle(z: ZoneState, handle: cython.uint, nr_pages: cython.uint) -> cython.longlong:
    """Free the contig range of a handle if its pages are still the handle's, one by one; else -ENOENT."""
    start: cython.uint = z.handles[handle]
    pfn: cython.uint
    if start >= z.zone_end or nr_pages > z.zone_end - start:
        return -ENOENT
    for pfn in range(start, start + nr_pages):
        if z.state[pfn] != ALLOC or not is_handles_page(z, pfn, handle):
            return -ENOENT
    free_contig_range(z, start, start + nr_pages)
    z.handles[handle] = NONE
    return start


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def run_alloc(z: ZoneState, word: cython.ulonglong, request: cython.uint) -> cython.longlong:
    """Allocate into a handle; the pfn, -EEXIST or -ENOMEM."""
    handles: cython.p_uint = z.handles
    handle: cython.ulonglong = word >> 32
    pfn: cython.uint
    if handles[handle] != NONE:
        return -EEXIST
    pfn = alloc_pages(
        z, word >> 8 & 0xFF, word >> 16 & 0xFF, word >> 24 & 0xFF, cython.cast(cython.uint, handle), request
    )
    handles[handle] = pfn
    if pfn == NONE:
        return -ENOMEM
    return z.base_pfn + pfn


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def run_free(z: ZoneState, handle: cython.uint) -> cython.longlong:
    """Free a handle's block; the pfn, -ENOENT or -EREMOTE."""
    pfn: cython.ulonglong = z.handles[handle]
    z.handles[handle] = NONE
    if pfn < z.nr_frames and is_handles_page(z, pfn, handle):
        free_pages(z, cython.cast(cython.uint, pfn))
        return z.base_pfn + pfn
    return -EREMOTE if pfn == OFFNODE else -ENOENT


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_other(z: ZoneState, word: cython.ulonglong, range_: cython.ulonglong, saved: cython.p_uchar) -> cython.longlong:
    """Allocate atomically, or allocate or free a contiguous range of a handle; its first pfn or a negated errno."""
    op: cython.uint = word & 0xFF
    handle: cython.uint = word >> 32
    start: cython.uint = z.zone_start + (range_ & NONE)
    nr: cython.uint = range_ >> 32
    result: cython.longlong
    if op == OP_ALLOC_ATOMIC:
        return run_alloc(z, word, REQUEST_ATOMIC)
    if op == OP_FREE_CONTIG:
        result = free_contig_handle(z, handle, nr)
        return result + z.base_pfn if result >= 0 else result
    if z.handles[handle] != NONE:
        return -EEXIST
    result = alloc_contig_range(z, start, start + nr, word >> 16 & 0xFF, word >> 24 & 0xFF, handle, saved)
    z.handles[handle] = start if result == 0 else NONE
    return z.base_pfn + start if result == 0 else result


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def run_operations(
    z: ZoneState, ops: cython.p_ulonglong, n: cython.longlong, results: cython.p_longlong, saved: cython.p_uchar
) -> cython.void:
    """Execute operations of 16 bytes each; see ``model.OPERATION``.

    ``results[i]``: absolute pfn; the negated errno of a refusal: -ENOMEM, -EBUSY, -ENOENT for a free of
    an empty handle, -EEXIST for an allocation into a handle that is in use, -EREMOTE for a free of a page that
    migration took out of the zone.
    """
    i: cython.longlong
    word: cython.ulonglong
    op: cython.uint
    for i in range(n):
        word = ops[2 * i]
        op = word & 0xFF
        if op > OP_FREE:
            results[i] = run_other(z, word, ops[2 * i + 1], saved)
        elif op == OP_FREE:
            results[i] = run_free(z, word >> 32)
        else:
            results[i] = run_alloc(z, word, REQUEST_NORMAL)
