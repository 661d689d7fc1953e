# The C view of codes.py; tests/check/test_explore.py compares the two.
cdef enum:
    # operations
    DO_ALLOC = 0
    DO_FREE = 1
    DO_CONTIG = 2
    DO_FREE_CONTIG = 3
    DO_ISOLATE = 4
    DO_UNDO = 5
    DO_CMA_ALLOC = 6
    DO_CMA_RELEASE = 7
    DO_INTERRUPTED = 8
    # owner of an allocated head: what it was asked for as
    KIND_KERNEL = 1
    KIND_MOVABLE = 2
    KIND_CONTIG_FIRST = 3
    KIND_CONTIG = 4
    KIND_CMA_FIRST = 5
    KIND_CMA = 6
    # promises: bits of what a release is held to
    HOLDS_ZONE = 0x01
    HOLDS_ALWAYS = 0x02
    HOLDS_LEFT = 0x04
    HOLDS_KEPT = 0x08
    HOLDS_TYPES = 0x10
    HOLDS_TAKEN = 0x20
    HOLDS_CMA = 0x40
    HOLDS_GRANT = 0x80
    HOLDS_MIXED = 0x100
    HOLDS_BUG = 0x200
    HOLDS_LOST = 0x400
    HOLDS_COUNTED = 0x800
    HOLDS_AREA = 0x1000
    # breaches: which promise was broken; from BREACH_ZONE on, an invariant of mm/invariants.py
    BREACH_NONE = 0
    BREACH_LEFT = 1
    BREACH_KEPT = 2
    BREACH_TYPES = 3
    BREACH_TAKEN = 4
    BREACH_CMA = 5
    BREACH_GRANT = 6
    BREACH_MIXED = 7
    BREACH_BUG = 8
    BREACH_LOST = 9
    BREACH_AREA = 10
    BREACH_ZONE = 16
    # pages and pageblocks of a zone that is explored, at most
    MOST_PAGES = 64
    # slots of the two fingerprint words that each worker may have seen and sent already
    SENT_SLOTS = 0x10000
