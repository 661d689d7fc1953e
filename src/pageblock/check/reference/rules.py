"""What the releases differ in, as far as the reference knows them: one flag a difference, each read in the kernels' sources."""

import re
from dataclasses import dataclass, replace

__all__ = ["RELEASES", "Rules", "rules_of"]


@dataclass(frozen=True, slots=True)
class Rules:
    """Differences between releases. Defaults: 5.15.16.

    always_compare: __free_one_page compares the types of blocks of at least a pageblock also while nothing is isolated,
        and merges only equal and mergeable ones (5.18, the seed's patch 1).
    windows: isolation rounds to the larger of a max order block and a pageblock.
    only_requested: has_unmovable_pages looks at the requested range only (the seed's patch 3).
    save_outer: alloc_contig_range saves the types beside its pageblocks and cuts free pages (the seed's patch 4).
    as_posted: that patch as it was mailed, with its faults.
    single: isolate_single_pageblock at both ends first (5.19).
    hygiene: free lists agree with pageblock types (6.10).
    bit: isolation is a bit beside the type (6.17).
    undo_failed: a failed isolation is followed by the undo of the whole range.
    free_buddy: unset_migratetype_isolate wants the buddy to be free, not only outside isolation.
    per_cpu_only: orders with per-cpu lists never reach rmqueue_buddy (rmqueue, 5.15).
    atomic_last: GFP_ATOMIC takes from HIGHATOMIC when all else is empty (6.1.192).
    unsigned_mark: the order-0 watermark is compared as an unsigned number (5.15).
    movable_pair: the tail of a compound page of two looks movable by its driver (5.15).
    skip_huge: alloc_contig_pages passes ranges with hugetlb pages over.
    split_later: base pages of a huge page without a target follow the rest of the list, not at once.
    batches: migrate_pages cuts its list at a huge page's size (6.1.192; 6.12 behind the page that reaches it).
    split_ascending: a split page's tails come in ascending order (6.19).
    movable_compound: has_unmovable_pages passes compound pages that their driver can move.
    huge_lists: per-cpu lists of huge pages: 3, one a type; 1; or 2, one of them for MOVABLE (6.1.192).
    round_robin: pages leave the per-cpu lists from all lists in turn (until 5.17).
    empty_high_orders: small high-order pages empty the per-cpu lists while frees overflow (5.18).
    capped_factor: what frees of an overflow double to is capped, drains come in slices (6.1.192).
    self_tuning: the high mark and the refill move with what is freed and taken (6.7).
    late_empty: high-order pages empty self-tuned lists only after more frees (6.19).
    overflow_slices: an overflow is freed a batch at a time (6.19).
    """

    always_compare: bool = False
    windows: bool = True
    only_requested: bool = False
    save_outer: bool = False
    as_posted: bool = False
    single: bool = False
    hygiene: bool = False
    bit: bool = False
    undo_failed: bool = False
    free_buddy: bool = False
    per_cpu_only: bool = True
    atomic_last: bool = False
    unsigned_mark: bool = True
    movable_pair: bool = True
    skip_huge: bool = False
    split_later: bool = False
    batches: bool = False
    split_ascending: bool = False
    movable_compound: bool = True
    huge_lists: int = 3
    round_robin: bool = True
    empty_high_orders: bool = False
    capped_factor: bool = False
    self_tuning: bool = False
    late_empty: bool = False
    overflow_slices: bool = False


_5_15 = Rules()
_SEED = replace(_5_15, always_compare=True, only_requested=True, save_outer=True)
_6_1_VANILLA = Rules(
    always_compare=True,
    windows=False,
    single=True,
    undo_failed=True,
    free_buddy=True,
    per_cpu_only=False,
    unsigned_mark=False,
    movable_pair=False,
    split_later=True,
    huge_lists=1,
    round_robin=False,
    empty_high_orders=True,
)
_6_1 = replace(_6_1_VANILLA, atomic_last=True, skip_huge=True, batches=True, huge_lists=2, capped_factor=True)
_6_12 = replace(_6_1, hygiene=True, self_tuning=True)
_6_19 = replace(_6_12, bit=True, movable_compound=False, split_ascending=True, late_empty=True, overflow_slices=True)

#: Release -> its rules.
RELEASES: dict[str, Rules] = {
    "naive": replace(_5_15, windows=False),
    "5.15": _5_15,
    "seed": _SEED,
    "6.1": _6_1,
    "6.1-vanilla": _6_1_VANILLA,
    "6.12": _6_12,
    "6.19": _6_19,
}

#: The seed as posted: apart, since its cases end where the kernel stops.
_AS_POSTED = replace(_SEED, save_outer=False, as_posted=True)

#: What the seed's patches switch; 2 only moves code, 5 to 7 are about consumers.
_PATCHES = {"1": "always_compare", "3": "only_requested", "4": "save_outer"}


def rules_of(release: str) -> Rules | None:
    """Rules of a release or of one with patches of the seed on or off (``seed-p3``, ``5.15+p1``); None: not known."""
    if release == "seed-as-posted":
        return _AS_POSTED
    match = re.fullmatch(r"([^+]*?)((?:[+-]p[1-7])*)", release)
    rules = RELEASES.get(match[1]) if match else None
    if match is None or rules is None:
        return None
    for sign, patch in re.findall(r"([+-])p(\d)", match[2]):
        if patch in _PATCHES:
            rules = replace(rules, **{_PATCHES[patch]: sign == "+"})
    return rules
