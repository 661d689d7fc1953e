"""What the explorer keeps beside a zone: how its states are written, what may happen to it, which states were seen.

The zone is a ``ZoneState`` of mm/, and all that changes it are the functions of mm/.
"""

from typing import Any

import cython
import numpy as np

if not cython.compiled:
    from pageblock.mm.zone import ZoneState, ptr8, ptr32, ptr64, zone_init

    from .codes import MOST_PAGES, SENT_SLOTS


@cython.cclass
class SmallZone(ZoneState):
    """A zone of 8 to 64 pages and the explorer's tables. ``explore.py`` fills in the settings; see ``Bounds`` there."""

    # ---- settings ----
    promises: cython.uint  # HOLDS_* bits
    window_order: cython.uint  # the larger of a max order block and a pageblock
    nr_folded: cython.uint  # windows from the first on that may change places
    most_requests: cython.uint  # allocations and ranges held at once
    most_isolated: cython.uint  # isolations held at once
    unit_order: cython.uint  # to what isolation rounds
    kernel_flags: cython.uint  # of unmovable blocks above order 0
    cma_start: cython.uint
    cma_end: cython.uint
    nr_ops: cython.uint
    op_what: cython.p_uchar  # DO_* of each operation, and its two numbers
    op_first: cython.p_uchar
    op_second: cython.p_uchar

    # ---- the present state ----
    requests: cython.uint
    isolated: cython.ulonglong  # bit set of isolated pageblocks
    windows_free: cython.ulonglong  # bit set of windows that are free, and of one ordinary type
    broken_pfn: cython.uint

    # ---- a state in bytes ----
    record_size: cython.ulonglong  # bytes, a multiple of 8
    fingerprint_1: cython.ulonglong
    fingerprint_2: cython.ulonglong
    factor_1: cython.ulonglong
    factor_2: cython.ulonglong
    walked: cython.p_uchar  # free heads in list order
    page_bytes: cython.p_uchar
    place_of: cython.p_uchar  # window -> its place in the record
    window_at: cython.p_uchar  # place -> window
    window_key: cython.p_ulonglong
    window_met: cython.p_uint
    saved: cython.p_uchar  # for alloc_contig_range
    found: cython.p_ulonglong  # for check_zone

    # ---- the state before an operation ----
    link_words: cython.ulonglong
    nxt_before: cython.p_uint
    prv_before: cython.p_uint
    nxt_empty: cython.p_uint  # links of a zone without free blocks
    prv_empty: cython.p_uint
    state_before: cython.p_uchar
    flags_before: cython.p_uchar
    types_before: cython.p_uchar
    beneath_before: cython.p_uchar
    in_use_before: cython.uint  # pages
    released: cython.uint  # pages that the operation gives back
    free_before: cython.longlong
    cma_before: cython.longlong
    isolate_before: cython.longlong

    # ---- fingerprints seen ----
    table: cython.p_ulonglong
    table_mask: cython.ulonglong
    table_used: cython.ulonglong
    sent: cython.p_ulonglong

    # ---- what follows from one state ----
    after: cython.p_uchar  # records
    after_words: cython.p_ulonglong
    after_op: cython.p_uint
    after_1: cython.p_ulonglong
    after_2: cython.p_ulonglong
    transitions: cython.ulonglong
    breach: cython.uint
    breach_state: cython.ulonglong
    breach_op: cython.uint
    weak: cython.ulonglong  # transitions with a known weakness
    weak_state: cython.ulonglong
    weak_op: cython.uint

    arrays: Any  # owners of what the pointers point to
    table_array: Any

    def __init__(
        self, nr_pages: int, max_order: int, pageblock_order: int, rules: Any, operations: Any, factors: tuple[int, int]
    ) -> None:
        """An empty zone. ``operations``: rows of DO_* and two numbers."""
        zone_init(self, 0, nr_pages, max_order, pageblock_order, rules)
        n = MOST_PAGES
        self.zone_movable = False
        self.below_high = True  # read by per-cpu lists only, which are off
        blocks = len(self.pageblock_array)
        words = len(self.nxt_array)
        count = len(operations)
        self.record_size = (2 * nr_pages + blocks + 3 + 7) // 8 * 8
        self.link_words = words
        self.factor_1, self.factor_2 = factors
        self.nr_ops = count
        table = np.ascontiguousarray(operations, np.uint8).T.copy()
        keep: dict[str, Any] = {
            "op": table,
            "walked": np.zeros(4 * n, np.uint8),
            "pages": np.zeros(4 * n, np.uint8),
            "place": np.zeros(n, np.uint8),
            "window": np.zeros(n, np.uint8),
            "key": np.zeros(n, np.uint64),
            "met": np.zeros(n, np.uint32),
            "saved": np.zeros(4 * n, np.uint8),
            "found": np.zeros(32, np.uint64),
            "nxt": np.zeros(words, np.uint32),
            "prv": np.zeros(words, np.uint32),
            "nxt_empty": self.nxt_array.copy(),
            "prv_empty": self.prv_array.copy(),
            "state": np.zeros(len(self.state_array), np.uint8),
            "flags": np.zeros(len(self.flags_array), np.uint8),
            "types": np.zeros(blocks, np.uint8),
            "beneath": np.zeros(blocks, np.uint8),
            "sent": np.zeros(2 * SENT_SLOTS, np.uint64),
            "after": np.zeros((count + 2) * self.record_size // 8, np.uint64),
            "after_op": np.zeros(count + 2, np.uint32),
            "after_1": np.zeros(count + 2, np.uint64),
            "after_2": np.zeros(count + 2, np.uint64),
        }
        self.arrays = keep
        self.op_what, self.op_first, self.op_second = ptr8(table[0]), ptr8(table[1]), ptr8(table[2])
        self.walked = ptr8(keep["walked"])
        self.page_bytes = ptr8(keep["pages"])
        self.place_of = ptr8(keep["place"])
        self.window_at = ptr8(keep["window"])
        self.window_key = ptr64(keep["key"])
        self.window_met = ptr32(keep["met"])
        self.saved = ptr8(keep["saved"])
        self.found = ptr64(keep["found"])
        self.nxt_before = ptr32(keep["nxt"])
        self.prv_before = ptr32(keep["prv"])
        self.nxt_empty = ptr32(keep["nxt_empty"])
        self.prv_empty = ptr32(keep["prv_empty"])
        self.state_before = ptr8(keep["state"])
        self.flags_before = ptr8(keep["flags"])
        self.types_before = ptr8(keep["types"])
        self.beneath_before = ptr8(keep["beneath"])
        self.sent = ptr64(keep["sent"])
        self.after = ptr8(keep["after"].view(np.uint8))
        self.after_words = ptr64(keep["after"])
        self.after_op = ptr32(keep["after_op"])
        self.after_1 = ptr64(keep["after_1"])
        self.after_2 = ptr64(keep["after_2"])
        self.transitions = 0
        self.breach = 0
        self.weak = 0
        self.weak_state = 0
        self.weak_op = 0
        self.breach_state = 0
        self.breach_op = 0
        self.requests = 0
        self.in_use_before = 0
        self.released = 0
        self.isolated = 0
        self.windows_free = 0
        self.broken_pfn = 0
        self.table_used = 0
        self.fingerprint_1 = 0
        self.fingerprint_2 = 0
