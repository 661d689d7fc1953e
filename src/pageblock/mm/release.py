"""Which kernel release does what: one table of named rules, each with its source.

A release is a column, a rule a row. The newest text that a rule was read in is named with the function.
``seed`` is ``5.15`` with the seed's seven patches on; each is a switch of its own, so
``seed-p4`` is the series without patch 4 and ``5.15+p1`` is 5.15 with patch 1 only. ``seed-as-posted`` is ``seed`` with the
faults of the posted patch; each is a switch too: ``seed+fa`` has the first only, ``seed-as-posted-fc`` all but the third.
``6.1+bug-NAME`` is 6.1 with a mistake of Linux's history (PLANTED), which no release has.
"""

import re
from dataclasses import dataclass

from . import constants as k
from .errors import ReleaseError

__all__ = ["FAULTS", "PATCHES", "PLANTED", "RELEASES", "RULES", "Planted", "Release", "Rule", "Switch", "release"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One difference between releases: its place in the core's table, what it decides, its choices, its source."""

    index: int
    name: str
    question: str
    choices: dict[int, str]
    source: str


RULES: tuple[Rule, ...] = (
    Rule(
        k.RULE_MERGE,
        "merge",
        "Which free blocks of at least a pageblock merge with their buddy?",
        {
            k.MERGE_WHILE_ISOLATED: "all; while the zone has isolated pageblocks, ISOLATE only with ISOLATE",
            k.MERGE_MERGEABLE: "equal types, and UNMOVABLE, MOVABLE, RECLAIMABLE with each other",
            k.MERGE_ANY: "all, always (before 4.1)",
        },
        "mm/page_alloc.c __free_one_page; 1dd214b8f21c (5.18), the seed's patch 1",
    ),
    Rule(
        k.RULE_SCHEME,
        "scheme",
        "How does alloc_contig_range keep pages that span pageblocks whole?",
        {
            k.SCHEME_WHOLE: "it does not cut them: the isolated range must not cross one",
            k.SCHEME_SAVE_TYPES: "isolates the max order window, saves and restores the outer types, cuts free pages",
            k.SCHEME_SINGLE_PAGEBLOCK: "isolates both boundary pageblocks first; what crosses them is cut or migrated",
            k.SCHEME_HYGIENIC: "the same, but free pages are cut by isolation itself and compound pages refuse",
        },
        "mm/page_alloc.c alloc_contig_range (5.15); the seed's patch 4; "
        "mm/page_isolation.c isolate_single_pageblock, b2c9e2fbba32 (5.19), fd919a85cd55 (6.10)",
    ),
    Rule(
        k.RULE_CHECK_SCOPE,
        "check scope",
        "Where does isolation look for unmovable pages?",
        {
            k.SCOPE_PAGEBLOCK: "in whole pageblocks (6.1: whole at both ends of the range)",
            k.SCOPE_REQUEST: "only in the requested range",
        },
        "mm/page_isolation.c set_migratetype_isolate; the seed's patch 3",
    ),
    Rule(
        k.RULE_SPAN,
        "span",
        "To what does isolation round the range?",
        {
            k.SPAN_MAX_ORDER: "to the larger of a max order block and a pageblock",
            k.SPAN_PAGEBLOCK: "to pageblocks",
        },
        "mm/page_alloc.c pfn_max_align_down, pfn_max_align_up (5.15); b2c9e2fbba32 (5.19)",
    ),
    Rule(
        k.RULE_FAILED_ISOLATION,
        "failed isolation",
        "What follows when isolation fails?",
        {
            k.FAILED_RETURNS: "the error is returned",
            k.FAILED_UNDOES: "the undo runs over the range, also over pageblocks that others isolated",
        },
        "mm/page_alloc.c alloc_contig_range: return (5.15), goto done (6.1)",
    ),
    Rule(
        k.RULE_UNSET_BUDDY,
        "unset buddy",
        "When is a free page of pageblock order or more freed anew as its pageblock is un-isolated?",
        {
            k.UNSET_ANY_BUDDY: "when the buddy's pageblock is not isolated",
            k.UNSET_FREE_BUDDY: "when the buddy is a free page of its order in a pageblock that is not isolated",
        },
        "mm/page_isolation.c unset_migratetype_isolate (5.15, 6.1)",
    ),
    Rule(
        k.RULE_MERGED_TYPES,
        "merged types",
        "Which type has a pageblock that is merged into a free block of another type?",
        {k.MERGED_KEEP: "its own", k.MERGED_RETYPE: "that of the block it is merged into"},
        "mm/page_alloc.c __free_one_page; fix up block types when merging compatible blocks (6.10)",
    ),
    Rule(
        k.RULE_FREE_LARGE,
        "free large",
        "How is a block above pageblock order freed?",
        {
            k.LARGE_WHOLE: "whole, under the type of its first pageblock",
            k.LARGE_BY_PAGEBLOCK: "a pageblock at a time, each under its own type",
        },
        "mm/page_alloc.c free_one_page; split_large_buddy, fd919a85cd55 (6.10)",
    ),
    Rule(
        k.RULE_FALLBACK,
        "fallback",
        "Where does a request go when its own lists are empty?",
        {
            k.FALLBACK_LARGEST: "to the largest page of another type; its pageblock's free pages move to the request's lists",
            k.FALLBACK_CLAIM: "it claims the largest page's pageblock if half of it suits, else steals the smallest page",
        },
        "mm/page_alloc.c __rmqueue_fallback (6.1); __rmqueue_claim, __rmqueue_steal (6.12.117)",
    ),
    Rule(
        k.RULE_BLOCK_MOVE,
        "block move",
        "Which free pages change lists when a pageblock is isolated or given back?",
        {
            k.MOVE_HEADS: "those whose head lies in it, whole; none in a pageblock that reaches out of the zone",
            k.MOVE_SPLITS: "a page that covers more is cut first; a pageblock that reaches out of the zone refuses",
        },
        "mm/page_isolation.c set_migratetype_isolate; move_freepages_block_isolate, fd919a85cd55 (6.10)",
    ),
    Rule(
        k.RULE_HIGHATOMIC_CAP,
        "highatomic cap",
        "How much is set apart for high-order atomic requests?",
        {
            k.CAP_PLUS_PAGEBLOCK: "up to 1 % of the zone and a pageblock",
            k.CAP_ROUNDED_UP: "up to 1 % rounded up to a pageblock; none where 1 % is less than one",
        },
        "mm/page_alloc.c reserve_highatomic_pageblock (6.1.192, 6.12.117)",
    ),
    Rule(
        k.RULE_HIGHATOMIC_MARK,
        "highatomic mark",
        "What of that reserve do watermarks leave out?",
        {k.MARK_RESERVED: "all pages of its pageblocks", k.MARK_FREE: "the free pages in them"},
        "mm/page_alloc.c __zone_watermark_unusable_free (6.1.192, 6.12.117)",
    ),
    Rule(
        k.RULE_PCP_TUNING,
        "pcp tuning",
        "When do the per-cpu lists overflow, and by how much?",
        {
            k.TUNING_FREE_FACTOR: "at a fixed mark; the number freed doubles until an allocation comes",
            k.TUNING_FREE_HIGH: "the same, and small high-order pages then empty the lists",
            k.TUNING_AUTO: "the mark moves between two bounds with what is freed and allocated; so does the refill",
        },
        "mm/page_alloc.c nr_pcp_free, nr_pcp_high (5.15, 6.1.192), nr_pcp_alloc (6.7; 6.12.117)",
    ),
    Rule(
        k.RULE_PCP_BULK,
        "pcp bulk",
        "In which order do pages leave the per-cpu lists?",
        {
            k.BULK_ROUND_ROBIN: "from all lists in turn, one more from each list visited; freed after all are taken off",
            k.BULK_LIST_BY_LIST: "the list that was freed to first, then the following ones, each until it is empty",
        },
        "mm/page_alloc.c free_pcppages_bulk (5.15; 5.18, read in 6.1)",
    ),
    Rule(
        k.RULE_PCP_TYPE,
        "pcp type",
        "Under which type does a page leave a per-cpu list?",
        {
            k.TYPE_SAMPLED: "the one seen when it was put there, unless pageblocks are isolated",
            k.TYPE_CURRENT: "its pageblock's at that moment",
        },
        "mm/page_alloc.c free_pcppages_bulk; remove pcppage migratetype caching (6.10)",
    ),
    Rule(
        k.RULE_PCP_THP,
        "pcp thp",
        "Which per-cpu lists have huge pages?",
        {
            k.THP_BY_TYPE: "one a type",
            k.THP_MOVABLE_OR_NOT: "one for movable ones, one for the others",
            k.THP_ONE_LIST: "one for all: an unmovable request may get a page from a MOVABLE or CMA pageblock",
        },
        "mm/page_alloc.c order_to_pindex (5.15, 6.1, 6.1.192)",
    ),
    Rule(
        k.RULE_BULK_COUNT,
        "bulk count",
        "When does NR_FREE_PAGES sink as a per-cpu list is refilled?",
        {k.COUNT_AT_END: "once, at the end; NR_FREE_CMA_PAGES with each page", k.COUNT_EACH: "with each page"},
        "mm/page_alloc.c rmqueue_bulk (6.1.192); consolidate free page accounting (6.10)",
    ),
    Rule(
        k.RULE_PCP_FACTOR_CAP,
        "pcp factor cap",
        "How often does the number of pages freed by overflows double?",
        {
            k.FACTOR_UNBOUNDED: "until it reaches what may be freed at most",
            k.FACTOR_CAPPED: "the same, but five times at most (CONFIG_PCP_BATCH_SCALE_MAX)",
        },
        "mm/page_alloc.c nr_pcp_free (6.1, 6.1.192)",
    ),
    Rule(
        k.RULE_ATOMIC_LAST,
        "atomic last",
        "What does an atomic request do when its lists and fallbacks are empty?",
        {k.ATOMIC_GIVES_UP: "it fails", k.ATOMIC_TRIES_RESERVE: "it takes from the HIGHATOMIC reserve, at order 0 too"},
        "mm/page_alloc.c rmqueue_buddy (6.1, 6.1.192)",
    ),
    Rule(
        k.RULE_CONTIG_HUGETLB,
        "contig hugetlb",
        "Does alloc_contig_pages try ranges with huge pages?",
        {k.CONTIG_TRIES_HUGETLB: "yes", k.CONTIG_SKIPS_HUGETLB: "no"},
        "mm/page_alloc.c pfn_range_valid_contig; 4d73ba5fa710 (6.5, in 6.1.192)",
    ),
    Rule(
        k.RULE_COMPACT_ORDERS,
        "compact orders",
        "Which pages does compaction move, and how does it keep the free pages that it took?",
        {
            k.ORDERS_SINGLE: "single pages; all that was taken is split at once, and the last page goes first",
            k.ORDERS_WHOLE: "all that are smaller than a pageblock; what was taken stays whole until a smaller piece is needed",
        },
        "mm/compaction.c isolate_migratepages_block, compaction_alloc (6.1.192, 6.12.117)",
    ),
    Rule(
        k.RULE_COMPACT_BATCH,
        "compact batch",
        "When are the old places of pages that compaction moves freed?",
        {
            k.BATCH_ONE_BY_ONE: "each before the next page gets its target",
            k.BATCH_TARGETS_FIRST: "after all pages of the batch have their targets",
        },
        "mm/migrate.c migrate_pages_batch (6.1.192, 6.12.117)",
    ),
    Rule(
        k.RULE_COMPACT_RESCAN,
        "compact rescan",
        "Which pageblock does compaction scan to its end, once it has moved pages?",
        {
            k.RESCAN_WHERE_BEGAN: "that where the last scan with pages to move began to look",
            k.RESCAN_WHERE_FOUND: "that where it found them",
        },
        "mm/compaction.c compact_zone: last_migrated_pfn (6.1.192, 6.12.117)",
    ),
    Rule(
        k.RULE_FAILED_TYPES,
        "failed types",
        "Which type has a pageblock that a failed request isolated?",
        {k.FAILED_TYPES_REQUEST: "the request's", k.FAILED_TYPES_OWN: "its own"},
        "mm/page_isolation.c start_isolate_page_range, undo_isolate_page_range (5.15, 6.1); the seed's patch 4: as described, "
        "and as posted (fault g)",
    ),
    Rule(
        k.RULE_OUTER_RESTORE,
        "outer restore",
        "How does the seed's patch 4 give the pageblocks beside the request back after migration?",
        {
            k.OUTER_MOVED: "their free pages go to their own lists and are counted again",
            k.OUTER_RETYPED: "only their types are set: free pages stay on the ISOLATE lists, uncounted, and so does the count "
            "of isolated pageblocks",
        },
        "the seed's patch 4: as described; as posted, restore_migratetypes (fault a)",
    ),
    Rule(
        k.RULE_INTERRUPTED,
        "interrupted",
        "What becomes of the pageblocks beside the request if it ends before they are given back?",
        {k.INTERRUPTED_RESTORES: "they are given back", k.INTERRUPTED_LEAVES: "they stay isolated"},
        "the seed's patch 4: as described; as posted, alloc_contig_range at done (fault b)",
    ),
    Rule(
        k.RULE_END_WALK,
        "end walk",
        "Which free pages beside the request does the seed's patch 4 split?",
        {
            k.WALK_BOUNDARY: "those that cross the first or the last pageblock's boundary",
            k.WALK_PAGES: "what a walk meets at the start and from the end on, page by page: also whole ones and small ones",
        },
        "the seed's patch 4: as described; as posted, alloc_contig_range, split_free_page_into_pageblocks (fault c)",
    ),
    Rule(
        k.RULE_TAKE_UNIT,
        "take unit",
        "What does the seed's patch 4 test and take after migration?",
        {k.TAKE_REQUEST: "the request", k.TAKE_PAGEBLOCKS: "its whole pageblocks, all of which must be free"},
        "the seed's patch 4: as described; as posted, alloc_contig_range (fault d)",
    ),
    Rule(
        k.RULE_SPLIT_TWICE,
        "split twice",
        "What of a free page that crosses both boundaries of a request inside one pageblock?",
        {
            k.SPLIT_ONCE: "it is split once",
            k.SPLIT_AGAIN: "the walk at the end frees the pieces again that the walk at the start has split off",
        },
        "the seed's patch 4: as described; as posted, alloc_contig_range (fault f)",
    ),
    Rule(
        k.RULE_CMA_ALIGN,
        "cma alignment",
        "To what must a CMA area be aligned?",
        {
            k.ALIGN_MAX_ORDER: "to the larger of a max order block and a pageblock",
            k.ALIGN_PAGEBLOCK: "to a pageblock",
        },
        "mm/cma.c cma_init_reserved_mem, cma_declare_contiguous_nid, kernel/dma/contiguous.c rmem_cma_setup (5.15); the seed's "
        "patch 5; include/linux/cma.h CMA_MIN_ALIGNMENT_PAGES, 11ac3e87ce09 (5.19)",
    ),
    Rule(
        k.RULE_VIRTIO_SUBBLOCK,
        "virtio-mem subblock",
        "How small may a subblock of a virtio-mem device be?",
        {
            k.ALIGN_MAX_ORDER: "the larger of a max order block and a pageblock",
            k.ALIGN_PAGEBLOCK: "a pageblock",
        },
        "drivers/virtio/virtio_mem.c virtio_mem_init_hotplug (5.15); the seed's patch 6; 448b8ec3bf11 (5.19)",
    ),
    Rule(
        k.RULE_FADUMP_ALIGN,
        "fadump alignment",
        "To what is the memory aligned that powerpc's fadump reserves?",
        {
            k.ALIGN_MAX_ORDER: "to the larger of a max order block and a pageblock",
            k.ALIGN_PAGEBLOCK: "to a pageblock",
        },
        "arch/powerpc/include/asm/fadump-internal.h FADUMP_CMA_ALIGNMENT (5.15); the seed's patch 7; CMA_MIN_ALIGNMENT_BYTES "
        "(5.18, a pageblock since 5.19)",
    ),
    Rule(
        k.RULE_ISOLATION,
        "isolation",
        "Where does a pageblock keep its type while it is isolated?",
        {
            k.ISOLATION_OVERWRITES: "nowhere: ISOLATE takes its place, and whoever ends isolation names a type",
            k.ISOLATION_BESIDE: "beneath a bit that says isolated: it has its own type again when isolation ends",
        },
        "mm/page_isolation.c set_migratetype_isolate, unset_migratetype_isolate; mm/page_alloc.c "
        "__move_freepages_block_isolate, PB_migrate_isolate (6.17, read in 6.19.9)",
    ),
    Rule(
        k.RULE_MOVABLE_COMPOUND,
        "movable compound",
        "Does isolation pass a compound page that its driver can move?",
        {k.COMPOUND_PASSES: "yes", k.COMPOUND_REFUSES: "no: compound pages must be on the LRU or hugetlb"},
        "mm/page_isolation.c has_unmovable_pages (6.12.117, 6.19.9)",
    ),
    Rule(
        k.RULE_PCP_FREE_HIGH,
        "pcp free high",
        "After how many frees in a row do small high-order pages empty self-tuning per-cpu lists?",
        {
            k.FREE_HIGH_BATCH: "a batch of pages",
            k.FREE_HIGH_HALF_MARK: "a batch and half of the lower bound of the high mark",
        },
        "mm/page_alloc.c free_frozen_page_commit (6.12.117, 6.19.9)",
    ),
    Rule(
        k.RULE_PCP_SLICES,
        "pcp slices",
        "How are the pages of an overflow taken off the per-cpu lists?",
        {
            k.SLICES_NONE: "all in one go",
            k.SLICES_BATCH: "a batch at a time; each begins with the list that was freed to",
        },
        "mm/page_alloc.c free_frozen_page_commit (6.12.117, 6.19.9)",
    ),
    Rule(
        k.RULE_OFFLINE_LIST,
        "offline list",
        "In which order does offlining move what it found, and any migration the base pages of a THP without a target?",
        {
            k.LIST_HEAD_AGAIN: "ascending; a split page's head at once, its tails at the end of the list, the last first",
            k.LIST_SPLITS_LAST: "ascending; split pages after the list: tails, the last first, then the head",
            k.LIST_BATCHES_BELOW: "hugetlb first; the rest in batches of at most a huge page's size, what it splits after each",
            k.LIST_BATCHES: "the same, but a batch ends with the page that reaches that size, and a split page without a target "
            "ends its batch only",
            k.LIST_BATCHES_ASCENDING: "the same, but split pages ascend: tails, then the head",
        },
        "mm/migrate.c migrate_pages, migrate_pages_batch, try_split_folio, mm/huge_memory.c __split_huge_page "
        "(5.15.16, 6.1.192, 6.12.117), __folio_split (6.19.9)",
    ),
    Rule(
        k.RULE_MOVABLE_TAIL,
        "movable tail",
        "Which tail of a compound page that is not on the LRU does a steal count as movable?",
        {
            k.TAIL_OF_PAIR: "that of a compound page of two, movable or not: its size lies where a driver's mark would",
            k.TAIL_NEVER: "none",
        },
        "mm/page_alloc.c move_freepages; include/linux/mm_types.h struct page: compound_nr and mapping (5.15, 6.1)",
    ),
    Rule(
        k.RULE_PCP_MISS,
        "pcp miss",
        "What follows when a per-cpu list is empty and cannot be refilled?",
        {
            k.MISS_FAILS: "the request fails: orders with per-cpu lists never get at the HIGHATOMIC reserve",
            k.MISS_TRIES_BUDDY: "the buddy lists are tried, for atomic requests the HIGHATOMIC reserve first",
        },
        "mm/page_alloc.c rmqueue (5.15, 6.1)",
    ),
    Rule(
        k.RULE_FAST_UNDERFLOW,
        "fast underflow",
        "What becomes of an order-0 request when more pages are set apart from it than are free?",
        {
            k.UNDERFLOW_PASSES: "it passes every watermark: the difference is compared as an unsigned number",
            k.UNDERFLOW_CLAMPED: "none counts as free",
        },
        "mm/page_alloc.c zone_watermark_fast (5.15); fix possible underflow, 9282012fc0aa (6.0)",
    ),
    Rule(
        k.RULE_CLEAN_PAGES,
        "clean pages",
        "In which order are clean file pages dropped that lie in a range?",
        {
            k.CLEAN_LOWEST_FIRST: "of those that were found together, the lowest first",
            k.CLEAN_HIGHEST_FIRST: "the highest first",
        },
        "mm/vmscan.c reclaim_clean_pages_from_list, shrink_page_list, mm/page_alloc.c free_unref_page_list (5.15, 6.1.192), "
        "free_unref_folios (6.12.117)",
    ),
    Rule(
        k.RULE_SPLIT_FREE,
        "split free",
        "How is a free page cut that crosses the boundary of what is isolated?",
        {
            k.SPLIT_FREE_COUNTED: "it leaves the counters first; pieces as large as alignment and the boundary allow",
            k.SPLIT_FREE_UNCOUNTED: "it does not leave the counters: its pieces are counted once more",
            k.SPLIT_FREE_SMALLEST: "as it should, but the smallest piece comes first, and the next is not aligned",
        },
        "mm/page_alloc.c split_free_page (6.1; 88ee134320b8, 86d28b070927)",
    ),
    Rule(
        k.RULE_ONE_PAGEBLOCK,
        "one pageblock",
        "How often is the pageblock isolated that is both the first and the last of a range?",
        {
            k.ONE_PAGEBLOCK_ONCE: "once",
            k.ONE_PAGEBLOCK_TWICE: "twice, so that the range is refused as isolated already",
        },
        "mm/page_isolation.c start_isolate_page_range (6.1; 9b209e557d69)",
    ),
    Rule(
        k.RULE_BOUNDARY_TYPE,
        "boundary type",
        "For which type are the pageblocks at the ends of a range isolated?",
        {
            k.BOUNDARY_REQUEST: "the request's: a CMA pageblock refuses a MOVABLE one",
            k.BOUNDARY_OWN: "their own: a MOVABLE request isolates CMA pageblocks, and gives them back as MOVABLE",
        },
        "mm/page_isolation.c isolate_single_pageblock (5.19: saved_mt; 80e2b584f3ab, 6.0)",
    ),
    Rule(
        k.RULE_COMPOUND_SIZE,
        "compound size",
        "How large is the compound page whose tail the scan before a boundary meets first?",
        {
            k.SIZE_OF_HEAD: "as large as its head says",
            k.SIZE_OF_PAGE: "one page, so that the scan goes on behind its head, in its tails, for ever",
        },
        "mm/page_isolation.c isolate_single_pageblock (6.1; use compound_nr() correctly, before 5.19)",
    ),
    Rule(
        k.RULE_CLAIMED_TYPE,
        "claimed type",
        "Which type has a free page that a request of another type claims?",
        {
            k.CLAIMED_OF_PAGEBLOCK: "its pageblock's: from an isolated one it is counted anew",
            k.CLAIMED_OF_LIST: "that of the list on which it was found",
        },
        "mm/page_alloc.c try_to_steal_block (6.12.117), try_to_claim_block (6.19.9)",
    ),
)


@dataclass(frozen=True, slots=True)
class Switch:
    """A patch of the seed, or a fault of the patch as posted: what it is, and (rule, choice when on, choice when off).

    ``not_modelled``: why it makes no difference here; empty: it does.
    """

    title: str
    rules: tuple[tuple[int, int, int], ...]
    not_modelled: str = ""


#: The seed's patches by number. On in ``seed``, off in ``5.15``.
PATCHES: dict[int, Switch] = {
    1: Switch(
        "mm: page_alloc: avoid merging non-fallbackable pageblocks with others",
        ((k.RULE_MERGE, k.MERGE_MERGEABLE, k.MERGE_WHILE_ISOLATED),),
    ),
    2: Switch(
        "mm: page_isolation: move has_unmovable_pages() to mm/page_isolation.c",
        (),
        "it only moves code: with and without it, nothing differs",
    ),
    3: Switch(
        "mm: page_isolation: check specified range for unmovable pages",
        ((k.RULE_CHECK_SCOPE, k.SCOPE_REQUEST, k.SCOPE_PAGEBLOCK),),
    ),
    4: Switch(
        "mm: make alloc_contig_range work at pageblock granularity",
        (
            (k.RULE_SCHEME, k.SCHEME_SAVE_TYPES, k.SCHEME_WHOLE),
            (k.RULE_FAILED_TYPES, k.FAILED_TYPES_OWN, k.FAILED_TYPES_REQUEST),
            (k.RULE_FAILED_ISOLATION, k.FAILED_RETURNS, k.FAILED_RETURNS),
        ),
    ),
    5: Switch(
        "mm: cma: use pageblock_order as the single alignment",
        ((k.RULE_CMA_ALIGN, k.ALIGN_PAGEBLOCK, k.ALIGN_MAX_ORDER),),
    ),
    6: Switch(
        "drivers: virtio_mem: use pageblock size as the minimum virtio_mem size",
        ((k.RULE_VIRTIO_SUBBLOCK, k.ALIGN_PAGEBLOCK, k.ALIGN_MAX_ORDER),),
    ),
    7: Switch(
        "arch: powerpc: adjust fadump alignment to be pageblock aligned",
        ((k.RULE_FADUMP_ALIGN, k.ALIGN_PAGEBLOCK, k.ALIGN_MAX_ORDER),),
    ),
}

#: Faults of patch 4 as posted (19 January 2022). On in ``seed-as-posted``, off in ``seed``.
FAULTS: dict[str, Switch] = {
    "a": Switch(
        "free pages of the pageblocks beside the request are lost",
        ((k.RULE_OUTER_RESTORE, k.OUTER_RETYPED, k.OUTER_MOVED),),
    ),
    "b": Switch(
        "pageblocks beside the request stay isolated after an interrupt; a refused request gives those of others back",
        (
            (k.RULE_INTERRUPTED, k.INTERRUPTED_LEAVES, k.INTERRUPTED_RESTORES),
            (k.RULE_FAILED_ISOLATION, k.FAILED_UNDOES, k.FAILED_RETURNS),
        ),
    ),
    "c": Switch(
        "the walk beside the request splits the wrong free page, or stops the kernel",
        ((k.RULE_END_WALK, k.WALK_PAGES, k.WALK_BOUNDARY),),
    ),
    "d": Switch(
        "the whole boundary pageblocks must be free",
        ((k.RULE_TAKE_UNIT, k.TAKE_PAGEBLOCKS, k.TAKE_REQUEST),),
    ),
    "e": Switch(
        "the zone lock is taken without disabling interrupts",
        (),
        "one CPU without interrupts is modelled, on which nobody else asks for the lock",
    ),
    "f": Switch(
        "a page across both boundaries is split twice, and its outer pieces are counted twice",
        ((k.RULE_SPLIT_TWICE, k.SPLIT_AGAIN, k.SPLIT_ONCE),),
    ),
    "g": Switch(
        "a failed request gives the pageblocks beside it its own type",
        ((k.RULE_FAILED_TYPES, k.FAILED_TYPES_REQUEST, k.FAILED_TYPES_OWN),),
    ),
}


@dataclass(frozen=True, slots=True)
class Planted:
    """A mistake of Linux's history that can be planted into a release, as ``BASE+bug-NAME``: no kernel of that name had it.

    ``title``: what it is; ``since``: where it was, and what mended it; ``base``: the release that takes it; ``rules``: its
    (rule, choice).
    """

    title: str
    since: str
    base: str
    rules: tuple[tuple[int, int], ...]


#: Bugs by name. None is on in any release.
PLANTED: dict[str, Planted] = {
    "merges-isolated": Planted(
        "isolated pageblocks merge with others",
        "before 4.1 (3c605096d315)",
        "6.1",
        ((k.RULE_MERGE, k.MERGE_ANY),),
    ),
    "merges-cma": Planted(
        "CMA pageblocks merge with others while nothing is isolated",
        "up to 5.17, where CMA areas are aligned to max order instead (1dd214b8f21c)",
        "6.1",
        ((k.RULE_MERGE, k.MERGE_WHILE_ISOLATED),),
    ),
    "uncounted-split": Planted(
        "split_free_page frees the pieces of a page that it never subtracted",
        "b2c9e2fbba32, mended by 86d28b070927 before 5.19",
        "6.1",
        ((k.RULE_SPLIT_FREE, k.SPLIT_FREE_UNCOUNTED),),
    ),
    "misaligned-split": Planted(
        "split_free_page frees the smallest piece first",
        "b2c9e2fbba32, mended by 88ee134320b8 before 5.19",
        "6.1",
        ((k.RULE_SPLIT_FREE, k.SPLIT_FREE_SMALLEST),),
    ),
    "isolated-twice": Planted(
        "the pageblock of a range of one pageblock is isolated twice",
        "linux-next, May 2022: every CMA allocation of one pageblock failed; mended by 9b209e557d69 before 5.19",
        "6.1",
        ((k.RULE_ONE_PAGEBLOCK, k.ONE_PAGEBLOCK_TWICE),),
    ),
    "saved-type": Planted(
        "pageblocks at the ends of a range are isolated for their own type: CMA turns MOVABLE",
        "5.19, mended by 80e2b584f3ab (6.0)",
        "6.1",
        ((k.RULE_BOUNDARY_TYPE, k.BOUNDARY_OWN),),
    ),
    "tail-size": Planted(
        "compound_nr of a tail page: the scan before a boundary never ends",
        "b2c9e2fbba32, mended on 31 May 2022 before 5.19 (page_isolation: use compound_nr() correctly)",
        "6.1",
        ((k.RULE_COMPOUND_SIZE, k.SIZE_OF_PAGE),),
    ),
}


@dataclass(frozen=True, slots=True)
class Release:
    """A named set of rules: ``rules[rule.index]`` is the choice. ``turned``: the release whose switches were turned."""

    name: str
    summary: str
    rules: tuple[int, ...]
    turned: str = ""

    @property
    def base(self) -> str:
        """The release without switches."""
        return self.turned or self.name


def _column(choices: dict[int, int]) -> tuple[int, ...]:
    return tuple(choices[rule.index] for rule in sorted(RULES, key=lambda rule: rule.index))


_LEGACY = {
    k.RULE_MERGE: k.MERGE_WHILE_ISOLATED,
    k.RULE_SCHEME: k.SCHEME_WHOLE,
    k.RULE_CHECK_SCOPE: k.SCOPE_PAGEBLOCK,
    k.RULE_SPAN: k.SPAN_MAX_ORDER,
    k.RULE_FAILED_ISOLATION: k.FAILED_RETURNS,
    k.RULE_UNSET_BUDDY: k.UNSET_ANY_BUDDY,
    k.RULE_MERGED_TYPES: k.MERGED_KEEP,
    k.RULE_FREE_LARGE: k.LARGE_WHOLE,
    k.RULE_FALLBACK: k.FALLBACK_LARGEST,
    k.RULE_BLOCK_MOVE: k.MOVE_HEADS,
    k.RULE_HIGHATOMIC_CAP: k.CAP_PLUS_PAGEBLOCK,
    k.RULE_HIGHATOMIC_MARK: k.MARK_RESERVED,
    k.RULE_PCP_TUNING: k.TUNING_FREE_FACTOR,
    k.RULE_PCP_BULK: k.BULK_ROUND_ROBIN,
    k.RULE_PCP_TYPE: k.TYPE_SAMPLED,
    k.RULE_PCP_THP: k.THP_BY_TYPE,
    k.RULE_BULK_COUNT: k.COUNT_AT_END,
    k.RULE_PCP_FACTOR_CAP: k.FACTOR_UNBOUNDED,
    k.RULE_ATOMIC_LAST: k.ATOMIC_GIVES_UP,
    k.RULE_CONTIG_HUGETLB: k.CONTIG_TRIES_HUGETLB,
    k.RULE_COMPACT_ORDERS: k.ORDERS_SINGLE,
    k.RULE_COMPACT_BATCH: k.BATCH_ONE_BY_ONE,
    k.RULE_COMPACT_RESCAN: k.RESCAN_WHERE_BEGAN,
    k.RULE_FAILED_TYPES: k.FAILED_TYPES_REQUEST,
    k.RULE_OUTER_RESTORE: k.OUTER_MOVED,
    k.RULE_INTERRUPTED: k.INTERRUPTED_RESTORES,
    k.RULE_END_WALK: k.WALK_BOUNDARY,
    k.RULE_TAKE_UNIT: k.TAKE_REQUEST,
    k.RULE_SPLIT_TWICE: k.SPLIT_ONCE,
    k.RULE_CMA_ALIGN: k.ALIGN_MAX_ORDER,
    k.RULE_VIRTIO_SUBBLOCK: k.ALIGN_MAX_ORDER,
    k.RULE_FADUMP_ALIGN: k.ALIGN_MAX_ORDER,
    k.RULE_ISOLATION: k.ISOLATION_OVERWRITES,
    k.RULE_MOVABLE_COMPOUND: k.COMPOUND_PASSES,
    k.RULE_PCP_FREE_HIGH: k.FREE_HIGH_BATCH,
    k.RULE_PCP_SLICES: k.SLICES_NONE,
    k.RULE_OFFLINE_LIST: k.LIST_HEAD_AGAIN,
    k.RULE_MOVABLE_TAIL: k.TAIL_OF_PAIR,
    k.RULE_PCP_MISS: k.MISS_FAILS,
    k.RULE_FAST_UNDERFLOW: k.UNDERFLOW_PASSES,
    k.RULE_CLEAN_PAGES: k.CLEAN_LOWEST_FIRST,
    k.RULE_SPLIT_FREE: k.SPLIT_FREE_COUNTED,
    k.RULE_ONE_PAGEBLOCK: k.ONE_PAGEBLOCK_ONCE,
    k.RULE_BOUNDARY_TYPE: k.BOUNDARY_REQUEST,
    k.RULE_COMPOUND_SIZE: k.SIZE_OF_HEAD,
    k.RULE_CLAIMED_TYPE: k.CLAIMED_OF_PAGEBLOCK,
}

_PAGEBLOCK_ALIGNED = {
    k.RULE_CMA_ALIGN: k.ALIGN_PAGEBLOCK,
    k.RULE_VIRTIO_SUBBLOCK: k.ALIGN_PAGEBLOCK,
    k.RULE_FADUMP_ALIGN: k.ALIGN_PAGEBLOCK,
}

_NAIVE = {**_LEGACY, **_PAGEBLOCK_ALIGNED, k.RULE_SPAN: k.SPAN_PAGEBLOCK}

_SEED = {**_LEGACY, **{rule: on for patch in PATCHES.values() for rule, on, _ in patch.rules}}

_AS_POSTED = {**_SEED, **{rule: on for fault in FAULTS.values() for rule, on, _ in fault.rules}}

_MERGED = {
    **_LEGACY,
    **_PAGEBLOCK_ALIGNED,
    k.RULE_MERGE: k.MERGE_MERGEABLE,
    k.RULE_SCHEME: k.SCHEME_SINGLE_PAGEBLOCK,
    k.RULE_SPAN: k.SPAN_PAGEBLOCK,
    k.RULE_FAILED_ISOLATION: k.FAILED_UNDOES,
    k.RULE_UNSET_BUDDY: k.UNSET_FREE_BUDDY,
    k.RULE_PCP_TUNING: k.TUNING_FREE_HIGH,
    k.RULE_PCP_BULK: k.BULK_LIST_BY_LIST,
    k.RULE_PCP_THP: k.THP_MOVABLE_OR_NOT,
    k.RULE_PCP_FACTOR_CAP: k.FACTOR_CAPPED,
    k.RULE_ATOMIC_LAST: k.ATOMIC_TRIES_RESERVE,
    k.RULE_CONTIG_HUGETLB: k.CONTIG_SKIPS_HUGETLB,
    k.RULE_OFFLINE_LIST: k.LIST_BATCHES_BELOW,
    k.RULE_MOVABLE_TAIL: k.TAIL_NEVER,
    k.RULE_PCP_MISS: k.MISS_TRIES_BUDDY,
    k.RULE_FAST_UNDERFLOW: k.UNDERFLOW_CLAMPED,
    k.RULE_SPLIT_FREE: k.SPLIT_FREE_COUNTED,
    k.RULE_ONE_PAGEBLOCK: k.ONE_PAGEBLOCK_ONCE,
    k.RULE_BOUNDARY_TYPE: k.BOUNDARY_REQUEST,
    k.RULE_COMPOUND_SIZE: k.SIZE_OF_HEAD,
    k.RULE_CLAIMED_TYPE: k.CLAIMED_OF_PAGEBLOCK,
}

_VANILLA = {
    **_MERGED,
    k.RULE_PCP_THP: k.THP_ONE_LIST,
    k.RULE_PCP_FACTOR_CAP: k.FACTOR_UNBOUNDED,
    k.RULE_ATOMIC_LAST: k.ATOMIC_GIVES_UP,
    k.RULE_CONTIG_HUGETLB: k.CONTIG_TRIES_HUGETLB,
    k.RULE_OFFLINE_LIST: k.LIST_SPLITS_LAST,
}

_HYGIENE = {
    **_MERGED,
    k.RULE_SCHEME: k.SCHEME_HYGIENIC,
    k.RULE_MERGED_TYPES: k.MERGED_RETYPE,
    k.RULE_FREE_LARGE: k.LARGE_BY_PAGEBLOCK,
    k.RULE_FALLBACK: k.FALLBACK_CLAIM,
    k.RULE_BLOCK_MOVE: k.MOVE_SPLITS,
    k.RULE_HIGHATOMIC_CAP: k.CAP_ROUNDED_UP,
    k.RULE_HIGHATOMIC_MARK: k.MARK_FREE,
    k.RULE_PCP_TUNING: k.TUNING_AUTO,
    k.RULE_PCP_TYPE: k.TYPE_CURRENT,
    k.RULE_BULK_COUNT: k.COUNT_EACH,
    k.RULE_COMPACT_ORDERS: k.ORDERS_WHOLE,
    k.RULE_COMPACT_BATCH: k.BATCH_TARGETS_FIRST,
    k.RULE_COMPACT_RESCAN: k.RESCAN_WHERE_FOUND,
    k.RULE_OFFLINE_LIST: k.LIST_BATCHES,
    k.RULE_CLEAN_PAGES: k.CLEAN_HIGHEST_FIRST,
}

_ISOLATE_BIT = {
    **_HYGIENE,
    k.RULE_ISOLATION: k.ISOLATION_BESIDE,
    k.RULE_FAILED_TYPES: k.FAILED_TYPES_OWN,
    k.RULE_MOVABLE_COMPOUND: k.COMPOUND_REFUSES,
    k.RULE_PCP_FREE_HIGH: k.FREE_HIGH_HALF_MARK,
    k.RULE_PCP_SLICES: k.SLICES_BATCH,
    k.RULE_OFFLINE_LIST: k.LIST_BATCHES_ASCENDING,
    k.RULE_CLAIMED_TYPE: k.CLAIMED_OF_LIST,
}

RELEASES: dict[str, Release] = {
    found.name: found
    for found in (
        Release(
            "naive",
            "5.15 with isolation and its users rounded to pageblocks, and none of the fixes (seed, S1)",
            _column(_NAIVE),
        ),
        Release("5.15", "Linux 5.15.16: max order windows (seed, S13)", _column(_LEGACY)),
        Release(
            "seed",
            "5.15 with the seed's patches as its cover letter describes them (S2 to S8)",
            _column(_SEED),
        ),
        Release(
            "seed-as-posted",
            "5.15 with the seed's patches as posted on 19 January 2022: the same with the faults of patch 4",
            _column(_AS_POSTED),
        ),
        Release(
            "6.1",
            "Debian's Linux 6.1.192: pageblock granularity as merged in 5.19 (S10)",
            _column(_MERGED),
        ),
        Release(
            "6.1-vanilla",
            "Linux 6.1 as first released, read but not recorded",
            _column(_VANILLA),
        ),
        Release(
            "6.12",
            "Debian's Linux 6.12.117: free lists always agree with pageblock types (S11)",
            _column(_HYGIENE),
        ),
        Release(
            "6.19",
            "Linux 6.19.9: isolation is a bit of its own beside the pageblock's type (S12)",
            _column(_ISOLATE_BIT),
        ),
    )
}


def release(name: str) -> Release:
    """The release of this name, perhaps with the seed's patches and faults switched, or with a bug planted.

    ``seed-p4``, ``5.15+p1+p3``: patches off and on; ``seed+fa``, ``seed-as-posted-fc``: faults of the posted patch 4;
    ``6.1+bug-saved-type``: one of PLANTED.

    Raises:
        ReleaseError: no such release, a switch that it does not have, or one that is in its place already.
    """
    if "+bug-" in name:
        return _with_bug(name)
    match = re.fullmatch(r"(.+?)((?:[+-][pf][0-9a-z])*)", name)
    base = RELEASES.get(match[1]) if match else None
    if base is None or match is None:
        known = ", ".join(RELEASES)
        raise ReleaseError(
            f"unknown release {name[:60]!r}: choose one of {known}, or a switch of the seed such as seed-p4"
        )
    rules = list(base.rules)
    turned = {f"p{number}" for number in PATCHES if base.name != "5.15"}
    turned |= {f"f{letter}" for letter in FAULTS if base.name == "seed-as-posted"}
    for sign, kind, letter in re.findall(r"([+-])([pf])(.)", match[2]):
        switch = _switch(name, base.name, kind, letter)
        if (sign == "+") == (kind + letter in turned):
            state = "on" if sign == "+" else "off"
            raise ReleaseError(f"release {name!r}: {kind}{letter} ({switch.title}) is {state} already: leave it out")
        turned ^= {kind + letter}
        for rule, on, off in switch.rules:
            rules[rule] = on if sign == "+" else off
    return base if not match[2] else Release(name, base.summary, tuple(rules), base.name)


def _with_bug(name: str) -> Release:
    """The release with one of PLANTED, or ReleaseError."""
    before, _, bug = name.partition("+bug-")
    planted = PLANTED.get(bug)
    if planted is None or before != planted.base:
        known = ", ".join(f"{planted.base}+bug-{bug}" for bug, planted in PLANTED.items())
        raise ReleaseError(f"release {name!r}: no such bug can be planted there: choose one of {known}")
    base = RELEASES[before]
    rules = list(base.rules)
    for rule, choice in planted.rules:
        rules[rule] = choice
    return Release(name, f"{base.summary}, with a bug planted: {planted.title}", tuple(rules), base.name)


def _switch(name: str, base: str, kind: str, letter: str) -> Switch:
    """The switch of a release name, or ReleaseError."""
    if kind == "p":
        patch = PATCHES.get(int(letter)) if letter.isdigit() else None
        if patch is None or base not in ("seed", "5.15", "seed-as-posted"):
            raise ReleaseError(
                f"release {name!r}: p{letter} is no switch of {base}; patches p1 to p7 are those of seed, seed-as-posted and 5.15"
            )
        return patch
    fault = FAULTS.get(letter)
    if fault is None or base not in ("seed", "seed-as-posted"):
        raise ReleaseError(
            f"release {name!r}: f{letter} is no switch of {base}; faults fa to fg are those of seed and seed-as-posted"
        )
    if fault.not_modelled:
        raise ReleaseError(f"release {name!r}: fault {letter} ({fault.title}) is not modelled: {fault.not_modelled}")
    return fault
