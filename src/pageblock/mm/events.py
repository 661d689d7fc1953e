"""What ``Zone.observe`` tells: the steps of the allocator by the kernel's tracepoint names.

Where the kernel has no tracepoint for a step, the name is that of its function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import constants as k

__all__ = ["Event", "Listener", "decode"]


@dataclass(frozen=True, slots=True)
class Event:
    """One step: ``name`` as the kernel's tracepoint or function, ``fields`` in its words, pfns absolute."""

    name: str
    fields: dict[str, int | None]


Listener = Callable[[Event], None]

# name, then the fields; those whose name ends in "pfn" are frames and become absolute
_EVENTS: dict[int, tuple[str, tuple[str, ...]]] = {
    k.EV_ALLOC: ("kmem:mm_page_alloc", ("pfn", "order", "migratetype")),
    k.EV_FREE: ("kmem:mm_page_free", ("pfn", "order")),
    k.EV_ZONE_LOCKED: ("kmem:mm_page_alloc_zone_locked", ("pfn", "order", "migratetype")),
    k.EV_EXTFRAG: (
        "kmem:mm_page_alloc_extfrag",
        (
            "pfn",
            "alloc_order",
            "fallback_order",
            "alloc_migratetype",
            "fallback_migratetype",
            "change_ownership",
        ),
    ),
    k.EV_ISOLATE: ("set_migratetype_isolate", ("pfn", "migratetype")),
    k.EV_UNISOLATE: ("unset_migratetype_isolate", ("pfn", "migratetype")),
    k.EV_SPLIT: ("split_free_page", ("pfn", "order", "split_offset")),
    k.EV_MIGRATE_FOLIO: ("migrate_folio", ("pfn", "new_pfn", "order")),
    k.EV_MIGRATE_AWAY: ("migrate_folio", ("pfn", "new_zone_high", "order", "new_zone_low")),
    k.EV_RECLAIM: ("reclaim_clean_pages_from_list", ("pfn",)),
    k.EV_MIGRATE_PAGES: ("migrate:mm_migrate_pages", ("succeeded", "failed")),
    k.EV_TEST_ISOLATED: (
        "page_isolation:test_pages_isolated",
        ("start_pfn", "end_pfn", "fin_pfn"),
    ),
    k.EV_UNMOVABLE: ("has_unmovable_pages", ("pfn",)),
    k.EV_TAKE: (
        "isolate_freepages_range",
        ("start_pfn", "end_pfn", "outer_start_pfn", "outer_end_pfn"),
    ),
    k.EV_PCPU_DRAIN: ("kmem:mm_page_pcpu_drain", ("pfn", "order", "migratetype")),
    k.EV_ISOLATE_MIGRATE: (
        "compaction:mm_compaction_isolate_migratepages",
        ("start_pfn", "end_pfn", "nr_taken"),
    ),
}


def decode(words: Any, base_pfn: int) -> Event:
    """Turn one row of the core's log into an event. ``base_pfn``: absolute pfn of frame 0."""
    name, fields = _EVENTS[int(words[0])]
    values: dict[str, int | None] = {}
    for field, word in zip(fields, words[1:], strict=False):
        value = int(word)
        if field.endswith("pfn"):
            values[field] = None if value == k.NONE else base_pfn + value
        else:
            values[field] = value
    if int(words[0]) == k.EV_MIGRATE_AWAY:
        # an absolute pfn and one in two halves; 0: it is not known where
        away = (values.pop("new_zone_high") or 0) << 32 | (values.pop("new_zone_low") or 0)
        values = {"pfn": values["pfn"], "new_pfn": away - 1 if away else None, "order": values["order"]}
    return Event(name, values)
