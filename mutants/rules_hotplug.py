"""Mutations of memory hotplug's steps: what offlining isolates, finds and moves, and what leaves and enters the allocator."""

from .mutation import Mutation

__all__ = ["HOTPLUG"]


def hotplug(name: str, function: str, old: str, new: str, rule: str, equivalent: str = "") -> Mutation:
    """One change of the room."""
    return Mutation(f"hotplug-{name}", f"memory_hotplug.{function}", old, new, rule, equivalent)


HOTPLUG = (
    hotplug("lru", "lru_add_drain", "| C_ANON", "| C_PAGEVEC", "pages in per-cpu batches are put onto the LRU first"),
    hotplug(
        "rounded",
        "isolate_for_offline",
        "return isolate_ascending(z, start, end, start, end, MOVABLE, True, MEMORY_OFFLINE)",
        "return start_isolate_page_range(z, start, end, MOVABLE, MEMORY_OFFLINE)",
        "5.15: isolation for offlining is not rounded",
    ),
    hotplug(
        "undo",
        "isolate_for_offline",
        "MOVABLE, True, MEMORY_OFFLINE",
        "MOVABLE, False, MEMORY_OFFLINE",
        "5.15: what was isolated before the failure is given back",
    ),
    hotplug(
        "poison",
        "isolate_for_offline",
        "return start_isolate_page_range(z, start, end, MOVABLE, MEMORY_OFFLINE)",
        "return start_isolate_page_range(z, start, end, MOVABLE, 0)",
        "poisoned and offline pages pass",
    ),
    hotplug(
        "poison-5.15",
        "isolate_for_offline",
        "MOVABLE, True, MEMORY_OFFLINE",
        "MOVABLE, True, 0",
        "5.15: poisoned and offline pages pass",
    ),
    hotplug(
        "unused-huge",
        "is_migratable",
        "return not z.flags[head] & PG_CLEAN",
        "return True",
        "a huge page that nobody uses is not migrated",
    ),
    hotplug(
        "let-go",
        "scan_movable_pages",
        " and not let_go",
        "",
        "an offline page that its driver lets go of is passed over",
    ),
    hotplug(
        "kept",
        "scan_movable_pages",
        "if z.flags[pfn] & CLASS_MASK == C_OFFLINE and not let_go:",
        "if False:",
        "an offline page that its driver keeps ends the scan",
    ),
    hotplug(
        "scan-tail",
        "scan_movable_pages",
        "elif s == 0 and pfn == start:",
        "elif False:",
        "the tail of a page that begins before the range is found",
    ),
    hotplug(
        "scan-end", "scan_movable_pages", "pfn += size", "pfn += 1", "the scan passes over whole pages", "slower only"
    ),
    hotplug("pinned", "migrate_source", "if z.flags[pfn] & PG_PINNED:", "if False:", "a pinned page stays"),
    hotplug(
        "gigantic", "migrate_source", "return WHY_GIGANTIC", "return WHY_BUSY", "a gigantic page in use has no target"
    ),
    hotplug(
        "goes-on",
        "count_source",
        "return why == WHY_NONE or why == WHY_BUSY",
        "return True",
        "a page without a target ends the list",
    ),
    hotplug(
        "first-reason",
        "count_source",
        " and z.refused_why == WHY_NONE",
        "",
        "the first page that stays is told",
    ),
    hotplug(
        "tails",
        "list_tails",
        "== LIST_BATCHES_ASCENDING",
        "!= LIST_BATCHES_ASCENDING",
        "tails move the last first until 6.12, ascending in 6.19",
    ),
    hotplug(
        "head-again",
        "migrate_in_place",
        "            continue\n",
        "",
        "5.15: the head of a split page is tried again at once",
    ),
    hotplug(
        "huge-ends",
        "migrate_hugetlbs",
        "return False",
        "continue",
        "a huge page without a target ends everything",
    ),
    hotplug(
        "huge-twice",
        "migrate_hugetlbs",
        "            sources[i] = NONE\n",
        "",
        "huge pages are taken off the list",
    ),
    hotplug(
        "head-last",
        "migrate_pages_batch",
        "            sources[last] = pfn\n            last += 1\n",
        "",
        "the head of a split page moves after its tails",
    ),
    hotplug(
        "split-ends",
        "migrate_pages_batch",
        "return z.rules[RULE_OFFLINE_LIST] >= LIST_BATCHES",
        "return False",
        "6.12: a split page without a target ends its batch only",
    ),
    hotplug(
        "split-ends-all",
        "migrate_pages_batch",
        "return z.rules[RULE_OFFLINE_LIST] >= LIST_BATCHES",
        "return True",
        "6.1: it ends the list",
    ),
    hotplug(
        "batch-below",
        "batch_end",
        "if pages > z.pageblock_nr_pages and i > start:",
        "if pages >= z.pageblock_nr_pages and i > start:",
        "6.1: a batch may have just as many pages as a huge page",
    ),
    hotplug(
        "batch-reaches",
        "batch_end",
        "elif pages >= z.pageblock_nr_pages:",
        "elif pages > z.pageblock_nr_pages:",
        "6.12: a batch ends with the page that reaches a huge page's size",
    ),
    hotplug(
        "one-batch",
        "batch_end",
        "== LIST_SPLITS_LAST:",
        "== LIST_BATCHES:",
        "6.1 as first released: the list is one batch",
    ),
    hotplug(
        "huge-first",
        "do_migrate_range",
        ">= LIST_BATCHES_BELOW and not",
        ">= LIST_BATCHES and not",
        "6.1.192: huge pages of hugetlb move first",
    ),
    hotplug(
        "source-tail",
        "collect_sources",
        "if s == 0 and pfn == start:",
        "if False:",
        "the tail of a page that begins before the range stands for all of it",
    ),
    hotplug(
        "managed", "offline_isolated_pages", "managed -= 1", "managed -= 0", "offline pages left managed ones before"
    ),
    hotplug(
        "listed", "offline_isolated_pages", "if z.state[pfn] & BUDDY:", "if False:", "free pages leave their lists"
    ),
    hotplug(
        "stale-type",
        "offline_isolated_pages",
        "set_pageblock_migratetype(z, pfn, MOVABLE)",
        "pass",
        "pageblocks that went offline do not count as isolated",
    ),
    hotplug(
        "isolate-count",
        "offline_isolated_pages",
        "z.nr_isolate_pageblock -= 1",
        "pass",
        "the count of isolated pageblocks sinks as they leave",
    ),
    hotplug(
        "forgotten",
        "move_pfn_range_to_zone",
        "z.type_beneath[pfn >> z.pageblock_order] = MOVABLE",
        "pass",
        "6.19: onlined pageblocks are MOVABLE, whatever they were",
    ),
    hotplug(
        "online-count",
        "move_pfn_range_to_zone",
        "z.nr_isolate_pageblock += 1",
        "pass",
        "onlined pageblocks count as isolated at first",
    ),
    hotplug(
        "online-pieces",
        "generic_online_page",
        "step = z.pageblock_order",
        "step = order",
        "6.12: large blocks are freed by pageblocks",
    ),
    hotplug(
        "online-managed",
        "generic_online_page",
        "z.managed_pages += cython.cast(cython.longlong, 1) << order",
        "pass",
        "onlined pages are managed",
    ),
    hotplug(
        "online-tail",
        "generic_online_page",
        "get_pageblock_migratetype(z, pfn), True)",
        "get_pageblock_migratetype(z, pfn), False)",
        "onlined pages go to the tails",
    ),
    Mutation(
        "hotplug-clean-pinned",
        "memory_hotplug.drop_clean_pages",
        "(PG_PINNED | PG_COMPOUND)",
        "PG_COMPOUND",
        "clean file pages are dropped unless they are pinned",
    ),
    Mutation(
        "hotplug-clean-clean",
        "memory_hotplug.drop_clean_pages",
        " and z.flags[pfn] & PG_CLEAN:",
        ":",
        "and unless they are dirty",
    ),
    Mutation(
        "hotplug-all-class",
        "memory_hotplug.all_class",
        "z.state[pfn] != ALLOC or ",
        "",
        "pages that are whole blocks are no single offline pages",
    ),
)
