"""One operation on a small zone, by the functions of mm/, and what it must not break."""

import cython

if not cython.compiled:
    from pageblock.mm.constants import (
        ALLOC,
        BUDDY,
        CMA,
        C_KERNEL,
        C_MOVABLE_OPS,
        EBUSY,
        ENOMEM,
        ENOTRECOVERABLE,
        INV_FREE_CMA,
        INV_FREE_PAGES,
        ISOLATE,
        MOVABLE,
        NONE,
        ORDER_MASK,
        PG_COMPOUND,
        REQUEST_NORMAL,
        RULE_SCHEME,
        SCHEME_SAVE_TYPES,
    )
    from pageblock.mm.contig import alloc_contig_range, free_contig_range
    from pageblock.mm.gfp import alloc_pages, free_pages
    from pageblock.mm.invariants import check_counters, check_zone
    from pageblock.mm.page_alloc import migratetype_is_mergeable
    from pageblock.mm.page_isolation import (
        isolation_end,
        isolation_start,
        start_isolate_page_range,
        undo_isolate_page_range,
    )
    from pageblock.mm.zone import get_pageblock_migratetype

    from .codes import (
        BREACH_AREA,
        BREACH_BUG,
        BREACH_CMA,
        BREACH_GRANT,
        BREACH_KEPT,
        BREACH_LEFT,
        BREACH_LOST,
        BREACH_MIXED,
        BREACH_NONE,
        BREACH_TAKEN,
        BREACH_TYPES,
        BREACH_ZONE,
        DO_ALLOC,
        DO_CMA_ALLOC,
        DO_CMA_RELEASE,
        DO_CONTIG,
        DO_FREE,
        DO_FREE_CONTIG,
        DO_INTERRUPTED,
        DO_ISOLATE,
        DO_UNDO,
        HOLDS_ALWAYS,
        HOLDS_AREA,
        HOLDS_BUG,
        HOLDS_CMA,
        HOLDS_COUNTED,
        HOLDS_GRANT,
        HOLDS_KEPT,
        HOLDS_LEFT,
        HOLDS_LOST,
        HOLDS_MIXED,
        HOLDS_TAKEN,
        HOLDS_TYPES,
        HOLDS_ZONE,
        KIND_CMA,
        KIND_CMA_FIRST,
        KIND_CONTIG,
        KIND_CONTIG_FIRST,
        KIND_KERNEL,
        KIND_MOVABLE,
    )
    from .small_zone import SmallZone


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def range_end(s: SmallZone, start: cython.uint, kind: cython.uint) -> cython.uint:
    """One past the last page of the range that begins here; ``kind``: owner of its further pages."""
    pfn: cython.uint = start + 1
    while pfn < s.zone_end and s.state[pfn] == ALLOC and s.nxt[pfn] == kind:
        pfn += 1
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_contig(
    s: SmallZone, start: cython.uint, end: cython.uint, mt: cython.uint, first: cython.uint, kind: cython.uint
) -> cython.int:
    """alloc_contig_range whose pages get the owners ``first`` and ``kind``; 0 or a negative errno."""
    rc: cython.int = alloc_contig_range(s, start, end, mt, C_KERNEL, kind, s.saved)
    if rc == 0:
        s.nxt[start] = first
    return rc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_cma(s: SmallZone, count: cython.uint) -> cython.int:
    """cma_alloc of an area of one bit a page, without alignment; 0 or a negative errno.

    The search of consumers/cma.py: the first run of clear bits; after -EBUSY on from the place behind it. A bit is set where
    a page was given by cma_alloc, so that no bitmap is kept.
    """
    start: cython.uint = s.cma_start
    pfn: cython.uint = start
    rc: cython.int = -ENOMEM
    while start + count <= s.cma_end:
        if pfn < start + count:
            if s.state[pfn] == ALLOC and (s.nxt[pfn] == KIND_CMA_FIRST or s.nxt[pfn] == KIND_CMA):
                start = pfn + 1
            pfn += 1
            continue
        rc = take_contig(s, start, start + count, CMA, KIND_CMA_FIRST, KIND_CMA)
        if rc != -EBUSY:
            return rc
        start += 1
        pfn = start
    return rc


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolations(s: SmallZone) -> cython.uint:
    """Isolated stretches of the release's granularity: what callers hold isolated, each at least one."""
    held: cython.ulonglong = s.isolated
    blocks: cython.uint = 1 << (s.unit_order - s.pageblock_order)
    n: cython.uint = 0
    i: cython.uint
    here: cython.bint
    while held:
        here = False
        for i in range(blocks):
            here |= held >> i & 1 != 0
        n += here
        # two shifts: one by 64 bits is not defined
        held = held >> (blocks - 1) >> 1
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def possible(s: SmallZone, op: cython.uint, isolate: cython.bint) -> cython.bint:
    """Whether an operation can be asked for in the present state, within the bounds; ``isolate``: one more may be isolated."""
    what: cython.uint = s.op_what[op]
    pfn: cython.uint = s.op_first[op]
    kind: cython.uint
    if what == DO_ALLOC or what == DO_CONTIG or what == DO_CMA_ALLOC or what == DO_INTERRUPTED:
        return s.requests < s.most_requests
    if what == DO_UNDO:
        return s.isolated >> (pfn >> s.pageblock_order) & 1 != 0
    if what == DO_ISOLATE:
        return isolate or s.isolated >> (pfn >> s.pageblock_order) & 1 != 0
    if not s.state[pfn] & ALLOC:
        return False
    kind = s.nxt[pfn]
    if what == DO_FREE:
        return kind == KIND_KERNEL or kind == KIND_MOVABLE
    return kind == (KIND_CONTIG_FIRST if what == DO_FREE_CONTIG else KIND_CMA_FIRST)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def perform(s: SmallZone, op: cython.uint) -> cython.longlong:
    """Do an operation; the frame that an allocation got, 0 or a negative errno of any other."""
    what: cython.uint = s.op_what[op]
    first: cython.uint = s.op_first[op]
    second: cython.uint = s.op_second[op]
    kind: cython.uint
    flags: cython.uint
    pfn: cython.uint
    rc: cython.longlong
    if what == DO_ALLOC:
        kind = KIND_KERNEL
        flags = s.kernel_flags if first else C_KERNEL
        if second == MOVABLE:
            kind = KIND_MOVABLE
            flags = C_MOVABLE_OPS | (PG_COMPOUND if first else 0)
        pfn = alloc_pages(s, first, second, flags, kind, REQUEST_NORMAL)
        # not in one expression, which C would make unsigned
        if pfn == NONE:
            return -ENOMEM
        return pfn
    if what == DO_FREE:
        s.released = cython.cast(cython.uint, 1) << (s.state[first] & ORDER_MASK)
        free_pages(s, first)
    elif what == DO_CONTIG:
        return take_contig(s, first, first + second, MOVABLE, KIND_CONTIG_FIRST, KIND_CONTIG)
    elif what == DO_INTERRUPTED:
        s.signal_pending = True
        rc = take_contig(s, first, first + second, MOVABLE, KIND_CONTIG_FIRST, KIND_CONTIG)
        s.signal_pending = False
        return rc
    elif what == DO_FREE_CONTIG:
        pfn = range_end(s, first, KIND_CONTIG)
        s.released = pfn - first
        free_contig_range(s, first, pfn)
    elif what == DO_ISOLATE:
        return start_isolate_page_range(s, first, first + second, MOVABLE, 0)
    elif what == DO_UNDO:
        undo_isolate_page_range(
            s, isolation_start(s, first), min(isolation_end(s, first + second), s.nr_frames), MOVABLE
        )
    elif what == DO_CMA_ALLOC:
        return take_cma(s, first)
    else:
        pfn = range_end(s, first, KIND_CMA)
        s.released = pfn - first
        free_contig_range(s, first, pfn)
    return 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def isolated_now(s: SmallZone) -> cython.ulonglong:
    """Bit set of isolated pageblocks."""
    i: cython.uint
    found: cython.ulonglong = 0
    one: cython.ulonglong = 1
    for i in range(s.nr_frames >> s.pageblock_order):
        if s.pageblock_mt[i] == ISOLATE:
            found |= one << i
    return found


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def changed_beside(s: SmallZone, start: cython.uint, end: cython.uint) -> cython.bint:
    """Whether a pageblock of the window of [start, end), but outside it, has another type than before (seed, patch 4)."""
    block: cython.uint
    first: cython.uint = isolation_start(s, start) >> s.pageblock_order
    last: cython.uint = min(isolation_end(s, end), s.nr_frames) >> s.pageblock_order
    for block in range(first, last):
        if block < start >> s.pageblock_order or block > (end - 1) >> s.pageblock_order:
            if s.pageblock_mt[block] != s.types_before[block]:
                return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refused_for_nothing(s: SmallZone, start: cython.uint, end: cython.uint) -> cython.bint:
    """Whether all windows of a refused range were free before, of types that may be isolated.

    One that reaches out of the zone, and would be isolated out there, is refused rightly.
    """
    w: cython.uint
    last: cython.uint = (end - 1) >> s.window_order
    for w in range(start >> s.window_order, last + 1):
        if not s.windows_free >> w & 1:
            return False
    if s.zone_end & ((1 << s.unit_order) - 1):
        return (last + 1) << s.window_order <= s.zone_end
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def wrong_page(s: SmallZone, pfn: cython.uint, order: cython.uint, mt: cython.uint) -> cython.uint:
    """What is wrong with the place of a page that was just allocated: it lies in an isolated pageblock, or wrongly in CMA."""
    end: cython.uint = pfn + (1 << order)
    block_mt: cython.uint
    while pfn < end:
        block_mt = get_pageblock_migratetype(s, pfn)
        if block_mt == ISOLATE and s.promises & HOLDS_TAKEN:
            return BREACH_TAKEN
        if block_mt == CMA and mt != MOVABLE and s.promises & HOLDS_CMA:
            return BREACH_CMA
        pfn += s.pageblock_nr_pages
    return BREACH_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def in_use(s: SmallZone, state: cython.p_uchar) -> cython.uint:
    """Pages in use; ``state``: of the zone now, or before the operation."""
    pfn: cython.uint = 0
    pages: cython.uint = 0
    while pfn < s.zone_end:
        if state[pfn] & ALLOC:
            pages += cython.cast(cython.uint, 1) << (state[pfn] & ORDER_MASK)
        pfn += cython.cast(cython.uint, 1) << (state[pfn] & ORDER_MASK)
    return pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def misplaced(s: SmallZone, op: cython.uint, result: cython.longlong) -> cython.bint:
    """Whether other pages changed hands than those that were asked for.

    What is granted is in use from then on, all of it; what is given back is not; and beside that as many pages are in use as
    before. Migration takes a page for each that it frees.
    """
    what: cython.uint = s.op_what[op]
    pfn: cython.uint = s.op_first[op]
    pages: cython.uint = 0
    end: cython.uint
    gives_back: cython.bint = what == DO_FREE or what == DO_FREE_CONTIG or what == DO_CMA_RELEASE
    if gives_back:
        pages = s.released
        for end in range(pfn, pfn + pages):
            if s.state[end] & ALLOC:
                s.broken_pfn = end
                return True
        return in_use(s, s.state) + pages != s.in_use_before
    if result >= 0 and what == DO_ALLOC:
        pages = cython.cast(cython.uint, 1) << pfn
        pfn = cython.cast(cython.uint, result)
        if s.state[pfn] != ALLOC | s.op_first[op]:
            s.broken_pfn = pfn
            return True
    elif result >= 0 and (what == DO_CONTIG or what == DO_INTERRUPTED):
        pages = s.op_second[op]
        for end in range(pfn, pfn + pages):
            if s.state[end] != ALLOC:
                s.broken_pfn = end
                return True
    elif result >= 0 and what == DO_CMA_ALLOC:
        pages = pfn
    return in_use(s, s.state) != s.in_use_before + pages


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def broken_by(s: SmallZone, op: cython.uint, result: cython.longlong) -> cython.uint:
    """The promise that an operation broke by what it did, whatever state it left: BREACH_*.

    ``s.weak`` counts what the release is known to do: a refused request that ended another's isolation (BREACH_KEPT where it
    is not promised).
    """
    what: cython.uint = s.op_what[op]
    first: cython.uint = s.op_first[op]
    second: cython.uint = s.op_second[op]
    one: cython.ulonglong = 1
    now: cython.ulonglong = isolated_now(s)
    may: cython.ulonglong = 0
    i: cython.uint
    if result == -ENOTRECOVERABLE:
        return BREACH_BUG if s.promises & HOLDS_BUG else BREACH_NONE
    if s.promises & HOLDS_LOST and misplaced(s, op, result):
        return BREACH_LOST
    if what == DO_ALLOC and result >= 0:
        i = wrong_page(s, cython.cast(cython.uint, result), first, second)
        if i:
            return i
    if what == DO_ISOLATE or what == DO_UNDO:
        for i in range(
            isolation_start(s, first) >> s.pageblock_order, isolation_end(s, first + second) >> s.pageblock_order
        ):
            may |= one << i
    if now & ~s.isolated and s.promises & HOLDS_LEFT:
        if what != DO_ISOLATE or result < 0 or now & ~s.isolated & ~may:
            return BREACH_LEFT
    if s.isolated & ~now and (what != DO_UNDO or s.isolated & ~now & ~may):
        # cma_alloc may have been refused at one place and served at the next
        if s.promises & HOLDS_KEPT or (s.promises & HOLDS_ALWAYS and result >= 0 and what != DO_CMA_ALLOC):
            return BREACH_KEPT
        if s.promises & HOLDS_ALWAYS:
            s.weak += 1
            if s.weak == 1:
                s.weak_op = op
    if what == DO_CONTIG or what == DO_ISOLATE or what == DO_INTERRUPTED:
        if (
            result < 0
            and what != DO_INTERRUPTED
            and s.promises & HOLDS_GRANT
            and refused_for_nothing(s, first, first + second)
        ):
            return BREACH_GRANT
        if what != DO_ISOLATE and s.promises & HOLDS_TYPES and changed_beside(s, first, first + second):
            return BREACH_TYPES
    return BREACH_NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def spans_strangers(s: SmallZone) -> cython.bint:
    """Whether a free page covers pageblocks of which one may not fall back to another."""
    pfn: cython.uint = 0
    at: cython.uint
    end: cython.uint
    order: cython.uint
    mt: cython.uint
    while pfn < s.zone_end:
        order = s.state[pfn] & ORDER_MASK
        if s.state[pfn] & BUDDY and order > s.pageblock_order:
            mt = get_pageblock_migratetype(s, pfn)
            end = pfn + (1 << order)
            at = pfn
            while at < end:
                if get_pageblock_migratetype(s, at) != mt:
                    if not (
                        migratetype_is_mergeable(mt) and migratetype_is_mergeable(get_pageblock_migratetype(s, at))
                    ):
                        s.broken_pfn = pfn
                        return True
                at += s.pageblock_nr_pages
        pfn += 1 << order
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pages_lost(s: SmallZone) -> cython.bint:
    """Whether a page is neither free nor held: the blocks that there are leave a gap."""
    pfn: cython.uint = 0
    while pfn < s.zone_end:
        if s.state[pfn] == 0:
            s.broken_pfn = pfn
            return True
        pfn += 1 << (s.state[pfn] & ORDER_MASK)
    return pfn != s.zone_end


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def area_lost(s: SmallZone) -> cython.bint:
    """Whether a pageblock of the CMA area is neither CMA nor isolated."""
    pfn: cython.uint = s.cma_start
    mt: cython.uint
    while pfn < s.cma_end:
        mt = get_pageblock_migratetype(s, pfn)
        if mt != CMA and mt != ISOLATE:
            s.broken_pfn = pfn
            return True
        pfn += s.pageblock_nr_pages
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def broken_in(s: SmallZone) -> cython.uint:
    """The promise that the present state breaks: BREACH_*, from BREACH_ZONE on an invariant of mm/invariants.py."""
    i: cython.uint
    invariant: cython.uint
    if not s.promises & HOLDS_ALWAYS and s.isolated:
        return BREACH_NONE
    if s.promises & HOLDS_LOST and pages_lost(s):
        return BREACH_LOST
    if s.promises & HOLDS_ZONE:
        for i in range(32):
            s.found[i] = 0
        invariant = check_zone(s, s.found)
        if invariant:
            s.broken_pfn = s.refused_pfn
            return BREACH_ZONE + invariant
    if s.promises & HOLDS_COUNTED:
        s.found[0] = 0
        invariant = check_counters(s, s.found)
        if invariant == INV_FREE_PAGES or invariant == INV_FREE_CMA:
            return BREACH_ZONE + invariant
    if s.promises & HOLDS_MIXED and spans_strangers(s):
        return BREACH_MIXED
    if s.promises & HOLDS_AREA and area_lost(s):
        return BREACH_AREA
    return BREACH_NONE
