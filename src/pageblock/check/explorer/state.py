"""A small zone's state in bytes, and out of them again; its fingerprint.

A record is: a byte a page (0 for tails; a free head: 0x80, list's type times 16, order; an allocated head: owner times 16,
order), the free heads in list order (orders ascending, types ascending), a byte a pageblock (type, and the type beneath
isolation times 16), NR_FREE_PAGES, NR_FREE_CMA_PAGES and nr_isolate_pageblock. What is left out, no rule of mm/ reads again:
owners' handles, links and flags of frames that are no heads, scratch fields. Which windows may change places, and why, is said
in docs/check.md.
"""

import cython

if not cython.compiled:
    from pageblock.mm.constants import (
        ALLOC,
        BUDDY,
        C_KERNEL,
        C_MOVABLE_OPS,
        FREE_AREA_HEADS,
        ISOLATE,
        NONE,
        NR_MIGRATETYPES,
        ORDER_MASK,
        PG_COMPOUND,
        RECLAIMABLE,
        RULE_ISOLATION,
        ISOLATION_BESIDE,
    )
    from pageblock.mm.zone import list_head

    from .codes import KIND_CMA_FIRST, KIND_CONTIG_FIRST, KIND_KERNEL, KIND_MOVABLE
    from .small_zone import SmallZone


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def copy_bytes(to: cython.p_uchar, of: cython.p_uchar, n: cython.ulonglong) -> cython.void:
    """Copy n bytes."""
    if cython.compiled:
        memcpy(to, of, n)  # type: ignore[name-defined]
    else:
        to[:n] = of[:n]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def copy_record(
    to: cython.p_uchar, to_at: cython.ulonglong, of: cython.p_uchar, of_at: cython.ulonglong, n: cython.ulonglong
) -> cython.void:
    """Copy n bytes from one place of a buffer to one of another."""
    if cython.compiled:
        memcpy(to + to_at, of + of_at, n)  # type: ignore[name-defined]
    else:
        to[to_at : to_at + n] = of[of_at : of_at + n]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def copy_links(to: cython.p_uint, of: cython.p_uint, n: cython.ulonglong) -> cython.void:
    """Copy n links."""
    if cython.compiled:
        memcpy(to, of, 4 * n)  # type: ignore[name-defined]
    else:
        to[:n] = of[:n]


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def mix(h: cython.ulonglong, word: cython.ulonglong, factor: cython.ulonglong) -> cython.ulonglong:
    """One step of a fingerprint: a bijection of 64 bits for each word, every bit of which reaches the upper half."""
    h = (h ^ word) * factor
    if not cython.compiled:
        h &= (1 << 64) - 1
    return h ^ (h >> 29)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_fingerprint(s: SmallZone, words: cython.p_ulonglong, at: cython.ulonglong) -> cython.void:
    """Both fingerprint words of the record that begins at word ``at``; never both zero."""
    a: cython.ulonglong = s.factor_2
    b: cython.ulonglong = s.factor_1
    i: cython.ulonglong
    for i in range(at, at + s.record_size // 8):
        a = mix(a, words[i], s.factor_1)
        b = mix(b, words[i], s.factor_2)
    s.fingerprint_1 = mix(a, b, s.factor_2) | 1
    s.fingerprint_2 = mix(b, a, s.factor_1)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def walk_lists(s: SmallZone) -> cython.uint:
    """Note each free head in list order, with its byte; how many, NONE if the lists lead nowhere or round."""
    order: cython.uint
    mt: cython.uint
    head: cython.uint
    pfn: cython.uint
    window: cython.uint
    n: cython.uint = 0
    for order in range(s.max_order + 1):
        for mt in range(NR_MIGRATETYPES):
            head = list_head(s, order, mt)
            pfn = s.nxt[head]
            while pfn != head:
                if n >= s.zone_end or pfn >= s.zone_end:
                    return NONE
                s.page_bytes[pfn] = 0x80 | mt << 4 | order
                window = pfn >> s.window_order
                if s.window_met[window] == NONE:
                    s.window_met[window] = n
                s.walked[n] = pfn
                n += 1
                pfn = s.nxt[pfn]
    return n


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def order_windows(s: SmallZone) -> cython.void:
    """Give each window its place in the record: by content, then by what the lists meet first; the others keep theirs."""
    i: cython.uint
    k: cython.uint
    w: cython.uint
    pfn: cython.uint
    key: cython.ulonglong
    size: cython.uint = 1 << s.window_order
    blocks: cython.uint = 1 << (s.window_order - s.pageblock_order)
    for w in range((s.zone_end + size - 1) >> s.window_order):
        s.window_at[w] = w
        s.place_of[w] = w
    for w in range(s.nr_folded):
        key = 0
        for pfn in range(w << s.window_order, (w + 1) << s.window_order):
            key = mix(key, s.page_bytes[pfn], s.factor_1)
        for k in range(w * blocks, (w + 1) * blocks):
            key = mix(key, s.pageblock_mt[k] | s.type_beneath[k] << 4, s.factor_1)
        s.window_key[w] = key
        i = w
        while i > 0:
            k = s.window_at[i - 1]
            if s.window_key[k] < key or (s.window_key[k] == key and s.window_met[k] <= s.window_met[w]):
                break
            s.window_at[i] = k
            i -= 1
        s.window_at[i] = w
    for i in range(s.nr_folded):
        s.place_of[s.window_at[i]] = i


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def pack(s: SmallZone, record: cython.p_uchar, words: cython.p_ulonglong, at: cython.ulonglong) -> cython.bint:
    """Write the present state at byte ``at``, windows in order, and take its fingerprint; False: its lists are broken.

    ``record`` and ``words`` are the same memory.
    """
    i: cython.uint
    k: cython.uint
    w: cython.uint
    pfn: cython.uint
    n: cython.uint
    state: cython.uint
    size: cython.uint = 1 << s.window_order
    mask: cython.uint = size - 1
    blocks: cython.uint = 1 << (s.window_order - s.pageblock_order)
    nr_blocks: cython.uint = s.nr_frames >> s.pageblock_order
    windows: cython.uint = (s.zone_end + mask) >> s.window_order
    to: cython.ulonglong = at
    for i in range(s.record_size // 8):
        words[at // 8 + i] = 0
    for w in range(windows):
        s.window_met[w] = NONE
    pfn = 0
    while pfn < s.zone_end:
        state = s.state[pfn]
        s.page_bytes[pfn] = 0
        if state & ALLOC:
            s.page_bytes[pfn] = s.nxt[pfn] << 4 | state & ORDER_MASK
        pfn += 1
    n = walk_lists(s)
    if n == NONE:
        return False
    if s.rules[RULE_ISOLATION] != ISOLATION_BESIDE:
        for i in range(nr_blocks):
            s.type_beneath[i] = 0
    else:
        for i in range(nr_blocks):
            if s.pageblock_mt[i] != ISOLATE:
                s.type_beneath[i] = 0
    order_windows(s)
    for i in range(windows):
        w = s.window_at[i] << s.window_order
        for k in range(size):
            if (i << s.window_order) + k < s.zone_end:
                record[to] = s.page_bytes[w + k]
                to += 1
    for i in range(n):
        pfn = s.walked[i]
        record[to + i] = s.place_of[pfn >> s.window_order] << s.window_order | pfn & mask
    to += s.zone_end
    for i in range(windows):
        w = s.window_at[i] * blocks
        for k in range(blocks):
            record[to] = s.pageblock_mt[w + k] | s.type_beneath[w + k] << 4
            to += 1
    record[to] = s.nr_free_pages & 0xFF
    record[to + 1] = s.nr_free_cma_pages & 0xFF
    record[to + 2] = s.nr_isolate_pageblock & 0xFF
    take_fingerprint(s, words, at // 8)
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def signed_byte(byte: cython.uint) -> cython.longlong:
    """A counter from its byte; it may have drifted below zero."""
    return cython.cast(cython.longlong, byte) - (256 if byte >= 192 else 0)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def unpack(s: SmallZone, record: cython.p_uchar, at: cython.ulonglong) -> cython.void:
    """Put a record's state into the zone, with what is known of it: requests held, isolated pageblocks, free windows."""
    pfn: cython.uint
    i: cython.uint
    b: cython.uint
    head: cython.uint
    last: cython.uint
    kind: cython.uint
    n: cython.uint = s.zone_end
    nr_blocks: cython.uint = s.nr_frames >> s.pageblock_order
    lists: cython.ulonglong = at + n
    types: cython.ulonglong = lists + n
    free_heads: cython.uint = 0
    blocked: cython.ulonglong = 0
    one: cython.ulonglong = 1
    s.requests = 0
    s.isolated = 0
    copy_links(s.nxt, s.nxt_empty, s.link_words)
    copy_links(s.prv, s.prv_empty, s.link_words)
    for pfn in range(n):
        b = record[at + pfn]
        s.state[pfn] = 0
        s.flags[pfn] = 0
        if b & 0x80:
            s.state[pfn] = BUDDY | b & 15
            free_heads += 1
        elif b:
            kind = b >> 4
            blocked |= one << (pfn >> s.window_order)
            s.state[pfn] = ALLOC | b & 15
            s.nxt[pfn] = kind
            s.flags[pfn] = C_KERNEL
            if kind == KIND_MOVABLE:
                s.flags[pfn] = C_MOVABLE_OPS | (PG_COMPOUND if b & 15 else 0)
            elif b & 15:
                s.flags[pfn] = s.kernel_flags
            if kind <= KIND_CONTIG_FIRST or kind == KIND_CMA_FIRST:
                s.requests += 1
    for i in range(free_heads):
        pfn = record[lists + i]
        b = record[at + pfn]
        head = list_head(s, b & 15, b >> 4 & 7)
        last = s.prv[head]
        s.nxt[last] = pfn
        s.prv[pfn] = last
        s.nxt[pfn] = head
        s.prv[head] = pfn
    for i in range(nr_blocks):
        b = record[types + i]
        s.pageblock_mt[i] = b & 15
        s.type_beneath[i] = b >> 4
        if b & 15 == ISOLATE:
            s.isolated |= one << i
        if b & 15 > RECLAIMABLE:
            blocked |= one << (i << s.pageblock_order >> s.window_order)
    types += nr_blocks
    s.nr_free_pages = record[types]
    s.nr_free_pages = signed_byte(record[types])
    s.nr_free_cma_pages = signed_byte(record[types + 1])
    s.nr_isolate_pageblock = signed_byte(record[types + 2])
    s.windows_free = ~blocked
    if s.overlapping:
        s.overlapping = False
        s.far_mark = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def remember(s: SmallZone) -> cython.void:
    """Keep the present state, so that ``restore`` brings it back."""
    copy_links(s.nxt_before, s.nxt, s.link_words)
    copy_links(s.prv_before, s.prv, s.link_words)
    copy_bytes(s.state_before, s.state, s.nr_frames)
    copy_bytes(s.flags_before, s.flags, s.nr_frames)
    copy_bytes(s.types_before, s.pageblock_mt, s.nr_frames >> s.pageblock_order)
    copy_bytes(s.beneath_before, s.type_beneath, s.nr_frames >> s.pageblock_order)
    s.free_before = s.nr_free_pages
    s.cma_before = s.nr_free_cma_pages
    s.isolate_before = s.nr_isolate_pageblock


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def restore(s: SmallZone) -> cython.void:
    """Bring back the state that ``remember`` kept."""
    copy_links(s.nxt, s.nxt_before, s.link_words)
    copy_links(s.prv, s.prv_before, s.link_words)
    copy_bytes(s.state, s.state_before, s.nr_frames)
    copy_bytes(s.flags, s.flags_before, s.nr_frames)
    copy_bytes(s.pageblock_mt, s.types_before, s.nr_frames >> s.pageblock_order)
    copy_bytes(s.type_beneath, s.beneath_before, s.nr_frames >> s.pageblock_order)
    s.nr_free_pages = s.free_before
    s.nr_free_cma_pages = s.cma_before
    s.nr_isolate_pageblock = s.isolate_before
    if s.overlapping:
        s.overlapping = False
        s.far_mark = 0
