"""Which kernel release does what: one table of named rules, each with its source.

A release is a column, a rule a row. The newest text that a rule was read in is named with the function.
``seed`` is ``5.15`` with the seed's patches 1, 3 and 4 on; each is a switch of its own, so
``seed-p4`` is the series without patch 4 and ``5.15+p1`` is 5.15 with patch 1 only.
"""

import re
from dataclasses import dataclass

from . import constants as k
from .errors import ReleaseError

__all__ = ["PATCHES", "RELEASES", "RULES", "Release", "Rule", "release"]


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
        },
        "mm/page_alloc.c alloc_contig_range (5.15); the seed's patch 4; "
        "mm/page_isolation.c isolate_single_pageblock, b2c9e2fbba32 (5.19)",
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
)

#: The seed's patches that are switches here: patch number -> (rule, value when on, value when off).
#: Patch 2 only moves code; 5, 6 and 7 change consumers.
PATCHES: dict[int, tuple[tuple[int, int, int], ...]] = {
    1: ((k.RULE_MERGE, k.MERGE_MERGEABLE, k.MERGE_WHILE_ISOLATED),),
    3: ((k.RULE_CHECK_SCOPE, k.SCOPE_REQUEST, k.SCOPE_PAGEBLOCK),),
    4: ((k.RULE_SCHEME, k.SCHEME_SAVE_TYPES, k.SCHEME_WHOLE),),
}


@dataclass(frozen=True, slots=True)
class Release:
    """A named set of rules: ``rules[rule.index]`` is the choice."""

    name: str
    summary: str
    rules: tuple[int, ...]


def _column(choices: dict[int, int]) -> tuple[int, ...]:
    return tuple(choices[rule.index] for rule in sorted(RULES, key=lambda rule: rule.index))


_LEGACY = {
    k.RULE_MERGE: k.MERGE_WHILE_ISOLATED,
    k.RULE_SCHEME: k.SCHEME_WHOLE,
    k.RULE_CHECK_SCOPE: k.SCOPE_PAGEBLOCK,
    k.RULE_SPAN: k.SPAN_MAX_ORDER,
    k.RULE_FAILED_ISOLATION: k.FAILED_RETURNS,
    k.RULE_UNSET_BUDDY: k.UNSET_ANY_BUDDY,
}

RELEASES: dict[str, Release] = {
    found.name: found
    for found in (
        Release(
            "naive",
            "5.15 with isolation rounded to pageblocks and none of the fixes (seed, S1)",
            _column({**_LEGACY, k.RULE_SPAN: k.SPAN_PAGEBLOCK}),
        ),
        Release("5.15", "Linux 5.15.16: max order windows (seed, S13)", _column(_LEGACY)),
        Release(
            "seed",
            "5.15 with the seed's patches as its cover letter describes them (S2 to S5)",
            _column({**_LEGACY, **{r: on for p in PATCHES.values() for r, on, _ in p}}),
        ),
        Release(
            "6.1",
            "Debian's Linux 6.1.192: pageblock granularity as merged in 5.19 (S10)",
            _column(
                {
                    k.RULE_MERGE: k.MERGE_MERGEABLE,
                    k.RULE_SCHEME: k.SCHEME_SINGLE_PAGEBLOCK,
                    k.RULE_CHECK_SCOPE: k.SCOPE_PAGEBLOCK,
                    k.RULE_SPAN: k.SPAN_PAGEBLOCK,
                    k.RULE_FAILED_ISOLATION: k.FAILED_UNDOES,
                    k.RULE_UNSET_BUDDY: k.UNSET_FREE_BUDDY,
                }
            ),
        ),
    )
}


def release(name: str) -> Release:
    """The release of this name, perhaps with patches of the seed switched: ``seed-p4``, ``5.15+p1+p3``.

    Raises:
        ReleaseError: no such release, or a switch that it does not have.
    """
    match = re.fullmatch(r"([a-z]+|\d+\.\d+)((?:[+-]p\d)*)", name)
    base = RELEASES.get(match[1]) if match else None
    if base is None or match is None:
        known = ", ".join(RELEASES)
        raise ReleaseError(f"unknown release {name!r}: choose one of {known}, or a switch of the seed such as seed-p4")
    rules = list(base.rules)
    for sign, number in re.findall(r"([+-])p(\d)", match[2]):
        if base.name not in ("seed", "5.15") or int(number) not in PATCHES:
            raise ReleaseError(
                f"release {name!r}: only patches 1, 3 and 4 of seed and 5.15 are switches, not {sign}p{number}"
            )
        for rule, on, off in PATCHES[int(number)]:
            rules[rule] = on if sign == "+" else off
    return base if not match[2] else Release(name, base.summary, tuple(rules))
