"""One pass over a zone: what each stretch of it holds, by the rules of isolation and migration.

This is what a verdict for many ranges is computed from, instead of asking alloc_contig_range for each.
"""

import cython

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        C_HUGETLB,
        NONE,
        ONPCP,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        SURVEY_WORDS,
    )
    from .zone import ZoneState, compound_head
    from .page_isolation import why_unmovable


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_stretch(
    z: ZoneState, start: cython.uint, end: cython.uint, out: cython.p_uint, at: cython.ulonglong
) -> cython.void:
    """Fill ``out[at:at + SURVEY_WORDS]`` for the frames [start, end), which may lie partly outside the zone.

    0 free pages; 1 pages to migrate; 2 pages that may be dropped instead; 3 pages that isolation refuses;
    4 first such frame or NONE; 5 bit set of the classes of such pages; 6 first frame that isolation passes but
    migration does not (pinned), or NONE; 7 frames that are in the zone; 8 order of the movable compound page
    whose head lies before the stretch, so that migration from here would pass over its tails; 0: none.
    """
    pfn: cython.uint = max(start, z.zone_start)
    stop: cython.uint = min(end, z.zone_end)
    i: cython.uint
    s: cython.uint
    f: cython.uint
    head: cython.uint
    size: cython.uint
    for i in range(SURVEY_WORDS):
        out[at + i] = 0
    out[at + 4] = NONE
    out[at + 6] = NONE
    if pfn >= stop:
        return
    out[at + 7] = stop - pfn
    while pfn < stop:
        s = z.state[pfn]
        head = pfn
        size = 1
        if s:
            size = 1 << (s & ORDER_MASK)
        elif pfn == start:
            head = find_head(z, pfn)
            s = z.state[head]
            if s:
                size = head + (1 << (s & ORDER_MASK)) - pfn
            else:
                # a tail without a reference, of a block that began before: isolation passes it, the final test does not
                out[at + 6] = pfn
        if size > stop - pfn:
            size = stop - pfn
        if s & (BUDDY | ONPCP):
            out[at] += size
        elif s & ALLOC:
            f = z.flags[head]
            if why_unmovable(z, head, 0):
                # tails of a block that is not compound have no reference and pass
                out[at + 3] += size if f & PG_COMPOUND else (1 if head == pfn else 0)
                out[at + 5] |= 1 << (f & CLASS_MASK)
                if out[at + 4] == NONE:
                    out[at + 4] = pfn
            else:
                if head < start and f & CLASS_MASK != C_HUGETLB:
                    out[at + 8] = s & ORDER_MASK
                if f & PG_CLEAN and not f & (PG_PINNED | PG_COMPOUND):
                    out[at + 2] += size
                else:
                    out[at + 1] += size
                if f & PG_PINNED or (f & CLASS_MASK == C_HUGETLB and s & ORDER_MASK > z.max_order):
                    if out[at + 6] == NONE:
                        out[at + 6] = pfn
        pfn += size


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def find_head(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Head of the free or compound block that covers a tail, or the frame itself."""
    order: cython.uint
    head: cython.uint
    for order in range(1, z.max_order + 1):
        head = pfn >> order << order
        if z.state[head] & BUDDY and z.state[head] & ORDER_MASK >= order:
            return head
    head = compound_head(z, pfn)
    return head if head != NONE else pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def survey_stretches(
    z: ZoneState, start: cython.uint, unit: cython.uint, n: cython.uint, out: cython.p_uint
) -> cython.void:
    """``survey_stretch`` for n stretches of ``unit`` frames from ``start``; SURVEY_WORDS words each."""
    i: cython.uint
    for i in range(n):
        survey_stretch(
            z, start + i * unit, start + (i + 1) * unit, out, cython.cast(cython.ulonglong, SURVEY_WORDS) * i
        )
