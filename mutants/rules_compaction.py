"""Mutations of compaction: what the two scanners pass over, and in which order pages are taken and given back."""

from .mutation import Mutation

__all__ = ["COMPACTION"]

COMPACTION = (
    Mutation(
        "compact-half",
        "compaction._isolate_free_page",
        "if order + 1 >= z.pageblock_order:",
        "if order >= z.pageblock_order:",
        "a pageblock of which half is taken as one page becomes MOVABLE",
    ),
    Mutation(
        "compact-mark",
        "compaction._isolate_free_page",
        "z.wmark_min + (cython.cast(cython.longlong, 1) << order)",
        "z.wmark_min",
        "a free page is taken only above the min watermark and its own size",
    ),
    Mutation(
        "compact-enough",
        "compaction.isolate_freepages_block",
        "if z.compact_migrate <= z.compact_free:",
        "if z.compact_migrate < z.compact_free:",
        "the free scanner stops at as many pages as wait to move",
    ),
    Mutation(
        "compact-split-order",
        "compaction.split_map_pages",
        "list_insert(z, i, single, z.nxt[single])",
        "list_insert(z, i, z.prv[single], single)",
        "the last page of the last free page is the first target",
    ),
    Mutation(
        "compact-suitable-free",
        "compaction.suitable_migration_target",
        "z.state[pfn] & ORDER_MASK >= z.pageblock_order:",
        "z.state[pfn] & ORDER_MASK > z.pageblock_order:",
        "the free scanner passes over a pageblock that is one free page",
    ),
    Mutation(
        "compact-suitable-type",
        "compaction.suitable_migration_target",
        "mt == MOVABLE or mt == CMA",
        "True",
        "and over those that are not MOVABLE or CMA",
    ),
    Mutation(
        "compact-batch",
        "compaction.migrate_scanner_block",
        "if z.compact_migrate >= COMPACT_CLUSTER_MAX and",
        "if z.compact_migrate > COMPACT_CLUSTER_MAX and",
        "32 pages move at a time",
    ),
    Mutation(
        "compact-rescan",
        "compaction.migrate_scanner_block",
        " and not rescan:",
        ":",
        "a pageblock scanned again is scanned to its end",
    ),
    Mutation(
        "compact-pinned",
        "compaction.migrate_one_by_one",
        "if z.flags[src] & PG_PINNED:",
        "if False:",
        "6.1: a pinned page stays",
    ),
    Mutation(
        "compact-pinned-batch",
        "compaction._migrate_batch",
        "if z.flags[src] & PG_PINNED:",
        "if False:",
        "6.12: a pinned page stays",
    ),
    Mutation(
        "compact-stride",
        "compaction.isolate_freepages",
        "min(COMPACT_CLUSTER_MAX, stride << 1)",
        "1",
        "after a pageblock that gave nothing the free scanner looks at every second page only, then every fourth",
    ),
    Mutation(
        "compact-left",
        "compaction.compaction_alloc",
        "if z.compact_free:\n            return NONE",
        "pass",
        "6.12: the free scanner does not go on while smaller pages are left",
    ),
    Mutation(
        "compact-release-order",
        "compaction.release_freepages",
        "for order in range(z.max_order + 1):\n",
        "for order in range(z.max_order + 1):\n        order = z.max_order - order\n",
        "6.12: unused targets are given back from the smallest order on",
    ),
    Mutation(
        "compact-free-head",
        "compaction.compaction_free",
        "list_insert(z, pfn, head, z.nxt[head])",
        "list_insert(z, pfn, z.prv[head], head)",
        "a target that was not needed is the next one",
    ),
)
