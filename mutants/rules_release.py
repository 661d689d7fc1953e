"""Mutations of release.py: a release with another release's choice."""

from .mutation import Mutation

__all__ = ["CHOICES"]


def choice(release: str, rule: str, value: str, other: str, words: str, equivalent: str = "") -> Mutation:
    """A release that chooses otherwise."""
    name = f"{release}-{rule.lower().replace('_', '-')}"
    where = {"5.15": "_LEGACY", "6.1-vanilla": "_VANILLA", "6.1": "_MERGED", "6.12": "_HYGIENE"}[release]
    old, new = (f"    k.RULE_{rule}: k.{choice}," for choice in (value, other))
    return Mutation(name, f"release={where}", old, new, f"{release}: {words}", equivalent)


CHOICES = (
    choice("5.15", "MERGE", "MERGE_WHILE_ISOLATED", "MERGE_MERGEABLE", "free pageblocks of any types merge"),
    choice("5.15", "SPAN", "SPAN_MAX_ORDER", "SPAN_PAGEBLOCK", "isolation rounds to max order blocks"),
    choice(
        "5.15",
        "UNSET_BUDDY",
        "UNSET_ANY_BUDDY",
        "UNSET_FREE_BUDDY",
        "a page given back is freed anew beside any pageblock that is not isolated",
        "beside a buddy that is not free, or above max order, it goes to the tail, as if moved",
    ),
    choice("5.15", "PCP_BULK", "BULK_ROUND_ROBIN", "BULK_LIST_BY_LIST", "per-cpu lists are emptied in turn"),
    choice("5.15", "PCP_THP", "THP_BY_TYPE", "THP_MOVABLE_OR_NOT", "huge pages have a per-cpu list a type"),
    choice(
        "5.15",
        "PCP_TUNING",
        "TUNING_FREE_FACTOR",
        "TUNING_FREE_HIGH",
        "the free factor has no bound and no high-order rule",
    ),
    choice("6.1", "MERGE", "MERGE_MERGEABLE", "MERGE_WHILE_ISOLATED", "only mergeable types merge"),
    choice("6.1", "SCHEME", "SCHEME_SINGLE_PAGEBLOCK", "SCHEME_WHOLE", "both boundary pageblocks are isolated first"),
    choice("6.1", "SPAN", "SPAN_PAGEBLOCK", "SPAN_MAX_ORDER", "the undo rounds to pageblocks"),
    choice("6.1", "FAILED_ISOLATION", "FAILED_UNDOES", "FAILED_RETURNS", "a failed isolation runs the undo"),
    choice(
        "6.1", "UNSET_BUDDY", "UNSET_FREE_BUDDY", "UNSET_ANY_BUDDY", "a page given back merges only with a free buddy"
    ),
    choice(
        "6.1", "PCP_TUNING", "TUNING_FREE_HIGH", "TUNING_FREE_FACTOR", "small high-order pages empty the per-cpu lists"
    ),
    choice("6.1", "PCP_BULK", "BULK_LIST_BY_LIST", "BULK_ROUND_ROBIN", "per-cpu lists are emptied one after the other"),
    choice("6.1", "PCP_THP", "THP_MOVABLE_OR_NOT", "THP_BY_TYPE", "huge pages have two per-cpu lists"),
    choice(
        "6.12", "SCHEME", "SCHEME_HYGIENIC", "SCHEME_SINGLE_PAGEBLOCK", "a compound page across the boundary refuses"
    ),
    choice("6.12", "MERGED_TYPES", "MERGED_RETYPE", "MERGED_KEEP", "merged pageblocks have one type"),
    choice(
        "6.12",
        "FREE_LARGE",
        "LARGE_BY_PAGEBLOCK",
        "LARGE_WHOLE",
        "a block above pageblock order is freed by pageblocks",
    ),
    choice("6.12", "FALLBACK", "FALLBACK_CLAIM", "FALLBACK_LARGEST", "a pageblock is claimed, or a page stolen"),
    choice("6.12", "BLOCK_MOVE", "MOVE_SPLITS", "MOVE_HEADS", "isolation cuts free pages"),
    choice("6.12", "HIGHATOMIC_CAP", "CAP_ROUNDED_UP", "CAP_PLUS_PAGEBLOCK", "the reserve is 1 % rounded up"),
    choice("6.12", "HIGHATOMIC_MARK", "MARK_FREE", "MARK_RESERVED", "watermarks leave out what is free in the reserve"),
    choice("6.12", "PCP_TUNING", "TUNING_AUTO", "TUNING_FREE_HIGH", "the per-cpu lists tune themselves"),
    choice(
        "6.12", "PCP_TYPE", "TYPE_CURRENT", "TYPE_SAMPLED", "pages leave the per-cpu lists under their pageblock's type"
    ),
    choice("6.12", "BULK_COUNT", "COUNT_EACH", "COUNT_AT_END", "the counters sink within a refill"),
    choice(
        "5.15", "OFFLINE_LIST", "LIST_HEAD_AGAIN", "LIST_SPLITS_LAST", "offlining tries a split page's head at once"
    ),
    choice(
        "6.1", "OFFLINE_LIST", "LIST_BATCHES_BELOW", "LIST_SPLITS_LAST", "offlining moves huge pages first, in batches"
    ),
    choice(
        "6.12", "OFFLINE_LIST", "LIST_BATCHES", "LIST_BATCHES_BELOW", "a batch ends with the page that reaches its size"
    ),
    choice("6.1-vanilla", "OFFLINE_LIST", "LIST_SPLITS_LAST", "LIST_HEAD_AGAIN", "split pages move after the list"),
)
