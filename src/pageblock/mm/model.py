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
        ALLOC_CMA,
        ALLOC_NOFRAGMENT,
        BUDDY,
        CLASS_MASK,
        CMA,
        C_HOLE,
        C_KERNEL,
        C_RESERVED,
        EBUSY,
        EVENT_WORDS,
        HIGHATOMIC,
        INV_FREE_CMA,
        INV_FREE_PAGES,
        ISOLATE,
        MARK_FREE,
        MOVABLE,
        NONE,
        NR_MIGRATETYPES,
        NR_PCP_LISTS,
        NR_RULES,
        ONPCP,
        ORDER_MASK,
        PG_CLEAN,
        PG_COMPOUND,
        PG_PINNED,
        RECLAIMABLE,
        REQUEST_ATOMIC,
        REQUEST_NORMAL,
        RULE_HIGHATOMIC_MARK,
        RULE_PCP_TUNING,
        SURVEY_WORDS,
        TUNING_AUTO,
    )
    from .zone import ZoneState, get_pageblock_migratetype, list_head, ptr32, ptr64, ptr64s, ptr8, zone_bind, zone_init
    from .freelist import list_insert
    from .page_alloc import _free_one_page
    from .watermark import update_far_mark
    from .pcplist import drain_all_pages, pcp_head, pindex_to_order
    from .gfp import alloc_pages, free_core, free_pages, get_page_from_freelist, unreserve_highatomic_pageblock
    from .compaction import compact_zone
    from .page_isolation import isolation_end, isolation_start, start_isolate_page_range, undo_isolate_page_range
    from .contig import alloc_contig_pages, alloc_contig_range, free_contig_range
    from .arguments import flags_fit, integer, one_length, page_flags, whole_numbers
    from .batch import operations_error, run_operations
    from .invariants import broken, check_zone
    from .survey import find_head, survey_stretches
    from .load import place_free_blocks, place_runs
    from .digest import digest_free_lists, digest_pageblocks, digest_pcp_lists


#: Start and multiplier of the 64-bit FNV-1a digest.
FNV_BASIS = 0xCBF29CE484222325
FNV_PRIME = 0x100000001B3

#: Whether an allocated page may have each flags byte: 256 for order 0, then 256 for higher orders.
FLAGS_THAT_FIT = np.array([flags_fit(order, flags) for order in (0, 1) for flags in range(256)], np.uint8)

#: No page, no handle; as Python sees it (the core's NONE is a C constant).
NO_PAGE = 0xFFFFFFFF

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


#: The log of a call without events.
NO_EVENTS = np.zeros((0, 8), np.uint64)


@cython.cclass
class Zone(ZoneState):
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

    geometry_: Any
    release_: Any
    name_: Any
    listener: Any

    def __cinit__(self, *args: Any, **options: Any) -> None:
        # an object that never saw __init__ is a zone of one page, and no crash
        zone_init(self, 0, 1, 0, 0, np.zeros(NR_RULES, np.uint32))

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

    # ---- what the zone is ----

    @property
    def geometry(self) -> Geometry:
        """Size, start, orders and page size."""
        return self.geometry_

    @property
    def release(self) -> str:
        """Name of the release whose rules are followed."""
        return self.release_.name

    @property
    def name(self) -> str:
        """What messages call the zone."""
        return self.name_

    @property
    def start_pfn(self) -> int:
        """First pfn."""
        return self.base_pfn + self.zone_start

    @property
    def end_pfn(self) -> int:
        """One past the last pfn."""
        return self.base_pfn + self.zone_end

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

    def listed(self, head: cython.uint) -> Any:
        """Pfns of the list with this head, in order."""
        pfn: cython.uint = self.nxt[head]
        found = []
        while pfn != head:
            found.append(pfn)
            pfn = self.nxt[pfn]
        return np.array(found, np.uint64) + np.uint64(self.base_pfn)

    def free_counts(self) -> Any:
        """Free blocks per (order, migratetype): uint64 array of shape (max_order + 1, 6), as pagetypeinfo."""
        counts = np.zeros((self.max_order + 1, NR_MIGRATETYPES), np.uint64)
        for order in range(self.max_order + 1):
            for mt in range(NR_MIGRATETYPES):
                counts[order, mt] = len(self.free_list(order, mt))
        return counts

    @property
    def free_blocks(self) -> Any:
        """Free blocks per order, all types together, ISOLATE included: uint64 copy, as buddyinfo."""
        return self.nr_free_array.copy()

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
        survey_stretches(self, first, size, n, ptr32(out.reshape(-1)))
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
        self, start_pfn: Any, end_pfn: Any, migratetype: Any = MOVABLE, *, page_class: Any = C_KERNEL, owner: Any = None
    ) -> ContigRange:
        """Allocate exactly ``[start_pfn, end_pfn)``; what moved, was split and was isolated.

        Args:
            migratetype: MOVABLE, or CMA for a range in CMA pageblocks.
            page_class: class of the order-0 pages that result.
            owner: handle of each of them.

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
        self.begin(True)
        rc = alloc_contig_range(self, start, end, mt, flags, handle, ptr8(saved))
        refusal = self.refusal(-rc) if rc else None
        rows = self.finish()
        if refusal is not None:
            raise refusal
        return contig_result(self.base_pfn + start, self.base_pfn + end, rows, self.base_pfn)

    def alloc_contig_pages(self, nr_pages: Any, *, page_class: Any = C_KERNEL, owner: Any = None) -> ContigRange:
        """First range of ``nr_pages``, aligned to its size, that can be had in the zone (alloc_contig_pages).

        Raises:
            RangeError: fewer than one page, more than the zone, or not a power of two.
            ContigRefused: every range was refused; the last reason.
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
        pfn: cython.uint = alloc_contig_pages(self, n, flags, handle, ptr8(saved))
        refusal = self.refusal(EBUSY) if pfn == NONE else None
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

    def compact_memory(self) -> tuple[tuple[int, int], ...]:
        """Compact the zone as /proc/sys/vm/compact_memory does; (source, target) pfns in the order they moved."""
        self.begin(True)
        compact_zone(self)
        return contig_result(0, 0, self.finish(), self.base_pfn).base_moves()

    # ---- many operations at once ----

    def run(self, ops: Any, handles: Any = None) -> Any:
        """Execute an array of ``OPERATION`` at C speed; int64 array of results.

        A result is the pfn (allocated, freed, or first of the range) or a negated errno: -ENOMEM, -EBUSY, -EINTR,
        -ENOENT (free of an empty handle), -EEXIST (the handle is in use), -EREMOTE (free of a page that
        migration took to another zone).

        Args:
            ops: array of dtype ``OPERATION``.
            handles: uint32 array, one entry a handle, kept between calls by the caller; None: fresh ones. An entry is
                the page's frame counted from ``base()``; 2^32-1: empty; 2^32-2: the page went to another zone.

        Raises:
            UsageError: a malformed operation (its index is named), or a wrong array. Nothing has run.
        """
        if not isinstance(ops, np.ndarray) or ops.dtype != OPERATION or ops.ndim != 1:
            raise UsageError("run takes a one-dimensional numpy array of dtype pageblock.OPERATION")
        n = len(ops)
        if handles is None:
            handles = np.full(int(ops["handle"].max()) + 1 if n else 1, NO_PAGE, np.uint32)
        elif not isinstance(handles, np.ndarray) or handles.dtype != np.uint32 or handles.ndim != 1 or not len(handles):
            raise UsageError("handles must be a one-dimensional numpy array of uint32, filled with 2^32-1 at first")
        elif not (handles.flags.c_contiguous and handles.flags.writeable and handles.flags.aligned):
            raise UsageError("handles must be contiguous and writeable: run updates them in place; pass a copy")
        if n == 0:
            return np.zeros(0, np.int64)
        results = np.empty(n, np.int64)
        words = (
            np.array(ops, order="C").view(np.uint64)
            if not ops.flags.writeable
            else np.ascontiguousarray(ops).view(np.uint64)
        )
        saved = self.room_for_types(int(ops["nr"].max()))
        bad = operations_error(self, ptr64(words), n, len(handles), ptr8(FLAGS_THAT_FIT))
        if bad >= 0:
            raise UsageError(
                f"operation {bad} is malformed: {ops[bad]}: check op, order, migratetype, flags, handle and range"
            )
        self.handles_array = handles
        self.handles = ptr32(handles)
        self.nr_handles = len(handles)
        self.begin(False)
        run_operations(self, ptr64(words), n, ptr64s(results), ptr8(saved))
        self.nr_handles = 0
        self.handles_array = np.zeros(1, np.uint32)
        self.handles = ptr32(self.handles_array)
        self.finish()
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

    # ---- load a state that was recorded ----

    def load_pageblocks(self, types: Any) -> None:
        """Set the pageblock types: uint8 array, one a pageblock from the one that holds ``start_pfn``.

        Raises:
            UsageError: another length, or a value that is no migratetype. Call it before ``load_free``.
        """
        first = self.zone_start >> self.pageblock_order
        last = (self.zone_end - 1) >> self.pageblock_order
        array = whole_numbers("types", types)
        if len(array) != last + 1 - first or int(array.max()) >= NR_MIGRATETYPES:
            raise UsageError(
                f"{self.name_} has {last + 1 - first} pageblocks of types 0 to {NR_MIGRATETYPES - 1}: got {len(array)} values"
            )
        self.pageblock_array[first : last + 1] = array
        self.nr_isolate_pageblock = int((array == ISOLATE).sum())

    def load_pages(self, start_pfn: Any, nr_pages: Any, page_class: Any, order: Any, flags: Any) -> None:
        """Place allocated pages: arrays of equal length; each entry a run of blocks of ``order`` from ``start_pfn``.

        Class FREE means pages that nobody refers to and that are on no list: tails of a block that is not compound.

        Raises:
            RangeError: a run leaves the zone.
            UsageError: a run is not a whole number of aligned blocks, or a page of it was loaded before.
        """
        starts = whole_numbers("start_pfn", start_pfn)
        counts = whole_numbers("nr_pages", nr_pages)
        orders = whole_numbers("order", order)
        classes = whole_numbers("page_class", page_class)
        bits = whole_numbers("flags", flags)
        one_length(starts, counts, orders)
        one_length(starts, classes, bits)
        if not len(starts):
            return
        if int(classes.max()) > CLASS_MASK or int((bits & ~(PG_PINNED | PG_COMPOUND | PG_CLEAN)).max()):
            raise UsageError("a page class is 0 to 15, and flags are those of PageFlag: found others")
        first, end = self.base_pfn + self.zone_start, self.base_pfn + self.zone_end
        outside = (starts < first) | (counts < 1) | (starts >= end)
        outside |= counts > end - np.minimum(starts, end)
        if outside.any():
            i = int(np.argmax(outside))
            raise RangeError(f"run {i} of {counts[i]} pages at pfn {starts[i]} leaves {self.name_}: clip it")
        sizes = np.int64(1) << np.minimum(orders, ORDER_MASK)
        uneven = (orders > ORDER_MASK) | (counts % sizes != 0) | (starts % sizes != 0)
        if uneven.any():
            i = int(np.argmax(uneven))
            raise UsageError(
                f"run {i} of {counts[i]} pages at pfn {starts[i]} is no whole number of aligned order-{orders[i]} blocks"
            )
        starts = starts - self.base_pfn
        bytes_ = (classes | bits).astype(np.uint8)
        bad = place_runs(self, ptr64s(starts), ptr64s(counts), ptr64s(orders), ptr8(bytes_), len(starts))
        if bad >= 0:
            raise UsageError(
                f"a page of the run at pfn {starts[bad] + self.base_pfn} is in use or free already: load each page once"
            )

    def load_free(self, pfn: Any, order: Any, migratetype: Any) -> None:
        """Put free blocks at the tails of their lists, in the order given: arrays of equal length.

        Raises:
            RangeError: a block leaves the zone, is misaligned or above max order.
            UsageError: a page of it is in use or free already.
        """
        starts = whole_numbers("pfn", pfn)
        orders = whole_numbers("order", order)
        types = whole_numbers("migratetype", migratetype)
        one_length(starts, orders, types)
        if not len(starts):
            return
        first, end = self.base_pfn + self.zone_start, self.base_pfn + self.zone_end
        sizes = np.int64(1) << np.minimum(orders, ORDER_MASK)
        wrong = (orders > self.max_order) | (types >= NR_MIGRATETYPES) | (starts < first) | (starts >= end)
        wrong |= (sizes > end - np.minimum(starts, end)) | (starts % sizes != 0)
        if wrong.any():
            i = int(np.argmax(wrong))
            raise RangeError(f"free block {i} at pfn {starts[i]} of order {orders[i]} does not fit {self.name_}")
        starts = starts - self.base_pfn
        bad = place_free_blocks(self, ptr64s(starts), ptr64s(orders), ptr64s(types), len(starts))
        if bad >= 0:
            raise UsageError(f"a page of the free block at pfn {starts[bad] + self.base_pfn} is in use or free already")

    def set_watermarks(
        self,
        wmark_min: Any,
        wmark_low: Any,
        wmark_high: Any = 0,
        *,
        lowmem_reserve: Any = 0,
        managed_pages: Any = None,
        boost: Any = 0,
        boost_factor: Any = 0,
    ) -> None:
        """Watermarks, lowmem reserve and managed pages, in pages. Allocation keeps min, migration targets low.

        ``boost``: what the watermarks are raised by at present; ``boost_factor``: vm.watermark_boost_factor, 0: off.
        ``managed_pages`` bounds the HIGHATOMIC reserve; default: all pages of the zone.
        """
        managed = self.zone_end - self.zone_start if managed_pages is None else managed_pages
        values = (wmark_min, wmark_low, wmark_high, lowmem_reserve, managed, boost, boost_factor)
        marks = [integer("watermark", value) for value in values]
        if not 0 <= min(marks) <= max(marks) < 1 << 52:
            raise UsageError(f"watermarks must lie between 0 and 2^52 pages: {marks}")
        self.wmark_min, self.wmark_low, self.wmark_high, self.lowmem_reserve = marks[:4]
        self.managed_pages, self.watermark_boost, self.watermark_boost_factor = marks[4:]
        update_far_mark(self)

    def set_highatomic(self, nr_reserved: Any, nr_free: Any = 0) -> None:
        """Pages of the pageblocks reserved for high-order atomic requests, and free pages in them (6.12)."""
        self.nr_reserved_highatomic = integer("nr_reserved", nr_reserved)
        self.nr_free_highatomic = integer("nr_free", nr_free)

    def set_pcp(
        self,
        high: Any,
        batch: Any,
        *,
        free_factor: Any = 0,
        high_min: Any = None,
        high_max: Any = None,
        free_count: Any = 0,
        alloc_factor: Any = 0,
        flags: Any = 0,
    ) -> None:
        """Put per-cpu lists in front of the buddy lists, or size them anew.

        Args:
            high: pages on the lists from which on frees overflow.
            batch: pages of a refill.
            free_factor, high_min, high_max, free_count, alloc_factor, flags: the state of their tuning, as in
                ``struct per_cpu_pages`` (5.15, 6.1: the first; 6.12: the others; high_min and high_max default to high).
        """
        values = [
            high,
            batch,
            free_factor,
            high if high_min is None else high_min,
            high if high_max is None else high_max,
        ]
        numbers = [integer("per-cpu setting", value) for value in (*values, free_count, alloc_factor, flags)]
        if min(numbers) < 0 or numbers[1] < 1 or max(numbers) >= 1 << 31 or max(numbers[2], numbers[6]) > 31:
            raise UsageError(f"per-cpu lists cannot have these settings: {numbers}")
        self.pcp_used = True
        self.pcp_high, self.pcp_batch, self.pcp_free_factor, self.pcp_high_min, self.pcp_high_max = numbers[:5]
        self.pcp_free_count, self.pcp_alloc_factor, self.pcp_flags = numbers[5:]

    def load_pcp(self, pindex: Any, pfns: Any) -> None:
        """Put pages onto one per-cpu list, in list order from its head. Their frames must be holes so far."""
        index = integer("pindex", pindex)
        if not 0 <= index < NR_PCP_LISTS:
            raise UsageError(f"pindex is {index}: there are {NR_PCP_LISTS} per-cpu lists")
        order: cython.uint = pindex_to_order(self, index)
        head: cython.uint = pcp_head(self, index)
        for pfn in pfns:
            at: cython.uint = self.checked_pfn(pfn)
            end: cython.uint = at + (1 << order)
            if end > self.zone_end or not (self.flags_array[at:end] == C_HOLE).all():
                raise UsageError(f"a page of the per-cpu page at pfn {pfn} is in use or free already")
            self.state_array[at:end] = 0
            self.flags_array[at:end] = 0
            self.state[at] = ONPCP | order
            self.flags[at] = get_pageblock_migratetype(self, at)
            list_insert(self, at, self.prv[head], head)
            self.pcp_count += 1 << order

    def pcp_list(self, pindex: Any) -> Any:
        """Pfns of one per-cpu list, head first: uint64 array."""
        index = integer("pindex", pindex)
        if not 0 <= index < NR_PCP_LISTS:
            raise UsageError(f"pindex is {index}: there are {NR_PCP_LISTS} per-cpu lists")
        return self.listed(pcp_head(self, index))

    @property
    def nr_pcp_pages(self) -> int:
        """Pages on the per-cpu lists."""
        return self.pcp_count

    def pcp_state(self) -> dict[str, int]:
        """Count and tuning of the per-cpu lists, under the names of ``struct per_cpu_pages``."""
        state = {"count": self.pcp_count, "high": self.pcp_high, "batch": self.pcp_batch}
        if self.rules[RULE_PCP_TUNING] == TUNING_AUTO:
            return state | {
                "high_min": self.pcp_high_min,
                "high_max": self.pcp_high_max,
                "free_count": self.pcp_free_count,
                "alloc_factor": self.pcp_alloc_factor,
                "flags": self.pcp_flags,
            }
        return state | {"free_factor": self.pcp_free_factor}

    def reserves(self) -> dict[str, int]:
        """Watermark boost and the HIGHATOMIC reserve, pages; what is free in it where the release keeps count."""
        found = {"boost": self.watermark_boost, "highatomic": self.nr_reserved_highatomic}
        if self.rules[RULE_HIGHATOMIC_MARK] == MARK_FREE:
            found["free_highatomic"] = self.nr_free_highatomic
        return found

    def base(self) -> int:
        """Absolute pfn that the core counts from; ``run`` keeps handles relative to it."""
        return self.base_pfn

    def drain_all_pages(self) -> None:
        """Give the pages of the per-cpu lists to the buddy lists."""
        self.begin(False)
        drain_all_pages(self)
        self.finish()

    def unreserve_highatomic_pageblock(self, migratetype: Any = MOVABLE, force: Any = False) -> bool:
        """Give one pageblock of the HIGHATOMIC reserve to a type; whether there was one."""
        return bool(
            unreserve_highatomic_pageblock(self, self.checked_migratetype(migratetype, HIGHATOMIC), bool(force))
        )

    def set_targets_may_spill(self, spill: Any) -> None:
        """Whether another zone takes migration targets that this one refuses below its low watermark."""
        self.targets_may_spill = bool(spill)

    def set_spill_target(self, find: Any) -> None:
        """Who finds migration targets in other zones: ``find(order, flags, owner) -> pfn or -1``; None: somebody does.

        It is asked when this zone has none above its low watermark and ``set_targets_may_spill`` is on.
        """
        self.spill_target = find

    def set_stat_threshold(self, threshold: Any) -> None:
        """How many pages a CPU holds back before the counters that watermarks read change (vm_stat_diff); 0: none."""
        value = integer("threshold", threshold)
        if not 0 <= value <= 125:
            raise UsageError(f"threshold is {value}: the kernel has 0 to 125")
        self.stat_threshold = value
        self.refresh_vm_stats()

    def refresh_vm_stats(self) -> None:
        """Fold what is held back into the counters, as the kernel does once a second."""
        self.stat_free_diff = 0
        self.stat_cma_diff = 0

    def get_page(
        self,
        order: Any,
        migratetype: Any,
        flags: Any,
        owner: Any = None,
        *,
        low: Any = True,
        lowmem_reserve: Any = 0,
        nofragment: Any = False,
    ) -> int | None:
        """One attempt above the low (or min) watermark, as get_page_from_freelist makes in each zone; pfn or None.

        ``flags``: class and flags byte; ``lowmem_reserve``: of this zone against the request's highest zone;
        ``nofragment``: ALLOC_NOFRAGMENT, no fallback below pageblock order.
        """
        o = self.checked_order(order)
        mt = self.checked_migratetype(migratetype, RECLAIMABLE + 1)
        byte = integer("flags", flags)
        if not 0 <= byte < 256 or not flags_fit(o, byte):
            raise UsageError(f"a page of order {o} cannot have flags {byte:#x}")
        kept = self.lowmem_reserve
        self.lowmem_reserve = integer("lowmem_reserve", lowmem_reserve)
        self.begin(False)
        mark: cython.longlong = (self.wmark_low if low else self.wmark_min) + self.watermark_boost
        alloc_flags: cython.uint = (ALLOC_CMA if mt == MOVABLE else 0) | (ALLOC_NOFRAGMENT if nofragment else 0)
        pfn: cython.uint = get_page_from_freelist(self, o, mt, mark, alloc_flags)
        self.lowmem_reserve = kept
        if pfn == NONE:
            self.finish()
            return None
        self.state[pfn] = ALLOC | o
        self.flags[pfn] = byte
        self.nxt[pfn] = self.checked_owner(owner)
        self.finish()
        return self.base_pfn + pfn

    def set_signal_pending(self, pending: Any) -> None:
        """Whether a fatal signal waits for the caller: alloc_contig_range then ends with -EINTR after isolation."""
        self.signal_pending = bool(pending)

    # ---- copy, compare, store ----

    def copy(self) -> "Zone":
        """A zone of its own with the same state; the listener stays behind."""
        return restored_zone(self.saved_state())

    def __copy__(self) -> "Zone":
        return self.copy()

    def __deepcopy__(self, memo: Any) -> "Zone":
        return self.copy()

    def __reduce__(self) -> Any:
        from pageblock.mm import restored_zone as restore

        return restore, (self.saved_state(),)

    def saved_state(self) -> dict[str, Any]:
        """Everything that ``restored_zone`` needs."""
        g = self.geometry_
        return {
            "geometry": (g.nr_pages, self.release, g.start_pfn, g.max_order, g.pageblock_order),
            "options": {
                "page_size": g.page_size,
                "section_size": g.section_size,
                "name": self.name_,
                "zone_movable": bool(self.zone_movable),
            },
            "counters": (
                self.nr_free_pages,
                self.nr_free_cma_pages,
                self.nr_isolate_pageblock,
                self.targets_may_spill,
                self.signal_pending,
                self.stat_threshold,
                self.stat_free_diff,
                self.stat_cma_diff,
                self.nr_reserved_highatomic,
                self.nr_free_highatomic,
                self.managed_pages,
                self.wmark_min,
                self.wmark_low,
                self.wmark_high,
                self.watermark_boost,
                self.watermark_boost_factor,
                self.lowmem_reserve,
                self.below_high,
                self.pcp_used,
                self.pcp_count,
                self.pcp_high,
                self.pcp_batch,
                self.pcp_free_factor,
                self.pcp_high_min,
                self.pcp_high_max,
                self.pcp_free_count,
                self.pcp_alloc_factor,
                self.pcp_flags,
            ),
            "arrays": tuple(
                a.copy()
                for a in (
                    self.nxt_array,
                    self.prv_array,
                    self.state_array,
                    self.flags_array,
                    self.pageblock_array,
                    self.nr_free_array,
                )
            ),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over a state that ``saved_state`` gave. Raises UsageError for one of another geometry."""
        arrays = [a if a.flags.writeable else a.copy() for a in state["arrays"]]
        mine = (
            self.nxt_array,
            self.prv_array,
            self.state_array,
            self.flags_array,
            self.pageblock_array,
            self.nr_free_array,
        )
        if [(a.shape, a.dtype) for a in arrays] != [(a.shape, a.dtype) for a in mine]:
            raise UsageError(f"the saved state has another geometry than {self!r}")
        (
            self.nr_free_pages,
            self.nr_free_cma_pages,
            self.nr_isolate_pageblock,
            self.targets_may_spill,
            self.signal_pending,
            self.stat_threshold,
            self.stat_free_diff,
            self.stat_cma_diff,
            self.nr_reserved_highatomic,
            self.nr_free_highatomic,
            self.managed_pages,
            self.wmark_min,
            self.wmark_low,
            self.wmark_high,
            self.watermark_boost,
            self.watermark_boost_factor,
            self.lowmem_reserve,
            self.below_high,
            self.pcp_used,
            self.pcp_count,
            self.pcp_high,
            self.pcp_batch,
            self.pcp_free_factor,
            self.pcp_high_min,
            self.pcp_high_max,
            self.pcp_free_count,
            self.pcp_alloc_factor,
            self.pcp_flags,
        ) = state["counters"]
        (
            self.nxt_array,
            self.prv_array,
            self.state_array,
            self.flags_array,
            self.pageblock_array,
            self.nr_free_array,
        ) = arrays
        zone_bind(self)
        update_far_mark(self)

    def __eq__(self, other: object) -> bool:
        """Same geometry, release, pages, pageblock types, counters, owners, and free lists in the same order."""
        if not isinstance(other, Zone):
            return NotImplemented
        mine, theirs = self.saved_state(), other.saved_state()
        if mine["geometry"] != theirs["geometry"] or mine["counters"] != theirs["counters"]:
            return False
        nxt, prv, state, flags, types, nr_free = mine["arrays"]
        nxt2, prv2, state2, flags2, types2, nr_free2 = theirs["arrays"]
        if not (np.array_equal(state, state2) and np.array_equal(flags, flags2) and np.array_equal(types, types2)):
            return False
        # links mean something only on list heads, free blocks and, as owners, on allocated heads
        heads = np.concatenate([np.flatnonzero(state), np.arange(len(state), len(nxt))])
        free = np.concatenate([np.flatnonzero(state & (BUDDY | ONPCP)), np.arange(len(state), len(nxt))])
        return bool(
            np.array_equal(nxt[heads], nxt2[heads])
            and np.array_equal(prv[free], prv2[free])
            and np.array_equal(nr_free, nr_free2)
        )

    __hash__ = None  # type: ignore[assignment]

    # ---- arguments ----

    @cython.cfunc
    def checked_pfn(self, pfn: Any) -> int:
        """Relative pfn, or RangeError."""
        at = integer("pfn", pfn)
        if not self.base_pfn + self.zone_start <= at < self.base_pfn + self.zone_end:
            raise RangeError(f"pfn {at} is outside {self.name_} [{self.start_pfn}, {self.end_pfn})")
        return at - self.base_pfn

    @cython.cfunc
    def checked_range(self, start_pfn: Any, end_pfn: Any) -> tuple[int, int]:
        """Relative half-open range, or RangeError."""
        start, end = integer("start_pfn", start_pfn), integer("end_pfn", end_pfn)
        if start >= end:
            raise RangeError(f"range [{start}, {end}) is empty: start must be below end")
        if start < self.start_pfn or end > self.end_pfn:
            raise RangeError(f"range [{start}, {end}) is outside {self.name_} [{self.start_pfn}, {self.end_pfn})")
        return start - self.base_pfn, end - self.base_pfn

    @cython.cfunc
    def checked_count(self, nr_pages: Any) -> int:
        """A number of pages that the zone can hold, or RangeError."""
        n = integer("nr_pages", nr_pages)
        if not 1 <= n <= self.zone_end - self.zone_start:
            raise RangeError(f"nr_pages is {n}: {self.name_} has {self.zone_end - self.zone_start} pages")
        return n

    @cython.cfunc
    def checked_order(self, order: Any) -> int:
        """An order of the zone, or UsageError."""
        o = integer("order", order)
        if not 0 <= o <= self.max_order:
            raise UsageError(f"order is {o}: {self.name_} has orders 0 to {self.max_order}")
        return o

    @cython.cfunc
    def checked_migratetype(self, migratetype: Any, below: int) -> int:
        """A migratetype below a bound, or UsageError."""
        mt = integer("migratetype", migratetype)
        if not 0 <= mt < below:
            allowed = ", ".join(m.name for m in Migratetype if m < below)
            raise UsageError(f"migratetype is {mt}: choose one of {allowed}")
        return mt

    @cython.cfunc
    def checked_owner(self, owner: Any) -> int:
        """An owner handle, or UsageError."""
        if owner is None:
            return NO_PAGE
        handle = integer("owner", owner)
        if not 0 <= handle < NO_PAGE - 1:
            raise UsageError(f"owner is {handle}: choose 0 to {NO_PAGE - 2}")
        return handle

    @cython.cfunc
    def must_be_allocated(self, at: cython.uint) -> None:
        """UsageError unless the frame heads an allocated block that may be freed."""
        s: cython.uint = self.state[at]
        c: cython.uint = self.flags[at] & CLASS_MASK
        if s & ALLOC and c != C_HOLE and c != C_RESERVED:
            return
        pfn = self.base_pfn + at
        if s & ALLOC:
            raise UsageError(f"pfn {pfn} is a {PageClass(c).name.lower()} page: it was not allocated here")
        if s:
            raise UsageError(f"pfn {pfn} is free already (order {s & ORDER_MASK}): double free")
        head: cython.uint = find_head(self, at)
        if self.state[head] & BUDDY:
            raise UsageError(f"pfn {pfn} is free already, inside the block at {self.base_pfn + head}: double free")
        raise UsageError(f"pfn {pfn} lies inside an allocated block: free the block by its first pfn")

    @cython.cfunc
    def room_for_types(self, nr_pages: int) -> Any:
        """A byte for each pageblock that a request of this size can isolate."""
        window = 1 << max(self.max_order, self.pageblock_order)
        return np.zeros(((nr_pages + 3 * window) >> self.pageblock_order) + 1, np.uint8)

    # ---- events ----

    @cython.cfunc
    def begin(self, record: bool) -> None:
        """Start a call: an empty log, and recording if the call or a listener needs it."""
        self.log_events = 0
        self.recording = record or self.listener is not None

    @cython.cfunc
    def finish(self) -> Any:
        """End a call: the log since ``begin``, one row an event, valid until the next call; the listener is told."""
        listener = self.listener
        self.recording = listener is not None
        if self.log_events == 0:
            return NO_EVENTS
        rows = self.log_array[: self.log_events * EVENT_WORDS].reshape(-1, EVENT_WORDS)
        self.log_events = 0
        if listener is not None:
            # the listener may use the zone, which starts the log anew, or stop listening
            rows = rows.copy()
            for row in rows.tolist():
                listener(decode(row, self.base_pfn))
        return rows

    @cython.cfunc
    def refusal(self, errno: int) -> ContigRefused:
        """The exception for what the core remembers of a refusal."""
        return ContigRefused(errno, STEPS[self.refused_step], self.base_pfn + self.refused_pfn, WHYS[self.refused_why])


def restored_zone(state: dict[str, Any]) -> Zone:
    """The zone of a saved state; arrays are taken over, not copied."""
    zone = Zone(*state["geometry"], populate=False, **state["options"])
    zone.load_state(state)
    return zone
