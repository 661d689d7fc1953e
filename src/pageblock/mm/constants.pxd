# The C view of constants.py; tests/mm/test_constants.py compares the two.
cdef enum:
    # pfn that means: none
    NONE = 0xFFFFFFFFU
    # handle of a page that migration took out of the zone
    OFFNODE = 0xFFFFFFFEU
    # state byte of a frame: kind bits and, in the low bits, the order of the block it heads
    BUDDY = 0x80
    ALLOC = 0x40
    ONPCP = 0x20
    ORDER_MASK = 0x1F
    # ALLOC, eight times: eight single pages in use
    EIGHT_IN_USE = 0x4040404040404040U
    # no frame has such a state
    NO_EIGHT = 0xFFFFFFFFFFFFFFFFU
    # flags byte of an allocated frame: class in the low bits
    CLASS_MASK = 0x0F
    PG_PINNED = 0x10
    PG_COMPOUND = 0x20
    PG_CLEAN = 0x40
    # migratetypes (include/linux/mmzone.h, enum migratetype)
    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2
    HIGHATOMIC = 3
    CMA = 4
    ISOLATE = 5
    NR_MIGRATETYPES = 6
    # heads of an order's free lists: one a migratetype, padded to a power of two
    FREE_AREA_HEADS = 8
    # page classes (types.py, PageClass)
    C_FREE = 0
    C_KERNEL = 1
    C_ANON = 2
    C_FILE = 3
    C_MOVABLE_OPS = 4
    C_SLAB = 5
    C_PGTABLE = 6
    C_RESERVED = 7
    C_HUGETLB = 8
    C_THP = 9
    C_COMPOUND = 10
    C_OFFLINE = 11
    C_HWPOISON = 12
    C_HOLE = 13
    C_PCP = 14
    C_PAGEVEC = 15
    # errno values that the rules return, negated as in the kernel
    ENOENT = 2
    EINTR = 4
    ENOMEM = 12
    EBUSY = 16
    EEXIST = 17
    EREMOTE = 66
    ENOTRECOVERABLE = 131
    # COMPACT_CLUSTER_MAX: pages isolated before they are migrated (include/linux/swap.h)
    COMPACT_CLUSTER_MAX = 32
    # allocation flags (mm/internal.h)
    ALLOC_OOM = 0x08
    ALLOC_NON_BLOCK = 0x10
    ALLOC_MIN_RESERVE = 0x20
    ALLOC_CMA = 0x80
    ALLOC_NOFRAGMENT = 0x100
    ALLOC_HIGHATOMIC = 0x200
    ALLOC_RESERVES = 0x238
    # isolation flags (include/linux/page-isolation.h)
    MEMORY_OFFLINE = 1
    REPORT_FAILURE = 2
    # indexes of the rules of a release (release.py)
    RULE_MERGE = 0
    RULE_SCHEME = 1
    RULE_CHECK_SCOPE = 2
    RULE_SPAN = 3
    RULE_FAILED_ISOLATION = 4
    RULE_UNSET_BUDDY = 5
    RULE_MERGED_TYPES = 6
    RULE_FREE_LARGE = 7
    RULE_FALLBACK = 8
    RULE_BLOCK_MOVE = 9
    RULE_HIGHATOMIC_CAP = 10
    RULE_HIGHATOMIC_MARK = 11
    RULE_PCP_TUNING = 12
    RULE_PCP_BULK = 13
    RULE_PCP_TYPE = 14
    RULE_PCP_THP = 15
    RULE_BULK_COUNT = 16
    RULE_PCP_FACTOR_CAP = 17
    RULE_ATOMIC_LAST = 18
    RULE_CONTIG_HUGETLB = 19
    RULE_COMPACT_ORDERS = 20
    RULE_COMPACT_BATCH = 21
    RULE_COMPACT_RESCAN = 22
    RULE_FAILED_TYPES = 23
    RULE_OUTER_RESTORE = 24
    RULE_INTERRUPTED = 25
    RULE_END_WALK = 26
    RULE_TAKE_UNIT = 27
    RULE_SPLIT_TWICE = 28
    RULE_CMA_ALIGN = 29
    RULE_VIRTIO_SUBBLOCK = 30
    RULE_FADUMP_ALIGN = 31
    RULE_ISOLATION = 32
    RULE_MOVABLE_COMPOUND = 33
    RULE_PCP_FREE_HIGH = 34
    RULE_PCP_SLICES = 35
    RULE_OFFLINE_LIST = 36
    RULE_MOVABLE_TAIL = 37
    RULE_PCP_MISS = 38
    RULE_FAST_UNDERFLOW = 39
    RULE_CLEAN_PAGES = 40
    RULE_SPLIT_FREE = 41
    RULE_ONE_PAGEBLOCK = 42
    RULE_BOUNDARY_TYPE = 43
    RULE_COMPOUND_SIZE = 44
    RULE_CLAIMED_TYPE = 45
    NR_RULES = 46
    # values of RULE_MERGE
    MERGE_WHILE_ISOLATED = 0
    MERGE_MERGEABLE = 1
    MERGE_ANY = 2
    # values of RULE_SCHEME
    SCHEME_WHOLE = 0
    SCHEME_SAVE_TYPES = 1
    SCHEME_SINGLE_PAGEBLOCK = 2
    SCHEME_HYGIENIC = 3
    # values of RULE_CHECK_SCOPE
    SCOPE_PAGEBLOCK = 0
    SCOPE_REQUEST = 1
    # values of RULE_SPAN
    SPAN_MAX_ORDER = 0
    SPAN_PAGEBLOCK = 1
    # values of RULE_FAILED_ISOLATION
    FAILED_RETURNS = 0
    FAILED_UNDOES = 1
    # values of RULE_UNSET_BUDDY
    UNSET_ANY_BUDDY = 0
    UNSET_FREE_BUDDY = 1
    # values of RULE_MERGED_TYPES
    MERGED_KEEP = 0
    MERGED_RETYPE = 1
    # values of RULE_FREE_LARGE
    LARGE_WHOLE = 0
    LARGE_BY_PAGEBLOCK = 1
    # values of RULE_FALLBACK
    FALLBACK_LARGEST = 0
    FALLBACK_CLAIM = 1
    # values of RULE_BLOCK_MOVE
    MOVE_HEADS = 0
    MOVE_SPLITS = 1
    # values of RULE_HIGHATOMIC_CAP
    CAP_PLUS_PAGEBLOCK = 0
    CAP_ROUNDED_UP = 1
    # values of RULE_HIGHATOMIC_MARK
    MARK_RESERVED = 0
    MARK_FREE = 1
    # values of RULE_PCP_TUNING
    TUNING_FREE_FACTOR = 0
    TUNING_FREE_HIGH = 1
    TUNING_AUTO = 2
    # values of RULE_PCP_BULK
    BULK_ROUND_ROBIN = 0
    BULK_LIST_BY_LIST = 1
    # values of RULE_PCP_TYPE
    TYPE_SAMPLED = 0
    TYPE_CURRENT = 1
    # values of RULE_PCP_THP
    THP_BY_TYPE = 0
    THP_MOVABLE_OR_NOT = 1
    THP_ONE_LIST = 2
    # values of RULE_PCP_FACTOR_CAP
    FACTOR_UNBOUNDED = 0
    FACTOR_CAPPED = 1
    # values of RULE_ATOMIC_LAST
    ATOMIC_GIVES_UP = 0
    ATOMIC_TRIES_RESERVE = 1
    # values of RULE_CONTIG_HUGETLB
    CONTIG_TRIES_HUGETLB = 0
    CONTIG_SKIPS_HUGETLB = 1
    # values of RULE_BULK_COUNT
    COUNT_AT_END = 0
    COUNT_EACH = 1
    # values of RULE_COMPACT_ORDERS
    ORDERS_SINGLE = 0
    ORDERS_WHOLE = 1
    # values of RULE_COMPACT_BATCH
    BATCH_ONE_BY_ONE = 0
    BATCH_TARGETS_FIRST = 1
    # values of RULE_COMPACT_RESCAN
    RESCAN_WHERE_BEGAN = 0
    RESCAN_WHERE_FOUND = 1
    # values of RULE_FAILED_TYPES
    FAILED_TYPES_REQUEST = 0
    FAILED_TYPES_OWN = 1
    # values of RULE_OUTER_RESTORE
    OUTER_MOVED = 0
    OUTER_RETYPED = 1
    # values of RULE_INTERRUPTED
    INTERRUPTED_RESTORES = 0
    INTERRUPTED_LEAVES = 1
    # values of RULE_END_WALK
    WALK_BOUNDARY = 0
    WALK_PAGES = 1
    # values of RULE_TAKE_UNIT
    TAKE_REQUEST = 0
    TAKE_PAGEBLOCKS = 1
    # values of RULE_SPLIT_TWICE
    SPLIT_ONCE = 0
    SPLIT_AGAIN = 1
    # values of RULE_CMA_ALIGN, RULE_VIRTIO_SUBBLOCK and RULE_FADUMP_ALIGN
    ALIGN_MAX_ORDER = 0
    ALIGN_PAGEBLOCK = 1
    # values of RULE_ISOLATION
    ISOLATION_OVERWRITES = 0
    ISOLATION_BESIDE = 1
    # values of RULE_MOVABLE_COMPOUND
    COMPOUND_PASSES = 0
    COMPOUND_REFUSES = 1
    # values of RULE_PCP_FREE_HIGH
    FREE_HIGH_BATCH = 0
    FREE_HIGH_HALF_MARK = 1
    # values of RULE_PCP_SLICES
    SLICES_NONE = 0
    SLICES_BATCH = 1
    # values of RULE_OFFLINE_LIST
    LIST_HEAD_AGAIN = 0
    LIST_SPLITS_LAST = 1
    LIST_BATCHES_BELOW = 2
    LIST_BATCHES = 3
    LIST_BATCHES_ASCENDING = 4
    # values of RULE_MOVABLE_TAIL
    TAIL_OF_PAIR = 0
    TAIL_NEVER = 1
    # values of RULE_PCP_MISS
    MISS_FAILS = 0
    MISS_TRIES_BUDDY = 1
    # values of RULE_FAST_UNDERFLOW
    UNDERFLOW_PASSES = 0
    UNDERFLOW_CLAMPED = 1
    # values of RULE_CLEAN_PAGES
    CLEAN_LOWEST_FIRST = 0
    CLEAN_HIGHEST_FIRST = 1
    # values of RULE_SPLIT_FREE
    SPLIT_FREE_COUNTED = 0
    SPLIT_FREE_UNCOUNTED = 1
    SPLIT_FREE_SMALLEST = 2
    # values of RULE_ONE_PAGEBLOCK
    ONE_PAGEBLOCK_ONCE = 0
    ONE_PAGEBLOCK_TWICE = 1
    # values of RULE_BOUNDARY_TYPE
    BOUNDARY_REQUEST = 0
    BOUNDARY_OWN = 1
    # values of RULE_COMPOUND_SIZE
    SIZE_OF_HEAD = 0
    SIZE_OF_PAGE = 1
    # values of RULE_CLAIMED_TYPE
    CLAIMED_OF_PAGEBLOCK = 0
    CLAIMED_OF_LIST = 1
    # per-cpu lists: most that any release has, CONFIG_PCP_BATCH_SCALE_MAX, PAGE_ALLOC_COSTLY_ORDER, pcp flags (6.12)
    NR_PCP_LISTS = 15
    NR_COMPACT_LISTS = 32
    PCP_BATCH_SCALE_MAX = 5
    PAGE_ALLOC_COSTLY_ORDER = 3
    PCPF_PREV_FREE_HIGH_ORDER = 1
    PCPF_FREE_HIGH_BATCH = 2
    # modes of __rmqueue (6.12, enum rmqueue_mode)
    RMQUEUE_NORMAL = 0
    RMQUEUE_CMA = 1
    RMQUEUE_CLAIM = 2
    RMQUEUE_STEAL = 3
    # who asks for a page (gfp.py)
    REQUEST_NORMAL = 0
    REQUEST_ATOMIC = 1
    REQUEST_TARGET = 2
    # steps of alloc_contig_range that can refuse
    STEP_NONE = 0
    STEP_ISOLATE = 1
    STEP_MIGRATE = 2
    STEP_TEST = 3
    STEP_SIGNAL = 4
    STEP_SPLIT = 5
    STEP_TAKE = 6
    # why a page or a pageblock stands in the way
    WHY_NONE = 0
    WHY_RESERVED = 1
    WHY_CMA_TYPE = 2
    WHY_HUGETLB = 3
    WHY_COMPOUND = 4
    WHY_NOT_LRU = 5
    WHY_ISOLATED = 6
    WHY_STRADDLES = 7
    WHY_NO_TARGET = 8
    WHY_GIGANTIC = 9
    WHY_BUSY = 10
    WHY_NOT_ISOLATED = 11
    WHY_SIGNAL = 12
    WHY_ZONE_EDGE = 13
    WHY_BUG_WALK = 14
    WHY_BUG_MISALIGNED = 15
    WHY_BUG_REFCOUNT = 16
    WHY_BUG_ENDLESS = 17
    # events of the log (events.py)
    EV_ALLOC = 1
    EV_FREE = 2
    EV_ZONE_LOCKED = 3
    EV_EXTFRAG = 4
    EV_ISOLATE = 5
    EV_UNISOLATE = 6
    EV_SPLIT = 7
    EV_MIGRATE_FOLIO = 8
    EV_RECLAIM = 9
    EV_MIGRATE_PAGES = 10
    EV_TEST_ISOLATED = 11
    EV_UNMOVABLE = 12
    EV_TAKE = 13
    EV_ISOLATE_MIGRATE = 14
    EV_PCPU_DRAIN = 15
    EV_MIGRATE_AWAY = 16
    EVENT_WORDS = 8
    # words that survey_stretch fills
    SURVEY_WORDS = 9
    # invariants (invariants.py)
    INV_NONE = 0
    INV_LINKS = 1
    INV_FREE_BLOCK = 2
    INV_PCP = 3
    INV_ONE_STATE = 4
    INV_LISTED = 5
    INV_ZONE_END = 6
    INV_BUDDIES = 7
    INV_ISOLATED_LIST = 8
    INV_ISOLATE_COUNT = 9
    INV_FREE_PAGES = 10
    INV_FREE_CMA = 11
    INV_HYGIENE = 12
    # operations of Zone.run() (operations.py)
    OP_ALLOC = 1
    OP_FREE = 2
    OP_CONTIG = 3
    OP_FREE_CONTIG = 4
    OP_ALLOC_ATOMIC = 5
    # multiplicative hash of 32 bits (Knuth): the golden ratio's
    HASH_PRIME = 0x9E3779B1U
