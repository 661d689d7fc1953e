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
        MOVABLE,
        NONE,
        OFFNODE,
        OP_ALLOC,
        OP_ALLOC_ATOMIC,
        OP_CONTIG,
        OP_FREE,
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
def operations_error(
    z: ZoneState, ops: cython.p_ulonglong, n: cython.longlong, handles: cython.uint, fit: cython.p_uchar
) -> cython.longlong:
    """Index of the first operation that is not well formed, or -1. Nothing has run yet.

    ``fit``: whether a page may have a flags byte (``arguments.flags_fit``): 256 entries for order 0, 256 for higher orders.
    """
    i: cython.longlong
    word: cython.ulonglong
    op: cython.uint
    order: cython.uint
    mt: cython.uint
    start: cython.uint
    nr: cython.uint
    for i in range(n):
        word = ops[2 * i]
        op = word & 0xFF
        if op < OP_ALLOC or op > OP_ALLOC_ATOMIC or (word >> 32) >= handles:
            return i
        if op == OP_FREE:
            continue
        order = word >> 8 & 0xFF
        mt = word >> 16 & 0xFF
        if op == OP_ALLOC or op == OP_ALLOC_ATOMIC:
            if order > z.max_order or mt > RECLAIMABLE or not fit[(256 if order else 0) + (word >> 24 & 0xFF)]:
                return i
            continue
        if op == OP_CONTIG and ((mt != MOVABLE and mt != CMA) or not fit[word >> 24 & 0xFF]):
            return i
        start = ops[2 * i + 1] & NONE
        nr = ops[2 * i + 1] >> 32
        if op == OP_CONTIG:
            # a kernel can be asked for an empty range, if a page lies before it, and for one past the zone's end
            if (nr == 0 and z.zone_start + start == 0) or start >> 30 or nr >> 30:
                return i
        elif start >= z.zone_end - z.zone_start or nr > z.zone_end - z.zone_start - start:
            return i
    return -1


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def is_handles_page(z: ZoneState, pfn: cython.uint, handle: cython.uint) -> cython.bint:
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
    handle: cython.uint
    pfn: cython.uint
    start: cython.uint
    request: cython.uint
    result: cython.longlong
    base: cython.longlong = z.base_pfn
    handles: cython.p_uint = z.handles
    for i in range(n):
        word = ops[2 * i]
        op = word & 0xFF
        handle = word >> 32
        if op == OP_ALLOC or op == OP_ALLOC_ATOMIC:
            if handles[handle] != NONE:
                results[i] = -EEXIST
                continue
            request = REQUEST_ATOMIC if op == OP_ALLOC_ATOMIC else REQUEST_NORMAL
            pfn = alloc_pages(z, word >> 8 & 0xFF, word >> 16 & 0xFF, word >> 24 & 0xFF, handle, request)
            handles[handle] = pfn
            result = base + pfn
            if pfn == NONE:
                result = -ENOMEM
        elif op == OP_FREE:
            pfn = handles[handle]
            result = -ENOENT
            if pfn < z.nr_frames and is_handles_page(z, pfn, handle):
                free_pages(z, pfn)
                result = base + pfn
            elif pfn == OFFNODE:
                result = -EREMOTE
            handles[handle] = NONE
        elif op == OP_CONTIG:
            if handles[handle] != NONE:
                results[i] = -EEXIST
                continue
            start = z.zone_start + (ops[2 * i + 1] & NONE)
            result = alloc_contig_range(
                z,
                start,
                start + cython.cast(cython.uint, ops[2 * i + 1] >> 32),
                word >> 16 & 0xFF,
                word >> 24 & 0xFF,
                handle,
                saved,
            )
            handles[handle] = start if result == 0 else NONE
            if result == 0:
                result = base + start
        else:
            result = free_contig_handle(z, handle, ops[2 * i + 1] >> 32)
            if result >= 0:
                result += base
        results[i] = result
