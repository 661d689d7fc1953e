"""Free blocks that cover pages in use: what the seed's patch as posted can leave behind, and what the kernel makes of it.

The kernel takes such a block from its list like any other. As it hands it out it looks at its pages (check_new_pages) and drops
the whole block if one is in use: its pages keep their users, what was free in it is lost (mm/page_alloc.c, 5.15). Of an order
that has per-cpu lists it looks at the first page only (check_new_pcp); of another a dropped block stays counted as free, for
rmqueue subtracts what it hands out.
A zone in which this never happened pays nothing for it.
"""

from typing import Any

import cython
import numpy as np

if not cython.compiled:
    from .constants import ALLOC, BUDDY, ONPCP
    from .zone import ZoneState, ptr32, ptr8
    from .watermark import update_far_mark


@cython.cfunc
def overlap_init(z: ZoneState) -> None:
    """Make room to remember pages in use under free blocks."""
    z.covered_array = np.zeros(z.nr_frames >> z.pageblock_order, np.uint8)
    z.used_array = np.zeros((2, z.nr_frames), np.uint8)
    z.used_owner_array = np.zeros(z.nr_frames, np.uint32)
    z.overlapping = True
    overlap_bind(z)


@cython.cfunc
def overlap_bind(z: ZoneState) -> None:
    """Point the raw pointers at the arrays that own the memory."""
    z.covered = ptr8(z.covered_array)
    z.used_state = ptr8(z.used_array[0])
    z.used_flags = ptr8(z.used_array[1])
    z.used_owner = ptr32(z.used_owner_array)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def cover_pageblock(z: ZoneState, pfn: cython.uint) -> cython.void:
    """Remember that a free block covers pages in use of this pageblock."""
    if not z.overlapping:
        with cython.gil:
            overlap_init(z)
    z.covered[pfn >> z.pageblock_order] = 1
    update_far_mark(z)


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def note_used_pages(z: ZoneState) -> cython.void:
    """Before a block is split: remember each page in use, as the split may make a free block of it."""
    block: cython.uint
    pfn: cython.uint
    start: cython.uint
    for block in range(z.nr_frames >> z.pageblock_order):
        if not z.covered[block]:
            continue
        start = block << z.pageblock_order
        for pfn in range(start, start + z.pageblock_nr_pages):
            if z.state[pfn] & ALLOC:
                z.used_state[pfn] = z.state[pfn]
                z.used_flags[pfn] = z.flags[pfn]
                z.used_owner[pfn] = z.nxt[pfn]
            elif not z.used_state[pfn] & BUDDY:
                z.used_state[pfn] = 0


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def drop_used_block(z: ZoneState, pfn: cython.uint, order: cython.uint, looked_at: cython.uint) -> cython.bint:
    """After a block was taken: whether one of its first ``looked_at`` pages is in use, so that the block is dropped."""
    at: cython.uint
    start: cython.uint
    block: cython.uint
    bad: cython.bint = False
    # a page in use that the split made the head of a free block is both from now on: bit BUDDY of used_state
    for block in range(z.nr_frames >> z.pageblock_order):
        if not z.covered[block]:
            continue
        start = block << z.pageblock_order
        for at in range(start, start + z.pageblock_nr_pages):
            if z.used_state[at] and z.state[at] & (BUDDY | ONPCP):
                z.used_state[at] |= BUDDY
    for at in range(pfn, pfn + looked_at):
        if z.covered[at >> z.pageblock_order] and z.used_state[at]:
            bad = True
    if not bad:
        return False
    for at in range(pfn, pfn + (1 << order)):
        z.state[at] = 0
        if z.covered[at >> z.pageblock_order] and z.used_state[at]:
            z.state[at] = z.used_state[at] & ~BUDDY
            z.flags[at] = z.used_flags[at]
            z.nxt[at] = z.used_owner[at]
            z.used_state[at] = 0
    return True


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def frees_used_page(z: ZoneState, pfn: cython.uint, order: cython.uint) -> cython.bint:
    """Whether a page behind the first of a block to be freed is in use or listed: then it is lost (free_pages_prepare, 5.15)."""
    at: cython.uint
    for at in range(pfn + 1, pfn + (1 << order)):
        if z.state[at] & (ALLOC | BUDDY):
            return True
    return False


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def take_over_listed(
    z: ZoneState, start: cython.uint, end: cython.uint, flags: cython.uint, owner: cython.uint
) -> cython.void:
    """Make [start, end) order-0 pages in use, some of which may still head blocks on free lists: those are both from now on.

    The kernel's list entries are fields of the page of their own, so a page that is handed out while it is listed stays listed.
    """
    pfn: cython.uint
    for pfn in range(start, end):
        if z.state[pfn] & BUDDY:
            cover_pageblock(z, pfn)
            z.used_state[pfn] = ALLOC | BUDDY
            z.used_flags[pfn] = flags
            z.used_owner[pfn] = owner
        else:
            z.state[pfn] = ALLOC
            z.flags[pfn] = flags
            z.nxt[pfn] = owner
