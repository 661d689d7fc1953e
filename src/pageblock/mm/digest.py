"""Digests of a zone's lists and types, to compare it with a recorded kernel without copying the lists.

FNV-1a over 64-bit words, as the recorder computes them: h = (h ^ word) * prime mod 2^64.
"""

import cython

if not cython.compiled:
    from .constants import CMA, ISOLATE, NR_MIGRATETYPES, NR_PCP_LISTS
    from .zone import ZoneState, list_head
    from .pcplist import pcp_head


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def fnv_word(h: cython.ulonglong, word: cython.ulonglong, prime: cython.ulonglong) -> cython.ulonglong:
    """One step of the digest."""
    h = (h ^ word) * prime
    if not cython.compiled:
        h &= (1 << 64) - 1
    return h


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def digest_list(
    z: ZoneState, head: cython.uint, tag: cython.ulonglong, h: cython.ulonglong, prime: cython.ulonglong
) -> cython.ulonglong:
    """Add a list to a digest: ``tag`` in the upper bits, the pfn counted from the zone's first in the lower."""
    pfn: cython.uint = z.nxt[head]
    while pfn != head:
        h = fnv_word(h, tag | (pfn - z.zone_start), prime)
        pfn = z.nxt[pfn]
    return h


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def digest_free_lists(
    z: ZoneState, isolate_number: cython.uint, h: cython.ulonglong, prime: cython.ulonglong
) -> cython.ulonglong:
    """All free lists, orders ascending, then types, in list order.

    ``isolate_number``: the number of ISOLATE in the kernel at hand, 5 with CONFIG_CMA and 4 without.
    """
    order: cython.uint
    mt: cython.uint
    number: cython.ulonglong
    for order in range(z.max_order + 1):
        for mt in range(NR_MIGRATETYPES):
            if mt == CMA and isolate_number == CMA:
                continue
            number = isolate_number if mt == ISOLATE else mt
            h = digest_list(
                z, list_head(z, order, mt), number << 56 | cython.cast(cython.ulonglong, order) << 48, h, prime
            )
    return h


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def digest_pageblocks(
    z: ZoneState, isolate_number: cython.uint, h: cython.ulonglong, prime: cython.ulonglong
) -> cython.ulonglong:
    """The pageblock types, ascending from the one that holds the zone's first page."""
    block: cython.uint
    mt: cython.uint
    for block in range(z.zone_start >> z.pageblock_order, ((z.zone_end - 1) >> z.pageblock_order) + 1):
        mt = z.pageblock_mt[block]
        h = fnv_word(h, isolate_number if mt == ISOLATE else mt, prime)
    return h


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def digest_pcp_lists(z: ZoneState, h: cython.ulonglong, prime: cython.ulonglong) -> cython.ulonglong:
    """The per-cpu lists, ascending by index, in list order."""
    pindex: cython.uint
    for pindex in range(NR_PCP_LISTS):
        h = digest_list(z, pcp_head(z, pindex), cython.cast(cython.ulonglong, pindex) << 48, h, prime)
    return h
