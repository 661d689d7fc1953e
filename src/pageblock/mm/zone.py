"""The zone's state: geometry, one frame per page, pageblock types, counters, watermarks, event log.

What the kernel keeps in ``struct zone``, ``struct page`` and the pageblock bitmap
(include/linux/mmzone.h). 10 bytes a page (two links, state, flags) and one a pageblock.

Inside the core a pfn is relative to ``base_pfn``, the zone's first pfn rounded down to the larger of
a max order block and a pageblock, so buddies and pageblocks are found by bit operations; the arrays are
padded in the same way at the end, so that no buddy lies outside them.
"""

from typing import Any

import cython
import numpy as np

if cython.compiled:
    from cython.cimports.libc.string import memcpy  # type: ignore[import-untyped]
else:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        C_HOLE,
        EVENT_WORDS,
        FREE_AREA_HEADS,
        HIGHATOMIC,
        MOVABLE,
        NONE,
        NR_COMPACT_LISTS,
        NR_PCP_LISTS,
        OP_FREE,
        ORDER_MASK,
        PG_COMPOUND,
    )


@cython.cfunc
def ptr8(a: Any) -> cython.p_uchar:
    """C pointer to the array's bytes; uncompiled: its memoryview. The caller keeps the array alive."""
    if cython.compiled:
        v: cython.uchar[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
def ptr32(a: Any) -> cython.p_uint:
    """C pointer to the array's 32-bit words; uncompiled: its memoryview."""
    if cython.compiled:
        v: cython.uint[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
def ptr64(a: Any) -> cython.p_ulonglong:
    """C pointer to the array's 64-bit words; uncompiled: its memoryview."""
    if cython.compiled:
        v: cython.ulonglong[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
def ptr64s(a: Any) -> cython.p_longlong:
    """C pointer to the array's signed 64-bit words; uncompiled: its memoryview."""
    if cython.compiled:
        v: cython.longlong[::1] = a  # type: ignore[type-arg,valid-type]
        return cython.address(v[0])  # type: ignore[index]
    return a.data


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def eight(of: cython.p_uchar, pfn: cython.ulonglong) -> cython.ulonglong:
    """The bytes of eight frames from ``pfn`` on as one word; the array must hold them all."""
    if cython.compiled:
        # not a cast: the word need not begin at a multiple of its size, which C leaves undefined; memcpy is one load, too
        word: cython.ulonglong = 0
        memcpy(cython.address(word), of + pfn, 8)
        return word
    return int.from_bytes(of[pfn : pfn + 8], "little")


@cython.cclass
class ZoneState:
    """Everything the rules read and write. Relative pfns throughout; ``model.Zone`` adds the base."""

    base_pfn: cython.ulonglong  # absolute pfn of frame 0
    zone_start: cython.uint  # first frame of the zone
    zone_end: cython.uint  # one past its last frame
    nr_frames: cython.uint  # frames in the arrays; the list heads follow in the link arrays
    max_order: cython.uint
    pageblock_order: cython.uint
    pageblock_nr_pages: cython.uint
    merge_by_type: cython.uchar  # state of the smallest free blocks that merge only if their types fit
    zone_movable: cython.bint  # ZONE_MOVABLE: everything but reserved pages counts as movable

    nxt: cython.p_uint  # free or per-cpu page: next on its list; allocated head: owner handle
    prv: cython.p_uint  # free or per-cpu page: previous on its list
    state: cython.p_uchar  # kind and order of the block that the frame heads; 0: a tail
    flags: cython.p_uchar  # class and PG_ bits of an allocated head
    pageblock_mt: cython.p_uchar
    type_beneath: cython.p_uchar  # type of an isolated pageblock, where the release keeps it
    rules: cython.p_uint  # indexed by RULE_*
    batch: cython.p_uint  # pages isolated for migration, in the order they were found
    batch_count: cython.uint
    batch_clean: cython.bint  # a clean page is among them

    nr_free_pages = cython.declare(cython.longlong, visibility="readonly")  # NR_FREE_PAGES
    nr_free_cma_pages = cython.declare(cython.longlong, visibility="readonly")  # NR_FREE_CMA_PAGES
    nr_isolate_pageblock = cython.declare(cython.longlong, visibility="readonly")
    stat_threshold: cython.longlong  # a CPU's changes are held back up to this; 0: counters are exact
    stat_free_diff: cython.longlong  # what is held back of NR_FREE_PAGES and NR_FREE_CMA_PAGES
    stat_cma_diff: cython.longlong
    nr_reserved_highatomic: cython.longlong  # pages of the reserved pageblocks
    nr_free_highatomic: cython.longlong  # free pages in them; kept by the releases that ask for it
    managed_pages: cython.longlong
    wmark_min: cython.longlong
    wmark_low: cython.longlong
    wmark_high: cython.longlong
    watermark_boost: cython.longlong
    watermark_boost_factor: cython.longlong  # of the high watermark, in 1/10000; 0: off
    lowmem_reserve: cython.longlong
    far_mark: cython.longlong  # above it an order-0 request need not look at the watermarks one by one
    counted_twice: cython.uint  # from this type on NR_FREE_PAGES is not all there is to count
    below_high: cython.bint  # ZONE_BELOW_HIGH (6.12)
    rmqueue_mode: cython.uint

    pcp_used: cython.bint  # per-cpu lists in front of the buddy lists
    pcp_count: cython.longlong  # pages on them
    pcp_high: cython.longlong
    pcp_batch: cython.longlong
    pcp_free_factor: cython.uint  # 5.15, 6.1
    pcp_high_min: cython.longlong  # from here on 6.12
    pcp_high_max: cython.longlong
    pcp_free_count: cython.longlong
    pcp_alloc_factor: cython.uint
    pcp_flags: cython.uint

    compact_migrate_pfn: cython.uint  # where the scanners of compaction stand
    compact_free_pfn: cython.uint
    compact_migrate: cython.uint  # pages collected
    compact_free: cython.uint  # free pages taken
    compact_list: cython.uint  # last page collected
    compact_moved: cython.ulonglong

    spill_target: Any  # who finds a migration target in another zone; None: one is always found
    targets_may_spill: cython.bint  # another zone takes migration targets that this one refuses
    targets_elsewhere: (
        cython.bint
    )  # this zone is asked for none: its zonelist is not the one that counts (offline_pages)
    signal_pending: cython.bint  # alloc_contig_range is interrupted after isolation

    taken_type: cython.uint  # list that the last page came from (the kernel's page->index)
    handles: cython.p_uint  # pfn of each owner handle, kept up to date by migration
    nr_handles: cython.uint
    largest_range: cython.uint  # pages of the largest range that the operations of ``run`` name
    well_formed: cython.p_uint  # requests of ``run`` that were found so (batch.py)

    overlapping: cython.bint  # free blocks may cover pages in use (overlap.py)
    covered: cython.p_uchar  # one byte a pageblock: it may have such pages
    used_state: cython.p_uchar  # state, flags and owner of pages in use under free blocks; state 0: none
    used_flags: cython.p_uchar
    used_owner: cython.p_uint

    log: cython.p_ulonglong  # EVENT_WORDS words an event
    log_events: cython.uint
    log_capacity: cython.uint
    recording: cython.bint

    refused_step: cython.uint
    refused_why: cython.uint
    refused_pfn: cython.uint

    # since the zone was made, as a tracer of mm_page_alloc_extfrag would count them; no state: neither saved nor compared
    nr_fallbacks = cython.declare(cython.ulonglong, visibility="readonly")
    nr_claimed = cython.declare(cython.ulonglong, visibility="readonly")  # of these, with change_ownership

    nxt_array: Any
    prv_array: Any
    state_array: Any
    flags_array: Any
    pageblock_array: Any
    beneath_array: Any
    rules_array: Any
    batch_array: Any
    handles_array: Any
    well_formed_array: Any
    covered_array: Any
    used_array: Any
    used_owner_array: Any
    log_array: Any


@cython.cfunc
def zone_init(
    z: ZoneState,
    start_pfn: cython.ulonglong,
    nr_pages: cython.uint,
    max_order: cython.uint,
    pageblock_order: cython.uint,
    rules: Any,
) -> None:
    """Lay out the arrays of a zone of which nothing is populated yet: every frame is a tail of nothing."""
    align: cython.ulonglong = cython.cast(cython.ulonglong, 1) << max(max_order, pageblock_order)
    head: cython.uint
    z.base_pfn = start_pfn // align * align
    z.zone_start = start_pfn - z.base_pfn
    z.zone_end = z.zone_start + nr_pages
    z.nr_frames = (z.zone_end + align - 1) // align * align
    z.max_order = max_order
    z.pageblock_order = pageblock_order
    z.pageblock_nr_pages = 1 << pageblock_order
    z.merge_by_type = BUDDY | min(max_order, pageblock_order)
    heads = NR_PCP_LISTS + (max_order + 2) * FREE_AREA_HEADS + NR_COMPACT_LISTS
    # zeros() maps untouched memory, so a large zone costs only what it uses
    z.nxt_array = np.zeros(z.nr_frames + heads, np.uint32)
    z.prv_array = np.zeros(z.nr_frames + heads, np.uint32)
    z.state_array = np.zeros(z.nr_frames, np.uint8)
    z.flags_array = np.zeros(z.nr_frames, np.uint8)
    z.pageblock_array = np.full(z.nr_frames >> pageblock_order, MOVABLE, np.uint8)
    z.beneath_array = np.full(z.nr_frames >> pageblock_order, MOVABLE, np.uint8)
    z.rules_array = np.ascontiguousarray(rules, np.uint32)
    z.batch_array = np.zeros(64, np.uint32)
    z.handles_array = np.zeros(1, np.uint32)
    z.well_formed_array = np.full(256, OP_FREE, np.uint32)
    z.log_array = np.zeros(64 * EVENT_WORDS, np.uint64)
    z.log_capacity = 64
    z.nr_free_pages = 0
    z.nr_free_cma_pages = 0
    z.nr_isolate_pageblock = 0
    z.stat_threshold = 0
    z.stat_free_diff = 0
    z.stat_cma_diff = 0
    z.nr_reserved_highatomic = 0
    z.nr_free_highatomic = 0
    z.managed_pages = nr_pages
    z.wmark_min = 0
    z.wmark_low = 0
    z.wmark_high = 0
    z.watermark_boost = 0
    z.watermark_boost_factor = 0
    z.lowmem_reserve = 0
    z.far_mark = 0
    z.counted_twice = HIGHATOMIC
    z.below_high = False
    z.rmqueue_mode = 0
    z.pcp_used = False
    z.pcp_count = 0
    z.pcp_high = 0
    z.pcp_batch = 1
    z.pcp_free_factor = 0
    z.pcp_high_min = 0
    z.pcp_high_max = 0
    z.pcp_free_count = 0
    z.pcp_alloc_factor = 0
    z.pcp_flags = 0
    z.compact_migrate_pfn = 0
    z.compact_free_pfn = 0
    z.compact_migrate = 0
    z.compact_free = 0
    z.compact_list = NONE
    z.compact_moved = 0
    z.spill_target = None
    z.targets_may_spill = False
    z.targets_elsewhere = False
    z.signal_pending = False
    z.overlapping = False
    z.log_events = 0
    z.recording = False
    z.batch_count = 0
    z.batch_clean = False
    z.taken_type = 0
    z.nr_fallbacks = 0
    z.nr_claimed = 0
    refuse(z, 0, 0, NONE)
    zone_bind(z)
    for head in range(z.nr_frames, z.nr_frames + heads):
        z.nxt[head] = head
        z.prv[head] = head
    # an order above the largest whose lists never look empty ends each search for a block
    for head in range(FREE_AREA_HEADS):
        z.nxt[list_head(z, max_order + 1, head)] = NONE


@cython.cfunc
def zone_bind(z: ZoneState) -> None:
    """Point the raw pointers at the arrays that own the memory."""
    z.nxt = ptr32(z.nxt_array)
    z.prv = ptr32(z.prv_array)
    z.state = ptr8(z.state_array)
    z.flags = ptr8(z.flags_array)
    z.pageblock_mt = ptr8(z.pageblock_array)
    z.type_beneath = ptr8(z.beneath_array)
    z.rules = ptr32(z.rules_array)
    z.batch = ptr32(z.batch_array)
    z.handles = ptr32(z.handles_array)
    z.nr_handles = 0
    z.well_formed = ptr32(z.well_formed_array)
    z.log = ptr64(z.log_array)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def list_head(z: ZoneState, order: cython.uint, mt: cython.uint) -> cython.uint:
    """Index of the head of free_list[mt] of free_area[order] in the link arrays."""
    return z.nr_frames + NR_PCP_LISTS + order * FREE_AREA_HEADS + mt


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def get_pageblock_migratetype(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Type of the pageblock that holds the frame (mm/page_alloc.c, get_pfnblock_flags_mask)."""
    return z.pageblock_mt[pfn >> z.pageblock_order]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def set_pageblock_migratetype(z: ZoneState, pfn: cython.uint, mt: cython.uint) -> cython.void:
    """Set the type of the pageblock that holds the frame (mm/page_alloc.c)."""
    z.pageblock_mt[pfn >> z.pageblock_order] = mt


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pageblock_start(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """First frame of the pageblock (pageblock_start_pfn)."""
    return pfn >> z.pageblock_order << z.pageblock_order


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pageblock_end(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """One past the last frame of the pageblock (pageblock_end_pfn)."""
    return (pfn >> z.pageblock_order << z.pageblock_order) + z.pageblock_nr_pages


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def zone_spans(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the frame lies in the zone (zone_spans_pfn)."""
    return z.zone_start <= pfn and pfn < z.zone_end


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def page_is_online(z: ZoneState, pfn: cython.uint) -> cython.bint:
    """Whether the kernel would find a page at this pfn (pfn_to_online_page)."""
    return zone_spans(z, pfn) and not (z.state[pfn] & ALLOC and z.flags[pfn] & CLASS_MASK == C_HOLE)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def first_valid_page(z: ZoneState, pfn: cython.uint, nr_pages: cython.uint) -> cython.uint:
    """First online page of [pfn, pfn + nr_pages) or NONE (mm/page_isolation.c, __first_valid_page)."""
    i: cython.uint
    for i in range(pfn, pfn + nr_pages):
        if page_is_online(z, i):
            return i
    return NONE


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def compound_head(z: ZoneState, pfn: cython.uint) -> cython.uint:
    """Head of the compound page that covers the frame, or NONE (include/linux/page-flags.h).

    Tails carry no link to their head (they cost nothing to set up), so the aligned candidates are tried
    from small to large; the first head met covers the frame or nothing does.
    """
    order: cython.uint
    head: cython.ulonglong
    s: cython.uint
    for order in range(ORDER_MASK + 1):
        # absolute alignment: a gigantic page is larger than the alignment of the base
        head = (z.base_pfn + pfn) >> order << order
        if head < z.base_pfn + z.zone_start:
            return NONE
        head -= z.base_pfn
        s = z.state[head]
        if s != 0:
            if (
                s & ALLOC
                and z.flags[head] & PG_COMPOUND
                and head + (cython.cast(cython.ulonglong, 1) << (s & ORDER_MASK)) > pfn
            ):
                return cython.cast(cython.uint, head)
            if s & BUDDY:
                return NONE
            if pfn != head and (s & ORDER_MASK) >= order:
                return NONE
    return NONE


@cython.cfunc
def log_grow(z: ZoneState) -> None:
    """Double the room for events."""
    larger = np.zeros(2 * z.log_capacity * EVENT_WORDS, np.uint64)
    larger[: z.log_capacity * EVENT_WORDS] = z.log_array
    z.log_array = larger
    z.log = ptr64(larger)
    z.log_capacity = 2 * z.log_capacity


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def emit(
    z: ZoneState,
    event: cython.uint,
    a: cython.uint,
    b: cython.uint = 0,
    c: cython.uint = 0,
    d: cython.uint = 0,
    e: cython.uint = 0,
    f: cython.uint = 0,
) -> cython.void:
    """Append an event to the log. Callers ask ``z.recording`` first, so that silence costs one test."""
    at: cython.ulonglong
    if z.log_events == z.log_capacity:
        with cython.gil:
            log_grow(z)
    at = cython.cast(cython.ulonglong, z.log_events) * EVENT_WORDS
    z.log[at] = event
    z.log[at + 1] = a
    z.log[at + 2] = b
    z.log[at + 3] = c
    z.log[at + 4] = d
    z.log[at + 5] = e
    z.log[at + 6] = f
    z.log_events += 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refuse(z: ZoneState, step: cython.uint, why: cython.uint, pfn: cython.uint) -> cython.void:
    """Remember what refused a request: the step of alloc_contig_range, the reason, the frame."""
    z.refused_step = step
    z.refused_why = why
    z.refused_pfn = pfn
