"""The Python face of the allocator: ``Zone``.

Every method checks its arguments before it touches the zone, so a refused call leaves the zone as it was.
Pfns are absolute here and relative to the zone's base in the rooms below.
"""

from typing import Any

import cython
import numpy as np

from pageblock.mm.errors import ContigRefused, GeometryError, InvariantError, OutOfMemoryError, RangeError, UsageError
from pageblock.mm.events import Event, Listener, decode
from pageblock.mm.geometry import Geometry, check_geometry
from pageblock.mm.release import release as find_release
from pageblock.mm.results import INVARIANTS, STEPS, WHYS, ContigRange, Page, contig_result
from pageblock.mm.types import Migratetype, PageClass, PageFlag

if not cython.compiled:
    from .constants import (
        ALLOC,
        BUDDY,
        CLASS_MASK,
        CMA,
        C_HOLE,
        C_KERNEL,
        C_RESERVED,
        EBUSY,
        INV_FREE_CMA,
        INV_FREE_PAGES,
        ISOLATE,
        MOVABLE,
        NONE,
        NR_MIGRATETYPES,
        ONPCP,
        ORDER_MASK,
        RECLAIMABLE,
        REQUEST_ATOMIC,
        REQUEST_NORMAL,
        SURVEY_WORDS,
    )
    from .freelist import count_listed
    from .zone import get_pageblock_migratetype, list_head, ptr32, ptr64, ptr64s, ptr8, zone_init
    from .page_alloc import _free_one_page
    from .gfp import alloc_pages, free_core, free_pages
    from .compaction import compact_zone
    from .page_isolation import isolation_end, isolation_start, start_isolate_page_range, undo_isolate_page_range
    from .contig import alloc_contig_pages, alloc_contig_range, first_invalid_contig, free_contig_range
    from .arguments import flags_fit, integer, page_flags
    from .batch import operations_error, run_operations
    from .invariants import broken, check_zone
    from .survey import find_head, survey_stretches
    from .digest import digest_free_lists, digest_pageblocks, digest_pcp_lists
    from .bare_zone import NO_PAGE
    from .hotplug_zone import HotplugZone


#: Start and multiplier of the 64-bit FNV-1a digest.
FNV_BASIS = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3

#: Whether an allocated page may have each flags byte: 256 for order 0, then 256 for higher orders.
FLAGS_THAT_FIT = np.array([flags_fit(order, flags) for order in (0, 1) for flags in range(256)], np.uint8)


#: Handles that ``run`` makes room for by itself.
MOST_FRESH = 1 << 28

#: One operation of ``Zone.run``. ``op``: 1 allocate, 2 free, 3 alloc_contig_range, 4 free_contig_range,
#: 5 allocate as GFP_ATOMIC;
#: ``flags``: page class and flags of what is allocated; ``handle``: index of the owner handle;
#: ``start``: first page, counted from the zone's first; ``nr``: pages. Both only for contig operations.
OPERATION = np.dtype(
    [
        ("op", np.uint8),
        ("order", np.uint8),
        ("migratetype", np.uint8),
        ("flags", np.uint8),
        ("handle", np.uint32),
        ("start", np.uint32),
        ("nr", np.uint32),
    ]
)


@cython.cclass
class Zone(HotplugZone):
    """A memory zone whose every free list, pageblock type and counter follows one kernel release.

    Args:
        nr_pages: pages that the zone spans.
        release: set of rules, see ``pageblock.mm.release``.
        start_pfn: first pfn of the zone.
        max_order: largest block of the allocator, inclusive (10: blocks of 1024 pages).
        pageblock_order: pages that share a migratetype.
        page_size: bytes.
        section_size: bytes of a sparse memory section, which no block may cross; None: not checked.
        populate: hand all pages to the allocator as at boot; otherwise all are holes until loaded.
        name: what messages call the zone.
        zone_movable: the zone is ZONE_MOVABLE.

    Attributes:
        nr_free_pages: NR_FREE_PAGES as the kernel counts it, pages: what is free outside isolated pageblocks.
        nr_free_cma_pages: NR_FREE_CMA_PAGES, pages.
        nr_isolate_pageblock: isolated pageblocks.

    Raises:
        GeometryError: the values are not consistent; the message names the rule.
        ReleaseError: no such release.

    >>> zone = Zone(4096)
    >>> zone.alloc(0), zone.alloc(0), zone.nr_free_pages
    (0, 1, 4094)
    """

    def __init__(
        self,
        nr_pages: Any,
        release: Any = "6.1",
        start_pfn: Any = 0,
        max_order: Any = 10,
        pageblock_order: Any = 9,
        *,
        page_size: Any = 4096,
        section_size: Any = None,
        populate: Any = True,
        name: Any = "zone",
        zone_movable: Any = False,
    ) -> None:
        self.release_ = find_release(str(release))
        self.geometry_ = check_geometry(
            nr_pages, start_pfn, max_order, pageblock_order, page_size, section_size, self.release_
        )
        self.name_ = str(name)
        self.listener = None
        g = self.geometry_
        zone_init(self, g.start_pfn, g.nr_pages, g.max_order, g.pageblock_order, self.release_.rules)
        self.zone_movable = bool(zone_movable)
        if populate:
            free_core(self, self.zone_start, self.zone_end)
        else:
            self.state_array[self.zone_start : self.zone_end] = ALLOC
            self.flags_array[self.zone_start : self.zone_end] = C_HOLE

    def __repr__(self) -> str:
        g = self.geometry_
        return (
            f"Zone({g.nr_pages}, release={self.release!r}, start_pfn={g.start_pfn}, max_order={g.max_order}, "
            f"pageblock_order={g.pageblock_order}, nr_free_pages={self.nr_free_pages})"
        )

    # ---- what is in it ----

    def free_list(self, order: Any, migratetype: Any) -> Any:
        """Pfns of one free list, head first: uint64 array."""
        o = self.checked_order(order)
        mt = self.checked_migratetype(migratetype, NR_MIGRATETYPES)
        return self.listed(list_head(self, o, mt))

    def free_counts(self) -> Any:
        """Free blocks per (order, migratetype): uint64 array of shape (max_order + 1, 6), as pagetypeinfo."""
        counts = np.zeros((self.max_order + 1, NR_MIGRATETYPES), np.uint64)
        for order in range(self.max_order + 1):
            for mt in range(NR_MIGRATETYPES):
                counts[order, mt] = count_listed(self, order, mt)
        return counts

    @property
    def free_blocks(self) -> Any:
        """Free blocks per order, all types together, ISOLATE included: uint64 copy, as buddyinfo."""
        return self.free_counts().sum(axis=1, dtype=np.uint64)

    @property
    def pageblock_types(self) -> Any:
        """Type of each pageblock, from the one that holds ``start_pfn``: a uint8 copy."""
        first = self.zone_start >> self.pageblock_order
        last = (self.zone_end - 1) >> self.pageblock_order
        return self.pageblock_array[first : last + 1].copy()

    @property
    def watermarks(self) -> tuple[int, int, int]:
        """Min and low watermark and the lowmem reserve, pages."""
        return self.wmark_min, self.wmark_low, self.lowmem_reserve

    def page(self, pfn: Any) -> Page:
        """The page at a pfn. Raises RangeError outside the zone."""
        at: cython.uint = self.checked_pfn(pfn)
        head: cython.uint = at
        if self.state[at] == 0:
            head = find_head(self, at)
        s: cython.uint = self.state[head]
        flags = self.flags[head]
        allocated = bool(s & ALLOC)
        page_class = PageClass(flags & CLASS_MASK) if allocated else PageClass.FREE
        if s & ONPCP:
            page_class = PageClass.PCP
        if s == 0:
            # a tail of an allocated block that is not compound: no reference, no flag of its own
            page_class = PageClass.KERNEL
        return Page(
            self.base_pfn + at,
            self.base_pfn + head,
            s & ORDER_MASK,
            page_class,
            PageFlag(flags & ~CLASS_MASK) if allocated else PageFlag(0),
            self.nxt[head] if allocated and self.nxt[head] != NONE else None,
            Migratetype(get_pageblock_migratetype(self, at)),
        )

    def survey(self, start_pfn: Any, unit: Any, count: Any) -> Any:
        """What ``count`` stretches of ``unit`` pages from ``start_pfn`` hold: uint32 array of shape (count, 9).

        Columns: free pages; pages to migrate; clean file pages that would be dropped; pages that isolation
        refuses; the first of those, counted from ``start_pfn`` (2^32-1: none); bit set of their classes; the first
        page that isolation passes but migration does not, likewise; pages that lie in the zone; order of a movable
        compound page that begins before the stretch and reaches into it (0: none). A stretch may begin before
        the zone, but not before ``start_pfn`` rounded down to a max order block.

        Raises:
            RangeError: the stretches do not lie there.
        """
        first = integer("start_pfn", start_pfn) - self.base_pfn
        size = integer("unit", unit)
        n = integer("count", count)
        if first < 0 or size < 1 or n < 1 or first + size * n >= 1 << 32:
            raise RangeError(
                f"cannot survey {n} stretches of {size} pages from pfn {start_pfn}: they begin before {self!r}"
            )
        out = np.zeros((n, SURVEY_WORDS), np.uint32)
        begin: cython.uint = first
        width: cython.uint = size
        stretches: cython.uint = n
        words: cython.p_uint = ptr32(out.reshape(-1))
        with cython.nogil:
            survey_stretches(self, begin, width, stretches, words)
        for column in (4, 6):
            out[:, column] = np.where(out[:, column] == NO_PAGE, np.uint32(NO_PAGE), out[:, column] - np.uint32(first))
        return out

    # ---- allocate and free ----

    def alloc(
        self,
        order: Any = 0,
        migratetype: Any = MOVABLE,
        page_class: Any = None,
        *,
        compound: Any = None,
        pinned: Any = False,
        clean: Any = False,
        owner: Any = None,
        atomic: Any = False,
    ) -> int:
        """Allocate a block of 2^order pages; its pfn.

        Args:
            order: 0 to max_order.
            migratetype: UNMOVABLE, MOVABLE or RECLAIMABLE.
            page_class: what it is used for. Default: KERNEL, SLAB for RECLAIMABLE, and for MOVABLE a page
                on the LRU (ANON, or THP above order 0).
            compound: one compound page; default: as the class has it.
            pinned: references beyond its mappings; isolation passes it, migration does not.
            clean: a clean file page, dropped instead of migrated.
            owner: handle that migration carries along, 0 to 2^32-3.
            atomic: GFP_ATOMIC: may go into the reserves, and above order 0 sets a pageblock apart for its like.

        Raises:
            OutOfMemoryError: no free block above the min watermark.
            UsageError: a value that the allocator does not take.
        """
        o = self.checked_order(order)
        mt = self.checked_migratetype(migratetype, RECLAIMABLE + 1)
        flags = page_flags(o, mt, page_class, compound, pinned, clean)
        self.begin(False)
        pfn: cython.uint = alloc_pages(
            self, o, mt, flags, self.checked_owner(owner), REQUEST_ATOMIC if atomic else REQUEST_NORMAL
        )
        self.finish()
        if pfn == NONE:
            raise OutOfMemoryError(
                f"no free block of order {o} for {Migratetype(mt).name} in {self.name_}: "
                f"{self.nr_free_pages} pages free, min watermark {self.wmark_min}"
            )
        return self.base_pfn + pfn

    def free(self, pfn: Any) -> None:
        """Free the block that a pfn heads. Raises UsageError if it is free already, inside a block, or no one's."""
        at: cython.uint = self.checked_pfn(pfn)
        self.must_be_allocated(at)
        self.begin(False)
        free_pages(self, at)
        self.finish()

    def init_cma_reserved_pageblock(self, pfn: Any) -> None:
        """Turn a reserved pageblock into a free one of type CMA (mm/page_alloc.c, at boot).

        Raises:
            RangeError: not the start of a pageblock in the zone.
            UsageError: a page of it is not RESERVED.
        """
        at: cython.uint = self.checked_pfn(pfn)
        n: cython.uint = self.pageblock_nr_pages
        if at & (n - 1) or at + n > self.zone_end:
            raise RangeError(f"pfn {pfn} does not start a whole pageblock of {n} pages in {self.name_}: align it")
        reserved = (self.state_array[at : at + n] == ALLOC) & (self.flags_array[at : at + n] == C_RESERVED)
        if not reserved.all():
            raise UsageError(f"pageblock at pfn {pfn} is not reserved throughout: load its pages as RESERVED first")
        self.state_array[at : at + n] = 0
        self.flags_array[at : at + n] = 0
        self.pageblock_array[at >> self.pageblock_order] = CMA
        # blocks above max order do not exist: such a pageblock is freed in max order pieces
        step = 1 << min(self.max_order, self.pageblock_order)
        for piece in range(at, at + n, step):
            _free_one_page(self, piece, min(self.max_order, self.pageblock_order), CMA, False)

    # ---- contiguous ranges ----

    def alloc_contig_range(
        self,
        start_pfn: Any,
        end_pfn: Any,
        migratetype: Any = MOVABLE,
        *,
        page_class: Any = C_KERNEL,
        owner: Any = None,
        handles: Any = None,
    ) -> ContigRange:
        """Allocate exactly ``[start_pfn, end_pfn)``; what moved, was split and was isolated.

        Args:
            migratetype: MOVABLE, or CMA for a range in CMA pageblocks.
            page_class: class of the order-0 pages that result.
            owner: handle of each of them.
            handles: those of ``run``, kept up to date as pages move.

        Raises:
            RangeError: outside the zone, or start >= end.
            ContigRefused: the kernel would return -EBUSY, -ENOMEM or -EINTR; the pageblocks are given back.
        """
        start, end = self.checked_range(start_pfn, end_pfn)
        mt = self.checked_migratetype(migratetype, NR_MIGRATETYPES)
        if mt != MOVABLE and mt != CMA:
            raise UsageError(f"alloc_contig_range takes MOVABLE or CMA, not {Migratetype(mt).name}")
        flags = page_flags(0, MOVABLE, page_class, None, False, False)
        handle = self.checked_owner(owner)
        saved = self.room_for_types(end - start)
        if handles is not None:
            self.lend_handles(handles)
        self.begin(True)
        rc = alloc_contig_range(self, start, end, mt, flags, handle, ptr8(saved))
        refusal = self.refusal(-rc) if rc else None
        self.return_handles()
        rows = self.finish()
        done = contig_result(self.base_pfn + start, self.base_pfn + end, rows, self.base_pfn)
        if refusal is not None:
            if isinstance(refusal, ContigRefused):
                refusal.tried = done
            raise refusal
        return done

    def alloc_contig_pages(self, nr_pages: Any, *, page_class: Any = C_KERNEL, owner: Any = None) -> ContigRange:
        """First range of ``nr_pages``, aligned to its size, that can be had in the zone (alloc_contig_pages).

        Raises:
            RangeError: fewer than one page, more than the zone, or not a power of two.
            ContigRefused: every range was refused; the last reason.
            KernelBugError: at one of them the kernel would stop.
        """
        n = self.checked_count(nr_pages)
        if n & (n - 1):
            raise RangeError(f"nr_pages is {n}: alloc_contig_pages aligns to its size, which must be a power of two")
        flags = page_flags(0, MOVABLE, page_class, None, False, False)
        handle = self.checked_owner(owner)
        saved = self.room_for_types(n)
        self.refused_step = 0
        self.refused_why = 0
        self.refused_pfn = self.zone_start
        self.begin(True)
        pfn: cython.longlong = alloc_contig_pages(self, n, flags, handle, ptr8(saved))
        refusal = self.refusal(-pfn) if pfn < 0 else None
        rows = self.finish()
        if refusal is not None:
            raise refusal
        return contig_result(self.base_pfn + pfn, self.base_pfn + pfn + n, rows, self.base_pfn)

    def free_contig_range(self, start_pfn: Any, nr_pages: Any) -> None:
        """Free ``nr_pages`` order-0 pages from ``start_pfn``, ascending. Raises UsageError if one is none."""
        start, end = self.checked_range(start_pfn, integer("start_pfn", start_pfn) + self.checked_count(nr_pages))
        pfn: cython.uint
        for pfn in range(start, end):
            self.must_be_allocated(pfn)
            if self.state[pfn] != ALLOC:
                order = self.state[pfn] & ORDER_MASK
                raise UsageError(f"pfn {self.base_pfn + pfn} heads a block of order {order}: free it by itself")
        self.begin(False)
        free_contig_range(self, start, end)
        self.finish()

    def first_invalid_contig(self, start_pfn: Any, end_pfn: Any) -> int | None:
        """First pfn for which alloc_contig_pages passes a range over, None if it tries it (pfn_range_valid_contig)."""
        start, end = self.checked_range(start_pfn, end_pfn)
        pfn: cython.uint = first_invalid_contig(self, start, end)
        return None if pfn == NONE else self.base_pfn + pfn

    def prep_compound_page(self, pfn: Any, order: Any, page_class: Any) -> None:
        """Make one compound page out of 2^order allocated order-0 pages, of any order (prep_compound_page).

        Raises:
            RangeError: outside the zone.
            UsageError: misaligned, or a page of it is no allocated order-0 page.
        """
        o = integer("order", order)
        if not 1 <= o <= ORDER_MASK:
            raise UsageError(f"order is {o}: a compound page has order 1 to {ORDER_MASK}")
        start, end = self.checked_range(pfn, integer("pfn", pfn) + (1 << o))
        if (self.base_pfn + start) & ((1 << o) - 1):
            raise UsageError(f"pfn {pfn} is not aligned to a page of order {o}: align it")
        flags = page_flags(o, MOVABLE, page_class, True, False, False)
        if not (self.state_array[start:end] == ALLOC).all():
            raise UsageError(f"a page of the {1 << o} at pfn {pfn} is no allocated order-0 page")
        owner = self.nxt_array[start]
        self.state_array[start:end] = 0
        self.flags_array[start:end] = 0
        self.state[start] = ALLOC | o
        self.flags[start] = flags
        self.nxt[start] = owner

    def split_page(self, pfn: Any) -> None:
        """Make an allocated block into order-0 pages of class KERNEL (split_page, destroy_compound_gigantic_page).

        Raises UsageError if no allocated block starts there.
        """
        start: cython.uint = self.checked_pfn(pfn)
        self.must_be_allocated(start)
        end = start + (1 << (self.state[start] & ORDER_MASK))
        owner = self.nxt_array[start]
        self.state_array[start:end] = ALLOC
        self.flags_array[start:end] = C_KERNEL
        self.nxt_array[start:end] = owner

    def free_reserved_page(self, pfn: Any) -> None:
        """Give a RESERVED page to the allocator (include/linux/mm.h). Raises UsageError if it is none."""
        at: cython.uint = self.checked_pfn(pfn)
        if self.state[at] != ALLOC or self.flags[at] & CLASS_MASK != C_RESERVED:
            raise UsageError(f"pfn {pfn} is not a reserved page: free it with free()")
        self.flags[at] = C_KERNEL
        self.nxt[at] = NONE
        self.begin(False)
        free_pages(self, at)
        self.finish()

    # ---- isolation by itself ----

    def start_isolate_page_range(self, start_pfn: Any, end_pfn: Any, migratetype: Any = MOVABLE) -> tuple[int, ...]:
        """Isolate the pageblocks of a range; first pfns of those isolated, in that order.

        The range is rounded as the release's callers round it: 5.15 and the seed to max order windows, the others
        to pageblocks.

        Raises:
            RangeError: outside the zone, or start >= end.
            ContigRefused: an unmovable page, or a pageblock that is isolated already.
        """
        start, end = self.checked_range(start_pfn, end_pfn)
        mt = self.checked_migratetype(migratetype, NR_MIGRATETYPES)
        self.begin(True)
        rc = start_isolate_page_range(self, start, end, mt, 0)
        refusal = self.refusal(-rc) if rc else None
        rows = self.finish()
        if refusal is not None:
            raise refusal
        return contig_result(0, 0, rows, self.base_pfn).isolated

    def undo_isolate_page_range(self, start_pfn: Any, end_pfn: Any, migratetype: Any = MOVABLE) -> None:
        """Give the isolated pageblocks of a range, rounded as for isolation, this type. Raises RangeError."""
        start, end = self.checked_range(start_pfn, end_pfn)
        mt = self.checked_migratetype(migratetype, ISOLATE)
        self.begin(False)
        undo_isolate_page_range(self, isolation_start(self, start), min(isolation_end(self, end), self.nr_frames), mt)
        self.finish()

    def compact_memory(self, handles: Any = None) -> tuple[tuple[int, int], ...]:
        """Compact the zone as /proc/sys/vm/compact_memory does; (source, target) pfns in the order they moved.

        ``handles``: those of ``run``, kept up to date. Raises UsageError for a wrong array.
        """
        if handles is not None:
            self.lend_handles(handles)
        self.begin(True)
        compact_zone(self)
        self.return_handles()
        return contig_result(0, 0, self.finish(), self.base_pfn).base_moves()

    def compact_quietly(self) -> int:
        """As ``compact_memory``, without a record of the moves, which on a large zone takes gigabytes; pages moved."""
        self.begin(False)
        compact_zone(self)
        self.finish()
        return int(self.compact_moved)

    # ---- many operations at once ----

    def run(self, ops: Any, handles: Any = None, moves: list[tuple[int, int | None, int]] | None = None) -> Any:
        """Execute an array of ``OPERATION`` at C speed; int64 array of results.

        A result is the pfn (allocated, freed, or first of the range) or a negated errno: -ENOMEM, -EBUSY, -EINTR,
        -ENOENT (free of an empty handle), -EEXIST (the handle is in use), -EREMOTE (free of a page that
        migration took to another zone).

        Args:
            ops: array of dtype ``OPERATION``.
            handles: uint32 array, one entry a handle, kept between calls by the caller; None: fresh ones. An entry is
                the page's frame counted from ``base()``; 2^32-1: empty; 2^32-2: the page went to another zone.
            moves: receives source, target (None: in another zone, not known where) and order of each migration.

        Raises:
            UsageError: a malformed operation (its index is named), or a wrong array. Nothing has run.
        """
        if not isinstance(ops, np.ndarray) or ops.dtype != OPERATION or ops.ndim != 1:
            raise UsageError("run takes a one-dimensional numpy array of dtype pageblock.OPERATION")
        n = len(ops)
        if handles is None:
            largest = int(ops["handle"].max()) if n else 0
            if largest >= MOST_FRESH:
                raise UsageError(
                    f"handle {largest} needs {largest + 1} entries: hand in handles, or number them from 0"
                )
            handles = np.full(largest + 1, NO_PAGE, np.uint32)
        if n == 0:
            return np.zeros(0, np.int64)
        results = np.empty(n, np.int64)
        words = (
            np.array(ops, order="C").view(np.uint64)
            if not ops.flags.writeable
            else np.ascontiguousarray(ops).view(np.uint64)
        )
        self.lend_handles(handles)
        bad = operations_error(self, ptr64(words), n, len(handles), ptr8(FLAGS_THAT_FIT))
        if bad >= 0:
            self.return_handles()
            raise UsageError(
                f"operation {bad} is malformed: {ops[bad]}: check op, order, migratetype, flags, handle and range"
            )
        saved = self.room_for_types(self.largest_range)
        self.begin(moves is not None)
        run_operations(self, ptr64(words), n, ptr64s(results), ptr8(saved))
        self.return_handles()
        rows = self.finish()
        if moves is not None:
            moves += contig_result(0, 0, rows, self.base_pfn).moved
        return results

    # ---- watch and verify ----

    def digests(self, isolate_number: Any = ISOLATE) -> tuple[int, int, int]:
        """FNV-1a digests of the free lists in order, of the pageblock types, and of the per-cpu lists.

        ``isolate_number``: the number of ISOLATE in the kernel compared with, 5 with CONFIG_CMA and 4 without.
        """
        number: cython.uint = self.checked_migratetype(isolate_number, NR_MIGRATETYPES)
        basis: cython.ulonglong = FNV_BASIS
        prime: cython.ulonglong = FNV_PRIME
        return (
            digest_free_lists(self, number, basis, prime),
            digest_pageblocks(self, number, basis, prime),
            digest_pcp_lists(self, basis, prime),
        )

    def observe(self, listener: Listener | None) -> None:
        """Call ``listener(event)`` for each step, after the call that made them; None: stop.

        An exception of the listener leaves that call by it; what the call did is done all the same.
        """
        if listener is not None and not callable(listener):
            raise UsageError(f"a listener is called with each event: {listener!r} cannot be called")
        self.listener = listener
        self.recording = listener is not None

    def check(self) -> None:
        """Verify every invariant. Raises InvariantError for the first that is broken: which, where, the figures."""
        found = np.zeros(32, np.uint64)
        broken = check_zone(self, ptr64(found))
        if not broken:
            return
        name, text = INVARIANTS[broken]
        pfn: int | None = self.base_pfn + self.refused_pfn
        if broken == INV_FREE_PAGES:
            drift = self.nr_free_pages - int(found[0])
            text += f": counted {self.nr_free_pages}, really free {found[0]} (drift {drift:+d})"
            pfn = None
        elif broken == INV_FREE_CMA:
            text += f": counted {self.nr_free_cma_pages}, really free {found[1]}"
            pfn = None
        else:
            text += f", at pfn {pfn:#x}"
        raise InvariantError(name, f"{text} in {self.name_}, release {self.release}", pfn)

    # ---- copy, compare, store ----

    def copy(self) -> "Zone":
        """A zone of its own with the same state; the listener stays behind."""
        state = self.saved_state()
        zone = Zone(*state["geometry"], populate=False, **state["options"])
        zone.take_state(state)
        return zone

    def __copy__(self) -> "Zone":
        return self.copy()

    def __deepcopy__(self, memo: Any) -> "Zone":
        return self.copy()

    def __reduce__(self) -> Any:
        from pageblock.mm import restored_zone as restore

        return restore, (self.saved_state(),)

    def __eq__(self, other: object) -> bool:
        """Same geometry, release, pages, pageblock types, counters, owners, and free lists in the same order."""
        if not isinstance(other, Zone):
            return NotImplemented
        mine, theirs = self.saved_state(), other.saved_state()
        if mine["geometry"] != theirs["geometry"] or mine["counters"] != theirs["counters"]:
            return False
        nxt, prv, state, flags, types = mine["arrays"]
        nxt2, prv2, state2, flags2, types2 = theirs["arrays"]
        if not (np.array_equal(state, state2) and np.array_equal(flags, flags2) and np.array_equal(types, types2)):
            return False
        # links mean something only on list heads, free blocks and, as owners, on allocated heads
        heads = np.concatenate([np.flatnonzero(state), np.arange(len(state), len(nxt))])
        free = np.concatenate([np.flatnonzero(state & (BUDDY | ONPCP)), np.arange(len(state), len(nxt))])
        return bool(np.array_equal(nxt[heads], nxt2[heads]) and np.array_equal(prv[free], prv2[free]))

    __hash__ = None  # type: ignore[assignment]


def restored_zone(state: dict[str, Any]) -> Zone:
    """The zone of a saved state; arrays are taken over, not copied."""
    zone = Zone(*state["geometry"], populate=False, **state["options"])
    zone.load_state(state)
    return zone
