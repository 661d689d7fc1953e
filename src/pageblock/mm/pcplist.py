"""Per-cpu lists: the cache of free pages in front of the buddy lists. One CPU is modelled.

Source: mm/page_alloc.c: free_unref_page, free_unref_page_commit, free_pcppages_bulk, rmqueue_pcplist, rmqueue_bulk,
drain_all_pages (5.15.16, 6.1.192, 6.12.117). Pages on these lists are out of NR_FREE_PAGES and of the buddy lists.
"""

import cython

if not cython.compiled:
    from .constants import (
        BULK_ROUND_ROBIN,
        CMA,
        COUNT_AT_END,
        EV_PCPU_DRAIN,
        FACTOR_UNBOUNDED,
        FREE_HIGH_HALF_MARK,
        HIGHATOMIC,
        ISOLATE,
        MOVABLE,
        NONE,
        NR_PCP_LISTS,
        ONPCP,
        ORDER_MASK,
        PAGE_ALLOC_COSTLY_ORDER,
        PCPF_FREE_HIGH_BATCH,
        PCPF_PREV_FREE_HIGH_ORDER,
        PCP_BATCH_SCALE_MAX,
        RMQUEUE_NORMAL,
        RULE_BULK_COUNT,
        RULE_PCP_BULK,
        RULE_PCP_FACTOR_CAP,
        RULE_PCP_FREE_HIGH,
        RULE_PCP_SLICES,
        RULE_PCP_THP,
        RULE_PCP_TUNING,
        RULE_PCP_TYPE,
        SLICES_NONE,
        THP_BY_TYPE,
        THP_MOVABLE_OR_NOT,
        TUNING_AUTO,
        TUNING_FREE_HIGH,
        TYPE_CURRENT,
    )
    from .zone import ZoneState, emit, get_pageblock_migratetype
    from .freelist import list_del, list_insert
    from .page_alloc import _free_one_page, mod_cma_pages, mod_zone_freepage_state
    from .watermark import zone_watermark_ok
    from .fallback import _rmqueue


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pcp_allowed_order(z: ZoneState, order: cython.uint) -> cython.bint:
    """Orders that have per-cpu lists: 0 to 3, and that of a transparent huge page (a pageblock)."""
    return order <= PAGE_ALLOC_COSTLY_ORDER or order == z.pageblock_order


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def order_to_pindex(z: ZoneState, mt: cython.uint, order: cython.uint) -> cython.uint:
    """Index of the per-cpu list.

    Rule "pcp thp": huge pages have a list a type in 5.15, one for all in vanilla 6.1, and one for movable ones and one for the
    rest in 6.1.192 and 6.12.
    """
    if order > PAGE_ALLOC_COSTLY_ORDER:
        if z.rules[RULE_PCP_THP] == THP_BY_TYPE:
            return 12 + mt
        return 13 if mt == MOVABLE and z.rules[RULE_PCP_THP] == THP_MOVABLE_OR_NOT else 12
    return 3 * order + mt


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pindex_to_order(z: ZoneState, pindex: cython.uint) -> cython.uint:
    """Order of the pages on a per-cpu list."""
    return z.pageblock_order if pindex >= 12 else pindex // 3


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pcp_head(z: ZoneState, pindex: cython.uint) -> cython.uint:
    """Index of a per-cpu list's head in the link arrays, before those of the free areas."""
    return z.nr_frames + pindex


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_pcp_page(z: ZoneState, pfn: cython.uint, order: cython.uint, resample: cython.bint) -> cython.void:
    """Give one page, already off its per-cpu list, to the buddy lists.

    Rule "pcp type": before 6.10 under the type that was seen when it was freed or allocated, unless the zone has isolated
    pageblocks; since then always under the pageblock's type of the moment.
    """
    mt: cython.uint = z.flags[pfn]
    if resample or z.rules[RULE_PCP_TYPE] == TYPE_CURRENT:
        mt = get_pageblock_migratetype(z, pfn)
    z.state[pfn] = 0
    z.flags[pfn] = 0
    if z.recording:
        emit(z, EV_PCPU_DRAIN, pfn, order, mt)
    _free_one_page(z, pfn, order, mt, False)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_pcppages_list_by_list(z: ZoneState, count: cython.longlong, pindex: cython.uint) -> cython.void:
    """Free about ``count`` pages, oldest first, emptying the requested list before the next (since 5.18)."""
    head: cython.uint
    pfn: cython.uint
    order: cython.uint
    isolated: cython.bint = z.nr_isolate_pageblock > 0
    count = min(count, z.pcp_count)
    while count > 0:
        head = pcp_head(z, pindex)
        order = pindex_to_order(z, pindex)
        while count > 0 and z.prv[head] != head:
            pfn = z.prv[head]
            list_del(z, pfn)
            count -= 1 << order
            z.pcp_count -= 1 << order
            free_pcp_page(z, pfn, order, isolated)
        pindex = pindex + 1 if pindex + 1 < NR_PCP_LISTS else 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_pcppages_round_robin(z: ZoneState, count: cython.longlong) -> cython.void:
    """Free about ``count`` pages from all lists in turn, one more from each list visited (5.15).

    All are taken off before the first is freed, in the order taken.
    """
    pindex: cython.uint = 0
    batch_free: cython.longlong = 0
    head: cython.uint
    pfn: cython.uint
    first: cython.uint = NONE
    last: cython.uint = NONE
    order: cython.uint
    isolated: cython.bint = z.nr_isolate_pageblock > 0
    count = min(count, z.pcp_count)
    while count > 0:
        while True:
            batch_free += 1
            pindex = pindex + 1 if pindex + 1 < NR_PCP_LISTS else 0
            head = pcp_head(z, pindex)
            if z.prv[head] != head:
                break
        if batch_free == NR_PCP_LISTS:
            batch_free = count
        order = pindex_to_order(z, pindex)
        while True:
            pfn = z.prv[head]
            list_del(z, pfn)
            count -= 1 << order
            z.pcp_count -= 1 << order
            z.nxt[pfn] = NONE
            if last == NONE:
                first = pfn
            else:
                z.nxt[last] = pfn
            last = pfn
            batch_free -= 1
            if count <= 0 or batch_free == 0 or z.prv[head] == head:
                break
    while first != NONE:
        pfn = first
        first = z.nxt[pfn]
        free_pcp_page(z, pfn, z.state[pfn] & ORDER_MASK, isolated)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_pcppages_bulk(z: ZoneState, count: cython.longlong, pindex: cython.uint) -> cython.void:
    """Free pages from the per-cpu lists (rule "pcp bulk")."""
    if z.rules[RULE_PCP_BULK] == BULK_ROUND_ROBIN:
        free_pcppages_round_robin(z, count)
    else:
        free_pcppages_list_by_list(z, count, pindex)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def clamp(value: cython.longlong, least: cython.longlong, most: cython.longlong) -> cython.longlong:
    """The value, brought into [least, most]; ``most`` wins as in the kernel's clamp."""
    return min(max(value, least), most)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def pcp_overflow(z: ZoneState, order: cython.uint) -> cython.longlong:
    """Pages to free after one was put on a list: 0 while the lists are below their high mark (5.15, 6.1.192).

    The number doubles with each overflow that no allocation interrupts (``free_factor``). Since 5.18 a small
    high-order page freed then empties all lists. 6.1.192 stops doubling at PCP_BATCH_SCALE_MAX.
    """
    batch: cython.longlong = z.pcp_batch
    most: cython.longlong
    free_high: cython.bint = False
    if order > 0 and z.rules[RULE_PCP_TUNING] == TUNING_FREE_HIGH:
        free_high = z.pcp_free_factor > 0 and order <= PAGE_ALLOC_COSTLY_ORDER
    if z.pcp_count < z.pcp_high and not free_high:
        return 0
    if free_high:
        return z.pcp_count
    if z.pcp_high < batch:
        return 1
    most = z.pcp_high - batch
    batch <<= z.pcp_free_factor
    if batch < most and (z.rules[RULE_PCP_FACTOR_CAP] == FACTOR_UNBOUNDED or z.pcp_free_factor < PCP_BATCH_SCALE_MAX):
        z.pcp_free_factor += 1
    return clamp(batch, z.pcp_batch, most)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pcp_overflow_tuned(z: ZoneState, order: cython.uint) -> cython.longlong:
    """As ``pcp_overflow`` for the self-tuning lists of 6.7 and later (nr_pcp_high, nr_pcp_free, 6.12)."""
    batch: cython.longlong = z.pcp_batch
    scaled: cython.longlong = batch << PCP_BATCH_SCALE_MAX
    high: cython.longlong
    freed: cython.longlong
    free_high: cython.bint = False
    half_mark: cython.bint = z.rules[RULE_PCP_FREE_HIGH] == FREE_HIGH_HALF_MARK
    z.pcp_alloc_factor >>= 1
    if order > 0 and order <= PAGE_ALLOC_COSTLY_ORDER:
        free_high = (
            z.pcp_free_count >= batch + (z.pcp_high_min // 2 if half_mark else 0)
            and z.pcp_flags & PCPF_PREV_FREE_HIGH_ORDER
            and (not z.pcp_flags & PCPF_FREE_HIGH_BATCH or z.pcp_count >= batch)
        )
        z.pcp_flags |= PCPF_PREV_FREE_HIGH_ORDER
    else:
        z.pcp_flags &= ~PCPF_PREV_FREE_HIGH_ORDER
    if z.pcp_free_count < scaled:
        z.pcp_free_count += 1 << order
    z.pcp_high = clamp(z.pcp_high, z.pcp_high_min, z.pcp_high_max)
    high = z.pcp_high
    freed = max(z.pcp_free_count, batch)
    if high and free_high:
        z.pcp_high = max(high - scaled, z.pcp_high_min)
        high = 0
    elif high and z.pcp_high_min != z.pcp_high_max:
        if z.below_high:
            z.pcp_high = max(high - freed, z.pcp_high_min)
            high = max(z.pcp_count, z.pcp_high_min)
        elif z.pcp_count >= high and z.pcp_high < z.pcp_free_count + batch:
            z.pcp_high = clamp(z.pcp_free_count + batch, z.pcp_high_min, z.pcp_high_max)
    if z.pcp_count < high:
        return 0
    if free_high:
        return min(z.pcp_count, scaled)
    if high < batch:
        return 1
    return clamp(z.pcp_free_count, batch, high - batch)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def free_overflow(z: ZoneState, count: cython.longlong, pindex: cython.uint) -> cython.void:
    """Free the pages of an overflow (rule "pcp slices"): in one go, or since 6.19 a batch at a time."""
    piece: cython.longlong
    if z.rules[RULE_PCP_SLICES] == SLICES_NONE:
        free_pcppages_bulk(z, count, pindex)
    else:
        while count > 0 and z.pcp_count > 0:
            piece = min(count, z.pcp_batch)
            free_pcppages_bulk(z, piece, pindex)
            count -= piece
    if z.below_high and zone_watermark_ok(z, 0, z.wmark_high + z.watermark_boost, 0):
        z.below_high = False


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def free_unref_page(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.bint:
    """Free a page to its per-cpu list; False: its pageblock is isolated, it belongs on the buddy lists at once.

    CMA and HIGHATOMIC pages lie on the MOVABLE list.
    """
    mt: cython.uint = get_pageblock_migratetype(z, pfn)
    pindex: cython.uint
    head: cython.uint
    count: cython.longlong
    if mt == ISOLATE:
        return False
    pindex = order_to_pindex(z, mt if mt < HIGHATOMIC else MOVABLE, order)
    head = pcp_head(z, pindex)
    z.state[pfn] = ONPCP | order
    z.flags[pfn] = mt
    list_insert(z, pfn, head, z.nxt[head])
    z.pcp_count += cython.cast(cython.longlong, 1) << order
    if z.rules[RULE_PCP_TUNING] == TUNING_AUTO:
        count = pcp_overflow_tuned(z, order)
    else:
        count = pcp_overflow(z, order)
    if count:
        free_overflow(z, count, pindex)
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def nr_pcp_alloc(z: ZoneState, order: cython.uint) -> cython.longlong:
    """How many pages refill an empty list: the batch, scaled down by order but at least two (6.1.192).

    From 6.7 on order-0 refills double while no free interrupts them (``alloc_factor``), and the high mark follows.
    """
    batch: cython.longlong = z.pcp_batch
    most: cython.longlong
    high: cython.longlong
    if z.rules[RULE_PCP_TUNING] == TUNING_AUTO:
        z.pcp_high = clamp(z.pcp_high, z.pcp_high_min, z.pcp_high_max)
        high = z.pcp_high
        if high < batch:
            return 1
        if order == 0:
            batch <<= z.pcp_alloc_factor
        if z.pcp_high_min != z.pcp_high_max and not z.below_high:
            z.pcp_high = min(high + batch, z.pcp_high_max)
            high = z.pcp_high
        if order == 0:
            most = max(high - z.pcp_count - z.pcp_batch, cython.cast(cython.longlong, z.pcp_batch))
            if batch <= most and z.pcp_alloc_factor < PCP_BATCH_SCALE_MAX:
                z.pcp_alloc_factor += 1
            batch = min(batch, most)
    if batch > 1:
        batch = max(batch >> order, cython.cast(cython.longlong, 2))
    return batch


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def rmqueue_bulk(
    z: ZoneState,
    order: cython.uint,
    count: cython.longlong,
    head: cython.uint,
    mt: cython.uint,
    alloc_flags: cython.uint,
) -> cython.void:
    """Refill a per-cpu list, appending in the order allocated.

    Rule "bulk count": before 6.10 NR_FREE_PAGES sinks once, after the last page, but NR_FREE_CMA_PAGES with
    each; the CMA balance in between sees that. Since then both with each.
    """
    i: cython.longlong
    taken: cython.longlong = 0
    pfn: cython.uint
    at_end: cython.bint = z.rules[RULE_BULK_COUNT] == COUNT_AT_END
    z.rmqueue_mode = RMQUEUE_NORMAL
    for i in range(count):
        pfn = _rmqueue(z, order, mt, alloc_flags)
        if pfn == NONE:
            break
        z.state[pfn] = ONPCP | order
        z.flags[pfn] = z.taken_type
        list_insert(z, pfn, z.prv[head], head)
        taken += 1 << order
        if not at_end:
            mod_zone_freepage_state(z, -(cython.cast(cython.longlong, 1) << order), z.taken_type)
        elif z.taken_type == CMA:
            mod_cma_pages(z, -(cython.cast(cython.longlong, 1) << order))
    if at_end:
        mod_zone_freepage_state(z, -taken, MOVABLE)
    z.pcp_count += taken


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def refill_pcplist(
    z: ZoneState, order: cython.uint, mt: cython.uint, head: cython.uint, alloc_flags: cython.uint
) -> cython.bint:
    """Refill an empty per-cpu list; False if nothing is left."""
    rmqueue_bulk(z, order, nr_pcp_alloc(z, order), head, mt, alloc_flags)
    return z.nxt[head] != head


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def rmqueue_pcplist(z: ZoneState, order: cython.uint, mt: cython.uint, alloc_flags: cython.uint) -> cython.uint:
    """Take the first page of a per-cpu list, refilling it if it is empty; NONE if nothing is left."""
    head: cython.uint = pcp_head(z, order_to_pindex(z, mt, order))
    pfn: cython.uint
    z.pcp_free_factor >>= 1
    z.pcp_free_count >>= 1
    if z.nxt[head] == head and not refill_pcplist(z, order, mt, head, alloc_flags):
        return NONE
    pfn = z.nxt[head]
    list_del(z, pfn)
    z.pcp_count -= 1 << order
    return pfn


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drain_all_pages(z: ZoneState) -> cython.void:
    """Give all pages of the per-cpu lists to the buddy lists.

    6.1.192 and later drain in slices, which changes no order, as each slice goes on where the lists are not empty.
    """
    while z.pcp_count > 0:
        free_pcppages_bulk(z, z.pcp_count, 0)
